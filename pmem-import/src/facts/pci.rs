//! PCI functions, root buses, and what was not placed.

use super::{SourceLine, Sourced};
use pmem_core::AddrRange;
use pmem_pci::{Address, Class, Command, Header, ResizableBar, Sriov};
use std::collections::BTreeMap;
use std::fmt;

/// A bus: segment and number.
pub type BusId = (u32, u8);

/// Writes a bus as Linux does: `0000:3b`.
pub fn show_bus((segment, bus): BusId) -> String {
    format!("{segment:04x}:{bus:02x}")
}

/// What of a function a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// Base address register 0 to 5.
    Bar(u8),
    /// The expansion ROM.
    Rom,
    /// The space of a base address register of virtual functions, 0 to 5.
    VfBar(u8),
    /// A bridge's window.
    Window,
    /// Which of them is not said.
    Unnamed,
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bar(n) => write!(f, "BAR {n}"),
            Self::Rom => write!(f, "ROM"),
            Self::VfBar(n) => write!(f, "VF BAR {n}"),
            Self::Window => write!(f, "window"),
            Self::Unnamed => write!(f, "BAR"),
        }
    }
}

/// An assigned resource, in addresses as the CPU sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciResource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its addresses.
    pub range: AddrRange,
    /// I/O ports rather than memory.
    pub io: bool,
    /// Reads have no side effects.
    pub prefetchable: bool,
    /// Its register, or the window's, takes addresses of 64 bits; `None` if it is not said.
    pub wide: Option<bool>,
    /// Only where it begins is said; it is at least as long as this.
    pub open_ended: bool,
    /// Where it is said.
    pub at: SourceLine,
}

/// A resource that has no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// What it is.
    pub kind: ResourceKind,
    /// Its size in bytes; `None` if it is not said.
    pub size: Option<u64>,
    /// I/O ports rather than memory.
    pub io: bool,
    /// Reads have no side effects.
    pub prefetchable: bool,
    /// Its register takes addresses of 64 bits; `None` if it is not said.
    pub wide: Option<bool>,
    /// Why, in the source's words.
    pub why: String,
    /// The kernel gave its place up, and looks for another at its next chance.
    pub again: bool,
    /// Where it is said.
    pub at: SourceLine,
}

/// How sure a source is of functions, the surer last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PciSource {
    /// Lines of a list of resources, which name functions.
    #[default]
    Listing,
    /// A kernel's log.
    Log,
    /// `lspci`.
    Lspci,
    /// The kernel's files.
    Sysfs,
}

/// One PCI function, as one source describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: Option<Address>,
    /// The bridge above it; `None` on a root bus, or where it is not said.
    pub parent: Option<Address>,
    /// The root bus above it, where it is said.
    pub root: Option<BusId>,
    /// Where it is described.
    pub at: Option<SourceLine>,
    /// Who describes it.
    pub source: PciSource,
    /// Its class code.
    pub class: Option<Class>,
    /// Vendor and device.
    pub id: Option<(u16, u16)>,
    /// Its NUMA node.
    pub numa: Option<u32>,
    /// Its configuration header.
    pub header: Option<Header>,
    /// What it says of virtual functions.
    pub sriov: Option<Sriov>,
    /// How many virtual functions a log says that it can have.
    pub most_virtual: Option<u64>,
    /// Its registers that can have other sizes.
    pub resizable: Vec<ResizableBar>,
    /// Its command register, where no header says.
    pub command: Option<Command>,
    /// Cards can be plugged in below it; `None` if it is not said.
    pub hot_plug: Option<bool>,
    /// The physical function that it is a virtual function of.
    pub physical: Option<Address>,
    /// What was assigned to it.
    pub resources: Vec<PciResource>,
    /// Windows that a bridge had before, as a log tells: which of its windows a later list means.
    pub former: Vec<PciResource>,
    /// Windows that the kernel released, and of which it keeps the size: it wants them as large again.
    pub kept: Vec<PciResource>,
    /// Whether all of a bridge's windows would be among the resources.
    pub lists_windows: bool,
    /// What has no place.
    pub unplaced: Vec<Unplaced>,
    /// The buses below a bridge: the first and the last.
    pub below: Option<(u8, u8)>,
    /// The driver that is bound to it.
    pub driver: Option<String>,
    /// What Linux calls it: `eth0`, `nvme0n1`.
    pub names: Vec<String>,
    /// Vendor and device in words.
    pub title: Option<String>,
}

