//! Translation tables.

use super::MappingError;
use pmem_space::{AddrRange, Prot};

/// A translation table's input: an IOMMU's, or any page table's.
///
/// It stores no entries: the entries are the aliases in its input range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    input: AddrRange,
    page: u64,
    prot: Prot,
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
        Ok(Self { input, page, prot: Prot::RWX })
    }

    /// Lets only these accesses through.
    #[must_use]
    pub const fn prot(self, prot: Prot) -> Self {
        Self { prot, ..self }
    }

    /// The addresses it translates.
    pub const fn input(&self) -> AddrRange {
        self.input
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
