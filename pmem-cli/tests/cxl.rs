//! Which CXL device has an address: of what `cxl list` prints, of the kernel's files, and of the table alone.

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const BASE: u64 = 0x2_1000_0000;
const GIB: u64 = 1 << 30;

fn resolve(dir: &Path, words: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_pmem"))
        .args(["--json", "resolve"])
        .args(words)
        .current_dir(dir)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)));
    report["results"].as_array().unwrap().clone()
}

fn iomem() -> String {
    let last = BASE + 8 * GIB - 1;
    format!(
        "00001000-7fffffff : System RAM\n{BASE:x}-{last:x} : CXL Window 0\n  {BASE:x}-{last:x} : region0\n    \
         {BASE:x}-{last:x} : System RAM (kmem)\n"
    )
}

/// Pieces of 8 KiB go round two devices, the second of which is at 256 MiB of its own.
fn check(dir: &Path, sources: &[&str]) {
    let ask = |word: String| {
        let answers = resolve(dir, &[&[word.as_str()], sources].concat());
        answers[0].clone()
    };
    for (at, device, own, function) in [
        (BASE, "mem1", 0, "0000:c0:00.0"),
        (BASE + 0x2004, "mem0", 0x1000_0004, "0000:36:00.0"),
        (BASE + 0x4000 + 0x1fff, "mem1", 0x3fff, "0000:c0:00.0"),
        (BASE + 8 * GIB - 1, "mem0", 0x1000_0000 + 4 * GIB - 1, "0000:36:00.0"),
    ] {
        let answer = ask(format!("{at:#x}"));
        let cxl = &answer["cxl"];
        assert_eq!(cxl["device"], device, "{answer}");
        assert_eq!((&cxl["function"], &cxl["own"]), (&json!(function), &json!(format!("{own:#x}"))), "{cxl}");
        assert_eq!(
            (&cxl["region"], &cxl["ways"], &cxl["granularity"]),
            (&json!("region0"), &json!(2), &json!(8192))
        );
        // And back.
        let answer = ask(format!("{device}:{own:#x}"));
        assert_eq!(answer["asked"], format!("{at:#x}"), "{answer}");
    }
    assert_eq!(ask("0x2000".to_owned())["cxl"], Value::Null);
}

#[test]
fn what_cxl_list_prints_tells_the_device() {
    let dir = tempfile::tempdir().unwrap();
    let end = |endpoint: &str, device: &str, host: &str, decoder: &str, own: u64| {
        json!({
            "endpoint": endpoint,
            "memdev": { "memdev": device, "ram_size": 4 * GIB, "host": host },
            format!("decoders:{endpoint}"): [{
                "decoder": decoder, "resource": BASE, "size": 8 * GIB, "interleave_ways": 2,
                "interleave_granularity": 8192, "region": "region0", "dpa_resource": own, "dpa_size": 4 * GIB
            }]
        })
    };
    let list = json!([{
        "bus": "root0",
        "ports:root0": [
            { "port": "port1", "host": "pci0000:bf", "endpoints:port1": [end("endpoint3", "mem1", "0000:c0:00.0", "decoder3.0", 0)] },
            { "port": "port2", "host": "pci0000:35", "endpoints:port2": [end("endpoint4", "mem0", "0000:36:00.0", "decoder4.0", 0x1000_0000)] }
        ],
        "decoders:root0": [{
            "decoder": "decoder0.1", "resource": BASE, "size": 8 * GIB, "interleave_ways": 2, "interleave_granularity": 8192,
            "regions:decoder0.1": [{
                "region": "region0", "resource": BASE, "size": 8 * GIB, "interleave_ways": 2, "interleave_granularity": 8192,
                "mappings": [
                    { "position": 1, "memdev": "mem0", "decoder": "decoder4.0" },
                    { "position": 0, "memdev": "mem1", "decoder": "decoder3.0" }
                ]
            }]
        }]
    }]);
    fs::write(dir.path().join("list.json"), serde_json::to_string_pretty(&list).unwrap()).unwrap();
    fs::write(dir.path().join("iomem"), iomem()).unwrap();
    check(dir.path(), &["list.json", "iomem"]);
    // In a text, behind its command.
    let text =
        format!("{}$ cxl list -v\n{}\nuptime\n", iomem(), serde_json::to_string_pretty(&list).unwrap());
    fs::write(dir.path().join("text"), text).unwrap();
    check(dir.path(), &["text"]);
    // Without its regions the list does not say who is first.
    let mut bare = list;
    bare[0].as_object_mut().unwrap().remove("decoders:root0");
    fs::write(dir.path().join("bare.json"), bare.to_string()).unwrap();
    let answer = resolve(dir.path(), &["0x210000000", "bare.json", "iomem"]);
    assert_eq!(answer[0]["cxl"], Value::Null);
}

