//! Leaves: entries in a row, each with the gap after it.

use super::row::{Bytes, KEYS, close, spread, upto};
use crate::entry::{Entry, Occupant};
use crate::range::AddrRange;

/// Entries in a leaf.
pub(crate) const LEAF: usize = KEYS;
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

/// What of an entry is read once it is found: where it ends, and its value. Kept together, for they are moved and read
/// together; in halves, so that a value which is aligned to less is not padded.
#[derive(Clone, Copy, Debug)]
struct Body<T> {
    last: [u32; 2],
    /// Of an entry that is taken.
    value: T,
}

impl<T> Body<T> {
    #[inline]
    fn last(&self) -> u64 {
        u64::from(self.last[1]) << 32 | u64::from(self.last[0])
    }

    #[inline]
    fn set_last(&mut self, last: u64) {
        self.last = [last as u32, (last >> 32) as u32];
    }
}

/// Up to [`LEAF`] entries, in order of address. The gap after an entry belongs to its leaf, also after the last one.
///
/// What a look-up reads comes first: it should not wait for more of memory than it must.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Leaf<T> {
    len: u16,
    /// Bit `i`: entry `i` is taken; sealed, where it is not taken; marked.
    taken: u16,
    sealed: u16,
    marks: u16,
    starts: [u64; LEAF],
    /// The last address before the next leaf's first entry.
    tail: u64,
    /// The length of the largest gap.
    largest: u64,
    /// Bit `k`: there is a gap whose largest naturally aligned block has 2^(k-1) bytes; bit 0 means nothing.
    seen: u64,
    /// By entry: 0 without a gap after it, else one more than the order of the largest naturally aligned block there.
    orders: Bytes,
    bodies: [Body<T>; LEAF],
}

impl<T: Copy + Default> Leaf<T> {
    pub(crate) fn new(tail: u64) -> Self {
        Self {
            starts: [u64::MAX; LEAF],
            tail,
            largest: 0,
            seen: 0,
            orders: Bytes::default(),
            len: 0,
            taken: 0,
            sealed: 0,
            marks: 0,
            bodies: [Body { last: [0; 2], value: T::default() }; LEAF],
        }
    }
}

