//! Questions about what is near: free space, and the way there.

use super::arena::{Arena, SpanState};
use super::state::State;
use crate::id::{ArenaId, LinkId, Way};
use crate::metric::{Metric, Performance};
use alloc::vec::Vec;
use pmem_space::{AddrRange, ArenaType};

/// An arena with space to give, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// The arena.
    pub arena: ArenaId,
    /// The least cost of a path to it, whatever mappings let through.
    pub metric: Metric,
    /// Its largest free run of open space.
    pub free: AddrRange,
}

/// The cheapest way from one arena to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interconnects crossed, from the first arena on.
    pub hops: Vec<(LinkId, Way)>,
    /// What they cost together.
    pub metric: Metric,
    /// What they make together: latency adds up, bandwidth is the least; unknown where one of them is.
    pub performance: Performance,
}

impl Arena {
    /// The largest free run of open space inside `range`; no run goes on from one set of defaults to another.
    pub fn largest_free(&self, range: AddrRange) -> Option<AddrRange> {
        self.spans_in(range)
            .filter(|(_, span)| span.state == SpanState::Open)
            .filter_map(|(part, _)| self.space().largest_gap(part))
            .max_by_key(|gap| gap.last() - gap.start())
    }
}

impl State {
    /// The arena of this type, of any if it is empty, with so many bytes free in one run that is nearest to `from`.
    pub fn nearest_free(&self, from: ArenaId, kind: ArenaType, bytes: u64) -> Option<Nearest> {
        self.distances(from).iter().find_map(|distance| {
            let suits = kind.is_empty() || self.info(distance.arena)?.kind.contains(kind);
            let free = self.arena(distance.arena)?.largest_free(AddrRange::ALL)?;
            let suits = suits && free.len() >= bytes;
            suits.then_some(Nearest { arena: distance.arena, metric: distance.metric, free })
        })
    }

    /// The cheapest way from one arena to another, whatever mappings let through: of equal ones that with the fewest hops, then the
    /// oldest interconnects at its end. `None` if there is none.
    pub fn route(&self, from: ArenaId, to: ArenaId) -> Option<Route> {
        let reached = |arena| self.distances(from).iter().find(move |distance| distance.arena == arena);
        let whole = reached(to)?;
        let mut hops = Vec::new();
        let mut at = *whole;
        while at.arena != from {
            let (crossing, before) = self.crossings_into(at.arena).into_iter().find_map(|(link, way)| {
                let joined = self.link(link)?;
                let before = reached(joined.near(way))?;
                let leads =
                    before.metric + joined.direction(way).metric == at.metric && before.hops + 1 == at.hops;
                leads.then_some(((link, way), *before))
            })?;
            hops.push(crossing);
            at = before;
        }
        hops.reverse();
        let measured =
            hops.iter().filter_map(|(link, way)| Some(self.link(*link)?.direction(*way).performance));
        let performance = measured.reduce(Performance::then).unwrap_or_default();
        Some(Route { hops, metric: whole.metric, performance })
    }
}
