//! `pmem pci`: public cases of the corpus with their right answers, and what is refused.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn pmem(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pmem")).args(args).output().unwrap()
}

/// What is asked of which files, and the right answer.
struct Case {
    /// Below `pci/` of the corpus.
    files: &'static [&'static str],
    ask: &'static [&'static str],
    verdict: &'static str,
    quiesced: &'static [&'static str],
    /// Function, BAR, first address.
    placements: &'static [(&'static str, &'static str, &'static str)],
    /// Bridges whose windows change.
    bridges: &'static [&'static str],
}

/// The answers are those of `cases/INDEX.md`, or better ones by the order of cost.
const CASES: &[Case] = &[
    // The only MiB of 03:00.0's window, once the port that held it is empty.
    Case {
        files: &["cases/01-ess-mtca-pex8748.dmesg"],
        ask: &["--all-failed"],
        verdict: "fits",
        quiesced: &["0000:0a:00.0"],
        placements: &[("0000:0a:00.0", "0", "0xdf000000")],
        bridges: &["0000:03:00.0", "0000:04:09.0"],
    },
    // `lspci` of another moment, with the large register: the list counts.
    Case {
        files: &["04-obpc-tb5-egpu.iomem", "04-obpc-tb5-egpu.lspci-vvv"],
        ask: &["--resize", "0000:04:00.0:bar1=32G"],
        verdict: "fits",
        quiesced: &["0000:04:00.0"],
        placements: &[("0000:04:00.0", "1", "0x4000000000"), ("0000:04:00.0", "3", "0x4800000000")],
        bridges: &["bridge to 0000:04", "bridge to 0000:05", "bridge to 0000:12", "bridge to 0000:1f"],
    },
    // Three empty ports hold what the card needs; its other BAR moves, so that they keep most.
    Case {
        files: &["04-obpc-tb5-egpu-32gbar.dmesg-pci", "04-obpc-tb5-egpu.iomem"],
        ask: &["--resize", "0000:04:00.0:bar1=32G"],
        verdict: "fits",
        quiesced: &["0000:04:00.0"],
        placements: &[("0000:04:00.0", "1", "0x4000000000"), ("0000:04:00.0", "3", "0x4800000000")],
        bridges: &["0000:03:00.0", "0000:03:01.0", "0000:03:02.0", "0000:03:03.0"],
    },
    // Room kept beside it for two cards that may come: below 0x5014000000 there is not so much.
    Case {
        files: &["04-obpc-tb5-egpu-32gbar.dmesg-pci", "04-obpc-tb5-egpu.iomem"],
        ask: &[
            "--resize",
            "0000:04:00.0:bar1=32G",
            "--keep",
            "0000:03:01.0=mem64p:16G",
            "--keep",
            "0000:12=mem64p:8G",
        ],
        verdict: "fits",
        quiesced: &["0000:04:00.0"],
        placements: &[
            ("0000:04:00.0", "1", "0x6000000000"),
            ("0000:05:00.0", "0", "0x3f800000000"),
            ("0000:12:00.0", "0", "0x3fc00000000"),
        ],
        bridges: &[
            "0000:00:07.0",
            "0000:02:00.0",
            "0000:03:00.0",
            "0000:03:01.0",
            "0000:03:02.0",
            "0000:03:03.0",
        ],
    },
    // The same from a list alone, which names no bridge and no register: the largest is what can be resized.
    Case {
        files: &["04-obpc-tb5-egpu.iomem"],
        ask: &["--resize", "0000:04:00.0:bar1=32G"],
        verdict: "fits",
        quiesced: &["0000:04:00.0"],
        placements: &[("0000:04:00.0", "1", "0x4000000000")],
        bridges: &["bridge to 0000:04", "bridge to 0000:05", "bridge to 0000:12", "bridge to 0000:1f"],
    },
    // No aligned place in the port's present window, and plenty above.
    Case {
        files: &["04-obpc-tb5-egpu-32gbar.dmesg-pci", "04-obpc-tb5-egpu.iomem"],
        ask: &["--add", "mem64p:32G,mem64p:32M,mem32:64M", "--at", "0000:00:07.2"],
        verdict: "fits",
        quiesced: &[],
        placements: &[("0000:2c:00.0", "0", "0x6000000000")],
        bridges: &["0000:00:07.2"],
    },
    // An empty port beside it holds the rest: the border between them moves.
    Case {
        files: &["cases/22-strixhalo-tb5-r9700.dmesg-a"],
        ask: &["--resize", "0000:97:00.0:bar0=32G"],
        verdict: "fits",
        quiesced: &["0000:97:00.0"],
        placements: &[("0000:97:00.0", "0", "0x9000000000")],
        bridges: &["0000:66:01.0", "0000:66:03.0", "0000:93:00.0", "0000:94:00.0"],
    },
    // Frightening lines, and everything has a place in the end.
    Case {
        files: &["cases/12-hns3-benign-nospace.session"],
        ask: &["--all-failed"],
        verdict: "nothing-wrong",
        quiesced: &[],
        placements: &[],
        bridges: &[],
    },
    // The switch's own BAR stays, and the windows, which no register could hold, become whole; with the list beside the log as well.
    Case {
        files: &["cases/02-power9-b580.dmesg-bad-6.18rc1"],
        ask: &["--resize", "0030:03:00.0:bar2=16G"],
        verdict: "fits",
        quiesced: &["0030:03:00.0"],
        placements: &[("0030:03:00.0", "2", "0x6200400000000")],
        bridges: &["0030:00:00.0", "0030:01:00.0", "0030:02:01.0"],
    },
    Case {
        files: &["cases/02-power9-b580.dmesg-bad-6.18rc1", "cases/02-power9-b580.iomem-bad-6.18rc1"],
        ask: &["--resize", "0030:03:00.0:bar2=16G"],
        verdict: "fits",
        quiesced: &["0030:03:00.0"],
        placements: &[("0030:03:00.0", "2", "0x6200400000000")],
        bridges: &["0030:00:00.0", "0030:01:00.0", "0030:02:01.0"],
    },
    // Of a difference of two logs the second is read; nobody is stopped for a ROM.
    Case {
        files: &["cases/09-am5-ctxfi-tight-window.dmesg-diff-6.17-vs-6.18"],
        ask: &["--all-failed"],
        verdict: "fits",
        quiesced: &["0000:11:00.0"],
        placements: &[("0000:11:00.0", "4", "0xd8000000"), ("0000:11:00.0", "2", "0xd6200000")],
        bridges: &["0000:00:02.1", "0000:05:00.0", "0000:06:08.0", "0000:0c:00.0", "0000:0d:07.0"],
    },
    // A host bridge that is said to forward everything, and no word of where memory lies.
    Case {
        files: &["cases/11-qemu-8xa100-40bit.dmesg-lspci-excerpts"],
        ask: &["--all-failed"],
        verdict: "not-proven",
        quiesced: &[],
        placements: &[],
        bridges: &[],
    },
    // Two apertures that touch are one.
    Case {
        files: &["cases/13-elitedesk805-contiguous-apertures.dmesg"],
        ask: &["--all-failed"],
        verdict: "fits",
        quiesced: &["0000:07:00.0"],
        placements: &[("0000:07:00.0", "0", "0x10030000000")],
        bridges: &["bridge to 0000:07"],
    },
    // What stands behind // is another kernel's.
    Case {
        files: &["cases/17-qemu-arm64-switch-multifunction.dmesg-bad-and-good"],
        ask: &["--all-failed"],
        verdict: "fits",
        quiesced: &["0000:02:00.1"],
        placements: &[("0000:02:00.1", "0", "0x101e0000")],
        bridges: &["0000:00:01.0", "0000:00:04.0"],
    },
    // Bus numbers.
    Case {
        files: &["cases/18-rk3588-late-switch-busn.dmesg-good-bad"],
        ask: &["--all-failed"],
        verdict: "fits",
        quiesced: &[],
        placements: &[],
        bridges: &["0004:40:00.0", "0004:42:00.0"],
    },
    // What the host bridge forwards is not in the excerpt.
    Case {
        files: &["cases/25-qemu-shpc-nested-hotplug-qxl.dmesg"],
        ask: &["--all-failed"],
        verdict: "not-proven",
        quiesced: &[],
        placements: &[],
        bridges: &[],
    },
];

