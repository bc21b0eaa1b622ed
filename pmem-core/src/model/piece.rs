//! The pieces of a view.

use super::arena::SpanState;
use crate::id::{ArenaId, LinkId, RegionId};
use crate::metric::Metric;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Attrs};

/// A range of a view whose addresses lead to consecutive addresses of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewPiece {
    /// The addresses as the viewer sees them.
    pub seen: AddrRange,
    /// What the addresses lead to.
    pub what: ViewTarget,
    /// The cost of the path there.
    pub cost: Metric,
    /// The number of interconnects crossed.
    pub hops: u32,
}

/// What a range of a view leads to. Ranges that nothing decodes have no piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewTarget {
    /// An arena's own addresses.
    Local {
        /// The arena.
        arena: ArenaId,
        /// The first address in that arena.
        start: u64,
        /// The region there; `None` if the space is primed but free.
        region: Option<RegionId>,
        /// The attributes as seen: `prot` is narrowed by the interconnects on the path.
        attrs: Attrs,
        /// Whether free space here can be allocated.
        state: SpanState,
    },
    /// The input of a translation table. Its entries are the aliases in it.
    Table {
        /// The interconnect whose mapping is the table.
        link: LinkId,
        /// The arena whose addresses the table translates.
        arena: ArenaId,
        /// The first address in that arena.
        start: u64,
    },
    /// An interleaved range, whose chunks rotate over the interconnects.
    Interleave {
        /// The interconnects, lowest id first. The position of each is in its mapping:
        /// [`Interleave::position`](crate::Interleave::position).
        links: Vec<LinkId>,
        /// The arena in which the interleaved range lies.
        arena: ArenaId,
        /// The first address in that arena.
        start: u64,
    },
    /// More than one place accepts the addresses. Lists their arenas, lowest id first; an arena with two places twice.
    Ambiguous(Vec<ArenaId>),
    /// A routing loop: no arena ever accepts the addresses.
    Loop,
}

impl ViewTarget {
    /// Returns the arena that the range lies in, and its first address there; `None` for ambiguous ranges and loops.
    pub(crate) fn place(&self) -> Option<(ArenaId, u64)> {
        match self {
            Self::Local { arena, start, .. }
            | Self::Table { arena, start, .. }
            | Self::Interleave { arena, start, .. } => Some((*arena, *start)),
            Self::Ambiguous(_) | Self::Loop => None,
        }
    }

    /// Returns this target advanced by `by` bytes.
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
    /// Returns the part of this piece inside `range`; `None` if they do not overlap.
    #[must_use]
    pub fn cut(&self, range: AddrRange) -> Option<Self> {
        let seen = self.seen.intersect(range)?;
        let what = self.what.advanced(seen.start() - self.seen.start());
        Some(Self { seen, what, ..*self })
    }
}
