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

#[test]
fn a_map_is_read_again_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("e820");
    let map = emitted("e820", "qemu-pxb");
    assert!(map.contains("[mem 0x0000000000100000-0x000000003ffd6fff] usable"), "{map}");
    std::fs::write(&file, &map).unwrap();
    assert_eq!(said(&["emit", "e820", file.to_str().unwrap()]), map, "what was read is what was written");
}

#[test]
fn options_for_linux_cover_what_the_map_covers() {
    let words = emitted("linux-memmap", "qemu-pxb");
    let mut words = words.split_whitespace();
    assert_eq!(words.next(), Some("memmap=exactmap"));
    let map = emitted("e820", "qemu-pxb");
    assert_eq!(words.clone().count(), map.lines().count());
    for (word, line) in words.zip(map.lines()) {
        let (size, start) = word.strip_prefix("memmap=").unwrap().split_once(['@', '$', '#', '!']).unwrap();
        let unit = match size.chars().last() {
            Some('K') => 1 << 10,
            Some('M') => 1 << 20,
            Some('G') => 1u64 << 30,
            _ => 1,
        };
        let size: u64 = size.trim_end_matches(['K', 'M', 'G']).parse::<u64>().unwrap() * unit;
        let start = u64::from_str_radix(start.strip_prefix("0x").unwrap(), 16).unwrap();
        assert!(line.contains(&format!("{start:#018x}-{:#018x}", start + size - 1)), "{word}: {line}");
        assert_eq!(word.contains('@'), line.ends_with(" usable"), "{word}: {line}");
    }
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
        for key in ["id", "cpus", "bytes"] {
            let of = |report: &serde_json::Value| -> Vec<serde_json::Value> {
                report["nodes"].as_array().unwrap().iter().map(|node| node[key].clone()).collect()
            };
            assert_eq!(of(&was), of(&is), "{name} {key}");
        }
        for key in ["address", "below", "vendor", "device", "bus"] {
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
        "-device pxb-cxl,id=cxl.1,bus=pcie.0,bus_nr=222",
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
