//! Leaves: entries in a row, each with the gap after it.

use crate::range::AddrRange;
use crate::space::{Entry, Occupant};

/// Entries in a leaf: one less than a power of two, so that a search halves evenly.
pub(crate) const LEAF: usize = 15;
/// Blocks of this order and larger ones are not told apart.
pub(crate) const MAX_ORDER: u8 = 62;

/// What a subtree says of its gaps and entries to whoever searches from above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The length of the largest gap.
    pub(crate) gap: u64,
    /// Bit `k`: there is a gap whose largest naturally aligned block has 2^k bytes.
    pub(crate) orders: u64,
    /// Whether an entry is marked.
    pub(crate) marked: bool,
}

/// An entry as it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<T> {
    pub(crate) start: u64,
    pub(crate) last: u64,
    pub(crate) what: Occupant<T>,
    pub(crate) marked: bool,
}

impl<T: Copy> Slot<T> {
    pub(crate) fn range(&self) -> AddrRange {
        raw(self.start, self.last)
    }
}

/// Up to [`LEAF`] entries, in order of address. The gap after an entry belongs to its leaf, also after the last one.
#[derive(Clone, Debug)]
pub(crate) struct Leaf<T> {
    len: usize,
    starts: [u64; LEAF],
    lasts: [u64; LEAF],
    /// The last address before the next leaf's first entry.
    tail: u64,
    /// By entry: 0 without a gap after it, else one more than the order of the largest naturally aligned block there.
    orders: [u8; LEAF],
    /// Bit `i`: entry `i` is marked.
    marks: u16,
    what: [Occupant<T>; LEAF],
}

