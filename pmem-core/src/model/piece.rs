//! What a range of a view is.

use super::arena::SpanState;
use crate::id::{ArenaId, LinkId, RegionId};
use crate::metric::Metric;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Attrs};

/// A range of a view, alike all through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewPiece {
    /// The addresses, as seen.
    pub seen: AddrRange,
    /// What they are.
    pub what: ViewTarget,
    /// What it costs to get there.
    pub cost: Metric,
    /// The interconnects crossed.
    pub hops: u32,
}

/// What a range of a view is. What nothing decodes is no piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewTarget {
    /// An arena's own addresses.
    Local {
        /// The arena.
        arena: ArenaId,
        /// The first address there.
        start: u64,
        /// The region there; `None` for primed space that is free.
        region: Option<RegionId>,
        /// Attributes, as seen: `prot` narrowed by what the interconnects on the way let through.
        attrs: Attrs,
        /// Whether more of it may be handed out.
        state: SpanState,
    },
    /// A table's input; its entries are the aliases there.
    Table {
        /// The interconnect.
        link: LinkId,
        /// The arena whose addresses are translated.
        arena: ArenaId,
        /// The first address there.
        start: u64,
    },
    /// An interleaved range; its chunks go round these interconnects, by position.
    Interleave {
        /// The interconnects.
        links: Vec<LinkId>,
        /// The arena in which the range lies.
        arena: ArenaId,
        /// The first address there.
        start: u64,
    },
    /// More than one place accepts it.
    Ambiguous(Vec<ArenaId>),
    /// It is passed round in a circle, or on for ever.
    Loop,
}

impl ViewTarget {
    /// The arena in which it lies, and its first address there; of what lies in several, none.
    pub(crate) fn place(&self) -> Option<(ArenaId, u64)> {
        match self {
            Self::Local { arena, start, .. }
            | Self::Table { arena, start, .. }
            | Self::Interleave { arena, start, .. } => Some((*arena, *start)),
            Self::Ambiguous(_) | Self::Loop => None,
        }
    }

    /// The same, `by` bytes further on.
    pub(super) fn advanced(&self, by: u64) -> Self {
        let mut what = self.clone();
        match &mut what {
            Self::Local { start, .. } | Self::Table { start, .. } | Self::Interleave { start, .. } => {
                *start = start.wrapping_add(by);
            }
            Self::Ambiguous(_) | Self::Loop => {}
        }
        what
    }
}

impl ViewPiece {
    /// The part of it inside `range`.
    pub fn cut(&self, range: AddrRange) -> Option<Self> {
        let seen = self.seen.intersect(range)?;
        let what = self.what.advanced(seen.start() - self.seen.start());
        Some(Self { seen, what, ..*self })
    }
}