impl Function {
    /// What it says, and what it does not say as another description has it.
    pub(crate) fn over(self, old: Self) -> Self {
        let mut new = self;
        take_names(&mut new.resources, &old.resources);
        let new = new;
        let has = |kind, io| {
            new.resources.iter().any(|r| r.kind == kind && (kind != ResourceKind::Window || r.io == io))
        };
        let mut resources: Vec<PciResource> = new.resources.clone();
        let keeps = |had: &&PciResource| match had.kind {
            ResourceKind::Window => !new.lists_windows,
            kind => !has(kind, had.io) && !new.unplaced.iter().any(|u| u.kind == kind && u.io == had.io),
        };
        let says_all = new.source == PciSource::Sysfs && !new.resources.is_empty();
        resources.extend(old.resources.iter().filter(keeps).filter(|_| !says_all).cloned());
        // A dump says where a register begins; who says how large it is knows more.
        for resource in resources.iter_mut().filter(|r| r.open_ended) {
            let whole = |had: &&PciResource| {
                had.kind == resource.kind && had.range.start() == resource.range.start() && !had.open_ended
            };
            if let Some(whole) = old.resources.iter().find(whole) {
                *resource = whole.clone();
            }
        }
        let mut unplaced = new.unplaced.clone();
        let placed = |kind| resources.iter().any(|r: &PciResource| r.kind == kind);
        let also = |had: &&Unplaced| {
            let said = unplaced
                .iter()
                .any(|u| u.kind == had.kind && u.io == had.io && u.prefetchable == had.prefetchable);
            !said && (had.kind == ResourceKind::Window || !placed(had.kind))
        };
        let more: Vec<_> = old.unplaced.iter().filter(also).cloned().collect();
        unplaced.retain(|u| u.kind == ResourceKind::Window || !placed(u.kind));
        unplaced.extend(more);
        // The log knows why; `lspci` only that.
        for unplaced in &mut unplaced {
            let logged = old.unplaced.iter().find(|had| {
                had.kind == unplaced.kind
                    && had.io == unplaced.io
                    && had.prefetchable == unplaced.prefetchable
            });
            if let Some(logged) = logged {
                unplaced.why = logged.why.clone();
                unplaced.size = unplaced.size.or(logged.size);
            }
        }
        Function {
            address: new.address,
            parent: new.parent.or(old.parent),
            root: new.root.or(old.root),
            at: new.at.or(old.at),
            source: new.source,
            class: new.class.or(old.class),
            id: new.id.or(old.id),
            numa: new.numa.or(old.numa),
            header: new.header.or(old.header),
            sriov: new.sriov.or(old.sriov),
            most_virtual: new.most_virtual.or(old.most_virtual),
            resizable: if new.resizable.is_empty() { old.resizable } else { new.resizable },
            command: new.command.or(old.command),
            hot_plug: new.hot_plug.or(old.hot_plug),
            physical: new.physical.or(old.physical),
            resources,
            former: if new.former.is_empty() { old.former } else { new.former },
            kept: if new.kept.is_empty() { old.kept } else { new.kept },
            lists_windows: new.lists_windows || old.lists_windows,
            unplaced,
            below: new.below.or(old.below),
            driver: new.driver.or(old.driver),
            names: if new.names.is_empty() { old.names } else { new.names },
            title: new.title.or(old.title),
        }
    }

    /// Where it is.
    pub fn bdf(&self) -> Address {
        self.address.unwrap_or(Address { segment: 0, bus: 0, device: 0, function: 0 })
    }

    /// Whether it is a PCI bridge.
    pub fn is_bridge(&self) -> bool {
        match &self.header {
            Some(header) => header.bridge().is_some(),
            None => self.below.is_some() || self.class.is_some_and(Class::is_bridge),
        }
    }

