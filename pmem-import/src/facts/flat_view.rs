//! Address spaces of an emulator, as it renders them.

use super::SourceLine;
use pmem_core::AddrRange;

/// What a range of an address space is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlatKind {
    /// Memory.
    Ram,
    /// Memory that keeps its content.
    Persistent,
    /// Memory that is only read, or that a device's registers share.
    Rom,
    /// A device's registers, or memory of a device that the emulator hands on.
    Device,
}

/// A range of an address space: part of one of the emulator's memory regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatRange {
    /// Its addresses.
    pub range: AddrRange,
    /// What it is.
    pub kind: FlatKind,
    /// Which of several regions is seen where they overlap: the higher. Main memory has 0, what is plugged into a bus more.
    pub priority: i32,
    /// The region.
    pub name: String,
    /// Where in the region it begins.
    pub offset: u64,
    /// The line in the source, from 1.
    pub line: u32,
}

/// What some address spaces see, all the same (QEMU's `FlatView`, `docs/devel/memory.rst`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatView {
    /// Its number.
    pub number: u32,
    /// The address spaces, each with the region at its root.
    pub spaces: Vec<(String, String)>,
    /// In order of address.
    pub ranges: Vec<FlatRange>,
    /// Where it begins.
    pub at: SourceLine,
}

impl FlatRange {
    /// Whether it is memory for everything, rather than a device's: of no higher priority than what is plugged in, and of whole pages.
    #[must_use]
    pub fn is_main_memory(&self) -> bool {
        let pages = (self.range.start() | self.range.len()).is_multiple_of(1 << 12);
        matches!(self.kind, FlatKind::Ram | FlatKind::Persistent) && self.priority <= 0 && pages
    }

    /// Whether it is part of a region, as large as an address space, of an emulated IOMMU.
    fn is_of_iommu(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        let is_iommu = ["iommu", "smmu", "dmar"].iter().any(|word| name.contains(word));
        let end = self.offset.saturating_add(self.range.last() - self.range.start());
        self.kind == FlatKind::Device && is_iommu && end >= 1 << 32
    }
}

impl FlatView {
    /// Whether a range leads on through an emulated IOMMU, whose tables are not shown: it, or another range of the same region, which others
    /// may lie in front of, goes beyond what devices have for registers.
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
