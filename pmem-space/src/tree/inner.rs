//! Inner nodes: a row of subtrees, each with its summary.

use super::leaf::{Leaf, Summary};
use super::row::{Bytes, KEYS, close, spread, upto};
use alloc::sync::Arc;

/// The most subtrees of an inner node: one more than the keys that separate them.
pub(crate) const FAN: usize = KEYS + 1;

/// A subtree. All its leaves are at the same depth.
#[derive(Clone, Debug)]
pub(crate) enum Node<T> {
    Inner(Arc<Inner<T>>),
    Leaf(Arc<Leaf<T>>),
}

/// Up to [`FAN`] subtrees, in order of address. The fields that a look-up reads come first.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Inner<T> {
    len: u16,
    /// Bit `i`: an entry in subtree `i` is marked.
    marks: u16,
    /// The first address of each subtree but the first: of subtree `c` in `keys[c - 1]`. Unused places are `u64::MAX`.
    keys: [u64; KEYS],
    /// The subtrees; `None` in unused places.
    kids: [Option<Node<T>>; FAN],
    /// By subtree: 0 if it has no gap, else one more than the highest of its orders.
    tops: Bytes,
    /// By subtree: the length of its largest gap.
    gaps: [u64; FAN],
    /// The largest of `gaps`.
    largest: u64,
    /// By subtree: [`Summary::orders`].
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

    /// Returns the place of the subtree that an address belongs to. Addresses below the first entry belong to place 0.
    #[inline]
    pub(crate) fn place(&self, addr: u64) -> usize {
        // For `u64::MAX`, unused keys count too: hence the `min`.
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

    /// Returns the first address of subtree `c`, which is not subtree 0.
    pub(crate) fn key(&self, c: usize) -> u64 {
        self.keys[c - 1]
    }

    pub(crate) fn gap(&self, c: usize) -> u64 {
        self.gaps[c]
    }

    pub(crate) fn orders(&self, c: usize) -> u64 {
        self.orders[c]
    }

    /// Returns a mask: bit `c` is set if subtree `c` has a gap with a naturally aligned block of 2^`order` bytes.
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

    /// Records the summary of a changed subtree, and returns whether it differs from what was known.
    #[inline]
    pub(crate) fn note(&mut self, c: usize, summary: Summary) -> bool {
        let Summary { gap, orders, marked } = summary;
        if (self.gaps[c], self.orders[c], self.is_marked(c)) == (gap, orders, marked) {
            return false;
        }
        let old = core::mem::replace(&mut self.gaps[c], gap);
        // Only if the gap that shrank was the largest must all the others be compared.
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

    /// Inserts a subtree that begins at `first` at place `c`; there is room.
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
        // The unused `None` after the last subtree moves to place `c`.
        self.kids[c..=len].rotate_right(1);
        // What is still here belongs to the subtree that moved up: `note` must not compare with it.
        (self.gaps[c], self.orders[c]) = (0, 0);
        self.len += 1;
        self.note(c, kid.summary());
        self.kids[c] = Some(kid);
    }

    /// Removes and returns subtree `c`.
    pub(crate) fn remove(&mut self, c: usize) -> Option<Node<T>> {
        let len = self.len();
        if len > 1 {
            // The key between `c` and a neighbour goes: the one before `c`, or the one after it if `c` is the first.
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
        // The largest gap may have been in this subtree.
        self.remeasure();
        self.kids[len - 1].take()
    }

    /// Moves the subtrees from place `from`, not 0, on to `right`, which is empty; returns where `right` begins.
    pub(crate) fn split_off(&mut self, from: usize, right: &mut Self) -> u64 {
        let (first, len) = (self.key(from), self.len());
        for c in from..len {
            right.kids[c - from] = self.kids[c].take();
            right.gaps[c - from] = core::mem::take(&mut self.gaps[c]);
            right.orders[c - from] = core::mem::take(&mut self.orders[c]);
            // A node's first subtree has no key: the caller puts this one between the halves.
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

    /// Takes over the subtrees of `right`, its right neighbour, which begins at `first`; there is room.
    pub(crate) fn append(&mut self, first: u64, right: &mut Self) {
        let at = self.len();
        // In `right`, its first subtree had no key. Here it needs one: `first`.
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
