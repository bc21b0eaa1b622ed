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
        assert!(answer["what"].as_str().unwrap().contains("MSI window"), "{answer}");
        assert_eq!(answer["result"], "architecture");
    }
}

#[test]
fn what_no_map_of_memory_has_is_said_by_its_own_source() {
    let port = ask(
        &[("ioports", "0000-0cf7 : PCI Bus 0000:00\n  03f8-03ff : serial\n"), ("iomem", IOMEM)],
        &["io:0x3f8"],
    );
    assert_eq!((&port[0]["sure"], says(&port[0], "what")[0].1.clone()), (&json!("said"), json!("./ioports")));
    let machine = pmem_tests::here().join("machines/qemu-mtree.txt");
    let output = Command::new(env!("CARGO_BIN_EXE_pmem"))
        .args(["--json", "resolve", "--from", "cxl-type3-dpa-space:mem0", "0x1000"])
        .arg(machine)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["results"][0]["sure"], "said", "{report}");
}

#[test]
fn memory_that_firmware_has_where_a_device_is_contradicts_it() {
    let kinds = [("ACPI NVS", "doubtful"), ("persistent (type 7)", "doubtful"), ("reserved", "agreed")];
    for (kind, sure) in kinds {
        let log = format!("{LOG}BIOS-e820: [mem 0x00000000e0000000-0x00000000e00fffff] {kind}\n");
        let found = ask(&[("iomem", IOMEM), ("dmesg", &log)], &["0xe0000010"]);
        assert_eq!(found[0]["sure"], *sure, "{kind}: {}", found[0]);
    }
    let lspci = "00:03.0 Ethernet controller: Intel Corporation 82574L\n\tRegion 0: Memory at e0000000 (32-bit, non-prefetchable) [size=1M]\n";
    let two = ask(&[("iomem", IOMEM), ("lspci", lspci)], &["0xe0000010"]);
    assert_eq!(two[0]["sure"], "doubtful", "{}", two[0]);
    let other = |about: &str| says(&two[0], about).into_iter().any(|(.., contradicts)| contradicts);
    assert!(other("what") || other("device"), "{}", two[0]);
}

#[test]
fn who_is_in_a_group_is_behind_a_unit() {
    let groups = "/sys/kernel/iommu_groups/3/devices/0000:00:02.0\n";
    let words = ["--from", "0000:00:02.0", "0x1000000"];
    let found = ask(&[("iomem", IOMEM), ("groups", groups)], &words);
    assert_eq!(found[0]["sure"], "conditional", "{}", found[0]);
    // A folder says of which type a group is.
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join("m").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proc/iomem", IOMEM);
    write("sys/kernel/iommu_groups/3/devices/0000:00:02.0", "");
    for (kind, sure) in [("DMA-FQ", "conditional"), ("identity", "said")] {
        write("sys/kernel/iommu_groups/3/type", &format!("{kind}\n"));
        assert_eq!(run(dir.path(), &["./m".to_owned()], &words)[0]["sure"], sure, "{kind}");
    }
}

#[test]
fn an_interrupt_is_none_of_what_cpus_have_there() {
    let iomem = format!("{IOMEM}fee00000-fee00fff : Local APIC\n");
    let found = ask(&[("iomem", &iomem), ("dmesg", LOG)], &["--from", "0000:00:02.0", "0xfee00010"]);
    assert_eq!((&found[0]["sure"], &found[0]["addr"]), (&json!("architecture"), &Value::Null));
    assert!(says(&found[0], "what").is_empty(), "{}", found[0]);
}

#[test]
fn files_of_a_folder_are_named_whole() {
    let dir = tempfile::tempdir().unwrap();
    let function = dir.path().join("m/sys/devices/pci0000:00/0000:00:02.0");
    fs::create_dir_all(&function).unwrap();
    fs::create_dir_all(dir.path().join("m/proc")).unwrap();
    fs::write(function.join("resource"), "0x00000000e0000000 0x00000000e00fffff 0x0000000000040200\n")
        .unwrap();
    fs::write(function.join("class"), "0x020000\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pmem"))
        .args(["resolve", "0xe0000010", "./m"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("(sys/devices/pci0000:00/0000:00:02.0/resource:1)"), "{text}");
}
