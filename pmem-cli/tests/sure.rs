//! How sure an answer is, and who says so.

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

const IOMEM: &str = "00000000-00000fff : Reserved\n00001000-0009ffff : System RAM\n00100000-7fffffff : System RAM\n  01000000-01ffffff : Kernel code\n\
    e0000000-efffffff : PCI Bus 0000:00\n  e0000000-e00fffff : 0000:00:02.0\n";
const LOG: &str = "BIOS-e820: [mem 0x0000000000000000-0x000000000009ffff] usable\nBIOS-e820: [mem 0x0000000000100000-0x000000003fffffff] usable\n\
    BIOS-e820: [mem 0x0000000040000000-0x000000007fffffff] reserved\n";
const NODES: &str = "ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x3fffffff]\nACPI: SRAT: Node 1 PXM 1 [mem 0x40000000-0x7fffffff]\n\
    Early memory node ranges\n  node   0: [mem 0x0000000000001000-0x000000000009ffff]\n  node   0: [mem 0x0000000000100000-0x000000002fffffff]\n  \
    node   1: [mem 0x0000000030000000-0x000000007fffffff]\n";

fn ask(files: &[(&str, &str)], words: &[&str]) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let sources: Vec<String> = files.iter().map(|(name, _)| format!("./{name}")).collect();
    run(dir.path(), &sources, words)
}

fn run(dir: &Path, sources: &[String], words: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_pmem"))
        .args(["--json", "resolve"])
        .args(words)
        .args(sources)
        .current_dir(dir)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)));
    report["results"].as_array().unwrap().clone()
}

/// By whom something is said, and the line.
fn says(answer: &Value, about: &str) -> Vec<(String, Value, Value, bool)> {
    let all = answer["evidence"].as_array().unwrap().iter().filter(|said| said["about"] == about);
    all.map(|said| {
        let words = said["says"].as_str().unwrap().to_owned();
        (words, said["source"].clone(), said["line"].clone(), said["stance"] == "contradicts")
    })
    .collect()
}

#[test]
fn one_source_says_two_agree_and_contradictions_are_doubts() {
    let alone = ask(&[("iomem", IOMEM)], &["0x1000000"]);
    assert_eq!(alone[0]["sure"], "said");
    let both = ask(&[("iomem", IOMEM), ("dmesg", LOG)], &["0x1000000", "0x50000000", "0x500"]);
    let sure: Vec<&Value> = both.iter().map(|answer| &answer["sure"]).collect();
    assert_eq!(sure, [&json!("agreed"), &json!("doubtful"), &json!("said")]);
    assert_eq!(
        says(&both[0], "what"),
        [
            ("Kernel code".to_owned(), json!("./iomem"), json!(4), false),
            ("System RAM".to_owned(), json!("./iomem"), json!(3), false),
            ("usable".to_owned(), json!("./dmesg"), json!(2), false),
        ]
    );
    assert!(
        says(&both[1], "what")
            .iter()
            .any(|(says, _, line, contradicts)| says == "reserved" && *line == 3 && *contradicts)
    );
}

#[test]
fn a_node_that_sources_dispute_is_in_doubt() {
    let found = ask(&[("iomem", IOMEM), ("dmesg", NODES)], &["0x1000000", "0x38000000"]);
    assert_eq!((&found[0]["numa_node"], &found[0]["sure"]), (&json!(0), &json!("said")));
    assert_eq!((&found[1]["numa_node"], &found[1]["sure"]), (&json!(1), &json!("doubtful")));
    let node: Vec<bool> = says(&found[1], "node").into_iter().map(|(.., contradicts)| contradicts).collect();
    assert_eq!(node, [true, false], "SRAT says 0, the kernel's ranges 1");
}

#[test]
fn a_device_is_named_by_who_says_where_it_is() {
    let found = ask(&[("iomem", IOMEM)], &["0xe0000010", "0xfee00000"]);
    assert_eq!(found[0]["function"], "0000:00:02.0");
    assert_eq!(says(&found[0], "device"), [("0000:00:02.0".to_owned(), json!("./iomem"), json!(6), false)]);
    assert_eq!(found[1]["sure"], json!("inferred"), "no source shows that this is a PC");
    let pc = ask(&[("iomem", IOMEM), ("dmesg", LOG)], &["0xfee00000"]);
    assert_eq!((&pc[0]["sure"], &pc[0]["result"]), (&json!("architecture"), &json!("architecture")));
}

#[test]
fn what_a_device_reaches_hangs_on_its_iommu() {
    let units = "DMAR: DRHD base: 0x000000fed90000 flags: 0x1\nDMAR: dmar0: reg_base_addr fed90000 ver 1:0 cap 1c0000c40660462 ecap 7e3ff0505e\n";
    let groups = "/sys/kernel/iommu_groups/3/devices/0000:00:02.0\n\
        /sys/kernel/iommu_groups/3/reserved_regions:0x0000000001000000 0x0000000001ffffff direct\n";
    let from = ["--from", "0000:00:02.0", "0x1000000", "0x2000000", "0xfee00010"];
    let bare = ask(&[("iomem", IOMEM), ("dmesg", LOG)], &from);
    assert_eq!(bare[0]["sure"], "agreed");
    assert_eq!(says(&bare[0], "way")[0].0, "no source shows an IOMMU");
    let behind = ask(&[("iomem", IOMEM), ("dmesg", &format!("{LOG}{units}")), ("groups", groups)], &from);
    assert_eq!(behind[0]["sure"], "conditional");
    let way = says(&behind[0], "way");
    assert!(
        way.iter().any(|(says, source, ..)| says.contains("firmware shares memory") && source == "./groups"),
        "{way:?}"
    );
    assert!(
        says(&behind[1], "way").iter().all(|(says, ..)| !says.contains("reserved")),
        "outside of the range"
    );
    for answer in [&bare[2], &behind[2]] {
        assert!(answer["what"].as_str().unwrap().contains("message signalled interrupts"), "{answer}");
        assert_eq!(answer["result"], "architecture");
    }
}
