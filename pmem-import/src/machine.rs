//! A machine as a model, with the names that its sources give to things.

use crate::facts::{
    Aperture, BusId, Distances, Finding, Function, Iommu, Nodes, ResourceKind, SourceLine, SourceSummary,
    Sourced,
};
use crate::names::Names;
use crate::near::{did_you_mean, did_you_mean_function};
use crate::settle::{CxlMemory, MemoryKind, NodeKind, PciTree};
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Direction, Error, FirmwareMemory, LinkId, Manager, Mapping, Metric,
    Performance, Prot, RegionId, State, Window, Windows,
};
use pmem_pci::Address;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

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

/// An arena of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryArena {
    /// Its kind.
    pub kind: MemoryKind,
    /// The node that it is; `None` if no source says.
    pub node: Option<u32>,
    /// Its addresses, in order.
    pub spans: Vec<AddrRange>,
}

/// PCI functions in order of address.
#[derive(Clone, Debug, Default)]
pub struct Inventory(Vec<Function>);

impl Inventory {
    /// Functions, which must be in order.
    pub(crate) fn new(functions: Vec<Function>) -> Self {
        Self(functions)
    }

    /// The function at an address.
    pub fn at(&self, address: Address) -> Option<&Function> {
        self.0.binary_search_by_key(&address, Function::bdf).ok().and_then(|i| self.0.get(i))
    }
}

impl Deref for Inventory {
    type Target = [Function];

    fn deref(&self) -> &[Function] {
        &self.0
    }
}

/// Address spaces of an emulator that see the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSpaces {
    /// Their names, each with that of the region at its root: several may have one name.
    pub names: Vec<(String, String)>,
    /// What they see.
    pub arena: ArenaId,
    /// Where that is said.
    pub at: SourceLine,
    /// They see nothing: a device that may not master its bus.
    pub is_empty: bool,
    /// The emulated IOMMU through which they lead on, whose tables no source shows.
    pub through: Option<String>,
}

/// Which arenas stand for a net's nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Net {
    /// By node: the arena in which its names begin.
    pub entry: BTreeMap<i64, ArenaId>,
    /// By arena: the node it belongs to.
    pub node: BTreeMap<ArenaId, i64>,
}

/// What nobody has measured costs one, per interconnect.
pub(crate) const UNMEASURED: Metric = Metric::new(1);

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
    /// By arena of memory: its kind, and whose it is.
    pub memory: BTreeMap<ArenaId, MemoryArena>,
    /// What the sources say of NUMA nodes.
    pub numa: Nodes,
    /// By node: what kind of memory it has.
    pub kinds: BTreeMap<u32, NodeKind>,
    /// By node of which Linux's tier is not said: the one that follows from its speed.
    pub tiers: BTreeMap<u32, u32>,
    /// By segment and bus.
    pub buses: BTreeMap<BusId, Bus>,
    /// By bridge: the bus below it. Each bus is below one bridge at most, and the way down ends.
    pub bridges: BTreeMap<Address, BusId>,
    /// By bus: the root bus above it, or itself.
    pub root_of: BTreeMap<BusId, BusId>,
    /// PCI functions.
    pub functions: Inventory,
    /// The PCI hierarchy, as the planner takes it.
    pub pci: PciTree,
    /// What sources say of IOMMUs.
    pub iommu: Iommu,
    /// Which CXL device has which addresses.
    pub cxl: CxlMemory,
    /// What firmware's own map says, in order of address; empty if no source has one.
    pub firmware: Vec<Sourced<(AddrRange, FirmwareMemory)>>,
    /// The version of the kernel that the sources are of.
    pub kernel: Option<String>,
    /// What regions are called.
    pub labels: BTreeMap<RegionId, String>,
    /// What interconnects are called.
    pub link_names: BTreeMap<LinkId, String>,
    /// Interconnects whose metric is a distance that firmware gives; others cost one each, for nobody has measured them.
    pub measured: BTreeSet<LinkId>,
    /// By function: its regions, with the resource each is.
    pub bars: BTreeMap<Address, Vec<(ResourceKind, RegionId)>>,
    /// By region: the function that it is of.
    pub holders: BTreeMap<RegionId, Address>,
    /// By region without an address: why it has none.
    pub parked: BTreeMap<RegionId, String>,
    /// Resources that stay without an address, for another's are there: where, whose, and where that is said.
    pub disputed: Vec<Sourced<(AddrRange, Address)>>,
    /// Buses from which nobody knows what their devices reach.
    pub unknown_ways: BTreeSet<ArenaId>,
    /// Address spaces of an emulator.
    pub spaces: Vec<AddressSpaces>,
    /// By bus: where its root bus's apertures are, where addresses on the bus are others.
    pub(crate) offsets: BTreeMap<BusId, Vec<Aperture>>,
    /// What sources call addresses.
    pub names: Names,
    /// Of a decoding net: the arena in which each node's names begin, and the node each arena belongs to.
    pub net: Option<Net>,
    /// The kernel hides addresses from whoever read them.
    pub hidden: bool,
    /// Memory that is at unknown addresses: how much, and why.
    pub unplaced: Option<String>,
    /// What of each source was read.
    pub heard: Vec<SourceSummary>,
    /// What is broken, missing or at odds.
    pub findings: Vec<Finding>,
    /// Nodes whose views were joined to memory since, for there are too many to do so at once.
    pub(crate) joined: BTreeSet<u32>,
}

