//! `pmem lint` over what people posted: `tests/lint.txt` says what is to be found in each case, with whose addresses, and nothing else may be.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn pmem(words: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pmem")).args(words).current_dir(dir).output().unwrap()
}

/// The findings, and the last line.
fn lint(dir: &Path, words: &[&str]) -> (Vec<Value>, Value, Option<i32>) {
    let output = pmem(&[&["--json", "lint"], words].concat(), dir);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last =
        lines.pop().unwrap_or_else(|| panic!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)));
    (lines, last, output.status.code())
}

/// What a finding must be.
struct Wanted {
    rule: String,
    severity: String,
    ranges: Vec<String>,
    /// It may be missing.
    may_lack: bool,
}

fn wanted(text: &str) -> Wanted {
    let may_lack = text.starts_with('(');
    let mut words = text.trim_matches(['(', ')']).split_whitespace().map(str::to_owned);
    let (rule, severity) = (words.next().unwrap(), words.next().unwrap());
    Wanted { rule, severity, ranges: words.collect(), may_lack }
}

fn fits(found: &Value, wanted: &Wanted) -> bool {
    let has = |range: &String| {
        let (start, end) = range.split_once('-').unwrap();
        found["sides"].as_array().unwrap().iter().any(|side| side["start"] == start && side["end"] == end)
    };
    found["rule"] == *wanted.rule && found["severity"] == *wanted.severity && wanted.ranges.iter().all(has)
}

#[test]
fn every_case_has_its_findings_and_no_others() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    let dir = corpus.join("lint");
    let text = include_str!("../../tests/lint.txt");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (file, rest) = line.split_once(':').unwrap();
        let all: Vec<Wanted> =
            rest.split(';').map(str::trim).filter(|one| !one.is_empty()).map(wanted).collect();
        let (found, last, status) = lint(&dir, &[file]);
        seen += 1;
        let shown = || found.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        for one in all.iter().filter(|one| !one.may_lack) {
            if !found.iter().any(|found| fits(found, one)) {
                wrong.push(format!("{file}: no {} {} {:?}\n{}", one.severity, one.rule, one.ranges, shown()));
            }
        }
        let is_named = |found: &&Value| {
            all.iter().any(|one| found["rule"] == *one.rule && found["severity"] == *one.severity)
        };
        if let Some(other) = found.iter().find(|found| !is_named(found)) {
            wrong.push(format!("{file}: {other} is too much"));
        }
        // Something is wrong, or nothing is.
        let is_wrong = found.iter().any(|found| found["severity"] != "info");
        assert_eq!(status, Some(i32::from(is_wrong)), "{file}: {last}");
        for found in &found {
            let words = ["means", "helps"].map(|key| found[key].as_str().unwrap().len());
            assert!(
                words.iter().all(|length| *length > 10) && !found["sides"].as_array().unwrap().is_empty()
            );
            let place = found["sides"]
                .as_array()
                .unwrap()
                .iter()
                .all(|side| side["source"].as_str().unwrap().contains(file));
            assert!(place && found["machine"] == file, "{found}");
        }
    }
    let there = std::fs::read_dir(&dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name() != "INDEX.md")
        .count();
    assert!(wrong.is_empty(), "{} of {seen}:\n{}", wrong.len(), wrong.join("\n\n"));
    assert_eq!(seen, there, "cases that tests/lint.txt does not name");
}