fn answer(case: &Case, corpus: &Path) -> Value {
    let files: Vec<String> =
        case.files.iter().map(|file| corpus.join("pci").join(file).to_str().unwrap().to_owned()).collect();
    let mut args = vec!["--json", "pci", "plan"];
    args.extend(files.iter().map(String::as_str));
    args.extend(case.ask);
    let output = pmem(&args);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{:?}: {e}: {output:?}", case.files))
}

#[test]
fn public_cases_get_their_right_answers() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    for case in CASES {
        let report = answer(case, &corpus);
        let what = format!("{:?} {:?}", case.files, case.ask);
        assert_eq!(report["verdict"], case.verdict, "{what}: {report:#}");
        assert_eq!(report["quiesced"], serde_json::json!(case.quiesced), "{what}");
        for (function, bar, start) in case.placements {
            let placed = report["placements"].as_array().unwrap();
            let found =
                placed.iter().any(|p| p["function"] == *function && p["bar"] == *bar && p["start"] == *start);
            assert!(found, "{what}: {function} BAR {bar} at {start}: {placed:#?}");
        }
        let windows = report["windows"].as_array().unwrap();
        let mut bridges: Vec<&str> = windows.iter().map(|w| w["bridge"].as_str().unwrap()).collect();
        bridges.dedup();
        assert_eq!(bridges, case.bridges, "{what}: {windows:#?}");
    }
}

