//! Inner nodes of the free map.

use super::leaf::{LEAF_BITS, Summary, order_of};

/// An inner node has 2^6 children.
pub(super) const FAN_BITS: u32 = 6;
/// Levels of inner nodes above a leaf: 12 + 7 · 6 bits reach every page frame.
pub(super) const LEVELS: usize = 7;
/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// A node with 64 children, and what is kept of each.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    pub(super) child: [u32; 64],
    /// Which children are there.
    pub(super) there: u64,
    /// Which children have a free page.
    pub(super) some: u64,
    /// Which children are all free.
    pub(super) full: u64,
    /// Which children have a free page that is zeroed.
    pub(super) zeroed: u64,
    /// Which page frame numbers, modulo 64, have a free page in a child; all of them where nobody asks for colours.
    pub(super) colours: [u64; 64],
    pub(super) summary: [Summary; 64],
}

/// The way down to a leaf.
pub(super) struct Path {
    pub(super) leaf: u32,
    /// From the lowest level up: the inner node, and which of its children.
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

    /// What the children, each of 2^`bits` page frames, promise together.
    pub(super) fn promise(&self, bits: u32) -> Summary {
        let longest = self.summary.iter().map(|s| s.longest).max().unwrap_or(0);
        let order = self.summary.iter().map(|s| s.order).max().unwrap_or(0);
        Summary { longest, order: if self.full == 0 { order } else { order_of(self.full) + bits as u8 } }
    }

    pub(super) fn colours(&self) -> u64 {
        self.colours.iter().fold(0, |all, colours| all | colours)
    }
}

/// How many page frames a node with `height` levels below it stands for, as a power of two.
pub(super) const fn bits_of(height: usize) -> u32 {
    LEAF_BITS + FAN_BITS * height as u32
}
