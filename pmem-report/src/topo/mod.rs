//! The machine at a glance: nodes and their memory, buses, bridges, functions, and what is odd.

mod share;
mod space;

pub use share::{CxlMemoryPart, CxlShare};
pub use space::AddressSpace;

use crate::attrs::{AttrWords, Speed, metric, state_word};
use crate::sources::Sources;
use crate::units::{Addr, End, Extent};
use pmem_core::{AddrRange, ArenaId, Direction, Mapping, SpanState, State, Way as Towards};
use pmem_import::{Function, Machine, NumaNode, PciIds, ResourceKind, show_bus};
use serde::Serialize;

/// A machine.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Topo {
    /// Whether this is a decoding net, not a machine.
    pub is_net: bool,
    /// All arenas.
    pub arenas: Vec<ArenaSummary>,
    /// All interconnects.
    pub interconnects: Vec<Interconnect>,
    /// The NUMA nodes.
    pub nodes: Vec<NodeSummary>,
    /// The distances between nodes.
    pub distances: DistanceTable,
    /// CXL windows and regions.
    pub cxl: Vec<CxlShare>,
    /// Parts of CXL devices' own memory, as the devices describe them.
    pub cxl_memory: Vec<CxlMemoryPart>,
    /// An emulator's address spaces. Those that see the same are combined.
    pub address_spaces: Vec<AddressSpace>,
    /// The PCI buses, in order of segment and number.
    pub buses: Vec<BusSummary>,
    /// The PCI functions, in order of address.
    pub functions: Vec<FunctionSummary>,
    /// The sources that were read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// An arena: a physical address space, or a part of one.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ArenaSummary {
    /// The arena's name.
    pub name: String,
    /// In a decoding net: the node that the arena belongs to.
    pub node: Option<i64>,
    /// The arena's type, such as `ram`, `rom`, `pci` or `view`; several words are joined by `+`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The bytes that the arena decodes itself.
    pub own: u64,
    /// The bytes that can be allocated: no region occupies them.
    pub free: u64,
    /// Its spans, in order of address.
    pub spans: Vec<SpanSummary>,
    /// Its regions, in order of address.
    pub regions: Vec<RegionSummary>,
    /// Whether it is the memory or I/O space of a PCI bus.
    pub is_bus: bool,
}

/// A span of an arena.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SpanSummary {
    /// The range, in the arena's addresses.
    #[serde(flatten)]
    pub range: Extent,
    /// `open` (can be allocated), `sealed` (nothing more is allocated), or `lent` (an open floating window covers it).
    pub state: String,
    /// The default attributes of regions in it.
    #[serde(flatten)]
    pub attrs: AttrWords,
}

/// A region.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RegionSummary {
    /// The range, in the arena's addresses.
    #[serde(flatten)]
    pub range: Extent,
    /// The region's name.
    pub name: String,
    /// The number of references to it.
    pub refs: u32,
    /// Its attributes.
    #[serde(flatten)]
    pub attrs: AttrWords,
}

/// An interconnect between two arenas.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Interconnect {
    /// The interconnect's name.
    pub name: String,
    /// The arena on the left.
    pub left: String,
    /// The arena on the right.
    pub right: String,
    /// The cost of crossing it to the right, or to the left if only that is possible; null if it cannot be crossed.
    pub metric: Option<u32>,
    /// Whether the cost is a NUMA distance from firmware. Otherwise it is the default, one.
    pub measured: bool,
    /// The direction from left to right.
    pub to_right: Way,
    /// The direction from right to left.
    pub to_left: Way,
}

/// One direction of an interconnect.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Way {
    /// The cost of crossing; null if it cannot be crossed.
    pub metric: Option<u32>,
    /// The mapping: `closed`, `identity`, `windows`, `yielding windows`, `interleave` or `table`.
    pub kind: String,
    /// The open windows; absent unless the mapping has windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<OpenWindow>>,
    /// The first address of an interleave or page table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Addr>,
    /// The end of an interleave or page table, exclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// The address to which the first one leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Addr>,
    /// For an interleave: the number of ways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ways: Option<u64>,
    /// For an interleave: the granularity in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granularity: Option<u64>,
    /// For an interleave: the position of this way, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// For a page table: the page size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u64>,
    /// For a page table: the ranges that it does not map.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Extent>,
    /// Latency and bandwidth; absent if not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performance: Option<Speed>,
}

