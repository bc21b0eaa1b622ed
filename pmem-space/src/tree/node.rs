//! Changes of nodes: insert, remove, set. Shared nodes are copied before they change.

use super::inner::{FAN, Inner, Node};
use super::leaf::{LEAF, Leaf, Slot, Summary};
use super::pool::{Pool, own};
use crate::entry::Occupant;
use alloc::sync::Arc;

/// What inserting an entry did to a subtree.
pub(crate) struct Put<T> {
    /// The new subtree that was split off to the right, with its first address.
    pub(crate) split: Option<(u64, Node<T>)>,
    /// Whether the subtree's summary changed, or may have.
    changed: bool,
}

/// The error for an entry whose addresses are not all free.
pub(crate) struct Occupied;

/// An entry that was removed from a subtree.
pub(crate) struct Taken<T> {
    pub(crate) slot: Slot<T>,
    /// If it was the subtree's first entry: where the gap before the subtree ends now.
    pub(crate) reach: Option<u64>,
}

impl<T: Copy + Default> Node<T> {
    pub(crate) fn empty_leaf(tail: u64) -> Self {
        Self::Leaf(Arc::new(Leaf::new(tail)))
    }
}

impl<T: Copy> Node<T> {
    pub(crate) fn summary(&self) -> Summary {
        match self {
            Self::Inner(inner) => inner.summary(),
            Self::Leaf(leaf) => leaf.summary(),
        }
    }

    /// Returns the number of entries, or of direct subtrees.
    fn len(&self) -> usize {
        match self {
            Self::Inner(inner) => inner.len(),
            Self::Leaf(leaf) => leaf.len(),
        }
    }

    /// Returns the leaf that an address belongs to; `None` only if the tree is malformed.
    #[inline]
    pub(crate) fn leaf(&self, addr: u64) -> Option<&Leaf<T>> {
        let mut node = self;
        loop {
            match node {
                Self::Inner(inner) => node = inner.kid(inner.place(addr))?,
                Self::Leaf(leaf) => return Some(leaf),
            }
        }
    }

    /// Returns the first address of the subtree's first entry.
    fn first(&self) -> Option<u64> {
        let leaf = self.leaf(0)?;
        (leaf.len() > 0).then(|| leaf.first())
    }

    /// Inserts an entry where there is a gap.
    pub(crate) fn put(&mut self, new: &Slot<T>, pool: &mut Pool<T>) -> Result<Put<T>, Occupied> {
        match self {
            Self::Leaf(leaf) => put_in_leaf(own(leaf, &mut pool.leaves), new, pool),
            Self::Inner(inner) => put_in_inner(own(inner, &mut pool.inners), new, pool),
        }
    }

    /// Removes the entry that starts at `start`, if there is one and `which` accepts it.
    pub(crate) fn take(
        &mut self,
        start: u64,
        which: fn(&Occupant<T>) -> bool,
        pool: &mut Pool<T>,
    ) -> Option<Taken<T>> {
        match self {
            Self::Leaf(leaf) => {
                let p = leaf.upto(start).checked_sub(1)?;
                let slot = Some(leaf.slot(p)).filter(|slot| slot.start == start && which(&slot.what))?;
                let reach = leaf.reach(p);
                // Only now is the leaf copied, if it is shared: a look-up in vain copies no leaf.
                own(leaf, &mut pool.leaves).remove(p);
                Some(Taken { slot, reach: (p == 0).then_some(reach) })
            }
            Self::Inner(inner) => take_from_inner(own(inner, &mut pool.inners), start, which, pool),
        }
    }

    /// Makes the gap after the subtree's last entry end at `reach`.
    fn extend(&mut self, reach: u64, pool: &mut Pool<T>) {
        match self {
            Self::Leaf(leaf) => own(leaf, &mut pool.leaves).set_tail(reach),
            Self::Inner(inner) => {
                let inner = own(inner, &mut pool.inners);
                let last = inner.len().saturating_sub(1);
                let Some(kid) = inner.kid_mut(last) else { return };
                // Only the last leaf ends where the subtree ends, so one path to the right is all that changes.
                kid.extend(reach, pool);
                let summary = kid.summary();
                inner.note(last, summary);
            }
        }
    }

    /// Replaces the occupant and the mark of the entry that starts at `start`.
    pub(crate) fn set(&mut self, start: u64, what: Occupant<T>, marked: bool, pool: &mut Pool<T>) {
        match self {
            Self::Leaf(leaf) => {
                if let Some(p) = leaf.upto(start).checked_sub(1) {
                    own(leaf, &mut pool.leaves).set(p, what, marked);
                }
            }
            Self::Inner(inner) => {
                let inner = own(inner, &mut pool.inners);
                let c = inner.place(start);
                let Some(kid) = inner.kid_mut(c) else { return };
                kid.set(start, what, marked, pool);
                let summary = kid.summary();
                inner.note(c, summary);
            }
        }
    }

    /// Returns the only subtree of a root that has just one.
    pub(crate) fn only_kid(&self) -> Option<Self> {
        match self {
            Self::Inner(inner) if inner.len() == 1 => inner.kid(0).cloned(),
            _ => None,
        }
    }

    /// Returns a root over a node that was split in two.
    pub(crate) fn over(left: Self, (first, right): (u64, Self), pool: &mut Pool<T>) -> Self {
        let mut root = pool.inner();
        let inner = own(&mut root, &mut pool.inners);
        inner.insert(0, 0, left);
        inner.insert(1, first, right);
        Self::Inner(root)
    }
}

