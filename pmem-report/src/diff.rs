//! Compares the address maps of two viewers.

use crate::names;
use crate::sources::Sources;
use crate::units::{Addr, Extent};
use pmem_core::ArenaId;
use pmem_import::Machine;
use serde::Serialize;

/// The differences between two viewers' address maps: what only one of them reaches, and what both reach at different
/// addresses.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Diff {
    /// The name of the first viewer's arena.
    pub left: String,
    /// The name of the second viewer's arena.
    pub right: String,
    /// The ranges that the two viewers see differently.
    pub differences: Vec<Difference>,
    /// Those of the two viewers whose view of memory no source describes. For these the comparison proves nothing.
    pub unknown: Vec<String>,
    /// The sources that were read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// A range of an arena that two viewers see differently.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Difference {
    /// The arena that the range belongs to.
    pub arena: String,
    /// The range, in the arena's own addresses.
    #[serde(flatten)]
    pub range: Extent,
    /// What occupies the range, in words.
    pub what: String,
    /// The region that occupies the range; null if the space is free.
    pub region: Option<String>,
    /// The address at which the first viewer sees the start of the range; null if it does not see it.
    pub left: Option<Addr>,
    /// The address at which the second viewer sees the start of the range; null if it does not see it.
    pub right: Option<Addr>,
}

impl Diff {
    /// Compares what two arenas see.
    pub fn of(machine: &Machine, left: ArenaId, right: ArenaId) -> Self {
        let difference = |d: &pmem_core::Difference| Difference {
            arena: machine.arena_name(d.arena),
            range: d.range.into(),
            what: names::place(machine, (d.arena, d.range.start()), d.region),
            region: d.region.map(|region| machine.region_name(region)),
            left: d.left.map(Addr),
            right: d.right.map(Addr),
        };
        let unknown = [left, right].into_iter().filter(|arena| machine.unknown_ways.contains(arena));
        Self {
            left: machine.arena_name(left),
            right: machine.arena_name(right),
            differences: machine.state().diff(left, right).iter().map(difference).collect(),
            unknown: unknown.map(|arena| machine.arena_name(arena)).collect(),
            sources: Sources::of(machine),
        }
    }
}
