//! Page frames: the unit in which memory is plugged, handed out and looked up.

use core::fmt;
use pmem_space::AddrRange;

/// The number of page frames: every page frame number is below this. It covers 2^64 bytes in pages of 4 KiB.
pub const FRAMES: u64 = 1 << 52;

/// A range of consecutive page frames, `start` inclusive to `end` exclusive. It is never empty and never ends past
/// [`FRAMES`].
///
/// # Examples
/// Find the whole pages of a piece of RAM that starts and ends in the middle of one, and cut the kernel's image out
/// of them:
///
/// ```
/// use pmem_space::AddrRange;
/// use pmem_uvm::FrameRange;
///
/// let ram = AddrRange::new(0x10_0800, 0x80_0400)?;
/// let whole = FrameRange::inside(ram, 12).ok_or("no whole page")?;
/// assert_eq!((whole.start(), whole.end()), (0x101, 0x800));
/// assert_eq!(FrameRange::around(ram, 12), Some(FrameRange::new(0x100, 0x701)?));
///
/// let kernel = FrameRange::new(0x200, 0x100)?;
/// let [below, above] = whole.minus(kernel);
/// assert_eq!(below, Some(FrameRange::new(0x101, 0xff)?));
/// assert_eq!(above, Some(FrameRange::new(0x300, 0x500)?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameRange {
    start: u64,
    end: u64,
}

/// A start and a count that do not make a range of page frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRangeError {
    /// The first page frame.
    pub start: u64,
    /// The number of page frames.
    pub count: u64,
}

impl fmt::Display for FrameRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, count } = self;
        match count {
            0 => write!(f, "the range at page frame {start:#x} is empty"),
            _ => write!(f, "{count:#x} page frames from {start:#x} would end past {FRAMES:#x}"),
        }
    }
}

impl core::error::Error for FrameRangeError {}

impl FrameRange {
    /// The last page frame of all.
    pub(crate) const LAST: Self = Self { start: FRAMES - 1, end: FRAMES };

    /// Makes a range of `count` page frames from `start` on.
    ///
    /// # Errors
    /// [`FrameRangeError`] if `count` is zero or the range ends past [`FRAMES`].
    pub const fn new(start: u64, count: u64) -> Result<Self, FrameRangeError> {
        if count == 0 || start >= FRAMES || count > FRAMES - start {
            return Err(FrameRangeError { start, count });
        }
        Ok(Self { start, end: start + count })
    }

    /// Makes `start..end`, or `None` if that is empty or ends past [`FRAMES`].
    pub(crate) const fn between(start: u64, end: u64) -> Option<Self> {
        if start < end && end <= FRAMES { Some(Self { start, end }) } else { None }
    }

    /// Makes a range of one page frame.
    pub(crate) const fn one(frame: u64) -> Option<Self> {
        Self::between(frame, frame.wrapping_add(1))
    }

    /// Returns the page frames of 2^`shift` bytes that lie entirely inside a range of addresses; `None` if there are
    /// none. Frames past [`FRAMES`] are cut off.
    #[must_use]
    pub const fn inside(range: AddrRange, shift: u32) -> Option<Self> {
        let mask = (1 << shift) - 1;
        let end =
            if range.last() & mask == mask { (range.last() >> shift) + 1 } else { range.last() >> shift };
        let start = (range.start() >> shift) + (range.start() & mask != 0) as u64;
        Self::between(start, if end < FRAMES { end } else { FRAMES })
    }

    /// Returns the page frames of 2^`shift` bytes that a range of addresses touches. Frames past [`FRAMES`] are cut
    /// off; `None` if no frame is left.
    #[must_use]
    pub const fn around(range: AddrRange, shift: u32) -> Option<Self> {
        let last = range.last() >> shift;
        Self::between(range.start() >> shift, if last < FRAMES { last + 1 } else { FRAMES })
    }

    /// Returns the addresses of these page frames, each of 2^`shift` bytes; `None` if they end past 2^64.
    #[must_use]
    pub fn bytes(self, shift: u32) -> Option<AddrRange> {
        let last = self.end - 1;
        if last > u64::MAX >> shift {
            return None;
        }
        AddrRange::inclusive(self.start << shift, last << shift | ((1 << shift) - 1)).ok()
    }

    /// The first page frame.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The page frame after the last one.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// The number of page frames; at least 1.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.end - self.start
    }

    /// Whether `frame` lies in this range.
    #[must_use]
    pub const fn contains(self, frame: u64) -> bool {
        self.start <= frame && frame < self.end
    }

    /// Whether all of `other` lies in this range.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two ranges share a page frame.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Returns the page frames that both ranges contain; `None` if they do not overlap.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::between(self.start.max(other.start), self.end.min(other.end))
    }

    /// Returns what is left of this range below and above `hole`. If they do not overlap, the whole range is on its
    /// side of the hole.
    #[must_use]
    pub fn minus(self, hole: Self) -> [Option<Self>; 2] {
        let below = Self::between(self.start, self.end.min(hole.start));
        [below, Self::between(self.start.max(hole.end), self.end)]
    }

    /// Iterates over the page frames in ascending order.
    #[must_use]
    pub fn frames(self) -> core::ops::Range<u64> {
        self.start..self.end
    }

    /// Returns the same numbers as an [`AddrRange`], for searches that count in page frames rather than bytes.
    pub(crate) fn units(self) -> AddrRange {
        match AddrRange::new(self.start, self.end) {
            Ok(range) => range,
            Err(_) => AddrRange::ALL,
        }
    }

    /// Converts back from [`Self::units`].
    pub(crate) fn from_units(range: AddrRange) -> Option<Self> {
        Self::between(range.start(), range.end()?)
    }
}

impl fmt::Display for FrameRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
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
    fn ranges_are_printed_as_messages_name_them() {
        let range = FrameRange::new(0x10, 0x20).unwrap();
        assert_eq!(
            (alloc::format!("{range}"), alloc::format!("{range:?}")),
            ("0x10..0x30".into(), "0x10..0x30".into())
        );
    }

    #[test]
    fn only_whole_frames_are_inside() {
        assert_eq!(FrameRange::inside(bytes(1, 0x2fff), 12), FrameRange::between(1, 3));
        assert_eq!(FrameRange::inside(bytes(1, 0x1ffe), 12), None);
        assert_eq!(FrameRange::around(bytes(1, 0x1fff), 12), FrameRange::between(0, 2));
        assert_eq!(FrameRange::inside(bytes(u64::MAX - 0xfff, u64::MAX), 12).unwrap().end(), FRAMES);
    }
}
