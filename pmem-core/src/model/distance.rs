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
    /// The arenas that can be reached from `from`, whatever mappings let through: nearest first, then fewest
    /// hops, then oldest id. `from` itself comes first, at no cost. Worked out once per topology.
    pub fn distances(&self, from: ArenaId) -> &[Distance] {
        self.topology.ahead(from).map_or(&[], |ahead| &ahead.all)
    }

    /// The least cost from one arena to another, whatever mappings let through. Worked out once per topology.
    pub fn distance(&self, from: ArenaId, to: ArenaId) -> Metric {
        let ahead = self.topology.ahead(from);
        ahead.and_then(|ahead| ahead.metrics.get(to).copied()).unwrap_or(Metric::UNREACHABLE)
    }

    /// The open crossings into an arena, lowest interconnect first.
    pub(crate) fn crossings_into(&self, arena: ArenaId) -> Vec<(LinkId, Way)> {
        self.topology.crossings(arena, petgraph::Direction::Incoming)
    }

    /// The open crossings out of an arena, lowest interconnect first.
    pub(crate) fn crossings_out(&self, arena: ArenaId) -> Vec<(LinkId, Way)> {
        self.topology.crossings(arena, petgraph::Direction::Outgoing)
    }
}
