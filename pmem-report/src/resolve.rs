//! What an address means: each interconnect crossed, the cost, and what is there; or why it leads nowhere.

use crate::attrs::metric;
use crate::evidence::{Evidence, Question, Sureness};
use crate::names::{self, Vacancy};
use crate::outcome::Outcome;
use crate::sources::Sources;
use crate::units::Addr;
use pmem_core::{ArenaId, Hop, OwnedResolution, Place};
use pmem_import::{Address, Machine, ResourceKind, show_bus};
use pmem_iommu::INTERRUPTS;
use serde::Serialize;

/// The answers for one or more addresses.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Resolve {
    /// The answers, in the order asked.
    pub results: Vec<Resolved>,
    /// If a single address was asked for, its answer once more, at the top level.
    #[serde(flatten)]
    pub only: Option<Resolved>,
    /// The sources that were read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// The kind of address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// Memory addresses.
    Memory,
    /// I/O ports.
    Io,
}

/// What an address means to a viewer.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Resolved {
    /// The arena from which the address is seen.
    pub from: String,
    /// The address.
    pub asked: Addr,
    /// Whether the address is a memory address or an I/O port.
    pub space: Space,
    /// How the resolution ended.
    pub result: Outcome,
    /// What is there, in words; or that nothing is.
    pub what: String,
    /// The names that sources give to the address, innermost first.
    pub names: Vec<String>,
    /// Whether something decodes the address, no region occupies it, and it can be allocated: it is neither offline
    /// or otherwise sealed, nor bad RAM.
    pub free: bool,
    /// The arena in which the resolution ends.
    pub arena: Option<String>,
    /// In a decoding net: the node that the arena belongs to.
    pub node: Option<i64>,
    /// The address in that arena.
    pub addr: Option<Addr>,
    /// The region that occupies the address; null if the space is free.
    pub region: Option<String>,
    /// The PCI function that the region belongs to.
    pub function: Option<String>,
    /// The NUMA node that the memory belongs to.
    pub numa_node: Option<u32>,
    /// The kind of memory; null if it is no memory.
    pub memory: Option<String>,
    /// For an address in a CXL window: the device that decodes it.
    pub cxl: Option<CxlAnswer>,
    /// The total cost: `distance` plus one for each unmeasured hop; null if there is no path.
    pub cost: Option<u32>,
    /// The part of the cost that is a NUMA distance from firmware; null if no hop has one.
    pub distance: Option<u32>,
    /// The number of hops that have no distance from firmware. Each costs one.
    pub unmeasured: u32,
    /// The interconnects crossed, in order.
    pub hops: Vec<HopTaken>,
    /// If several places decode the address: all of them.
    pub places: Vec<Seen>,
    /// Why the address leads nowhere; null if something decodes it.
    pub reason: Option<String>,
    /// How sure the answer is.
    pub sure: Sureness,
    /// What each source says about the address.
    pub evidence: Vec<Evidence>,
}

/// The CXL device that decodes an address.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CxlAnswer {
    /// The CXL region; null if only the window is known.
    pub region: Option<String>,
    /// The number of devices that the range is interleaved across.
    pub ways: Option<u8>,
    /// The interleave granularity in bytes.
    pub granularity: Option<u32>,
    /// The device's position in the interleave set, from 0; null if it is not known.
    pub position: Option<u8>,
    /// The memory device.
    pub device: Option<String>,
    /// The memory device's PCI function.
    pub function: Option<String>,
    /// The endpoint decoder.
    pub decoder: Option<String>,
    /// The device physical address (DPA); null if it is not known.
    pub own: Option<Addr>,
    /// The UID of the host bridge, if CEDT gives it.
    pub bridge: Option<u32>,
}

impl CxlAnswer {
    fn of(machine: &Machine, at: u64) -> Option<Self> {
        let place = machine.cxl.at(at);
        let window = machine.cxl.bridge(at);
        let sharing = match (&place, &window) {
            (Some(place), _) => Some(&place.region.sharing),
            (None, Some((window, _))) => window.sharing.as_ref(),
            (None, None) => return None,
        };
        let target = place.as_ref().and_then(|place| place.target);
        Some(Self {
            region: place.as_ref().map(|place| place.region.name.clone()),
            ways: sharing.map(|sharing| sharing.ways),
            granularity: sharing.map(|sharing| sharing.granularity),
            position: place.as_ref().and_then(|place| place.position),
            device: target.map(|target| target.device.clone()),
            function: target.and_then(|target| target.function).map(|function| function.to_string()),
            decoder: target.map(|target| target.decoder.clone()),
            own: place.as_ref().and_then(|place| place.own).map(Addr),
            bridge: window.and_then(|(_, bridge)| bridge),
        })
    }
}

