//! The machine at a glance: nodes and their memory, buses, bridges, functions, and what is odd.

mod share;
mod space;

pub use share::CxlShare;
pub use space::AddressSpace;

use crate::attrs::{AttrWords, Speed, metric, state_word};
use crate::sources::Sources;
use crate::units::{Addr, End, Extent};
use pmem_core::{AddrRange, ArenaId, Direction, Mapping, SpanState, State, Way as Towards};
use pmem_import::{Function, Machine, NumaNode, PciIds, ResourceKind, show_bus};
use schemars::JsonSchema;
use serde::Serialize;

/// The machine.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Topo {
    /// It is a decoding net.
    pub is_net: bool,
    /// Every arena.
    pub arenas: Vec<ArenaSummary>,
    /// Every interconnect.
    pub interconnects: Vec<Interconnect>,
    /// NUMA nodes.
    pub nodes: Vec<NodeSummary>,
    /// Distances between nodes.
    pub distances: DistanceTable,
    /// CXL's windows and regions.
    pub cxl: Vec<CxlShare>,
    /// Address spaces of an emulator; those that see the same are together.
    pub address_spaces: Vec<AddressSpace>,
    /// PCI buses, those of outer bridges first.
    pub buses: Vec<BusSummary>,
    /// PCI functions.
    pub functions: Vec<FunctionSummary>,
    /// What was read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// An arena.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArenaSummary {
    /// Its name.
    pub name: String,
    /// Of a net: its node.
    pub node: Option<i64>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes of its own.
    pub own: u64,
    /// Bytes that no region has.
    pub free: u64,
    /// Its spans.
    pub spans: Vec<SpanSummary>,
    /// Its regions.
    pub regions: Vec<RegionSummary>,
    /// It is a PCI bus's.
    pub is_bus: bool,
}

/// A span of an arena.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SpanSummary {
    /// Its addresses.
    #[serde(flatten)]
    pub range: Extent,
    /// `open`, `sealed` or `lent`.
    pub state: String,
    /// Its defaults.
    #[serde(flatten)]
    pub attrs: AttrWords,
}

/// A region.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RegionSummary {
    /// Its addresses.
    #[serde(flatten)]
    pub range: Extent,
    /// What it is called.
    pub name: String,
    /// How many references it has.
    pub refs: u32,
    /// Its attributes.
    #[serde(flatten)]
    pub attrs: AttrWords,
}

/// An interconnect.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Interconnect {
    /// What it is called.
    pub name: String,
    /// What it joins.
    pub left: String,
    /// With what.
    pub right: String,
    /// What it costs.
    pub metric: Option<u32>,
    /// Whether that is a distance that firmware gives.
    pub measured: bool,
    /// From left to right.
    pub to_right: Way,
    /// From right to left.
    pub to_left: Way,
}

/// A direction of an interconnect.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Way {
    /// What it costs.
    pub metric: Option<u32>,
    /// `closed`, `identity`, `windows`, `yielding windows`, `interleave` or `table`.
    pub kind: String,
    /// Open windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<OpenWindow>>,
    /// The first address of an interleave or a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Addr>,
    /// The address after its last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Where the first address leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Addr>,
    /// Of an interleave: over how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ways: Option<u64>,
    /// Bytes in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granularity: Option<u64>,
    /// Which of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Of a table: bytes of a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u64>,
    /// Of a table: what it leaves out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Extent>,
    /// How well it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performance: Option<Speed>,
}

/// An open window.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct OpenWindow {
    /// Its addresses.
    #[serde(flatten)]
    pub range: Extent,
    /// Where the first leads to.
    pub to: Addr,
}

