//! Pictures of reports: that they are drawn, whole, and true to the addresses that the report says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn machine(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/machines").join(format!("{name}.tar.gz"))
}

fn pmem(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pmem")).args(words).env("COLUMNS", "100").output().unwrap()
}

fn drawn(words: &[&str]) -> String {
    let output = pmem(words);
    // What differs is status 1, drawn or not; 4 where one of the two knows nothing of memory.
    let wanted = if words[0] == "diff" { [1, 4] } else { [0, 0] };
    assert!(
        output.status.code().is_some_and(|status| wanted.contains(&status)),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A box of a picture: its column's x, where it begins and ends, its name, and all that its title says.
struct Drawn {
    x: f64,
    y: f64,
    height: f64,
    name: String,
    title: String,
}

fn boxes(svg: &str) -> Vec<Drawn> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let is_piece = |node: &roxmltree::Node<'_, '_>| {
        node.attribute("class").is_some_and(|class| class.starts_with("piece"))
    };
    let drawn = |group: roxmltree::Node<'_, '_>| {
        let title = group.children().find(|node| node.has_tag_name("title"))?.text()?.to_owned();
        let rect = group.children().find(|node| node.has_tag_name("rect"))?;
        let number = |name| rect.attribute(name).unwrap().parse::<f64>().unwrap();
        let name = title.lines().next().unwrap_or_default().to_owned();
        Some(Drawn { x: number("x"), y: number("y"), height: number("height"), name, title })
    };
    document.descendants().filter(is_piece).filter_map(drawn).collect()
}

#[test]
fn the_same_addresses_are_at_the_same_height_in_every_column() {
    let all = boxes(&drawn(&["topo", machine("qemu-pcie-switches").to_str().unwrap(), "--svg", "-"]));
    let mut places: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    let mut columns = std::collections::BTreeSet::new();
    for found in &all {
        // Memory and ports have axes of their own.
        let range = found.title.lines().nth(1).unwrap();
        columns.insert(found.x as u64);
        let had = places.entry(range).or_insert((found.y, found.height));
        let is_near = (had.0 - found.y).abs() < 0.2 && (had.1 - found.height).abs() < 0.2;
        assert!(
            is_near || range.ends_with(" B") || range.contains("KiB"),
            "{}: {had:?} {}",
            found.title,
            found.y
        );
    }
    assert!(columns.len() >= 4, "root buses, switches, ports, cards: {columns:?}");
    let addr = |found: &Drawn| {
        let start = found.title.lines().nth(1).unwrap().split("..").next().unwrap().to_owned();
        u64::from_str_radix(start.trim_start_matches("0x"), 16).unwrap()
    };
    for x in &columns {
        let mut column: Vec<&Drawn> =
            all.iter().filter(|found| found.x as u64 == *x && addr(found) > 0xffff).collect();
        column.sort_by_key(|found| addr(found));
        for pair in column.windows(2) {
            assert!(
                pair[0].y + pair[0].height <= pair[1].y + 0.2,
                "{} over {}",
                pair[0].title,
                pair[1].title
            );
        }
    }
}

#[test]
fn every_region_that_the_report_has_is_in_the_picture() {
    let source = machine("qemu-numa4-hmat");
    let source = source.to_str().unwrap();
    let report: serde_json::Value = serde_json::from_str(&drawn(&["--json", "topo", source])).unwrap();
    let svg = drawn(&["topo", source, "--svg", "-"]);
    let all = boxes(&svg);
    let mut count = 0;
    for arena in report["arenas"].as_array().unwrap() {
        for region in arena["regions"].as_array().unwrap() {
            let (name, start) = (region["name"].as_str().unwrap(), region["start"].as_str().unwrap());
            let is_it = |found: &&Drawn| {
                found.name.starts_with(name)
                    && found.title.lines().nth(1).unwrap().starts_with(&format!("{start}.."))
            };
            assert!(all.iter().any(|found| is_it(&found)), "{name} at {start}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
    // Latencies of the nodes' memory stand at their ribbons, the faster the thicker.
    assert!(svg.contains(" ns</text>") && svg.contains("class=\"spine\""));
    assert!(svg.contains(">node 3"), "a card for each node");
}

#[test]
fn each_report_that_has_addresses_has_a_picture() {
    let source = machine("qemu-pcie-switches");
    let source = source.to_str().unwrap();
    let report: serde_json::Value = serde_json::from_str(&drawn(&["--json", "topo", source])).unwrap();
    // A host bridge with other addresses on its bus: two that do not see alike.
    let folder = tempfile::tempdir().unwrap();
    let shifted = folder.path().join("dmesg");
    let log = "pci_bus 0000:00: root bus resource [mem 0x600000000-0x603ffffff] (bus address [0xf8000000-0xfbffffff])\n";
    std::fs::write(&shifted, log).unwrap();
    let shifted = shifted.to_str().unwrap();
    let registers = pmem_tests::here().join("../docs/samples/g33.txt");
    let registers = registers.to_str().unwrap();
    let units = folder.path().join("units");
    let log = "DMAR: DRHD base: 0x000000fed90000 flags: 0x0\nDMAR: RMRR base: 0x0000007b800000 end: 0x0000007fffffff\n";
    std::fs::write(&units, log).unwrap();
    let units = units.to_str().unwrap();
    // A port with nothing behind it takes a card.
    let is_empty = |found: &&serde_json::Value| {
        let below = found["below"].as_str().map(|bus| format!("pci {bus}"));
        below.is_some_and(|bus| {
            report["functions"].as_array().unwrap().iter().all(|other| other["bus"] != *bus)
        })
    };
    let port =
        report["functions"].as_array().unwrap().iter().find(is_empty).unwrap()["address"].as_str().unwrap();
    let asked: &[(&[&str], &str)] = &[
        (&["topo", source], "CPUs"),
        (&["view", "cpu", source], "system"),
        (&["view", "cpu", source, "--local"], "system"),
        (&["diff", "cpu", "pci 0000:00", shifted], "system"),
        (&["resolve", "0x100000", "0xfee00000", source], "node0 RAM"),
        (&["ram", "show", source], "segments"),
        (&["pci", "tree", source], "0000:00"),
        (&["mtrr", "show", registers], "effective"),
        (
            &["mtrr", "plan", registers, "--want", "0xd0000000..0xe0000000=WC", "--unmapped", "windows"],
            "wanted",
        ),
        (&["iommu", "show", units], "units"),
        (&["pci", "plan", source, "--add", "mem64p:256M,mem32:1M", "--at", port], "placed"),
    ];
    for (words, column) in asked {
        let text = drawn(&[words, &["--svg", "-"][..]].concat());
        assert!(!boxes(&text).is_empty(), "{words:?}");
        assert!(text.contains(&format!(">{column}")), "{words:?} has no column {column}");
    }
}

#[test]
fn findings_that_lie_over_each_other_are_both_drawn_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("machine.txt");
    // A node's memory twice, and one over the other.
    let log = "[    0.000000] ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]\n\
        [    0.000000] ACPI: SRAT: Node 1 PXM 1 [mem 0x40000000-0xbfffffff]\n\
        [    0.000000] ACPI: SRAT: Node 2 PXM 2 [mem 0x60000000-0xffffffff]\n";
    std::fs::write(&file, log).unwrap();
    let findings = String::from_utf8(pmem(&["--json", "lint", file.to_str().unwrap()]).stdout).unwrap();
    let svg = String::from_utf8(pmem(&["lint", file.to_str().unwrap(), "--svg", "-"]).stdout).unwrap();
    let all = boxes(&svg);
    let mut count = 0;
    for line in findings.lines() {
        let finding: serde_json::Value = serde_json::from_str(line).unwrap();
        for side in finding["sides"].as_array().into_iter().flatten() {
            let (Some(start), Some(last)) = (side["start"].as_str(), side["end"].as_str()) else { continue };
            let end = u64::from_str_radix(last.trim_start_matches("0x"), 16).unwrap() + 1;
            let range = format!("{start}..{end:#x}, ");
            let rule = finding["rule"].as_str().unwrap();
            assert!(
                all.iter().any(|found| found.name.starts_with(rule) && found.title.contains(&range)),
                "{rule} {range}"
            );
            count += 1;
        }
    }
    assert!(count >= 4, "{findings}");
}

#[test]
fn memory_of_every_kind_is_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("iomem");
    std::fs::write(&file, "00001000-3fffffff : System RAM\n").unwrap();
    for words in [&["topo"][..], &["view", "cpu"]] {
        let svg = drawn(&[words, &[file.to_str().unwrap(), "--svg", "-"]].concat());
        assert!(
            svg.contains("class=\"piece memory\"") && !svg.contains("class=\"piece free\"><title"),
            "{words:?}"
        );
    }
    // What a box is called, and what else is known of it.
    let facts =
        "0x1000..0x40000000, 1023.9 MiB\nRAM at 0x1000\ndata read+write+exec wback\nSystem RAM\ncost 1";
    let svg = drawn(&["view", "cpu", file.to_str().unwrap(), "--svg", "-"]);
    assert!(boxes(&svg).iter().any(|found| found.title.ends_with(facts)), "{svg}");
}

#[test]
fn many_regions_far_apart_keep_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("iomem");
    let list: String =
        (0..450u64).map(|n| format!("{:08x}-{:08x} : thing{n}\n", n << 24, (n << 24) + 0xfff)).collect();
    std::fs::write(&file, list).unwrap();
    let map = drawn(&["topo", file.to_str().unwrap(), "--map"]);
    for n in [0u64, 1, 77, 449] {
        let at = format!("{:#x} |thing{n}", n << 24);
        assert!(map.lines().any(|line| line.trim() == at), "{at}");
    }
}

#[test]
fn a_page_needs_nothing_but_itself_and_says_what_the_picture_says() {
    let source = machine("qemu-numa2-hmat");
    let source = source.to_str().unwrap();
    let html = drawn(&["topo", source, "--html", "-"]);
    for outside in ["src=", "href=", "@import", "url(http", "fetch("] {
        assert!(!html.contains(outside), "{outside}");
    }
    let svg = &html[html.find("<svg").unwrap()..html.find("</svg>").unwrap() + 6];
    assert!(!boxes(svg).is_empty());
    let names: Vec<String> = boxes(svg).into_iter().map(|found| found.title).collect();
    let alone: Vec<String> =
        boxes(&drawn(&["topo", source, "--svg", "-"])).into_iter().map(|found| found.title).collect();
    assert_eq!(names, alone);
}

#[test]
fn a_map_is_the_same_as_text() {
    let source = machine("qemu-numa2-hmat");
    let text = drawn(&["topo", source.to_str().unwrap(), "--map"]);
    let line = |start: &str| {
        text.lines()
            .find(|line| line.trim_start().starts_with(start))
            .unwrap_or_else(|| panic!("{start}: {text}"))
    };
    assert!(
        line("0x20000000 ").matches("|node1 RAM").count() == 2,
        "where CPUs see it, and the memory itself"
    );
    assert!(line("0x1000000 ").contains("|Kernel code"));
    assert!(text.contains("~~ 976 GiB of nothing ~~"), "{text}");
    assert!(
        text.contains("free 32 GiB, largest block 16 GiB"),
        "0x100000000 is no multiple of 32 GiB: {text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 100 || line.starts_with("Read")),
        "COLUMNS is 100"
    );
}

#[test]
fn names_are_no_markup() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("iomem");
    std::fs::write(&file, "00001000-0009ffff : System RAM\n000a0000-000bffff : <b>\"&'\u{1}\n").unwrap();
    let all = boxes(&drawn(&["topo", file.to_str().unwrap(), "--svg", "-"]));
    assert!(
        all.iter().any(|found| found.name.starts_with("<b>\"&'")),
        "{:?}",
        all.iter().map(|b| &b.name).collect::<Vec<_>>()
    );
}

