//! How sure an answer is: what each source says about an address, and whether the sources agree.

use crate::outcome::Outcome;
use pmem_core::{ArenaId, FirmwareMemory, Place, RegionId};
use pmem_import::{Address, Machine, MemoryKind, NodeRangeKind, ReservedKind, SourceLine};
use serde::Serialize;
use std::collections::BTreeSet;

/// How sure an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Sureness {
    /// Several sources agree.
    Agreed,
    /// One source says so.
    Said,
    /// The answer follows from what the sources say, but none says it directly.
    Inferred,
    /// True on every machine of this architecture; no source says so.
    Architecture,
    /// True only if an IOMMU whose tables no source shows passes the device's addresses through untranslated.
    Conditional,
    /// Sources contradict each other.
    Doubtful,
    /// No source says.
    Unknown,
}

/// The part of an answer that a piece of evidence supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// What is at the address.
    What,
    /// The NUMA node that the memory belongs to.
    Node,
    /// The kind of memory.
    Memory,
    /// The device that decodes the address.
    Device,
    /// How a device's address translates to a CPU address.
    Way,
}

/// One source's statement about an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Evidence {
    /// The part of the answer that the statement is about.
    pub about: Topic,
    /// The statement, in words.
    pub says: String,
    /// The source; null if the statement is inferred or true by architecture.
    pub source: Option<String>,
    /// The line in the source, counted from 1; null if the statement is about the source as a whole.
    pub line: Option<u32>,
    /// Whether the statement agrees with the answer.
    pub stance: Stance,
}

/// Whether a statement agrees with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stance {
    /// It says the same as the answer.
    Agrees,
    /// It says something else that can be true at the same time, such as firmware's map calling memory usable that the
    /// kernel keeps for itself.
    Differs,
    /// The statement and the answer cannot both be true.
    Contradicts,
}

/// Maps a type of firmware's memory map to the kind of memory it describes.
fn of_firmware(kind: FirmwareMemory) -> MemoryKind {
    match kind {
        FirmwareMemory::Persistent => MemoryKind::Persistent,
        FirmwareMemory::SpecialPurpose => MemoryKind::Special,
        _ => MemoryKind::Dram,
    }
}

/// An answer whose sureness is to be judged.
pub(crate) struct Question {
    /// For a device's address: the arena of the device's bus, the function if one was named, and the bus address asked
    /// for.
    pub(crate) device: Option<(ArenaId, Option<Address>, u64)>,
    /// For an I/O port: the port number as CPUs see it.
    pub(crate) port: Option<u64>,
    /// The place where the address ends, if something decodes it.
    pub(crate) place: Option<Place>,
    /// The CPU address of that place; `None` if CPUs do not see it.
    pub(crate) at: Option<u64>,
    /// How the address resolved.
    pub(crate) result: Outcome,
}

/// The evidence collected for one address.
struct Case<'m> {
    machine: &'m Machine,
    all: Vec<Evidence>,
}

