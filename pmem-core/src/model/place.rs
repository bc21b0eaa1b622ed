//! Where an address leads, and why it may lead nowhere.

use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::metric::Metric;

/// A hop across one interconnect, at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The arena that the hop leaves.
    pub from: ArenaId,
    /// The address in that arena.
    pub addr: u64,
    /// The interconnect crossed.
    pub link: LinkId,
    /// The direction of the crossing.
    pub way: Way,
    /// The cost of the crossing.
    pub cost: Metric,
}

/// An address, in the arena that accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The arena that decodes the address as its own.
    pub arena: ArenaId,
    /// The address in that arena.
    pub addr: u64,
    /// The region at the address; `None` if the space is primed but free.
    pub region: Option<RegionId>,
    /// The cost of the path there.
    pub cost: Metric,
}

/// Why an address leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadEnd {
    /// Nothing in the arena decodes the address.
    Undecoded,
    /// The address is in the input of this translation table, but no entry covers it.
    NoEntry(LinkId),
    /// The address is in an interleaved range that lacks a share. The interconnect is one whose share is present.
    Incomplete(LinkId),
    /// There is no such arena.
    NoArena,
}