/// An open window.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OpenWindow {
    /// The range, in addresses of the near side.
    #[serde(flatten)]
    pub range: Extent,
    /// The address on the far side to which its start leads.
    pub to: Addr,
}

/// A NUMA node.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeSummary {
    /// The node's number.
    pub id: u32,
    /// The kind of its memory; null if not known.
    pub kind: Option<String>,
    /// Whether the kind is inferred from the memory's speed.
    pub kind_inferred: bool,
    /// The numbers of its CPUs; null if no source says.
    pub cpus: Option<Vec<u32>>,
    /// The size of its memory in bytes: of its address ranges or, if no source gives them, as the kernel counts. Null if
    /// no source says.
    pub bytes: Option<u64>,
    /// The bytes that the kernel's page allocator manages, `MemTotal` in `nodeN/meminfo`: less than all, for it lacks
    /// what was reserved at boot. Null if no source says.
    pub managed_bytes: Option<u64>,
    /// The arena that its CPUs see; null if nothing sees memory from this node.
    pub view: Option<String>,
    /// The arena of its memory; null if it has none.
    pub ram: Option<String>,
    /// The ranges of its memory.
    pub at: Vec<Extent>,
    /// Latency and bandwidth from the nodes that reach its memory best.
    pub access: Vec<Access>,
    /// The sizes of its memory-side caches in bytes.
    pub memory_side_caches: Vec<u64>,
    /// Linux's memory tier; a lower number is faster. Null if not known.
    pub tier: Option<u32>,
    /// Whether the tier is inferred from the memory's speed.
    pub tier_inferred: bool,
}

/// Latency and bandwidth of a node's memory from its best initiators.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Access {
    /// `access0`: the best of all initiators. `access1`: the best of those with CPUs.
    pub class: String,
    /// The nodes that reach the memory best.
    pub initiators: Vec<u32>,
    /// Latency and bandwidth from there.
    #[serde(flatten)]
    pub speed: Speed,
}

/// NUMA distances, as firmware gives them.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DistanceTable {
    /// The nodes of the rows: where an access starts.
    pub nodes: Vec<u32>,
    /// The nodes of the columns: whose memory is accessed.
    pub columns: Vec<u32>,
    /// The distances, row by row.
    pub matrix: Vec<Vec<u32>>,
}

/// A PCI bus.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BusSummary {
    /// Segment and bus number, such as `0000:3b`.
    pub bus: String,
    /// The bridge above it; null for a root bus, or if the bridge is not known.
    pub bridge: Option<String>,
    /// The bus above it; null for a root bus.
    pub above: Option<String>,
    /// Its NUMA node; null if no source says.
    pub node: Option<u32>,
    /// The memory ranges that it decodes, including its bridges' windows; adjacent ranges are merged.
    pub memory: Vec<Extent>,
    /// The I/O port ranges that it decodes; adjacent ranges are merged.
    pub io: Vec<Extent>,
}

/// A PCI function.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FunctionSummary {
    /// Its address: segment, bus, device and function.
    pub address: String,
    /// The arena of the bus that it is on.
    pub bus: String,
    /// The bridge above it; null on a root bus.
    pub parent: Option<String>,
    /// The bus below it; null if it is not a bridge.
    pub below: Option<String>,
    /// The class code, in hexadecimal; null if not known.
    pub class: Option<String>,
    /// What it is, in a word or two.
    pub kind: String,
    /// The vendor id, in hexadecimal; null if not known.
    pub vendor: Option<String>,
    /// The device id, in hexadecimal; null if not known.
    pub device: Option<String>,
    /// The names of vendor and device; null if not known.
    pub title: Option<String>,
    /// The driver bound to it; null if there is none or no source says.
    pub driver: Option<String>,
    /// The names that Linux gives to it, such as `eth0` or `nvme0n1`.
    pub names: Vec<String>,
    /// Its NUMA node; null if no source says.
    pub node: Option<u32>,
    /// The physical function, if it is a virtual function.
    pub physical_function: Option<String>,
    /// Its resources.
    pub bars: Vec<Bar>,
}