/// What the doctor says of public cases: the verdict, and what is said of the first thing that is wrong.
#[test]
fn the_doctor_says_what_public_cases_are() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    for (file, verdict, says) in [
        ("cases/06-tuxedo-tb4-mi50-shrunk-window.dmesg-excerpt", "not-proven", "the kernel wanted 48 GiB"),
        ("cases/07-xps-tb-dock-nested.dmesg-good-reverted", "nothing-wrong", ""),
        ("cases/08-macmini2018-tb3-p4000.lspci-nnvvv", "not-proven", "add a kernel log"),
        ("cases/12-hns3-benign-nospace.session", "nothing-wrong", ""),
        ("cases/18-rk3588-late-switch-busn.dmesg-good-bad", "not-proven", "0004:40:00.0 can be given 41-46"),
        ("01-macbookpro13,2-tb3x2.dmesg", "nothing-wrong", ""),
        ("03-supermicro-as4125gs-8root.dmesg-pci", "nothing-wrong", ""),
        ("04-obpc-tb5-egpu-32gbar.dmesg-pci", "nothing-wrong", ""),
    ] {
        let path = corpus.join("pci").join(file);
        let output = pmem(&["--json", "pci", "doctor", path.to_str().unwrap()]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["verdict"], verdict, "{file}: {report:#}");
        let matters = report["ailments"].as_array().unwrap().iter().find(|a| a["kind"] != "small");
        let said = matters.map_or("", |ailment| ailment["says"].as_str().unwrap());
        assert!(said.contains(says) && said.is_empty() == says.is_empty(), "{file}: {said}");
    }
}

/// Every place of memory in a hierarchy, by function and what of it.
fn places(tree: &Value) -> std::collections::BTreeMap<(String, String), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["depth"] != 0);
    nodes
        .flat_map(|node| {
            let windows = node["windows"].as_array().unwrap().iter().map(|window| (&window["kind"], window));
            let bars = node["bars"].as_array().unwrap().iter().filter(|bar| bar["kind"] != "io");
            let all = windows.filter(|(kind, _)| *kind != "io").chain(bars.map(|bar| (&bar["bar"], bar)));
            all.map(|(what, own)| {
                (
                    (text(&node["name"]), text(what)),
                    text(&own["range"]["start"]) + "-" + &text(&own["range"]["end"]),
                )
            })
        })
        .collect()
}

