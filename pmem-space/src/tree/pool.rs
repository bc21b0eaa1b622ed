//! Spare nodes: a change takes its memory from here, so that it cannot run out of memory half-way.

use super::inner::{Inner, Node};
use super::leaf::Leaf;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Memory for changes of [`Space`](crate::Space)s, set aside before the changes begin.
///
/// One insertion, removal or replacement with a filled pool allocates nothing else, and neither does the one that undoes
/// it: nodes that a change no longer needs go back to the pool. Opening, closing or sealing a range can be many such
/// changes, and may allocate. An empty pool costs nothing; changes then allocate as they go.
///
/// # Examples
/// Memory is set aside first, where running out is harmless; then the change takes all that it needs from the pool:
///
/// ```
/// use pmem_space::{AddrRange, Pool, Space};
///
/// let mut space = Space::new();
/// space.open(AddrRange::sized(0x1_0000_0000, 0x1000_0000)?);
///
/// let mut pool = Pool::default();
/// space.fill_pool(&mut pool);
/// space.pooled(&mut pool).insert(AddrRange::sized(0x1_0000_0000, 0x1000)?, "DMA ring")?;
/// assert_eq!(space.taken(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pool<T> {
    pub(super) leaves: Vec<Arc<Leaf<T>>>,
    /// Nodes without subtrees.
    pub(super) inners: Vec<Arc<Inner<T>>>,
}

/// The most leaves that one change needs: copies of its own leaf and of both neighbours, and a new one for a split.
const LEAVES: usize = 4;
/// The most inner nodes that one change needs at each level, for the same reasons.
const INNERS: usize = 4;
/// The most nodes of each kind that are kept: a caller that frees more at once is not about to take them again.
const KEPT: usize = 24;

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { leaves: Vec::new(), inners: Vec::new() }
    }
}

impl<T: Copy> Pool<T> {
    /// Sets aside what one change of a tree with `height` levels of inner nodes may need.
    #[inline]
    pub(crate) fn fill(&mut self, height: usize, leaf: impl Fn() -> Leaf<T>) {
        let inners = INNERS * height + 1;
        if self.leaves.len() < LEAVES || self.inners.len() < inners {
            self.fill_up(inners, leaf);
        }
    }

    #[cold]
    fn fill_up(&mut self, inners: usize, leaf: impl Fn() -> Leaf<T>) {
        // Reserve room for every node that `keep` may return, so that giving memory back never allocates.
        self.leaves.reserve_exact(KEPT.saturating_sub(self.leaves.len()));
        self.inners.reserve_exact(KEPT.max(inners).saturating_sub(self.inners.len()));
        while self.leaves.len() < LEAVES {
            self.leaves.push(Arc::new(leaf()));
        }
        while self.inners.len() < inners {
            self.inners.push(Arc::new(Inner::new()));
        }
    }

    /// Returns a leaf with arbitrary contents; `like` is copied only if the pool is empty.
    pub(super) fn leaf(&mut self, like: &Leaf<T>) -> Arc<Leaf<T>> {
        self.leaves.pop().unwrap_or_else(|| Arc::new(like.clone()))
    }

    /// Returns an inner node without subtrees.
    pub(super) fn inner(&mut self) -> Arc<Inner<T>> {
        self.inners.pop().unwrap_or_else(|| Arc::new(Inner::new()))
    }

    /// Keeps a node that a tree no longer needs, unless a clone still shares it.
    pub(crate) fn keep(&mut self, node: Node<T>) {
        match node {
            Node::Leaf(mut leaf) => {
                // `capacity` is 0 for a pool that nobody filled: it keeps nothing, and a push never allocates.
                if self.leaves.len() < self.leaves.capacity().min(KEPT) && Arc::get_mut(&mut leaf).is_some() {
                    self.leaves.push(leaf);
                }
            }
            Node::Inner(mut inner) => {
                if self.inners.len() < self.inners.capacity().min(KEPT)
                    && let Some(blank) = Arc::get_mut(&mut inner)
                {
                    // Let go of the subtrees, or a spare node would keep them alive.
                    *blank = Inner::new();
                    self.inners.push(inner);
                }
            }
        }
    }
}

/// Returns a node for writing: a private copy, if it is shared.
#[inline]
pub(super) fn own<'n, N: Clone>(node: &'n mut Arc<N>, set_aside: &mut Vec<Arc<N>>) -> &'n mut N {
    // A count of 1 cannot rise meanwhile, for only the holder of a node can clone it, and that is us.
    if Arc::strong_count(node) > 1 {
        copy(node, set_aside);
    }
    // Copies, and allocates, only if the pool was empty.
    Arc::make_mut(node)
}

/// Replaces a node by a copy in memory from the pool, if there is any.
#[cold]
fn copy<N: Clone>(node: &mut Arc<N>, set_aside: &mut Vec<Arc<N>>) {
    if let Some(mut copy) = set_aside.pop() {
        Arc::make_mut(&mut copy).clone_from(node);
        *node = copy;
    }
}
