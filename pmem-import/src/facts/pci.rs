//! What sources say about PCI: functions, root buses, and resources without an address.

use super::{SourceLine, Sourced};
use pmem_core::AddrRange;
use pmem_pci::{Address, Class, Command, Header, ResizableBar, Sriov};
use std::collections::BTreeMap;
use std::fmt;

/// A bus: segment and bus number.
pub type BusId = (u32, u8);

/// Formats a bus as Linux does: `0000:3b`.
#[must_use]
pub fn show_bus((segment, bus): BusId) -> String {
    format!("{segment:04x}:{bus:02x}")
}

/// Which part of a function a resource belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// Base address register 0 to 5.
    Bar(u8),
    /// The expansion ROM.
    Rom,
    /// The space behind a base address register, 0 to 5, of virtual functions.
    VfBar(u8),
    /// A bridge's window.
    Window,
    /// A base address register; the source does not say which.
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

/// A resource that is assigned, in CPU addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciResource {
    /// The register that it belongs to.
    pub kind: ResourceKind,
    /// Its addresses.
    pub range: AddrRange,
    /// It is I/O ports rather than memory.
    pub io: bool,
    /// It is prefetchable: reads have no side effects.
    pub prefetchable: bool,
    /// Whether its register, or the window's, holds 64-bit addresses; `None` if no source says.
    pub wide: Option<bool>,
    /// Only the start is known; the resource is at least as long as `range`.
    pub open_ended: bool,
    /// Where the source says so.
    pub at: SourceLine,
}

/// A resource without a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// The register that it belongs to.
    pub kind: ResourceKind,
    /// Its size in bytes; `None` if no source says.
    pub size: Option<u64>,
    /// It is I/O ports rather than memory.
    pub io: bool,
    /// It is prefetchable: reads have no side effects.
    pub prefetchable: bool,
    /// Whether its register holds 64-bit addresses; `None` if no source says.
    pub wide: Option<bool>,
    /// The reason, in the source's words.
    pub why: String,
    /// The kernel gave up its place, and will look for another at its next chance.
    pub again: bool,
    /// Where the source says so.
    pub at: SourceLine,
}

/// Where a function's description comes from, in increasing order of trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PciSource {
    /// Lines of a resource listing that name functions.
    #[default]
    Listing,
    /// A kernel's log.
    Log,
    /// `lspci`.
    Lspci,
    /// The kernel's files in `/sys`.
    Sysfs,
}

/// A PCI function, as one source describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Its address.
    pub address: Option<Address>,
    /// The bridge above it; `None` on a root bus, or if no source says.
    pub parent: Option<Address>,
    /// The root bus above it; `None` if no source says.
    pub root: Option<BusId>,
    /// Where it is described.
    pub at: Option<SourceLine>,
    /// Which source describes it.
    pub source: PciSource,
    /// Its class code.
    pub class: Option<Class>,
    /// Vendor and device id.
    pub id: Option<(u16, u16)>,
    /// Its NUMA node.
    pub numa: Option<u32>,
    /// Its configuration header.
    pub header: Option<Header>,
    /// Its SR-IOV capability.
    pub sriov: Option<Sriov>,
    /// The most virtual functions that it can have, according to a log.
    pub most_virtual: Option<u64>,
    /// Its resizable BARs.
    pub resizable: Vec<ResizableBar>,
    /// Its command register, from a source that shows no header.
    pub command: Option<Command>,
    /// Whether cards can be plugged in below it; `None` if no source says.
    pub hot_plug: Option<bool>,
    /// For a virtual function: its physical function.
    pub physical: Option<Address>,
    /// Its assigned resources.
    pub resources: Vec<PciResource>,
    /// Windows that a bridge had earlier, according to a log. They tell which window a line of a later listing is.
    pub former: Vec<PciResource>,
    /// Windows that the kernel released but whose sizes it keeps, to ask for as much again.
    pub kept: Vec<PciResource>,
    /// Whether `resources` lists all of a bridge's windows.
    pub lists_windows: bool,
    /// Its resources without a place.
    pub unplaced: Vec<Unplaced>,
    /// The buses below a bridge: first and last, inclusive.
    pub below: Option<(u8, u8)>,
    /// The driver that is bound to it.
    pub driver: Option<String>,
    /// What Linux calls it: `eth0`, `nvme0n1`.
    pub names: Vec<String>,
    /// Vendor and device in words.
    pub title: Option<String>,
}