/// An interconnect crossed on the path.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HopTaken {
    /// The arena on the near side.
    pub from: String,
    /// The address in that arena.
    pub addr: Addr,
    /// The interconnect.
    pub interconnect: String,
    /// The cost of crossing it.
    pub cost: Option<u32>,
    /// Whether the cost is a NUMA distance from firmware. Otherwise it is the default, one.
    pub measured: bool,
}

/// A place that decodes an address.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Seen {
    /// The arena.
    pub arena: String,
    /// In a decoding net: the node that the arena belongs to.
    pub node: Option<i64>,
    /// The address in the arena.
    pub addr: Addr,
    /// The region that occupies the address; null if the space is free.
    pub region: Option<String>,
    /// The cost of reaching the place; null if it is unreachable.
    pub cost: Option<u32>,
}

impl Resolve {
    /// Collects answers into a report.
    pub fn new(machine: &Machine, results: Vec<Resolved>) -> Self {
        let only = if let [only] = &results[..] { Some(only.clone()) } else { None };
        Self { results, only, sources: Sources::of(machine) }
    }

    /// Whether every address was found, that is, each outcome says what is there.
    #[must_use]
    pub fn all_found(&self) -> bool {
        self.results.iter().all(|answer| answer.result.is_found())
    }
}

impl Resolved {
    /// Resolves an address as seen from an arena.
    ///
    /// # Examples
    ///
    /// An address inside a framebuffer:
    ///
    /// ```
    /// use pmem_import::{Machine, Sources};
    /// use pmem_report::{Outcome, Resolved, Sureness};
    ///
    /// let mut iomem: &[u8] = b"\
    /// 00100000-7fffffff : System RAM
    /// 80000000-febfffff : PCI Bus 0000:00
    ///   e0000000-efffffff : 0000:00:02.0
    ///     e0000000-e07fffff : efifb
    /// ";
    /// let mut sources = Sources::default();
    /// sources.add_stream("iomem", &mut iomem)?;
    /// let machine = Machine::read(&mut sources)?;
    ///
    /// let answer = Resolved::new(&machine, machine.system, 0xe000_1000);
    /// assert_eq!(answer.result, Outcome::Accept);
    /// assert_eq!(answer.what, "0000:00:02.0 (efifb) in PCI Bus 0000:00");
    /// assert_eq!(answer.function.as_deref(), Some("0000:00:02.0"));
    /// assert_eq!(answer.sure, Sureness::Said); // one source says so
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(machine: &Machine, from: ArenaId, asked: u64) -> Self {
        Self::asked_by(machine, from, None, asked)
    }

    /// Resolves an address as seen from an arena, on behalf of a PCI function if one is given. The function matters for
    /// reserved ranges and IOMMU groups, which apply to single devices of a bus.
    pub fn asked_by(machine: &Machine, from: ArenaId, function: Option<Address>, asked: u64) -> Self {
        let resolution = machine.state().resolve(from, asked);
        let mut answer = Self::blank(machine, from, asked);
        answer.reason = names::reason(machine, &resolution);
        match &resolution {
            OwnedResolution::Accept { place, hops } => answer.accept(machine, *place, hops),
            OwnedResolution::Fault { arena, addr, hops, .. } => {
                answer.arena = Some(machine.arena_name(*arena));
                answer.node = net_node(machine, *arena);
                answer.addr = Some(Addr(*addr));
                answer.hops = taken(machine, hops);
                answer.fault(machine, from, *arena, asked);
            }
            OwnedResolution::Ambiguous(places) => {
                answer.result = Outcome::Ambiguous;
                answer.what = "ambiguous".to_owned();
                answer.places = places.iter().map(|place| seen(machine, place)).collect();
            }
            OwnedResolution::Loop(hops) => {
                answer.result = Outcome::Loop;
                answer.what = "a loop".to_owned();
                answer.hops = taken(machine, hops);
            }
        }
        let at = match &resolution {
            OwnedResolution::Accept { place, .. } => machine.seen_by_cpus(place.arena, place.addr),
            _ => (from == machine.system).then_some(asked),
        };
        answer.cxl = at.filter(|_| answer.space == Space::Memory).and_then(|at| CxlAnswer::of(machine, at));
        let is_device = answer.space == Space::Memory && machine.buses.values().any(|bus| bus.memory == from);
        let is_interrupt = is_device && answer.is_interrupt(machine);
        if is_interrupt {
            let what = "MSI window: a device's write there raises an interrupt".to_owned();
            answer = Self { result: Outcome::Architecture, what, ..Self::blank(machine, from, asked) };
        }
        // For an interrupt address, what CPUs see at the same address is irrelevant.
        let place = match resolution {
            OwnedResolution::Accept { place, .. } if !is_interrupt => Some(place),
            _ => None,
        };
        answer.numa_node = place.and_then(|place| machine.memory.get(&place.arena)?.node);
        let question = Question {
            device: is_device.then_some((from, function, asked)),
            port: (answer.space == Space::Io).then(|| at.unwrap_or(asked)),
            at: at.filter(|_| answer.space == Space::Memory && !is_interrupt),
            place,
            result: answer.result,
        };
        (answer.sure, answer.evidence) = question.judge(machine);
        answer
    }

