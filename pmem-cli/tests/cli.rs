//! The command as people run it: exit status, JSON, pipes, bad input.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pmem"))
}

fn pmem(args: &[&str]) -> Output {
    command().args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs the command; it must end with `status`, and never by a panic.
fn run(args: &[&str], status: i32) -> (String, String) {
    let output = pmem(args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{args:?}: {out}{err}");
    assert!(!err.contains("panicked"), "{args:?}: {err}");
    (out, err)
}

fn json(args: &[&str], status: i32) -> Value {
    let mut all = vec!["--json"];
    all.extend(args);
    let value: Value = serde_json::from_str(&run(&all, status).0).unwrap();
    assert_eq!(value["schema"], 2);
    value
}

/// A warning as it is shown.
fn warning(warning: &Value) -> String {
    let places: Vec<&str> =
        warning["places"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
    format!("{}: {}", places.join(" and "), warning["text"].as_str().unwrap())
}

fn write(dir: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn arg(dir: &Path) -> &str {
    dir.to_str().unwrap()
}

#[test]
fn topo_of_this_machine_works() {
    let value = json(&["topo"], 0);
    for key in ["arenas", "interconnects", "distances", "warnings", "nodes", "functions"] {
        assert!(!value[key].is_null(), "{key}");
    }
    assert!(run(&["topo"], 0).0.contains("Arenas"));
}

#[test]
fn every_view_of_every_machine_can_be_printed() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    for entry in fs::read_dir(corpus.join("machines")).unwrap() {
        let dir = entry.unwrap().path();
        run(&["topo", "--root", arg(&dir)], 0);
        run(&["view", "--root", arg(&dir)], 0);
        run(&["view", "--root", arg(&dir), "--local", "system"], 0);
        let ram = json(&["ram", "show", "--root", arg(&dir)], 0);
        let nodes = json(&["topo", "--root", arg(&dir)], 0)["nodes"].as_array().unwrap().len();
        assert_eq!(ram["nodes"].as_array().unwrap().len(), nodes, "{}", dir.display());
        let said = run(&["ram", "show", "--root", arg(&dir)], 0).0;
        assert!(ram["segments"][0].is_object() || said.contains("are at unknown addresses"), "{said}");
    }
    for entry in fs::read_dir(corpus.join("decoding-nets")).unwrap() {
        let net = entry.unwrap().path();
        run(&["topo", "--net", arg(&net)], 0);
        run(&["view", "--net", arg(&net)], 0);
    }
}

#[test]
fn topo_has_the_keys_that_it_promises() {
    let dir = pmem_tests::captured("qemu-pcie-switches");
    let value = json(&["topo", "--root", arg(dir.path())], 0);
    let find =
        |name: &str| value["arenas"].as_array().unwrap().iter().find(|a| a["name"] == name).unwrap().clone();
    let ram = find("node0 RAM");
    assert_eq!(ram["type"], "ram");
    assert_eq!(ram["spans"][0]["start"], "0x1000");
    let bus = find("pci 0000:0a");
    let region = &bus["regions"][0];
    for key in ["start", "end", "name", "usage", "prot", "props", "refs"] {
        assert!(!region[key].is_null(), "{key} of {region}");
    }
    assert_eq!(region["refs"], 1);
    let link = &value["interconnects"][0];
    for key in ["left", "right", "metric", "to_right", "to_left"] {
        assert!(!link[key].is_null(), "{key} of {link}");
    }
}

#[test]
fn resolve_says_what_is_there_or_why_not() {
    let dir = pmem_tests::captured("qemu-pcie-switches");
    let root = arg(dir.path());
    let hit = json(&["resolve", "--root", root, "0x100000000"], 0);
    assert_eq!((&hit["result"], &hit["addr"]), (&"accept".into(), &"0x100000000".into()));
    assert!(hit["region"].as_str().unwrap().ends_with("BAR 2"), "{hit}");
    assert_eq!(hit["hops"].as_array().unwrap().len(), 2, "{hit}");
    let miss = json(&["resolve", "--root", root, "0xfff00000000"], 3);
    assert_eq!(miss["result"], "fault");
    assert!(miss["reason"].as_str().unwrap().contains("nothing in"), "{miss}");
    // A function's BAR, from the CPU and from another device.
    let name = hit["region"].as_str().unwrap().replace(" BAR 2", ":bar2");
    let by_name = json(&["resolve", "--root", root, &name], 0);
    assert_eq!(by_name["region"], hit["region"]);
    let peer = json(&["resolve", "--root", root, "--from", "0000:03:00.0", &name], 0);
    assert_eq!(peer["region"], hit["region"], "peer to peer, up and down again");
    let many = json(&["resolve", "--root", root, "0x100000", "0x100000000"], 0);
    assert_eq!(many["results"].as_array().unwrap().len(), 2);
}

#[test]
fn views_and_differences() {
    let dir = pmem_tests::captured("qemu-pcie-switches");
    let root = arg(dir.path());
    let view = json(&["view", "--root", root], 0);
    let kinds: Vec<&str> =
        view["view"].as_array().unwrap().iter().map(|p| p["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"region") && kinds.contains(&"free"), "{kinds:?}");
    let local = json(&["view", "--root", root, "--local", "pci 0000:00"], 0);
    let kinds: Vec<&str> =
        local["view"].as_array().unwrap().iter().map(|p| p["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"window") && kinds.contains(&"region"), "{kinds:?}");
    // A device on the root bus reaches what the CPU does, at the same addresses.
    let same = json(&["diff", "--root", root, "cpu", "node0"], 0);
    assert_eq!(same["differences"], Value::Array(Vec::new()));
    assert!(run(&["diff", "--root", root, "cpu", "system I/O"], 1).0.contains("Only cpu reaches"));
}

#[test]
fn annotate_explains_addresses() {
    let dir = pmem_tests::captured("qemu-pcie-switches");
    let mut pmem = command();
    pmem.args(["annotate", "--root", arg(dir.path())]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pmem.spawn().unwrap();
    let dmesg = b"pci 0000:0a:00.0: BAR 2: assigned [mem 0x100000000-0x103ffffff]\n\xff\xfe binary \x00\nfec00000-fec00fff : x\n";
    child.stdin.take().unwrap().write_all(dmesg).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let out = String::from_utf8_lossy(&output.stdout);
    // Both ends of a range that is one thing are explained once.
    assert!(
        out.contains(
            "ffff]\n    0x100000000: 0000:0a:00.0 BAR 2 in PCI Bus 0000:0a in PCI Bus 0000:00, pci 0000:0a\n"
        ),
        "{out}"
    );
    assert!(!out.contains("0x103ffffff: "), "{out}");
    assert!(out.contains(" : x\n    0xfec00000: IOAPIC 0\n"), "{out}");
    // What is no UTF-8 is passed on as it is.
    assert!(output.stdout.windows(10).any(|bytes| bytes == b"\n\xff\xfe binary"), "{out}");
}

/// A log that is followed is explained as far as it has come, and line endings stay as they are.
#[test]
fn annotate_does_not_wait_for_the_end() {
    let dir = pmem_tests::captured("qemu-pcie-switches");
    let mut pmem = command();
    pmem.args(["annotate", arg(dir.path())]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pmem.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line
    };
    for _ in 0..2 {
        input.write_all(b"at 0x100000000\r\n").unwrap();
        assert_eq!(line(), "at 0x100000000\r\n");
        assert!(line().starts_with("    0x100000000: 0000:0a:00.0 BAR 2"));
    }
    input.write_all(b"no newline at 0xfec00000").unwrap();
    drop(input);
    assert_eq!(line(), "no newline at 0xfec00000\n");
    assert!(line().starts_with("    0xfec00000: IOAPIC 0"));
    assert!(child.wait().unwrap().success());
}

/// A log that never pauses is explained all the same while it comes.
#[test]
fn annotate_does_not_wait_for_a_pause() {
    let dir = pmem_tests::captured("qemu-pxb");
    let mut pmem = command();
    pmem.args(["annotate", arg(dir.path())]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pmem.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ends = std::sync::Arc::clone(&is_over);
    let writer = std::thread::spawn(move || {
        for _ in 0..1000 {
            if input.write_all(b"at 0x1000000\n").is_err() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        ends.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "at 0x1000000\n");
    assert!(!is_over.load(std::sync::atomic::Ordering::SeqCst), "nothing came before the end");
    child.kill().unwrap();
    child.wait().unwrap();
    writer.join().unwrap();
}

#[test]
fn many_machines_come_in_order_and_one_that_is_broken_hides_none() {
    let captures: Vec<_> = ["qemu-pxb", "qemu-cxl"].iter().map(|name| pmem_tests::captured(name)).collect();
    let (one, two) = (arg(captures[0].path()), arg(captures[1].path()));
    let words = ["topo", "--each", "--json", one, "/no/such/capture", two];
    let (out, _) = run(&words, 1);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = lines.iter().map(|line| line["machine"].as_str().unwrap()).collect();
    assert_eq!(names, [one, "/no/such/capture", two]);
    assert!(lines[1]["failed"].as_str().unwrap().contains("No such file"));
    assert_eq!(lines[0]["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(json(&["topo", one], 0)["functions"], lines[0]["functions"]);
    assert!(run(&["topo", "--each", one, two], 0).0.contains(&format!("==> {two} <==")));
}

/// What pmem prints is understood, as is what a kernel prints.
#[test]
fn ranges_are_understood_in_every_notation() {
    let dir = pmem_tests::captured("qemu-pxb");
    let root = arg(dir.path());
    let asked = |word: &str| -> Vec<String> {
        let results = json(&["resolve", "--root", root, word], 0)["results"].clone();
        results.as_array().unwrap().iter().map(|one| one["asked"].as_str().unwrap().to_owned()).collect()
    };
    for word in
        ["0x100000..0x101000", "0x100000-0x100fff", "[mem 0x00100000-0x00100fff usable]", "0x100000+4K"]
    {
        assert_eq!(asked(word), ["0x100000", "0x100fff"], "{word}");
    }
    assert_eq!(asked("0x100000+1"), ["0x100000"]);
}

#[test]
fn annotate_lists_at_most_eight_places() {
    let capture = pmem_tests::captured("qemu-pxb");
    for (count, is_cut) in [(8, false), (9, true)] {
        let log = capture.path().join("faults.txt");
        let line = |n: u64| {
            let at = 0x10_0000 + n * 0x2000;
            format!(
                "DMAR: [DMA Write NO_PASID] Request device [00:03.0] fault addr {at:#x} [fault reason 0x05] PTE Write access is not set\n"
            )
        };
        fs::write(&log, (0..count).map(line).collect::<String>()).unwrap();
        let (out, _) = run(&["annotate", arg(capture.path()), arg(&log)], 0);
        let said = out.lines().find(|line| line.contains(" in all: ")).unwrap();
        assert!(said.contains(&format!("{count} records of {count} pages: 0x100000, ")), "{said}");
        assert_eq!((said.ends_with(", …"), said.matches("0x1").count()), (is_cut, 8), "{said}");
    }
}

#[test]
fn annotate_takes_texts_by_name() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "one", "at 0x1000000\n");
    write(dir.path(), "two", "at 0x2000000\n");
    let capture = pmem_tests::captured("qemu-pxb");
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let (out, _) = run(&["annotate", arg(capture.path()), arg(&one), arg(&two)], 0);
    assert!(
        out.starts_with("at 0x1000000\n    0x1000000: ") && out.contains("\nat 0x2000000\n    0x2000000: ")
    );
    assert!(run(&["annotate", "--root", "-", "-"], 2).1.contains("can be used only once"));
}

#[test]
fn what_is_gathered_is_read_back_alike() {
    let dir = pmem_tests::captured("qemu-pxb");
    let out = tempfile::tempdir().unwrap();
    for root in [arg(dir.path()), "/"] {
        let tar = out.path().join("capture.tar");
        let first = json(&["topo", "--root", root], 0);
        run(&["gather", "--root", root, arg(&tar)], 0);
        let again = pmem_tests::unpack(fs::File::open(&tar).unwrap());
        let second = json(&["topo", "--root", arg(again.path())], 0);
        for key in ["arenas", "interconnects", "distances", "functions"] {
            assert_eq!(first[key], second[key], "{key} of {root}");
        }
    }
    let lost = out.path().join("no/such/folder.tar");
    assert!(run(&["gather", arg(&lost)], 1).1.contains("folder.tar"));
}

#[test]
fn wrong_usage_is_status_2() {
    run(&["fly"], 2);
    run(&["resolve"], 2);
    assert!(run(&["resolve", "0xzz"], 2).1.contains("not an address: \"0xzz\""));
    assert!(run(&["resolve", "0x1_0000_0000_0000_0000"], 2).1.contains("does not fit in 64 bits"));
    assert!(
        run(&["resolve", "--from", "nowhere", "0x0"], 2).1.contains("no arena, node or device \"nowhere\"")
    );
    let capture = pmem_tests::captured("qemu-pxb");
    let root = arg(capture.path());
    assert!(run(&["view", "node2", root], 2).1.contains("; did you mean \"node0\" or \"node1\"?"));
    assert!(run(&["view", "sytem", root], 2).1.contains("; did you mean \"system\"?"));
    assert!(
        run(&["resolve", "--root", root, "0000:00:1e.2:bar0"], 2)
            .1
            .contains("did you mean \"0000:00:1f.2\"?")
    );
    assert!(run(&["resolve", "ffff:ff:1f.7:bar0"], 2).1.contains("no PCI function ffff:ff:1f.7"));
    assert!(run(&["resolve", "0000:00:00.0:bar9"], 2).1.contains("bar9"));
    run(&["topo", "--root", "/", "--net", "x"], 2);
}

#[test]
fn failures_are_status_1_and_name_the_file() {
    assert!(run(&["topo", "--root", "/no/such/folder"], 1).1.contains("/no/such/folder: No such file"));
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "broken.json", "{\n \"nodes\": [\n");
    let broken = dir.path().join("broken.json");
    assert!(run(&["topo", "--net", arg(&broken)], 1).1.contains("broken.json:3: EOF"));
    write(
        dir.path(),
        "wrong.json",
        r#"{"nodes":[{"id":1,"map":[{"src":["0x9","0x3"],"dst":1,"base":"0x0"}]}]}"#,
    );
    let wrong = dir.path().join("wrong.json");
    let value = json(&["topo", "--net", arg(&wrong)], 0);
    assert!(
        value["warnings"][0]["text"].as_str().unwrap().contains("node 1, map: range 0x9 to 0x3"),
        "{value}"
    );
    write(dir.path(), "dangling.json", r#"{"nodes":[{"id":1,"overlay":7}]}"#);
    write(dir.path(), "twice.json", r#"{"nodes":[{"id":1},{"id":1}]}"#);
    let twice = dir.path().join("twice.json");
    assert!(run(&["topo", "--net", arg(&twice)], 1).1.contains("twice.json: two nodes have the id 1"));
    let dangling = dir.path().join("dangling.json");
    assert!(
        run(&["topo", "--net", arg(&dangling)], 0)
            .0
            .contains("node 1 leads to node 7, which the net does not define")
    );
    write(dir.path(), "bad.txt", "arena ram ram\n\nalloc a ram 0x10\n");
    let script = dir.path().join("bad.txt");
    let (out, err) = run(&["script", arg(&script)], 1);
    assert!(out.contains("error: ram: no space") && err.contains("bad.txt:3: ram: no space"), "{out}{err}");
}

#[test]
fn broken_sources_give_warnings_and_the_rest_is_imported() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let iomem = "00001000-0009ffff : System RAM\nrubbish\n00200000-00100000 : System RAM\n\
                 00050000-001fffff : System RAM\n80000000-8fffffff : PCI Bus 0000:00\n88000000-9fffffff : System RAM\n";
    write(root, "proc/iomem", iomem);
    write(root, "proc/ioports", [0u8, 159, 146, 150, b'\n', 255]);
    let node = "sys/devices/system/node/node0";
    write(root, &format!("{node}/meminfo"), "Node 0 MemTotal:  1000 kB\n");
    write(root, &format!("{node}/distance"), "10 20 x\n");
    write(root, &format!("{node}/cpulist"), "");
    let function = |bdf: &str, config: &[u8], resource: &str| {
        let path = format!("sys/devices/pci0000:00/{bdf}");
        write(root, &format!("{path}/config"), config);
        write(root, &format!("{path}/resource"), resource);
        write(root, &format!("{path}/class"), "0x020000\n");
    };
    function("0000:00:01.0", &[0; 63], "0x80000000 0x80000fff 0x40200\n0x1 0x0 0x200\n");
    function("0000:00:02.0", &[0; 64], "0x80000800 0x800017ff 0x40200\nnonsense\n");
    function("0000:00:03.0", &[0; 64], "0xffffffffffffffff 0x0 0x40200\n");
    let value = json(&["topo", "--root", arg(root)], 0);
    let warnings: Vec<String> = value["warnings"].as_array().unwrap().iter().map(warning).collect();
    let wanted = [
        "proc/iomem:2: no \" : \" between range and name",
        "proc/iomem:3: range 0x200000..0x100001 is empty: its end must be above its start",
        "proc/ioports:1: no \" : \" between range and name",
        "sys/devices/system/node/node0/distance:1: no distances: \"10 20 x\"",
        "sys/devices/pci0000:00/0000:00:01.0/config: only 63 bytes of configuration space: a header needs 64",
        "sys/devices/pci0000:00/0000:00:01.0/resource:2: range 0x1..0x1 is empty: its end must be above its start",
        "sys/devices/pci0000:00/0000:00:02.0/resource:2: not three hexadecimal numbers",
        "sys/devices/pci0000:00/0000:00:03.0/resource:1: range 0xffffffffffffffff..0x1 is empty: its end must be above its start",
        "proc/iomem:5: host bridge of pci 0000:00: aperture 0x80000000..0x90000000 overlaps 0x88000000..0x90000000, which is node0 RAM",
    ];
    for text in wanted {
        assert!(warnings.iter().any(|w| w.starts_with(text)), "{text}\nin {warnings:#?}");
    }
    // Two functions at one place: the warning names both, and where each is said; the second stays without an address.
    let clash = warnings.iter().find(|w| w.contains("0000:00:02.0 BAR 0")).unwrap();
    assert!(
        clash.contains("0000:00:02.0/resource:1 and sys/devices/pci0000:00/0000:00:01.0/resource:1: "),
        "{clash}"
    );
    assert!(clash.contains("in conflict with 0000:00:01.0 BAR 0 at 0x80000000..0x80001000"), "{clash}");
    let parked = json(&["resolve", "--root", arg(root), "0000:00:02.0:bar0"], 3);
    assert_eq!((&parked["result"], &parked["addr"]), (&"unplaced".into(), &Value::Null));
    assert_eq!(parked["reason"], "in conflict with 0000:00:01.0 BAR 0");
    let hit = json(&["resolve", "--root", arg(root), "0x80000010"], 0);
    assert_eq!(hit["region"], "0000:00:01.0 BAR 0");
}

#[test]
fn hidden_addresses_are_said_to_be_hidden_and_blocks_stand_in() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root, "proc/iomem", "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n");
    write(root, "sys/devices/system/memory/block_size_bytes", "8000000\n");
    for block in 0..2 {
        write(root, &format!("sys/devices/system/memory/memory{block}/state"), "online\n");
        write(root, &format!("sys/devices/system/node/node0/memory{block}/state"), "online\n");
    }
    write(root, "sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 262144 kB\n");
    write(root, "sys/devices/pci0000:00/0000:00:01.0/resource", "0xfd000000 0xfdffffff 0x42208\n");
    let value = json(&["topo", "--root", arg(root)], 0);
    let warnings = value["warnings"].to_string();
    assert!(warnings.contains("addresses are hidden (all zeros): read as root"), "{warnings}");
    assert!(warnings.contains("RAM is known only from memory blocks"), "{warnings}");
    let ram = json(&["resolve", "--root", arg(root), "0xfffffff"], 0);
    assert_eq!(ram["arena"], "node0 RAM");
    assert_eq!(json(&["resolve", "--root", arg(root), "0xfd000000"], 0)["region"], "0000:00:01.0 BAR 0");
}

/// As nobody, on this very machine: where the kernel hides addresses, that is said, and the rest is there.
#[test]
fn without_privileges_what_is_readable_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("pmem");
    fs::copy(env!("CARGO_BIN_EXE_pmem"), &copy).unwrap();
    for path in [dir.path(), &copy] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", arg(&copy), "--json", "topo"]);
    let output = match nobody.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => output,
        other => {
            println!("skipped: not root, or no setpriv: {other:?}");
            return;
        }
    };
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let hidden = value["warnings"].to_string().contains("addresses are hidden (all zeros): read as root");
    let has_iomem = Path::new("/proc/iomem").exists();
    assert!(hidden || !has_iomem, "{}", value["warnings"]);
    let ours = json(&["topo"], 0);
    assert_eq!(value["functions"], ours["functions"], "sysfs tells everybody of PCI");
    let arenas = |value: &Value| value["arenas"].as_array().unwrap().len();
    assert!(arenas(&value) >= 1 && arenas(&value) <= arenas(&ours) + 1);
}

#[test]
fn empty_and_huge_files_are_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    for file in [
        "proc/iomem",
        "proc/ioports",
        "sys/devices/system/node/node0/meminfo",
        "sys/devices/system/node/online",
    ] {
        write(dir.path(), file, "");
    }
    write(dir.path(), "sys/devices/pci0000:00/0000:00:00.0/config", "");
    write(dir.path(), "sys/devices/pci0000:00/0000:00:00.0/resource", "");
    run(&["topo", "--root", arg(dir.path())], 0);
    let huge = fs::File::create(dir.path().join("proc/iomem")).unwrap();
    huge.set_len(65 << 20).unwrap();
    let value = json(&["topo", "--root", arg(dir.path())], 0);
    assert!(value["warnings"].to_string().contains("larger than"), "{}", value["warnings"]);
    let empty = tempfile::tempdir().unwrap();
    assert!(run(&["topo", "--root", arg(empty.path())], 1).1.contains("neither proc nor sys"));
}

#[test]
fn ram_is_laid_out_in_segments_and_nodes() {
    let dir = pmem_tests::captured("qemu-numa4-hmat");
    let ram = json(&["ram", "show", "--root", arg(dir.path())], 0);
    let list = |key: &str| ram[key].as_array().unwrap().clone();
    let segments = list("segments");
    let places: Vec<_> = segments
        .iter()
        .map(|s| (s["range"]["start"].as_str(), s["node"].as_u64(), s["free_list"].as_u64()))
        .collect();
    assert_eq!(
        places,
        [
            ("0x1000", 0, 0),
            ("0x100000", 0, 0),
            ("0x20000000", 1, 1),
            ("0x30000000", 2, 1),
            ("0x40000000", 3, 2)
        ]
        .map(|(start, node, list)| (Some(start), Some(node), Some(list)))
    );
    assert_eq!((&ram["page_size"], &ram["block_size"]), (&4096.into(), &(128u64 << 20).into()));
    let pages = |of: &Value| of.as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>();
    let by_segment: u64 = segments.iter().map(|s| pages(&s["by_state"])).sum();
    assert_eq!(by_segment, list("nodes").iter().map(|n| pages(&n["by_state"])).sum::<u64>());
    let free: u64 = list("free_lists").iter().map(|l| l["free_pages"].as_u64().unwrap()).sum();
    assert_eq!(free, list("nodes").iter().map(|n| n["by_state"]["free"].as_u64().unwrap()).sum::<u64>());
    let said = run(&["ram", "show", "--root", arg(dir.path())], 0).0;
    assert!(said.contains("largest free run 256 MiB at 0x30000000..0x40000000"), "{said}");
    assert!(said.contains("blocks 0x30000000..0x40000000 (2 online)"), "{said}");
    assert!(run(&["ram", "show", "--root", "/nowhere"], 1).1.contains("/nowhere"));
}

#[test]
fn ram_that_is_offline_or_of_no_known_node_is_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "proc/iomem",
        "00100000-2fffffff : System RAM\n  17000000-18ffffff : Crash kernel\n  27000000-28ffffff : Kernel data\n",
    );
    write("sys/devices/system/memory/block_size_bytes", "8000000\n");
    for (block, state) in ["online", "online", "online", "offline", "online"].iter().enumerate() {
        write(&format!("sys/devices/system/memory/memory{block}/state"), state);
        write(&format!("sys/devices/system/node/node0/memory{block}/phys_index"), &format!("{block:x}"));
    }
    let said = run(&["ram", "show", "--root", arg(dir.path())], 0).0;
    let row = |start: &str| said.lines().find(|line| line.trim().starts_with(start)).unwrap().to_owned();
    assert!(row("0x100000..").ends_with("RAM  479 MiB free, 112 MiB offline, 48 MiB reserved"), "{said}");
    assert!(
        row("0x28000000..").contains(" unknown ") && row("0x28000000..").contains("112 MiB free"),
        "{said}"
    );
    assert!(said.contains("largest free run 367 MiB at 0x100000..0x17000000"), "{said}");
    assert!(said.contains("blocks 0x0..0x18000000 (3 online)"), "{said}");
    assert!(said.contains("blocks 0x18000000..0x20000000 (1 offline)"), "{said}");
    assert!(said.contains("of unknown node\n  plugged: 112 MiB free, 16 MiB reserved"), "{said}");
    let ram = json(&["ram", "show", "--root", arg(dir.path())], 0);
    assert_eq!((&ram["nodes"][1]["node"], &ram["segments"][1]["node"]), (&Value::Null, &Value::Null));
    assert_eq!(ram["nodes"][0]["offline_blocks"][0]["start"], "0x18000000");
    // Nothing can be allocated there, so the address is not free.
    let said = run(&["resolve", "--root", arg(dir.path()), "0x1a000000", "0x20000000"], 0).0;
    assert!(
        said.contains("0x1a000000 from system: System RAM, offline, at 0x1a000000 of node0 RAM"),
        "{said}"
    );
    assert!(said.contains("0x20000000 from system: System RAM, free"), "{said}");
    let there = json(&["resolve", "--root", arg(dir.path()), "0x1a000000", "0x20000000"], 0);
    let free = |n: usize| there["results"][n]["free"].as_bool();
    assert_eq!((free(0), free(1)), (Some(false), Some(true)), "{there}");
    let view = run(&["view", "--root", arg(dir.path()), "system"], 0).0;
    assert!(view.contains("offline space of node0 RAM"), "{view}");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let dir = pmem_tests::captured("qemu-pcie-switches");
    let mut pmem = command();
    pmem.args(["--json", "topo", "--root", arg(dir.path())]);
    let mut child = pmem.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Read a little, then close: the rest has nowhere to go.
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 16]).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn help_completions_and_manual_are_there() {
    assert!(run(&["--help"], 0).0.contains("Exit status: 0 done"));
    assert!(run(&["completions", "bash"], 0).0.contains("_pmem"));
    assert!(run(&["completions", "zsh"], 0).0.contains("PMEM_COMPLETE"));
    let folder = tempfile::tempdir().unwrap();
    run(&["man", "--to", arg(folder.path())], 0);
    for page in ["pmem.1", "pmem-resolve.1", "pmem-mtrr-plan.1"] {
        assert!(fs::read_to_string(folder.path().join(page)).unwrap().contains(".SH SYNOPSIS"), "{page}");
    }
    let man = run(&["man"], 0).0;
    assert!(man.contains(".TH pmem") && man.contains("PMEM RESOLVE"), "{man}");
}

/// What bash is offered for the last word of a command line.
fn offered(words: &[&str]) -> Vec<String> {
    let mut pmem = command();
    pmem.arg("--").arg("pmem").args(words);
    pmem.env("PMEM_COMPLETE", "bash")
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    let output = pmem.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn devices_nodes_and_arenas_are_completed() {
    let dir = pmem_tests::captured("qemu-pxb");
    let root = arg(dir.path());
    assert_eq!(
        offered(&["resolve", "--root", root, "--from", "node"]),
        ["node0", "node1", "node0 RAM", "node1 RAM"]
    );
    assert_eq!(offered(&["view", root, "0000:81"]), ["0000:81:00.0"]);
    assert!(offered(&["resolve", root, "0000:81:00.0:"]).contains(&"0000:81:00.0:bar0".to_owned()));
    assert_eq!(offered(&["res"]), ["resolve"]);
}

#[test]
fn colour_is_only_where_it_is_asked_for() {
    let dir = pmem_tests::captured("qemu-pxb");
    assert!(!run(&["topo", "--root", arg(dir.path())], 0).0.contains('\u{1b}'));
    assert!(run(&["topo", "--color", "always", "--root", arg(dir.path())], 0).0.contains('\u{1b}'));
}

/// A board's address regions: as many registers as it takes, the order of writes, and each wrong line by its number.
#[test]
fn address_regions_of_a_board() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("board");
    let run = |text: &str| {
        fs::write(&file, text).unwrap();
        let pmem =
            Command::new(env!("CARGO_BIN_EXE_pmem")).args(["par", "plan"]).arg(&file).output().unwrap();
        let all = String::from_utf8_lossy(&pmem.stdout).into_owned() + &String::from_utf8_lossy(&pmem.stderr);
        (pmem.status.code(), all)
    };
    let (status, said) = run(
        "sdram 64M\nPAR[3] 8a07fe00\n# PAR[4] 8a07fe00\n0x3e000000-0x3e1fffff bootcs no-cache\n0x100000-0x345fff sdram no-write\n",
    );
    assert_eq!(status, Some(0), "{said}");
    assert!(said.starts_with("3 of 16 registers; fewer are not enough"), "{said}");
    // The one that is held stays; the last of 64 KiB pages is too much, and what goes before it undoes that.
    let writes: Vec<&str> =
        said.lines().skip_while(|line| !line.starts_with("Writes")).skip(1).map(str::trim).collect();
    assert_eq!(writes.len(), 2, "{said}");
    assert!(writes.iter().all(|line| !line.starts_with("PAR3 ")), "{said}");
    let many: String = (0..17u32).map(|n| format!("{:#x}+0x1000 sdram no-write\n", n * 0x20_0000)).collect();
    let (status, said) = run(&format!("sdram 64M\n{many}"));
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("17 registers, and there are 16"), "{said}");
    for (text, wrong) in [
        ("0x0-0xfff sdram", ":1: it does not say how much SDRAM there is"),
        ("sdram 64M\n0x0-0xfff pci no-write", ":2: pci cannot have attributes"),
        ("sdram 64M\n0x0-0xfff ram", ":2: ram: no target"),
        ("sdram 64M\n0x10-0x1000 sdram", ":2: 0x10..0x1000 does not consist of whole 4 KiB pages"),
        ("sdram 64M\n\nport 0x3f8 pci", ":3: ports go to the general-purpose bus alone"),
        ("sdram 512M", ":1: the SC520 takes at most 256 MiB"),
        ("sdram 64M\nPAR[16] 0", ":2: PAR16: there are 16"),
    ] {
        let (status, said) = run(text);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(wrong), "{text}: {said}");
    }
}

/// What a device's addresses lead to by the table of a unit that runs.
#[test]
fn addresses_are_resolved_through_a_device_s_table() {
    let folder = tempfile::tempdir().unwrap();
    let entries = "0x0000000000000000\t0x00000001017f9003\t0x00000001017fa003\t0x00000001017fb003";
    let text = format!(
        "Device 0000:00:14.0 @0x1017f8000\nIOVA_PFN\t\tPML5E\n0x00000000ffffe |\t{entries}\t0x0000000005000001\n\
         BIOS-e820: [mem 0x0000000000100000-0x000000007fffffff] usable\n"
    );
    write(folder.path(), "tables", &text);
    let tables = folder.path().join("tables");
    let tables = arg(&tables);
    let (said, _) = run(&["resolve", "--from", "0000:00:14.0", "0xffffe010", tables], 0);
    assert!(said.contains("at 0x5000010 of RAM"), "{said}");
    assert!(said.contains("over IOMMU, the table of 0000:00:14.0"), "{said}");
    let (said, _) = run(&["resolve", "--from", "0000:00:14.0", "0x5000010", tables], 3);
    assert!(said.contains("nothing in 0000:00:14.0 through the IOMMU decodes 0x5000010"), "{said}");
    let (said, _) = run(&["iommu", "show", tables], 0);
    assert!(said.contains("0xffffe000..0xfffff000 to 0x5000000, read"), "{said}");
}
