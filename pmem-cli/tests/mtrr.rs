//! `pmem mtrr` as people run it, and its plans proven by registers that know nothing of the planner.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

fn run(args: &[&str], status: i32) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pmem")).args(args).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{args:?}: {out}{err}");
    assert!(!err.contains("panicked"), "{args:?}: {err}");
    (out, err)
}

fn plan(file: &Path, more: &[&str], status: i32) -> Value {
    let mut args = vec!["--json", "mtrr", "plan", file.to_str().unwrap()];
    args.extend(more);
    let value: Value = serde_json::from_str(&run(&args, status).0).unwrap();
    assert_eq!(value["schema"], 2);
    value
}

#[test]
fn fixed_ranges_need_no_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.txt");
    // Nothing shows the default: with UC and with WB these ranges make sense.
    let log = "MTRR fixed ranges enabled:\n  00000-9FFFF write-back\n  A0000-BFFFF uncachable\n\
               \x20 C0000-FFFFF write-protect\nMTRR variable ranges enabled:\n\
               \x20 0 base 080000000 mask F80000000 write-combining\n";
    fs::write(&file, log).unwrap();
    let (out, _) = run(&["mtrr", "show", file.to_str().unwrap()], 0);
    for (range, kind) in
        [("0x0..0x80000", "WB"), ("0xc0000..0x100000", "WP"), ("0x100000..0x80000000", "unknown")]
    {
        let row = out.lines().find(|line| line.starts_with(range)).unwrap();
        assert_eq!(row.split_whitespace().last(), Some(kind), "{out}");
    }
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

/// A corpus file, read with nothing but string functions, and what its registers make of an address.
#[derive(Default)]
struct Plain {
    bits: u32,
    def: String,
    top: u64,
    tom2: u64,
    /// Base, mask, type.
    registers: Vec<(u64, u64, String)>,
    usable: Vec<(u64, u64)>,
    wanted: Vec<(u64, u64)>,
}

impl Plain {
    fn read(path: &Path) -> Self {
        let mut new = Self::default();
        for line in fs::read_to_string(path).unwrap().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[0] {
                "bits:" => new.bits = words[1].parse().unwrap(),
                "def:" => new.def = words[1].to_owned(),
                "top:" => new.top = hex(words[1]),
                "tom2:" => new.tom2 = hex(words[1]),
                "mtrr:" => new.registers.push((hex(words[1]), !(hex(words[2]) - 1), words[3].to_owned())),
                "e820:" if ["usable", "acpi", "nvs"].contains(&words[3]) => {
                    new.usable.push((hex(words[1]) & !0xfff, hex(words[2]).next_multiple_of(0x1000)));
                }
                "wcwant:" => new.wanted.push((hex(words[1]), hex(words[2]))),
                _ => {}
            }
        }
        new
    }

    fn at(&self, addr: u64) -> &str {
        let mut kinds: Vec<&str> = self
            .registers
            .iter()
            .filter(|(base, mask, _)| (addr ^ base) & mask & ((1 << self.bits) - 1) == 0)
            .map(|(_, _, kind)| kind.as_str())
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        match kinds[..] {
            [] if (1 << 32..self.tom2).contains(&addr) => "WB",
            [] => &self.def,
            [kind] => kind,
            _ if kinds.contains(&"UC") => "UC",
            ["WB", "WT"] => "WT",
            _ => "undefined",
        }
    }

    /// With a plan's writes carried out on it.
    fn programmed(&self, plan: &Value) -> Self {
        let mut msrs: BTreeMap<u64, u64> = BTreeMap::new();
        let number =
            |kind: &str| ["UC", "WC", "", "", "WT", "WP", "WB"].iter().position(|k| *k == kind).unwrap();
        for (n, (base, mask, kind)) in (0..).zip(&self.registers) {
            msrs.insert(0x200 + 2 * n, base | number(kind) as u64);
            msrs.insert(0x201 + 2 * n, mask & !0xfff | 0x800);
        }
        let mut def = number(&self.def) as u64;
        for write in plan["msrs"].as_array().unwrap() {
            let (msr, value) = (hex(write["msr"].as_str().unwrap()), hex(write["value"].as_str().unwrap()));
            if msr == 0x2ff {
                def = value & 7;
            } else {
                assert!((0x200..0x250).contains(&msr), "{msr:#x} has nothing to do with it");
                msrs.insert(msr, value);
            }
        }
        let name = |n: u64| ["UC", "WC", "", "", "WT", "WP", "WB"][n as usize].to_owned();
        let registers = (0x200..0x250)
            .step_by(2)
            .filter_map(|msr| {
                let mask = *msrs.get(&(msr + 1))?;
                let base = *msrs.get(&msr)?;
                (mask & 0x800 != 0).then(|| (base & !0xfff, mask & !0xfff, name(base & 7)))
            })
            .collect();
        Self { bits: self.bits, def: name(def), tom2: self.tom2, registers, ..Self::default() }
    }
}