    /// Whether a device's write to this address is an interrupt (MSI), whatever CPUs see there.
    fn is_interrupt(&self, machine: &Machine) -> bool {
        INTERRUPTS.contains(&self.asked.0) && machine.names.by_architecture(self.asked.0).is_some()
    }

    fn blank(machine: &Machine, from: ArenaId, asked: u64) -> Self {
        let space = if machine.is_io(from) { Space::Io } else { Space::Memory };
        Self {
            from: machine.arena_name(from),
            asked: Addr(asked),
            space,
            result: Outcome::Fault,
            what: "nothing".to_owned(),
            names: Vec::new(),
            free: false,
            arena: None,
            node: None,
            addr: None,
            region: None,
            function: None,
            numa_node: None,
            memory: None,
            cxl: None,
            cost: None,
            distance: None,
            unmeasured: 0,
            hops: Vec::new(),
            places: Vec::new(),
            reason: None,
            sure: Sureness::Unknown,
            evidence: Vec::new(),
        }
    }

    fn accept(&mut self, machine: &Machine, place: Place, hops: &[Hop]) {
        self.result = Outcome::Accept;
        self.arena = Some(machine.arena_name(place.arena));
        self.node = net_node(machine, place.arena);
        self.addr = Some(Addr(place.addr));
        self.region = place.region.map(|region| machine.region_name(region));
        self.memory = machine.memory.get(&place.arena).map(|memory| memory.kind.name().to_owned());
        self.cost = metric(place.cost);
        let measured: u32 =
            hops.iter().filter(|hop| machine.measured.contains(&hop.link)).map(|hop| hop.cost.get()).sum();
        self.distance = hops.iter().any(|hop| machine.measured.contains(&hop.link)).then_some(measured);
        self.unmeasured = hops.iter().filter(|hop| !machine.measured.contains(&hop.link)).count() as u32;
        self.hops = taken(machine, hops);
        self.free = place.region.is_none() && Vacancy::at(machine, place.arena, place.addr) == Vacancy::Free;
        let at = machine.seen_by_cpus(place.arena, place.addr);
        let named = |at: u64| match self.space {
            Space::Io => machine.names.of_port(at),
            Space::Memory => machine.names.of_memory(at),
        };
        self.names = at.map(named).unwrap_or_default().into_iter().map(str::to_owned).collect();
        let holder = place.region.and_then(|region| machine.holders.get(&region)).copied();
        self.function = holder.map(|function| function.to_string());
        self.what = match (place.region, holder) {
            (Some(region), Some(function)) => {
                self.of_function(machine, machine.region_name(region), function)
            }
            (Some(region), None) => within(&machine.region_name(region), &self.names),
            (None, _) => self.nothing_taken(machine, place),
        };
    }

