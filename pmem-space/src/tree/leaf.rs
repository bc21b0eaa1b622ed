//! Leaves: a row of entries, each with the gap after it.

use super::row::{Bytes, KEYS, close, spread, upto};
use crate::entry::{Entry, Occupant};
use crate::range::AddrRange;

/// The most entries of a leaf.
pub(crate) const LEAF: usize = KEYS;
/// The highest order that is recorded; larger blocks count as this order. One more still numbers a bit of a `u64`.
pub(crate) const MAX_ORDER: u8 = 62;

/// What a search needs to know of a subtree before it descends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The length of the largest gap.
    pub(crate) gap: u64,
    /// Bit `k`: some gap's largest naturally aligned block has 2^k bytes.
    pub(crate) orders: u64,
    /// Whether an entry is marked.
    pub(crate) marked: bool,
}

/// An entry, unpacked.
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

/// The part of an entry that is read only once the entry is found: its last address and its value.
///
/// The two are moved and read together, so they are kept together. The address is in halves so that a value with a
/// smaller alignment is not padded to eight bytes.
#[derive(Clone, Copy, Debug)]
struct Body<T> {
    last: [u32; 2],
    /// Meaningful only if the entry is taken.
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

/// Up to [`LEAF`] entries, in order of address. The gap after each entry, also after the last one, belongs to the leaf.
///
/// The fields that a look-up reads come first, so that it waits for as few cache lines as possible.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Leaf<T> {
    len: u16,
    /// Bit `i`: entry `i` is taken.
    taken: u16,
    /// Bit `i`: entry `i` is sealed space; an entry neither taken nor sealed is a hole.
    sealed: u16,
    /// Bit `i`: entry `i` is marked.
    marks: u16,
    /// The first address of each entry; `u64::MAX` in unused places.
    starts: [u64; LEAF],
    /// The last address before the next leaf's first entry; `u64::MAX` in the last leaf.
    tail: u64,
    /// The length of the largest gap.
    largest: u64,
    /// Bit `k`: some gap's largest naturally aligned block has 2^(k-1) bytes. Bit 0 means nothing.
    seen: u64,
    /// By entry: 0 if no gap follows it, else one more than the order of the gap's largest naturally aligned block.
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

    /// Returns the first address of the first entry.
    pub(crate) fn first(&self) -> u64 {
        self.starts[0]
    }

    /// Counts the entries that start at or below `addr`.
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

    /// Returns the last address before the entry after entry `i`.
    #[inline]
    pub(crate) fn reach(&self, i: usize) -> u64 {
        if i + 1 < self.len() { self.starts[i + 1] - 1 } else { self.tail }
    }

    /// Returns the length of the gap after entry `i`, 0 if there is none.
    #[inline]
    fn room(&self, i: usize) -> u64 {
        self.reach(i) - self.last(i)
    }

    /// Returns whether the gap before entry `p` covers these addresses. Before the tree's first entry that is the lead.
    #[inline]
    pub(crate) fn has_room(&self, p: usize, start: u64, last: u64) -> bool {
        // `p` entries start at or below `start`. In any leaf but the first, that is at least one.
        let above_before = p == 0 || self.last(p - 1) < start;
        let reach = if p < self.len() { self.starts[p] - 1 } else { self.tail };
        // Not `&&`: both sides are cheap, and this saves a branch.
        above_before & (last <= reach)
    }

    /// Returns the gap after entry `i`.
    #[inline]
    pub(crate) fn gap(&self, i: usize) -> Option<AddrRange> {
        let (last, reach) = (self.last(i), self.reach(i));
        if last < reach { Some(raw(last + 1, reach)) } else { None }
    }

    /// Returns a mask: bit `i` is set if the gap after entry `i` has a naturally aligned block of 2^`order` bytes.
    #[inline]
    pub(crate) fn candidates(&self, order: u32) -> u16 {
        self.orders.at_least(order as u8 + 1)
    }

    /// Returns the order of the largest naturally aligned block in the gap after entry `i`.
    pub(crate) fn order(&self, i: usize) -> Option<u8> {
        self.orders.get(i).checked_sub(1)
    }

    /// Returns whether `addr` lies in an entry of the leaf, or in the gap after one.
    pub(crate) fn covers(&self, addr: u64) -> bool {
        self.len > 0 && self.starts[0] <= addr && addr <= self.tail
    }

    /// Returns the entry or the gap at `addr`, if it is in the leaf.
    #[inline]
    pub(crate) fn entry(&self, addr: u64) -> Option<Entry<T>> {
        let i = self.upto(addr).checked_sub(1).filter(|_| addr <= self.tail)?;
        let slot = self.slot(i);
        match self.gap(i).filter(|_| addr > slot.last) {
            Some(range) => Some(Entry { range, occupant: Occupant::Gap }),
            None => Some(Entry { range: slot.range(), occupant: slot.what }),
        }
    }

    /// Returns the taken entry at `addr`, if there is one.
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

    /// Inserts an entry at place `p`; there is room.
    pub(crate) fn insert(&mut self, p: usize, new: &Slot<T>) {
        let len = self.len().min(LEAF - 1);
        let p = p.min(len);
        // The new entry splits the gap before it. Note what that gap was, to forget it once both parts are recorded.
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
        // Record the new gaps first. If the old one was the largest, `forget` then measures them all again.
        self.regap(p);
        if let Some((room, order)) = cut {
            self.regap(p - 1);
            self.forget(room, order);
        }
    }

