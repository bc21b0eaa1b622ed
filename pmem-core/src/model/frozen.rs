//! Results computed from a topology, and kept while it stays the same.

use crate::id::ArenaId;
use crate::metric::Metric;
use alloc::vec::Vec;
use core::ops::Add;
use once_cell::race::OnceBox;
use slotmap::SecondaryMap;

/// The distance to an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distance {
    /// The arena.
    pub arena: ArenaId,
    /// The cost of the cheapest path.
    pub metric: Metric,
    /// The number of interconnects on the shortest of the cheapest paths.
    pub hops: u32,
}

/// A cost, with the number of hops as the tie-break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost(pub(super) Metric, pub(super) u32);

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1.saturating_add(other.1))
    }
}

/// Results computed from a topology. A change of the topology starts an empty one.
#[derive(Debug, Default)]
pub(super) struct Frozen {
    pub(super) by_arena: OnceBox<SecondaryMap<ArenaId, Around>>,
}

#[derive(Debug, Default)]
pub(super) struct Around {
    pub(super) ahead: OnceBox<Ahead>,
}

/// The arenas that can be reached from one arena.
#[derive(Debug)]
pub(super) struct Ahead {
    /// The arenas, nearest first.
    pub(super) all: Vec<Distance>,
    pub(super) metrics: SecondaryMap<ArenaId, Metric>,
}
