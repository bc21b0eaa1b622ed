//! Which list of resources counts, and what of it, or of the firmware's map, is memory.

use super::views;
use crate::facts::{
    Facts, Finding, Listed, Listing, MapEntry, MapKind, MemoryMap, NodeRange, NodeRangeKind, NumaNode,
    SourceLine, Sourced, join,
};
use pmem_core::{AddrRange, FirmwareMemory};
use rangemap::RangeInclusiveMap;
use std::collections::BTreeSet;

/// A kind of memory. Kinds are never joined in one run or one free list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryKind {
    /// What CPUs have directly.
    Dram,
    /// Memory of high bandwidth, on the package.
    Hbm,
    /// Memory behind CXL.
    Cxl,
    /// Memory that firmware means for a special purpose, not handed out by default.
    Special,
    /// Memory that keeps its content.
    Persistent,
}

impl MemoryKind {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dram => "DRAM",
            Self::Hbm => "HBM",
            Self::Cxl => "CXL",
            Self::Special => "special purpose",
            Self::Persistent => "persistent",
        }
    }

    /// Whether it is RAM for anybody.
    pub const fn is_ram(self) -> bool {
        matches!(self, Self::Dram | Self::Hbm | Self::Cxl)
    }
}

/// A piece of memory.
#[derive(Clone, Debug)]
pub(crate) struct RamPiece {
    pub(crate) range: AddrRange,
    pub(crate) kind: MemoryKind,
    /// The node that it is; `None` if no source says, or several do.
    pub(crate) node: Option<u32>,
    pub(crate) at: SourceLine,
}

/// What a line of a list of resources is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// Memory.
    Memory(MemoryKind),
    /// Read-only memory.
    Rom,
    /// Something else.
    Other,
}

/// What a line is, by its name and by what it lies in.
pub(crate) fn line_kind(listing: &Listing, index: usize) -> LineKind {
    let Some(line) = listing.lines.get(index) else { return LineKind::Other };
    let within = |begin: &str| listing.around(index).any(|outer| outer.name.starts_with(begin));
    match line.name.as_str() {
        name if name == "System RAM" || name.starts_with("System RAM (") => {
            let kind = if within("CXL Window") {
                MemoryKind::Cxl
            } else if within("Persistent Memory") {
                MemoryKind::Persistent
            } else if within("Soft Reserved") {
                MemoryKind::Special
            } else {
                MemoryKind::Dram
            };
            LineKind::Memory(kind)
        }
        name if name.starts_with("Persistent Memory") => LineKind::Memory(MemoryKind::Persistent),
        "Soft Reserved" if !within("CXL Window") => LineKind::Memory(MemoryKind::Special),
        "Soft Reserved" => LineKind::Other,
        "System ROM" | "Video ROM" | "Adapter ROM" => LineKind::Rom,
        _ => LineKind::Other,
    }
}

/// The last list that is no excerpt of the one before it.
pub(super) fn last_complete(listings: &[Listing]) -> Option<&Listing> {
    let seen: Vec<&Listing> = listings.iter().filter(|listing| !listing.lines.is_empty()).collect();
    let (last, before) = seen.split_last()?;
    let key = |line: &Listed| (line.range.start(), line.range.last(), line.name.clone());
    let excerpt = |of: &Listing| {
        let had: BTreeSet<_> = of.lines.iter().map(key).collect();
        last.lines.len() < of.lines.len() && last.lines.iter().all(|line| had.contains(&key(line)))
    };
    match before.last() {
        Some(earlier) if excerpt(earlier) => Some(earlier),
        _ => Some(last),
    }
}

/// The named ranges of memory addresses, and whether the kernel lists them.
pub(super) fn choose(facts: &mut Facts) -> (Listing, bool) {
    if let Some(listing) = last_complete(&facts.memory) {
        let listing = listing.clone();
        compare(facts, &listing);
        return (listing, true);
    }
    let map = last_map(facts).map(|map| from_map(facts, &map));
    match map.or_else(|| views::listing(facts, false)) {
        Some(listing) => (listing, true),
        None => (Listing::default(), false),
    }
}

/// The map that counts: of the surest kind, the last complete one.
pub(super) fn last_map(facts: &Facts) -> Option<MemoryMap> {
    let surest = facts.firmware.maps.iter().map(|map| map.kind).max()?;
    last_of(facts, |kind| kind == surest)
}

