//! Nodes set aside: a change takes its memory from here, so that it cannot stop half-way for want of any.

use super::inner::{Inner, Node};
use super::leaf::Leaf;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Memory for changes of [`Space`](crate::Space)s, set aside before they begin.
///
/// A change that is given a filled pool takes no other memory, and neither does the change that undoes it: what a
/// change has no more use for goes back to the pool. An empty pool costs nothing; memory is then taken when it is needed.
#[derive(Debug)]
pub struct Pool<T> {
    pub(super) leaves: Vec<Arc<Leaf<T>>>,
    /// Without subtrees.
    pub(super) inners: Vec<Arc<Inner<T>>>,
}

/// Leaves that one change may need: copies of its own and of both neighbours, and one that is split off.
const LEAVES: usize = 4;
/// Inner nodes that one change may need at each level, for the same reasons.
const INNERS: usize = 4;
/// Nodes of a kind that are kept: who takes out more at once does not mean to put it back.
const KEPT: usize = 24;

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { leaves: Vec::new(), inners: Vec::new() }
    }
}

impl<T: Copy> Pool<T> {
    /// Sets aside what one change of a tree with so many levels of inner nodes may need.
    #[inline]
    pub(crate) fn fill(&mut self, height: usize, leaf: impl Fn() -> Leaf<T>) {
        let inners = INNERS * height + 1;
        if self.leaves.len() < LEAVES || self.inners.len() < inners {
            self.fill_up(inners, leaf);
        }
    }

    #[cold]
    fn fill_up(&mut self, inners: usize, leaf: impl Fn() -> Leaf<T>) {
        self.leaves.reserve_exact(KEPT.saturating_sub(self.leaves.len()));
        self.inners.reserve_exact(KEPT.max(inners).saturating_sub(self.inners.len()));
        while self.leaves.len() < LEAVES {
            self.leaves.push(Arc::new(leaf()));
        }
        while self.inners.len() < inners {
            self.inners.push(Arc::new(Inner::new()));
        }
    }

    /// A leaf whose contents do not matter.
    pub(super) fn leaf(&mut self, like: &Leaf<T>) -> Arc<Leaf<T>> {
        self.leaves.pop().unwrap_or_else(|| Arc::new(like.clone()))
    }

    /// An inner node without subtrees.
    pub(super) fn inner(&mut self) -> Arc<Inner<T>> {
        self.inners.pop().unwrap_or_else(|| Arc::new(Inner::new()))
    }

    /// Keeps a node that a tree has no more use for, unless somebody else has it too.
    pub(crate) fn keep(&mut self, node: Node<T>) {
        match node {
            Node::Leaf(mut leaf) => {
                if self.leaves.len() < self.leaves.capacity().min(KEPT) && Arc::get_mut(&mut leaf).is_some() {
                    self.leaves.push(leaf);
                }
            }
            Node::Inner(mut inner) => {
                if self.inners.len() < self.inners.capacity().min(KEPT)
                    && let Some(blank) = Arc::get_mut(&mut inner)
                {
                    *blank = Inner::new();
                    self.inners.push(inner);
                }
            }
        }
    }
}

/// A node that nobody else has: a copy, where it is shared.
#[inline]
pub(super) fn own<'n, N: Clone>(node: &'n mut Arc<N>, set_aside: &mut Vec<Arc<N>>) -> &'n mut N {
    if Arc::strong_count(node) > 1 {
        copy(node, set_aside);
    }
    Arc::make_mut(node)
}

/// Puts a copy in a node's place, if there is memory set aside for it.
#[cold]
fn copy<N: Clone>(node: &mut Arc<N>, set_aside: &mut Vec<Arc<N>>) {
    if let Some(mut copy) = set_aside.pop() {
        Arc::make_mut(&mut copy).clone_from(node);
        *node = copy;
    }
}
