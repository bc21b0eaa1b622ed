//! `pmem pci doctor`: what it finds and proposes, and its scripts, run over a folder that stands for /sys.

use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};

fn pmem(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pmem")).args(args).output().unwrap()
}

/// A machine with a card that found no place: the port's window is small, and the aperture is not.
const NO_SPACE: &str = include_str!("../../docs/samples/no-space.log");

#[test]
fn the_doctor_lets_linux_do_what_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("dmesg");
    std::fs::write(&log, NO_SPACE).unwrap();
    let (log, out) = (log.to_str().unwrap(), dir.path().join("fix"));
    let output = pmem(&["--json", "pci", "doctor", log, "--write", out.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "can-be-fixed");
    let remedy = &report["ailments"][0]["remedy"];
    assert_eq!(remedy["by"], "linux");
    let steps = [
        "0000:01:00.0 must be 10de:1234",
        "echo 1 > /sys/bus/pci/devices/0000:01:00.0/remove",
        "echo 1 > /sys/class/pci_bus/0000:01/rescan",
    ];
    assert_eq!(remedy["steps"], json!(steps));
    // The first gap in which a window of that alignment fits.
    assert_eq!(remedy["placements"][1]["start"], "0x400000000");
    let fix = std::fs::read_to_string(out.join("fix.sh")).unwrap();
    for line in ["put 1 /sys/class/pci_bus/0000:01/rescan", "is 0000:01:00.0 2 0x400000000"] {
        assert!(fix.lines().any(|l| l == line), "{fix}");
    }
    let text = pmem(&["pci", "doctor", log, "--write", out.to_str().unwrap()]).stdout;
    let written = ["report.txt", "fix.sh", "undo.sh"].map(|name| out.join(name).display().to_string());
    assert!(String::from_utf8(text).unwrap().ends_with(&format!("Written: {}\n", written.join(", "))));
    for script in ["fix.sh", "undo.sh"] {
        let parsed = Command::new("sh").arg("-n").arg(out.join(script)).status().unwrap();
        assert!(parsed.success(), "{script}");
    }
    assert!(std::fs::read_to_string(out.join("report.txt")).unwrap().starts_with("It can be fixed."));
    // Nobody says which kernel: nothing is foretold, and no script is written.
    std::fs::write(log, NO_SPACE.replace("Linux version", "A version")).unwrap();
    let output = pmem(&["--json", "pci", "doctor", log]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["ailments"][0]["remedy"]["by"], &report["fix"]), (&"writes".into(), &Value::Null));
    // A size that nobody says is not taken for nothing.
    let unsized_bar = "01:00.0 Display controller [0380]: Card [10de:1234]\n\tRegion 1: Memory at <unassigned> (64-bit, prefetchable)\n";
    std::fs::write(log, unsized_bar).unwrap();
    let output = pmem(&["--json", "pci", "doctor", log]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    // Where nothing is large enough: no, with the proof.
    std::fs::write(log, NO_SPACE.replace("0x40000000 64bit", "0x1000000000 64bit")).unwrap();
    let output = pmem(&["--json", "pci", "doctor", log]);
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let why = &report["ailments"][0]["plan"]["why"][0];
    assert_eq!((&why["needs"][0]["size"], &why["slots"]), (&"0x1000000000".into(), &json!([])));
}

/// What the doctor says of a log, and a folder that stands for /sys, for which it wrote its scripts.
struct Case {
    dir: tempfile::TempDir,
    report: Value,
}

impl Case {
    fn of(logs: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<PathBuf> = (0..logs.len()).map(|n| dir.path().join(format!("log{n}"))).collect();
        names.iter().zip(logs).for_each(|(name, log)| std::fs::write(name, log).unwrap());
        let out = dir.path().join("out");
        let mut args = vec!["--json", "pci", "doctor", "--write", out.to_str().unwrap()];
        args.extend(names.iter().map(|name| name.to_str().unwrap()));
        let output = pmem(&args);
        let report = serde_json::from_slice(&output.stdout).unwrap();
        Self { dir, report }
    }

    fn remedy(&self) -> &Value {
        &self.report["ailments"][0]["remedy"]
    }

