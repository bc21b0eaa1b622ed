//! Memory maps of firmware, and what the kernel made of them.

use super::{SourceLine, Sourced};
use pmem_core::{AddrRange, FirmwareMemory};

/// Which map it is, the surer last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MapKind {
    /// UEFI's.
    Efi,
    /// E820 as firmware gives it.
    E820,
    /// E820 as Linux keeps it for others (`/sys/firmware/memmap`).
    Kept,
    /// E820 as a hypervisor gives it to its first guest.
    Hypervisor,
    /// E820 after the command line changed it.
    Modified,
}

impl MapKind {
    /// What it is called.
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

/// A range of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// Its addresses.
    pub range: AddrRange,
    /// What it is.
    pub kind: FirmwareMemory,
    /// The line in the source.
    pub line: u32,
}

/// A memory map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// Which.
    pub kind: MapKind,
    /// Where it begins.
    pub at: SourceLine,
    /// Its ranges, in the order of the source.
    pub entries: Vec<MapEntry>,
}

/// What the kernel changed of a map later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapUpdate {
    /// Which addresses.
    pub range: AddrRange,
    /// Only what was this.
    pub from: Option<FirmwareMemory>,
    /// What it became; `None` if it is no part of the map any more.
    pub to: Option<FirmwareMemory>,
}

/// What a source says of firmware's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firmware {
    /// Maps in the order of the sources.
    pub maps: Vec<MemoryMap>,
    /// What the kernel changed, after the last map of its source.
    pub updates: Vec<Sourced<MapUpdate>>,
}