/// Views of nodes that are joined to all memory at once; where there are more, each is when somebody looks from there.
pub(crate) const EAGER: usize = 64;

impl Machine {
    /// The model's state.
    pub fn state(&self) -> &State {
        self.manager.state()
    }

    /// Distances between NUMA nodes, as measured.
    pub fn distances(&self) -> &Distances {
        &self.numa.distances
    }

    /// The function at an address of the PCI.
    pub fn function(&self, address: Address) -> Option<&Function> {
        self.functions.at(address)
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

    /// Whether an arena is a bus's I/O space, or the ports as CPUs see them.
    pub fn is_io(&self, arena: ArenaId) -> bool {
        self.state().info(arena).is_some_and(|info| info.kind.contains(ArenaType::IO))
    }

    /// Whether any source says where memory is.
    pub fn knows_memory(&self) -> bool {
        self.net.is_some()
            || !self.names.memory().lines.is_empty()
            || self.memory.values().any(|memory| !memory.spans.is_empty())
    }

    /// Where CPUs see an arena's own address; `None` if they do not, or it is not known.
    pub fn seen_by_cpus(&self, arena: ArenaId, addr: u64) -> Option<u64> {
        if arena == self.system || self.memory.contains_key(&arena) || Some(arena) == self.system_io {
            return Some(addr);
        }
        // What of an emulator's address space is its own, CPUs do not see.
        if self.spaces.iter().any(|spaces| spaces.arena == arena) {
            return None;
        }
        let bus = self.buses.iter().find(|(_, bus)| bus.memory == arena || bus.io == arena);
        let Some((id, bus)) = bus else { return Some(addr) };
        let Some(apertures) = self.offsets.get(id) else { return Some(addr) };
        let io = bus.io == arena;
        let of =
            apertures.iter().filter(|a| a.io == io).find(|a| addr.wrapping_sub(a.bus_start) < a.range.len());
        of.map(|a| addr.wrapping_sub(a.bus_start).wrapping_add(a.range.start()))
            .or((io || apertures.is_empty()).then_some(addr))
    }

    /// The arena that a word means: a net's node, a NUMA node (`node0`), a PCI function (what a device there sees), a bus
    /// (`pci 0000:3b`), an emulator's address space (`e1000`), or an arena's name. `cpu` and `system` are the system bus.
    ///
    /// # Errors
    /// What is wrong with the word, and what there is.
    pub fn viewer(&mut self, word: &str) -> Result<ArenaId, String> {
        if let Some(net) = &self.net
            && let Ok(node) = word.parse()
        {
            return net.entry.get(&node).copied().ok_or_else(|| format!("no node {node} in the net"));
        }
        if self.net.is_none() && (word == "cpu" || word == "system") {
            return Ok(self.system);
        }
        if let Some(id) = word.strip_prefix("node").and_then(|n| n.parse::<u32>().ok())
            && let Some(node) = self.nodes.get(&id).copied()
        {
            let Some(view) = node.view else {
                return Err(format!("node{id} has no CPUs and no devices: nothing looks from there"));
            };
            self.join(id)?;
            return Ok(view);
        }
        if let Ok(address) = word.parse::<Address>() {
            if let Some(seen) = self.translated(address)? {
                return Ok(seen);
            }
            let known = self.function(address).ok_or_else(|| self.no_function(address))?;
            let node = known.numa;
            let physical = known.physical.unwrap_or(address);
            let below = known.parent.and_then(|parent| self.bridges.get(&parent)).copied();
            let id = below.unwrap_or((physical.segment, physical.bus));
            let bus = self.buses.get(&id).copied();
            let bus = bus.ok_or_else(|| format!("nothing is known of the bus of {address}"))?;
            if let Some(node) = node {
                self.join(node)?;
            }
            return Ok(bus.memory);
        }
        if let Some(arena) = self.state().arena_named(word) {
            return Ok(arena);
        }
        if let Some(arena) = self.space(word)? {
            return Ok(arena);
        }
        let names: Vec<&str> = self.state().arenas().map(|(_, info, _)| info.name.as_str()).collect();
        let nodes: Vec<String> = self.nodes.keys().map(|node| format!("node{node}")).collect();
        let spaces = self.spaces.iter().flat_map(|spaces| spaces.names.iter().map(|(name, _)| name.as_str()));
        let all = names.iter().copied().chain(nodes.iter().map(String::as_str)).chain(spaces);
        let near = did_you_mean(word, all);
        let shown = names.iter().take(12).copied().collect::<Vec<_>>().join(", ");
        let more = if names.len() > 12 { ", …" } else { "" };
        Err(format!("no arena, node or device {word:?}{near} (arenas are {shown}{more})"))
    }

    /// What is said of a function that is not there.
    pub fn no_function(&self, address: Address) -> String {
        let known = self.functions.iter().filter_map(|function| function.address);
        format!("no PCI function {address}{}", did_you_mean_function(address, known))
    }

    /// What an emulator's address space of that name sees; the name of the region at its root will do.
    fn space(&self, word: &str) -> Result<Option<ArenaId>, String> {
        let of = |is_it: &dyn Fn(&(String, String)) -> bool| -> BTreeSet<ArenaId> {
            let own = self.spaces.iter().filter(|spaces| spaces.names.iter().any(is_it));
            own.map(|spaces| spaces.arena).collect()
        };
        let mut found = of(&|(name, _)| name == word);
        if found.is_empty() {
            found = of(&|(_, root)| root == word);
        }
        match found.len() {
            0 | 1 => Ok(found.first().copied()),
            _ => {
                let names: Vec<String> = found.iter().map(|arena| self.arena_name(*arena)).collect();
                Err(format!("{word:?} is the name of several address spaces: {}", names.join("; ")))
            }
        }
    }

    /// What a function sees through its table, where a source has that: an arena whose windows are the table's pages. It is made when somebody
    /// looks from there.
    fn translated(&mut self, address: Address) -> Result<Option<ArenaId>, String> {
        let Some(pages) = self.iommu.tables.get(&address) else { return Ok(None) };
        let name = format!("{address} through the IOMMU");
        if let Some(seen) = self.state().arena_named(&name) {
            return Ok(Some(seen));
        }
        let wrong = |error: &dyn std::fmt::Display| format!("the table of {address}: {error}");
        let mut windows = Vec::new();
        for page in pages {
            let mut prot = Prot::empty();
            prot.set(Prot::READ, page.read);
            prot.set(Prot::WRITE, page.write);
            let window = Window::fixed(page.range, page.to).map_err(|error| wrong(&error))?;
            windows.push(window.prot(prot));
        }
        let mapping = match windows.is_empty() {
            true => Mapping::Closed,
            false => Mapping::Windows(Windows::new(windows).map_err(|error| wrong(&error))?),
        };
        let system = self.system;
        let made = self.manager.transaction(|plan| {
            let seen = plan.create_arena(name, ArenaType::VIEW)?;
            let inward = Direction::new(mapping, Metric::new(1));
            let link = plan.connect_asymmetric(seen, system, inward, Direction::closed())?;
            Ok((seen, link))
        });
        let (seen, link) = made.map_err(|error| wrong(&error))?;
        self.link_names.insert(link, format!("IOMMU, the table of {address}"));
        Ok(Some(seen))
    }

    /// Joins a node's view to all memory, where that was not done at once.
    fn join(&mut self, node: u32) -> Result<(), String> {
        let views = self.nodes.values().filter(|node| node.view.is_some()).count();
        let Some(view) = self.nodes.get(&node).and_then(|node| node.view) else { return Ok(()) };
        if views <= EAGER || !self.joined.insert(node) {
            return Ok(());
        }
        for (arena, memory) in &self.memory {
            let joined = join_view(&mut self.manager, &self.numa, node, view, *arena, memory);
            let (link, label) = joined.map_err(|error| error.to_string())?;
            self.link_names.insert(link, label);
            if !self.numa.distances.is_empty() {
                self.measured.insert(link);
            }
        }
        Ok(())
    }
}

/// Joins a node's view to an arena of memory at the distance that firmware gives. Where it gives none for this pair, but for others, none
/// of them is farther.
pub(crate) fn join_view(
    manager: &mut Manager,
    numa: &Nodes,
    from: u32,
    view: ArenaId,
    arena: ArenaId,
    memory: &MemoryArena,
) -> Result<(LinkId, String), Error> {
    let distance =
        memory.node.and_then(|to| numa.distances.get(from, to)).or_else(|| numa.distances.farthest());
    let metric = distance.map_or(UNMEASURED, Metric::new);
    let mapping = Mapping::windows(memory.spans.iter().map(|range| (*range, range.start())));
    let performance = memory.node.map_or(Performance::default(), |to| measured(numa, from, to));
    let down = Direction { performance, ..Direction::new(mapping.unwrap_or_default(), metric) };
    let link = manager.connect_asymmetric(view, arena, down, Direction::closed())?;
    let name = |id| manager.state().info(id).map_or(String::new(), |info| info.name.clone());
    Ok((link, format!("{} to {}", name(view), name(arena))))
}

/// How well a node's memory is reached from another, where that was measured.
fn measured(numa: &Nodes, from: u32, to: u32) -> Performance {
    let access = numa.get(to).map(|node| &node.access);
    let found = access.and_then(|classes| classes.iter().flatten().find(|a| a.initiators.contains(&from)));
    found.map_or(Performance::default(), |a| a.performance)
}
