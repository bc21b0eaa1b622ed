//! Maps for others: that they say what is known of the machine, as those who read them would read them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn machine(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/machines").join(format!("{name}.tar.gz"))
}

fn pmem(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pmem")).args(words).output().unwrap()
}

fn said(words: &[&str]) -> String {
    let output = pmem(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn emitted(form: &str, name: &str) -> String {
    said(&["emit", form, machine(name).to_str().unwrap()])
}

fn topo(source: &str) -> serde_json::Value {
    serde_json::from_str(&said(&["--json", "topo", source])).unwrap()
}

/// What the kernel of a captured machine was told by firmware: start, last and type of each entry of /sys/firmware/memmap.
fn told(name: &str) -> Vec<(u64, u64, String)> {
    let file = std::fs::File::open(machine(name)).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut entries: std::collections::BTreeMap<String, [String; 3]> = std::collections::BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let Some((number, field)) =
            path.strip_prefix("sys/firmware/memmap/").and_then(|rest| rest.split_once('/'))
        else {
            continue;
        };
        let Some(at) = ["start", "end", "type"].iter().position(|known| *known == field) else { continue };
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        entries.entry(number.to_owned()).or_default()[at] = text.trim().to_owned();
    }
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let mut all: Vec<_> =
        entries.into_values().map(|[start, last, kind]| (number(&start), number(&last), kind)).collect();
    all.sort();
    all
}

#[test]
fn the_map_is_what_firmware_told_the_kernel() {
    // The other captures are older than the reader of it.
    let told: Vec<String> = told("qemu-cxl")
        .into_iter()
        .map(|(start, last, kind)| {
            let words = if kind == "System RAM" { "usable" } else { "reserved" };
            format!("BIOS-e820: [mem {start:#018x}-{last:#018x}] {words}")
        })
        .collect();
    assert!(told.len() > 5);
    assert_eq!(emitted("e820", "qemu-cxl").lines().collect::<Vec<_>>(), told);
}

#[test]
fn without_firmwares_map_the_kernels_list_says_which_type_is_which() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("iomem");
    let list = "00000000-00000fff : Reserved\n00001000-0009ffff : System RAM\n00100000-3fffffff : System RAM\n\
        \x20 01000000-01ffffff : Kernel code\n40000000-400fffff : ACPI Tables\n40100000-401fffff : ACPI Non-volatile Storage\n\
        50000000-5fffffff : Soft Reserved\n80000000-dfffffff : PCI Bus 0000:00\n  80000000-8fffffff : PCI MMCONFIG 0000 [bus 00-ff]\n\
        \x20   80000000-8fffffff : Reserved\n      80000000-8fffffff : pnp 00:05\n\
        100000000-1ffffffff : Persistent Memory\n  100000000-1ffffffff : namespace0.0\n\
        200000000-2ffffffff : System RAM (virtio_mem)\n";
    std::fs::write(&file, list).unwrap();
    let source = file.to_str().unwrap();
    let map = said(&["emit", "e820", source]);
    let wanted = [
        ("0x0000000000000000-0x0000000000000fff", "reserved", "4K$0x0"),
        ("0x0000000000001000-0x000000000009ffff", "usable", "636K@0x1000"),
        ("0x0000000000100000-0x000000003fffffff", "usable", "1023M@0x100000"),
        ("0x0000000040000000-0x00000000400fffff", "ACPI data", "1M#0x40000000"),
        ("0x0000000040100000-0x00000000401fffff", "ACPI NVS", "1M%0x40100000+4"),
        ("0x0000000050000000-0x000000005fffffff", "soft reserved", "256M%0x50000000+0xefffffff"),
        // Inside of a bus's window, around a device.
        ("0x0000000080000000-0x000000008fffffff", "reserved", "256M$0x80000000"),
        ("0x0000000100000000-0x00000001ffffffff", "persistent (type 7)", "4G!0x100000000"),
        // What a driver has plugged in since is not firmware's.
    ];
    let lines: Vec<String> =
        wanted.iter().map(|(range, words, _)| format!("BIOS-e820: [mem {range}] {words}")).collect();
    assert_eq!(map.lines().collect::<Vec<_>>(), lines);
    let options = said(&["emit", "linux-memmap", source]);
    let words: Vec<String> = wanted.iter().map(|(.., option)| format!("memmap={option}")).collect();
    assert_eq!(options.split_whitespace().skip(1).collect::<Vec<_>>(), words);
    // What keeps its content, or is for a purpose, is no memory for anybody.
    let tree = said(&["emit", "dts", source]);
    assert!(!tree.contains("memory@100000000") && !tree.contains("memory@50000000"), "{tree}");
    assert!(tree.contains("pmem@100000000") && tree.contains("compatible = \"pmem-region\""), "{tree}");
}