/// A resource of a function.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bar {
    /// `BAR 0` to `BAR 5`, `ROM`, `VF BAR 0` to `VF BAR 5`, `window`.
    pub name: String,
    /// Whether it consists of I/O ports instead of memory.
    pub io: bool,
    /// Its range on the bus; null if it has no address.
    pub range: Option<Extent>,
    /// The size in bytes; a lower bound if no source says the size.
    pub bytes: u64,
    /// Whether a source says the size.
    pub size_is_said: bool,
    /// Whether it is prefetchable: reads have no side effects.
    pub prefetchable: bool,
    /// Why it has no address; null if it has one.
    pub unplaced: Option<String>,
    /// Its attributes.
    #[serde(flatten)]
    pub attrs: AttrWords,
}

impl ArenaSummary {
    /// Returns the ranges of its spans. Adjacent spans are merged.
    #[must_use]
    pub fn extents(&self) -> Vec<Extent> {
        let mut joined: Vec<Extent> = Vec::new();
        for span in &self.spans {
            match joined.last_mut() {
                Some(last) if last.end.0 == u128::from(span.range.start.0) => last.end = span.range.end,
                _ => joined.push(span.range),
            }
        }
        joined
    }
}

impl Topo {
    /// Describes a machine. `ids` names vendors and devices for which no source has a name.
    ///
    /// # Examples
    ///
    /// Two NUMA nodes, as `numactl -H` prints them:
    ///
    /// ```
    /// use pmem_import::{Machine, PciIds, Sources};
    /// use pmem_report::Topo;
    ///
    /// let mut text: &[u8] = b"\
    /// available: 2 nodes (0-1)
    /// node 0 cpus: 0 1
    /// node 0 size: 512 MB
    /// node 1 cpus: 2 3
    /// node 1 size: 512 MB
    /// node distances:
    /// node   0   1
    ///   0:  10  20
    ///   1:  20  10
    /// ";
    /// let mut sources = Sources::default();
    /// sources.add_stream("numactl", &mut text)?;
    /// let topo = Topo::of(&Machine::read(&mut sources)?, &PciIds::default());
    ///
    /// assert_eq!(topo.nodes[1].cpus, Some(vec![2, 3]));
    /// assert_eq!(topo.distances.matrix, [[10, 20], [20, 10]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(machine: &Machine, ids: &PciIds) -> Self {
        let state = machine.state();
        let links = state.links().map(|(id, link)| {
            let nearer =
                if link.to_right.metric.is_reachable() { link.to_right.metric } else { link.to_left.metric };
            Interconnect {
                name: machine.link_name(id),
                left: machine.arena_name(link.left),
                right: machine.arena_name(link.right),
                metric: metric(nearer),
                measured: machine.measured.contains(&id),
                to_right: way(state, id, Towards::ToRight, &link.to_right),
                to_left: way(state, id, Towards::ToLeft, &link.to_left),
            }
        });
        let distances = machine.distances();
        let of_bus: std::collections::BTreeSet<ArenaId> =
            machine.buses.values().flat_map(|bus| [bus.memory, bus.io]).collect();
        Self {
            is_net: machine.net.is_some(),
            arenas: state.arenas().filter_map(|(id, ..)| arena(machine, id, of_bus.contains(&id))).collect(),
            interconnects: links.collect(),
            nodes: machine.numa.all.iter().map(|node| node_of(machine, node)).collect(),
            distances: DistanceTable {
                nodes: distances.rows.keys().copied().collect(),
                columns: distances.columns.clone(),
                matrix: distances.rows.values().cloned().collect(),
            },
            cxl: share::all(machine),
            cxl_memory: share::parts(machine),
            address_spaces: space::all(machine),
            buses: buses(machine),
            functions: machine.functions.iter().map(|f| function(machine, f, ids)).collect(),
            sources: Sources::of(machine),
        }
    }
}