impl<T: Copy> Leaf<T> {
    pub(crate) fn new(tail: u64) -> Self {
        Self {
            len: 0,
            starts: [u64::MAX; LEAF],
            lasts: [u64::MAX; LEAF],
            tail,
            orders: [0; LEAF],
            marks: 0,
            what: [Occupant::Gap; LEAF],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first address of the first entry.
    pub(crate) fn first(&self) -> u64 {
        self.starts[0]
    }

    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// How many entries start at or below `addr`.
    pub(crate) fn upto(&self, addr: u64) -> usize {
        halve(&self.starts, addr).min(self.len)
    }

    pub(crate) fn slot(&self, i: usize) -> Slot<T> {
        let i = i.min(LEAF - 1);
        let marked = self.marks & (1 << i) != 0;
        Slot { start: self.starts[i], last: self.lasts[i], what: self.what[i], marked }
    }

    /// The last address before the entry after entry `i`.
    pub(crate) fn reach(&self, i: usize) -> u64 {
        if i + 1 < self.len { self.starts[i + 1] - 1 } else { self.tail }
    }

    /// The gap after entry `i`.
    pub(crate) fn gap(&self, i: usize) -> Option<AddrRange> {
        let (last, reach) = (self.lasts[i.min(LEAF - 1)], self.reach(i));
        if last < reach { Some(raw(last + 1, reach)) } else { None }
    }

    /// Whether the gap after entry `i` has a naturally aligned block of 2^`order` bytes.
    pub(crate) fn has_order(&self, i: usize, order: u32) -> bool {
        u32::from(self.orders[i.min(LEAF - 1)]) > order
    }

    /// The order of the largest naturally aligned block in the gap after entry `i`.
    pub(crate) fn order(&self, i: usize) -> Option<u8> {
        self.orders[i.min(LEAF - 1)].checked_sub(1)
    }

    /// Whether `addr` lies in an entry of the leaf, or in the gap after one.
    pub(crate) fn covers(&self, addr: u64) -> bool {
        self.len > 0 && self.starts[0] <= addr && addr <= self.tail
    }

    /// What is at `addr`, if the leaf covers it.
    pub(crate) fn entry(&self, addr: u64) -> Option<Entry<T>> {
        let i = self.upto(addr).checked_sub(1).filter(|_| addr <= self.tail)?;
        let slot = self.slot(i);
        match self.gap(i).filter(|_| addr > slot.last) {
            Some(range) => Some(Entry { range, occupant: Occupant::Gap }),
            None => Some(Entry { range: slot.range(), occupant: slot.what }),
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        let (mut gap, mut orders) = (0, 0u64);
        for i in 0..self.len.min(LEAF) {
            gap = (self.reach(i) - self.lasts[i]).max(gap);
            orders |= 1 << (self.orders[i] & 63);
        }
        // Bit 0 stands for no gap.
        Summary { gap, orders: orders >> 1, marked: self.marks != 0 }
    }

    /// Puts an entry at place `p`; there is room.
    pub(crate) fn insert(&mut self, p: usize, new: Slot<T>) {
        let len = self.len.min(LEAF - 1);
        let p = p.min(len);
        self.starts.copy_within(p..len, p + 1);
        self.lasts.copy_within(p..len, p + 1);
        self.orders.copy_within(p..len, p + 1);
        self.what.copy_within(p..len, p + 1);
        let below = (1 << p) - 1;
        self.marks = (self.marks & below) | ((self.marks & !below) << 1) | (u16::from(new.marked) << p);
        self.starts[p] = new.start;
        self.lasts[p] = new.last;
        self.what[p] = new.what;
        self.len = len + 1;
        self.regap(p);
        if p > 0 {
            self.regap(p - 1);
        }
    }

    /// Takes out entry `p`. Its gap becomes the gap after the entry before it, in this leaf or another.
    pub(crate) fn remove(&mut self, p: usize) -> Slot<T> {
        let gone = self.slot(p);
        let len = self.len.min(LEAF);
        self.starts.copy_within(p + 1..len, p);
        self.lasts.copy_within(p + 1..len, p);
        self.orders.copy_within(p + 1..len, p);
        self.what.copy_within(p + 1..len, p);
        let below = (1 << p) - 1;
        self.marks = (self.marks & below) | ((self.marks >> 1) & !below);
        self.len = len - 1;
        self.starts[len - 1] = u64::MAX;
        if p > 0 {
            self.regap(p - 1);
        }
        gone
    }

    /// Lets the gap after the last entry end at `tail`.
    pub(crate) fn set_tail(&mut self, tail: u64) {
        self.tail = tail;
        if let Some(last) = self.len.checked_sub(1) {
            self.regap(last);
        }
    }

    /// Replaces what entry `i` is.
    pub(crate) fn set(&mut self, i: usize, what: Occupant<T>, marked: bool) {
        let i = i.min(LEAF - 1);
        self.what[i] = what;
        self.marks = (self.marks & !(1 << i)) | (u16::from(marked) << i);
    }

    /// Moves the entries from place `from` on to a leaf of their own, on the right.
    pub(crate) fn split_off(&mut self, from: usize) -> Self {
        let mut right = Self::new(self.tail);
        right.append(self, from);
        self.len = from;
        self.starts[from..].fill(u64::MAX);
        self.marks &= (1 << from) - 1;
        self.tail = right.first() - 1;
        right
    }

    /// Takes over the entries of `right`, its neighbour, from place `from` on; there is room.
    pub(crate) fn append(&mut self, right: &Self, from: usize) {
        let (at, many) = (self.len, right.len - from);
        self.starts[at..at + many].copy_from_slice(&right.starts[from..right.len]);
        self.lasts[at..at + many].copy_from_slice(&right.lasts[from..right.len]);
        self.orders[at..at + many].copy_from_slice(&right.orders[from..right.len]);
        self.what[at..at + many].copy_from_slice(&right.what[from..right.len]);
        self.marks |= (right.marks >> from) << at;
        self.len += many;
        self.tail = right.tail;
    }

    /// Works out anew what the gap after entry `i` offers.
    fn regap(&mut self, i: usize) {
        self.orders[i.min(LEAF - 1)] = self.gap(i).map_or(0, |gap| order_of(gap) + 1);
    }
}

/// How many of `sorted`, whose unused places are `u64::MAX`, are at most `addr`.
pub(super) fn halve(sorted: &[u64; LEAF], addr: u64) -> usize {
    let mut count = 0;
    for half in [8, 4, 2, 1] {
        // At most 14: said so that the compiler knows it.
        let middle = sorted[(count + half - 1).min(LEAF - 1)];
        count += if middle <= addr { half } else { 0 };
    }
    count
}

/// The order of the largest naturally aligned block in `gap`, at most [`MAX_ORDER`].
pub(crate) fn order_of(gap: AddrRange) -> u8 {
    let (start, end) = (gap.start(), gap.last().wrapping_add(1));
    let bytes = match (start, end) {
        (0, 0) => u64::MAX,
        (0, bytes) => bytes,
        (_, 0) => start.wrapping_neg(),
        _ => {
            // The multiple of the highest power of two in the gap: blocks end there or begin there.
            let top = 63 - ((start - 1) ^ end).leading_zeros();
            let middle = (end >> top) << top;
            (middle - start).max(end - middle)
        }
    };
    (bytes.ilog2() as u8).min(MAX_ORDER)
}

/// A range whose bounds are known to be in order.
pub(crate) fn raw(start: u64, last: u64) -> AddrRange {
    AddrRange::inclusive(start, last).unwrap_or(AddrRange::ALL)
}
