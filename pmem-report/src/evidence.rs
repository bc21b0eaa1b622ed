//! How sure an answer is: who says what of an address, and whether they agree.

use crate::outcome::Outcome;
use pmem_core::{ArenaId, FirmwareMemory, Place, RegionId};
use pmem_import::{Address, Machine, MemoryKind, NodeRangeKind, ReservedKind, SourceLine};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// How sure an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sureness {
    /// Several sources say the same.
    Agreed,
    /// One source says so.
    Said,
    /// It follows from what sources say.
    Inferred,
    /// It holds on every machine of the architecture; no source says so.
    Architecture,
    /// It holds if an IOMMU, of which no source shows the tables, lets the device's addresses through as they are.
    Conditional,
    /// Sources contradict each other.
    Doubtful,
    /// No source says.
    Unknown,
}

/// What is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// What is there.
    What,
    /// Which NUMA node it is.
    Node,
    /// Which kind of memory it is.
    Memory,
    /// Which device has it.
    Device,
    /// How a device's address becomes one of the CPUs'.
    Way,
}

/// What one source says of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Evidence {
    /// What it is about.
    pub about: Topic,
    /// What is said.
    pub says: String,
    /// The source; null if it is inferred, or so by architecture.
    pub source: Option<String>,
    /// The line, from 1; null if it is about the source as a whole.
    pub line: Option<u32>,
    /// Whether it agrees with the answer.
    pub stance: Stance,
}

/// Whether what is said agrees with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stance {
    /// It says the same.
    Agrees,
    /// It says something else that may be so as well, as of memory that the kernel keeps for itself.
    Differs,
    /// Both cannot be.
    Contradicts,
}

/// The kind of memory that firmware's map means.
fn of_firmware(kind: FirmwareMemory) -> MemoryKind {
    match kind {
        FirmwareMemory::Persistent => MemoryKind::Persistent,
        FirmwareMemory::SpecialPurpose => MemoryKind::Special,
        _ => MemoryKind::Dram,
    }
}

/// Of what it is asked how sure it is.
pub(crate) struct Question {
    /// Of a device's address: the arena of its bus, which function, if one was named, and what was asked there.
    pub(crate) device: Option<(ArenaId, Option<Address>, u64)>,
    /// Of an I/O port, as CPUs see it.
    pub(crate) port: Option<u64>,
    /// Where it ends.
    pub(crate) place: Option<Place>,
    /// Where CPUs see that.
    pub(crate) at: Option<u64>,
    /// What became of it.
    pub(crate) result: Outcome,
}

/// What is gathered of an address.
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

    /// What is there, as lists and the firmware's map say.
    fn what(&mut self, at: u64, memory: Option<MemoryKind>, holder: Option<Address>) {
        let machine = self.machine;
        // The innermost name, and what of the names around it says that it is memory.
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
        // A list may be made of the map itself.
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

    /// Whose memory it is.
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
                NodeRangeKind::Srat => "range of firmware's",
                NodeRangeKind::Kernel => "range of the kernel's",
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

    /// How a device's address becomes one of the CPUs'. Gives whether a unit that nobody shows the tables of may change it.
    fn way(&mut self, from: ArenaId, function: Option<Address>, asked: u64) -> bool {
        let machine = self.machine;
        let bus = machine.buses.iter().find(|(_, bus)| bus.memory == from).map(|(id, _)| *id);
        let Some(bus) = bus else { return false };
        let on_bus = machine.functions.iter().map(pmem_import::Function::bdf);
        let on_bus = on_bus.filter(|function| (function.segment, function.bus) == bus);
        let asking: Vec<Address> = function.map_or_else(|| on_bus.collect(), |function| vec![function]);
        // Of devices of one bus some may have a range for themselves.
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
                "an IOMMU, which lets its addresses through as they are",
            );
            return false;
        }
        const HIDDEN: &str = "an IOMMU, whose tables no source shows";
        if let Some(at) = iommu.translated.get(root) {
            self.said(Topic::Way, at, HIDDEN);
        } else if let Some(unit) = iommu.units.first() {
            self.said(Topic::Way, &unit.at, HIDDEN);
        } else if let Some(map) = iommu.streams.first() {
            self.said(Topic::Way, &map.at, HIDDEN);
        } else if let Some(group) = groups.first() {
            self.inferred(
                Topic::Way,
                format!("an IOMMU, for it is in group {group}, whose tables no source shows"),
            );
        } else {
            self.inferred(Topic::Way, "no source shows an IOMMU");
            return false;
        }
        true
    }

    /// The function that has it.
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

    /// Whether two functions are one, or one is a virtual function of the other, in whose space it has its slice.
    fn is_same(&self, a: Address, b: Address) -> bool {
        let physical = |function: Address| self.machine.function(function).and_then(|known| known.physical);
        a == b || physical(a) == Some(b) || physical(b) == Some(a)
    }

    /// Others whose resources sources have there as well.
    fn disputed(&mut self, at: u64) {
        let machine = self.machine;
        for said in machine.disputed.iter().filter(|said| said.value.0.contains(at)) {
            self.said(Topic::Device, &said.at, said.value.1.to_string()).stance = Stance::Contradicts;
        }
    }

    /// What is in no list of the CPUs' addresses: a port, an emulator's address space, a net.
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

    /// The CXL region or window that has it.
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
    /// How sure the answer is, and by whom.
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
            // That nothing is there follows from nobody's naming anything.
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
        // As sure as the least sure part: of a node that one source names one source is enough to say so.
        let agreed =
            what.union(&device).count() > 1 && (node.len() > 1 || judged(Topic::Node).next().is_none());
        if agreed { Sureness::Agreed } else { Sureness::Said }
    }
}