fn put_in_leaf<T: Copy>(leaf: &mut Leaf<T>, new: &Slot<T>, pool: &mut Pool<T>) -> Result<Put<T>, Occupied> {
    // An address belongs to the leaf with the last entry at or below it, so a gap that has room is all in this leaf.
    let p = leaf.upto(new.start);
    if !leaf.has_room(p, new.start, new.last) {
        return Err(Occupied);
    }
    if leaf.len() < LEAF {
        leaf.insert(p, new);
        return Ok(Put { split: None, changed: true });
    }
    // Near the end, split near the end: hardly anything moves, and entries that arrive in ascending order leave full
    // leaves behind. Anywhere else, split in the middle.
    let cut = if p + 1 < LEAF { LEAF.div_ceil(2) } else { LEAF - 1 };
    let mut other = pool.leaf(leaf);
    let right = own(&mut other, &mut pool.leaves);
    leaf.split_off(cut, right);
    // An entry at the cut lies in the left leaf's last gap. In the left leaf, no tail has to change for it.
    if p <= cut {
        leaf.insert(p, new);
    } else {
        right.insert(p - cut, new);
    }
    Ok(Put { split: Some((right.first(), Node::Leaf(other))), changed: true })
}

fn put_in_inner<T: Copy>(
    inner: &mut Inner<T>,
    new: &Slot<T>,
    pool: &mut Pool<T>,
) -> Result<Put<T>, Occupied> {
    let c = inner.place(new.start);
    let kid = inner.kid_mut(c).ok_or(Occupied)?;
    let Put { split, changed } = kid.put(new, pool)?;
    // A summary that did not change changes none further up, so the way back up does no more work.
    if !changed {
        return Ok(Put { split: None, changed: false });
    }
    let summary = kid.summary();
    let changed = inner.note(c, summary);
    let Some((first, kid)) = split else { return Ok(Put { split: None, changed }) };
    if inner.len() < FAN {
        inner.insert(c + 1, first, kid);
        return Ok(Put { split: None, changed: true });
    }
    let mut other = pool.inner();
    let right = own(&mut other, &mut pool.inners);
    let half = FAN / 2;
    // The last place of a full node: as in leaves, start a new node rather than halve the full one.
    let split = if c + 1 == FAN {
        right.insert(0, first, kid);
        first
    } else {
        // `middle` is where the right half begins. It becomes the key that the parent separates them by.
        let middle = inner.split_off(half, right);
        if c < half {
            inner.insert(c + 1, first, kid);
        } else {
            right.insert(c + 1 - half, first, kid);
        }
        middle
    };
    Ok(Put { split: Some((split, Node::Inner(other))), changed: true })
}

fn take_from_inner<T: Copy>(
    inner: &mut Inner<T>,
    start: u64,
    which: fn(&Occupant<T>) -> bool,
    pool: &mut Pool<T>,
) -> Option<Taken<T>> {
    let c = inner.place(start);
    let kid = inner.kid_mut(c)?;
    let mut taken = kid.take(start, which, pool)?;
    let (len, summary) = (kid.len(), kid.summary());
    // No node but the root stays empty, so every subtree has a first entry.
    if len == 0 {
        inner.remove(c).into_iter().for_each(|kid| pool.keep(kid));
    } else {
        // The subtree begins at another entry now, and so must its key.
        if taken.reach.is_some()
            && let Some(first) = kid.first()
        {
            inner.set_key(c, first);
        }
        inner.note(c, summary);
    }
    // The gap before a first entry belongs to the subtree before. Without one here, an ancestor has it, or the lead.
    if c > 0
        && let Some(reach) = taken.reach.take()
        && let Some(before) = inner.kid_mut(c - 1)
    {
        before.extend(reach, pool);
        let summary = before.summary();
        inner.note(c - 1, summary);
    }
    // Merge a subtree that is at most half full with a neighbour that has room, so that depth stays logarithmic.
    if len > 0
        && len <= LEAF / 2
        && !merge(inner, c, pool)
        && let Some(before) = c.checked_sub(1)
    {
        merge(inner, before, pool);
    }
    Some(taken)
}

/// Merges subtree `c` and the one after it, if one node has room for both. Returns whether it did.
fn merge<T: Copy>(inner: &mut Inner<T>, c: usize, pool: &mut Pool<T>) -> bool {
    let fits = match (inner.kid(c), inner.kid(c + 1)) {
        (Some(left), Some(right)) => left.len() + right.len() <= LEAF,
        _ => false,
    };
    if !fits {
        return false;
    }
    let first = inner.key(c + 1);
    let Some(mut gone) = inner.remove(c + 1) else { return false };
    let Some(left) = inner.kid_mut(c) else { return false };
    match (left, &mut gone) {
        // The right leaf may be shared: it is only read, and `keep` does not touch what a clone still uses.
        (Node::Leaf(left), Node::Leaf(right)) => own(left, &mut pool.leaves).append(right),
        (Node::Inner(left), Node::Inner(right)) => {
            // Subtrees move, so a shared right node is copied first; the clone keeps its own.
            own(left, &mut pool.inners).append(first, own(right, &mut pool.inners));
        }
        _ => {}
    }
    pool.keep(gone);
    if let Some(summary) = inner.kid(c).map(Node::summary) {
        inner.note(c, summary);
    }
    true
}