/// The last complete map of firmware's own.
pub(super) fn firmware_map(facts: &Facts) -> Option<MemoryMap> {
    let own = |kind| kind != MapKind::Modified && kind != MapKind::Efi;
    last_of(facts, own).or_else(|| last_of(facts, |_| true))
}

fn last_of(facts: &Facts, wanted: impl Fn(MapKind) -> bool) -> Option<MemoryMap> {
    let all: Vec<&MemoryMap> = facts.firmware.maps.iter().filter(|map| wanted(map.kind)).collect();
    let (last, before) = all.split_last()?;
    // A map that is cut short is the beginning of the one before it.
    let cut = before.last().filter(|earlier| {
        last.entries.len() < earlier.entries.len()
            && last.entries.iter().zip(&earlier.entries).all(|(a, b)| (a.range, a.kind) == (b.range, b.kind))
    });
    Some((*cut.unwrap_or(last)).clone())
}

/// What a map says of each address: where its ranges overlap, what Linux would take.
pub(crate) fn flatten(map: &MemoryMap) -> RangeInclusiveMap<u64, FirmwareMemory> {
    let mut flat: RangeInclusiveMap<u64, FirmwareMemory> = RangeInclusiveMap::new();
    for entry in &map.entries {
        let range = entry.range.start()..=entry.range.last();
        let had: Vec<_> = flat.overlapping(&range).map(|(range, kind)| (range.clone(), *kind)).collect();
        flat.insert(range.clone(), entry.kind);
        for (other, kind) in had {
            let both = *other.start().max(range.start())..=*other.end().min(range.end());
            flat.insert(both, entry.kind.over(kind));
        }
    }
    flat
}

/// Its ranges in order of address.
fn in_order(map: &MemoryMap) -> Vec<&MapEntry> {
    let mut entries: Vec<&MapEntry> = map.entries.iter().collect();
    entries.sort_by_key(|entry| entry.range.start());
    entries
}

/// The line that speaks of an address; the map's first if none does.
fn line_of(map: &MemoryMap, entries: &[&MapEntry], addr: u64) -> u32 {
    let after = entries.partition_point(|entry| entry.range.start() <= addr);
    let last = after.checked_sub(1).map(|last| entries[last]).filter(|entry| entry.range.contains(addr));
    last.map_or(map.at.line, |entry| entry.line)
}

/// What a map says of each address, and where.
pub(super) fn said(map: &MemoryMap) -> Vec<Sourced<(AddrRange, FirmwareMemory)>> {
    let (flat, entries) = (flatten(map), in_order(map));
    let one = |(range, kind): (&std::ops::RangeInclusive<u64>, &FirmwareMemory)| {
        let range = AddrRange::inclusive(*range.start(), *range.end()).ok()?;
        let at = SourceLine::line(&map.at.source, line_of(map, &entries, range.start()));
        Some(Sourced::new((range, *kind), at))
    };
    flat.iter().filter_map(one).collect()
}

/// Named ranges as the firmware's map has them, after what the kernel changed.
fn from_map(facts: &Facts, map: &MemoryMap) -> Listing {
    let mut flat = flatten(map);
    let later = |place: &SourceLine| place.source == map.at.source && place.line > map.at.line;
    for said in facts.firmware.updates.iter().filter(|said| later(&said.at)) {
        let update = &said.value;
        let range = update.range.start()..=update.range.last();
        let parts: Vec<_> = flat
            .overlapping(&range)
            .filter(|(_, kind)| update.from.is_none_or(|from| from == **kind))
            .map(|(part, _)| *part.start().max(range.start())..=*part.end().min(range.end()))
            .collect();
        for part in parts {
            match update.to {
                Some(to) => flat.insert(part, to),
                None => flat.remove(part),
            }
        }
    }
    let entries = in_order(map);
    let lines = flat.iter().filter_map(|(range, kind)| {
        let name = match kind {
            kind if kind.is_usable() => "System RAM",
            FirmwareMemory::Persistent => "Persistent Memory",
            FirmwareMemory::SpecialPurpose => "Soft Reserved",
            kind => kind.name(),
        };
        let range = AddrRange::inclusive(*range.start(), *range.end()).ok()?;
        Some(Listed {
            range,
            name: name.to_owned(),
            depth: 0,
            parent: None,
            line: line_of(map, &entries, range.start()),
        })
    });
    Listing { lines: lines.collect(), hidden: false, source: map.at.source.clone() }
}

