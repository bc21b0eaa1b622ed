//! A machine: the model, and the names that its sources use.

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
    /// Its memory space, in bus addresses.
    pub memory: ArenaId,
    /// Its I/O space, in bus addresses.
    pub io: ArenaId,
}

/// The arenas of one NUMA node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeArenas {
    /// What the node's CPUs and devices see; `None` if it has neither.
    pub view: Option<ArenaId>,
    /// Its memory; `None` if it has none.
    pub ram: Option<ArenaId>,
}

/// An arena of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryArena {
    /// The kind of memory.
    pub kind: MemoryKind,
    /// The NUMA node that the memory belongs to; `None` if no source says.
    pub node: Option<u32>,
    /// Its addresses, in order.
    pub spans: Vec<AddrRange>,
}

/// PCI functions in order of address. Dereferences to a slice.
#[derive(Clone, Debug, Default)]
pub struct Inventory(Vec<Function>);

impl Inventory {
    /// Wraps functions, which must be sorted by address.
    pub(crate) fn new(functions: Vec<Function>) -> Self {
        Self(functions)
    }

    /// Returns the function at an address.
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

/// Address spaces of an emulator that share one view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSpaces {
    /// Name of each address space, and name of the region at its root. Several may have the same name.
    pub names: Vec<(String, String)>,
    /// The arena that stands for the view.
    pub arena: ArenaId,
    /// Where the source describes it.
    pub at: SourceLine,
    /// The view is empty: the device may not master its bus.
    pub is_empty: bool,
    /// The emulated IOMMU that accesses pass through; no source shows its tables.
    pub through: Option<String>,
}

/// Which arenas stand for the nodes of a decoding net.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Net {
    /// By node: the arena that resolution from the node starts in.
    pub entry: BTreeMap<i64, ArenaId>,
    /// By arena: the node that it belongs to.
    pub node: BTreeMap<ArenaId, i64>,
}

/// The metric of an interconnect that was not measured: one hop.
pub(crate) const UNMEASURED: Metric = Metric::new(1);

/// A machine: the model, the names that its sources use, and what is wrong with the sources.
///
/// Start with [`Machine::open`] or [`Machine::read`].
pub struct Machine {
    /// The model.
    pub manager: Manager,
    /// The arena that addresses refer to by default: the system bus.
    pub system: ArenaId,
    /// The I/O ports as CPUs see them; `None` if no source mentions ports.
    pub system_io: Option<ArenaId>,
    /// Arenas by NUMA node.
    pub nodes: BTreeMap<u32, NodeArenas>,
    /// Kind, node and addresses of each arena of memory.
    pub memory: BTreeMap<ArenaId, MemoryArena>,
    /// What the sources say about NUMA nodes.
    pub numa: Nodes,
    /// The kind of memory that each node has.
    pub kinds: BTreeMap<u32, NodeKind>,
    /// By node: the memory tier that Linux would choose from its speed. Empty if a source gives tiers.
    pub tiers: BTreeMap<u32, u32>,
    /// Arenas by bus, that is, by segment and bus number.
    pub buses: BTreeMap<BusId, Bus>,
    /// By bridge: the bus below it. Each bus is below at most one bridge, and there are no cycles.
    pub bridges: BTreeMap<Address, BusId>,
    /// By bus: the root bus above it; a root bus maps to itself.
    pub root_of: BTreeMap<BusId, BusId>,
    /// PCI functions.
    pub functions: Inventory,
    /// The PCI hierarchy in the planner's form.
    pub pci: PciTree,
    /// What the sources say about IOMMUs.
    pub iommu: Iommu,
    /// Which CXL device holds which addresses.
    pub cxl: CxlMemory,
    /// Firmware's own memory map, in order of address; empty if no source has one.
    pub firmware: Vec<Sourced<(AddrRange, FirmwareMemory)>>,
    /// The version of the kernel that wrote the sources.
    pub kernel: Option<String>,
    /// Names of regions.
    pub labels: BTreeMap<RegionId, String>,
    /// Names of interconnects.
    pub link_names: BTreeMap<LinkId, String>,
    /// Interconnects whose metric is a distance from firmware. The metric of others is one, since nobody
    /// measured them.
    pub measured: BTreeSet<LinkId>,
    /// By function: its regions, and which resource each is.
    pub bars: BTreeMap<Address, Vec<(ResourceKind, RegionId)>>,
    /// By region: the function that it belongs to.
    pub holders: BTreeMap<RegionId, Address>,
    /// By region without an address: the reason.
    pub parked: BTreeMap<RegionId, String>,
    /// Resources that stay without an address because their range is taken: the range, the function, and
    /// where the source says so.
    pub disputed: Vec<Sourced<(AddrRange, Address)>>,
    /// Arenas from which the way in is unknown: no source says what their devices reach.
    pub unknown_ways: BTreeSet<ArenaId>,
    /// Address spaces of an emulator.
    pub spaces: Vec<AddressSpaces>,
    /// By bus whose addresses differ from the CPU's: the apertures of its root bus, which translate them.
    pub(crate) offsets: BTreeMap<BusId, Vec<Aperture>>,
    /// Names of addresses.
    pub names: Names,
    /// The arenas of a decoding net's nodes; `None` unless the machine was read by [`read_net`](crate::read_net).
    pub net: Option<Net>,
    /// The kernel showed zeros instead of addresses to whoever read them. Read as root to see them.
    pub hidden: bool,
    /// How much memory is at unknown addresses, and why, in words; `None` if all memory has addresses.
    pub unplaced: Option<String>,
    /// What was read from each source, and what was not understood.
    pub heard: Vec<SourceSummary>,
    /// Problems in the sources: broken, missing or contradictory information.
    pub findings: Vec<Finding>,
    /// Nodes whose views were connected to memory on demand: see `EAGER`.
    pub(crate) joined: BTreeSet<u32>,
}

