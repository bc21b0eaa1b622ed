//! Inner nodes: subtrees in a row, each with its summary.

use super::leaf::{LEAF, Summary, halve};
use super::node::Node;

/// Subtrees of an inner node: one more than the keys that tell them apart.
pub(crate) const FAN: usize = LEAF + 1;

/// Up to [`FAN`] subtrees, in order of address.
#[derive(Clone, Debug)]
pub(crate) struct Inner<T> {
    len: usize,
    /// By subtree but the first: its first address.
    keys: [u64; LEAF],
    gaps: [u64; FAN],
    orders: [u64; FAN],
    /// The largest of the gaps.
    largest: u64,
    /// Bit `i`: something in subtree `i` is marked.
    marks: u16,
    kids: [Option<Node<T>>; FAN],
}

impl<T: Copy> Inner<T> {
    pub(crate) fn new() -> Self {
        Self {
            len: 0,
            keys: [u64::MAX; LEAF],
            gaps: [0; FAN],
            orders: [0; FAN],
            largest: 0,
            marks: 0,
            kids: [const { None }; FAN],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The subtree that an address belongs to.
    #[inline]
    pub(crate) fn place(&self, addr: u64) -> usize {
        halve(&self.keys, addr).min(self.len.saturating_sub(1))
    }

    #[inline]
    pub(crate) fn kid(&self, c: usize) -> Option<&Node<T>> {
        self.kids.get(c)?.as_ref()
    }

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

    pub(crate) fn is_marked(&self, c: usize) -> bool {
        self.marks & (1 << c) != 0
    }

    #[inline]
    pub(crate) fn summary(&self) -> Summary {
        let orders = self.orders.iter().fold(0, |all, orders| all | orders);
        Summary { gap: self.largest, orders, marked: self.marks != 0 }
    }

    /// Takes down what a changed subtree says of itself.
    #[inline]
    pub(crate) fn note(&mut self, c: usize, summary: Summary) {
        let old = core::mem::replace(&mut self.gaps[c], summary.gap);
        if summary.gap >= self.largest {
            self.largest = summary.gap;
        } else if old == self.largest {
            self.remeasure();
        }
        self.orders[c] = summary.orders;
        self.marks = (self.marks & !(1 << c)) | (u16::from(summary.marked) << c);
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
        let len = self.len;
        if c > 0 {
            self.keys.copy_within(c - 1..len.saturating_sub(1), c);
            self.keys[c - 1] = first;
        }
        self.gaps.copy_within(c..len, c + 1);
        self.orders.copy_within(c..len, c + 1);
        let below = (1u32 << c) - 1;
        let marks = u32::from(self.marks);
        self.marks = ((marks & below) | ((marks & !below) << 1)) as u16;
        self.kids[c..=len].rotate_right(1);
        self.gaps[c] = 0;
        self.len = len + 1;
        self.note(c, kid.summary());
        self.kids[c] = Some(kid);
    }

    /// Takes out subtree `c`.
    pub(crate) fn remove(&mut self, c: usize) -> Option<Node<T>> {
        let len = self.len;
        if len > 1 {
            self.keys.copy_within(c.max(1)..len - 1, c.max(1) - 1);
            self.keys[len - 2] = u64::MAX;
        }
        self.gaps.copy_within(c + 1..len, c);
        self.orders.copy_within(c + 1..len, c);
        self.gaps[len - 1] = 0;
        self.orders[len - 1] = 0;
        let below = (1u16 << c) - 1;
        self.marks = (self.marks & below) | ((self.marks >> 1) & !below);
        self.kids[c..len].rotate_left(1);
        self.len = len - 1;
        self.remeasure();
        self.kids[len - 1].take()
    }

    /// Moves the subtrees from place `from` on, which is not the first, to a node of their own; tells where it begins.
    pub(crate) fn split_off(&mut self, from: usize) -> (u64, Self) {
        let first = self.key(from);
        let mut right = Self::new();
        for c in from..self.len {
            right.kids[c - from] = self.kids[c].take();
            right.gaps[c - from] = core::mem::take(&mut self.gaps[c]);
            right.orders[c - from] = core::mem::take(&mut self.orders[c]);
            if c > from {
                right.keys[c - from - 1] = self.keys[c - 1];
            }
            self.keys[c - 1] = u64::MAX;
        }
        right.len = self.len - from;
        right.marks = self.marks >> from;
        self.marks &= (1 << from) - 1;
        self.len = from;
        self.remeasure();
        right.remeasure();
        (first, right)
    }

    /// Takes over the subtrees of `right`, its neighbour, which begins at `first`; there is room.
    pub(crate) fn append(&mut self, first: u64, right: Self) {
        let at = self.len;
        for (c, kid) in right.kids.into_iter().take(right.len).enumerate() {
            self.kids[at + c] = kid;
            self.gaps[at + c] = right.gaps[c];
            self.orders[at + c] = right.orders[c];
            self.keys[at + c - 1] = if c == 0 { first } else { right.keys[c - 1] };
        }
        self.marks |= right.marks << at;
        self.len += right.len;
        self.remeasure();
    }
}
