//! The schema of each report: as it is checked in, and as real output has it.

use pmem_report::schemas;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn folder() -> PathBuf {
    pmem_tests::here().join("../pmem-report/schemas")
}

/// `PMEM_WRITE_SCHEMAS=1` writes them anew.
#[test]
fn schemas_are_checked_in() {
    let write = std::env::var_os("PMEM_WRITE_SCHEMAS").is_some();
    for (name, schema) in schemas() {
        let path = folder().join(format!("{name}.json"));
        let text = format!("{schema:#}\n");
        if write {
            fs::write(&path, &text).unwrap();
        }
        let had = fs::read_to_string(&path).unwrap_or_default();
        assert!(had == text, "{} is not what the code says: PMEM_WRITE_SCHEMAS=1 writes it", path.display());
    }
    assert_eq!(fs::read_dir(folder()).unwrap().count(), schemas().len());
}

/// What the command prints, each line if there are several.
fn output(args: &[&str], source: &str, input: Stdio) -> Vec<Value> {
    let mut pmem = Command::new(env!("CARGO_BIN_EXE_pmem"));
    pmem.arg("--json").args(args).arg("--root").arg(source).stdin(input);
    let output = pmem.output().unwrap();
    // 1 of a lint that found something; the answer may be no, or not proven.
    let ends = output.status.code();
    if args.contains(&"pci") && String::from_utf8_lossy(&output.stderr).contains("no PCI function") {
        return Vec::new();
    }
    assert!(matches!(ends, Some(0 | 3 | 4)) || args.contains(&"lint"), "{args:?} {source}: {output:?}");
    serde_json::Deserializer::from_slice(&output.stdout).into_iter().map(Result::unwrap).collect()
}

/// A hierarchy, and what happens to it.
const TRACE: &str = "pci_bus 0000:00: root bus resource [mem 0x400000000-0x7ffffffff window]
pci 0000:00:04.0: [1b36:000c] type 01 class 0x060400
pci 0000:00:04.0: PCI bridge to [bus 01]
do: plug mem64p:1G at 0000:00:04.0
do: unplug 0000:00:04.0
";

#[test]
fn real_output_is_as_the_schemas_say() {
    let dirs: Vec<tempfile::TempDir> =
        ["qemu-numa2-hmat", "qemu-pcie-switches"].iter().map(|name| pmem_tests::captured(name)).collect();
    let mut sources: Vec<String> = dirs.iter().map(|dir| dir.path().to_str().unwrap().to_owned()).collect();
    if let Some(corpus) = pmem_tests::corpus() {
        let named =
            |folder: &str| fs::read_dir(corpus.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let machines = named("machines").chain(named("reports/iomem")).chain(named("reports/topology"));
        sources.extend(machines.filter(|path| path.is_dir()).map(|path| path.to_str().unwrap().to_owned()));
    }
    let mtrr = pmem_tests::here().join("../pmem-cli/tests/mtrr.txt");
    let mtrr = mtrr.to_str().unwrap();
    let log = std::env::temp_dir().join(format!("pmem-schema-log-{}", std::process::id()));
    fs::write(&log, "pci 0000:00:02.0: BAR 0 [mem 0xfd000000-0xfdffffff]\n").unwrap();
    let trace = std::env::temp_dir().join(format!("pmem-schema-trace-{}", std::process::id()));
    fs::write(&trace, TRACE).unwrap();
    let trace = trace.to_str().unwrap();
    let bad = std::env::temp_dir().join(format!("pmem-schema-bad-{}", std::process::id()));
    fs::write(&bad, "00010c1d370\ngiven: memmap=4K$0x10c1d000\n").unwrap();
    let bad = bad.to_str().unwrap();
    let refused = std::env::temp_dir().join(format!("pmem-schema-refused-{}", std::process::id()));
    fs::write(
        &refused,
        "intel_iommu_map: iommu width (39) is not sufficient for the mapped address (8800001000)\n",
    )
    .unwrap();
    let refused = refused.to_str().unwrap();
    let plug = std::env::temp_dir().join(format!("pmem-schema-plug-{}", std::process::id()));
    fs::write(&plug, "memory offlining [mem 0x2100000000-0x210fffffff] failed\n").unwrap();
    let plug = plug.to_str().unwrap();
    let par = std::env::temp_dir().join(format!("pmem-schema-par-{}", std::process::id()));
    fs::write(&par, "sdram 16M\nPAR[3] 8a0ffe00\n0x100000-0x345fff sdram no-write\n").unwrap();
    let par = par.to_str().unwrap();
    for (name, schema) in schemas() {
        let validator = jsonschema::validator_for(&schema).unwrap();
        let args: &[&str] = match name {
            "topo" => &["topo"],
            "view" => &["view"],
            "resolve" => &["resolve", "0x1000", "0xfd000000"],
            "diff" => &["diff", "system", "cpu"],
            "annotate" => &["annotate"],
            "ram" => &["ram", "show"],
            "iommu-show" => &["iommu", "show"],
            "iommu-refused" => &["iommu", "why", refused],
            "iommu-why" => &["iommu", "why", "0000:00:02.0", "0xfee00000+0x1000"],
            "ram-plug" => &["ram", "plug", plug],
            "ram-bad" => &["ram", "bad", bad],
            "mtrr-show" => &["mtrr", "show"],
            "mtrr-plan" => &["mtrr", "plan", "--unmapped", "any"],
            "par-plan" => &["par", "plan", par],
            "pci-plan" => &["pci", "plan", "--all-failed"],
            "pci-lint" => &["pci", "lint"],
            "pci-doctor" => &["pci", "doctor"],
            "pci-predict" => &["pci", "predict", "--kernel", "6.12", "--do", "rescan"],
            "pci-tree" => &["pci", "tree"],
            "pci-replay" => &["pci", "replay", trace],
            other => panic!("no command prints {other}"),
        };
        let own = [mtrr.to_owned()];
        let alone = name.starts_with("mtrr")
            || ["iommu-refused", "par-plan", "pci-replay", "ram-bad", "ram-plug"].contains(&name);
        for source in if alone { &own[..] } else { &sources } {
            let values = output(args, source, fs::File::open(&log).unwrap().into());
            assert!(!values.is_empty() || name.starts_with("pci"), "{name} {source}");
            assert!(name != "annotate" || !values[0]["notes"].as_array().unwrap().is_empty(), "{source}");
            for value in values {
                let wrong: Vec<String> = validator
                    .iter_errors(&value)
                    .take(5)
                    .map(|e| format!("{}: {e}", e.instance_path()))
                    .collect();
                assert!(wrong.is_empty(), "{name} {source}: {wrong:#?}");
            }
        }
    }
    fs::remove_file(log).unwrap();
    fs::remove_file(trace).unwrap();
    fs::remove_file(bad).unwrap();
    fs::remove_file(par).unwrap();
    fs::remove_file(plug).unwrap();
    fs::remove_file(refused).unwrap();
}
