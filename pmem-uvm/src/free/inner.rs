//! Inner nodes of the free map.

use super::leaf::{LEAF_BITS, Summary, order_of};

/// The base-2 logarithm of the number of children of an inner node.
pub(super) const FAN_BITS: u32 = 6;
/// The most levels of inner nodes above a leaf: 12 + 7 · 6 bits cover every page frame number.
pub(super) const LEVELS: usize = 7;
/// The index of no node.
pub(super) const NONE: u32 = u32::MAX;

/// A node with 64 children and what it knows of each. Bit `i` of a set stands for child `i`.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    pub(super) child: [u32; 64],
    /// The children that exist.
    pub(super) there: u64,
    /// The children that have a free page. Exact.
    pub(super) some: u64,
    /// The children whose page frames are all free. Exact.
    pub(super) full: u64,
    /// The children that have a free page that is zeroed. Exact.
    pub(super) zeroed: u64,
    /// For each child, the page frame numbers modulo 64 that have a free page in it. All ones in maps without
    /// colours.
    pub(super) colours: [u64; 64],
    pub(super) summary: [Summary; 64],
}

/// The path from the root down to a leaf.
pub(super) struct Path {
    pub(super) leaf: u32,
    /// From the lowest level up: the inner node and the index of the child taken there.
    pub(super) steps: [(u32, usize); LEVELS],
    pub(super) height: usize,
}

impl Path {
    pub(super) fn steps(&self) -> &[(u32, usize)] {
        &self.steps[..self.height]
    }
}

impl Inner {
    pub(super) const fn new() -> Self {
        Self {
            child: [NONE; 64],
            there: 0,
            some: 0,
            full: 0,
            zeroed: 0,
            colours: [0; 64],
            summary: [Summary { longest: 0, order: 0 }; 64],
        }
    }

    /// Combines what the children, each of 2^`bits` page frames, promise.
    pub(super) fn promise(&self, bits: u32) -> Summary {
        // No run is longer than its child says: `longest` already counts what lies beyond the child.
        let longest = self.summary.iter().map(|s| s.longest).max().unwrap_or(0);
        let order = self.summary.iter().map(|s| s.order).max().unwrap_or(0);
        // Children that are all free join into larger blocks. Any such block beats the blocks inside single children.
        Summary { longest, order: if self.full == 0 { order } else { order_of(self.full) + bits as u8 } }
    }

    pub(super) fn colours(&self) -> u64 {
        self.colours.iter().fold(0, |all, colours| all | colours)
    }
}

/// The base-2 logarithm of the number of page frames below a node with `height` levels of nodes under it.
pub(super) const fn bits_of(height: usize) -> u32 {
    LEAF_BITS + FAN_BITS * height as u32
}