/// How much RAM of a list may lie outside of the firmware's memory before it is another machine's.
const SLACK: u64 = 1 << 20;

/// A list of resources against the firmware's map of another source.
fn compare(facts: &mut Facts, listing: &Listing) {
    let Some(map) = last_map(facts).filter(|map| map.at.source != listing.source) else { return };
    let memory: Vec<AddrRange> = flatten(&map)
        .iter()
        .filter(|(_, kind)| kind.is_memory())
        .filter_map(|(range, _)| AddrRange::inclusive(*range.start(), *range.end()).ok())
        .collect();
    let memory = join(memory);
    for line in listing.lines.iter().filter(|line| line.depth == 0 && line.name == "System RAM") {
        let outside = crate::facts::without(&[line.range], &memory);
        let bytes = outside.iter().fold(0u64, |sum, range| sum.saturating_add(range.len()));
        if bytes > SLACK {
            let text = format!(
                "System RAM {} of {} is not memory in the {} of {}: two machines, or two boots?",
                line.range,
                listing.place(line),
                map.kind.name(),
                map.at
            );
            facts.find(Finding::between(&listing.place(line), &map.at.clone(), text));
            break;
        }
    }
}

/// Memory, by the list of resources; where there is none by what the kernel's allocator was given, or by memory blocks. Neighbours of one kind stay apart as they are listed.
pub(super) fn ram(facts: &mut Facts, listing: &Listing, listed: bool) -> Vec<RamPiece> {
    if !listed {
        let kernels = by_allocator(facts);
        return if kernels.is_empty() { by_blocks(facts) } else { disjoint(facts, kernels) };
    }
    let mut pieces: Vec<RamPiece> = Vec::new();
    for (index, line) in listing.lines.iter().enumerate() {
        let LineKind::Memory(kind) = line_kind(listing, index) else { continue };
        pieces.push(RamPiece { range: line.range, kind, node: None, at: listing.place(line) });
    }
    // Memory inside other memory, as RAM made of persistent memory, is what is inside.
    disjoint(facts, pieces)
}

/// In order and disjoint: the later, inner piece has what both claim; what is not nested is a finding.
fn disjoint(facts: &mut Facts, pieces: Vec<RamPiece>) -> Vec<RamPiece> {
    let mut flat: RangeInclusiveMap<u64, usize> = RangeInclusiveMap::new();
    for (n, piece) in pieces.iter().enumerate() {
        let range = piece.range.start()..=piece.range.last();
        let crossed = flat.overlapping(&range).map(|(_, other)| *other).find(|other| {
            let outer = &pieces[*other];
            !outer.range.covers(piece.range) || outer.kind == piece.kind
        });
        if let Some(other) = crossed.map(|other| &pieces[other]) {
            let text = format!("{} overlaps {} of {}", piece.range, other.range, other.at);
            facts.find(Finding::between(&piece.at, &other.at, format!("memory {text}")));
        }
        flat.insert(range, n);
    }
    let part = |(range, n): (&std::ops::RangeInclusive<u64>, &usize)| {
        let range = AddrRange::inclusive(*range.start(), *range.end()).ok()?;
        Some(RamPiece { range, ..pieces.get(*n)?.clone() })
    };
    flat.iter().filter_map(part).collect()
}

/// `Early memory node ranges`: RAM, but for what firmware keeps.
fn by_allocator(facts: &Facts) -> Vec<RamPiece> {
    let own = facts.numa.ranges.iter().filter(|said| said.value.kind == NodeRangeKind::Kernel);
    let piece = |said: &Sourced<NodeRange>| RamPiece {
        range: said.value.range,
        kind: MemoryKind::Dram,
        node: None,
        at: said.at.clone(),
    };
    own.map(piece).collect()
}

fn by_blocks(facts: &mut Facts) -> Vec<RamPiece> {
    let first = facts.numa.all.iter().find(|node| !node.memory().is_empty());
    let Some(at) = first.map(NumaNode::place) else { return Vec::new() };
    let all = join(facts.numa.all.iter().flat_map(|node| node.memory()).collect());
    facts
        .find(Finding::at(&at, "RAM is known by memory blocks only: a block may have holes that are no RAM"));
    all.into_iter()
        .map(|range| RamPiece { range, kind: MemoryKind::Dram, node: None, at: at.clone() })
        .collect()
}