fn arena(machine: &Machine, id: ArenaId, is_bus: bool) -> Option<ArenaSummary> {
    let state = machine.state();
    let (info, arena) = (state.info(id)?, state.arena(id)?);
    let spans: Vec<SpanSummary> = arena
        .spans()
        .map(|(range, span)| SpanSummary {
            range: range.into(),
            state: state_word(span.state).to_owned(),
            attrs: span.attrs.into(),
        })
        .collect();
    let regions = arena.regions().map(|(range, record)| RegionSummary {
        range: range.into(),
        name: machine.region_name(record.id),
        refs: machine.manager.refs(record.id).unwrap_or(0),
        attrs: state.effective(&record).into(),
    });
    Some(ArenaSummary {
        name: info.name.clone(),
        node: machine.net.as_ref().and_then(|net| net.node.get(&id).copied()),
        kind: info.kind.words().to_string(),
        own: arena
            .spans()
            .filter(|(_, s)| s.state != SpanState::Lent)
            .fold(0, |sum, (r, _)| sum.saturating_add(r.len())),
        free: arena.free_in(AddrRange::ALL).fold(0u64, |sum, (gap, _)| sum.saturating_add(gap.len())),
        spans,
        regions: regions.collect(),
        is_bus,
    })
}

/// Returns an arena's own ranges; adjacent ones are merged.
fn own(state: &State, arena: ArenaId) -> Vec<Extent> {
    let own = state.arena(arena).into_iter().flat_map(|a| a.spans());
    let mut joined: Vec<AddrRange> = Vec::new();
    for (range, _) in own.filter(|(_, span)| span.state != SpanState::Lent) {
        match joined.last_mut() {
            Some(last) if last.end() == Some(range.start()) => *last = last.hull(range),
            _ => joined.push(range),
        }
    }
    joined.into_iter().map(Extent::from).collect()
}

/// Returns the ranges that a bus decodes: its own, and those that its bridges forward.
fn decoded(state: &State, arena: ArenaId) -> Vec<Extent> {
    let Some(arena) = state.arena(arena) else { return Vec::new() };
    let own = arena.spans().map(|(range, _)| range);
    let mut all: Vec<AddrRange> = own.chain(arena.windows().map(|(range, _)| range)).collect();
    all.sort_unstable_by_key(|range| range.start());
    let mut joined: Vec<AddrRange> = Vec::new();
    for range in all {
        match joined.last_mut() {
            Some(last) if last.end().is_none_or(|end| end >= range.start()) => *last = last.hull(range),
            _ => joined.push(range),
        }
    }
    joined.into_iter().map(Extent::from).collect()
}

/// Describes one direction of an interconnect, with the windows that are open now.
fn way(state: &State, link: pmem_core::LinkId, towards: Towards, direction: &Direction) -> Way {
    let mut out = Way { metric: metric(direction.metric), ..Way::default() };
    let kind = match &direction.mapping {
        Mapping::Closed => "closed",
        Mapping::Identity => "identity",
        Mapping::Windows(windows) => {
            let now = state.windows(link, towards).iter().zip(windows.pieces());
            let open = now.filter_map(|(now, w)| {
                let range = (*now)?;
                Some(OpenWindow { range: range.into(), to: Addr(range.start().wrapping_add(w.offset_of())) })
            });
            out.windows = Some(open.collect());
            if windows.yields() { "yielding windows" } else { "windows" }
        }
        Mapping::Interleave(share) => {
            let input = Extent::from(share.input());
            (out.start, out.end) = (Some(input.start), Some(input.end));
            out.to = Some(Addr(share.output().start()));
            out.ways = Some(u64::from(share.ways()));
            out.granularity = Some(u64::from(share.granularity()));
            out.position = Some(u64::from(share.position()));
            "interleave"
        }
        Mapping::Table(table) => {
            let input = Extent::from(table.input());
            (out.start, out.end, out.page) = (Some(input.start), Some(input.end), Some(table.page()));
            out.without = table.holes().iter().copied().map(Extent::from).collect();
            "table"
        }
        _ => "unknown",
    };
    out.kind = kind.to_owned();
    let speed = Speed::from(direction.performance);
    out.performance = (speed != Speed::default()).then_some(speed);
    out
}

