//! Translation tables.

use super::MappingError;
use alloc::sync::Arc;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Prot};

/// The input of a translation table: an IOMMU's, or any page table's.
///
/// The table stores no entries. Its entries are the aliases in its input range.
///
/// # Examples
/// An IOMMU that translates 32-bit DMA in 4 KiB pages, except for the interrupt address range:
/// ```
/// use pmem_core::{AddrRange, Table};
///
/// let table = Table::new(AddrRange::new(0, 0x1_0000_0000)?, 0x1000)?
///     .without(AddrRange::new(0xfee0_0000, 0xfef0_0000)?);
/// assert!(table.covers(AddrRange::new(0, 0xfee0_0000)?));
/// assert!(!table.covers(AddrRange::new(0xfed0_0000, 0xfef8_0000)?));
/// let parts: Vec<AddrRange> = table.parts_in(AddrRange::ALL).collect();
/// assert_eq!(parts[1], AddrRange::new(0xfef0_0000, 0x1_0000_0000)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    input: AddrRange,
    page: u64,
    prot: Prot,
    /// In order of address, disjoint and not adjacent. Most tables have none.
    holes: Option<Arc<[AddrRange]>>,
}

impl Table {
    /// Returns a table that translates `input` in pages of `page` bytes.
    ///
    /// # Errors
    /// [`MappingError`] if `page` is not a power of two, or `input` is not a multiple of it.
    pub fn new(input: AddrRange, page: u64) -> Result<Self, MappingError> {
        if !page.is_power_of_two() {
            return Err(MappingError::Granule(page));
        }
        if input.rounded(page) != input {
            return Err(MappingError::Misaligned { range: input, granule: page });
        }
        Ok(Self { input, page, prot: Prot::RWX, holes: None })
    }

    /// Restricts the accesses that the table lets through to `prot`.
    #[must_use]
    pub fn prot(self, prot: Prot) -> Self {
        Self { prot, ..self }
    }

    /// Excludes `hole`, rounded out to whole pages, from what the table translates. The arena may have something else
    /// there: an IOMMU does not translate the interrupt range, for example.
    #[must_use]
    pub fn without(self, hole: AddrRange) -> Self {
        let Some(hole) = hole.rounded(self.page).intersect(self.input) else { return self };
        let mut holes: Vec<AddrRange> = Vec::new();
        let mut all: Vec<AddrRange> = self.holes().iter().copied().chain([hole]).collect();
        all.sort_unstable_by_key(|hole| hole.start());
        for hole in all {
            match holes.last_mut() {
                Some(last) if hole.start() <= last.last().saturating_add(1) => *last = last.hull(hole),
                _ => holes.push(hole),
            }
        }
        Self { holes: Some(holes.into()), ..self }
    }

    /// Returns the addresses from the first that the table translates to the last, holes included.
    #[must_use]
    pub const fn input(&self) -> AddrRange {
        self.input
    }

    /// Returns the holes, in order of address.
    #[must_use]
    pub fn holes(&self) -> &[AddrRange] {
        self.holes.as_deref().unwrap_or_default()
    }

    /// Returns the parts of `range` that the table translates, in order of address.
    #[must_use]
    pub fn parts_in(&self, range: AddrRange) -> impl DoubleEndedIterator<Item = AddrRange> + '_ {
        let holes = self.holes();
        (0..=holes.len()).filter_map(move |n| {
            let after = n.checked_sub(1).and_then(|before| holes.get(before));
            let first = after.map_or(Some(0), |hole| hole.last().checked_add(1))?;
            let last = holes.get(n).map_or(Some(u64::MAX), |hole| hole.start().checked_sub(1))?;
            AddrRange::inclusive(first, last).ok()?.intersect(self.input)?.intersect(range)
        })
    }

    /// Whether the table translates all of `range`.
    #[must_use]
    pub fn covers(&self, range: AddrRange) -> bool {
        self.parts_in(range).eq([range])
    }

    /// Returns the size of a page, in bytes.
    #[must_use]
    pub const fn page(&self) -> u64 {
        self.page
    }

    /// Returns the accesses that the table lets through.
    #[must_use]
    pub const fn prot_of(&self) -> Prot {
        self.prot
    }
}
