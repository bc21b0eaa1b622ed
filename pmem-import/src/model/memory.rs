//! NUMA nodes, RAM, and other memory.

use super::{Builder, model, same_addresses};
use crate::error::ImportError;
use crate::facts::{Finding, NumaNode, SourceLine, crossing};
use crate::machine::{EAGER, MemoryArena, NodeArenas, UNMEASURED, join_view};
use crate::settle::MemoryKind;
use pmem_core::{AddrRange, ArenaId, ArenaType, Attrs, Direction, Mapping, Metric};
use std::collections::BTreeMap;

/// Ranges of memory, and where sources list them.
type Spans = Vec<(AddrRange, SourceLine)>;

impl Builder<'_> {
    /// Creates the views of NUMA nodes that have CPUs or PCI functions.
    pub(super) fn add_nodes(&mut self) -> Result<(), ImportError> {
        let with_functions: std::collections::BTreeSet<u32> =
            self.settled.functions.iter().filter_map(|f| f.numa).collect();
        for node in &self.settled.numa.all {
            let has_cpus = node.cpus.as_ref().is_some_and(|cpus| !cpus.is_empty());
            let name = format!("node{}", node.id);
            let looks = has_cpus || with_functions.contains(&node.id);
            let view = looks.then(|| self.manager.create_arena(name.clone(), ArenaType::VIEW));
            let view = view.map(|view| model(name.clone(), view)).transpose()?;
            if let Some(view) = view {
                // A node's view asks the system bus for everything that is not at the node. The system bus gets its
                // own connections to what lies behind the node.
                let up = Direction::new(Mapping::Identity, UNMEASURED);
                let link = self.manager.connect_asymmetric(view, self.system, up, Direction::closed());
                let link = model(name, link)?;
                self.link_names.insert(link, format!("node {} to the system bus", node.id));
            }
            self.nodes.insert(node.id, NodeArenas { view, ram: None });
        }
        Ok(())
    }

    /// Primes memory, and connects it to the system bus and to the nodes' views.
    pub(super) fn add_memory(&mut self) -> Result<(), ImportError> {
        // One arena per node and kind, so that no run and no free list ever mixes kinds.
        let mut arenas: BTreeMap<(Option<u32>, MemoryKind), Spans> = BTreeMap::new();
        for piece in &self.settled.ram {
            let inferred = piece.node.and_then(|id| self.settled.kinds.get(&id)).map(|kind| kind.kind);
            // A listing only says RAM; the node's speed may show a faster or slower kind.
            let kind =
                inferred.filter(|kind| piece.kind == MemoryKind::Dram && kind.is_ram()).unwrap_or(piece.kind);
            arenas.entry((piece.node, kind)).or_default().push((piece.range, piece.at.clone()));
        }
        for node in &self.settled.numa.all {
            let has = node.bytes.is_some_and(|bytes| bytes > 0) || !node.memory().is_empty();
            if has && !arenas.keys().any(|(id, kind)| *id == Some(node.id) && kind.is_ram()) {
                let kind = self.settled.kinds.get(&node.id).map_or(MemoryKind::Dram, |kind| kind.kind);
                arenas.entry((Some(node.id), kind)).or_default();
            }
        }
        for ((node, kind), spans) in arenas {
            self.add_memory_of(node, kind, &spans)?;
        }
        self.note_unplaced();
        Ok(())
    }

    fn add_memory_of(
        &mut self,
        node: Option<u32>,
        kind: MemoryKind,
        spans: &[(AddrRange, SourceLine)],
    ) -> Result<(), ImportError> {
        let what = match (node, kind) {
            (Some(_), kind) if kind.is_ram() => "RAM",
            (_, MemoryKind::Dram) => "RAM",
            (_, MemoryKind::Hbm) => "HBM",
            (_, MemoryKind::Cxl) => "CXL memory",
            (_, MemoryKind::Special) => "special purpose memory",
            (_, MemoryKind::Persistent) => "persistent memory",
        };
        let name = node.map_or(what.to_owned(), |id| format!("node{id} {what}"));
        let cxl = if kind == MemoryKind::Cxl { ArenaType::CXL } else { ArenaType::empty() };
        // Usually the name is unique; a node's second kind of RAM adds the kind.
        let taken = self.manager.state().arena_named(&name).is_some();
        let name = if taken { format!("{name} ({})", kind.name()) } else { name };
        let arena = model(&name, self.manager.create_arena(&name, ArenaType::RAM | cxl))?;
        let mut primed = Vec::new();
        for (range, at) in spans {
            let done = self.manager.prime(arena, *range, Attrs::ram());
            if self.attempt(at, &name, done).is_some() {
                self.ours.give(*range, arena, range.start());
                primed.push(*range);
            }
        }
        let memory = MemoryArena { kind, node, spans: primed };
        if let (Some(id), true) = (node, kind.is_ram() || spans.is_empty()) {
            self.nodes.entry(id).or_default().ram.get_or_insert(arena);
        }
        self.join_memory(arena, &memory)?;
        self.memory.insert(arena, memory);
        Ok(())
    }

    /// Connects memory to the system bus, and to the nodes' views if these are few.
    fn join_memory(&mut self, arena: ArenaId, memory: &MemoryArena) -> Result<(), ImportError> {
        let name = self.arena_name(arena);
        let distances = &self.settled.numa.distances;
        let views: Vec<(u32, ArenaId)> =
            self.nodes.iter().filter_map(|(id, n)| Some((*id, n.view?))).collect();
        // Nobody measures distances from the bus as a whole: the farthest node's distance is the bound.
        let farthest =
            memory.node.and_then(|to| views.iter().filter_map(|(from, _)| distances.get(*from, to)).max());
        let metric = farthest.or_else(|| distances.farthest()).map_or(UNMEASURED, Metric::new);
        let down = same_addresses(memory.spans.iter().copied(), metric);
        let link = self.manager.connect_asymmetric(self.system, arena, down, Direction::closed());
        let link = model(&name, link)?;
        self.link_names.insert(link, format!("system to {name}"));
        if !distances.is_empty() {
            self.measured.insert(link);
        }
        if views.len() <= EAGER {
            for (from, view) in views {
                let numa = &self.settled.numa;
                let (link, label) =
                    model(&name, join_view(&mut self.manager, numa, from, view, arena, memory))?;
                self.link_names.insert(link, label);
                if !distances.is_empty() {
                    self.measured.insert(link);
                }
            }
        }
        Ok(())
    }

    /// Reports nodes whose memory has a size but no address.
    fn note_unplaced(&mut self) {
        let unplaced: Vec<&NumaNode> = self
            .settled
            .numa
            .all
            .iter()
            .filter(|node| node.bytes.is_some_and(|bytes| bytes > 0))
            .filter(|node| {
                !self.memory.values().any(|memory| memory.node == Some(node.id) && !memory.spans.is_empty())
            })
            .collect();
        if unplaced.is_empty() {
            return;
        }
        let why = match self.settled.ram_is_listed {
            true => "no source says which part of the RAM is theirs",
            false => "no source gives addresses of RAM",
        };
        let ids: Vec<u32> = unplaced.iter().map(|node| node.id).collect();
        let bytes: u64 = unplaced.iter().fold(0, |sum, node| sum.saturating_add(node.bytes.unwrap_or(0)));
        let nodes = crate::number::show_list(&ids);
        let text = format!("{bytes} bytes of memory, of nodes {nodes}, are at unknown addresses: {why}");
        self.findings.push(Finding::whole("NUMA nodes", text.clone()));
        self.unplaced = Some(text);
    }

    /// Seals memory that is offline, after everything known in it has been claimed.
    pub(super) fn seal_offline(&mut self) -> Result<(), ImportError> {
        for node in &self.settled.numa.all {
            if node.offline.is_empty() {
                continue;
            }
            let of_node: Vec<ArenaId> = self
                .memory
                .iter()
                .filter(|(_, memory)| memory.node == Some(node.id))
                .map(|(arena, _)| *arena)
                .collect();
            for arena in of_node {
                let primed = crate::facts::join(
                    self.memory.get(&arena).map_or(Vec::new(), |memory| memory.spans.clone()),
                );
                for part in crossing(&primed, &node.offline) {
                    model(format!("offline memory of node {}", node.id), self.manager.seal(arena, part))?;
                }
            }
        }
        Ok(())
    }
}