impl Case<'_> {
    fn said(&mut self, about: Topic, at: &SourceLine, says: impl Into<String>) -> &mut Evidence {
        let line = (at.line != 0).then_some(at.line);
        self.add(about, Some(at.source.to_string()), line, says.into())
    }

    fn inferred(&mut self, about: Topic, says: impl Into<String>) {
        self.add(about, None, None, says.into());
    }

    fn add(
        &mut self,
        about: Topic,
        source: Option<String>,
        line: Option<u32>,
        says: String,
    ) -> &mut Evidence {
        let same =
            |had: &Evidence| (had.about, &had.source, had.line, &had.says) == (about, &source, line, &says);
        let index = self.all.iter().position(same).unwrap_or_else(|| {
            self.all.push(Evidence { about, says, source, line, stance: Stance::Agrees });
            self.all.len() - 1
        });
        &mut self.all[index]
    }

    /// Collects what resource lists and firmware's map say is at a CPU address.
    fn what(&mut self, at: u64, memory: Option<MemoryKind>, holder: Option<Address>) {
        let machine = self.machine;
        // Two names count: the innermost one, and an enclosing "System RAM", which says that this is memory.
        let mut lines = machine.names.said_of_memory(at);
        let inner = lines.next();
        let around = lines.find(|(line, _)| line.name.starts_with("System RAM"));
        let mut places = Vec::new();
        for (line, place) in inner.into_iter().chain(around) {
            let named = line.name.parse::<Address>().ok().filter(|_| line.name.len() >= 12);
            let is_other = named.zip(holder).is_some_and(|(named, holder)| !self.is_same(named, holder));
            let says = self.said(Topic::What, &place, line.name.clone());
            says.stance = if is_other { Stance::Contradicts } else { Stance::Agrees };
            places.push(place);
        }
        // Some lists are generated from firmware's map. Do not count the same line twice.
        let after = machine.firmware.partition_point(|said| said.value.0.start() <= at);
        let of_map = after.checked_sub(1).and_then(|last| machine.firmware.get(last));
        let of_map = of_map.filter(|said| said.value.0.contains(at));
        if let Some(said) = of_map.filter(|said| !places.contains(&said.at)) {
            let kind = said.value.1;
            let says = self.said(Topic::What, &said.at, kind.name());
            says.stance = match (memory, holder.is_some()) {
                (Some(_), _) if !kind.is_memory() => Stance::Contradicts,
                (Some(memory), _)
                    if memory != of_firmware(kind) && !(memory == MemoryKind::Cxl && kind.is_usable()) =>
                {
                    Stance::Differs
                }
                (None, true) if kind.is_memory() => Stance::Contradicts,
                (None, false) if kind.is_usable() => Stance::Differs,
                _ => Stance::Agrees,
            };
        }
    }

    /// Collects which NUMA node the memory at a CPU address belongs to, according to memory blocks and firmware's
    /// ranges.
    fn node(&mut self, at: u64, node: Option<u32>) {
        let machine = self.machine;
        let mut claims: Vec<(u32, SourceLine, &'static str)> = Vec::new();
        for known in &machine.numa.all {
            if known.blocks.iter().chain(&known.offline).any(|range| range.contains(at))
                && let Some(place) = &known.at
            {
                claims.push((known.id, place.clone(), "memory block"));
            }
        }
        for said in machine.numa.ranges.iter().filter(|said| said.value.range.contains(at)) {
            let by = match said.value.kind {
                NodeRangeKind::Srat => "firmware's range",
                NodeRangeKind::Kernel => "kernel's range",
            };
            claims.push((said.value.node, said.at.clone(), by));
        }
        if let (true, Some(node)) = (claims.is_empty() && machine.numa.all.len() > 1, node) {
            let alone = machine.numa.all.iter().filter(|node| node.bytes != Some(0)).count() == 1;
            let why = if alone { "the only one with memory" } else { "by the device that it is" };
            self.inferred(Topic::Node, format!("node {node}, {why}"));
        }
        for (id, place, by) in claims {
            let says = self.said(Topic::Node, &place, format!("node {id}, {by}"));
            says.stance = if node == Some(id) { Stance::Agrees } else { Stance::Contradicts };
        }
    }

    /// Collects how a device's address translates to a CPU address. Returns true if an IOMMU whose tables no source
    /// shows may change the address.
    fn way(&mut self, from: ArenaId, function: Option<Address>, asked: u64) -> bool {
        let machine = self.machine;
        let bus = machine.buses.iter().find(|(_, bus)| bus.memory == from).map(|(id, _)| *id);
        let Some(bus) = bus else { return false };
        let on_bus = machine.functions.iter().map(pmem_import::Function::bdf);
        let on_bus = on_bus.filter(|function| (function.segment, function.bus) == bus);
        let asking: Vec<Address> = function.map_or_else(|| on_bus.collect(), |function| vec![function]);
        // When the question names only a bus, a reserved range may apply to some of its devices and not to others.
        let mut seen = BTreeSet::new();
        for said in asking.iter().flat_map(|function| machine.iommu.reserved_for(*function)) {
            let reserved = &said.value;
            if !reserved.range.contains(asked) || !seen.insert((reserved.range.start(), &said.at)) {
                continue;
            }
            let says = match reserved.kind {
                ReservedKind::Msi => "reserved for devices: interrupts are written there",
                ReservedKind::Direct | ReservedKind::DirectRelaxable => {
                    "reserved for devices: firmware shares memory with some there"
                }
                ReservedKind::Other => "reserved for devices: no mapping may use it",
            };
            self.said(Topic::Way, &said.at, says);
        }
        let iommu = &machine.iommu;
        let groups: BTreeSet<u32> = asking.iter().filter_map(|one| iommu.groups.get(one)).copied().collect();
        let root = machine.root_of.get(&bus).unwrap_or(&bus);
        if let Some(at) =
            groups.iter().next().filter(|_| groups.iter().all(|one| iommu.passing.contains_key(one)))
        {
            self.said(
                Topic::Way,
                &iommu.passing[at],
                "an IOMMU that passes its addresses through untranslated",
            );
            return false;
        }
        const HIDDEN: &str = "an IOMMU whose page tables no source shows";
        if let Some(at) = iommu.translated.get(root) {
            self.said(Topic::Way, at, HIDDEN);
        } else if let Some(unit) = iommu.units.first() {
            self.said(Topic::Way, &unit.at, HIDDEN);
        } else if let Some(map) = iommu.streams.first() {
            self.said(Topic::Way, &map.at, HIDDEN);
        } else if let Some(group) = groups.first() {
            self.inferred(
                Topic::Way,
                format!("an IOMMU whose page tables no source shows: the device is in group {group}"),
            );
        } else {
            self.inferred(Topic::Way, "no source shows an IOMMU");
            return false;
        }
        true
    }

    /// Records the source line that gives the function's BAR its address.
    fn function(&mut self, holder: Address, region: RegionId) {
        let machine = self.machine;
        let bars = machine.bars.get(&holder).into_iter().flatten();
        let own = bars.filter(|(_, own)| *own == region).map(|(kind, _)| *kind).next();
        let function = machine.function(holder).into_iter();
        let resource =
            function.flat_map(|function| &function.resources).find(|resource| Some(resource.kind) == own);
        if let Some(resource) = resource {
            self.said(Topic::Device, &resource.at, holder.to_string());
        }
    }

    /// Whether two functions are the same, or one is a virtual function of the other. A virtual function's slice lies
    /// inside the physical function's VF BAR, so a list may name either.
    fn is_same(&self, a: Address, b: Address) -> bool {
        let physical = |function: Address| self.machine.function(function).and_then(|known| known.physical);
        a == b || physical(a) == Some(b) || physical(b) == Some(a)
    }

    /// Records other functions whose resources some source places at the same address.
    fn disputed(&mut self, at: u64) {
        let machine = self.machine;
        for said in machine.disputed.iter().filter(|said| said.value.0.contains(at)) {
            self.said(Topic::Device, &said.at, said.value.1.to_string()).stance = Stance::Contradicts;
        }
    }

    /// Collects evidence for addresses that no list of CPU addresses covers: I/O ports, an emulator's address spaces,
    /// and decoding nets.
    fn elsewhere(&mut self, port: Option<u64>, place: Option<Place>) {
        let machine = self.machine;
        if let Some((line, place)) = port.and_then(|port| machine.names.said_of_port(port).next()) {
            self.said(Topic::What, &place, line.name.clone());
        }
        let Some(place) = place else { return };
        let name = place
            .region
            .map_or_else(|| machine.arena_name(place.arena), |region| machine.region_name(region));
        let spaces = machine
            .spaces
            .iter()
            .find(|spaces| spaces.arena == place.arena && spaces.arena != machine.system);
        if let Some(spaces) = spaces {
            self.said(Topic::What, &spaces.at, name);
        } else if let (Some(_), Some(heard)) = (&machine.net, machine.heard.first()) {
            self.said(Topic::What, &SourceLine::whole(heard.source.clone()), name);
        }
    }

    /// Records the CXL region or window that decodes the address.
    fn cxl(&mut self, at: u64) {
        let machine = self.machine;
        if let Some(place) = machine.cxl.at(at) {
            self.said(Topic::Device, &place.region.at, place.region.name.clone());
        } else if let Some((window, _)) = machine.cxl.bridge(at) {
            self.said(Topic::Device, &window.at, "a CXL window");
        }
    }
}

