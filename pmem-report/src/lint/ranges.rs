//! Ranges of the memory map, and sets of ranges.

use crate::units;
pub(super) use crate::units::size;
use pmem_core::{AddrRange, FirmwareMemory};
use pmem_import::{Facts, MapEntry, MapKind, MemoryMap, SourceLine};
pub(super) use pmem_import::{crossing, join, without};

pub(super) const MIB: u64 = 1 << 20;

/// The map that firmware gave: e820, else what Linux keeps of it, else EFI's; a hypervisor's guest has its own.
pub(super) fn map(facts: &Facts) -> Option<&MemoryMap> {
    let of =
        |kind: MapKind| facts.firmware.maps.iter().find(|map| map.kind == kind && !map.entries.is_empty());
    [MapKind::E820, MapKind::Kept, MapKind::Efi, MapKind::Modified].into_iter().find_map(of)
}

/// Where an entry of a map is said.
pub(super) fn place(map: &MemoryMap, entry: &MapEntry) -> SourceLine {
    if entry.line == 0 { map.at.clone() } else { SourceLine::line(&map.at.source, entry.line) }
}

/// The entries of all maps, with where they are said.
pub(super) fn entries(facts: &Facts) -> impl Iterator<Item = (SourceLine, &MemoryMap, &MapEntry)> {
    facts
        .firmware
        .maps
        .iter()
        .flat_map(|map| map.entries.iter().map(move |entry| (place(map, entry), map, entry)))
}

/// RAM that a system uses, in order and joined.
pub(super) fn ram(map: &MemoryMap) -> Vec<AddrRange> {
    join(map.entries.iter().filter(|entry| entry.kind.is_usable()).map(|entry| entry.range).collect())
}

/// What is kept from use, and what devices are at.
pub(super) const fn is_reserved(kind: FirmwareMemory) -> bool {
    matches!(kind, FirmwareMemory::Reserved | FirmwareMemory::Mmio | FirmwareMemory::Runtime)
}

/// How many bytes ranges have.
pub(super) fn bytes(ranges: &[AddrRange]) -> u64 {
    ranges.iter().fold(0, |sum, range| sum.saturating_add((range.last() - range.start()).saturating_add(1)))
}

/// Whether one of some ranges has all of another.
pub(super) fn covers(set: &[AddrRange], range: AddrRange) -> bool {
    set.iter().any(|one| one.covers(range))
}

/// `0x1000..0x2000`
pub(super) fn show(range: AddrRange) -> String {
    units::range(range.start(), range.last())
}
