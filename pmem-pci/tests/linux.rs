//! What Linux does, against what it did: booted kernels' own maps before and after, of the corpus (`PMEM_CORPUS`).

use pmem_pci::linux::{Event, Map, Rules, predict};
use pmem_pci::tree::{
    Aperture, Avoid, Bridge, Function, Index, Mobility, Resource, Root, Slot, Space, Tree, Window, WindowKind,
};
use pmem_pci::{Address, BusRange};
use std::path::PathBuf;

const HIGH: u64 = u64::MAX;
const LOW: u64 = 0xffff_ffff;

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

fn resource(slot: u8, span: BusRange, flags: u64) -> Resource {
    let io = flags & 0x100 != 0;
    Resource {
        slot: Slot::Bar(slot),
        space: if io { Space::Io } else { Space::Memory },
        prefetchable: flags & 0x2000 != 0,
        top: if flags & 0x10_0000 != 0 { HIGH } else { LOW },
        size: span.len(),
        align: span.len(),
        at: Some(span.first),
        fixed: false,
        optional: false,
    }
}

/// What a section of a log has: a line a function, and below it its windows or its registers, as the kernel's `resource` files have them.
fn functions(log: &str, name: &str) -> Vec<Function> {
    let begin = log.find(&format!("=== STATE {name}\n")).unwrap_or_else(|| panic!("no state {name}"));
    let mut out: Vec<Function> = Vec::new();
    let (mut slot, mut windows) = (0, 0);
    for line in log[begin..].lines().skip(1).take_while(|line| !line.starts_with("===")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Ok(address) = words[0].parse::<Address>() {
            let mut function = Function::new(address, None, 0);
            function.command = words.iter().find_map(|word| word.strip_prefix("cmd=")).map(|text| {
                let bytes = hex(text) as u16;
                bytes.swap_bytes()
            });
            if words[1].starts_with("0x0604") {
                let window = |kind, granule, top| Window { kind, span: None, granule, top, card_bus: None };
                let all = vec![
                    window(WindowKind::Io, 0x1000, 0xffff),
                    window(WindowKind::Memory, 1 << 20, LOW),
                    window(WindowKind::Prefetchable, 1 << 20, HIGH),
                ];
                // QEMU's root ports, and the downstream ports of its switch, have slots.
                let hot_plug = words[2].ends_with("0x000c") || words[2].ends_with("0x8233");
                function.bridge = Some(Bridge { windows: all, hot_plug, ..Bridge::default() });
            }
            (slot, windows) = (0, 0);
            out.push(function);
        } else if words[0] == "win" || words[0] == "bar" {
            let (first, last, flags) = (hex(words[1]), hex(words[2]), hex(words[3]));
            let function = out.last_mut().unwrap();
            // What is released keeps its size, and begins at 0.
            let span = (flags != 0 && first != 0).then_some(BusRange { first, last });
            if words[0] == "win" {
                function.bridge.as_mut().unwrap().windows[windows].span = span;
                windows += 1;
            } else {
                function.resources.extend(span.map(|span| resource(slot, span, flags)));
                slot += 1;
            }
        }
    }
    out
}

/// Bus numbers go depth first: each bridge gets the next one, and then those below it.
fn number(functions: &[Function], bus: u8, next: &mut u8, out: &mut Vec<(u8, Address)>) {
    for function in functions.iter().filter(|f| f.address.bus == bus && f.bridge.is_some()) {
        let below = *next;
        *next += 1;
        out.push((below, function.address));
        number(functions, below, next, out);
    }
}