impl Function {
    /// Merges two descriptions: `self` wins, and `old` fills in what `self` does not say.
    pub(crate) fn over(self, old: Self) -> Self {
        let mut new = self;
        take_names(&mut new.resources, &old.resources);
        let new = new;
        let has = |kind, io| {
            new.resources.iter().any(|r| r.kind == kind && (kind != ResourceKind::Window || r.io == io))
        };
        let mut resources: Vec<PciResource> = new.resources.clone();
        // Registers that `self` mentions, with or without a place, replace those of `old`.
        let keeps = |had: &&PciResource| match had.kind {
            ResourceKind::Window => !new.lists_windows,
            kind => !has(kind, had.io) && !new.unplaced.iter().any(|u| u.kind == kind && u.io == had.io),
        };
        let says_all = new.source == PciSource::Sysfs && !new.resources.is_empty();
        resources.extend(old.resources.iter().filter(keeps).filter(|_| !says_all).cloned());
        // A register dump gives only the start; a source that gives the size knows more.
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
        // The log gives the reason; `lspci` only shows that there is no place.
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

    /// Returns its address, or 0000:00:00.0 if it has none.
    #[must_use]
    pub fn bdf(&self) -> Address {
        self.address.unwrap_or(Address { segment: 0, bus: 0, device: 0, function: 0 })
    }

    /// Whether it is a PCI bridge, by its header, or else by its class or the buses below it.
    pub fn is_bridge(&self) -> bool {
        match &self.header {
            Some(header) => header.bridge().is_some(),
            None => self.below.is_some() || self.class.is_some_and(Class::is_bridge),
        }
    }

    /// Returns a word for what it is, by its class.
    #[must_use]
    pub fn class_name(&self) -> &'static str {
        match self.class {
            Some(class) => class.name(),
            None if self.is_bridge() => "PCI bridge",
            None => "device",
        }
    }
}

/// Names resources whose register one source does not know, with the help of another. A match has the same range,
/// or else the same start, or else the same size and kind; better matches are tried first.
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

/// Addresses that a root bus decodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aperture {
    /// Its CPU addresses.
    pub range: AddrRange,
    /// The bus address that `range` starts at.
    pub bus_start: u64,
    /// It is I/O ports rather than memory.
    pub io: bool,
}

/// A resource that firmware put where something else is, as a kernel found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The function.
    pub function: Address,
    /// The register.
    pub kind: ResourceKind,
    /// It is I/O ports rather than memory.
    pub io: bool,
    /// The addresses that firmware gave it.
    pub range: AddrRange,
    /// What it conflicts with, in the source's words; empty if it lies in no window of the bridge above.
    pub with: String,
}

/// A bridge window that a kernel had no room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingWindow {
    /// The bridge.
    pub bridge: Address,
    /// Size that the kernel wanted, in bytes.
    pub size: u64,
    /// It is I/O ports rather than memory.
    pub io: bool,
    /// It is for prefetchable memory.
    pub prefetchable: bool,
}

/// What sources say about PCI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pci {
    /// By bus: the NUMA node that it is attached to.
    pub nodes: BTreeMap<BusId, u32>,
    /// Functions by source and address.
    pub functions: BTreeMap<(PciSource, Address), Function>,
    /// By root bus: its apertures.
    pub roots: BTreeMap<BusId, Vec<Sourced<Aperture>>>,
    /// By root bus: the system addresses that its devices reach, as ranges of bus addresses, each with the CPU
    /// address of its start.
    pub inward: BTreeMap<BusId, Vec<(AddrRange, u64)>>,
    /// By root bus: its first and last bus number, inclusive.
    pub ranges: BTreeMap<BusId, (u8, u8)>,
    /// By bus: the last bus behind the bridge above it, from a log that does not yet say which bridge that is.
    pub ends: BTreeMap<BusId, u8>,
    /// By segment: the last bus number that a kernel could have given to a bridge.
    pub reach: BTreeMap<u32, u8>,
    /// By bus: what the bridge above it forwards, from a log that does not yet say which bridge that is.
    pub listed: BTreeMap<BusId, Vec<PciResource>>,
    /// Resources that firmware put where something else is.
    pub conflicts: Vec<Sourced<Conflict>>,
    /// Bridge windows that a kernel had no room for.
    pub wanted: Vec<Sourced<MissingWindow>>,
    /// Bridges that have too few bus numbers, with the first and last number that they need; zeros if a
    /// log does not say.
    pub numberless: BTreeMap<Address, (u8, u8)>,
    /// Memory-mapped configuration space: segment and addresses.
    pub ecam: Vec<Sourced<(u32, AddrRange)>>,
}

impl Pci {
    /// Returns a source's description of the function at an address; creates it if necessary.
    pub fn function(&mut self, source: PciSource, address: Address, at: &SourceLine) -> &mut Function {
        self.functions.entry((source, address)).or_insert_with(|| Function {
            address: Some(address),
            at: Some(at.clone()),
            source,
            ..Function::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_told_by_its_class_or_by_the_bus_below_it() {
        let bridge = Some(Class(0x06_0400));
        for (class, below, is_bridge) in [
            (None, None, false),
            (bridge, None, true),
            (None, Some((1, 1)), true),
            (Some(Class(0x02_0000)), None, false),
        ] {
            let function = Function { class, below, ..Function::default() };
            assert_eq!(function.is_bridge(), is_bridge, "{class:?} {below:?}");
        }
    }
}
