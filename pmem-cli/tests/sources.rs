//! Sources as people have them: one, several, broken, at odds with each other.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A folder in which the command is run.
struct Bench(TempDir);

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(path, text)| bench.write(path, text));
        bench
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn output(&self, args: &str, input: Option<&[u8]>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pmem"));
        command.args(args.split_whitespace()).current_dir(self.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Whoever does not read its input closes it.
        let _ = stdin.write_all(input.unwrap_or_default());
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// Runs the command; it must end with `status`. Both outputs, blanks folded.
    fn run(&self, args: &str, status: i32) -> String {
        self.fed(args, status, None)
    }

    fn fed(&self, args: &str, status: i32, input: Option<&[u8]>) -> String {
        let output = self.output(args, input);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(status), "{args}: {text}");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    let mut at = 0;
    for part in parts {
        match text[at..].find(part) {
            Some(found) => at += found + part.len(),
            None => panic!("{part:?} is not in, or not behind the one before, of:\n{text}"),
        }
    }
}

const NODES: &str = "sys/devices/system/node";

/// Nodes with memory blocks of 128 MiB, and a list of RAM in one piece.
fn blocks(nodes: &[(u32, &str, &[u32])]) -> Bench {
    let bench = Bench::new(&[
        ("proc/iomem", "00000000-1fffffff : System RAM\n"),
        ("sys/devices/system/memory/block_size_bytes", "8000000\n"),
    ]);
    for (node, cpus, blocks) in nodes {
        bench.write(&format!("{NODES}/node{node}/cpulist"), cpus);
        for block in *blocks {
            bench.write(&format!("{NODES}/node{node}/memory{block}/state"), "online\n");
        }
    }
    bench
}

#[test]
fn a_block_in_two_nodes_puts_only_that_block_in_doubt() {
    let bench = blocks(&[(0, "0\n", &[0, 1]), (1, "1\n", &[1, 2, 3])]);
    says(&bench.run("resolve 0x1000 .", 0), &["node0 RAM"]);
    says(&bench.run("resolve 0x10000000 .", 0), &["node1 RAM"]);
    let doubt = bench.run("resolve 0x8000000 .", 0);
    assert!(!doubt.contains("node0 RAM") && !doubt.contains("node1 RAM"), "{doubt}");
    let topo = bench.run("topo .", 0);
    says(
        &topo,
        &[
            "node/node1 and",
            "node/node0: 0x8000000..0x10000000 is claimed by both node 1 and node 0: it is assigned to neither",
        ],
    );
}

#[test]
fn cpus_of_two_nodes_are_a_finding() {
    let bench = blocks(&[(0, "0-3\n", &[0, 1]), (1, "2-5\n", &[2, 3])]);
    says(&bench.run("topo .", 0), &["node/node0 and", "node/node1: CPUs 2-3 are claimed by nodes 0 and 1"]);
}

const LOG: &str = "\
[    0.000000] Linux version 6.12.0-amd64 (debian@example) #1 SMP
[    0.000000] BIOS-provided physical RAM map:
[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009ffff] usable
[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x000000007fffffff] usable
[    0.000000] BIOS-e820: [mem 0x00000000e0000000-0x00000000efffffff] reserved
[    0.500000] pci_bus 0000:00: root bus resource [io  0x0000-0x0cf7 window]
[    0.500000] pci_bus 0000:00: root bus resource [mem 0x80000000-0xdfffffff window]
[    0.500000] pci_bus 0000:00: root bus resource [bus 00-ff]
[    0.500001] pci 0000:00:01.0: [8086:1901] type 01 class 0x060400
[    0.500002] pci 0000:01:00.0: [10de:1cb3] type 00 class 0x030000
[    0.500002] pci 0000:01:00.0: reg 0x10: [mem 0x00000000-0x00ffffff]
[    0.500002] pci 0000:01:00.0: reg 0x14: [mem 0x00000000-0x0fffffff 64bit pref]
[    0.500002] pci 0000:01:00.0: reg 0x24: [io  0x0c00-0x0c7f]
[    0.500003] pci 0000:00:01.0: PCI bridge to [bus 01]
[    0.500003] pci 0000:00:01.0:   bridge window [io  0x0c00-0x0cff]
[    0.500003] pci 0000:00:01.0:   bridge window [mem 0x90000000-0x91ffffff]
[    0.600000] pci 0000:01:00.0: BAR 1: no space for [mem size 0x10000000 64bit pref]
[    0.600000] pci 0000:01:00.0: BAR 1: failed to assign [mem size 0x10000000 64bit pref]
[    0.600000] pci 0000:01:00.0: BAR 0: assigned [mem 0x90000000-0x90ffffff]
";

#[test]
fn a_log_alone_is_a_machine() {
    let bench = Bench::new(&[("dmesg.txt", LOG)]);
    says(&bench.run("resolve 0x1000000 dmesg.txt", 0), &["RAM"]);
    says(&bench.run("resolve 0x90000010 dmesg.txt", 0), &["0000:01:00.0 BAR 0", "pci 0000:01"]);
    says(&bench.run("resolve 0x91000000 dmesg.txt", 0), &["unassigned space", "window to bus 0000:01"]);
    says(
        &bench.run("resolve 0x84000000 dmesg.txt", 0),
        &["unassigned space", "aperture of root bus 0000:00"],
    );
    says(
        &bench.run("resolve 0000:01:00.0:bar1 dmesg.txt", 3),
        &["0000:01:00.0 BAR 1 has no address", "no space"],
    );
    says(&bench.run("ram show dmesg.txt", 0), &["free", "3 e820 ranges"]);
    // From the device: its own bus, and memory behind the host bridge.
    says(&bench.run("resolve --from 0000:01:00.0 0x1000000 dmesg.txt", 0), &["RAM"]);
}

#[test]
fn an_io_bar_is_in_io_space() {
    let bench = Bench::new(&[("dmesg.txt", LOG)]);
    says(
        &bench.run("resolve 0000:01:00.0:bar5 dmesg.txt", 0),
        &["0xc00", "0000:01:00.0 BAR 5", "pci 0000:01 I/O"],
    );
}

#[test]
fn a_source_may_come_on_standard_input_packed_or_in_parts() {
    let bench = Bench::new(&[
        ("dmesg.txt", LOG),
        ("iomem.txt", "00100000-7fffffff : System RAM\n  01000000-01ffffff : Kernel code\n"),
    ]);
    says(&bench.fed("resolve 0x90000010 -", 0, Some(LOG.as_bytes())), &["0000:01:00.0 BAR 0"]);
    // Two files of one machine: what each says counts.
    let both = "resolve 0x90000010 0x1000000 dmesg.txt iomem.txt";
    says(&bench.run(both, 0), &["0000:01:00.0 BAR 0", "Kernel code in System RAM"]);
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let text = b"00000000-1fffffff : System RAM\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "capture/proc/iomem", &text[..]).unwrap();
    bench.write("capture.tgz", tar.into_inner().unwrap().finish().unwrap());
    says(&bench.run("resolve 0x1000 capture.tgz", 0), &["System RAM"]);
    // A log as Windows' editors keep it.
    let wide: Vec<u8> = LOG.encode_utf16().flat_map(u16::to_le_bytes).collect();
    bench.write("wide.txt", [&[0xff, 0xfe][..], &wide].concat());
    says(&bench.run("resolve 0x90000010 wide.txt", 0), &["0000:01:00.0 BAR 0"]);
    let wide = fs::read(bench.path().join("wide.txt")).unwrap();
    let noted = bench.fed("annotate --root dmesg.txt", 0, Some(&wide));
    says(&noted, &["BAR 0: assigned [mem 0x90000000-0x90ffffff]", "0x90000000: 0000:01:00.0 BAR 0"]);
}

#[test]
fn an_arm_log_has_its_memory_from_what_the_allocator_was_given() {
    let log = "Early memory node ranges\n  node   0: [mem 0x0000000040000000-0x00000000bfffffff]\n";
    let bench = Bench::new(&[("dmesg.txt", log)]);
    says(&bench.run("resolve 0x7d000000 dmesg.txt", 0), &["node0 RAM"]);
    says(&bench.run("ram show dmesg.txt", 0), &["free list 0: 2 GiB free"]);
}

#[test]
fn memory_that_no_source_speaks_of_is_not_known() {
    let bench = Bench::new(&[("lspci.txt", "00:02.0 VGA compatible controller: Example\n")]);
    says(&bench.run("resolve 0x1000000 lspci.txt", 3), &["not known", "no source says where memory is"]);
}

#[test]
fn two_outputs_of_one_tool_add_up() {
    let verbose = "01:00.0 VGA compatible controller: Example\n\tRegion 0: Memory at a0000000 (32-bit, non-prefetchable) [size=16M]\n";
    let short = "01:00.0 VGA compatible controller [0300]: Example [10de:1cb3]\n";
    for text in [format!("{verbose}\n{short}"), format!("{short}\n{verbose}")] {
        let bench = Bench::new(&[("lspci.txt", &text)]);
        says(&bench.run("topo -v lspci.txt", 0), &["0000:01:00.0", "BAR 0 0xa0000000..0xa1000000 16 MiB"]);
    }
    // A dump says where a BAR begins, and no more.
    let dump = "00:02.0 VGA compatible controller: Example\n00: 86 80 c2 29 07 04 90 00 02 00 00 03 00 00 00 00\n\
                10: 00 00 a0 fe 01 dc 00 00 08 00 00 d0 00 00 00 00\n20: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n\
                30: 00 00 00 00 90 00 00 00 00 00 00 00 0a 01 00 00\n";
    let bench = Bench::new(&[("lspci.txt", dump)]);
    says(&bench.run("topo -v lspci.txt", 0), &["BAR 2 at 0xd0000000, size unknown"]);
}

#[test]
fn windows_as_old_kernels_list_them_are_bridges() {
    let list = "00100000-7fffffff : System RAM\nd0000000-dfffffff : PCI Bus #01\n  d0000000-d7ffffff : 0000:01:00.0\n\
                e4000000-e5ffffff : PCI Bus #01\n  e5000000-e500ffff : 0000:01:00.0\ne6000000-e6000fff : 0000:00:1d.7\n";
    let bench = Bench::new(&[("iomem", list)]);
    says(
        &bench.run("topo iomem", 0),
        &["bus 0000:00: memory", "bus 0000:01: memory 0xd0000000..0xe0000000, 0xe4000000..0xe6000000"],
    );
    says(
        &bench.run("resolve 0xe4000010 iomem", 0),
        &["unassigned space in the bridge's window to bus 0000:01"],
    );
    says(&bench.run("resolve 0xe5000010 iomem", 0), &["0000:01:00.0", "pci 0000:01"]);
    says(&bench.run("resolve 0xe6000010 iomem", 0), &["0000:00:1d.7", "pci 0000:00"]);
}

#[test]
fn what_cannot_be_a_source_is_refused() {
    let bench =
        Bench::new(&[("dmesg.txt", LOG), ("letter.txt", "Dear all,\nplease find nothing attached.\n")]);
    says(
        &bench.fed("annotate --root - -", 2, Some(LOG.as_bytes())),
        &["standard input can be used only once"],
    );
    // A pipe by its name has what it has only once.
    let said = bench.fed("annotate /dev/stdin", 0, Some(LOG.as_bytes()));
    says(&said, &["Linux version", "0x90000000: 0000:01:00.0 BAR 0"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(LOG.as_bytes()).unwrap();
    bench.write("dmesg.gz", gzip.finish().unwrap());
    says(&bench.run("annotate dmesg.gz", 0), &["Linux version", "0x90000000: 0000:01:00.0 BAR 0"]);
    says(&bench.fed("lint - -", 2, Some(LOG.as_bytes())), &["- is given twice"]);
    says(&bench.fed("topo --each --json - -", 2, Some(LOG.as_bytes())), &["- is given twice"]);
    says(&bench.fed("annotate -", 0, Some(LOG.as_bytes())), &["0x90000000: 0000:01:00.0 BAR 0"]);
    says(&bench.run("topo letter.txt", 1), &["letter.txt: nothing that pmem reads"]);
    says(&bench.run("resolve 0x1000 ./gone.txt", 1), &["./gone.txt: No such file"]);
    says(&bench.run("view ./gone.txt", 1), &["./gone.txt: No such file"]);
}

#[test]
fn records_that_are_broken_are_named() {
    let list = "00001000-0009ffff : System RAM\n00100000-zz : System RAM\n";
    let table = "[    0.000000] MTRR variable ranges enabled:\n[    0.000000]   0 base 0000000000 mask 7F80000000 write-back\n\
                 [    0.000000]   1 base zzz\n";
    let bench = Bench::new(&[("iomem", list), ("mtrr.txt", table)]);
    says(&bench.run("topo iomem", 0), &["1 line looks like", "not understood: 2"]);
    says(&bench.run("mtrr show mtrr.txt", 0), &["1 line looks like", "not understood: 3"]);
}

#[test]
fn a_bar_that_nothing_leads_to_is_told_on_its_bus() {
    let log = LOG
        .replace("BAR 0: assigned [mem 0x90000000-0x90ffffff]", "BAR 0: assigned [mem 0x1000000-0x1ffffff]");
    let bench = Bench::new(&[("dmesg.txt", &log)]);
    says(&bench.run("resolve 0000:01:00.0:bar0 dmesg.txt", 0), &["from pci 0000:01: 0000:01:00.0 BAR 0"]);
}

#[test]
fn a_source_named_twice_is_an_error() {
    let bench = Bench::new(&[("dmesg.txt", LOG)]);
    says(&bench.run("topo dmesg.txt ./dmesg.txt", 2), &["./dmesg.txt", "twice"]);
    says(&bench.run("topo - -", 2), &["-", "twice"]);
}

#[test]
fn sources_that_disagree_are_both_named() {
    let lspci = "01:00.0 VGA compatible controller: Example\n\tRegion 0: Memory at a0000000 (32-bit, non-prefetchable) [size=16M]\n";
    let bench = Bench::new(&[("dmesg.txt", LOG), ("lspci.txt", lspci)]);
    let topo = bench.run("topo dmesg.txt lspci.txt", 0);
    says(&topo, &["lspci.txt:2 and dmesg.txt:19: 0000:01:00.0 BAR 0 is at", "here and at", "there"]);
    // Two machines.
    let other = LOG.replace("10de:1cb3", "1002:67df");
    bench.write("other.txt", other);
    says(&bench.run("topo dmesg.txt other.txt", 0), &["0000:01:00.0"]);
}

#[test]
fn a_log_cut_in_a_table_says_where() {
    let cut = &LOG[..LOG.find("7fffffff] usable").unwrap()];
    let bench = Bench::new(&[("cut.txt", cut)]);
    let shown = bench.run("topo cut.txt", 0);
    says(&shown, &["1 e820 range", "1 line looks like", "4"]);
}

#[test]
fn a_capture_never_reads_this_machine() {
    let secret = Bench::new(&[("iomem", "00000000-0fffffff : SECRET\n")]);
    let outside: PathBuf = secret.path().join("iomem");
    let bench = Bench::new(&[("capture/proc/meminfo", "MemTotal: 1024 kB\n")]);
    std::os::unix::fs::symlink(&outside, bench.path().join("capture/proc/iomem")).unwrap();
    let shown = bench.run("topo capture", 0);
    assert!(!shown.contains("SECRET"), "{shown}");
    says(&shown, &["proc/iomem: a link leads out of the capture"]);
    // The same in an archive, and a file that would be above it.
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "proc/iomem", &outside).unwrap();
    bench.write("links.tar", tar.into_inner().unwrap());
    let shown = bench.run("topo links.tar", 1);
    assert!(!shown.contains("SECRET"), "{shown}");
    says(&shown, &["links.tar: proc/iomem: a link that leads out of the archive"]);
}

#[test]
fn digits_without_a_prefix_are_refused_with_a_hint() {
    let bench = Bench::new(&[("dmesg.txt", LOG)]);
    for (digits, hint) in [("01000000", "0x1000000"), ("c0001000", "0xc0001000"), ("0009f000", "0x9f000")] {
        says(&bench.run(&format!("resolve {digits} dmesg.txt"), 2), &[digits, hint]);
    }
}

#[test]
fn what_was_read_is_said_in_text_and_json() {
    let bench = Bench::new(&[("dmesg.txt", LOG)]);
    says(&bench.run("topo dmesg.txt", 0), &["dmesg.txt: ", "3 e820 ranges"]);
    let shown: serde_json::Value =
        serde_json::from_slice(&bench.output("--json topo dmesg.txt", None).stdout).unwrap();
    assert_eq!(shown["read"][0]["source"], "dmesg.txt");
    assert_eq!(shown["read"][0]["records"]["e820 range"], 3);
}

/// A device tree as the kernel shows it: a folder for each node, a file for each property.
#[test]
fn a_device_tree_of_folders_is_read() {
    let bench = Bench::new(&[]);
    let write =
        |path: &str, bytes: &[u8]| bench.write(&format!("sys/firmware/devicetree/base/{path}"), bytes);
    let cells = |cells: &[u32]| cells.iter().flat_map(|cell| cell.to_be_bytes()).collect::<Vec<u8>>();
    write("compatible", b"vendor,board\0");
    write("#address-cells", &cells(&[2]));
    write("#size-cells", &cells(&[2]));
    write("memory@80000000/device_type", b"memory\0");
    write("memory@80000000/reg", &cells(&[0, 0x8000_0000, 0, 0x4000_0000]));
    write("soc/#address-cells", &cells(&[1]));
    write("soc/#size-cells", &cells(&[1]));
    write("soc/ranges", &[]);
    write("soc/serial@9000000/reg", &cells(&[0x900_0000, 0x1000]));
    let output = bench.output("view system .", None);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let row =
        |range: &str| said.lines().find(|line| line.contains(range)).unwrap_or_else(|| panic!("{said}"));
    assert!(row("0x80000000..0xc0000000").contains("RAM"), "{said}");
    assert!(row("0x9000000..0x9001000").contains("serial@9000000"), "{said}");
}
