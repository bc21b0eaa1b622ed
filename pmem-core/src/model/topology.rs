//! Arenas and interconnects as a graph. Changes only when one of them is created, removed or altered.

use super::frozen::Frozen;
use crate::id::{ArenaId, LinkId, Way};
use crate::mapping::Mapping;
use crate::metric::{Metric, Performance};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use petgraph::stable_graph::{EdgeIndex, NodeIndex, StableDiGraph};
use pmem_space::ArenaType;
use slotmap::SecondaryMap;

/// An arena's name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArenaInfo {
    /// The name that the user gave it: any text, not necessarily unique.
    pub name: String,
    /// What kind of addresses it has.
    pub kind: ArenaType,
}

/// One direction of an interconnect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// How addresses are translated.
    pub mapping: Mapping,
    /// The cost of crossing in this direction.
    pub metric: Metric,
    /// The measured latency and bandwidth, where known.
    pub performance: Performance,
}

impl Direction {
    /// Returns a direction that lets nothing through.
    #[must_use]
    pub fn closed() -> Self {
        Self { mapping: Mapping::Closed, metric: Metric::UNREACHABLE, performance: Performance::default() }
    }

    /// Returns a direction whose performance is unknown.
    #[must_use]
    pub fn new(mapping: Mapping, metric: Metric) -> Self {
        Self { mapping, metric, performance: Performance::default() }
    }
}

/// An interconnect. It joins exactly two arenas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The arena at one end.
    pub left: ArenaId,
    /// The arena at the other end.
    pub right: ArenaId,
    /// The direction from left to right.
    pub to_right: Direction,
    /// The direction from right to left.
    pub to_left: Direction,
    /// The name that the user gave it; empty for none.
    pub name: String,
}

impl Link {
    /// Returns one direction.
    #[must_use]
    pub const fn direction(&self, way: Way) -> &Direction {
        match way {
            Way::ToRight => &self.to_right,
            Way::ToLeft => &self.to_left,
        }
    }

    pub(crate) const fn direction_mut(&mut self, way: Way) -> &mut Direction {
        match way {
            Way::ToRight => &mut self.to_right,
            Way::ToLeft => &mut self.to_left,
        }
    }

    /// Returns the arena that a direction starts from.
    #[must_use]
    pub const fn near(&self, way: Way) -> ArenaId {
        match way {
            Way::ToRight => self.left,
            Way::ToLeft => self.right,
        }
    }

    /// Returns the arena that a direction leads to.
    #[must_use]
    pub const fn far(&self, way: Way) -> ArenaId {
        self.near(way.back())
    }
}

#[derive(Clone, Debug)]
struct Node {
    info: ArenaInfo,
    index: NodeIndex,
}

#[derive(Clone, Debug)]
struct Edge {
    link: Arc<Link>,
    /// The graph's edges to the right and to the left; `None` for a closed direction.
    edges: [Option<EdgeIndex>; 2],
}

/// One direction of one interconnect.
pub(crate) type Crossing = (LinkId, Way);

/// The graph: one node per arena, one edge per open direction of an interconnect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    arenas: SecondaryMap<ArenaId, Node>,
    links: SecondaryMap<LinkId, Edge>,
    graph: StableDiGraph<ArenaId, Crossing>,
    /// Results computed from the graph. Clones share them until the graph changes.
    pub(super) frozen: Arc<Frozen>,
}

impl Topology {
    pub(crate) fn info(&self, arena: ArenaId) -> Option<&ArenaInfo> {
        self.arenas.get(arena).map(|node| &node.info)
    }

    pub(crate) fn link(&self, link: LinkId) -> Option<&Arc<Link>> {
        self.links.get(link).map(|edge| &edge.link)
    }

    pub(crate) fn arenas(&self) -> impl Iterator<Item = (ArenaId, &ArenaInfo)> {
        self.arenas.iter().map(|(id, node)| (id, &node.info))
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(id, edge)| (id, &*edge.link))
    }

    /// Returns the open crossings out of `arena` or into it, lowest interconnect first.
    pub(crate) fn crossings(&self, arena: ArenaId, side: petgraph::Direction) -> Vec<Crossing> {
        let Some(node) = self.arenas.get(arena) else { return Vec::new() };
        let mut out: Vec<_> =
            self.graph.edges_directed(node.index, side).map(|edge| *edge.weight()).collect();
        out.sort_unstable();
        out
    }

    pub(crate) fn metric(&self, (link, way): Crossing) -> Metric {
        self.links.get(link).map_or(Metric::UNREACHABLE, |edge| edge.link.direction(way).metric)
    }

    pub(crate) fn graph(&self) -> &StableDiGraph<ArenaId, Crossing> {
        &self.graph
    }

    pub(crate) fn node(&self, arena: ArenaId) -> Option<NodeIndex> {
        self.arenas.get(arena).map(|node| node.index)
    }

    pub(crate) fn set_arena(&mut self, arena: ArenaId, new: Option<ArenaInfo>) {
        match (new, self.arenas.get_mut(arena)) {
            (Some(info), Some(node)) => node.info = info,
            (Some(info), None) => {
                self.frozen = Arc::default();
                let index = self.graph.add_node(arena);
                self.arenas.insert(arena, Node { info, index });
            }
            (None, _) => {
                self.frozen = Arc::default();
                if let Some(node) = self.arenas.remove(arena) {
                    self.graph.remove_node(node.index);
                }
            }
        }
    }

    pub(crate) fn set_link(&mut self, link: LinkId, new: Option<Arc<Link>>) {
        let crossed = |link: &Link| {
            [&link.to_right, &link.to_left].map(|d| (!d.mapping.is_closed()).then_some(d.metric))
        };
        // Renaming, remapping or new measurements leave the graph as it is: keep what was computed from it.
        if let (Some(edge), Some(new)) = (self.links.get_mut(link), &new)
            && crossed(&edge.link) == crossed(new)
        {
            edge.link = Arc::clone(new);
            return;
        }
        self.frozen = Arc::default();
        if let Some(gone) = self.links.remove(link) {
            gone.edges.into_iter().flatten().for_each(|edge| {
                self.graph.remove_edge(edge);
            });
        }
        if let Some(new) = new {
            let edges = [Way::ToRight, Way::ToLeft].map(|way| {
                let direction = new.direction(way);
                if direction.mapping.is_closed() || !direction.metric.is_reachable() {
                    return None;
                }
                let (near, far) = (self.node(new.near(way))?, self.node(new.far(way))?);
                Some(self.graph.add_edge(near, far, (link, way)))
            });
            self.links.insert(link, Edge { link: new, edges });
        }
    }
}
