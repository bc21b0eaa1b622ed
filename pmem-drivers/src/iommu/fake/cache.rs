//! What a unit remembers of translations: as much as it may.

use alloc::collections::BTreeMap;

/// Where a page leads, and whether it may be read, and written.
pub(super) type Page = (u64, bool, bool);

/// A table that was met on the way, and what may be done below it: the entry's bits in whatever form the unit likes.
pub(super) type Met = (u64, u64);

/// Pages and tables of all domains.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// By domain and page. One that leads nowhere may be remembered as well.
    pub(super) pages: BTreeMap<(u16, u64), Option<Page>>,
    /// By domain, the bits of addresses below what the table is for, and those above.
    pub(super) tables: BTreeMap<(u16, u32, u64), Met>,
}

/// Chance, the same in each run: what a unit remembers it may forget at any time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance(u64);

impl Default for Chance {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Chance {
    /// True one time in four.
    pub(super) fn strikes(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 62 == 0
    }
}

impl Cache {
    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }

    pub(super) fn forget_domain(&mut self, domain: u16) {
        self.pages.retain(|(of, _), _| *of != domain);
        self.tables.retain(|(of, ..), _| *of != domain);
    }

    /// Forgets 2^`shift` bytes from `first` on; of tables those that are for any of them, or none.
    pub(super) fn forget_span(&mut self, domain: u16, first: u64, shift: u32, tables: bool) {
        if shift >= 64 {
            return self.forget_domain(domain);
        }
        let is_in = |at: u64, bits: u32| at >> shift.max(bits) == first >> shift.max(bits);
        self.pages.retain(|(of, page), _| *of != domain || !is_in(page << 12, 12));
        self.tables.retain(|(of, bits, above), _| {
            !tables || *of != domain || *bits < 64 && !is_in(above << bits, *bits)
        });
    }
}
