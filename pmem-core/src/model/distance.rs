//! Costs between arenas.

use super::frozen::{Ahead, Around, Cost, Distance};
use super::state::State;
use super::topology::Topology;
use crate::id::{ArenaId, LinkId, Way};
use crate::metric::Metric;
use alloc::boxed::Box;
use alloc::vec::Vec;
use petgraph::algo::dijkstra;
use petgraph::visit::{EdgeRef, Reversed};
use slotmap::SecondaryMap;

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

    fn behind(&self, to: ArenaId) -> Option<&SecondaryMap<ArenaId, Metric>> {
        let (around, start) = (self.around(to)?, self.node(to)?);
        Some(around.behind.get_or_init(|| {
            let graph = self.graph();
            let metric =
                |edge| graph.edge_weight(edge).map_or(Metric::UNREACHABLE, |crossing| self.metric(*crossing));
            let costs = dijkstra(Reversed(graph), start, None, |edge| metric(edge.id()));
            let costs = costs.into_iter();
            Box::new(costs.filter_map(|(node, metric)| Some((*graph.node_weight(node)?, metric))).collect())
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

    /// The least cost to `to` from another arena.
    pub(crate) fn distance_back(&self, to: ArenaId, from: ArenaId) -> Metric {
        let behind = self.topology.behind(to);
        behind.and_then(|behind| behind.get(from).copied()).unwrap_or(Metric::UNREACHABLE)
    }

    /// The open crossings out of an arena: interconnect, direction, cost, and the arena beyond.
    pub(crate) fn neighbours(
        &self,
        from: ArenaId,
    ) -> impl Iterator<Item = (LinkId, Way, Metric, ArenaId)> + '_ {
        self.topology.crossings(from).into_iter().filter_map(|(link, way)| {
            Some((link, way, self.topology.metric((link, way)), self.topology.link(link)?.far(way)))
        })
    }
}
