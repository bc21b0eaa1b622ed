//! What is near: free space, and the route to it.

use super::arena::Arena;
use super::state::State;
use crate::id::{ArenaId, LinkId, Way};
use crate::metric::{Metric, Performance};
use alloc::vec::Vec;
use pmem_space::{AddrRange, ArenaType};

/// The nearest arena that has enough free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// The arena.
    pub arena: ArenaId,
    /// The cost of the cheapest path to it, whatever mappings let through.
    pub metric: Metric,
    /// Its largest run of free space.
    pub free: AddrRange,
}

/// The cheapest route from one arena to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interconnects crossed, in order, starting at the first arena.
    pub hops: Vec<(LinkId, Way)>,
    /// The total cost.
    pub metric: Metric,
    /// The performance of the whole route: latencies add up, the lowest bandwidth counts. A figure is unknown if it
    /// is unknown on any hop.
    pub performance: Performance,
}

impl Arena {
    /// Returns the largest run of free space inside `range`, without bad RAM; `None` if there is none. A run ends where
    /// the default attributes change.
    #[must_use]
    pub fn largest_free(&self, range: AddrRange) -> Option<AddrRange> {
        self.spans_in(range)
            .filter(|(_, span)| span.is_available())
            .filter_map(|(part, _)| self.space().largest_gap(part))
            .max_by_key(|gap| gap.last() - gap.start())
    }
}

impl State {
    /// Returns the arena nearest to `from` that has type `kind` (any, if `kind` is empty) and at least `bytes` free
    /// in one run, without bad RAM; `None` if no arena has.
    #[must_use]
    pub fn nearest_free(&self, from: ArenaId, kind: ArenaType, bytes: u64) -> Option<Nearest> {
        self.distances(from).iter().find_map(|distance| {
            let suits = kind.is_empty() || self.info(distance.arena)?.kind.contains(kind);
            let free = self.arena(distance.arena)?.largest_free(AddrRange::ALL)?;
            let suits = suits && free.len() >= bytes;
            suits.then_some(Nearest { arena: distance.arena, metric: distance.metric, free })
        })
    }

    /// Returns the cheapest route from one arena to another, whatever mappings let through. Of equally cheap routes
    /// it takes one with the fewest hops, then, from its end backward, the interconnects with the lowest ids. `None` if there is
    /// none.
    ///
    /// # Examples
    /// ```
    /// use pmem_core::{ArenaType, Direction, Manager, Mapping, Metric, Performance, Way};
    ///
    /// let mut pmem = Manager::new();
    /// let cpu = pmem.create_arena("CPU", ArenaType::VIEW)?;
    /// let switch = pmem.create_arena("CXL switch", ArenaType::BUS)?;
    /// let ram = pmem.create_arena("CXL memory", ArenaType::RAM | ArenaType::CXL)?;
    /// let up = pmem.connect(cpu, switch, Mapping::Identity, Metric::new(5))?;
    /// let down = pmem.connect(switch, ram, Mapping::Identity, Metric::new(12))?;
    /// for (link, latency) in [(up, 90), (down, 160)] {
    ///     let measured = Performance { read_latency: Some(latency), ..Performance::default() };
    ///     pmem.set_performance(link, Way::ToRight, measured)?;
    /// }
    /// let route = pmem.state().route(cpu, ram).expect("they are joined");
    /// assert_eq!(route.hops, [(up, Way::ToRight), (down, Way::ToRight)]);
    /// assert_eq!((route.metric, route.performance.read_latency), (Metric::new(17), Some(250)));
    /// # Ok::<(), pmem_core::Error>(())
    /// ```
    pub fn route(&self, from: ArenaId, to: ArenaId) -> Option<Route> {
        let reached = |arena| self.distances(from).iter().find(move |distance| distance.arena == arena);
        let whole = reached(to)?;
        let mut hops = Vec::new();
        let mut at = *whole;
        // Walk back from `to`: a crossing is on a cheapest path exactly if cost and hops add up on it.
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
