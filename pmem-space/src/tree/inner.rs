//! Inner nodes: subtrees in a row, each with its summary.

use super::leaf::{Leaf, Summary};
use super::row::{Bytes, KEYS, close, spread, upto};
use alloc::sync::Arc;

/// Subtrees of an inner node: one more than the keys that tell them apart.
pub(crate) const FAN: usize = KEYS + 1;

/// A subtree: all its leaves are at the same depth.
#[derive(Clone, Debug)]
pub(crate) enum Node<T> {
    Inner(Arc<Inner<T>>),
    Leaf(Arc<Leaf<T>>),
}

/// Up to [`FAN`] subtrees, in order of address. What a look-up reads comes first.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Inner<T> {
    len: u16,
    /// Bit `i`: something in subtree `i` is marked.
    marks: u16,
    /// By subtree but the first: its first address.
    keys: [u64; KEYS],
    kids: [Option<Node<T>>; FAN],
    /// By subtree: 0 without a gap, else one more than the highest of its orders.
    tops: Bytes,
    gaps: [u64; FAN],
    /// The largest of the gaps.
    largest: u64,
    orders: [u64; FAN],
}

impl<T: Copy> Inner<T> {
    pub(crate) fn new() -> Self {
        Self {
            keys: [u64::MAX; KEYS],
            len: 0,
            marks: 0,
            tops: Bytes::default(),
            gaps: [0; FAN],
            largest: 0,
            orders: [0; FAN],
            kids: [const { None }; FAN],
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len).min(FAN)
    }

    /// The subtree that an address belongs to.
    #[inline]
    pub(crate) fn place(&self, addr: u64) -> usize {
        upto(&self.keys, addr).min(self.len().saturating_sub(1))
    }

    #[inline]
    pub(crate) fn kid(&self, c: usize) -> Option<&Node<T>> {
        self.kids.get(c)?.as_ref()
    }

    #[inline]
    pub(crate) fn kid_mut(&mut self, c: usize) -> Option<&mut Node<T>> {
        self.kids.get_mut(c)?.as_mut()
    }

    /// The first address of subtree `c`, which is not the first.
    pub(crate) fn key(&self, c: usize) -> u64 {
        self.keys[c - 1]
    }

    pub(crate) fn gap(&self, c: usize) -> u64 {
        self.gaps[c]
    }

    pub(crate) fn orders(&self, c: usize) -> u64 {
        self.orders[c]
    }

    /// Bit `c`: subtree `c` has a gap with a naturally aligned block of 2^`order` bytes.
    #[inline]
    pub(crate) fn candidates(&self, order: u32) -> u16 {
        self.tops.at_least(order as u8 + 1)
    }

    pub(crate) fn is_marked(&self, c: usize) -> bool {
        self.marks & (1 << c) != 0
    }

    #[inline]
    pub(crate) fn summary(&self) -> Summary {
        let orders = self.orders.iter().fold(0, |all, orders| all | orders);
        Summary { gap: self.largest, orders, marked: self.marks != 0 }
    }

    /// Takes down what a changed subtree says of itself; whether that is anything new.
    #[inline]
    pub(crate) fn note(&mut self, c: usize, summary: Summary) -> bool {
        let Summary { gap, orders, marked } = summary;
        if (self.gaps[c], self.orders[c], self.is_marked(c)) == (gap, orders, marked) {
            return false;
        }
        let old = core::mem::replace(&mut self.gaps[c], gap);
        if gap >= self.largest {
            self.largest = gap;
        } else if old == self.largest {
            self.remeasure();
        }
        self.orders[c] = orders;
        self.tops.set(c, (u64::BITS - orders.leading_zeros()) as u8);
        self.marks = (self.marks & !(1 << c)) | (u16::from(marked) << c);
        true
    }

    fn remeasure(&mut self) {
        self.largest = self.gaps.iter().fold(0, |most, gap| (*gap).max(most));
    }

    pub(crate) fn set_key(&mut self, c: usize, first: u64) {
        if c > 0 {
            self.keys[c - 1] = first;
        }
    }

    /// Puts a subtree that begins at `first` at place `c`; there is room.
    pub(crate) fn insert(&mut self, c: usize, first: u64, kid: Node<T>) {
        let len = self.len();
        if c > 0 {
            self.keys.copy_within(c - 1..len.saturating_sub(1), c);
            self.keys[c - 1] = first;
        }
        self.gaps.copy_within(c..len, c + 1);
        self.orders.copy_within(c..len, c + 1);
        self.tops.insert(c);
        self.marks = spread(self.marks, c);
        self.kids[c..=len].rotate_right(1);
        (self.gaps[c], self.orders[c]) = (0, 0);
        self.len += 1;
        self.note(c, kid.summary());
        self.kids[c] = Some(kid);
    }

    /// Takes out subtree `c`.
    pub(crate) fn remove(&mut self, c: usize) -> Option<Node<T>> {
        let len = self.len();
        if len > 1 {
            self.keys.copy_within(c.max(1)..len - 1, c.max(1) - 1);
            self.keys[len - 2] = u64::MAX;
        }
        self.gaps.copy_within(c + 1..len, c);
        self.orders.copy_within(c + 1..len, c);
        (self.gaps[len - 1], self.orders[len - 1]) = (0, 0);
        self.tops.remove(c);
        self.marks = close(self.marks, c);
        self.kids[c..len].rotate_left(1);
        self.len -= 1;
        self.remeasure();
        self.kids[len - 1].take()
    }

    /// Moves the subtrees from place `from` on, which is not the first, to `right`, which is empty; tells where it begins.
    pub(crate) fn split_off(&mut self, from: usize, right: &mut Self) -> u64 {
        let (first, len) = (self.key(from), self.len());
        for c in from..len {
            right.kids[c - from] = self.kids[c].take();
            right.gaps[c - from] = core::mem::take(&mut self.gaps[c]);
            right.orders[c - from] = core::mem::take(&mut self.orders[c]);
            if c > from {
                right.keys[c - from - 1] = self.keys[c - 1];
            }
            self.keys[c - 1] = u64::MAX;
        }
        right.len = (len - from) as u16;
        self.len = from as u16;
        right.tops = self.tops.from(from);
        self.tops.truncate(from);
        right.marks = self.marks >> from;
        self.marks &= (1 << from) - 1;
        self.remeasure();
        right.remeasure();
        first
    }

    /// Takes over the subtrees of `right`, its neighbour, which begins at `first`; there is room.
    pub(crate) fn append(&mut self, first: u64, right: &mut Self) {
        let at = self.len();
        for c in 0..right.len() {
            self.kids[at + c] = right.kids[c].take();
            self.gaps[at + c] = right.gaps[c];
            self.orders[at + c] = right.orders[c];
            self.keys[at + c - 1] = if c == 0 { first } else { right.keys[c - 1] };
        }
        self.tops = self.tops.followed_by(at, &right.tops);
        self.marks |= right.marks << at;
        self.len += right.len;
        self.remeasure();
    }
}
