//! Ranges of the memory map, and operations on sets of ranges.

use crate::units;
pub(super) use crate::units::size;
use pmem_core::{AddrRange, FirmwareMemory};
use pmem_import::{Facts, MapEntry, MapKind, MemoryMap, SourceLine};
pub(super) use pmem_import::{crossing, join, without};

pub(super) const MIB: u64 = 1 << 20;

/// Returns the map that firmware gave: e820, else the copy that Linux keeps, else EFI's. A hypervisor's guest may have
/// only the kernel's modified map.
pub(super) fn map(facts: &Facts) -> Option<&MemoryMap> {
    let of =
        |kind: MapKind| facts.firmware.maps.iter().find(|map| map.kind == kind && !map.entries.is_empty());
    [MapKind::E820, MapKind::Kept, MapKind::Efi, MapKind::Modified].into_iter().find_map(of)
}

/// Returns the source and line of a map entry.
pub(super) fn place(map: &MemoryMap, entry: &MapEntry) -> SourceLine {
    if entry.line == 0 { map.at.clone() } else { SourceLine::line(&map.at.source, entry.line) }
}

/// Iterates over the entries of all maps, with their places.
pub(super) fn entries(facts: &Facts) -> impl Iterator<Item = (SourceLine, &MemoryMap, &MapEntry)> {
    facts
        .firmware
        .maps
        .iter()
        .flat_map(|map| map.entries.iter().map(move |entry| (place(map, entry), map, entry)))
}

/// Returns the usable RAM of a map, in order and merged.
pub(super) fn ram(map: &MemoryMap) -> Vec<AddrRange> {
    join(map.entries.iter().filter(|entry| entry.kind.is_usable()).map(|entry| entry.range).collect())
}

/// Whether a kind of memory is reserved: neither RAM nor free for devices to be placed in.
pub(super) const fn is_reserved(kind: FirmwareMemory) -> bool {
    matches!(kind, FirmwareMemory::Reserved | FirmwareMemory::Mmio | FirmwareMemory::Runtime)
}

/// The total size of ranges in bytes.
pub(super) fn bytes(ranges: &[AddrRange]) -> u64 {
    ranges.iter().fold(0, |sum, range| sum.saturating_add((range.last() - range.start()).saturating_add(1)))
}

/// Whether one range of a set covers all of another range. Ranges of the set are not joined.
pub(super) fn covers(set: &[AddrRange], range: AddrRange) -> bool {
    set.iter().any(|one| one.covers(range))
}

/// Formats a range as `0x1000..0x2000`.
pub(super) fn show(range: AddrRange) -> String {
    units::range(range.start(), range.last())
}