/// The counts are those of the notes on these machines: what an independent solver found.
const MACHINES: [(&str, u64); 10] = [
    ("01-n100-def-wb-10regs", 2),
    ("02-supermicro-x8st3-24g", 2),
    ("03-dell-optiplex9010-8g", 3),
    ("06-hpe-dl325-gen10-64g-amd", 4),
    ("10-dell-p4-wt-feda0000", 2),
    ("15-fwts-10regs-wp", 7),
    ("16-davej-8regs-16m-hole", 2),
    ("17-dell-g33-8regs", 4),
    ("22-6gb-bios-bug-2048", 7),
    ("23-asus-no-remap-wc", 5),
];

#[test]
fn every_real_setting_takes_as_few_registers_as_it_can() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    for (name, most) in MACHINES {
        let file = corpus.join(format!("mtrr/{name}.txt"));
        let plan = plan(&file, &["--unmapped", "any"], 0);
        assert!(plan["registers"].as_u64().unwrap() <= most, "{name}: {plan:#}");
        let before = Plain::read(&file);
        let after = before.programmed(&plan);
        // Every page at which anything can change, and what lies between is alike.
        let mut pages: Vec<u64> = [&before, &after]
            .iter()
            .flat_map(|plain| &plain.registers)
            .flat_map(|(base, mask, _)| [*base, base + (!mask & ((1 << before.bits) - 1)) + 1])
            .chain(before.usable.iter().chain(&before.wanted).flat_map(|(start, end)| [*start, *end]))
            .chain([1 << 20, 1 << 32, before.tom2])
            .filter(|page| *page >= 1 << 20)
            .collect();
        pages.sort_unstable();
        pages.dedup();
        for page in pages {
            let within =
                |spans: &[(u64, u64)]| spans.iter().any(|(start, end)| (*start..*end).contains(&page));
            let wanted = if within(&before.wanted) {
                "WC"
            } else if within(&before.usable) {
                "WB"
            } else if before.usable.is_empty() && page < before.top {
                before.at(page)
            } else {
                continue;
            };
            assert_eq!(after.at(page), wanted, "{name}: {page:#x}");
        }
    }
}

fn dell() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mtrr.txt");
    fs::write(
        &file,
        "bits: 36\nvcnt: 4\ndef: UC\ntop: 100000000\nmtrr: 0 80000000 WB\nmtrr: 80000000 40000000 WB\n",
    )
    .unwrap();
    (dir, file)
}

#[test]
fn what_does_not_fit_is_demoted_and_named() {
    let (_dir, file) = dell();
    let wants = ["--want", "0xd0100000-0xd0700000=WC"];
    let value = plan(&file, &wants, 3);
    assert_eq!(
        (&value["needed"], &value["available"], &value["registers"]),
        (&5.into(), &4.into(), &4.into())
    );
    let starts: Vec<_> = value["demoted"].as_array().unwrap().iter().map(|d| d["start"].clone()).collect();
    assert_eq!(starts, ["0xd0100000", "0xd0600000"]);
    assert_eq!(
        (&value["demoted"][0]["wanted"], &value["demoted"][0]["effective"]),
        (&"WC".into(), &"UC".into())
    );
    let text = run(&["mtrr", "plan", file.to_str().unwrap(), wants[0], wants[1]], 3).0;
    assert!(
        text.contains("needs 5 registers of 4, with 0 kept free. The least possible loss is 2 MiB"),
        "{text}"
    );
    let value = plan(&file, &["--want", "0xd0000000-0xd0800000=WC", "--keep-free", "1"], 0);
    assert_eq!((&value["registers"], value["demoted"].as_array().unwrap().len()), (&3.into(), 0));
    assert_eq!(value["optimum"]["UC"], 3);
}

#[test]
fn nothing_is_written_where_nothing_is_asked() {
    let (_dir, file) = dell();
    let value = plan(&file, &["--default", "UC"], 0);
    assert_eq!(value["msrs"].as_array().unwrap().len(), 0, "{value:#}");
}

