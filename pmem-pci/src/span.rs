//! Addresses from a first to a last.

use core::fmt;

/// Addresses, ports or bus numbers from a first to a last one; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BusRange {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl BusRange {
    /// From the first to the last; `None` if the last is before the first.
    #[must_use]
    pub const fn new(first: u64, last: u64) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// So many from the first on; `None` if there are none, or they go beyond 2^64.
    #[must_use]
    pub const fn sized(first: u64, len: u64) -> Option<Self> {
        if len == 0 {
            return None;
        }
        match first.checked_add(len - 1) {
            Some(last) => Some(Self { first, last }),
            None => None,
        }
    }

    /// How many there are; 2^64 - 1 of all 2^64.
    #[must_use]
    pub const fn len(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// A span has at least one address.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Whether an address is one of them.
    #[must_use]
    pub const fn contains(self, at: u64) -> bool {
        self.first <= at && at <= self.last
    }

    /// Whether all of another are among them.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Those that are another's as well.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// Whether they have one in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The least that covers both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    /// The least of whole granules (a power of two) that covers it.
    #[must_use]
    pub const fn rounded(self, granule: u64) -> Self {
        let mask = granule.saturating_sub(1);
        Self { first: self.first & !mask, last: self.last | mask }
    }

    /// As many, so much further on, modulo 2^64; `None` if they would go around.
    #[must_use]
    pub const fn shifted(self, by: u64) -> Option<Self> {
        Self::new(self.first.wrapping_add(by), self.last.wrapping_add(by))
    }

    /// What is left of it without others, in order.
    #[must_use]
    pub fn without(self, others: &[Self]) -> alloc::vec::Vec<Self> {
        let mut taken: alloc::vec::Vec<Self> = others.iter().filter_map(|o| o.intersect(self)).collect();
        taken.sort_unstable();
        let mut left = alloc::vec::Vec::new();
        let mut from = Some(self.first);
        for span in taken {
            let Some(at) = from else { break };
            left.extend(span.first.checked_sub(1).and_then(|last| Self::new(at, last)));
            if span.last >= at {
                from = span.last.checked_add(1);
            }
        }
        left.extend(from.and_then(|at| Self::new(at, self.last)));
        left
    }
}

impl fmt::Display for BusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last.checked_add(1) {
            Some(end) => write!(f, "[{:#x}, {end:#x})", self.first),
            None => write!(f, "[{:#x}, 2^64)", self.first),
        }
    }
}

/// The first multiple of a power of two from an address on.
pub(crate) const fn align_up(at: u64, align: u64) -> Option<u64> {
    let mask = align.saturating_sub(1);
    match at.checked_add(mask) {
        Some(up) => Some(up & !mask),
        None => None,
    }
}
