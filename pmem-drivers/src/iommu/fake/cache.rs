//! A unit's translation cache, which keeps as much as it is allowed to.

use alloc::collections::BTreeMap;

/// Where a page leads, whether it can be read, and whether it can be written.
pub(super) type Page = (u64, bool, bool);

/// A table found on a walk, and what is permitted below it, as bits in the unit's own format.
pub(super) type Met = (u64, u64);

/// The cached pages and tables of all domains.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// By domain and page number. That a page is unmapped can be cached too.
    pub(super) pages: BTreeMap<(u16, u64), Option<Page>>,
    /// By domain, the number of address bits below the table's range, and the bits above.
    pub(super) tables: BTreeMap<(u16, u32, u64), Met>,
}

/// Pseudo-random numbers, the same in each run: a unit can evict cached entries at any time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance(u64);

impl Default for Chance {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Chance {
    /// Returns true one time in four.
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

    /// Invalidates 2^`shift` bytes from `first` on. With `tables`, also the tables for any of these addresses.
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
