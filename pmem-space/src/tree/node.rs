//! Nodes, shared until they are changed, and what changes them: put, take out, set.

use super::inner::{FAN, Inner};
use super::leaf::{LEAF, Leaf, Slot, Summary};
use crate::entry::Occupant;
use alloc::sync::Arc;

/// A subtree: all its leaves are at the same depth.
#[derive(Clone, Debug)]
pub(crate) enum Node<T> {
    Inner(Arc<Inner<T>>),
    Leaf(Arc<Leaf<T>>),
}

/// A subtree that was split off to the right, and its first address.
type Split<T> = Option<(u64, Node<T>)>;

/// There is something where an entry was to be put.
pub(crate) struct Occupied;

/// What was taken out of a subtree.
pub(crate) struct Taken<T> {
    pub(crate) slot: Slot<T>,
    /// It was the subtree's first entry: the gap before the subtree now ends here.
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

    /// How many entries, or subtrees, it has itself.
    fn len(&self) -> usize {
        match self {
            Self::Inner(inner) => inner.len(),
            Self::Leaf(leaf) => leaf.len(),
        }
    }

    /// The leaf that an address belongs to; `None` only of a tree that is none.
    pub(crate) fn leaf(&self, addr: u64) -> Option<&Leaf<T>> {
        let mut node = self;
        loop {
            match node {
                Self::Inner(inner) => node = inner.kid(inner.place(addr))?,
                Self::Leaf(leaf) => return Some(leaf),
            }
        }
    }

    /// The first address of the subtree's first entry.
    fn first(&self) -> Option<u64> {
        let leaf = self.leaf(0)?;
        (leaf.len() > 0).then(|| leaf.first())
    }

    /// Puts an entry where there is a gap.
    pub(crate) fn put(&mut self, new: Slot<T>) -> Result<Split<T>, Occupied> {
        match self {
            Self::Leaf(leaf) => put_in_leaf(Arc::make_mut(leaf), new),
            Self::Inner(inner) => put_in_inner(Arc::make_mut(inner), new),
        }
    }

    /// Takes out the entry that starts at `start`, if there is one and `which` wants it.
    pub(crate) fn take(&mut self, start: u64, which: fn(&Occupant<T>) -> bool) -> Option<Taken<T>> {
        match self {
            Self::Leaf(leaf) => {
                let p = leaf.upto(start).checked_sub(1)?;
                let slot = Some(leaf.slot(p)).filter(|slot| slot.start == start && which(&slot.what))?;
                let reach = leaf.reach(p);
                Arc::make_mut(leaf).remove(p);
                Some(Taken { slot, reach: (p == 0).then_some(reach) })
            }
            Self::Inner(inner) => take_from_inner(Arc::make_mut(inner), start, which),
        }
    }

    /// Lets the gap after the subtree's last entry end at `reach`.
    fn extend(&mut self, reach: u64) {
        match self {
            Self::Leaf(leaf) => Arc::make_mut(leaf).set_tail(reach),
            Self::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let last = inner.len().saturating_sub(1);
                let Some(kid) = inner.kid_mut(last) else { return };
                kid.extend(reach);
                let summary = kid.summary();
                inner.note(last, summary);
            }
        }
    }

    /// Replaces what the entry at `start` is.
    pub(crate) fn set(&mut self, start: u64, what: Occupant<T>, marked: bool) {
        match self {
            Self::Leaf(leaf) => {
                if let Some(p) = leaf.upto(start).checked_sub(1) {
                    Arc::make_mut(leaf).set(p, what, marked);
                }
            }
            Self::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let c = inner.place(start);
                let Some(kid) = inner.kid_mut(c) else { return };
                kid.set(start, what, marked);
                let summary = kid.summary();
                inner.note(c, summary);
            }
        }
    }

    /// The only subtree of a root that has but one.
    pub(crate) fn only_kid(&self) -> Option<Self> {
        match self {
            Self::Inner(inner) if inner.len() == 1 => inner.kid(0).cloned(),
            _ => None,
        }
    }

    /// A root over a node that was split.
    pub(crate) fn over(left: Self, (first, right): (u64, Self)) -> Self {
        let mut root = Inner::new();
        root.insert(0, 0, left);
        root.insert(1, first, right);
        Self::Inner(Arc::new(root))
    }
}