fn tree(log: &str, name: &str) -> Tree {
    let mut functions = functions(log, name);
    let mut buses = Vec::new();
    number(&functions, 0, &mut 1, &mut buses);
    let mut tree = Tree::default();
    let mut root = Root { segment: 0, buses: (0, 255), apertures: Vec::new() };
    let io = BusRange { first: 0x1000, last: 0xffff };
    root.apertures.push(Aperture { space: Space::Io, span: io, cpu: io.first });
    for line in log.lines().filter_map(|line| line.strip_prefix("IOMEM ")) {
        let Some(range) = line.strip_suffix(" : PCI Bus 0000:00") else { continue };
        let (first, last) = range.split_once('-').unwrap();
        let span = BusRange { first: hex(first), last: hex(last) };
        if !root.apertures.iter().any(|aperture| aperture.span == span) {
            root.apertures.push(Aperture { space: Space::Memory, span, cpu: span.first });
        }
    }
    tree.roots.push(root);
    tree.avoid.push(Avoid {
        space: Space::Memory,
        span: BusRange { first: 0, last: 0xf_ffff },
        strict: false,
    });
    // What the log's list has on the root bus and no function above has: BARs that the sections leave out.
    for line in log.lines().filter_map(|line| line.strip_prefix("IOMEM ")) {
        let Some((range, name)) = line.trim().split_once(" : ") else { continue };
        let Ok(address) = name.parse::<Address>() else { continue };
        let (first, last) = range.split_once('-').unwrap();
        let span = BusRange { first: hex(first), last: hex(last) };
        let Some(function) = functions.iter_mut().find(|f| f.address == address) else { continue };
        if !function.resources.iter().any(|r| r.span() == Some(span)) && address.bus == 0 {
            function.resources.push(resource(5, span, 0x200));
        }
    }
    functions.sort_by_key(|function| function.address);
    for mut function in functions {
        let above = buses.iter().find(|(bus, _)| *bus == function.address.bus).map(|(_, bridge)| *bridge);
        function.parent = above.and_then(|bridge| tree.find(bridge));
        assert!(function.parent.is_some() || function.address.bus == 0, "{}", function.address);
        if let Some(bridge) = &mut function.bridge {
            bridge.buses = buses.iter().find(|(_, of)| *of == function.address).map(|(bus, _)| (*bus, *bus));
        }
        tree.functions.push(function);
    }
    tree
}

/// The card that is plugged in: its registers as the log sizes them.
fn plug(tree: &mut Tree, log: &str, port: &str) -> Index {
    let port = tree.find(port.parse().unwrap()).unwrap();
    let bus = tree.functions[port].bridge.as_ref().unwrap().buses.unwrap().0;
    let address = Address { segment: 0, bus, device: 0, function: 0 };
    let mut card = Function::new(address, Some(port), 0);
    (card.absent, card.mobility) = (true, Mobility::Asked);
    let prefix = format!("pci {address}: BAR ");
    for line in log.lines().filter(|line| line.starts_with("DMESG ")) {
        let Some((_, rest)) = line.split_once(&prefix) else { continue };
        let Some((n, rest)) = rest.split_once(" [mem 0x00000000-0x") else { continue };
        let (last, rest) = rest.split_once([' ', ']']).unwrap();
        let n: u8 = n.parse().unwrap();
        if card.resource(Slot::Bar(n)).is_none() {
            let flags = 0x200
                | if rest.contains("64bit") { 0x10_0000 } else { 0 }
                | if rest.contains("pref") { 0x2000 } else { 0 };
            let mut new = resource(n, BusRange { first: 0, last: hex(last) }, flags);
            new.at = None;
            card.resources.push(new);
        }
    }
    assert!(!card.resources.is_empty());
    tree.functions.push(card);
    port
}

/// Everything that differs, in words.
fn differences(ours: &Tree, theirs: &Tree) -> Vec<String> {
    let mut out = Vec::new();
    for function in &theirs.functions {
        let Some(own) = ours.find(function.address).map(|index| &ours.functions[index]) else { continue };
        for window in function.bridge.iter().flat_map(|bridge| &bridge.windows) {
            let had = own.window(window.kind).and_then(|w| w.span);
            if had != window.span {
                out.push(format!("{} {}: {had:x?}, Linux {:x?}", function.address, window.kind, window.span));
            }
        }
        for resource in &own.resources {
            let has = function.resource(resource.slot).and_then(Resource::span);
            if resource.span() != has {
                out.push(format!(
                    "{} BAR {}: {:x?}, Linux {has:x?}",
                    function.address,
                    resource.slot,
                    resource.span()
                ));
            }
        }
    }
    out
}

fn log(name: &str) -> Option<String> {
    let corpus = PathBuf::from(std::env::var_os("PMEM_CORPUS")?);
    let path = std::env::current_dir().unwrap().join("..").join(corpus).join("pci/cases").join(name);
    Some(
        std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            .replace('\r', ""),
    )
}

fn plugged(log: &str) -> String {
    let named =
        |line: &str| line.split_once(": pciehp: ").map(|(who, _)| who.rsplit(' ').next().unwrap().to_owned());
    log.lines().find_map(named).unwrap()
}

/// A log, and the kernel's map before anything happened, with the card that is to come.
fn scene(name: &str) -> Option<(String, Map, Index, Index)> {
    let log = log(name)?;
    let mut before = tree(&log, "before");
    let port = plug(&mut before, &log, &plugged(&log));
    let card = before.functions.len() - 1;
    Some((log, Map::new(&before), port, card))
}