#[test]
fn hwlocs_xml_says_the_same_machine() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["qemu-pxb", "qemu-numa4-hmat", "qemu-pcie-switches"] {
        let file = folder.path().join(format!("{name}.xml"));
        std::fs::write(&file, emitted("hwloc-xml", name)).unwrap();
        let (was, is) = (topo(machine(name).to_str().unwrap()), topo(file.to_str().unwrap()));
        // hwloc lists no distances of a single node.
        if was["nodes"].as_array().unwrap().len() > 1 {
            assert_eq!(was["distances"], is["distances"], "{name}");
        }
        for key in ["id", "cpus", "managed_bytes"] {
            let of = |report: &serde_json::Value| -> Vec<serde_json::Value> {
                report["nodes"].as_array().unwrap().iter().map(|node| node[key].clone()).collect()
            };
            assert_eq!(of(&was), of(&is), "{name} {key}");
        }
        for key in ["address", "below", "vendor", "device", "bus", "node"] {
            let of = |report: &serde_json::Value| -> Vec<String> {
                let mut all: Vec<String> = report["functions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|function| format!("{} {}", function["address"], function[key]))
                    .collect();
                all.sort();
                all
            };
            assert_eq!(of(&was), of(&is), "{name} {key}");
        }
    }
}

#[test]
fn a_device_tree_has_every_byte_of_memory_and_every_distance() {
    let tree = emitted("dts", "qemu-numa4-hmat");
    let report = topo(machine("qemu-numa4-hmat").to_str().unwrap());
    let cells = |number: u64| format!("{:#x} {:#x}", number >> 32, number & 0xffff_ffff);
    let number = |value: &serde_json::Value| {
        u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    };
    for node in report["nodes"].as_array().unwrap() {
        for range in node["at"].as_array().unwrap() {
            let (start, end) = (number(&range["start"]), number(&range["end"]));
            let reg = format!("<{} {}>", cells(start), cells(end - start));
            let at = tree.find(&reg).unwrap_or_else(|| panic!("{reg}: {tree}"));
            let id = tree[at..].find("numa-node-id = <").map(|found| &tree[at + found + 16..]).unwrap();
            assert!(id.starts_with(&format!("{}>", node["id"])), "{reg}");
        }
    }
    for (from, row) in report["distances"]["matrix"].as_array().unwrap().iter().enumerate() {
        for (to, distance) in row.as_array().unwrap().iter().enumerate() {
            assert!(tree.contains(&format!("<{from} {to} {distance}>")), "{from} {to}");
        }
    }
    assert_eq!(tree.matches('{').count(), tree.matches('}').count());
}

#[test]
fn qemu_is_told_what_the_captured_machine_was_made_of() {
    // What `cargo xtask capture` gave these machines.
    let line = emitted("qemu", "qemu-cxl");
    for option in [
        "cxl=on,cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=4096M,",
        "cxl-fmw.2.targets.0=cxl.0,cxl-fmw.2.targets.1=cxl.1,cxl-fmw.2.size=8192M,cxl-fmw.2.interleave-granularity=8192",
        "-device pxb-cxl,id=cxl.1,bus=pcie.0,addr=1d,bus_nr=222",
        "-numa dist,src=0,dst=1,val=21",
        "-object memory-backend-ram,id=m1,size=512M",
    ] {
        assert!(line.contains(option), "{option}: {line}");
    }
    let line = emitted("qemu", "qemu-numa2-hmat");
    for option in [
        "hmat-lb,initiator=0,target=0,hierarchy=memory,data-type=write-latency,latency=90",
        "hmat-lb,initiator=1,target=1,hierarchy=memory,data-type=read-bandwidth,bandwidth=16384M",
        "-numa node,nodeid=1,memdev=m1,cpus=2-3,initiator=1",
    ] {
        assert!(line.contains(option), "{option}: {line}");
    }
    let line = emitted("qemu", "qemu-pcie-switches");
    for option in
        ["x3130-upstream", "xio3130-downstream", "pcie-pci-bridge", "pci-bridge", "rtl8139", "nvme,drive="]
    {
        assert!(line.contains(option), "{option}: {line}");
    }
}