#[test]
fn the_kernel_s_files_tell_the_device() {
    let dir = tempfile::tempdir().unwrap();
    let cxl = dir.path().join("sys/bus/cxl/devices");
    let write = |path: &str, files: &[(&str, String)]| {
        let folder = cxl.join(path);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), format!("{text}\n")).unwrap();
        }
    };
    let decoder = |own: Option<u64>| {
        let kind = if own.is_some() { "cxl_decoder_endpoint" } else { "cxl_decoder_root" };
        let mut files = vec![
            ("devtype", kind.to_owned()),
            ("start", format!("{BASE:#x}")),
            ("size", format!("{:#x}", 8 * GIB)),
            ("interleave_ways", "2".to_owned()),
            ("interleave_granularity", "8192".to_owned()),
        ];
        if let Some(own) = own {
            files.push(("dpa_resource", format!("{own:#x}")));
            files.push(("dpa_size", format!("{:#x}", 4 * GIB)));
        }
        files
    };
    write("root0", &[]);
    write("decoder0.0", &decoder(None));
    for (number, device, function, own) in
        [(3, "mem1", "0000:c0:00.0", 0), (4, "mem0", "0000:36:00.0", 0x1000_0000)]
    {
        let home = dir.path().join(format!("sys/devices/pci0000:00/{function}/{device}"));
        fs::create_dir_all(&home).unwrap();
        symlink(&home, cxl.join(device)).unwrap();
        write(&format!("endpoint{number}"), &[]);
        symlink(&home, cxl.join(format!("endpoint{number}/uport"))).unwrap();
        write(&format!("decoder{number}.0"), &decoder(Some(own)));
    }
    write(
        "region0",
        &[
            ("resource", format!("{BASE:#x}")),
            ("size", format!("{:#x}", 8 * GIB)),
            ("interleave_ways", "2".to_owned()),
            ("interleave_granularity", "8192".to_owned()),
            ("target0", "decoder3.0".to_owned()),
            ("target1", "decoder4.0".to_owned()),
        ],
    );
    fs::create_dir_all(dir.path().join("proc")).unwrap();
    fs::write(dir.path().join("proc/iomem"), iomem()).unwrap();
    // Links of a capture lead nowhere outside of it: they are relative, as the kernel's are.
    let root = dir.path().to_owned();
    for (link, target) in [
        ("sys/bus/cxl/devices/mem1", "../../../devices/pci0000:00/0000:c0:00.0/mem1"),
        ("sys/bus/cxl/devices/mem0", "../../../devices/pci0000:00/0000:36:00.0/mem0"),
        ("sys/bus/cxl/devices/endpoint3/uport", "../../../../devices/pci0000:00/0000:c0:00.0/mem1"),
        ("sys/bus/cxl/devices/endpoint4/uport", "../../../../devices/pci0000:00/0000:36:00.0/mem0"),
    ] {
        fs::remove_file(root.join(link)).unwrap();
        symlink(target, root.join(link)).unwrap();
    }
    fs::write(cxl.join("endpoint3/CDAT"), cdat()).unwrap();
    check(&root, &["."]);
    assert_eq!(own_memory(&root, "."), own_memory_of_mem1());
    let text =
        Command::new(env!("CARGO_BIN_EXE_pmem")).args(["topo", "."]).current_dir(&root).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    let row = text.lines().find(|line| line.contains("persistent")).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words, ["mem1", "0x100000000..0x180000000", "2", "GiB", "persistent", "300", "ns"]);
    // Gathered and read again, it says the same.
    let out = root.join("capture.tar");
    let done = Command::new(env!("CARGO_BIN_EXE_pmem"))
        .args(["--root", ".", "gather", "capture.tar"])
        .current_dir(&root)
        .status()
        .unwrap();
    assert!(done.success() && out.exists());
    check(&root, &["capture.tar"]);
    assert_eq!(own_memory(&root, "capture.tar"), own_memory_of_mem1());
}

