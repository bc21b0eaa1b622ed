//! A range of addresses that is never empty and never extends past 2^64.

use core::fmt;

/// A range of consecutive byte addresses that is never empty and never wraps.
///
/// Stored as its first and its *last* address, because a range that ends at 2^64 has no `u64` end. Displayed half-open.
///
/// # Invariants
/// `start <= last`.
///
/// # Examples
/// A framebuffer inside a BAR, and a range that ends at 2^64:
///
/// ```
/// use pmem_space::AddrRange;
///
/// let bar = AddrRange::sized(0xe000_0000, 0x1000_0000)?; // 256 MiB
/// let framebuffer = AddrRange::new(0xe000_0000, 0xe080_0000)?; // 8 MiB
/// assert!(bar.covers(framebuffer));
/// assert_eq!((framebuffer.last(), framebuffer.len()), (0xe07f_ffff, 0x80_0000));
///
/// let flash = AddrRange::inclusive(0xffff_ffff_ff00_0000, u64::MAX)?;
/// assert_eq!((flash.len(), flash.end()), (0x100_0000, None));
/// # Ok::<(), pmem_space::RangeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddrRange {
    start: u64,
    last: u64,
}

/// The error for numbers that do not form a range.
///
/// # Examples
/// A BAR of 16 bytes does not fit in the last 8 bytes of the address space:
///
/// ```
/// use pmem_space::{AddrRange, RangeError};
///
/// let start = u64::MAX - 7;
/// assert_eq!(AddrRange::sized(start, 16), Err(RangeError::Wraps { start, len: 16 }));
/// assert_eq!(AddrRange::new(0x2000, 0x1000), Err(RangeError::Empty { start: 0x2000, end: 0x1000 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RangeError {
    /// The end is not above the start.
    Empty {
        /// The first address asked for.
        start: u64,
        /// The end asked for, exclusive.
        end: u64,
    },
    /// The length is 0, or the range would end past 2^64.
    Wraps {
        /// The first address asked for.
        start: u64,
        /// The length asked for, in bytes.
        len: u64,
    },
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { start, end } => {
                write!(f, "range {start:#x}..{end:#x} is empty: its end must be above its start")
            }
            Self::Wraps { start, len: 0 } => write!(f, "range at {start:#x} has length 0"),
            Self::Wraps { start, len } => write!(f, "range of {len:#x} bytes at {start:#x} ends past 2^64"),
        }
    }
}

impl core::error::Error for RangeError {}

impl AddrRange {
    /// All addresses: [0, 2^64).
    pub const ALL: Self = Self { start: 0, last: u64::MAX };

    /// Creates the half-open range [`start`, `end`). Use [`Self::inclusive`] for a range that ends at 2^64.
    ///
    /// # Errors
    /// [`RangeError::Empty`] unless `start < end`.
    pub const fn new(start: u64, end: u64) -> Result<Self, RangeError> {
        if start < end { Ok(Self { start, last: end - 1 }) } else { Err(RangeError::Empty { start, end }) }
    }

    /// Creates the range from `start` to `last`, both inclusive.
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

    /// Creates the range of `len` bytes at `start`.
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

    /// Returns the first address.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Returns the last address, which is part of the range.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.last
    }

    /// Returns the address after the last one, or `None` if the range ends at 2^64.
    #[must_use]
    pub const fn end(self) -> Option<u64> {
        self.last.checked_add(1)
    }

    /// Returns the size in bytes. [`Self::ALL`] has 2^64 bytes and reports 2^64 − 1.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    #[must_use]
    pub const fn len(self) -> u64 {
        (self.last - self.start).saturating_add(1)
    }

    /// Returns whether `addr` is in the range.
    #[must_use]
    pub const fn contains(self, addr: u64) -> bool {
        self.start <= addr && addr <= self.last
    }

    /// Returns whether all of `other` is in the range.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    /// Returns whether the two ranges share an address.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// Returns the addresses that are in both ranges, or `None` if they do not overlap.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::inclusive(self.start.max(other.start), self.last.min(other.last)).ok()
    }

    /// Returns the smallest range that covers both ranges, and whatever lies between them.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), last: self.last.max(other.last) }
    }

    /// Removes `other` from the range. Returns what is left below `other` and what is left above it.
    ///
    /// # Examples
    /// The PCI hole splits the first 8 GiB in two:
    ///
    /// ```
    /// use pmem_space::AddrRange;
    ///
    /// let all = AddrRange::new(0, 0x2_0000_0000)?;
    /// let [below, above] = all.minus(AddrRange::new(0xc000_0000, 0x1_0000_0000)?);
    /// assert_eq!(below, Some(AddrRange::new(0, 0xc000_0000)?));
    /// assert_eq!(above, Some(AddrRange::new(0x1_0000_0000, 0x2_0000_0000)?));
    /// # Ok::<(), pmem_space::RangeError>(())
    /// ```
    #[must_use]
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

    /// Returns the range moved up by `offset` bytes, or `None` if the moved range would wrap.
    ///
    /// The offset is added modulo 2^64, so a two's complement offset moves the range down.
    #[must_use]
    pub fn shifted(self, offset: u64) -> Option<Self> {
        Self::inclusive(self.start.wrapping_add(offset), self.last.wrapping_add(offset)).ok()
    }

    /// Rounds the start down and the end up to multiples of `granule` bytes, a power of two.
    #[must_use]
    pub const fn rounded(self, granule: u64) -> Self {
        let mask = granule.wrapping_sub(1);
        Self { start: self.start & !mask, last: self.last | mask }
    }
}

impl fmt::Display for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end() {
            Some(end) => write!(f, "{:#x}..{end:#x}", self.start),
            None => write!(f, "{:#x}..2^64", self.start),
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
        assert_eq!(AddrRange::ALL.to_string(), "0x0..2^64");
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