/// The map is as it was, and so are the bridges' registers.
fn same(ours: &Map, log: &str, state: &str, name: &str) {
    let theirs = tree(log, state);
    assert_eq!(differences(&ours.tree(), &theirs), [""; 0], "{name} {state}");
    let begin = log.find(&format!("=== STATE {state}\n")).unwrap();
    for line in log[begin..].lines().skip(1).take_while(|line| !line.starts_with("===")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(index) = words[0].parse().ok().and_then(|address| ours.registers().find(address)) else {
            continue;
        };
        let bytes = |prefix: &str| {
            let text = words.iter().find_map(|word| word.strip_prefix(prefix)).unwrap();
            u64::from_str_radix(text, 16).unwrap().to_be_bytes()
        };
        let (low, high) = (bytes("w20="), bytes("up="));
        let half = |bytes: &[u8]| u64::from(u16::from_le_bytes([bytes[0], bytes[1]]) & 0xfff0) << 16;
        let word = |bytes: &[u8]| u64::from(u32::from_le_bytes(bytes.try_into().unwrap())) << 32;
        let memory = BusRange::new(half(&low[0..]), half(&low[2..]) | 0xf_ffff);
        let prefetchable =
            BusRange::new(half(&low[4..]) | word(&high[..4]), half(&low[6..]) | 0xf_ffff | word(&high[4..]));
        let registers = ours.registers();
        let had = |kind| registers.functions[index].window(kind).and_then(|w| w.span);
        if registers.functions[index].bridge.is_some() {
            assert_eq!(had(WindowKind::Memory), memory, "{name} {state}: {line}");
            assert_eq!(had(WindowKind::Prefetchable), prefetchable, "{name} {state}: {line}");
        }
    }
}

/// Each with the minor version of 6.
const SCENES: [(&str, u32); 8] = [
    ("33-qemu-a-first-fail-below-switch-6.1.log", 1),
    ("33-qemu-b-second-fail-below-switch-6.1.log", 1),
    ("33-qemu-b-second-fail-below-switch-6.12.log", 12),
    ("33-qemu-d-second-fail-root-port-6.1.log", 1),
    ("33-qemu-d-second-fail-root-port-6.12.log", 12),
    ("33-qemu-e-nonpref-neighbour-6.1.log", 1),
    ("33-qemu-e-nonpref-neighbour-6.12.log", 12),
    ("33-qemu-h-first-fail-then-grown-6.1.log", 1),
];

#[test]
fn plugs_and_the_rescan_afterwards_end_as_they_did() {
    for (name, version) in SCENES {
        let Some((log, mut map, port, card)) = scene(name) else { return };
        let rules = Rules::of(6, version);
        let mut hurt = Vec::new();
        for _ in log.lines().filter(|line| line.contains(": Card present")) {
            map.plug_in(card);
            let outcome = predict(&map, &rules, Event::Plug(port));
            (map, hurt) = (outcome.map, outcome.hurt);
        }
        same(&map, &log, "after", name);
        // The second failure costs live neighbours their windows; the first one only the port.
        let neighbours = hurt.iter().any(|id| id.function() != port && id.function() != card);
        assert_eq!(
            neighbours,
            ["-b-", "-d-", "-e-"].iter().any(|kind| name.contains(kind)),
            "{name}: {hurt:?}"
        );
        same(&predict(&map, &rules, Event::Rescan).map, &log, "rescan", name);
    }
}

#[test]
fn a_rescan_in_between_saves_the_neighbours() {
    let name = "33-qemu-f-rescan-between-6.1.log";
    let Some((log, mut map, port, card)) = scene(name) else { return };
    let rules = Rules::of(6, 1);
    map.plug_in(card);
    map = predict(&map, &rules, Event::Plug(port)).map;
    same(&map, &log, "prerescan", name);
    map.take_out(card);
    map = predict(&map, &rules, Event::Rescan).map;
    map.plug_in(card);
    map = predict(&map, &rules, Event::Plug(port)).map;
    same(&map, &log, "after", name);
}

#[test]
fn acpi_releases_nothing() {
    let name = "33-qemu-g-acpiphp-6.12.log";
    let Some(log) = log(name) else { return };
    let mut before = tree(&log, "before");
    let port = plug(&mut before, &log, "0000:00:06.0");
    let outcome = predict(&Map::new(&before), &Rules::of(6, 12), Event::PlugAcpi(port));
    same(&outcome.map, &log, "after", name);
}

#[test]
fn a_rescan_of_an_empty_bus_does_what_a_plug_does() {
    let name = "33-qemu-c-bus-rescan-U1-below-switch-6.1.log";
    let Some((log, mut map, port, card)) = scene(name) else { return };
    let rules = Rules::of(6, 1);
    for state in ["after", "u1"] {
        map.plug_in(card);
        map = predict(&map, &rules, Event::Plug(port)).map;
        same(&map, &log, state, name);
    }
    same(&predict(&map, &rules, Event::Rescan).map, &log, "rescan", name);
}
