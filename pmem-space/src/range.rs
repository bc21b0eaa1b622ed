//! A range of addresses: never empty, never past 2^64.

use core::fmt;

/// A range of consecutive addresses, in bytes: never empty, never wrapping.
///
/// Stored as its first and its *last* address, so that a range may end at 2^64; printed half-open.
///
/// # Invariants
/// `start <= last`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddrRange {
    start: u64,
    last: u64,
}

/// Why numbers do not make a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RangeError {
    /// The end is not above the start.
    Empty {
        /// The first address.
        start: u64,
        /// The address after the last one.
        end: u64,
    },
    /// The length, in bytes, leads past 2^64.
    Wraps {
        /// The first address.
        start: u64,
        /// The length in bytes.
        len: u64,
    },
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { start, end } => write!(f, "range [{start:#x}, {end:#x}) is empty or reversed"),
            Self::Wraps { start, len: 0 } => write!(f, "range at {start:#x} has no length"),
            Self::Wraps { start, len } => write!(f, "range at {start:#x} of {len:#x} bytes ends past 2^64"),
        }
    }
}

impl core::error::Error for RangeError {}

impl AddrRange {
    /// Every address: [0, 2^64).
    pub const ALL: Self = Self { start: 0, last: u64::MAX };

    /// Makes the half-open range [`start`, `end`). A range that ends at 2^64 is made by [`Self::inclusive`].
    ///
    /// # Errors
    /// [`RangeError::Empty`] unless `start < end`.
    pub const fn new(start: u64, end: u64) -> Result<Self, RangeError> {
        if start < end { Ok(Self { start, last: end - 1 }) } else { Err(RangeError::Empty { start, end }) }
    }

    /// Makes the range from `start` to `last`, both in it.
    ///
    /// # Errors
    /// [`RangeError::Empty`] if `last < start`.
    pub const fn inclusive(start: u64, last: u64) -> Result<Self, RangeError> {
        if start <= last {
            Ok(Self { start, last })
        } else {
            Err(RangeError::Empty { start, end: last.wrapping_add(1) })
        }
    }

    /// Makes the range of `len` bytes at `start`.
    ///
    /// # Errors
    /// [`RangeError::Wraps`] if `len` is 0 or the range would end past 2^64.
    pub const fn sized(start: u64, len: u64) -> Result<Self, RangeError> {
        if len == 0 {
            return Err(RangeError::Wraps { start, len });
        }
        match start.checked_add(len - 1) {
            Some(last) => Ok(Self { start, last }),
            None => Err(RangeError::Wraps { start, len }),
        }
    }

    /// The first address.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The last address, which is in the range.
    pub const fn last(self) -> u64 {
        self.last
    }

    /// The address after the last one; `None` stands for 2^64.
    pub const fn end(self) -> Option<u64> {
        self.last.checked_add(1)
    }

    /// The size in bytes, saturating: the whole space counts as 2^64 − 1.
    // A range is never empty, so there is nothing for `is_empty` to say.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u64 {
        (self.last - self.start).saturating_add(1)
    }

    /// Whether `addr` is in the range.
    pub const fn contains(self, addr: u64) -> bool {
        self.start <= addr && addr <= self.last
    }

    /// Whether all of `other` is in the range.
    pub const fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    /// Whether the two share an address.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// The addresses in both.
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::inclusive(self.start.max(other.start), self.last.min(other.last)).ok()
    }

    /// The smallest range that has both in it.
    pub fn hull(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), last: self.last.max(other.last) }
    }

    /// What of the range lies below and above `other`.
    pub fn minus(self, other: Self) -> [Option<Self>; 2] {
        let below = other.start.checked_sub(1).and_then(|last| {
            let last = last.min(self.last);
            Self::inclusive(self.start, last).ok()
        });
        let above = other.last.checked_add(1).and_then(|start| {
            let start = start.max(self.start);
            Self::inclusive(start, self.last).ok()
        });
        [below, above]
    }

    /// The range moved by `offset`, which is added modulo 2^64; `None` if the moved range would wrap.
    pub fn shifted(self, offset: u64) -> Option<Self> {
        Self::inclusive(self.start.wrapping_add(offset), self.last.wrapping_add(offset)).ok()
    }

    /// The range with its start rounded down and its end rounded up to multiples of `granule`, a power of two.
    pub const fn rounded(self, granule: u64) -> Self {
        let mask = granule.wrapping_sub(1);
        Self { start: self.start & !mask, last: self.last | mask }
    }
}

impl fmt::Display for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end() {
            Some(end) => write!(f, "[{:#x}, {end:#x})", self.start),
            None => write!(f, "[{:#x}, 2^64)", self.start),
        }
    }
}

impl fmt::Debug for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn r(start: u64, end: u64) -> AddrRange {
        AddrRange::new(start, end).unwrap()
    }

    #[test]
    fn no_range_is_empty_reversed_or_wrapping() {
        assert_eq!(AddrRange::new(5, 5), Err(RangeError::Empty { start: 5, end: 5 }));
        assert_eq!(AddrRange::new(6, 5), Err(RangeError::Empty { start: 6, end: 5 }));
        assert!(AddrRange::sized(0, 0).is_err());
        assert!(AddrRange::sized(u64::MAX, 2).is_err());
        assert_eq!(AddrRange::sized(u64::MAX, 1).unwrap().end(), None);
    }

    #[test]
    fn a_range_ends_where_it_says() {
        let range = AddrRange::new(4, 8).unwrap();
        assert!((0..12).filter(|addr| range.contains(*addr)).eq(4..8));
        assert!(AddrRange::ALL.contains(u64::MAX));
    }

    #[test]
    fn the_whole_space_saturates_its_size() {
        assert_eq!(AddrRange::ALL.len(), u64::MAX);
        assert_eq!(AddrRange::ALL.to_string(), "[0x0, 2^64)");
    }

    #[test]
    fn minus_leaves_what_is_below_and_above() {
        assert_eq!(r(0, 10).minus(r(3, 5)), [Some(r(0, 3)), Some(r(5, 10))]);
        assert_eq!(r(0, 10).minus(r(0, 10)), [None, None]);
        assert_eq!(r(5, 10).minus(r(0, 7)), [None, Some(r(7, 10))]);
        assert_eq!(r(5, 10).minus(r(20, 30)), [Some(r(5, 10)), None]);
        assert_eq!(AddrRange::ALL.minus(AddrRange::ALL), [None, None]);
    }

    #[test]
    fn a_shift_wraps_its_offset_but_not_the_range() {
        assert_eq!(r(0x1000, 0x2000).shifted(0u64.wrapping_sub(0x1000)), Some(r(0, 0x1000)));
        assert_eq!(r(0x1000, 0x3000).shifted(0u64.wrapping_sub(0x2000)), None);
    }

    #[test]
    fn rounding_widens_to_the_granule() {
        assert_eq!(r(0x1001, 0x1fff).rounded(0x1000), r(0x1000, 0x2000));
        assert_eq!(AddrRange::ALL.rounded(1 << 20), AddrRange::ALL);
    }
}