#[test]
fn show_names_what_is_wrong() {
    let (dir, _) = dell();
    let file = dir.path().join("odd.txt");
    fs::write(
        &file,
        "bits: 36\nvcnt: 8\ndef: UC\nmtrr: 0 80000000 WB\nmtrr: 40000000 40000000 WP\ne820: 0 90000000 usable\n",
    )
    .unwrap();
    let text = run(&["mtrr", "show", file.to_str().unwrap()], 0).0;
    assert!(
        text.contains(
            "0x40000000..0x80000000: overlapping registers of types WP|WB: the effective type is undefined"
        ),
        "{text}"
    );
    assert!(text.contains("0x80000000..0x90000000: uncached memory, 262144 KiB"), "{text}");
}

#[test]
fn bad_input_is_named() {
    let (dir, file) = dell();
    let file = file.to_str().unwrap();
    for (want, word) in [
        ("0xd0000000-0xe0000000", "no = in it"),
        ("0xd0000000=WC", "not a range: \"0xd0000000\""),
        ("0xd0000000-0xc0000000=WC", "empty, reversed"),
        ("0xd0000100-0xe0000000=WC", "multiples of 4 KiB"),
        ("0xd0000000-0xe0000000=XX", "\"XX\" is no memory type"),
        ("0xd0000000-0x2000000000=WC", "beyond physical addresses of 36 bits"),
    ] {
        let err = run(&["mtrr", "plan", file, "--want", want], 2).1;
        assert!(err.contains(word), "{want}: {err}");
    }
    let overlap = ["mtrr", "plan", file, "--want", "0x0-0x1000=WC", "--want", "0x0-0x2000=UC"];
    assert!(run(&overlap, 2).1.contains("overlap"));
    assert!(run(&["mtrr", "show", "--bits", "36", "--kernel"], 2).1.contains("nothing else goes with it"));
    assert!(run(&["mtrr", "plan", file, "--pin", "3"], 2).1.contains("--pin 3"));
    assert!(run(&["mtrr", "plan", file, "--default", "7"], 2).1.contains("no memory type"));
    let broken = dir.path().join("broken.txt");
    fs::write(&broken, "bits: 36\nmtrr: 1000 80000000 WB\n").unwrap();
    assert!(run(&["mtrr", "plan", broken.to_str().unwrap()], 1).1.contains("broken.txt:2: base 0x1000"));
    fs::write(&broken, "bits: 36\nmtrr: fffff0000000 10000000 WB\n").unwrap();
    let err = run(&["mtrr", "plan", broken.to_str().unwrap()], 1).1;
    assert!(err.contains("register 0, 0xfffff0000000..0x1000000000000, is beyond"), "{err}");
    fs::write(&broken, "bits: 36\nvcnt: 1\nmtrr: 0 1000 WB\nmtrr: 1000 1000 WB\n").unwrap();
    let err = run(&["mtrr", "show", broken.to_str().unwrap()], 1).1;
    assert!(err.contains("register 1 is in use, but there are only 1 registers"), "{err}");
    fs::write(&broken, "nothing of the kind\n").unwrap();
    assert!(run(&["mtrr", "plan", broken.to_str().unwrap()], 1).1.contains("no line is about MTRRs"));
    assert!(run(&["mtrr", "show", "/nonexistent"], 1).1.contains("/nonexistent"));
}

#[test]
fn a_captured_machine_is_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("proc")).unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("proc/cpuinfo", "vendor_id\t: GenuineIntel\naddress sizes\t: 40 bits physical, 48 bits virtual\n");
    write("proc/mtrr", "reg00: base=0x0c0000000 ( 3072MB), size= 1024MB, count=1: uncachable\n");
    write("proc/iomem", "00000000-bfffffff : System RAM\nc0000000-febfffff : PCI Bus 0000:00\n");
    let root = dir.path().to_str().unwrap();
    let text = run(&["--root", root, "mtrr", "show"], 0).0;
    // A UC register over what nothing else covers is of no use unless the default is cached.
    assert!(text.contains("40 address bits, default WB (inferred)"), "{text}");
    assert!(text.contains("the default type is taken to be WB"), "{text}");
    assert!(!text.contains("What is wrong"), "what is assumed accuses nobody: {text}");
    assert!(text.contains("this machine") || text.contains("1 MTRR register"), "{text}");
}
