//! What an emulator built: QEMU's `info mtree -f`, each address space of it a viewer.

use serde_json::{Value, json};
use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    let machine = pmem_tests::here().join("machines/qemu-mtree.txt");
    Command::new(env!("CARGO_BIN_EXE_pmem")).arg("--root").arg(machine).args(words).output().unwrap()
}

fn answers(words: &[&str]) -> Vec<Value> {
    let output = run(&[&["--json", "resolve"], words].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["results"].as_array().unwrap().clone()
}

#[test]
fn cpus_see_memory_devices_and_ports() {
    let found =
        answers(&["0x1000", "0x140000010", "0xfd000000", "0xc8000", "0xc0000000", "io:0x3f8", "io:0x1"]);
    let what: Vec<&str> = found.iter().map(|answer| answer["what"].as_str().unwrap()).collect();
    assert_eq!(
        what,
        [
            "ram0 in System RAM",
            "ram1 in System RAM",
            "shm",
            "ram0 in System ROM",
            "nothing",
            "serial",
            "dma-chan"
        ]
    );
    // Shared memory of a card is no main memory, though it is memory.
    let memory: Vec<&Value> = found.iter().map(|answer| &answer["memory"]).collect();
    assert_eq!(memory[..3], [&json!("DRAM"), &json!("DRAM"), &Value::Null]);
}

#[test]
fn a_device_sees_what_its_address_space_shows() {
    let found = answers(&["--from", "virtio-blk-pci", "0x140000010", "0xfee00000"]);
    assert_eq!((&found[0]["what"], &found[0]["addr"]), (&json!("ram1 in System RAM"), &json!("0x140000010")));
    assert_eq!(found[1]["what"], "vtd-ir", "where CPUs have their local APIC");
    let own = answers(&["--from", "cxl-type3-dpa-space:mem0", "0x1000"]);
    assert_eq!(own[0]["what"], "cxl0");
    let none = answers(&["--from", "virtio-net-pci", "0x1000"]);
    assert_eq!(none[0]["result"], "fault");
    assert!(none[0]["reason"].as_str().unwrap().contains("may not master its bus"), "{}", none[0]);
}

#[test]
fn a_name_that_several_have_is_refused_with_all_of_them() {
    let output = run(&["resolve", "--from", "bus master container", "0x1000"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() != Some(0) && error.contains("FlatView #0") && error.contains("FlatView #1"),
        "{error}"
    );
}

#[test]
fn address_spaces_are_listed_by_what_they_see() {
    let output = run(&["--json", "topo"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let spaces = report["address_spaces"].as_array().unwrap();
    let of =
        |name: &str| spaces.iter().find(|s| s["names"].as_array().unwrap().contains(&json!(name))).unwrap();
    assert_eq!(of("cpu-memory-1")["arena"], "system");
    assert_eq!(
        (&of("virtio-net-pci")["is_empty"], &of("virtio-blk-pci")["is_empty"]),
        (&json!(true), &json!(false))
    );
}

#[test]
fn what_leads_through_an_iommu_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let text = "FlatView #0\n AS \"memory\", root: system\n  0000000000000000-000000007fffffff (prio 0, ram): pc.ram KVM\n\
        FlatView #1\n AS \"vtd-root\", root: vtd-01.0\n  0000000000000000-ffffffffffffffff (prio 0, i/o): vtd-dmar\n";
    std::fs::write(dir.path().join("m.txt"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pmem"))
        .args(["--root", "m.txt", "resolve", "--from", "vtd-root", "0x1000"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3));
    assert!(said.contains("not known") && said.contains("vtd-dmar"), "{said}");
}

#[test]
fn the_picture_of_what_cpus_see_has_nothing_of_other_address_spaces() {
    let drawn = |words: &[&str]| String::from_utf8(run(&[&["--map"], words].concat()).stdout).unwrap();
    let cpus = drawn(&["topo"]);
    assert!(cpus.contains("ram0") && cpus.contains("apic-msi"), "{cpus}");
    assert!(!cpus.contains("cxl0") && !cpus.contains("vtd-ir"), "{cpus}");
    let device = drawn(&["view", "virtio-blk-pci"]);
    assert!(device.contains("vtd-ir") && !device.contains("apic-msi"), "{device}");
}

#[test]
fn an_arena_whose_name_has_a_slash_is_no_path() {
    let output = run(&["view", "system I/O"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("serial"), "{text}{:?}", output.stderr);
}