impl Question {
    /// Judges how sure the answer is, and returns the evidence sorted by topic.
    pub(crate) fn judge(&self, machine: &Machine) -> (Sureness, Vec<Evidence>) {
        let mut case = Case { machine, all: Vec::new() };
        let memory = self.place.and_then(|place| machine.memory.get(&place.arena));
        let region = self.place.and_then(|place| place.region);
        let holder = region.and_then(|region| machine.holders.get(&region)).copied();
        let behind_unit = self.device.is_some_and(|(from, function, asked)| case.way(from, function, asked));
        if let Some(at) = self.at {
            case.what(at, memory.map(|memory| memory.kind), holder);
            case.disputed(at);
        }
        case.elsewhere(self.port, self.place);
        if let (Some(memory), Some(at)) = (memory, self.at) {
            if !machine.numa.all.is_empty() {
                case.node(at, memory.node);
            }
            let kind = memory.node.and_then(|node| machine.kinds.get(&node)).filter(|kind| kind.inferred);
            if let Some(kind) = kind.filter(|kind| kind.kind == memory.kind) {
                case.inferred(Topic::Memory, format!("{}, by its speed", kind.kind.name()));
            }
        }
        if let (Some(holder), Some(region)) = (holder, region) {
            case.function(holder, region);
        }
        if let Some(at) = self.at {
            case.cxl(at);
        }
        case.all.sort_by_key(|said| said.about);
        (self.sureness(&case.all, behind_unit), case.all)
    }

