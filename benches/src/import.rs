//! From a text to a machine and what `topo` prints about it: the time by size, and how it grows.

use crate::measure::Figure;
use crate::report::Line;
use pmem_import::{Machine, PciIds, Sources};
use pmem_report::Topo;
use pmem_report::text::{self, Detail, Styles};
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

const SUITE: &str = "import";
const SUBJECT: &str = "pmem";

/// A kind of input: its unit, the function that makes it, and the sizes to try.
struct Case {
    name: &'static str,
    make: fn(usize) -> String,
    sizes: [usize; 2],
}

const CASES: [Case; 6] = [
    Case { name: "nodes with distances", make: nodes, sizes: [256, 1024] },
    Case { name: "functions", make: functions, sizes: [2_500, 10_000] },
    Case { name: "bridges, one behind another", make: deep, sizes: [64, 255] },
    Case { name: "MiB of log", make: log, sizes: [25, 100] },
    Case { name: "lines inside RAM", make: lines, sizes: [16_250, 65_000] },
    Case { name: "e820 ranges", make: ranges, sizes: [16_250, 65_000] },
];

/// Runs every case in both sizes.
pub fn run(quick: bool, add: &mut dyn FnMut(Vec<Line>)) {
    for case in CASES {
        for n in case.sizes {
            let n = if quick { n / 8 } else { n };
            let input = (case.make)(n);
            let mut figure = Figure::default();
            for _ in 0..if quick { 1 } else { 5 } {
                let begun = Instant::now();
                read(input.as_bytes());
                figure.add((begun.elapsed(), 1));
            }
            let line = Line::new(SUITE, case.name, n, SUBJECT);
            add(vec![Line { ns: Some(figure.median()), spread: Some(figure.spread()), ..line }]);
        }
    }
}

/// Says how the time grows with the size, as a factor for each case.
pub fn growth(lines: &[Line]) -> Vec<String> {
    let of = |case: &Case| {
        let mut sizes = lines.iter().filter(|line| line.case == case.name).filter_map(|l| Some((l.n, l.ns?)));
        let ((small, before), (large, after)) = (sizes.next()?, sizes.next()?);
        let size = large as f64 / small as f64;
        let seconds = after / 1e9;
        Some(format!(
            "{}: ×{size:.1} in size, ×{:.1} in time, {large} in {seconds:.3} s",
            case.name,
            after / before
        ))
    };
    CASES.iter().filter_map(of).collect()
}

fn read(mut input: &[u8]) {
    let mut sources = Sources::default();
    sources.add_stream("input", &mut input).expect("a text");
    let machine = Machine::read(&mut sources).expect("a machine");
    let report = Topo::of(&machine, &PciIds::default());
    let mut out = Vec::new();
    text::topo(&report, Detail::Screen, &Styles::default(), &mut out).expect("memory takes everything");
    black_box(out);
}

fn nodes(n: usize) -> String {
    let mut out = format!("available: {n} nodes (0-{})\n", n - 1);
    for node in 0..n {
        let _ = writeln!(out, "node {node} cpus: {node}\nnode {node} size: 1024 MB\nnode {node} free: 12 MB");
    }
    let row = |out: &mut String, first: &str, each: &dyn Fn(usize) -> usize| {
        let _ = writeln!(out, "{first}{}", (0..n).map(|to| format!(" {:3}", each(to))).collect::<String>());
    };
    out += "node distances:\n";
    row(&mut out, "node", &|to| to);
    for from in 0..n {
        row(&mut out, &format!("{from:4}:"), &|to| if from == to { 10 } else { 11 + (from ^ to) % 50 });
    }
    out
}

/// Functions on buses of 32, each behind a bridge on a root bus, 255 per root.
fn functions(n: usize) -> String {
    let mut out = String::from("Linux version 6.12\n");
    for at in 0..n {
        let (bus, device) = (at / 32, at % 32);
        let (segment, below) = (bus / 255, bus % 255 + 1);
        let root = 0x40_0000_0000_u64 + ((segment as u64) << 36);
        let window = root + ((below as u64) << 24);
        if at % (32 * 255) == 0 {
            let end = root + (1 << 36) - 1;
            let _ =
                writeln!(out, "pci_bus {segment:04x}:00: root bus resource [mem {root:#x}-{end:#x} window]");
        }
        if device == 0 {
            let bridge = format!("pci {segment:04x}:00:{:02x}.{}", (below - 1) / 8, (below - 1) % 8);
            let end = window + 0xff_ffff;
            let _ = writeln!(out, "{bridge}: [8086:1901] type 01 class 0x060400");
            let _ = writeln!(out, "{bridge}: PCI bridge to [bus {below:02x}]");
            let _ = writeln!(out, "{bridge}:   bridge window [mem {window:#x}-{end:#x} 64bit pref]");
        }
        let function = format!("pci {segment:04x}:{below:02x}:{device:02x}.0");
        let bar = window + ((device as u64) << 16);
        let _ = writeln!(out, "{function}: [10de:1cb3] type 00 class 0x030000");
        let _ = writeln!(out, "{function}: BAR 0 [mem {bar:#x}-{:#x} 64bit pref]", bar + 0xffff);
    }
    out
}

fn deep(n: usize) -> String {
    let mut out = String::from(
        "Linux version 6.12\npci_bus 0000:00: root bus resource [mem 0x4000000000-0x7fffffffff window]\n",
    );
    for bus in 0..n {
        let bridge = format!("pci 0000:{bus:02x}:00.0");
        let _ = writeln!(out, "{bridge}: [8086:1901] type 01 class 0x060400");
        let _ = writeln!(out, "{bridge}: PCI bridge to [bus {:02x}-ff]", bus + 1);
        let _ = writeln!(out, "{bridge}:   bridge window [mem 0x4000000000-0x43ffffffff 64bit pref]");
    }
    let _ = writeln!(out, "pci 0000:{n:02x}:00.0: [10de:1cb3] type 00 class 0x030000");
    let _ = writeln!(out, "pci 0000:{n:02x}:00.0: BAR 0 [mem 0x4000000000-0x400fffffff 64bit pref]");
    out
}

/// A small machine, followed by log lines of the usual kind.
fn log(mebibytes: usize) -> String {
    let mut out = deep(4);
    for at in 0_u64.. {
        if out.len() >= mebibytes << 20 {
            break;
        }
        let (seconds, device) = (at / 7, at % 127);
        let _ = writeln!(
            out,
            "[{seconds:6}.{:06}] usb 1-4: new high-speed USB device number {device} using xhci_hcd",
            at % 1_000_000
        );
    }
    out
}

fn lines(n: usize) -> String {
    let mut out = format!("00000000-{:08x} : System RAM\n", n * 0x2_0000 - 1);
    for at in 0..n {
        let _ = writeln!(out, "  {:08x}-{:08x} : piece {at}", at * 0x2_0000, at * 0x2_0000 + 0xffff);
    }
    out
}

fn ranges(n: usize) -> String {
    let mut out = String::from("Linux version 6.12\nBIOS-provided physical RAM map:\n");
    for at in 0..n {
        let (start, kind) = (at * 0x2_0000, if at % 2 == 0 { "usable" } else { "reserved" });
        let _ = writeln!(out, "BIOS-e820: [mem {start:#018x}-{:#018x}] {kind}", start + 0x1_ffff);
    }
    out
}
