//! A machine as a model, with the names that its sources give to things.

use crate::build::build;
use crate::error::{ImportError, Warning};
use crate::net::Net;
use crate::node::{Distances, Nodes};
use crate::pci::{Bdf, Function, read_functions};
use crate::resource::Resources;
use crate::root::Root;
use pmem_core::{ArenaId, LinkId, Manager, RegionId, State};
use std::collections::BTreeMap;

/// The arenas of one PCI bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bus {
    /// Its memory space.
    pub memory: ArenaId,
    /// Its I/O space.
    pub io: ArenaId,
}

/// The arenas of one NUMA node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeArenas {
    /// What its CPUs, and the devices attached to it, see.
    pub view: Option<ArenaId>,
    /// Its memory.
    pub ram: Option<ArenaId>,
}

/// A machine: the model, what its sources call things, and what is wrong with them.
pub struct Machine {
    /// The model.
    pub manager: Manager,
    /// The view from which addresses are meant unless told otherwise: the system bus.
    pub system: ArenaId,
    /// The I/O ports as CPUs see them.
    pub system_io: Option<ArenaId>,
    /// By NUMA node.
    pub nodes: BTreeMap<u32, NodeArenas>,
    /// What the sources say of NUMA nodes.
    pub numa: Nodes,
    /// By domain and bus.
    pub buses: BTreeMap<(u32, u8), Bus>,
    /// By bridge: the bus below it. Each bus is below one bridge at most, and the way down ends.
    pub bridges: BTreeMap<Bdf, (u32, u8)>,
    /// PCI functions, in order.
    pub functions: Vec<Function>,
    /// What regions are called.
    pub labels: BTreeMap<RegionId, String>,
    /// What interconnects are called.
    pub link_names: BTreeMap<LinkId, String>,
    /// By function: its regions, with the resource each is.
    pub bars: BTreeMap<Bdf, Vec<(crate::pci::ResourceKind, RegionId)>>,
    /// Of a decoding net: the arena in which each node's names begin, and the node each arena belongs to.
    pub net: Option<Net>,
    /// What is broken, missing or at odds.
    pub warnings: Vec<Warning>,
}

impl Machine {
    /// Reads a machine's files, and builds the model of what they say.
    ///
    /// # Errors
    /// [`ImportError`] when there is nothing to build on; everything less is a warning.
    pub fn read(root: &Root) -> Result<Self, ImportError> {
        let mut warnings = Vec::new();
        if !root.has("proc") && !root.has("sys") {
            warnings.push(Warning::new(
                root.dir().display().to_string(),
                "holds neither proc nor sys: nothing to read",
            ));
        }
        let iomem = read_resources(root, "iomem", &mut warnings);
        let ioports = read_resources(root, "ioports", &mut warnings);
        let numa = Nodes::read(root, &mut warnings);
        let (functions, roots) = read_functions(root, &mut warnings);
        build(iomem, ioports, numa, functions, &roots, warnings)
    }

    /// The model's state.
    pub fn state(&self) -> &State {
        self.manager.state()
    }

    /// Distances between NUMA nodes, as measured.
    pub fn distances(&self) -> &Distances {
        &self.numa.distances
    }

    /// The function at an address of the PCI.
    pub fn function(&self, bdf: Bdf) -> Option<&Function> {
        self.functions.iter().find(|function| function.bdf == bdf)
    }

    /// What a region is called: its label, else its id.
    pub fn region_name(&self, region: RegionId) -> String {
        self.labels.get(&region).cloned().unwrap_or_else(|| region.to_string())
    }

    /// What an arena is called.
    pub fn arena_name(&self, arena: ArenaId) -> String {
        self.state().info(arena).map_or_else(|| arena.to_string(), |info| info.name.clone())
    }

    /// What an interconnect is called: its label, else what it joins.
    pub fn link_name(&self, link: LinkId) -> String {
        let joined = || {
            let ends = self.state().link(link).map(|l| (self.arena_name(l.left), self.arena_name(l.right)));
            ends.map_or_else(|| link.to_string(), |(left, right)| format!("{left} - {right}"))
        };
        self.link_names.get(&link).cloned().unwrap_or_else(joined)
    }

    /// The arena that a word means: a net's node, a NUMA node (`node0`), a PCI function (what a device there sees), a bus
    /// (`pci 0000:3b`), or an arena's name. `cpu` and `system` are the system bus.
    ///
    /// # Errors
    /// What is wrong with the word, and what there is.
    pub fn viewer(&self, word: &str) -> Result<ArenaId, String> {
        if let Some(net) = &self.net
            && let Ok(node) = word.parse()
        {
            return net.entry.get(&node).copied().ok_or_else(|| format!("no node {node} in the net"));
        }
        if self.net.is_none() && (word == "cpu" || word == "system") {
            return Ok(self.system);
        }
        if let Some(id) = word.strip_prefix("node").and_then(|n| n.parse::<u32>().ok())
            && let Some(node) = self.nodes.get(&id)
        {
            return node.view.or(node.ram).ok_or_else(|| format!("nothing is known of node {id}"));
        }
        if let Ok(bdf) = word.parse::<Bdf>() {
            let known = self.function(bdf).ok_or_else(|| format!("no PCI function {bdf}"))?;
            let bus = self.buses.get(&(known.bdf.domain, known.bdf.bus));
            return bus.map(|bus| bus.memory).ok_or_else(|| format!("nothing is known of the bus of {bdf}"));
        }
        if let Some(arena) = self.state().arena_named(word) {
            return Ok(arena);
        }
        let names: Vec<&str> =
            self.state().arenas().map(|(_, info, _)| info.name.as_str()).take(12).collect();
        Err(format!("no arena, node or device {word:?}; arenas are {}, …", names.join(", ")))
    }
}

fn read_resources(root: &Root, file: &str, warnings: &mut Vec<Warning>) -> Option<Resources> {
    let path = format!("proc/{file}");
    // Captures of other tools leave the file where they found it, or at the top.
    let text = root.text(&path, warnings).or_else(|| root.text(file, warnings))?;
    let resources = Resources::parse(&text, &path, warnings);
    if resources.hidden {
        warnings.push(Warning::new(&path, "addresses are hidden (all zeros): run as root to see them"));
    }
    Some(resources)
}
