//! Descriptions that disagree on who owns or reaches an address: memory that belongs to no node, BARs that differ from
//! the kernel's map, devices that cannot reach all memory (rules N14, P9, P10).

use super::finding::{LintReport, Severity, Side};
use super::ranges::{bytes, join, place, size, without};
use pmem_core::AddrRange;
use pmem_import::{Facts, Function, PciSource, ResourceKind, SourceLine, show_bus};
use pmem_pci::Bar;
use std::collections::BTreeMap;

/// Linux's smallest memory block. A smaller piece of memory may be in no block at all.
const BLOCK: u64 = 128 << 20;

pub(super) fn lint(facts: &Facts, linted: &mut LintReport) {
    let ram = ram(facts);
    nobodys(facts, &ram, linted);
    registers(facts, linted);
    unreached(facts, &ram, linted);
}

/// Returns the RAM with its place in the source: from the kernel's resource list, otherwise from firmware's map.
fn ram(facts: &Facts) -> Vec<(AddrRange, SourceLine, &'static str)> {
    let listing = facts.memory.iter().rfind(|listing| !listing.lines.is_empty());
    if let Some(listing) = listing {
        let own = listing.lines.iter().filter(|line| line.name.starts_with("System RAM"));
        return own.map(|line| (line.range, listing.place(line), "System RAM")).collect();
    }
    // The map that the kernel modified beats the one that firmware gave.
    let surest = facts.firmware.maps.iter().map(|map| map.kind).max();
    let map = facts.firmware.maps.iter().rfind(|map| Some(map.kind) == surest && !map.entries.is_empty());
    let usable = map.into_iter().flat_map(|map| {
        let own = map.entries.iter().filter(|entry| entry.kind.is_usable());
        own.map(move |entry| (entry.range, place(map, entry), map.kind.name()))
    });
    usable.collect()
}

