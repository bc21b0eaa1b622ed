//! Firmware's memory maps, and what the kernel changed in them.

use super::{SourceLine, Sourced};
use pmem_core::{AddrRange, FirmwareMemory};

/// The kinds of memory map, in increasing order of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MapKind {
    /// UEFI's map.
    Efi,
    /// The e820 map as firmware gives it.
    E820,
    /// The e820 map as Linux keeps it for others (`/sys/firmware/memmap`).
    Kept,
    /// The e820 map as a hypervisor gives it to its first guest.
    Hypervisor,
    /// The e820 map after the kernel's command line changed it.
    Modified,
}

impl MapKind {
    /// Returns the map's name for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Efi => "EFI memory map",
            Self::E820 => "e820 map",
            Self::Kept => "firmware memory map",
            Self::Hypervisor => "hypervisor's e820 map",
            Self::Modified => "modified e820 map",
        }
    }
}

/// A range of a memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// Its addresses.
    pub range: AddrRange,
    /// The type of memory.
    pub kind: FirmwareMemory,
    /// The line in the source, counted from 1; 0 if the source has no lines.
    pub line: u32,
}

/// A memory map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// The kind of map.
    pub kind: MapKind,
    /// Where it begins in the source.
    pub at: SourceLine,
    /// Its ranges, in the order of the source; they may overlap.
    pub entries: Vec<MapEntry>,
}

/// A change that the kernel made to a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapUpdate {
    /// The addresses that it changed.
    pub range: AddrRange,
    /// Only ranges of this type changed; `None` means all.
    pub from: Option<FirmwareMemory>,
    /// The new type; `None` if the range left the map.
    pub to: Option<FirmwareMemory>,
}

/// What sources say about firmware's memory maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firmware {
    /// Maps, in the order of the sources.
    pub maps: Vec<MemoryMap>,
    /// Changes by the kernel. Those of a source follow its last map.
    pub updates: Vec<Sourced<MapUpdate>>,
}