    /// Describes a region of a PCI function: the names inside it, or else its driver, in parentheses; then the names
    /// around it.
    fn of_function(&self, machine: &Machine, label: String, function: Address) -> String {
        let own = self.names.iter().position(|name| name.parse() == Ok(function));
        let (inner, outer) = match own {
            Some(own) => (&self.names[..own], &self.names[own + 1..]),
            None => (&self.names[..0], &self.names[..]),
        };
        let mut words: Vec<String> = inner.iter().rev().cloned().collect();
        if words.is_empty() {
            let known = machine.function(function);
            words.extend(known.and_then(|function| function.driver.clone()));
        }
        let by = if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) };
        let around: String =
            outer.iter().filter(|name| **name != label).map(|name| format!(" in {name}")).collect();
        format!("{label}{by}{around}")
    }

    /// Describes space without a region: unallocated memory, or unassigned space in a bridge's window or a root bus's
    /// aperture.
    fn nothing_taken(&self, machine: &Machine, Place { arena, addr, .. }: Place) -> String {
        let chain = self.names.join(" in ");
        let bus =
            machine.buses.iter().find(|(_, bus)| bus.memory == arena || bus.io == arena).map(|(id, _)| *id);
        let Some(bus) = bus else {
            return match chain.as_str() {
                "" => names::vacant(machine, arena, addr),
                chain => format!("{chain}, {}", Vacancy::at(machine, arena, addr).word()),
            };
        };
        let below = machine.root_of.get(&bus).is_some_and(|root| *root != bus);
        let place = match below {
            true => format!("in the bridge's window to bus {}", show_bus(bus)),
            false => format!("in an aperture of root bus {}", show_bus(bus)),
        };
        let by = if chain.is_empty() { String::new() } else { format!(" ({chain})") };
        format!("unassigned space {place}{by}")
    }

    /// Describes an address that nothing decodes. The view from there may simply be unknown, or the architecture may
    /// fix what is there.
    fn fault(&mut self, machine: &Machine, from: ArenaId, ended: ArenaId, asked: u64) {
        if machine.unknown_ways.contains(&ended) && ended != machine.system {
            self.result = Outcome::Unknown;
            let arena = machine.arena_name(ended);
            self.what = "not known".to_owned();
            let through = machine.spaces.iter().find(|spaces| spaces.arena == ended);
            if let Some(through) = through.and_then(|spaces| spaces.through.as_ref()) {
                self.reason =
                    Some(format!("{arena} leads through {through}, whose page tables no source shows"));
                return;
            }
            self.reason = Some(format!(
                "no source gives the way in from {arena}: its addresses are not the CPUs', and a device's view (dma-ranges) is no inverse of \
                 theirs"
            ));
            return;
        }
        if let Some(spaces) = machine.spaces.iter().find(|s| s.arena == from && s.is_empty) {
            let names: Vec<&str> = spaces.names.iter().map(|(name, _)| name.as_str()).collect();
            self.reason = Some(format!(
                "nothing is seen from {}: a device that may not master its bus, as the emulator renders it",
                names.join(", ")
            ));
        }
        if self.space != Space::Memory || from != machine.system && ended != machine.system {
            return;
        }
        self.names = machine.names.of_memory(asked).into_iter().map(str::to_owned).collect();
        if !self.names.is_empty() {
            self.what =
                format!("{} is listed there, but no interconnect leads there", self.names.join(" in "));
            return;
        }
        if let Some(known) = machine.names.by_architecture(asked) {
            self.result = Outcome::Architecture;
            self.what = format!("{} (by architecture: no source lists it)", known.name);
        } else if !machine.knows_memory() {
            self.result = Outcome::Unknown;
            self.what = "not known".to_owned();
            self.reason = Some("no source says where memory is".to_owned());
        }
    }
}

/// Returns a name, with the names inside it in parentheses and the names around it appended.
fn within(label: &str, names: &[String]) -> String {
    let own = names.iter().position(|name| name == label);
    let outer = own.map_or(names, |own| &names[own + 1..]);
    let around: String = outer.iter().map(|name| format!(" in {name}")).collect();
    let inner = own.map_or(&names[..0], |own| &names[..own]);
    let claims = if inner.is_empty() { String::new() } else { format!(" ({})", inner.join(", ")) };
    format!("{label}{claims}{around}")
}

fn net_node(machine: &Machine, arena: ArenaId) -> Option<i64> {
    machine.net.as_ref().and_then(|net| net.node.get(&arena).copied())
}

fn taken(machine: &Machine, hops: &[Hop]) -> Vec<HopTaken> {
    let hop = |hop: &Hop| HopTaken {
        from: machine.arena_name(hop.from),
        addr: Addr(hop.addr),
        interconnect: machine.link_name(hop.link),
        cost: metric(hop.cost),
        measured: machine.measured.contains(&hop.link),
    };
    hops.iter().map(hop).collect()
}

fn seen(machine: &Machine, place: &Place) -> Seen {
    Seen {
        arena: machine.arena_name(place.arena),
        node: net_node(machine, place.arena),
        addr: Addr(place.addr),
        region: place.region.map(|region| machine.region_name(region)),
        cost: metric(place.cost),
    }
}

/// Answers for a resource that has no address, with the reason. Returns `None` if the resource has one, or is not
/// known.
pub fn unplaced(machine: &Machine, from: ArenaId, function: Address, kind: ResourceKind) -> Option<Resolved> {
    let (_, region) = machine
        .bars
        .get(&function)?
        .iter()
        .find(|(k, region)| *k == kind && machine.parked.contains_key(region))?;
    let why = machine.parked.get(region)?;
    let mut answer = Resolved::blank(machine, from, 0);
    answer.result = Outcome::Unplaced;
    answer.region = Some(machine.region_name(*region));
    answer.function = Some(function.to_string());
    answer.what = format!("{} has no address", machine.region_name(*region));
    answer.reason = Some(why.clone());
    Some(answer)
}