    /// Removes entry `p`. Its gap joins the gap after the entry before it, in this leaf or another.
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
            // The two gaps are one larger gap now, so the largest cannot shrink: only orders can be gone.
            self.regap(p - 1);
            self.forget_order(order);
            self.forget_order(before);
        } else {
            // The gap goes to the leaf before this one: the caller extends that leaf's tail.
            self.forget(room, order);
        }
    }

    /// Makes the gap after the last entry end at `tail`.
    pub(crate) fn set_tail(&mut self, tail: u64) {
        if let Some(last) = self.len().checked_sub(1) {
            let (room, order) = (self.room(last), self.orders.get(last));
            self.tail = tail;
            self.regap(last);
            self.forget(room, order);
        }
        self.tail = tail;
    }

    /// Replaces the occupant and the mark of entry `i`. The range, and so the gaps, stay.
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

    /// Moves the entries from place `from` on to `right`, which becomes the leaf after this one.
    pub(crate) fn split_off(&mut self, from: usize, right: &mut Self) {
        // Copies the tail too: the last gap now belongs to the right leaf.
        right.clone_from(self);
        right.starts.copy_within(from.., 0);
        right.bodies.copy_within(from.., 0);
        right.orders = self.orders.from(from);
        (right.taken, right.sealed) = (self.taken >> from, self.sealed >> from);
        right.marks = self.marks >> from;
        right.truncate(self.len() - from);
        right.remeasure();
        self.truncate(from);
        // The gap between the leaves belongs to the left one, as its last entry is before the gap.
        self.tail = right.first() - 1;
        self.remeasure();
    }

    /// Takes over the entries of `right`, its right neighbour; there is room.
    pub(crate) fn append(&mut self, right: &Self) {
        let (at, end) = (self.len(), self.len() + right.len());
        self.starts[at..end].copy_from_slice(&right.starts[..right.len()]);
        self.bodies[at..end].copy_from_slice(&right.bodies[..right.len()]);
        // Unused places are zero in all these rows, so an OR joins them.
        self.orders = self.orders.followed_by(at, &right.orders);
        self.taken |= right.taken << at;
        self.sealed |= right.sealed << at;
        self.marks |= right.marks << at;
        self.len = end as u16;
        self.tail = right.tail;
        // The left tail ended right before `right` began, so no gap changes: the summaries just combine.
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

    /// Records the gap after entry `i`, whose bounds may have changed.
    #[inline]
    fn regap(&mut self, i: usize) {
        let (last, reach) = (self.last(i), self.reach(i));
        let order = if last < reach { order_of(raw(last + 1, reach)) + 1 } else { 0 };
        self.orders.set(i, order);
        // Both can only grow here; `forget` takes back what no longer holds.
        self.seen |= 1 << order;
        self.largest = self.largest.max(reach - last);
    }

    /// Records that a gap of this length and order is gone, once the gaps that replace it are recorded.
    #[inline]
    fn forget(&mut self, room: u64, order: u8) {
        self.forget_order(order);
        // If it was not the largest, the largest is still there.
        if room == self.largest {
            self.measure();
        }
    }

    #[inline]
    fn forget_order(&mut self, order: u8) {
        // Another gap may have the same order; then its bit stays.
        self.seen &= !(u64::from(!self.orders.has(order)) << (order & 63));
    }

    /// Computes the summary of the gaps from scratch.
    fn remeasure(&mut self) {
        self.seen = (0..self.len()).fold(0, |seen, i| seen | 1 << (self.orders.get(i) & 63));
        self.measure();
    }

    /// Computes the length of the largest gap from scratch.
    fn measure(&mut self) {
        let Some(end) = self.len().checked_sub(1) else { return self.largest = 0 };
        let inner = (0..end).map(|i| self.starts[i + 1] - 1 - self.bodies[i].last());
        self.largest = inner.fold(self.tail - self.last(end), u64::max);
    }
}

/// Returns the order of the largest naturally aligned block in `gap`, at most [`MAX_ORDER`].
#[inline]
pub(crate) fn order_of(gap: AddrRange) -> u8 {
    let (start, end) = (gap.start(), gap.last().wrapping_add(1));
    // Address 0 and 2^64 (a wrapped `end` of 0) are multiples of every power of two.
    let bytes = match (start, end) {
        (0, 0) => u64::MAX,
        (0, bytes) => bytes,
        (_, 0) => start.wrapping_neg(),
        _ => {
            // Of all addresses from `start` to `end`, `middle` is the one multiple of the highest power of two, 2^top.
            // Neither side of it is longer than 2^top, so the largest block ends at `middle` or begins there.
            let top = 63 - ((start - 1) ^ end).leading_zeros();
            let middle = (end >> top) << top;
            (middle - start).max(end - middle)
        }
    };
    (bytes.ilog2() as u8).min(MAX_ORDER)
}

/// Returns the range with these bounds, which are known to be in order. Never panics: a kernel calls this.
#[inline]
pub(crate) fn raw(start: u64, last: u64) -> AddrRange {
    AddrRange::inclusive(start, last).unwrap_or(AddrRange::ALL)
}