/// How many places of memory an event changes, and those that come otherwise than foretold: the event on one text, what came by another.
fn not_as_foretold(early: &Path, late: &Path, kernel: &str, event: &str) -> (usize, Vec<String>) {
    let json = |args: &[&str], path: &Path| -> Value {
        let all: Vec<&str> =
            ["--json", "pci"].iter().chain(args).copied().chain([path.to_str().unwrap()]).collect();
        serde_json::from_slice(&pmem(&all).stdout).unwrap()
    };
    let mut foretold = places(&json(&["tree"], early));
    let came = places(&json(&["tree"], late));
    let changed = came.iter().filter(|(key, at)| foretold.get(*key) != Some(*at)).count();
    let event = &json(&["predict", "--kernel", kernel, "--do", event], early)["events"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let range = |of: &Value| text(&of["start"]) + "-" + &text(&of["end"]);
    for placed in event["placements"].as_array().unwrap() {
        foretold.insert((text(&placed["function"]), text(&placed["bar"])), range(placed));
    }
    for window in event["windows"].as_array().unwrap() {
        foretold.insert((text(&window["bridge"]), text(&window["kind"])), range(&window["new"]));
    }
    let wrong = came.iter().filter(|(key, at)| foretold.get(*key) != Some(*at));
    let words = wrong.map(|(key, at)| format!("{key:?} came at {at}, foretold {:?}", foretold.get(key)));
    (changed, words.collect())
}

/// What a boot makes of what firmware left: a log up to its first assignment, foretold to its end, line by line. Ports are left out: what else
/// has them these logs do not say.
#[test]
fn boots_of_public_cases_are_foretold() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    // Of a difference the first text: its own lines, and those of both.
    let first = |line: &str| line.strip_prefix([' ', '-']).map(str::to_owned);
    let whole = |line: &str| Some(line.to_owned());
    type Line = fn(&str) -> Option<String>;
    // And the second: its own lines, and those of both.
    let second = |line: &str| line.strip_prefix([' ', '+']).map(str::to_owned);
    let difference = "cases/09-am5-ctxfi-tight-window.dmesg-diff-6.17-vs-6.18";
    // Of the second this one port gets its window elsewhere: what it would have beside, for a ROM, it is not given.
    let elsewhere: &[&str] = &["0000:0d:04.0", "0000:0f:00.0"];
    let cases: [(&str, &str, Line, &[&str]); 3] = [
        (difference, "6.17", first, &[]),
        (difference, "6.18", second, elsewhere),
        ("04-obpc-tb5-egpu-32gbar.dmesg-pci", "6.14", whole, &[]),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (file, kernel, side, elsewhere) in cases {
        let log = std::fs::read_to_string(corpus.join("pci").join(file)).unwrap();
        let lines: Vec<String> = log.lines().filter_map(side).collect();
        let assigns = |line: &String| line.contains(": assigned") || line.contains("no space");
        let cut = lines.iter().position(assigns).unwrap();
        // What a port can do is said after it got its windows.
        let ports = lines[cut..].iter().filter(|line| line.contains("pciehp: Slot"));
        let before: Vec<&str> = lines[..cut].iter().chain(ports).map(String::as_str).collect();
        let (early, late) = (dir.path().join("early"), dir.path().join("late"));
        std::fs::write(&early, before.join("\n")).unwrap();
        std::fs::write(&late, lines.join("\n")).unwrap();
        let (changed, mut wrong) = not_as_foretold(&early, &late, kernel, "boot");
        wrong.retain(|line| !elsewhere.iter().any(|function| line.contains(function)));
        assert!(changed > 5 && wrong.is_empty(), "{file}: {changed} changed; not as foretold: {wrong:#?}");
    }
}

/// A window that was released is wanted as large as it was, up to 6.19.
#[test]
fn what_is_released_keeps_its_size() {
    let log = "pci_bus 0000:00: root bus resource [mem 0x4000000000-0x7fffffffff window]
pci_bus 0000:00: root bus resource [bus 00-ff]
pci 0000:00:04.0: [1b36:000c] type 01 class 0x060400
pci 0000:00:04.0: PCI bridge to [bus 01]
pci 0000:00:04.0:   bridge window [mem 0x4000000000-0x4001ffffff 64bit pref]
pcieport 0000:00:04.0: bridge window [mem 0x4000000000-0x4001ffffff 64bit pref]: releasing
";
    let failed =
        "pcieport 0000:00:04.0: bridge window [mem size 0x02000000 64bit pref]: can't assign; no space\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let windows = |text: &str, kernel: &str| -> Value {
        std::fs::write(&path, text).unwrap();
        let args = ["--json", "pci", "predict", path.to_str().unwrap(), "--kernel", kernel, "--do", "rescan"];
        let report: Value = serde_json::from_slice(&pmem(&args).stdout).unwrap();
        report["events"][0]["windows"].clone()
    };
    let new = &windows(log, "6.12")[0]["new"];
    assert_eq!((&new["start"], &new["end"]), (&"0x4000000000".into(), &"0x4001ffffff".into()));
    assert_eq!(windows(log, "7.0"), serde_json::json!([]));
    assert_eq!(windows(&(log.to_owned() + failed), "6.12"), serde_json::json!([]), "it was given up");
}

