//! The schema of each report: as it is checked in, and as real output has it.

use pmem_report::schemas;
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn folder() -> PathBuf {
    pmem_tests::here().join("../pmem-report/schemas")
}

/// `PMEM_REWRITE=1` writes them anew.
#[test]
fn schemas_are_checked_in() {
    let write = std::env::var_os("PMEM_REWRITE").is_some();
    for (name, schema) in schemas() {
        let path = folder().join(format!("{name}.json"));
        let text = format!("{schema:#}\n");
        if write {
            fs::write(&path, &text).unwrap();
        }
        let had = fs::read_to_string(&path).unwrap_or_default();
        assert!(had == text, "{} is not what the code says: PMEM_REWRITE=1 writes it", path.display());
    }
    assert_eq!(fs::read_dir(folder()).unwrap().count(), schemas().len());
}

/// A page for readers: every property of a report and of what it is made of.
fn page(name: &str, schema: &Value) -> String {
    let mut page = format!("# {name}\n\n");
    let says = |value: &Value| value["description"].as_str().unwrap_or_default().replace('\n', " ");
    let _ = writeln!(page, "{}\n", says(schema));
    let _ = writeln!(
        page,
        "Made from [{name}.json](../../pmem-report/schemas/{name}.json), the schema that the output is tested against."
    );
    let mut parts: Vec<(String, &Value)> = Vec::new();
    if schema["properties"].is_object() {
        parts.push((name.to_owned(), schema));
    }
    let all = schema["$defs"].as_object().into_iter().flatten();
    parts.extend(
        all.filter(|(_, part)| part["properties"].is_object()).map(|(name, part)| (name.clone(), part)),
    );
    for (name, part) in &parts {
        let _ = writeln!(page, "\n## {name}\n");
        if *part != schema {
            let _ = writeln!(page, "{}\n", says(part));
        }
        page += "| property | type | meaning |\n|---|---|---|\n";
        for (property, value) in part["properties"].as_object().unwrap() {
            let _ =
                writeln!(page, "| `{property}` | {} | {} |", kind(value), says(value).replace('|', "\\|"));
        }
    }
    for (name, part) in schema["$defs"].as_object().into_iter().flatten() {
        let words: Vec<&Value> = match (part["enum"].as_array(), part["oneOf"].as_array()) {
            (Some(words), _) => words.iter().collect(),
            (_, Some(forms)) => {
                forms.iter().filter(|form| !form["const"].is_null()).map(|form| &form["const"]).collect()
            }
            _ => continue,
        };
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        let _ = writeln!(page, "\n## {name}\n\n{} One of {}.", says(part), words.join(", "));
    }
    page
}

/// A property's type, in words.
fn kind(value: &Value) -> String {
    let link = |path: &Value| {
        let name = path.as_str()?.rsplit('/').next()?;
        Some(match name {
            "Addr" | "End" => "address".to_owned(),
            name => format!("[{name}](#{})", name.to_lowercase()),
        })
    };
    if let Some(name) = link(&value["$ref"]) {
        return name;
    }
    let several = |values: &Vec<Value>| values.iter().map(kind).collect::<Vec<_>>().join(" or ");
    if let Some(forms) = value["anyOf"].as_array() {
        return several(forms);
    }
    match &value["type"] {
        Value::String(kind) if kind == "array" => match &value["items"] {
            Value::Null => "list".to_owned(),
            items => format!("list of {}", self::kind(items)),
        },
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ if !value["const"].is_null() => format!("`{}`", value["const"]),
        _ => "any".to_owned(),
    }
}

/// `PMEM_REWRITE=1` writes them anew.
#[test]
fn each_schema_has_a_page() {
    let pages = pmem_tests::here().join("../docs/json");
    for (name, schema) in schemas() {
        let path = pages.join(format!("{name}.md"));
        let text = page(name, &schema);
        if std::env::var_os("PMEM_REWRITE").is_some() {
            fs::create_dir_all(&pages).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let had = fs::read_to_string(&path).unwrap_or_default();
        assert!(had == text, "{} is not what the schema says: PMEM_REWRITE=1 writes it", path.display());
    }
    assert_eq!(fs::read_dir(pages).unwrap().count(), schemas().len());
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
            "lint" => &["lint", "--together"],
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