    /// A file below /sys.
    fn put(&self, path: &str, what: impl AsRef<[u8]>) {
        let path = self.dir.path().join("sys").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, what).unwrap();
    }

    fn get(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join("sys").join(path)).unwrap()
    }

    /// A function as its folder has it, with where its registers are.
    fn device(&self, function: &str, (vendor, device): (&str, &str), starts: &[u64]) {
        let own = |name: &str| format!("bus/pci/devices/{function}/{name}");
        self.put(&own("vendor"), format!("{vendor}\n"));
        self.put(&own("device"), format!("{device}\n"));
        self.put(&own("remove"), "");
        let lines: String = starts.iter().map(|start| format!("{start:#018x} 0x0 0x0\n")).collect();
        self.put(&own("resource"), lines);
    }

    /// Runs a script; whether it ended well, and what it said.
    fn run(&self, script: &str, take: &str) -> (bool, String) {
        let text = std::fs::read_to_string(self.dir.path().join("out").join(script)).unwrap();
        let sys = self.dir.path().join("sys");
        let there = text.replace("/sys/", &format!("{}/", sys.display())).replace("sleep 1", "");
        let output = Command::new("sh").arg("-c").arg(there).env("TAKE", take).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

const ROOT: &str = "Linux version 6.1.0-56-amd64 (x)
PCI host bridge to bus 0000:00
pci_bus 0000:00: root bus resource [mem 0x80000000-0x8fffffff window]
pci_bus 0000:00: root bus resource [mem 0x4000000000-0x7fffffffff window]
pci_bus 0000:00: root bus resource [bus 00-ff]
";

/// Two functions of one card, of which one has all it needs.
const TWO: &str = "pci 0000:00:04.0: [1b36:000c] type 01 class 0x060400
pci 0000:00:04.0: PCI bridge to [bus 01]
pci 0000:00:04.0:   bridge window [mem 0x80000000-0x801fffff]
pci 0000:00:04.0:   bridge window [mem 0x4000000000-0x40001fffff 64bit pref]
pci 0000:01:00.0: [8086:1235] type 00 class 0x010802
pci 0000:01:00.0: reg 0x10: [mem 0x80000000-0x8000ffff]
pci 0000:01:00.1: [8086:1236] type 00 class 0x030000
pci 0000:01:00.1: reg 0x10: [mem 0x00000000-0x00ffffff 64bit pref]
pci 0000:01:00.1: BAR 0: no space for [mem size 0x01000000 64bit pref]
pci 0000:01:00.1: BAR 0: failed to assign [mem size 0x01000000 64bit pref]
";

#[test]
fn a_script_takes_out_only_what_it_was_written_for() {
    let case = Case::of(&[&(ROOT.to_owned() + TWO)]);
    assert_eq!(case.remedy()["by"], "linux");
    let placements = case.remedy()["placements"].as_array().unwrap();
    let start = |function: &str| {
        let own = placements.iter().find(|placement| placement["function"] == function).unwrap();
        u64::from_str_radix(own["start"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    };
    let at = start("0000:01:00.1");
    case.put("class/pci_bus/0000:01/rescan", "");
    case.device("0000:01:00.0", ("0x8086", "0x1235"), &[start("0000:01:00.0")]);
    case.device("0000:01:00.1", ("0x8086", "0x9999"), &[at]);
    let removed = |function: &str| case.get(&format!("bus/pci/devices/{function}/remove")) == b"1\n";
    let (ok, said) = case.run("fix.sh", "");
    assert!(!ok && said.contains("0000:01:00.1 is another device: 0x8086 0x9999"), "{said}");
    assert!(!removed("0000:01:00.0") && !removed("0000:01:00.1"), "{said}");
    // What only shares the bus with it is left alone while it is in use, unless it is named.
    case.device("0000:01:00.1", ("0x8086", "0x1236"), &[at]);
    case.put("bus/pci/devices/0000:01:00.0/driver/x", "");
    let (ok, said) = case.run("fix.sh", "");
    assert!(!ok && said.contains("a driver has 0000:01:00.0"), "{said}");
    assert!(!removed("0000:01:00.0") && !removed("0000:01:00.1"), "{said}");
    let (ok, said) = case.run("fix.sh", "0000:01:00.0");
    assert!(ok && removed("0000:01:00.0") && removed("0000:01:00.1"), "{said}");
    assert_eq!(case.get("class/pci_bus/0000:01/rescan"), b"1\n");
    // It comes to be elsewhere than predicted.
    case.device("0000:01:00.1", ("0x8086", "0x1236"), &[at + 0x100_0000]);
    let (ok, said) = case.run("fix.sh", "0000:01:00.0");
    assert!(!ok && said.contains("0000:01:00.1: line 1 begins at") && !said.contains("predicted"), "{said}");
}

#[test]
fn a_port_that_is_taken_out_must_be_empty() {
    let sibling = "Linux version 6.1.0-56-amd64 (x)
pci_bus 0000:00: root bus resource [mem 0xfc000000-0xfdffffff window]
pci_bus 0000:00: root bus resource [bus 00-ff]
pci 0000:00:04.0: [1b36:000c] type 01 class 0x060400
pci 0000:00:05.0: [1b36:000c] type 01 class 0x060400
pci 0000:00:04.0: PCI bridge to [bus 01]
pci 0000:00:04.0:   bridge window [mem 0xfc000000-0xfc1fffff]
pci 0000:00:05.0: PCI bridge to [bus 02]
pci 0000:00:05.0:   bridge window [mem 0xfc200000-0xfd1fffff]
pci 0000:01:00.0: [8086:1235] type 00 class 0x030000
pci 0000:01:00.0: reg 0x10: [mem 0x00000000-0x00ffffff]
pci 0000:01:00.0: BAR 0: no space for [mem size 0x01000000]
pci 0000:01:00.0: BAR 0: failed to assign [mem size 0x01000000]
";
    let case = Case::of(&[sibling]);
    assert_eq!(case.remedy()["steps"][0], "nothing may be behind 0000:00:05.0");
    case.device("0000:01:00.0", ("0x8086", "0x1235"), &[0xfc00_0000]);
    case.device("0000:00:05.0", ("0x1b36", "0x000c"), &[]);
    case.put("bus/pci/devices/0000:00:05.0/0000:02:00.0/config", "");
    for file in ["class/pci_bus/0000:01/rescan", "bus/pci/rescan"] {
        case.put(file, "");
    }
    let (ok, said) = case.run("fix.sh", "");
    assert!(!ok && said.contains("0000:02:00.0 is behind 0000:00:05.0"), "{said}");
    assert_eq!(case.get("bus/pci/devices/0000:01:00.0/remove"), b"");
}

/// A rescan gives windows of bridges that are on to the kernel's map alone: the bridges would forward nothing.
#[test]
fn what_bridges_would_not_forward_is_not_proposed() {
    let log = "Linux version 6.1.0-56-amd64 (x)
pci_bus 0000:00: root bus resource [mem 0xc0000000-0xfdffffff window]
pci_bus 0000:00: root bus resource [bus 00-ff]
pci 0000:00:04.0: [1b36:000c] type 01 class 0x060400
pci 0000:01:00.0: [104c:8232] type 01 class 0x060400
pci 0000:02:00.0: [104c:8233] type 01 class 0x060400
pci 0000:00:04.0: PCI bridge to [bus 01-04]
pci 0000:01:00.0: PCI bridge to [bus 02-04]
pci 0000:02:00.0: PCI bridge to [bus 03]
pcieport 0000:02:00.0: pciehp: Slot #0 AttnBtn+ PwrCtrl+ HotPlug+ Surprise+
pci 0000:03:00.0: [8086:1235] type 00 class 0x030000
pci 0000:03:00.0: reg 0x10: [mem 0x00000000-0x000fffff]
pci 0000:03:00.0: BAR 0: no space for [mem size 0x00100000]
pci 0000:03:00.0: BAR 0: failed to assign [mem size 0x00100000]
";
    let case = Case::of(&[log]);
    assert_eq!(case.remedy()["by"], "module");
    let windows = case.remedy()["steps"][2].as_str().unwrap();
    assert!(windows.starts_with("pmem pci windows 0000:00:04.0:mem=closed,0xc0000000.."), "{windows}");
}

#[test]
fn a_function_of_a_root_bus_needs_no_module() {
    let one = "pci 0000:00:03.0: [8086:1235] type 00 class 0x030000
pci 0000:00:03.0: reg 0x10: [mem 0x00000000-0x00ffffff]
pci 0000:00:03.0: BAR 0: no space for [mem size 0x01000000]
pci 0000:00:03.0: BAR 0: failed to assign [mem size 0x01000000]
";
    let case = Case::of(&[&(ROOT.to_owned() + one)]);
    assert_eq!(case.remedy()["by"], "linux");
    case.device("0000:00:03.0", ("0x8086", "0x1235"), &[0x8000_0000]);
    case.put("bus/pci/rescan", "");
    let (ok, said) = case.run("fix.sh", "");
    assert!(ok && said.ends_with("done: everything is where it was predicted to be\n"), "{said}");
}

/// Windows of CardBus bridges, and of bridges of which nobody says where they are, nobody can be told to write.
#[test]
fn what_cannot_be_told_is_not_scripted() {
    let card_bus = "pci 0000:00:02.0: [104c:ac56] type 02 class 0x060700
pci 0000:00:03.0: [8086:1234] type 00 class 0x030000
pci 0000:00:03.0: reg 0x10: [mem 0x00000000-0x07ffffff]
pci 0000:00:02.0: CardBus bridge to [bus 03-06]
pci 0000:00:02.0:   bridge window [mem 0x84000000-0x87ffffff pref]
pci 0000:00:02.0:   bridge window [mem 0x88000000-0x8bffffff]
pci 0000:00:03.0: BAR 0: no space for [mem size 0x08000000]
pci 0000:00:03.0: BAR 0: failed to assign [mem size 0x08000000]
";
    let root =
        ROOT.replace("pci_bus 0000:00: root bus resource [mem 0x4000000000-0x7fffffffff window]\n", "");
    let case = Case::of(&[&(root + card_bus)]);
    assert_eq!((&case.remedy()["by"], &case.report["fix"]), (&"writes".into(), &Value::Null));
    // Memory window 0 of a CardBus bridge has its base and limit at 0x1c and 0x20, each a whole register.
    let writes = case.remedy()["writes"].as_array().unwrap();
    let offsets: Vec<&str> = writes
        .iter()
        .filter(|write| write["function"] == "0000:00:02.0")
        .map(|write| write["offset"].as_str().unwrap())
        .collect();
    assert!(!offsets.is_empty() && offsets.iter().all(|at| ["0x1c", "0x20"].contains(at)), "{writes:?}");
    let log = "Linux version 6.1.0-56-amd64 (x)
pci 0000:00:03.0: [8086:1234] type 00 class 0x030000
pci 0000:00:03.0: reg 0x10: [mem 0x00000000-0x07ffffff]
pci 0000:00:03.0: BAR 0: no space for [mem size 0x08000000]
pci 0000:00:03.0: BAR 0: failed to assign [mem size 0x08000000]
";
    let list = "80000000-8fffffff : PCI Bus 0000:00
  80000000-83ffffff : 0000:00:01.0
  88000000-8bffffff : PCI Bus 0000:05
";
    let case = Case::of(&[log, list]);
    assert_eq!((&case.remedy()["by"], &case.report["fix"]), (&"writes".into(), &Value::Null));
}

/// Windows that a failed attempt closed in the registers, and the kernel's map still has.
#[test]
fn what_was_done_half_way_is_undone() {
    let list = "80000000-8fffffff : PCI Bus 0000:00
  80000000-800fffff : PCI Bus 0000:01
4000000000-7fffffffff : PCI Bus 0000:00
  4000000000-40ffffffff : PCI Bus 0000:01
    4000000000-4000ffffff : 0000:01:00.0
";
    let dump = "00:04.0 PCI bridge: Red Hat, Inc. QEMU PCIe Root port (prog-if 00 [Normal decode])
\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
\tMemory behind bridge: 80000000-800fffff [size=1M] [32-bit]
\tPrefetchable memory behind bridge: 00000000fff00000-00000000000fffff [disabled] [64-bit]
";
    let case = Case::of(&["Linux version 6.1.0-56-amd64 (x)\n", list, dump]);
    assert_eq!(case.remedy()["by"], "registers");
    assert!(case.report["ailments"].as_array().unwrap().iter().all(|a| a["kind"] != "illegal"));
    let config = "bus/pci/devices/0000:00:04.0/config";
    let mut bytes = [0u8; 256];
    bytes[0x24..0x28].copy_from_slice(&0x0001_fff1_u32.to_le_bytes());
    case.put(config, bytes);
    let (ok, said) = case.run("fix.sh", "");
    assert!(ok, "{said}");
    let fixed = case.get(config);
    let register = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().unwrap());
    assert_eq!([0x24, 0x28, 0x2c].map(register), [0xfff1_0001, 0x40, 0x40]);
    // It ends after the first write to the bridge.
    let writes = case.remedy()["writes"].as_array().unwrap();
    let first = writes.iter().find(|write| write["function"] == "0000:00:04.0").unwrap();
    let first = first["offset"].as_str().unwrap();
    let at = usize::from_str_radix(first.trim_start_matches("0x"), 16).unwrap();
    let mut half = bytes;
    half[at..at + 4].copy_from_slice(&fixed[at..at + 4]);
    for begin in [&half[..], &fixed[..]] {
        case.put(config, begin);
        let (ok, said) = case.run("undo.sh", "");
        assert!(ok && case.get(config) == bytes, "{said}");
    }
}

/// Somebody posts only what the port said: what is behind it has no address, whatever it is.
#[test]
fn a_window_that_failed_is_not_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let lines = "pcieport 0000:18:10.0: bridge window [mem size 0x00100000]: can't assign; no space\n\
        pcieport 0000:18:10.0: bridge window [mem size 0x00100000]: failed to assign\n";
    let doctor = |text: &str| {
        std::fs::write(&log, text).unwrap();
        let output = pmem(&["pci", "doctor", log.to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, said) = doctor(lines);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("the mem window of 0000:18:10.0 is closed, and the kernel wanted 1 MiB"), "{said}");
    // It got one later, or it is of ports.
    let later = "pcieport 0000:18:10.0: bridge window [mem 0xf0200000-0xf02fffff]: assigned\n";
    assert_eq!(doctor(&format!("{lines}{later}")).0, Some(0));
    assert_eq!(doctor(&lines.replace("mem size 0x00100000", "io  size 0x1000")).0, Some(0));
}
