//! Page frames: the unit in which memory is plugged, handed out and found.

use core::fmt;
use pmem_space::AddrRange;

/// Page frame numbers are below this: 2^64 bytes in pages of 4 KiB.
pub const FRAMES: u64 = 1 << 52;

/// Consecutive page frames [start, end): never empty, never past [`FRAMES`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRange {
    start: u64,
    end: u64,
}

/// Numbers that do not make a range of page frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRangeError {
    /// The first page frame.
    pub start: u64,
    /// How many.
    pub count: u64,
}

impl fmt::Display for FrameRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, count } = self;
        match count {
            0 => write!(f, "a range of no page frames at {start:#x}"),
            _ => write!(f, "{count:#x} page frames at {start:#x} end past {FRAMES:#x}"),
        }
    }
}

impl core::error::Error for FrameRangeError {}

impl FrameRange {
    /// The last page frame that there can be.
    pub(crate) const LAST: Self = Self { start: FRAMES - 1, end: FRAMES };

    /// Makes the `count` page frames at `start`.
    ///
    /// # Errors
    /// [`FrameRangeError`] if there are none, or they end past [`FRAMES`].
    pub const fn new(start: u64, count: u64) -> Result<Self, FrameRangeError> {
        if count == 0 || start >= FRAMES || count > FRAMES - start {
            return Err(FrameRangeError { start, count });
        }
        Ok(Self { start, end: start + count })
    }

    /// Makes [`start`, `end`), if it is a range.
    pub(crate) const fn between(start: u64, end: u64) -> Option<Self> {
        if start < end && end <= FRAMES { Some(Self { start, end }) } else { None }
    }

    /// One page frame.
    pub(crate) const fn one(frame: u64) -> Option<Self> {
        Self::between(frame, frame.wrapping_add(1))
    }

    /// The whole page frames of 2^`shift` bytes inside a range of addresses, if there are any.
    pub const fn inside(range: AddrRange, shift: u32) -> Option<Self> {
        let mask = (1 << shift) - 1;
        let end =
            if range.last() & mask == mask { (range.last() >> shift) + 1 } else { range.last() >> shift };
        let start = (range.start() >> shift) + (range.start() & mask != 0) as u64;
        Self::between(start, if end < FRAMES { end } else { FRAMES })
    }

    /// The page frames of 2^`shift` bytes that a range of addresses touches.
    pub const fn around(range: AddrRange, shift: u32) -> Option<Self> {
        let last = range.last() >> shift;
        Self::between(range.start() >> shift, if last < FRAMES { last + 1 } else { FRAMES })
    }

    /// The addresses, with frames of 2^`shift` bytes; `None` past 2^64.
    pub fn bytes(self, shift: u32) -> Option<AddrRange> {
        let last = self.end - 1;
        if last > u64::MAX >> shift {
            return None;
        }
        AddrRange::inclusive(self.start << shift, last << shift | ((1 << shift) - 1)).ok()
    }

    /// The first page frame.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The page frame after the last.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// How many page frames.
    pub const fn count(self) -> u64 {
        self.end - self.start
    }

    /// Whether `frame` is in it.
    pub const fn contains(self, frame: u64) -> bool {
        self.start <= frame && frame < self.end
    }

    /// Whether all of `other` is in it.
    pub const fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two share a page frame.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// What the two share.
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::between(self.start.max(other.start), self.end.min(other.end))
    }

    /// What is left below and above, without `hole`.
    pub fn minus(self, hole: Self) -> [Option<Self>; 2] {
        let below = Self::between(self.start, self.end.min(hole.start));
        [below, Self::between(self.start.max(hole.end), self.end)]
    }

    /// Each page frame, in order.
    pub fn frames(self) -> core::ops::Range<u64> {
        self.start..self.end
    }

    /// The same numbers as an [`AddrRange`], for searches whose unit is the page frame.
    pub(crate) fn units(self) -> AddrRange {
        match AddrRange::new(self.start, self.end) {
            Ok(range) => range,
            Err(_) => AddrRange::ALL,
        }
    }

    /// Back from [`Self::units`].
    pub(crate) fn from_units(range: AddrRange) -> Option<Self> {
        Self::between(range.start(), range.end()?)
    }
}

impl fmt::Display for FrameRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}, {:#x})", self.start, self.end)
    }
}

impl fmt::Debug for FrameRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(start: u64, last: u64) -> AddrRange {
        AddrRange::inclusive(start, last).unwrap()
    }

    #[test]
    fn what_is_empty_or_wraps_is_refused() {
        assert!(FrameRange::new(5, 0).is_err());
        assert!(FrameRange::new(FRAMES - 1, 2).is_err());
        assert!(FrameRange::new(u64::MAX, 1).is_err());
        assert_eq!(FrameRange::new(FRAMES - 1, 1).unwrap().bytes(12).unwrap().last(), u64::MAX);
        assert_eq!(FrameRange::new(FRAMES - 1, 1).unwrap().bytes(13), None);
    }

    #[test]
    fn only_whole_frames_are_inside() {
        assert_eq!(FrameRange::inside(bytes(1, 0x2fff), 12), FrameRange::between(1, 3));
        assert_eq!(FrameRange::inside(bytes(1, 0x1ffe), 12), None);
        assert_eq!(FrameRange::around(bytes(1, 0x1fff), 12), FrameRange::between(0, 2));
        assert_eq!(FrameRange::inside(bytes(u64::MAX - 0xfff, u64::MAX), 12).unwrap().end(), FRAMES);
    }
}