#[test]
fn what_has_no_picture_says_so() {
    let source = machine("qemu-numa2-hmat");
    let source = source.to_str().unwrap();
    for (words, said) in [
        (&["pci", "lint", source, "--svg", "-"][..], "no such picture"),
        (&["view", source, "--dot", "-"], "topo only"),
        (&["--json", "topo", source, "--svg", "-"], "--json"),
        (&["--json", "topo", source, "--dot", "-"], "--json"),
        (&["--json", "lint", source, "--svg", "-"], "--json"),
    ] {
        let output = pmem(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{words:?}");
        assert!(output.stdout.is_empty());
    }
    let output = pmem(&["topo", source, "--svg", "/nonexistent/x.svg"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/x.svg"));
}

#[test]
fn the_graph_has_every_arena_and_every_open_way() {
    let source = machine("qemu-numa2-hmat");
    let source = source.to_str().unwrap();
    let report: serde_json::Value = serde_json::from_str(&drawn(&["--json", "topo", source])).unwrap();
    let dot = drawn(&["topo", source, "--dot", "-"]);
    for arena in report["arenas"].as_array().unwrap() {
        let name = arena["name"].as_str().unwrap();
        assert!(dot.contains(&format!("  \"{name}\" [")), "{name}");
    }
    let open = |link: &serde_json::Value| {
        ["to_right", "to_left"].iter().filter(|way| link[**way]["kind"] != "closed").count()
    };
    let ways: usize = report["interconnects"].as_array().unwrap().iter().map(open).sum();
    assert_eq!(dot.matches(" -> ").count(), ways);
}