/// N14: RAM that no node's memory blocks cover, on a machine where nodes have blocks.
fn nobodys(facts: &Facts, ram: &[(AddrRange, SourceLine, &'static str)], linted: &mut LintReport) {
    let blocks = join(facts.numa.all.iter().flat_map(|node| node.memory()).collect());
    let known = facts.numa.all.iter().find(|node| !node.memory().is_empty());
    let Some(node) = known.and_then(|node| node.at.clone()).filter(|_| !ram.is_empty()) else {
        return linted.lacks(&["N14"], "memory blocks of nodes, and a list of RAM");
    };
    let mut sides = Vec::new();
    let mut much = 0;
    for (range, at, name) in ram {
        let left = without(&[*range], &blocks);
        // The kernel legitimately leaves out a piece smaller than a block.
        for left in left.into_iter().filter(|left| left.len() >= BLOCK) {
            much += left.len();
            sides.push(Side::new(at, left, format!("{name}, in no node's memory blocks")));
        }
    }
    if sides.is_empty() {
        return;
    }
    sides.truncate(8);
    sides.push(Side::new(&node, None, "the blocks of the nodes end elsewhere"));
    let means = format!(
        "{} of memory belong to no node: they stay unused, or are counted for another node",
        size(much)
    );
    linted.find(
        "N14",
        Severity::Warn,
        sides,
        means,
        "a capture of one moment; memory that came in later is to be set online",
    );
}

/// A BAR's register value, and the place that the kernel's map gives the BAR.
struct Placed<'f> {
    function: &'f Function,
    kind: ResourceKind,
    register: u64,
    range: AddrRange,
    at: &'f SourceLine,
}

/// P9: BARs that decode memory elsewhere than the kernel's map says.
///
/// A host bridge may translate addresses, so register and map may differ. But through one of its windows they all
/// differ by the same offset, which the majority tells. A bridge may have one window below 4 GiB that translates and
/// one above that does not, so the two are kept apart.
fn registers(facts: &Facts, linted: &mut LintReport) {
    let mut by_root: BTreeMap<_, Vec<Placed<'_>>> = BTreeMap::new();
    for ((source, _), function) in &facts.pci.functions {
        let Some(header) = function.header.as_ref().filter(|_| *source == PciSource::Sysfs) else { continue };
        if !header.common.command.memory() {
            continue;
        }
        for (slot, bar) in header.bars() {
            let (Bar::Memory { base, .. }, Ok(slot)) = (bar, u8::try_from(slot)) else { continue };
            let kind = ResourceKind::Bar(slot);
            let resource = function.resources.iter().find(|resource| resource.kind == kind && !resource.io);
            let Some(resource) = resource.filter(|_| base != 0) else { continue };
            let placed = Placed { function, kind, register: base, range: resource.range, at: &resource.at };
            by_root.entry((function.root, base >> 32 != 0)).or_default().push(placed);
        }
    }
    if by_root.is_empty() {
        linted.lacks(&["P9"], "headers of functions (/sys/bus/pci/devices)");
    }
    for placed in by_root.values() {
        let off = |placed: &Placed<'_>| placed.range.start().wrapping_sub(placed.register);
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        placed.iter().for_each(|placed| *counts.entry(off(placed)).or_default() += 1);
        // The usual offset must hold for more than half of the BARs, and for at least two.
        let usual = counts.iter().find(|(_, count)| **count >= 2 && **count * 2 > placed.len());
        let Some(usual) = usual.map(|(usual, _)| *usual) else { continue };
        // An offset that several BARs share is another window, not an error.
        for placed in placed.iter().filter(|placed| counts[&off(placed)] == 1) {
            let name = format!("{} {}", placed.function.bdf(), placed.kind);
            let own = AddrRange::sized(placed.register.wrapping_add(usual), placed.range.len()).ok();
            let config = placed.function.at.clone().unwrap_or_else(|| placed.at.clone());
            let sides = [
                Side::new(placed.at, placed.range, format!("{name}, by the kernel's map")),
                Side::new(&config, own, format!("{name}, by its register, while it decodes")),
            ];
            let means = "its driver writes where the device is not, and perhaps where another is";
            linted.find(
                "P9",
                Severity::Warn,
                sides,
                means,
                "the function is to be removed and found anew (remove, rescan)",
            );
        }
    }
}

/// P10: RAM that the devices of a host bridge cannot reach.
fn unreached(facts: &Facts, ram: &[(AddrRange, SourceLine, &'static str)], linted: &mut LintReport) {
    if facts.pci.inward.is_empty() || ram.is_empty() {
        return linted.lacks(&["P10"], "a device tree with dma-ranges, and a list of RAM");
    }
    let all = join(ram.iter().map(|(range, ..)| *range).collect());
    // Behind an IOMMU, these ranges limit device addresses rather than memory.
    for (bus, inward) in facts.pci.inward.iter().filter(|(bus, _)| !facts.iommu.translated.contains_key(bus))
    {
        let reached = inward.iter().filter_map(|(range, to)| {
            let last = to.saturating_add(range.last() - range.start());
            AddrRange::inclusive(*to, last).ok()
        });
        let left = without(&all, &join(reached.collect()));
        let Some(first) = left.first() else { continue };
        let mut sides: Vec<Side> = ram
            .iter()
            .filter(|(range, ..)| left.iter().any(|left| left.overlaps(*range)))
            .take(8)
            .map(|(range, at, name)| Side::new(at, *range, *name))
            .collect();
        let way = SourceLine::whole(format!("dma-ranges of pci {}", show_bus(*bus)));
        sides.extend(inward.iter().map(|(range, to)| {
            let seen = AddrRange::sized(*to, range.len()).ok();
            Side::new(&way, seen, format!("what its devices reach, at {:#x} of their own", range.start()))
        }));
        let means = format!(
            "{} of memory, from {:#x}, are out of reach of its devices: what is there is copied (swiotlb), or lost by drivers that do not ask",
            size(bytes(&left)),
            first.start()
        );
        linted.find(
            "P10",
            Severity::Info,
            sides,
            means,
            "drivers that take their buffers through the DMA API; memory kept below for them",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmem_import::{Listed, Listing, NumaNode, PciResource};
    use pmem_pci::Header;

    const GIB: u64 = 1 << 30;

    fn range(start: u64, last: u64) -> AddrRange {
        AddrRange::inclusive(start, last).unwrap()
    }

    fn with_ram(ranges: &[AddrRange]) -> Facts {
        let line = |range: &AddrRange| Listed {
            range: *range,
            name: "System RAM".to_owned(),
            depth: 0,
            parent: None,
            line: 1,
        };
        let listing = Listing {
            lines: ranges.iter().map(line).collect(),
            source: "iomem".into(),
            ..Listing::default()
        };
        Facts { memory: vec![listing], ..Facts::default() }
    }

    fn found(facts: &Facts) -> Vec<(&'static str, Vec<String>)> {
        let mut linted = LintReport::default();
        lint(facts, &mut linted);
        let starts = |sides: Vec<Side>| {
            sides.into_iter().filter_map(|side| side.start).map(|start| start.to_string()).collect()
        };
        linted.findings.into_iter().map(|found| (found.rule, starts(found.sides))).collect()
    }

    #[test]
    fn memory_that_is_in_no_nodes_blocks_is_nobodys() {
        let mut facts = with_ram(&[range(0x1000, GIB - 1), range(4 * GIB, 5 * GIB - 1)]);
        assert!(found(&facts).is_empty(), "no node has blocks: nothing is known");
        let node = |blocks: &[AddrRange]| NumaNode {
            at: Some(SourceLine::whole("node0")),
            blocks: blocks.to_vec(),
            ..NumaNode::default()
        };
        facts.numa.all = vec![node(&[range(0, GIB - 1), range(4 * GIB, 5 * GIB - 1)])];
        assert!(found(&facts).is_empty());
        facts.numa.all = vec![node(&[range(0, GIB - 1), range(4 * GIB, 5 * GIB - 1 - BLOCK / 2)])];
        assert!(found(&facts).is_empty(), "less than a block");
        facts.numa.all = vec![node(&[range(0, GIB - 1)])];
        assert_eq!(found(&facts), [("N14", vec!["0x100000000".to_owned()])]);
        // What is set offline is a node's all the same.
        facts.numa.all[0].offline = vec![range(4 * GIB, 5 * GIB - 1)];
        assert!(found(&facts).is_empty());
    }

    /// Functions with one register each, which is `register`, and in the kernel's map `mapped`.
    fn with_registers(all: &[(u32, u64)], command: u8) -> Facts {
        let mut facts = Facts::default();
        for (n, (register, mapped)) in (0u8..).zip(all) {
            let mut config = [0u8; 64];
            config[..5].copy_from_slice(&[0x86, 0x80, 1, 0, command]);
            config[16..20].copy_from_slice(&register.to_le_bytes());
            let address = pmem_import::Address { segment: 0, bus: 0, device: n, function: 0 };
            let at = SourceLine::whole(format!("{address}/resource"));
            let function = facts.pci.function(PciSource::Sysfs, address, &at);
            function.header = Some(Header::decode(&config).unwrap());
            function.root = Some((0, 0));
            function.resources.push(PciResource {
                kind: ResourceKind::Bar(0),
                range: AddrRange::sized(*mapped, 0x1000).unwrap(),
                io: false,
                prefetchable: false,
                wide: Some(false),
                open_ended: false,
                at,
            });
        }
        facts
    }

    #[test]
    fn a_register_that_is_not_as_the_map_has_it_is_told_by_the_others() {
        let all = [(0xf000_0000, 0xf000_0000), (0xf000_1000, 0xf000_1000), (0xf000_9000, 0xf000_2000)];
        assert_eq!(
            found(&with_registers(&all, 2)),
            [("P9", vec!["0xf0002000".to_owned(), "0xf0009000".to_owned()])]
        );
        assert!(found(&with_registers(&all, 0)).is_empty(), "it decodes nothing");
        assert!(found(&with_registers(&all[1..], 2)).is_empty(), "of two nobody knows which is right");
        // A host bridge that shifts addresses.
        let shifted = [(0x1000, 0x10_0000_1000), (0x2000, 0x10_0000_2000), (0x9000, 0x10_0000_3000)];
        assert_eq!(
            found(&with_registers(&shifted, 2)),
            [("P9", vec!["0x1000003000".to_owned(), "0x1000009000".to_owned()])]
        );
        assert!(
            found(&with_registers(&[all[0], all[1], (0, 0xf000_2000)], 2)).is_empty(),
            "a register of 0 is not set"
        );
        // Two that are off by as much, and two that are not: nobody knows.
        let off = [(0xf000_2000, 0xf100_2000), (0xf000_3000, 0xf100_3000)];
        assert!(found(&with_registers(&[all[0], all[1], off[0], off[1]], 2)).is_empty());
        let third = (0xf000_4000, 0xf000_4000);
        let windows = [all[0], all[1], third, off[0], off[1]];
        assert!(found(&with_registers(&windows, 2)).is_empty(), "another window");
        assert_eq!(found(&with_registers(&windows[..4], 2)).len(), 1);
    }

    #[test]
    fn memory_that_devices_do_not_reach_is_told() {
        let mut facts = with_ram(&[range(0, GIB - 1), range(4 * GIB, 5 * GIB - 1)]);
        facts.pci.inward.insert((0, 0), vec![(AddrRange::ALL, 0)]);
        assert!(found(&facts).is_empty());
        facts.pci.inward.insert((0, 0), vec![(range(0x4_0000_0000, 0x4_bfff_ffff), 0)]);
        assert_eq!(found(&facts), [("P10", vec!["0x100000000".to_owned(), "0x0".to_owned()])]);
        facts.iommu.translated.insert((0, 0), SourceLine::whole("tree"));
        assert!(found(&facts).is_empty(), "an IOMMU takes it anywhere");
    }
}
