//! What two viewers do not see alike.

use crate::names;
use crate::sources::Sources;
use crate::units::{Addr, Extent};
use pmem_core::ArenaId;
use pmem_import::Machine;
use schemars::JsonSchema;
use serde::Serialize;

/// What only one of two viewers reaches, and what both reach at different addresses.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Diff {
    /// The one.
    pub left: String,
    /// The other.
    pub right: String,
    /// What they do not see alike.
    pub differences: Vec<Difference>,
    /// Of which of them nobody knows what it sees of memory.
    pub unknown: Vec<String>,
    /// What was read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// Addresses of an arena that two viewers do not see alike.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Difference {
    /// The arena.
    pub arena: String,
    /// Its own addresses.
    #[serde(flatten)]
    pub range: Extent,
    /// What is there.
    pub what: String,
    /// The region there.
    pub region: Option<String>,
    /// Where the one sees them.
    pub left: Option<Addr>,
    /// Where the other sees them.
    pub right: Option<Addr>,
}

impl Diff {
    /// What two arenas do not see alike.
    pub fn of(machine: &Machine, left: ArenaId, right: ArenaId) -> Self {
        let difference = |d: &pmem_core::Difference| Difference {
            arena: machine.arena_name(d.arena),
            range: d.range.into(),
            what: names::place(machine, d.arena, d.region),
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