/// Whether the JSON is cut by what follows it, by the end of the text, or wrong inside: it is said where it begins.
#[test]
fn json_that_is_cut_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let warnings = |text: &str| -> Vec<String> {
        fs::write(dir.path().join("list.txt"), text).unwrap();
        let mut pmem = Command::new(env!("CARGO_BIN_EXE_pmem"));
        let out = pmem.args(["topo", "--json", "list.txt"]).current_dir(dir.path()).output().unwrap();
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        said.lines().filter(|line| line.contains("left out")).map(str::to_owned).collect()
    };
    let head = "# cxl list -M\n[\n";
    let one = "  { \"memdev\":\"mem0\", \"ram_size\":268435456, \"host\":\"0000:36:00.0\" }";
    assert_eq!(warnings(&format!("{head}{one}\n]\n")), [""; 0]);
    for (text, why) in [
        (format!("{head}{one},\n"), "it is not complete"),
        (format!("{head}{one},\n$ uname -r\n"), "it is not complete"),
        (format!("{head}{one}\n{one}\n]\n"), "it is no JSON"),
    ] {
        let said = warnings(&text);
        assert_eq!(said.len(), 1, "{text}{said:?}");
        assert!(said[0].contains(why), "{said:?}");
    }
}

/// A device's own table: 6 GiB, of which the last 2 keep their content, and read latencies of 120 ns and 300 ns.
fn cdat() -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes[4] = 1;
    for (handle, flags, base, length) in [(0, 0, 0, 4 * GIB), (1, 4, 4 * GIB, 2 * GIB)] {
        bytes.extend([0, 0, 24, 0, handle, flags, 0, 0]);
        bytes.extend([base, length].into_iter().flat_map(u64::to_le_bytes));
    }
    // Structures of type 1: kinds 1 (read latency, here in units of 10 ns) and 3 (bandwidth, here of 1000 MB/s).
    for (handle, kind, unit, entry) in [(0, 1, 10_000_u64, 12_u16), (1, 1, 10_000, 30), (0, 3, 1000, 32)] {
        bytes.extend([1, 0, 24, 0, handle, 0, kind, 0]);
        bytes.extend(unit.to_le_bytes());
        bytes.extend(entry.to_le_bytes());
        bytes.extend([0; 6]);
    }
    let length = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[5] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    bytes
}

fn own_memory(root: &Path, machine: &str) -> Value {
    let mut pmem = Command::new(env!("CARGO_BIN_EXE_pmem"));
    let out = pmem.args(["topo", "--json", machine]).current_dir(root).output().unwrap();
    let mut topo: Value = serde_json::from_slice(&out.stdout).unwrap();
    topo["cxl_memory"].take()
}

fn own_memory_of_mem1() -> Value {
    let part = |start: u64, end: u64, is_persistent: bool, latency: u32, bandwidth: Option<u32>| {
        json!({
            "device": "mem1",
            "start": format!("{start:#x}"),
            "end": format!("{end:#x}"),
            "persistent": is_persistent,
            "read_latency_ns": latency,
            "write_latency_ns": null,
            "read_bandwidth_mib_s": bandwidth,
            "write_bandwidth_mib_s": bandwidth,
        })
    };
    let parts = [part(0, 4 * GIB, false, 120, Some(32_000)), part(4 * GIB, 6 * GIB, true, 300, None)];
    parts.into_iter().collect()
}

#[test]
fn the_table_alone_tells_the_host_bridge() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    let table = "acpi/qemu-x86/q35/CEDT.cxl";
    for (at, bridge) in [("0x210000000", 12), ("0x210002000", 222), ("0x210004000", 12), ("0x110002000", 12)]
    {
        let answer = resolve(&corpus, &[at, table]);
        assert_eq!(answer[0]["cxl"]["bridge"], bridge, "{answer:?}");
        assert_eq!(answer[0]["cxl"]["device"], Value::Null);
    }
    assert_eq!(resolve(&corpus, &["0x310000000", table])[0]["cxl"], Value::Null);
}
