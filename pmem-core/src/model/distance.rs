//! Costs between arenas.

use super::state::State;
use crate::id::{ArenaId, LinkId, Way};
use crate::metric::Metric;
use alloc::vec::Vec;
use core::ops::Add;
use petgraph::algo::dijkstra;
use petgraph::visit::{EdgeRef, Reversed};
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
struct Cost(Metric, u32);

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1.saturating_add(other.1))
    }
}

impl State {
    /// The arenas that can be reached from `from`, whatever mappings let through: nearest first, then fewest
    /// hops, then oldest id. `from` itself comes first, at no cost.
    pub fn distances(&self, from: ArenaId) -> Vec<Distance> {
        let Some(start) = self.topology.node(from) else { return Vec::new() };
        let graph = self.topology.graph();
        let costs = dijkstra(graph, start, None, |edge| Cost(self.topology.metric(*edge.weight()), 1));
        let mut all: Vec<Distance> = costs
            .into_iter()
            .filter_map(|(node, Cost(metric, hops))| {
                Some(Distance { arena: *graph.node_weight(node)?, metric, hops })
            })
            .collect();
        all.sort_unstable_by_key(|d| (d.metric, d.hops, d.arena));
        all
    }

    /// The least cost from one arena to another, whatever mappings let through.
    pub fn distance(&self, from: ArenaId, to: ArenaId) -> Metric {
        self.distances(from).iter().find(|d| d.arena == to).map_or(Metric::UNREACHABLE, |d| d.metric)
    }
}

impl State {
    /// The least cost to `to` from every arena that leads there.
    pub(crate) fn distance_to(&self, to: ArenaId) -> SecondaryMap<ArenaId, Metric> {
        let Some(start) = self.topology.node(to) else { return SecondaryMap::new() };
        let graph = self.topology.graph();
        let metric = |edge| {
            graph.edge_weight(edge).map_or(Metric::UNREACHABLE, |crossing| self.topology.metric(*crossing))
        };
        let costs = dijkstra(Reversed(graph), start, None, |edge| metric(edge.id()));
        costs.into_iter().filter_map(|(node, metric)| Some((*graph.node_weight(node)?, metric))).collect()
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