fn node_of(machine: &Machine, node: &NumaNode) -> NodeSummary {
    let arenas = machine.nodes.get(&node.id).copied().unwrap_or_default();
    let kind = machine.kinds.get(&node.id);
    let access = node.access.iter().zip(["access0", "access1"]).filter_map(|(access, class)| {
        let access = access.as_ref()?;
        Some(Access {
            class: class.to_owned(),
            initiators: access.initiators.clone(),
            speed: access.performance.into(),
        })
    });
    let at = arenas.ram.map_or(Vec::new(), |ram| own(machine.state(), ram));
    let placed = at.iter().fold(0u64, |sum, range| sum.saturating_add(range.len()));
    NodeSummary {
        id: node.id,
        kind: kind.map(|kind| kind.kind.name().to_owned()),
        kind_inferred: kind.is_some_and(|kind| kind.inferred),
        cpus: node.cpus.clone(),
        bytes: if at.is_empty() { node.bytes } else { Some(placed) },
        managed_bytes: node.bytes,
        view: arenas.view.map(|arena| machine.arena_name(arena)),
        ram: arenas.ram.map(|arena| machine.arena_name(arena)),
        at,
        access: access.collect(),
        memory_side_caches: node.caches.clone(),
        tier: node.tier.or_else(|| machine.tiers.get(&node.id).copied()),
        tier_inferred: node.tier.is_none() && machine.tiers.contains_key(&node.id),
    }
}

fn buses(machine: &Machine) -> Vec<BusSummary> {
    let mut above = std::collections::BTreeMap::new();
    for (bridge, bus) in &machine.bridges {
        above.insert(*bus, (Some(bridge.to_string()), (bridge.segment, bridge.bus)));
    }
    let numa: std::collections::BTreeMap<_, _> = machine
        .functions
        .iter()
        .rev()
        .filter_map(|f| Some(((f.bdf().segment, f.bdf().bus), f.numa?)))
        .collect();
    let bus = |(id, bus): (&(u32, u8), &pmem_import::Bus)| {
        // If the bridge is not known, the bus belongs below the bus that its interconnect leads to.
        let joined = || {
            let link = machine
                .state()
                .links()
                .find(|(_, link)| link.right == bus.memory)
                .map(|(_, link)| link.left)?;
            machine.buses.iter().find(|(_, other)| other.memory == link).map(|(id, _)| show_bus(*id))
        };
        let (bridge, upper) = match above.get(id) {
            Some((bridge, upper)) => (bridge.clone(), Some(show_bus(*upper))),
            None => (None, joined()),
        };
        BusSummary {
            bus: show_bus(*id),
            bridge,
            above: upper,
            node: numa.get(id).copied(),
            memory: decoded(machine.state(), bus.memory),
            io: decoded(machine.state(), bus.io),
        }
    };
    machine.buses.iter().map(bus).collect()
}

fn function(machine: &Machine, function: &Function, ids: &PciIds) -> FunctionSummary {
    let address = function.bdf();
    let below = machine.bridges.get(&address).map(|bus| show_bus(*bus));
    let on = function.parent.and_then(|parent| machine.bridges.get(&parent)).copied();
    let on = on.unwrap_or((address.segment, address.bus));
    let bars = machine.bars.get(&address).map_or(&[][..], |bars| &bars[..]);
    FunctionSummary {
        address: address.to_string(),
        bus: format!("pci {}", show_bus(on)),
        parent: function.parent.map(|parent| parent.to_string()),
        below,
        class: function.class.map(|class| format!("{:#08x}", class.0)),
        kind: function.class_name().to_owned(),
        vendor: function.id.map(|(vendor, _)| format!("{vendor:#06x}")),
        device: function.id.map(|(_, device)| format!("{device:#06x}")),
        title: function.title.clone().or_else(|| ids.name(function.id?)),
        driver: function.driver.clone(),
        names: function.names.clone(),
        node: function.numa,
        physical_function: function.physical.map(|physical| physical.to_string()),
        bars: bars.iter().filter_map(|(kind, region)| bar(machine, function, *kind, *region)).collect(),
    }
}

/// Describes a resource; `None` if the manager does not know its region.
fn bar(
    machine: &Machine,
    function: &Function,
    kind: ResourceKind,
    region: pmem_core::RegionId,
) -> Option<Bar> {
    let open_ended = function.resources.iter().any(|resource| resource.kind == kind && resource.open_ended);
    let placement = machine.manager.placement(region).ok()?;
    let attrs = machine.manager.attrs(region).ok()?;
    Some(Bar {
        name: kind.to_string(),
        io: machine.is_io(placement.arena),
        range: placement.seat.range().map(Extent::from),
        bytes: placement.seat.len(),
        size_is_said: !open_ended,
        prefetchable: attrs.props().contains(pmem_core::Props::PREFETCH),
        unplaced: machine.parked.get(&region).cloned(),
        attrs: attrs.into(),
    })
}