#[test]
fn qemu_is_told_nothing_that_it_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("machine.xml");
    // Zen: root ports beside a host bridge in function 0; an endpoint on a second root bus; nodes with a gap; distances of two of three.
    let xml = r#"<topology version="2.0"><object type="Machine" cpuset="0x00000003" nodeset="0x00000101">
        <object type="Group" cpuset="0x00000001" nodeset="0x00000001"><object type="NUMANode" os_index="0" cpuset="0x00000001" local_memory="1048576"/>
         <object type="PU" os_index="0"/>
         <object type="Bridge" bridge_type="0-1" bridge_pci="0000:[00-02]">
          <object type="PCIDev" pci_busid="0000:00:01.0" pci_type="0600 [1022:1482] [0000:0000] 00"/>
          <object type="Bridge" bridge_type="1-1" bridge_pci="0000:[01-01]" pci_busid="0000:00:01.1" pci_type="0604 [1022:1483] [0000:0000] 00">
           <object type="PCIDev" pci_busid="0000:01:00.0" pci_type="0108 [144d:a808] [0000:0000] 00"/></object>
         </object></object>
        <object type="Group" cpuset="0x00000002" nodeset="0x00000100"><object type="NUMANode" os_index="8" cpuset="0x00000002" local_memory="1048576"/>
         <object type="PU" os_index="1"/>
         <object type="Bridge" bridge_type="0-1" bridge_pci="0000:[80-80]">
          <object type="PCIDev" pci_busid="0000:80:14.0" pci_type="0880 [8086:342e] [0000:0000] 00"/>
          <object type="Bridge" bridge_type="1-1" bridge_pci="0000:[81-81]" pci_busid="0000:80:02.0" pci_type="0604 [8086:347a] [0000:0000] 00"/>
         </object></object>
        <object type="NUMANode" os_index="9" cpuset="0x00000003" local_memory="1048576"/></object>
        <distances2 type="NUMANode" nbobjs="2" kind="5" indexing="os"><indexes>0 8 </indexes><u64values>10 20 20 10 </u64values></distances2></topology>"#;
    std::fs::write(&file, xml).unwrap();
    let line = said(&["emit", "qemu", file.to_str().unwrap()]);
    assert!(
        line.contains("-device pci-testdev,bus=pcie.0,addr=1.0,multifunction=on"),
        "function 0 has to be there: {line}"
    );
    assert!(line.contains("bus_nr=128,numa_node=1"), "the node's number is QEMU's: {line}");
    assert!(
        !line.contains("addr=14.0") && line.contains("# 0000:80:14.0: "),
        "no endpoint on an extra host bridge: {line}"
    );
    assert!(
        !line.contains("-numa dist") && line.contains("# distances are left out: "),
        "all pairs or none: {line}"
    );
    // No slot of the first bus is given to two.
    let slot = |option: &str| {
        option
            .split("bus=pcie.0,addr=")
            .nth(1)
            .map(|rest| rest.split([',', ' ', '\n']).next().unwrap().to_owned())
    };
    let mut slots: Vec<String> = line.lines().filter_map(slot).collect();
    slots.sort();
    let count = slots.len();
    slots.dedup();
    assert_eq!(slots.len(), count, "{line}");
}

#[test]
fn the_largest_numbers_end_in_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("iomem");
    std::fs::write(&file, "00000000-ffffffffffffffff : System RAM\n").unwrap();
    for form in ["e820", "linux-memmap", "dts", "qemu", "hwloc-xml", "json"] {
        let output = pmem(&["emit", form, file.to_str().unwrap()]);
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{form}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn what_is_not_known_is_not_emitted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lspci");
    std::fs::write(&file, "00:02.0 VGA compatible controller: Intel\n\tRegion 0: Memory at f7800000 (64-bit, non-prefetchable) [size=4M]\n").unwrap();
    for (form, why) in [
        ("e820", "where memory is"),
        ("linux-memmap", "where memory is"),
        ("dts", "where memory is"),
        ("qemu", "memory"),
        ("hwloc-xml", "CPUs"),
    ] {
        let output = pmem(&["emit", form, file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{form}");
        assert!(output.stdout.is_empty(), "{form}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(why),
            "{form}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
