//! Address spaces of an emulator, as it renders them.

use super::SourceLine;
use pmem_core::AddrRange;

/// What a range of an address space is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlatKind {
    /// RAM.
    Ram,
    /// Memory that keeps its content.
    Persistent,
    /// Memory that the guest only reads, also where writes go to a device.
    Rom,
    /// A device's registers, or a device's memory that the emulator passes through.
    Device,
}

/// A range of an address space: part of one of the emulator's memory regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatRange {
    /// Its addresses.
    pub range: AddrRange,
    /// What it is.
    pub kind: FlatKind,
    /// Where regions overlap, the one of higher priority is visible. Main memory has 0; what is plugged
    /// into a bus has more.
    pub priority: i32,
    /// The memory region's name.
    pub name: String,
    /// Offset of the range in its region, in bytes.
    pub offset: u64,
    /// The line in the source, counted from 1.
    pub line: u32,
}

/// The view that one or more address spaces share (QEMU's `FlatView`, `docs/devel/memory.rst`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatView {
    /// Its number, as the emulator gives it.
    pub number: u32,
    /// Name of each address space, and name of the region at its root.
    pub spaces: Vec<(String, String)>,
    /// Its ranges, in order of address.
    pub ranges: Vec<FlatRange>,
    /// Where it begins in the source.
    pub at: SourceLine,
}

impl FlatRange {
    /// Whether it is main memory rather than a device's: RAM or persistent memory of whole pages, at
    /// priority 0 or below.
    #[must_use]
    pub fn is_main_memory(&self) -> bool {
        let pages = (self.range.start() | self.range.len()).is_multiple_of(1 << 12);
        matches!(self.kind, FlatKind::Ram | FlatKind::Persistent) && self.priority <= 0 && pages
    }

    /// Whether it belongs to an emulated IOMMU's region that is as large as an address space.
    fn is_of_iommu(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        let is_iommu = ["iommu", "smmu", "dmar"].iter().any(|word| name.contains(word));
        let end = self.offset.saturating_add(self.range.last() - self.range.start());
        self.kind == FlatKind::Device && is_iommu && end >= 1 << 32
    }
}

impl FlatView {
    /// Whether accesses to a range pass through an emulated IOMMU. QEMU does not show the IOMMU's tables, but its
    /// region reaches to 4 GiB and beyond, further than any device's registers. Another range of the same region
    /// may show that, since other regions can hide parts of it.
    #[must_use]
    pub fn is_translated(&self, range: &FlatRange) -> bool {
        self.ranges.iter().any(|other| other.name == range.name && other.is_of_iommu())
    }

    /// Whether one of its address spaces has that name.
    #[must_use]
    pub fn is_of(&self, name: &str) -> bool {
        self.spaces.iter().any(|(space, _)| space == name)
    }
}
