//! Ranges of addresses: half-open spans, and naturally aligned blocks.

use core::fmt;

/// A range of bytes from `start`, inclusive, to `end`, exclusive.
///
/// Physical addresses have at most 52 bits, so `end` never wraps.
///
/// # Examples
/// The VGA window in the first megabyte:
///
/// ```
/// use pmem_mtrr::Span;
///
/// let vga = Span { start: 0xa_0000, end: 0xc_0000 };
/// assert_eq!(vga.len(), 128 << 10);
/// assert!(vga.contains(0xb_8000) && !vga.contains(0xc_0000));
/// assert_eq!(vga.and(Span { start: 0xb_0000, end: 0x10_0000 }).to_string(), "0xb0000..0xc0000");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first address.
    pub start: u64,
    /// The address after the last one.
    pub end: u64,
}

impl Span {
    /// Returns the size in bytes, 0 if the span is empty.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Returns whether the span holds no address.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Returns whether `addr` is in the span.
    #[must_use]
    pub const fn contains(self, addr: u64) -> bool {
        self.start <= addr && addr < self.end
    }

    /// Returns the addresses that are in both spans; an empty span if there are none.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        let start = if self.start > other.start { self.start } else { other.start };
        let end = if self.end < other.end { self.end } else { other.end };
        Self { start, end: if end > start { end } else { start } }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

/// A naturally aligned block: `2^order` bytes at a multiple of its size. One variable register matches one block.
///
/// # Examples
/// 512 MiB at 3.5 GiB are a block. At 3.75 GiB they would not be aligned:
///
/// ```
/// use pmem_mtrr::{Block, Span};
///
/// let block = Block::new(0xe000_0000, 29).ok_or("not a block")?;
/// assert_eq!(block.size(), 512 << 20);
/// assert_eq!(block.span(), Span { start: 0xe000_0000, end: 1 << 32 });
/// assert_eq!(Block::new(0xf000_0000, 29), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    start: u64,
    order: u8,
}

impl Block {
    /// The 4 KiB page at address 0.
    pub const PAGE: Self = Self { start: 0, order: 12 };

    /// Creates a block. `None` unless `order` is 12 to 52, `start` is a multiple of the size, and the end is at most
    /// 2^52.
    #[must_use]
    pub const fn new(start: u64, order: u8) -> Option<Self> {
        if order < 12 || order > 52 || start & ((1 << order) - 1) != 0 || start >> 52 != 0 {
            return None;
        }
        Some(Self { start, order })
    }

    /// Returns the first address.
    #[must_use]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Returns the binary logarithm of the size in bytes.
    #[must_use]
    pub const fn order(self) -> u8 {
        self.order
    }

    /// Returns the size in bytes.
    #[must_use]
    pub const fn size(self) -> u64 {
        1 << (self.order & 63)
    }

    /// Returns the addresses of the block.
    #[must_use]
    pub const fn span(self) -> Span {
        Span { start: self.start, end: self.start + self.size() }
    }

    /// Returns the block of an order that contains an address.
    pub(crate) const fn around(addr: u64, order: u8) -> Self {
        Self { start: addr >> (order & 63) << (order & 63), order }
    }

    /// Returns the lower and the upper half.
    pub(crate) const fn halves(self) -> (Self, Self) {
        let order = self.order.saturating_sub(1);
        (Self { start: self.start, order }, Self { start: self.start + (1 << (order & 63)), order })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.span().fmt(f)
    }
}
