//! Addresses: half-open spans, and naturally aligned blocks.

use core::fmt;

/// Bytes from `start` up to, not including, `end`. Physical addresses have at most 52 bits, so no end wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first address.
    pub start: u64,
    /// The first address beyond.
    pub end: u64,
}

impl Span {
    /// In bytes.
    pub const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it holds no address.
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether it holds an address.
    pub const fn contains(self, addr: u64) -> bool {
        self.start <= addr && addr < self.end
    }

    /// What is in both; empty if nothing is.
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

/// `2^order` bytes at a multiple of as many: what one variable register can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    start: u64,
    order: u8,
}

impl Block {
    /// The page at 0.
    pub const PAGE: Self = Self { start: 0, order: 12 };

    /// A block; `None` unless `order` is 12 to 52, `start` a multiple of the size, and the end at most 2^52.
    pub const fn new(start: u64, order: u8) -> Option<Self> {
        if order < 12 || order > 52 || start & ((1 << order) - 1) != 0 || start >> 52 != 0 {
            return None;
        }
        Some(Self { start, order })
    }

    /// The first address.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The binary logarithm of the size.
    pub const fn order(self) -> u8 {
        self.order
    }

    /// In bytes.
    pub const fn size(self) -> u64 {
        1 << (self.order & 63)
    }

    /// Its addresses.
    pub const fn span(self) -> Span {
        Span { start: self.start, end: self.start + self.size() }
    }

    /// The block of an order that an address is in.
    pub(crate) const fn around(addr: u64, order: u8) -> Self {
        Self { start: addr >> (order & 63) << (order & 63), order }
    }

    /// The two halves.
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