/// Up to this number of node views, each is connected to all memory when the model is built. Beyond it, a view is
/// connected when somebody first looks from there.
pub(crate) const EAGER: usize = 64;

impl Machine {
    /// Returns the model's state.
    pub fn state(&self) -> &State {
        self.manager.state()
    }

    /// Returns the distances between NUMA nodes.
    pub fn distances(&self) -> &Distances {
        &self.numa.distances
    }

    /// Returns the PCI function at an address.
    pub fn function(&self, address: Address) -> Option<&Function> {
        self.functions.at(address)
    }

    /// Returns a region's label, or its id if it has none.
    pub fn region_name(&self, region: RegionId) -> String {
        self.labels.get(&region).cloned().unwrap_or_else(|| region.to_string())
    }

    /// Returns an arena's name, or its id if the arena is gone.
    pub fn arena_name(&self, arena: ArenaId) -> String {
        self.state().info(arena).map_or_else(|| arena.to_string(), |info| info.name.clone())
    }

    /// Returns an interconnect's label; if it has none, the names of the arenas that it joins.
    pub fn link_name(&self, link: LinkId) -> String {
        let joined = || {
            let ends = self.state().link(link).map(|l| (self.arena_name(l.left), self.arena_name(l.right)));
            ends.map_or_else(|| link.to_string(), |(left, right)| format!("{left} - {right}"))
        };
        self.link_names.get(&link).cloned().unwrap_or_else(joined)
    }

    /// Whether an arena is an I/O space: a bus's, or the ports as CPUs see them.
    pub fn is_io(&self, arena: ArenaId) -> bool {
        self.state().info(arena).is_some_and(|info| info.kind.contains(ArenaType::IO))
    }

    /// Whether any source says where memory is.
    pub fn knows_memory(&self) -> bool {
        self.net.is_some()
            || !self.names.memory().lines.is_empty()
            || self.memory.values().any(|memory| !memory.spans.is_empty())
    }

    /// Translates an arena's own address to the CPU's. `None` if CPUs do not see it, or if the
    /// translation is unknown.
    pub fn seen_by_cpus(&self, arena: ArenaId, addr: u64) -> Option<u64> {
        if arena == self.system || self.memory.contains_key(&arena) || Some(arena) == self.system_io {
            return Some(addr);
        }
        // An emulator's device view has its own addresses, which CPUs do not use.
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

    /// Finds the arena that a word names. A word is a decoding net's node (`3`), a NUMA node (`node0`), a PCI
    /// function (`0000:3b:00.0`: what a device there sees), a bus (`pci 0000:3b`), an emulator's address space
    /// (`e1000`), or an arena's name. `cpu` and `system` are the system bus.
    ///
    /// # Errors
    /// A message that says what is wrong with the word, with similar names and the arenas that exist.
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
                return Err(format!(
                    "node{id} has neither CPUs nor devices that could access memory: choose another viewer"
                ));
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
            // A device looks from the bus that it is on. Its bridge knows that better than its bus number does.
            let below = known.parent.and_then(|parent| self.bridges.get(&parent)).copied();
            let id = below.unwrap_or((physical.segment, physical.bus));
            let bus = self.buses.get(&id).copied();
            let bus = bus.ok_or_else(|| {
                format!("no source describes the bus of {address}: add lspci -vvv output or /proc/iomem")
            })?;
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

    /// Returns the error message for a function that does not exist, with similar addresses.
    pub fn no_function(&self, address: Address) -> String {
        let known = self.functions.iter().filter_map(|function| function.address);
        format!("no PCI function {address}{}", did_you_mean_function(address, known))
    }

    /// Finds an emulator's address space by its name, or else by the name of the region at its root.
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

    /// Returns what a function sees through its IOMMU table, if a source shows the table: an arena whose windows
    /// are the table's pages. The arena is created on first use.
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

    /// Connects a node's view to all memory, if that was deferred when the model was built.
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

/// Connects a node's view to an arena of memory, at the distance that firmware gives. If firmware omits this pair,
/// the largest known distance is used, so that unmeasured memory never looks nearer than measured memory.
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

/// The measured performance of a node's memory as seen from another node; all unknown if nobody measured it.
fn measured(numa: &Nodes, from: u32, to: u32) -> Performance {
    let access = numa.get(to).map(|node| &node.access);
    let found = access.and_then(|classes| classes.iter().flatten().find(|a| a.initiators.contains(&from)));
    found.map_or(Performance::default(), |a| a.performance)
}
