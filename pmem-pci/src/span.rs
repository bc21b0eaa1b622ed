//! Inclusive ranges of bus addresses.

use core::fmt;

/// A range of addresses, ports or bus numbers, from `first` to `last` inclusive. It is never empty.
///
/// # Examples
/// ```
/// use pmem_pci::BusRange;
///
/// let window = BusRange::sized(0xe000_0000, 256 << 20).ok_or("it is empty, or ends beyond 2^64")?;
/// let framebuffer = BusRange { first: 0xe800_0000, last: 0xe8ff_ffff };
/// assert_eq!((window.last, framebuffer.len()), (0xefff_ffff, 16 << 20));
/// assert!(window.covers(framebuffer));
/// let free = window.without(&[framebuffer]);
/// assert_eq!(free.iter().map(|gap| gap.len() >> 20).collect::<Vec<_>>(), [128, 112]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BusRange {
    /// The first address.
    pub first: u64,
    /// The last address, which is part of the range.
    pub last: u64,
}

impl BusRange {
    /// Creates the range `first` to `last`, both inclusive; `None` if `last` is below `first`.
    #[must_use]
    pub const fn new(first: u64, last: u64) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// Creates the range of `len` addresses starting at `first`; `None` if `len` is zero or the range ends
    /// beyond 2^64.
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

    /// Returns the number of addresses; saturates at 2^64 - 1 for the whole space.
    #[must_use]
    pub const fn len(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Returns `false`: a range has at least one address.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Returns `true` if `at` lies in the range.
    #[must_use]
    pub const fn contains(self, at: u64) -> bool {
        self.first <= at && at <= self.last
    }

    /// Returns `true` if all of `other` lies in this range.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Returns the addresses that both ranges have; `None` if they do not overlap.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// Returns `true` if the ranges have an address in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Returns the smallest range that covers both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    /// Returns the smallest range of whole granules that covers this one. `granule` is a power of two.
    #[must_use]
    pub const fn rounded(self, granule: u64) -> Self {
        let mask = granule.saturating_sub(1);
        Self { first: self.first & !mask, last: self.last | mask }
    }

    /// Returns the range moved by `by` modulo 2^64, so that `0u64.wrapping_sub(n)` moves it down by `n`; `None` if the
    /// result would extend across 2^64.
    #[must_use]
    pub const fn shifted(self, by: u64) -> Option<Self> {
        Self::new(self.first.wrapping_add(by), self.last.wrapping_add(by))
    }

    /// Returns the parts of this range that none of `others` covers, in ascending order. The `others` may
    /// overlap and be unsorted.
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
            Some(end) => write!(f, "{:#x}..{end:#x}", self.first),
            None => write!(f, "{:#x}..2^64", self.first),
        }
    }
}

/// Rounds `at` up to a multiple of `align`, a power of two; `None` if that is beyond the last address.
pub(crate) const fn align_up(at: u64, align: u64) -> Option<u64> {
    let mask = align.saturating_sub(1);
    match at.checked_add(mask) {
        Some(up) => Some(up & !mask),
        None => None,
    }
}