/// What arm64 assigns, where nothing stays where firmware left it: from nothing to the end of the log.
#[test]
fn what_is_assigned_anew_is_foretold() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    let cases = corpus.join("pci/cases");
    let log = cases.join("10-ava-altra-rx7600.dmesg-full");
    // The driver makes a register larger later on.
    let whole = std::fs::read_to_string(&log).unwrap();
    let booted = whole.split_once("amdgpu 000d:03:00.0: BAR 0").unwrap().0.rsplit_once('\n').unwrap().0;
    let dir = tempfile::tempdir().unwrap();
    let early = dir.path().join("booted");
    std::fs::write(&early, booted).unwrap();
    let (_, wrong) = not_as_foretold(&early, &early, "6.18", "reassign");
    assert_eq!(wrong, [""; 0]);
    let (changed, wrong) = not_as_foretold(&early, &log, "6.18", "resize 000d:03:00.0:bar0=8G");
    assert_eq!((changed > 3, wrong), (true, Vec::new()));
    // Behind each line that a change made another, what it was before the change.
    let text = std::fs::read_to_string(cases.join("17-qemu-arm64-switch-multifunction.dmesg-bad-and-good"));
    let mut good: Vec<String> = Vec::new();
    for line in text.unwrap().lines() {
        match line.strip_prefix("//") {
            Some(was) if was.trim().starts_with("pci") => *good.last_mut().unwrap() = was.trim().to_owned(),
            Some(_) => drop(good.pop()),
            None => good.push(line.to_owned()),
        }
    }
    let path = dir.path().join("good");
    std::fs::write(&path, good.join("\n")).unwrap();
    let (_, wrong) = not_as_foretold(&path, &path, "6.0", "reassign");
    // Its finder aligned by hand: the line of this register names another function.
    assert!(matches!(wrong.as_slice(), [one] if one.contains("0000:00:04.0\", \"0\")")), "{wrong:#?}");
}

/// What firmware, or a kernel, put against the rules of the bus.
#[test]
fn what_is_illegal_in_public_cases_is_flagged() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    for (file, fault, says) in [
        (
            "cases/02-power9-b580.dmesg-good-6.17",
            "overlap",
            "0030:01:00.0 BAR 0 0x6200020000000..0x6200020800000 overlaps",
        ),
        (
            "cases/02-power9-b580.iomem-fixed-bar0kept",
            "ragged",
            "0x6203fbff10000 is not a whole number of granules",
        ),
        ("cases/16-nutanix-uefi-io-overlap.dmesg", "firmware", "0000:00:1d.0 BAR 4 0x82a0..0x82c0"),
        ("cases/16-nutanix-uefi-io-overlap.lspci", "firmware", "0000:00:1f.3 BAR 4 0x8200..0x8240"),
    ] {
        let path = corpus.join("pci").join(file);
        let output = pmem(&["--json", "pci", "lint", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = report["wrong"]
            .as_array()
            .unwrap()
            .iter()
            .any(|wrong| wrong["fault"] == fault && wrong["says"].as_str().unwrap().contains(says));
        assert!(found, "{file}: {report:#}");
    }
}

/// A range to avoid is avoided, by BARs and by windows, though the machine declares it.
#[test]
fn what_is_to_be_avoided_is() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    let case = Case {
        files: &["cases/08-macmini2018-tb3-p4000.dmesg", "cases/08-macmini2018-tb3-p4000.iomem"],
        ask: &["--all-failed", "--avoid", "0x4000000000-0x8000000000"],
        verdict: "fits",
        quiesced: &["0000:44:00.0"],
        placements: &[],
        bridges: &[],
    };
    let report = answer(&case, &corpus);
    assert_eq!(report["verdict"], "fits", "{report:#}");
    let number =
        |value: &Value| u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let placed = report["placements"].as_array().unwrap().iter().map(|p| number(&p["end"]));
    let windows = report["windows"].as_array().unwrap().iter().filter(|w| !w["new"].is_null());
    for last in placed.chain(windows.map(|w| number(&w["new"]["end"]))) {
        assert!(last < 0x40_0000_0000, "{report:#}");
    }
    // Nothing of the other controller's live devices moves: only empty ports.
    assert_eq!(report["cost"]["live_bytes"], "0x0");
}