    /// What it is in a word, by its class.
    pub fn class_name(&self) -> &'static str {
        match self.class {
            Some(class) => class.name(),
            None if self.is_bridge() => "PCI bridge",
            None => "device",
        }
    }
}

/// What one source lists without saying which register it is has another's name: that of what is in the same place, begins there, or is of its
/// size and kind.
fn take_names(resources: &mut [PciResource], known: &[PciResource]) {
    let same: [fn(&PciResource, &PciResource) -> bool; 3] = [
        |a, b| a.range == b.range,
        |a, b| a.range.start() == b.range.start(),
        |a, b| a.range.len() == b.range.len() && a.prefetchable == b.prefetchable,
    ];
    for same in same {
        for known in known.iter().filter(|r| !matches!(r.kind, ResourceKind::Window | ResourceKind::Unnamed))
        {
            if resources.iter().any(|r| r.kind == known.kind) {
                continue;
            }
            let unnamed =
                resources.iter_mut().filter(|r| r.kind == ResourceKind::Unnamed && r.io == known.io);
            if let Some(found) = unnamed.into_iter().find(|r| same(r, known)) {
                found.kind = known.kind;
            }
        }
    }
}

/// What a root bus is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aperture {
    /// Its addresses, as the CPU sees them.
    pub range: AddrRange,
    /// The first address on the bus.
    pub bus_start: u64,
    /// I/O ports rather than memory.
    pub io: bool,
}

/// What firmware put where something else is, as a kernel found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Whose.
    pub function: Address,
    /// What of it.
    pub kind: ResourceKind,
    /// I/O ports rather than memory.
    pub io: bool,
    /// Where it was.
    pub range: AddrRange,
    /// What else is there, in the source's words; empty if nothing forwards it.
    pub with: String,
}

/// A window that a kernel wanted, and had no room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingWindow {
    /// Of which bridge.
    pub bridge: Address,
    /// Bytes.
    pub size: u64,
    /// Of I/O ports.
    pub io: bool,
    /// Of prefetchable memory.
    pub prefetchable: bool,
}

/// What sources say of PCI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pci {
    /// By bus: the NUMA node that it is attached to.
    pub nodes: BTreeMap<BusId, u32>,
    /// By source and address.
    pub functions: BTreeMap<(PciSource, Address), Function>,
    /// Root buses, and what each is given.
    pub roots: BTreeMap<BusId, Vec<Sourced<Aperture>>>,
    /// What devices of a root bus reach of the system's addresses: where it is on the bus, and the first address there.
    pub inward: BTreeMap<BusId, Vec<(AddrRange, u64)>>,
    /// By root bus: the first and the last bus below it.
    pub ranges: BTreeMap<BusId, (u8, u8)>,
    /// By bus: the last bus behind the bridge above it, where a log says so before it says which bridge that is.
    pub ends: BTreeMap<BusId, u8>,
    /// By segment: the last bus that a kernel would have given to any bridge.
    pub reach: BTreeMap<u32, u8>,
    /// By bus: what the bridge above it forwards, where a log says so before it says which bridge that is.
    pub listed: BTreeMap<BusId, Vec<PciResource>>,
    /// What firmware put where something else is.
    pub conflicts: Vec<Sourced<Conflict>>,
    /// Windows that were wanted, and had no room.
    pub wanted: Vec<Sourced<MissingWindow>>,
    /// Bridges that have too few bus numbers, and those that they would need: 0 where a log does not say which.
    pub numberless: BTreeMap<Address, (u8, u8)>,
    /// Memory-mapped configuration space.
    pub ecam: Vec<Sourced<(u32, AddrRange)>>,
}

impl Pci {
    /// The function at an address, as a source describes it; made if it was not there.
    pub fn function(&mut self, source: PciSource, address: Address, at: &SourceLine) -> &mut Function {
        self.functions.entry((source, address)).or_insert_with(|| Function {
            address: Some(address),
            at: Some(at.clone()),
            source,
            ..Function::default()
        })
    }
}
