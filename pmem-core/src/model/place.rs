//! Where an address leads, or gets stuck.

use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::metric::Metric;

/// One interconnect crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The arena left.
    pub from: ArenaId,
    /// The address there.
    pub addr: u64,
    /// The interconnect.
    pub link: LinkId,
    /// The direction.
    pub way: Way,
    /// Its cost.
    pub cost: Metric,
}

/// An address of an arena that accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The arena whose own address it is.
    pub arena: ArenaId,
    /// The address there.
    pub addr: u64,
    /// The region there; `None` for primed space that is free.
    pub region: Option<RegionId>,
    /// What it cost to get there.
    pub cost: Metric,
}

/// Why an address leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadEnd {
    /// Nothing in the arena decodes it.
    Undecoded,
    /// It is a table's input, and no entry covers it.
    NoEntry(LinkId),
    /// It is in an interleaved range of which a share is missing; the interconnect has one that is there.
    Incomplete(LinkId),
    /// There is no such arena.
    NoArena,
}
