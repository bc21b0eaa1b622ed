//! What has been worked out of a topology.

use crate::id::ArenaId;
use crate::metric::Metric;
use alloc::vec::Vec;
use core::ops::Add;
use once_cell::race::OnceBox;
use slotmap::SecondaryMap;

/// How far an arena is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distance {
    /// The arena.
    pub arena: ArenaId,
    /// The least cost of a path to it.
    pub metric: Metric,
    /// The interconnects on the shortest of these paths.
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

/// What has been worked out of a topology, as long as it stays what it is: by arena, what lies ahead of it.
#[derive(Debug, Default)]
pub(super) struct Frozen {
    pub(super) by_arena: OnceBox<SecondaryMap<ArenaId, Around>>,
}

#[derive(Debug, Default)]
pub(super) struct Around {
    pub(super) ahead: OnceBox<Ahead>,
}

/// The arenas that can be reached from one.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Nearest first.
    pub(super) all: Vec<Distance>,
    pub(super) metrics: SecondaryMap<ArenaId, Metric>,
}
