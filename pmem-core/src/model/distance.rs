//! Costs between arenas.

use super::frozen::{Ahead, Around, Cost, Distance};
use super::state::State;
use super::topology::Topology;
use crate::id::{ArenaId, LinkId, Way};
use crate::metric::Metric;
use alloc::boxed::Box;
use alloc::vec::Vec;
use petgraph::algo::dijkstra;

impl Topology {
    fn around(&self, arena: ArenaId) -> Option<&Around> {
        let blank = || Box::new(self.arenas().map(|(id, _)| (id, Around::default())).collect());
        self.frozen.by_arena.get_or_init(blank).get(arena)
    }

    fn ahead(&self, from: ArenaId) -> Option<&Ahead> {
        let (around, start) = (self.around(from)?, self.node(from)?);
        Some(around.ahead.get_or_init(|| {
            let graph = self.graph();
            let costs = dijkstra(graph, start, None, |edge| Cost(self.metric(*edge.weight()), 1));
            let distance = |(node, Cost(metric, hops))| {
                Some(Distance { arena: *graph.node_weight(node)?, metric, hops })
            };
            let mut all: Vec<Distance> = costs.into_iter().filter_map(distance).collect();
            all.sort_unstable_by_key(|d| (d.metric, d.hops, d.arena));
            let metrics = all.iter().map(|d| (d.arena, d.metric)).collect();
            Box::new(Ahead { all, metrics })
        }))
    }
}

impl State {
    /// Returns the arenas reachable from `from` by open directions, whatever their mappings let through: nearest
    /// first, then fewest hops, then lowest id. `from` itself comes first, at cost 0. Empty if there is no such
    /// arena. Computed once per topology.
    ///
    /// # Examples
    /// Two sockets, each with its own memory. Allocate from the nearest:
    /// ```
    /// use pmem_core::{ArenaType, Manager, Mapping, Metric};
    ///
    /// let mut pmem = Manager::new();
    /// let cpu0 = pmem.create_arena("CPU 0", ArenaType::VIEW)?;
    /// let cpu1 = pmem.create_arena("CPU 1", ArenaType::VIEW)?;
    /// let ram0 = pmem.create_arena("RAM 0", ArenaType::RAM)?;
    /// let ram1 = pmem.create_arena("RAM 1", ArenaType::RAM)?;
    /// pmem.connect(cpu0, ram0, Mapping::Identity, Metric::new(10))?;
    /// pmem.connect(cpu1, ram1, Mapping::Identity, Metric::new(10))?;
    /// pmem.connect(cpu0, cpu1, Mapping::Identity, Metric::new(11))?;
    ///
    /// let order: Vec<_> = pmem.state().distances(cpu0).iter().map(|d| (d.arena, d.metric.get())).collect();
    /// assert_eq!(order, [(cpu0, 0), (ram0, 10), (cpu1, 11), (ram1, 21)]);
    /// assert_eq!(pmem.state().distance(cpu1, ram0), Metric::new(21));
    /// # Ok::<(), pmem_core::Error>(())
    /// ```
    #[must_use]
    pub fn distances(&self, from: ArenaId) -> &[Distance] {
        self.topology.ahead(from).map_or(&[], |ahead| &ahead.all)
    }

    /// Returns the cost of the cheapest path from one arena to another, whatever mappings let through;
    /// [`Metric::UNREACHABLE`] if there is none. Computed once per topology.
    #[must_use]
    pub fn distance(&self, from: ArenaId, to: ArenaId) -> Metric {
        let ahead = self.topology.ahead(from);
        ahead.and_then(|ahead| ahead.metrics.get(to).copied()).unwrap_or(Metric::UNREACHABLE)
    }

    /// Returns the open crossings into an arena, lowest interconnect first.
    pub(crate) fn crossings_into(&self, arena: ArenaId) -> Vec<(LinkId, Way)> {
        self.topology.crossings(arena, petgraph::Direction::Incoming)
    }

    /// Returns the open crossings out of an arena, lowest interconnect first.
    pub(crate) fn crossings_out(&self, arena: ArenaId) -> Vec<(LinkId, Way)> {
        self.topology.crossings(arena, petgraph::Direction::Outgoing)
    }
}