    /// Derives the overall sureness from the collected evidence.
    fn sureness(&self, all: &[Evidence], behind_unit: bool) -> Sureness {
        let judged = |about: Topic| {
            all.iter().filter(move |said| said.about == about && said.stance == Stance::Agrees)
        };
        let contradicted = all.iter().any(|said| said.stance == Stance::Contradicts);
        match self.result {
            Outcome::Architecture => return Sureness::Architecture,
            Outcome::Ambiguous => return Sureness::Doubtful,
            Outcome::Loop | Outcome::Unknown | Outcome::Unplaced => return Sureness::Unknown,
            _ if contradicted => return Sureness::Doubtful,
            // No source says "nothing is here"; that follows from no source naming anything.
            Outcome::Fault => return Sureness::Inferred,
            Outcome::Accept if behind_unit => return Sureness::Conditional,
            Outcome::Accept => {}
        }
        let sources =
            |about: Topic| judged(about).filter_map(|said| said.source.as_ref()).collect::<BTreeSet<_>>();
        let (what, node, device) = (sources(Topic::What), sources(Topic::Node), sources(Topic::Device));
        let is_inferred = |about: Topic| sources(about).is_empty() && judged(about).next().is_some();
        let is_said = !what.is_empty() || !device.is_empty();
        if !is_said || is_inferred(Topic::Node) || is_inferred(Topic::Memory) {
            return Sureness::Inferred;
        }
        // An answer is only as sure as its least sure part. If only one source names the node, the whole answer is
        // "said", not "agreed".
        let agreed =
            what.union(&device).count() > 1 && (node.len() > 1 || judged(Topic::Node).next().is_none());
        if agreed { Sureness::Agreed } else { Sureness::Said }
    }
}