/// A NUMA node.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NodeSummary {
    /// Its number.
    pub id: u32,
    /// The kind of its memory; null if it is not known.
    pub kind: Option<String>,
    /// The kind follows from how fast its memory is.
    pub kind_inferred: bool,
    /// Its CPUs; null if no source says.
    pub cpus: Option<Vec<u32>>,
    /// Its memory in bytes.
    pub bytes: Option<u64>,
    /// The arena that is its CPUs' view; null if nothing looks from there.
    pub view: Option<String>,
    /// The arena of its memory.
    pub ram: Option<String>,
    /// Where its memory is.
    pub at: Vec<Extent>,
    /// How its memory is reached best.
    pub access: Vec<Access>,
    /// Caches on the memory's side, in bytes.
    pub memory_side_caches: Vec<u64>,
    /// Linux's memory tier: the lower, the faster.
    pub tier: Option<u32>,
    /// The tier is not said, but follows from how fast its memory is.
    pub tier_inferred: bool,
}

/// How memory is reached by those who reach it best.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Access {
    /// `access0`: of all initiators; `access1`: of those with CPUs.
    pub class: String,
    /// From these nodes.
    pub initiators: Vec<u32>,
    /// As well as this.
    #[serde(flatten)]
    pub speed: Speed,
}

/// Distances as measured.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DistanceTable {
    /// The nodes of the rows.
    pub nodes: Vec<u32>,
    /// The nodes of the columns.
    pub columns: Vec<u32>,
    /// Row by row.
    pub matrix: Vec<Vec<u32>>,
}

/// A PCI bus.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BusSummary {
    /// Segment and number.
    pub bus: String,
    /// The bridge above it; null of a root bus, or if it is not known.
    pub bridge: Option<String>,
    /// The bus above it.
    pub above: Option<String>,
    /// Its NUMA node.
    pub node: Option<u32>,
    /// What of memory it decodes, its bridges' windows included; neighbours joined.
    pub memory: Vec<Extent>,
    /// Its I/O ports.
    pub io: Vec<Extent>,
}

/// A PCI function.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FunctionSummary {
    /// Where it is.
    pub address: String,
    /// The arena of its bus.
    pub bus: String,
    /// The bridge above it.
    pub parent: Option<String>,
    /// The bus below it, if it is a bridge.
    pub below: Option<String>,
    /// Its class code.
    pub class: Option<String>,
    /// What it is, in a word.
    pub kind: String,
    /// Its vendor.
    pub vendor: Option<String>,
    /// Its device.
    pub device: Option<String>,
    /// Vendor and device in words.
    pub title: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// What Linux calls it.
    pub names: Vec<String>,
    /// Its NUMA node.
    pub node: Option<u32>,
    /// The physical function that it is a virtual function of.
    pub physical_function: Option<String>,
    /// Its resources.
    pub bars: Vec<Bar>,
}

/// A resource of a function.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Bar {
    /// `BAR 0` to `BAR 5`, `ROM`, `VF BAR 0` to `VF BAR 5`, `window`.
    pub name: String,
    /// I/O ports rather than memory.
    pub io: bool,
    /// Its addresses on its bus; null if it has none.
    pub range: Option<Extent>,
    /// Its size in bytes; the least that it can be, if that is not said.
    pub bytes: u64,
    /// Whether a source says how large it is.
    pub size_is_said: bool,
    /// Reads have no side effects.
    pub prefetchable: bool,
    /// Why it has no address.
    pub unplaced: Option<String>,
    /// Its attributes.
    #[serde(flatten)]
    pub attrs: AttrWords,
}

impl ArenaSummary {
    /// Its spans, neighbours joined.
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
    /// Describes a machine; `ids` names vendors and devices where no source does.
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

/// An arena's own addresses, neighbours joined.
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

/// What a bus decodes: its own addresses, and those that its bridges hand down.
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
    NodeSummary {
        id: node.id,
        kind: kind.map(|kind| kind.kind.name().to_owned()),
        kind_inferred: kind.is_some_and(|kind| kind.inferred),
        cpus: node.cpus.clone(),
        bytes: node.bytes,
        view: arenas.view.map(|arena| machine.arena_name(arena)),
        ram: arenas.ram.map(|arena| machine.arena_name(arena)),
        at: arenas.ram.map_or(Vec::new(), |ram| own(machine.state(), ram)),
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
        // A bus whose bridge is not known hangs on the bus that its interconnect leads to.
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
