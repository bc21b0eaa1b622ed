//! Leaves: entries in a row, each with the gap after it.

use crate::entry::{Entry, Occupant};
use crate::range::AddrRange;

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
    /// The length of the largest gap.
    largest: u64,
    /// By entry: 0 without a gap after it, else one more than the order of the largest naturally aligned block there.
    orders: [u8; LEAF],
    /// Bit `i`: entry `i` is taken; sealed, where it is not taken; marked.
    taken: u16,
    sealed: u16,
    marks: u16,
    /// Of entries that are taken.
    values: [T; LEAF],
}

impl<T: Copy + Default> Leaf<T> {
    pub(crate) fn new(tail: u64) -> Self {
        Self {
            len: 0,
            starts: [u64::MAX; LEAF],
            lasts: [u64::MAX; LEAF],
            tail,
            largest: 0,
            orders: [0; LEAF],
            taken: 0,
            sealed: 0,
            marks: 0,
            values: [T::default(); LEAF],
        }
    }
}

impl<T: Copy> Leaf<T> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first address of the first entry.
    pub(crate) fn first(&self) -> u64 {
        self.starts[0]
    }

    /// How many entries start at or below `addr`.
    #[inline]
    pub(crate) fn upto(&self, addr: u64) -> usize {
        halve(&self.starts, addr).min(self.len)
    }

    #[inline]
    pub(crate) fn slot(&self, i: usize) -> Slot<T> {
        let i = i.min(LEAF - 1);
        let bit = |bits: u16| bits & (1 << i) != 0;
        let what = match (bit(self.taken), bit(self.sealed)) {
            (true, _) => Occupant::Taken(self.values[i]),
            (false, true) => Occupant::Sealed,
            (false, false) => Occupant::Hole,
        };
        Slot { start: self.starts[i], last: self.lasts[i], what, marked: bit(self.marks) }
    }

    /// The last address before the entry after entry `i`.
    #[inline]
    pub(crate) fn reach(&self, i: usize) -> u64 {
        if i + 1 < self.len.min(LEAF) { self.starts[i + 1] - 1 } else { self.tail }
    }

    /// The length of the gap after entry `i`.
    #[inline]
    fn room(&self, i: usize) -> u64 {
        self.reach(i) - self.lasts[i.min(LEAF - 1)]
    }

    /// Whether the gap before entry `p` covers these addresses. The gap before the first leaf's first entry is the lead.
    #[inline]
    pub(crate) fn has_room(&self, p: usize, start: u64, last: u64) -> bool {
        let above_before = p == 0 || self.lasts[(p - 1).min(LEAF - 1)] < start;
        let reach = if p < self.len.min(LEAF) { self.starts[p] - 1 } else { self.tail };
        above_before & (last <= reach)
    }

    /// The gap after entry `i`.
    #[inline]
    pub(crate) fn gap(&self, i: usize) -> Option<AddrRange> {
        let (last, reach) = (self.lasts[i.min(LEAF - 1)], self.reach(i));
        if last < reach { Some(raw(last + 1, reach)) } else { None }
    }

    /// Bit `i`: the gap after entry `i` has `len` bytes, and a naturally aligned block of 2^`order` bytes.
    #[inline]
    pub(crate) fn candidates(&self, len: u64, order: u32) -> u16 {
        let mut found = 0;
        for i in 0..LEAF - 1 {
            // What wraps is the place after the last entry, which the tail decides.
            let room = self.starts[i + 1].wrapping_sub(1).wrapping_sub(self.lasts[i]);
            found |= u16::from((room >= len) & (u32::from(self.orders[i]) > order)) << i;
        }
        let Some(last) = self.len.checked_sub(1) else { return 0 };
        let last = last.min(LEAF - 1);
        let fits = (self.tail - self.lasts[last] >= len) & (u32::from(self.orders[last]) > order);
        (found & ((1 << last) - 1)) | u16::from(fits) << last
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
    #[inline]
    pub(crate) fn entry(&self, addr: u64) -> Option<Entry<T>> {
        let i = self.upto(addr).checked_sub(1).filter(|_| addr <= self.tail)?;
        let slot = self.slot(i);
        match self.gap(i).filter(|_| addr > slot.last) {
            Some(range) => Some(Entry { range, occupant: Occupant::Gap }),
            None => Some(Entry { range: slot.range(), occupant: slot.what }),
        }
    }

    /// What was taken at `addr`, if anything.
    #[inline]
    pub(crate) fn get(&self, addr: u64) -> Option<(AddrRange, T)> {
        let i = self.upto(addr).checked_sub(1)?.min(LEAF - 1);
        let last = self.lasts[i];
        let there = (addr <= last) & (self.taken & (1 << i) != 0);
        there.then(|| (raw(self.starts[i], last), self.values[i]))
    }

    #[inline]
    pub(crate) fn summary(&self) -> Summary {
        let orders = self.orders.iter().fold(0, |all, order| all | 1u64 << (order & 63));
        // Bit 0 stands for no gap.
        Summary { gap: self.largest, orders: orders >> 1, marked: self.marks != 0 }
    }

    /// Puts an entry at place `p`; there is room.
    pub(crate) fn insert(&mut self, p: usize, new: Slot<T>) {
        let len = self.len.min(LEAF - 1);
        let p = p.min(len);
        let cut = p.checked_sub(1).map(|before| self.room(before));
        self.starts.copy_within(p..len, p + 1);
        self.lasts.copy_within(p..len, p + 1);
        self.orders.copy_within(p..len, p + 1);
        self.values.copy_within(p..len, p + 1);
        self.taken = spread(self.taken, p);
        self.sealed = spread(self.sealed, p);
        self.marks = spread(self.marks, p);
        self.starts[p] = new.start;
        self.lasts[p] = new.last;
        self.len = len + 1;
        self.set(p, new.what, new.marked);
        self.regap(p);
        match cut {
            Some(cut) => {
                self.regap(p - 1);
                // Both parts of the gap that was cut are smaller than it.
                if cut == self.largest {
                    self.remeasure();
                }
            }
            None => self.largest = self.largest.max(self.room(p)),
        }
    }

    /// Takes out entry `p`. Its gap becomes the gap after the entry before it, in this leaf or another.
    pub(crate) fn remove(&mut self, p: usize) {
        let len = self.len.min(LEAF);
        let gone = self.room(p);
        self.starts.copy_within(p + 1..len, p);
        self.lasts.copy_within(p + 1..len, p);
        self.orders.copy_within(p + 1..len, p);
        self.values.copy_within(p + 1..len, p);
        self.taken = close(self.taken, p);
        self.sealed = close(self.sealed, p);
        self.marks = close(self.marks, p);
        self.len = len - 1;
        self.starts[len - 1] = u64::MAX;
        self.orders[len - 1] = 0;
        if p > 0 {
            self.regap(p - 1);
            self.largest = self.largest.max(self.room(p - 1));
        } else if gone == self.largest {
            self.remeasure();
        }
    }

    /// Lets the gap after the last entry end at `tail`.
    pub(crate) fn set_tail(&mut self, tail: u64) {
        self.tail = tail;
        if let Some(last) = self.len.checked_sub(1) {
            self.regap(last);
            self.remeasure();
        }
    }

    /// Replaces what entry `i` is.
    pub(crate) fn set(&mut self, i: usize, what: Occupant<T>, marked: bool) {
        let i = i.min(LEAF - 1);
        let put = |bits: u16, on: bool| (bits & !(1 << i)) | u16::from(on) << i;
        self.taken = put(self.taken, matches!(what, Occupant::Taken(_)));
        self.sealed = put(self.sealed, matches!(what, Occupant::Sealed));
        self.marks = put(self.marks, marked);
        if let Occupant::Taken(value) = what {
            self.values[i] = value;
        }
    }

    /// Moves the entries from place `from` on to a leaf of their own, on the right.
    pub(crate) fn split_off(&mut self, from: usize) -> Self {
        let mut right = self.clone();
        right.starts.copy_within(from.., 0);
        right.lasts.copy_within(from.., 0);
        right.orders.copy_within(from.., 0);
        right.values.copy_within(from.., 0);
        (right.taken, right.sealed) = (right.taken >> from, right.sealed >> from);
        right.marks >>= from;
        right.truncate(self.len - from);
        self.truncate(from);
        self.tail = right.first() - 1;
        self.remeasure();
        right
    }

    /// Takes over the entries of `right`, its neighbour; there is room.
    pub(crate) fn append(&mut self, right: &Self) {
        let (at, end) = (self.len, self.len + right.len);
        self.starts[at..end].copy_from_slice(&right.starts[..right.len]);
        self.lasts[at..end].copy_from_slice(&right.lasts[..right.len]);
        self.orders[at..end].copy_from_slice(&right.orders[..right.len]);
        self.values[at..end].copy_from_slice(&right.values[..right.len]);
        self.taken |= right.taken << at;
        self.sealed |= right.sealed << at;
        self.marks |= right.marks << at;
        self.len = end;
        self.tail = right.tail;
        self.largest = self.largest.max(right.largest);
    }

    fn truncate(&mut self, len: usize) {
        self.len = len;
        self.starts[len..].fill(u64::MAX);
        self.orders[len..].fill(0);
        let below = (1 << len) - 1;
        self.taken &= below;
        self.sealed &= below;
        self.marks &= below;
        self.remeasure();
    }

    /// Works out anew what the gap after entry `i` offers.
    fn regap(&mut self, i: usize) {
        self.orders[i.min(LEAF - 1)] = self.gap(i).map_or(0, |gap| order_of(gap) + 1);
    }

    /// Works out anew how large the largest gap is.
    fn remeasure(&mut self) {
        self.largest = (0..self.len.min(LEAF)).fold(0, |most, i| self.room(i).max(most));
    }
}

/// Makes room for a bit at place `p`.
fn spread(bits: u16, p: usize) -> u16 {
    let below = (1 << p) - 1;
    (bits & below) | ((bits & !below) << 1)
}

/// Takes out the bit at place `p`.
fn close(bits: u16, p: usize) -> u16 {
    let below = (1 << p) - 1;
    (bits & below) | ((bits >> 1) & !below)
}

/// How many of `sorted`, whose unused places are `u64::MAX`, are at most `addr`.
#[inline]
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
#[inline]
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
#[inline]
pub(crate) fn raw(start: u64, last: u64) -> AddrRange {
    AddrRange::inclusive(start, last).unwrap_or(AddrRange::ALL)
}
