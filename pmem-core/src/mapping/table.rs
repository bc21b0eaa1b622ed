//! Translation tables.

use super::MappingError;
use alloc::sync::Arc;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Prot};

/// A translation table's input: an IOMMU's, or any page table's.
///
/// It stores no entries: the entries are the aliases in its input range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    input: AddrRange,
    page: u64,
    prot: Prot,
    /// In order, and apart; most tables have none.
    holes: Option<Arc<[AddrRange]>>,
}

impl Table {
    /// Makes a table that translates `input` in pages of `page` bytes.
    ///
    /// # Errors
    /// [`MappingError`] if the page is no power of two, or the input no multiple of it.
    pub fn new(input: AddrRange, page: u64) -> Result<Self, MappingError> {
        if !page.is_power_of_two() {
            return Err(MappingError::Granule(page));
        }
        if input.rounded(page) != input {
            return Err(MappingError::Misaligned { range: input, granule: page });
        }
        Ok(Self { input, page, prot: Prot::RWX, holes: None })
    }

    /// Lets only these accesses through.
    #[must_use]
    pub fn prot(self, prot: Prot) -> Self {
        Self { prot, ..self }
    }

    /// Leaves addresses out, whole pages of them: they are not this table's, as interrupts are none of an IOMMU's, and the arena may have
    /// something else there.
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

    /// The addresses from the first to the last that it translates; holes among them.
    pub const fn input(&self) -> AddrRange {
        self.input
    }

    /// What it leaves out, in order.
    pub fn holes(&self) -> &[AddrRange] {
        self.holes.as_deref().unwrap_or_default()
    }

    /// What it translates of a range, in order.
    pub fn parts_in(&self, range: AddrRange) -> impl DoubleEndedIterator<Item = AddrRange> + '_ {
        let holes = self.holes();
        (0..=holes.len()).filter_map(move |n| {
            let after = n.checked_sub(1).and_then(|before| holes.get(before));
            let first = after.map_or(Some(0), |hole| hole.last().checked_add(1))?;
            let last = holes.get(n).map_or(Some(u64::MAX), |hole| hole.start().checked_sub(1))?;
            AddrRange::inclusive(first, last).ok()?.intersect(self.input)?.intersect(range)
        })
    }

    /// Whether it translates all of a range.
    pub fn covers(&self, range: AddrRange) -> bool {
        self.parts_in(range).eq([range])
    }

    /// The size of a page in bytes.
    pub const fn page(&self) -> u64 {
        self.page
    }

    /// What accesses it lets through.
    pub const fn prot_of(&self) -> Prot {
        self.prot
    }
}
