//! Decides which listing counts, and which addresses are memory.

use super::views;
use crate::facts::{
    Facts, Finding, Listed, Listing, MapEntry, MapKind, MemoryMap, NodeRange, NodeRangeKind, NumaNode,
    SourceLine, Sourced, join,
};
use pmem_core::{AddrRange, FirmwareMemory};
use rangemap::RangeInclusiveMap;
use std::collections::BTreeSet;

/// A kind of memory. Different kinds never share an arena, a run or a free list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryKind {
    /// Ordinary memory of the CPUs.
    Dram,
    /// High-bandwidth memory on the package.
    Hbm,
    /// Memory behind CXL.
    Cxl,
    /// Special-purpose memory, which firmware keeps from general use.
    Special,
    /// Memory that keeps its content without power.
    Persistent,
}

impl MemoryKind {
    /// Returns the kind's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dram => "DRAM",
            Self::Hbm => "HBM",
            Self::Cxl => "CXL",
            Self::Special => "special purpose",
            Self::Persistent => "persistent",
        }
    }

    /// Whether it is general-purpose RAM.
    #[must_use]
    pub const fn is_ram(self) -> bool {
        matches!(self, Self::Dram | Self::Hbm | Self::Cxl)
    }
}

/// A piece of memory.
#[derive(Clone, Debug)]
pub(crate) struct RamPiece {
    pub(crate) range: AddrRange,
    pub(crate) kind: MemoryKind,
    /// Its NUMA node; `None` if no source says, or if several nodes claim it.
    pub(crate) node: Option<u32>,
    pub(crate) at: SourceLine,
}

/// What a line of a listing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// Memory.
    Memory(MemoryKind),
    /// Read-only memory.
    Rom,
    /// Anything else.
    Other,
}

/// Classifies a line by its name and by the lines around it.
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

/// Returns the last listing, unless it is an excerpt of the one before: then that one.
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

/// Chooses the named ranges of memory addresses. The flag says whether a listing or a map was found.
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

/// Returns the memory map that counts: the last complete one of the most trusted kind.
pub(super) fn last_map(facts: &Facts) -> Option<MemoryMap> {
    let surest = facts.firmware.maps.iter().map(|map| map.kind).max()?;
    last_of(facts, |kind| kind == surest)
}

/// Returns the last complete map of firmware itself, before any changes by the kernel; if there is
/// none, the last map of any kind.
pub(super) fn firmware_map(facts: &Facts) -> Option<MemoryMap> {
    let own = |kind| kind != MapKind::Modified && kind != MapKind::Efi;
    last_of(facts, own).or_else(|| last_of(facts, |_| true))
}

fn last_of(facts: &Facts, wanted: impl Fn(MapKind) -> bool) -> Option<MemoryMap> {
    let all: Vec<&MemoryMap> = facts.firmware.maps.iter().filter(|map| wanted(map.kind)).collect();
    let (last, before) = all.split_last()?;
    // A truncated map equals the beginning of the one before it.
    let cut = before.last().filter(|earlier| {
        last.entries.len() < earlier.entries.len()
            && last.entries.iter().zip(&earlier.entries).all(|(a, b)| (a.range, a.kind) == (b.range, b.kind))
    });
    Some((*cut.unwrap_or(last)).clone())
}

/// Flattens a map to one type per address. Where its ranges overlap, the type wins that Linux would use.
pub(crate) fn flatten(map: &MemoryMap) -> RangeInclusiveMap<u64, FirmwareMemory> {
    let mut flat: RangeInclusiveMap<u64, FirmwareMemory> = RangeInclusiveMap::new();
    for entry in &map.entries {
        let range = entry.range.start()..=entry.range.last();
        let had: Vec<_> = flat.overlapping(&range).map(|(range, kind)| (range.clone(), *kind)).collect();
        flat.insert(range.clone(), entry.kind);
        // The insert replaced earlier types; where both claim an address, `over` decides.
        for (other, kind) in had {
            let both = *other.start().max(range.start())..=*other.end().min(range.end());
            flat.insert(both, entry.kind.over(kind));
        }
    }
    flat
}

/// A map's ranges in order of address.
fn in_order(map: &MemoryMap) -> Vec<&MapEntry> {
    let mut entries: Vec<&MapEntry> = map.entries.iter().collect();
    entries.sort_by_key(|entry| entry.range.start());
    entries
}

/// The line that gives an address its type; the map's first line if none does.
fn line_of(map: &MemoryMap, entries: &[&MapEntry], addr: u64) -> u32 {
    let after = entries.partition_point(|entry| entry.range.start() <= addr);
    let last = after.checked_sub(1).map(|last| entries[last]).filter(|entry| entry.range.contains(addr));
    last.map_or(map.at.line, |entry| entry.line)
}

/// A map's flattened ranges, each with its place.
pub(super) fn said(map: &MemoryMap) -> Vec<Sourced<(AddrRange, FirmwareMemory)>> {
    let (flat, entries) = (flatten(map), in_order(map));
    let one = |(range, kind): (&std::ops::RangeInclusive<u64>, &FirmwareMemory)| {
        let range = AddrRange::inclusive(*range.start(), *range.end()).ok()?;
        let at = SourceLine::line(&map.at.source, line_of(map, &entries, range.start()));
        Some(Sourced::new((range, *kind), at))
    };
    flat.iter().filter_map(one).collect()
}

/// Builds a listing from firmware's map, after the kernel's changes to it.
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

/// How much of a listed RAM range may lie outside firmware's memory before it looks like another machine's.
const SLACK: u64 = 1 << 20;

/// Compares a listing with the firmware map of another source.
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

/// Returns the machine's memory: from the listing, or else from the kernel's allocator, or else from memory blocks.
/// Neighbours of one kind stay separate, as they are listed.
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
    // Of nested memory lines, such as RAM made of persistent memory, the inner one counts.
    disjoint(facts, pieces)
}

/// Makes pieces disjoint and sorted. Later, inner pieces win; pieces that cross instead of nesting become findings.
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

/// Memory from `Early memory node ranges`: RAM without what firmware keeps.
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
    facts.find(Finding::at(
        &at,
        "RAM is known only from memory blocks, which may have holes: add /proc/iomem, read as root",
    ));
    all.into_iter()
        .map(|range| RamPiece { range, kind: MemoryKind::Dram, node: None, at: at.clone() })
        .collect()
}