/// Positives that nobody found in public, and a right one beside each.
#[test]
fn what_nobody_posted_is_found_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let check = |text: &str, expected: &[&str]| {
        std::fs::write(dir.path().join("case.txt"), text).unwrap();
        let (found, ..) = lint(dir.path(), &["case.txt"]);
        let rules: Vec<String> = found
            .iter()
            .map(|found| {
                format!("{} {}", found["rule"].as_str().unwrap(), found["severity"].as_str().unwrap())
            })
            .collect();
        assert_eq!(rules, expected, "{text}\n{found:?}");
    };
    // N2: domains that share memory.
    let srat = |last: &str| {
        format!(
            "ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-{last}]\nACPI: SRAT: Node 1 PXM 1 [mem 0x100000000-0x1ffffffff]\n"
        )
    };
    check(&srat("0x13fffffff"), &["N2 error"]);
    check(&srat("0xffffffff"), &[]);
    // N7, N9: distances.
    let slit = |cells: &[u8], count: u8| {
        let mut bytes = Vec::from(*b"SLIT");
        bytes.extend((44 + cells.len() as u32).to_le_bytes());
        bytes.extend([1, 0]);
        bytes.extend([b' '; 26]);
        bytes.extend(u64::from(count).to_le_bytes());
        bytes.extend(cells);
        bytes[9] = 0u8.wrapping_sub(bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
        std::fs::write(dir.path().join("slit.dat"), bytes).unwrap();
        let (found, ..) = lint(dir.path(), &["slit.dat"]);
        found.iter().map(|found| found["rule"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(slit(&[10, 20, 20, 10], 2), [""; 0]);
    assert_eq!(slit(&[10, 10, 20, 10], 2), ["N7", "N8"]);
    assert_eq!(slit(&[10, 255, 255, 10], 2), [""; 0]);
    assert_eq!(slit(&[10, 20, 20], 2), ["N9"]);
    // C6: decoders of a port that are out of order.
    let decoder = |id: u32, start: u64| {
        format!(
            "/sys/bus/cxl/devices/port1/decoder1.{id}/start:{start:#x}\n/sys/bus/cxl/devices/port1/decoder1.{id}/size:0x10000000\n"
        )
    };
    let window = "/sys/bus/cxl/devices/root0/decoder0.0/start:0x100000000\n/sys/bus/cxl/devices/root0/decoder0.0/size:0x80000000\n";
    check(&format!("{window}{}{}", decoder(0, 0x1_2000_0000), decoder(1, 0x1_0000_0000)), &["C6 error"]);
    check(&format!("{window}{}{}", decoder(0, 0x1_0000_0000), decoder(1, 0x1_2000_0000)), &[]);
    check(&format!("{window}{}", decoder(0, 0x1_7800_0000)), &["C2 error"]);
    // C5: a region of two devices. Another window that reaches one of them only shows that they are below different
    // host bridges; one that reaches both shows nothing.
    let windows = |other: &str| {
        let device = |name: &str| format!("{{ \"memdev\":\"{name}\", \"ram_size\":268435456 }}");
        let list = |names: &str| names.split(' ').map(device).collect::<Vec<_>>().join(",");
        format!(
            "## cxl list -d 0.0 -M\n[{}]\n## cxl list -d 0.1 -M\n[{}]\n## command\n\
             cxl create-region -d decoder0.1 -w 2 -g 8192 -m mem1 mem3 --type=ram\n",
            list(other),
            list("mem1 mem3 mem2")
        )
    };
    check(&windows("mem2"), &["C5 error"]);
    check(&windows("mem1"), &[]);
    check(&windows("mem1 mem3 mem2"), &[]);
    // M4: two maps of one boot.
    let maps = |kind: &str| {
        format!(
            "BIOS-e820: [mem 0x0000000000100000-0x000000007fffffff] {kind}\n\
             efi: mem00: [Conventional Memory|   |  |  |  |  |WB|WT|WC|UC] range=[0x0000000000100000-0x000000007fffffff] (2047MB)\n"
        )
    };
    check(&maps("reserved"), &["M4 warn"]);
    check(&maps("usable"), &[]);
    // I1: memory that is shared, where the system uses it.
    let rmrr = |at: &str| {
        format!(
            "BIOS-e820: [mem 0x0000000000100000-0x000000007fffffff] usable\n\
             BIOS-e820: [mem 0x0000000080000000-0x000000008fffffff] reserved\nDMAR: RMRR base: {at}\n"
        )
    };
    check(&rmrr("0x0000007f000000 end: 0x0000007f7fffff"), &["I1 error"]);
    check(&rmrr("0x0000008f000000 end: 0x0000008f7fffff"), &[]);
    check(&rmrr("0x000000a0000000 end: 0x000000a07fffff"), &["I1 warn"]);
    check(&rmrr("0x0000008f000000 end: 0x0000008f7ffffe"), &["I2 warn"]);
    // S2: before Linux 5.3 a section is all of one kind.
    let sections = |kernel: &str| {
        format!(
            "Linux version {kernel} (gcc)\nBIOS-e820: [mem 0x0000000100000000-0x000000013fffffff] usable\n\
             BIOS-e820: [mem 0x0000000140000000-0x000000017fffffff] persistent (type 12)\n\
             BIOS-e820: [mem 0x0000000180000000-0x0000000183ffffff] persistent (type 12)\n\
             BIOS-e820: [mem 0x0000000184000000-0x000000018fffffff] usable\n"
        )
    };
    check(&sections("4.19.0"), &["S2 warn"]);
    check(&sections("6.1.0"), &[]);
}

#[test]
fn many_machines_are_looked_at_in_one_call() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let text = "nd_pmem namespace0.0: [mem 0x06000000-0x0e8b7fff] misaligned, unable to map\n";
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    std::fs::write(dir.path().join("c"), "nothing of the kind\n").unwrap();
    let (found, last, status) = lint(dir.path(), &["a", "b", "c", "d"]);
    assert_eq!(found.iter().map(|found| found["machine"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((last["machines"].as_u64(), last["error"].as_u64(), status), (Some(2), Some(2), Some(1)));
    let failed: Vec<&str> =
        last["failed"].as_array().unwrap().iter().map(|one| one["machine"].as_str().unwrap()).collect();
    assert_eq!(failed, ["c", "d"]);
    let lacks = |rule: &str| {
        last["unchecked"].as_array().unwrap().iter().any(|one| one["rule"] == rule && one["machine"] == "a")
    };
    assert!(lacks("N1") && lacks("C1") && !lacks("S1"));
    // All of one machine.
    let (found, last, _) = lint(dir.path(), &["--together", "a", "b"]);
    // What two of its sources say alike is one finding.
    assert_eq!((found.len(), last["machines"].as_u64()), (1, Some(1)));
}

#[test]
fn rules_are_explained() {
    let dir = std::env::temp_dir();
    let one = String::from_utf8(pmem(&["lint", "--explain", "n1"], &dir).stdout).unwrap();
    assert!(one.starts_with("N1 (error)") && one.contains("1 MiB"));
    let all = String::from_utf8(pmem(&["lint", "--explain", "all"], &dir).stdout).unwrap();
    assert_eq!(all.lines().filter(|line| !line.starts_with(' ')).count(), 48);
    let wrong = pmem(&["lint", "--explain", "Q9"], &dir);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_capture_that_is_cut_or_hides_its_addresses_is_not_clean() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(pmem_tests::here().join("machines/qemu-cxl.tar.gz")).unwrap();
    std::fs::write(dir.path().join("whole.tar"), &whole).unwrap();
    std::fs::write(dir.path().join("cut.tar"), &whole[..whole.len() / 2]).unwrap();
    std::fs::create_dir_all(dir.path().join("hidden/proc")).unwrap();
    let zeros = "00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n";
    std::fs::write(dir.path().join("hidden/proc/iomem"), zeros).unwrap();
    let (_, last, status) = lint(dir.path(), &["whole.tar", "cut.tar", "hidden"]);
    assert_eq!((status, last["machines"].as_u64()), (Some(1), Some(3)));
    let failed = last["failed"].as_array().unwrap();
    assert_eq!((failed.len(), &failed[0]["machine"]), (1, &Value::from("cut.tar")), "{last}");
    assert!(failed[0]["why"].as_str().unwrap().contains("damaged"), "{last}");
    let warnings = |n: usize| last["read"][n]["warnings"].to_string();
    assert_eq!(warnings(0), "[]");
    assert!(warnings(1).contains("damaged") && warnings(2).contains("hidden"), "{last}");
    let cut = pmem(&["lint", "cut.tar"], dir.path());
    let text = String::from_utf8(cut.stdout).unwrap();
    assert!(cut.status.code() == Some(1) && text.contains("Warnings\n  cut.tar: "), "{text}");
}