/// The kernel of this machine found no addresses and assigned all of them. Assigning all anew must give the same.
#[test]
fn a_boot_without_firmwares_addresses_is_foretold() {
    let dir = pmem_tests::captured("qemu-bare");
    let output =
        pmem(&["--json", "pci", "predict", "--root", dir.path().to_str().unwrap(), "--do", "reassign"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let event = &report["events"][0];
    for what in ["placements", "windows", "fails", "hurts", "differs"] {
        assert_eq!(event[what], serde_json::json!([]), "{what}");
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    let dir = pmem_tests::captured("qemu-pcie-switches");
    let root = dir.path().to_str().unwrap();
    for (args, culprit) in [
        (&["--add", "mem64p:3G", "--at", "0000:06:01.0"][..], "3G is no power of two"),
        (&["--add", "mem128:1G", "--at", "0000:06:01.0"], "mem128 is none of"),
        (&["--add", "5=mem64:1G", "--at", "0000:06:01.0"], "BARs 0 to 5"),
        (&["--add", "mem64p:1G,1=mem32:1M", "--at", "0000:06:01.0"], "is there already"),
        (&["--add", "mem64p:1G", "--at", "0000:77:01.0"], "no function 0000:77:01.0"),
        (&["--add", "mem64p:1G", "--at", "0000:00:00.0"], "is no bridge"),
        (&["--add", "mem64p:1G", "--at", "0000:00:04.0"], "0000:01:00.0 is in the slot of 0000:00:04.0"),
        (&["--add", "mem64p:1G", "--at", "nonsense"], "nonsense"),
        (&["--resize", "0000:00:04.0:bar9=1G"], "bar9=1G"),
        (&["--vfs", "0000:00:04.0=0"], "=0"),
        (&["--all-failed", "--avoid", "5-2"], "--avoid 5-2"),
        (&["--all-failed", "--pin", "0000:66:00.0"], "0000:66:00.0"),
    ] {
        let all: Vec<&str> =
            ["pci", "plan", "--root", root].into_iter().chain(args.iter().copied()).collect();
        let output = pmem(&all);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(culprit), "{args:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

fn predicted(events: &[&str]) -> Vec<Value> {
    let dir = pmem_tests::captured("qemu-pcie-switches");
    let mut args =
        vec!["--json", "pci", "predict", "--root", dir.path().to_str().unwrap(), "--kernel", "6.12"];
    args.extend(events.iter().flat_map(|event| ["--do", event]));
    let output = pmem(&args);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["events"].as_array().unwrap().clone()
}

fn names(list: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = |one: &Value| {
        let function = if one["function"].is_null() { &one["bridge"] } else { &one["function"] };
        let what = if one["bar"].is_null() { &one["kind"] } else { &one["bar"] };
        format!("{} {}", text(function), text(what))
    };
    list.as_array().unwrap().iter().map(name).collect()
}

/// A card too large is plugged in twice: the second time live neighbours lose their windows, and a rescan repairs the map alone.
#[test]
fn a_second_failure_is_foretold_and_a_rescan_in_between_avoids_it() {
    let (plug, out) = ("plug mem64p:16G,mem32:1M at 0000:06:01.0", "unplug 0000:06:01.0");
    let events = predicted(&[plug, out, plug, "rescan"]);
    assert_eq!(names(&events[0]["fails"]), ["0000:06:01.0 pref window", "0000:08:00.0 0"]);
    assert_eq!(names(&events[0]["hurts"]), ["0000:06:01.0 pref window"], "only the port's own");
    assert!(names(&events[2]["hurts"]).contains(&"0000:07:00.0 4".to_owned()), "{}", events[2]);
    assert_eq!(names(&events[3]["placements"]), ["0000:07:00.0 4"], "the map has it again");
    let ports = ["0000:05:00.0 pref", "0000:06:00.0 pref", "0000:06:01.0 pref"];
    assert_eq!(names(&events[3]["differs"]), ports, "the registers have not");
    let events = predicted(&[plug, out, "rescan", plug]);
    assert!(!names(&events[3]["hurts"]).contains(&"0000:07:00.0 4".to_owned()), "{}", events[3]);
    assert_eq!(names(&events[3]["differs"]), [""; 0]);
}

#[test]
fn hierarchies_are_listed_and_checked() {
    let dir = pmem_tests::captured("qemu-pcie-switches");
    let root = dir.path().to_str().unwrap();
    let output = pmem(&["--json", "pci", "tree", "--root", root]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = report["nodes"].as_array().unwrap();
    let port = nodes.iter().find(|node| node["name"] == "0000:02:00.0").unwrap();
    assert_eq!((port["depth"].as_u64(), port["buses"][0].as_u64()), (Some(3), Some(3)));
    let window = &port["windows"][2];
    assert_eq!((window["kind"].as_str(), window["free"].as_str()), (Some("pref"), Some("0x200000")));
    assert_eq!(window["largest"]["start"], window["range"]["start"]);
    let output = pmem(&["pci", "lint", "--root", root]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

/// States that their finders took for good ones.
#[test]
fn what_is_illegal_is_found() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    for file in [
        "02-power9-b580.iomem-good-6.17",
        "02-power9-b580.dmesg-good-6.17",
        "02-power9-b580.dmesg-fixed-bar0kept",
    ] {
        let path = corpus.join("pci/cases").join(file);
        let output = pmem(&["--json", "pci", "lint", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let wrong = report["wrong"].as_array().unwrap();
        let has = |fault: &str, function: &str| {
            wrong
                .iter()
                .any(|w| w["fault"] == fault && w["side"]["function"].as_str().unwrap().contains(function))
        };
        assert!(has("overlap", "0030:01:00.0"), "{file}: {wrong:#?}");
        assert!(wrong.iter().any(|w| w["fault"] == "ragged"), "{file}: {wrong:#?}");
    }
}

/// A machine with a card that found no place: the port's window is small, and the aperture is not.
const NO_SPACE: &str = include_str!("../../docs/samples/no-space.log");

#[test]
fn a_card_goes_below_a_bridge() {
    let machine = pmem_tests::captured("qemu-pcie-switches");
    let root = machine.path().to_str().unwrap();
    let plan = |at: &str| {
        let output = pmem(&["pci", "plan", "--root", root, "--add", "mem64p:1G,mem32:1M", "--at", at]);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    // 0000:06:00.2 resembles two ports, 0000:0c:00.3 two network functions.
    assert!(plan("0000:06:00.2").contains("did you mean \"0000:06:00.0\""), "{}", plan("0000:06:00.2"));
    assert!(!plan("0000:0c:00.3").contains("0000:0c:00.0"), "{}", plan("0000:0c:00.3"));
    let there = plan("0000:06:01.0");
    assert!(there.contains("0000:08:00.0 (new)  0 "), "{there}");
    assert!(!there.contains("0000:0a:00.0 (new)"), "{there}");
}

/// A chipset's ports of power management, which none of its BARs decodes: nothing may be placed there.
#[test]
fn ports_that_no_bar_decodes_are_not_free() {
    let dir = pmem_tests::captured("qemu-bare");
    let ports = dir.path().join("proc/ioports");
    let free = || {
        let output = pmem(&["--json", "pci", "tree", "--root", dir.path().to_str().unwrap()]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = report.to_string();
        assert!(!text.contains("\"0x600\"") && !text.contains("\"0xe000\""), "no BAR: {text}");
        let output = pmem(&["pci", "tree", "--root", dir.path().to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.contains("io window 0xd00..")).unwrap().trim().to_owned()
    };
    assert_eq!(free(), "io window 0xd00..0x10000, free 31.9 KiB, the largest block 16 KiB at 0xc000");
    let list = std::fs::read_to_string(&ports).unwrap();
    let own = list.lines().position(|line| line.contains("0000:00:1f.0")).unwrap();
    let rest = list.lines().enumerate().filter(|(n, _)| !(own..own + 5).contains(n)).map(|(_, line)| line);
    let moved: Vec<&str> = rest.chain(["  e000-e07f : 0000:00:1f.0"]).collect();
    std::fs::write(&ports, moved.join("\n") + "\n").unwrap();
    assert_eq!(free(), "io window 0xd00..0x10000, free 31.7 KiB, the largest block 8 KiB at 0xa000");
}

#[test]
fn what_moves_is_said_once() {
    let machine = pmem_tests::captured("qemu-pcie-switches");
    let root = machine.path().to_str().unwrap();
    let predict = |deed: &str| {
        let output = pmem(&["pci", "predict", "--root", root, "--do", deed]);
        String::from_utf8(output.stdout).unwrap()
    };
    let reassigned = predict("reassign");
    for (named, times) in
        [("  0000:04:00.0 BAR 0", 1), ("  0000:01:00.0 mem window", 1), ("(moved)", 26), ("0000:00:1f.0", 0)]
    {
        assert_eq!(reassigned.matches(named).count(), times, "{named}: {reassigned}");
    }
    assert!(reassigned.contains("  0000:04:00.0 BAR 0: 0x40200000..0x40204000 (moved)\n"), "{reassigned}");
    // What somebody asked to resize has not moved.
    let resized = predict("resize 0000:04:00.0:bar0=32K");
    assert!(resized.contains("  0000:04:00.0 BAR 0: 0xfd600000..0xfd608000\n"), "{resized}");
    let output =
        pmem(&["pci", "predict", "--root", root, "--do", "plug mem32:1G at 0000:06:01.0", "--do", "realloc"]);
    let lost = String::from_utf8(output.stdout).unwrap();
    let (_, lost) = lost.split_once("realloc").unwrap();
    let says: Vec<&str> = lost.lines().filter(|line| line.contains("0000:03:00.0 BAR 0")).collect();
    assert_eq!(says, ["  0000:03:00.0 BAR 0: no space, and it is lost"]);
}

#[test]
fn what_would_fit_instead_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("dmesg");
    std::fs::write(&log, NO_SPACE).unwrap();
    let plan = |args: &[&str]| -> Value {
        let all: Vec<&str> = ["--json", "pci", "plan", log.to_str().unwrap()]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        serde_json::from_slice(&pmem(&all).stdout).unwrap()
    };
    // The aperture has 16 GiB from 16 GiB on: one place for a register of 16 GiB.
    let report = plan(&["--resize", "0000:01:00.0:bar1=32G"]);
    assert_eq!(report["verdict"], "no");
    assert_eq!(report["suggestions"][0], "16 GiB fits: --resize 0000:01:00.0:bar1=16G");
    let report = plan(&["--resize", "0000:01:00.0:bar1=16G"]);
    assert_eq!((&report["verdict"], &report["suggestions"]), (&"fits".into(), &serde_json::json!([])));
}

/// A register cannot be so large; a log that says so is read all the same.
#[test]
fn what_no_register_can_be_does_not_stop_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let line = "pci 0000:06:00.0: reg 0x10: [mem 0xff000000-0xfffffffffffffffe 64bit]\n";
    std::fs::write(&path, line).unwrap();
    let output = pmem(&["pci", "tree", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn words_for_nothing_are_words() {
    let machine = pmem_tests::here().join("machines/qemu-pcie-switches.tar.gz");
    let said = |args: &[&str]| {
        let output = pmem(&[&["pci", args[0], "--root", machine.to_str().unwrap()], &args[1..]].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    let nothing = said(&["predict", "--kernel", "6.12", "--do", "rescan"]);
    assert!(nothing.starts_with("Linux 6.12 on rescan\n  nothing changes\n"), "{nothing}");
    let large = said(&["plan", "--add", "mem64p:128G", "--at", "0000:06:01.0"]);
    assert!(large.contains("no aligned range of 128 GiB lies in"), "{large}");
}