fn put_in_leaf<T: Copy>(leaf: &mut Leaf<T>, new: Slot<T>) -> Result<Split<T>, Occupied> {
    let p = leaf.upto(new.start);
    if !leaf.has_room(p, new.start, new.last) {
        return Err(Occupied);
    }
    if leaf.len() < LEAF {
        leaf.insert(p, new);
        return Ok(None);
    }
    // Near the end, hardly anything moves: ascending fills leave full leaves behind.
    let cut = if p + 1 < LEAF { LEAF.div_ceil(2) } else { LEAF - 1 };
    let mut right = leaf.split_off(cut);
    if p <= cut {
        leaf.insert(p, new);
    } else {
        right.insert(p - cut, new);
    }
    Ok(Some((right.first(), Node::Leaf(Arc::new(right)))))
}

fn put_in_inner<T: Copy>(inner: &mut Inner<T>, new: Slot<T>) -> Result<Split<T>, Occupied> {
    let c = inner.place(new.start);
    let kid = inner.kid_mut(c).ok_or(Occupied)?;
    let split = kid.put(new)?;
    let summary = kid.summary();
    inner.note(c, summary);
    let Some((first, right)) = split else { return Ok(None) };
    if inner.len() < FAN {
        inner.insert(c + 1, first, right);
        return Ok(None);
    }
    if c + 1 == FAN {
        let mut other = Inner::new();
        other.insert(0, first, right);
        return Ok(Some((first, Node::Inner(Arc::new(other)))));
    }
    let half = FAN / 2;
    let (middle, mut other) = inner.split_off(half);
    if c < half {
        inner.insert(c + 1, first, right);
    } else {
        other.insert(c + 1 - half, first, right);
    }
    Ok(Some((middle, Node::Inner(Arc::new(other)))))
}

fn take_from_inner<T: Copy>(
    inner: &mut Inner<T>,
    start: u64,
    which: fn(&Occupant<T>) -> bool,
) -> Option<Taken<T>> {
    let c = inner.place(start);
    let kid = inner.kid_mut(c)?;
    let mut taken = kid.take(start, which)?;
    let (len, summary) = (kid.len(), kid.summary());
    if len == 0 {
        inner.remove(c);
    } else {
        if taken.reach.is_some()
            && let Some(first) = kid.first()
        {
            inner.set_key(c, first);
        }
        inner.note(c, summary);
    }
    if c > 0
        && let Some(reach) = taken.reach.take()
        && let Some(before) = inner.kid_mut(c - 1)
    {
        before.extend(reach);
        let summary = before.summary();
        inner.note(c - 1, summary);
    }
    // A subtree that has become small is taken in by whichever neighbour has room.
    if len > 0
        && len <= LEAF / 2
        && !merge(inner, c)
        && let Some(before) = c.checked_sub(1)
    {
        merge(inner, before);
    }
    Some(taken)
}

/// Makes one subtree of `c` and the one after it, if it is not more than full.
fn merge<T: Copy>(inner: &mut Inner<T>, c: usize) -> bool {
    let fits = match (inner.kid(c), inner.kid(c + 1)) {
        (Some(left), Some(right)) => left.len() + right.len() <= LEAF,
        _ => false,
    };
    if !fits {
        return false;
    }
    let first = inner.key(c + 1);
    let Some(right) = inner.remove(c + 1) else { return false };
    let Some(left) = inner.kid_mut(c) else { return false };
    match (left, right) {
        (Node::Leaf(left), Node::Leaf(right)) => Arc::make_mut(left).append(&right),
        (Node::Inner(left), Node::Inner(right)) => {
            Arc::make_mut(left).append(first, Arc::unwrap_or_clone(right));
        }
        _ => {}
    }
    if let Some(summary) = inner.kid(c).map(Node::summary) {
        inner.note(c, summary);
    }
    true
}