impl<T: Copy> Leaf<T> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len).min(LEAF)
    }

    /// The first address of the first entry.
    pub(crate) fn first(&self) -> u64 {
        self.starts[0]
    }

    /// How many entries start at or below `addr`.
    #[inline]
    pub(crate) fn upto(&self, addr: u64) -> usize {
        upto(&self.starts, addr).min(self.len())
    }

    #[inline]
    pub(crate) fn slot(&self, i: usize) -> Slot<T> {
        let i = i.min(LEAF - 1);
        let bit = |bits: u16| bits & (1 << i) != 0;
        let body = &self.bodies[i];
        let what = match (bit(self.taken), bit(self.sealed)) {
            (true, _) => Occupant::Taken(body.value),
            (false, true) => Occupant::Sealed,
            (false, false) => Occupant::Hole,
        };
        Slot { start: self.starts[i], last: body.last(), what, marked: bit(self.marks) }
    }

    #[inline]
    fn last(&self, i: usize) -> u64 {
        self.bodies[i.min(LEAF - 1)].last()
    }

    /// The last address before the entry after entry `i`.
    #[inline]
    pub(crate) fn reach(&self, i: usize) -> u64 {
        if i + 1 < self.len() { self.starts[i + 1] - 1 } else { self.tail }
    }

    /// The length of the gap after entry `i`.
    #[inline]
    fn room(&self, i: usize) -> u64 {
        self.reach(i) - self.last(i)
    }

    /// Whether the gap before entry `p` covers these addresses. The gap before the first leaf's first entry is the lead.
    #[inline]
    pub(crate) fn has_room(&self, p: usize, start: u64, last: u64) -> bool {
        let above_before = p == 0 || self.last(p - 1) < start;
        let reach = if p < self.len() { self.starts[p] - 1 } else { self.tail };
        above_before & (last <= reach)
    }

    /// The gap after entry `i`.
    #[inline]
    pub(crate) fn gap(&self, i: usize) -> Option<AddrRange> {
        let (last, reach) = (self.last(i), self.reach(i));
        if last < reach { Some(raw(last + 1, reach)) } else { None }
    }

    /// Bit `i`: the gap after entry `i` has a naturally aligned block of 2^`order` bytes.
    #[inline]
    pub(crate) fn candidates(&self, order: u32) -> u16 {
        self.orders.at_least(order as u8 + 1)
    }

    /// The order of the largest naturally aligned block in the gap after entry `i`.
    pub(crate) fn order(&self, i: usize) -> Option<u8> {
        self.orders.get(i).checked_sub(1)
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
        let body = &self.bodies[i];
        let there = (addr <= body.last()) & (self.taken & (1 << i) != 0);
        there.then(|| (raw(self.starts[i], body.last()), body.value))
    }

    #[inline]
    pub(crate) fn summary(&self) -> Summary {
        Summary { gap: self.largest, orders: self.seen >> 1, marked: self.marks != 0 }
    }

    /// Puts an entry at place `p`; there is room.
    pub(crate) fn insert(&mut self, p: usize, new: &Slot<T>) {
        let len = self.len().min(LEAF - 1);
        let p = p.min(len);
        let cut = p.checked_sub(1).map(|before| (self.room(before), self.orders.get(before)));
        self.starts.copy_within(p..len, p + 1);
        self.bodies.copy_within(p..len, p + 1);
        self.orders.insert(p);
        self.taken = spread(self.taken, p);
        self.sealed = spread(self.sealed, p);
        self.marks = spread(self.marks, p);
        self.starts[p] = new.start;
        self.bodies[p].set_last(new.last);
        self.len = len as u16 + 1;
        self.set(p, new.what, new.marked);
        self.regap(p);
        if let Some((room, order)) = cut {
            self.regap(p - 1);
            self.forget(room, order);
        }
    }

    /// Takes out entry `p`. Its gap becomes the gap after the entry before it, in this leaf or another.
    pub(crate) fn remove(&mut self, p: usize) {
        let len = self.len();
        let (room, order) = (self.room(p), self.orders.get(p));
        let before = p.checked_sub(1).map_or(0, |before| self.orders.get(before));
        self.starts.copy_within(p + 1..len, p);
        self.bodies.copy_within(p + 1..len, p);
        self.orders.remove(p);
        self.taken = close(self.taken, p);
        self.sealed = close(self.sealed, p);
        self.marks = close(self.marks, p);
        self.len = len as u16 - 1;
        self.starts[len - 1] = u64::MAX;
        if p > 0 {
            // What there was is part of a larger gap.
            self.regap(p - 1);
            self.forget_order(order);
            self.forget_order(before);
        } else {
            self.forget(room, order);
        }
    }

    /// Lets the gap after the last entry end at `tail`.
    pub(crate) fn set_tail(&mut self, tail: u64) {
        if let Some(last) = self.len().checked_sub(1) {
            let (room, order) = (self.room(last), self.orders.get(last));
            self.tail = tail;
            self.regap(last);
            self.forget(room, order);
        }
        self.tail = tail;
    }

    /// Replaces what entry `i` is.
    pub(crate) fn set(&mut self, i: usize, what: Occupant<T>, marked: bool) {
        let i = i.min(LEAF - 1);
        let put = |bits: u16, on: bool| (bits & !(1 << i)) | u16::from(on) << i;
        self.taken = put(self.taken, matches!(what, Occupant::Taken(_)));
        self.sealed = put(self.sealed, matches!(what, Occupant::Sealed));
        self.marks = put(self.marks, marked);
        if let Occupant::Taken(value) = what {
            self.bodies[i].value = value;
        }
    }

    /// Moves the entries from place `from` on to a leaf of their own, on the right.
    pub(crate) fn split_off(&mut self, from: usize, right: &mut Self) {
        right.clone_from(self);
        right.starts.copy_within(from.., 0);
        right.bodies.copy_within(from.., 0);
        right.orders = self.orders.from(from);
        (right.taken, right.sealed) = (self.taken >> from, self.sealed >> from);
        right.marks = self.marks >> from;
        right.truncate(self.len() - from);
        right.remeasure();
        self.truncate(from);
        self.tail = right.first() - 1;
        self.remeasure();
    }

    /// Takes over the entries of `right`, its neighbour; there is room.
    pub(crate) fn append(&mut self, right: &Self) {
        let (at, end) = (self.len(), self.len() + right.len());
        self.starts[at..end].copy_from_slice(&right.starts[..right.len()]);
        self.bodies[at..end].copy_from_slice(&right.bodies[..right.len()]);
        self.orders = self.orders.followed_by(at, &right.orders);
        self.taken |= right.taken << at;
        self.sealed |= right.sealed << at;
        self.marks |= right.marks << at;
        self.len = end as u16;
        self.tail = right.tail;
        self.largest = self.largest.max(right.largest);
        self.seen |= right.seen;
    }

    fn truncate(&mut self, len: usize) {
        self.len = len as u16;
        self.starts[len..].fill(u64::MAX);
        self.orders.truncate(len);
        let below = (1 << len) - 1;
        self.taken &= below;
        self.sealed &= below;
        self.marks &= below;
    }

    /// Works out anew what the gap after entry `i` offers.
    #[inline]
    fn regap(&mut self, i: usize) {
        let (last, reach) = (self.last(i), self.reach(i));
        let order = if last < reach { order_of(raw(last + 1, reach)) + 1 } else { 0 };
        self.orders.set(i, order);
        self.seen |= 1 << order;
        self.largest = self.largest.max(reach - last);
    }

    /// Takes down that a gap is gone, or not what it was.
    #[inline]
    fn forget(&mut self, room: u64, order: u8) {
        self.forget_order(order);
        if room == self.largest {
            self.measure();
        }
    }

    #[inline]
    fn forget_order(&mut self, order: u8) {
        self.seen &= !(u64::from(!self.orders.has(order)) << (order & 63));
    }

    /// Works out anew what the gaps amount to.
    fn remeasure(&mut self) {
        self.seen = (0..self.len()).fold(0, |seen, i| seen | 1 << (self.orders.get(i) & 63));
        self.measure();
    }

    /// Works out anew how large the largest gap is.
    fn measure(&mut self) {
        let Some(end) = self.len().checked_sub(1) else { return self.largest = 0 };
        let inner = (0..end).map(|i| self.starts[i + 1] - 1 - self.bodies[i].last());
        self.largest = inner.fold(self.tail - self.last(end), u64::max);
    }
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
