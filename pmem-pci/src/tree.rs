//! PCI hierarchies: host bridges with apertures, bridges with windows, functions with the resources they
//! decode.
//!
//! Addresses are bus addresses, as registers hold them, because alignment applies to those (PCI Local Bus 3.0,
//! 6.2.5.1). A host bridge's [`Aperture`]s map them to CPU addresses.

use crate::{Address, BusRange};
use alloc::vec::Vec;
use core::fmt;

/// An index into [`Tree::functions`].
pub type Index = usize;

/// The two address spaces of PCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// I/O ports.
    Io,
    /// Memory.
    Memory,
}

/// Which of a function's registers a resource belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// Base address register 0 to 5. A 64-bit BAR goes by the first of its two slots.
    Bar(u8),
    /// The expansion ROM.
    Rom,
    /// BAR 0 to 5 of the virtual functions: the combined space of all of them.
    Vf(u8),
}

impl fmt::Display for Slot {
    /// Writes `0` to `5`, `rom`, or `vf0` to `vf5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bar(n) => write!(f, "{n}"),
            Self::Rom => f.write_str("rom"),
            Self::Vf(n) => write!(f, "vf{n}"),
        }
    }
}

/// A range of addresses that a function decodes: a BAR, a ROM, or the space of virtual functions.
///
/// # Examples
/// A 256 MiB framebuffer behind a 64-bit prefetchable BAR:
/// ```
/// use pmem_pci::tree::{Resource, Slot, Space};
///
/// let framebuffer = Resource {
///     slot: Slot::Bar(0),
///     space: Space::Memory,
///     prefetchable: true,
///     top: u64::MAX,
///     size: 256 << 20,
///     align: 256 << 20,
///     at: Some(0x38_e000_0000),
///     fixed: false,
///     optional: false,
/// };
/// assert!(framebuffer.is_wide());
/// assert_eq!(framebuffer.span().map(|span| span.last), Some(0x38_efff_ffff));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The register it belongs to.
    pub slot: Slot,
    /// Whether it decodes I/O ports or memory.
    pub space: Space,
    /// Whether reads have no side effects, so that a bridge may prefetch.
    pub prefetchable: bool,
    /// The last address that the register can hold, inclusive: 2^32 - 1, or 2^64 - 1 for a 64-bit BAR.
    pub top: u64,
    /// The size in bytes, or in ports.
    pub size: u64,
    /// The alignment of its start: the size, except for virtual functions, where it is the size of a single
    /// one.
    pub align: u64,
    /// The bus address it starts at; `None` if it has not been placed.
    pub at: Option<u64>,
    /// Whether it can never move: Enhanced Allocation, legacy ranges.
    pub fixed: bool,
    /// Whether the function works without it: ROMs, I/O ports of PCI Express functions, virtual functions.
    pub optional: bool,
}

impl Resource {
    /// Returns the bus addresses it decodes; `None` if it has not been placed, or its size is 0.
    #[must_use]
    pub fn span(&self) -> Option<BusRange> {
        BusRange::sized(self.at?, self.size)
    }

    /// Returns `true` if it can be placed above 4 GiB.
    #[must_use]
    pub const fn is_wide(&self) -> bool {
        self.top > 0xffff_ffff
    }
}

/// The kinds of windows that a bridge has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowKind {
    /// I/O ports.
    Io,
    /// Memory, prefetchable or not.
    Memory,
    /// Prefetchable memory.
    Prefetchable,
}

impl WindowKind {
    /// Returns the address space of the window.
    #[must_use]
    pub const fn space(self) -> Space {
        match self {
            Self::Io => Space::Io,
            Self::Memory | Self::Prefetchable => Space::Memory,
        }
    }
}

impl fmt::Display for WindowKind {
    /// Writes `io`, `mem` or `pref`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io => "io",
            Self::Memory => "mem",
            Self::Prefetchable => "pref",
        })
    }
}

/// A window of a bridge: a range of bus addresses that it forwards downstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The kind of window.
    pub kind: WindowKind,
    /// The addresses that it forwards; `None` if it is closed.
    pub span: Option<BusRange>,
    /// The granule of its base and limit, a power of two.
    pub granule: u64,
    /// The last address that its registers can hold, inclusive.
    pub top: u64,
    /// For a CardBus bridge, which of its two register sets for the space this is, 0 or 1 (PC Card Standard
    /// 8.0, volume 3); `None` for a PCI bridge.
    pub card_bus: Option<u8>,
}

/// The part of a function that makes it a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// The secondary and the subordinate bus number, both inclusive; `None` if it has no bus numbers.
    pub buses: Option<(u8, u8)>,
    /// Its windows: at most one of each kind. CardBus bridges have two for each space.
    pub windows: Vec<Window>,
    /// Whether cards can be hot-plugged below it.
    pub hot_plug: bool,
    /// Whether it forwards the VGA frame buffer and ports.
    pub vga: bool,
    /// Whether it forwards only the first 256 ports of each 1024 below 64 Ki (the ISA enable bit).
    pub isa: bool,
    /// Whether it claims what nothing else on its bus claims (subtractive decode).
    pub subtractive: bool,
}

/// How hard it is to stop a function, so that its resources can move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mobility {
    /// The request is about this function: it is stopped anyway.
    Asked,
    /// No driver uses it.
    Idle,
    /// A driver uses it, or that is unknown.
    #[default]
    Driven,
    /// It must not be stopped.
    Pinned,
}

impl Mobility {
    /// Returns the cost of stopping the function; `None` if it must not be stopped.
    #[must_use]
    pub const fn weight(self) -> Option<u64> {
        match self {
            Self::Asked => Some(0),
            Self::Idle => Some(1),
            Self::Driven => Some(5),
            Self::Pinned => None,
        }
    }
}

/// A BAR whose size can be changed (PCI Express 6.0, 7.8.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resizable {
    /// The index of the BAR, 0 to 5.
    pub bar: u8,
    /// The sizes that it supports, in bytes, in ascending order.
    pub sizes: Vec<u64>,
    /// The offset of its control register in configuration space, and the register's bits other than the size.
    pub control: (u16, u32),
}

/// The SR-IOV capability of a function (PCI Express 6.0, 9.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualFunctions {
    /// The offset of the capability in configuration space.
    pub capability: u16,
    /// The value of its control register.
    pub control: u16,
}

impl VirtualFunctions {
    /// Returns `true` if virtual functions are enabled, or decode memory.
    #[must_use]
    pub const fn are_on(self) -> bool {
        self.control & 9 != 0
    }
}

/// A PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its segment, bus, device and function number.
    pub address: Address,
    /// The bridge above it; `None` if it is on a root bus.
    pub parent: Option<Index>,
    /// The host bridge above it, as an index into [`Tree::roots`].
    pub root: usize,
    /// The resources it decodes.
    pub resources: Vec<Resource>,
    /// The BARs whose size can be changed; empty if none can, or if that is unknown.
    pub resizable: Vec<Resizable>,
    /// Its SR-IOV capability; `None` if it has none, or if that is unknown.
    pub virtual_functions: Option<VirtualFunctions>,
    /// Its bridge part; `None` if it is not a bridge.
    pub bridge: Option<Bridge>,
    /// How hard it is to stop it.
    pub mobility: Mobility,
    /// The value of its command register; `None` if unknown.
    pub command: Option<u16>,
    /// Whether it is a card that is not there yet, for which room is kept. It can have places and windows, but
    /// it has no registers to write.
    pub absent: bool,
}

impl Function {
    /// Creates a function that decodes nothing, assumed to be in use by a driver.
    #[must_use]
    pub const fn new(address: Address, parent: Option<Index>, root: usize) -> Self {
        Self {
            address,
            parent,
            root,
            resources: Vec::new(),
            resizable: Vec::new(),
            virtual_functions: None,
            bridge: None,
            mobility: Mobility::Driven,
            command: None,
            absent: false,
        }
    }

    /// Returns its resource in a slot.
    #[must_use]
    pub fn resource(&self, slot: Slot) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.slot == slot)
    }

    /// Returns `true` if the function must be stopped while the resource in `slot` moves. The space of disabled
    /// virtual functions is not in use, so that it moves freely.
    #[must_use]
    pub fn stops_for(&self, slot: Slot) -> bool {
        match slot {
            Slot::Vf(_) => self.virtual_functions.is_some_and(VirtualFunctions::are_on),
            Slot::Bar(_) | Slot::Rom => true,
        }
    }

    /// Returns its first window of a kind; `None` if it has none, or is not a bridge.
    #[must_use]
    pub fn window(&self, kind: WindowKind) -> Option<&Window> {
        self.bridge.as_ref()?.windows.iter().find(|window| window.kind == kind)
    }
}

/// A range of bus addresses that a host bridge forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aperture {
    /// Whether it forwards I/O ports or memory.
    pub space: Space,
    /// The bus addresses that it forwards.
    pub span: BusRange,
    /// The CPU address of the first of them.
    pub cpu: u64,
}

/// A host bridge.
///
/// # Examples
/// An Arm host bridge shows bus address 0x4000_0000 to the CPU at 0x60_0000_0000:
/// ```
/// use pmem_pci::BusRange;
/// use pmem_pci::tree::{Aperture, Root, Space};
///
/// let span = BusRange { first: 0x4000_0000, last: 0x7fff_ffff };
/// let aperture = Aperture { space: Space::Memory, span, cpu: 0x60_0000_0000 };
/// let root = Root { segment: 0, buses: (0, 0xff), apertures: vec![aperture] };
/// let bar = BusRange { first: 0x4010_0000, last: 0x4010_ffff };
/// let seen = root.to_cpu(Space::Memory, bar).ok_or("it wraps around 2^64")?;
/// assert_eq!(seen.first, 0x60_0010_0000);
/// assert_eq!(root.to_bus(Space::Memory, seen), Some(bar));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// The segment group (Linux: domain).
    pub segment: u32,
    /// Its root bus, and the last bus below it, both inclusive.
    pub buses: (u8, u8),
    /// The ranges it forwards, in ascending order. Apertures of one space never overlap, and two that touch and
    /// have the same offset are joined: see [`Root::join_apertures`].
    pub apertures: Vec<Aperture>,
}

impl Root {
    /// Returns the difference between a CPU address and bus address `at`, modulo 2^64. Outside of all apertures
    /// this is their common offset, or 0 if they have different ones.
    #[must_use]
    pub fn offset(&self, space: Space, at: u64) -> u64 {
        let mut own = self.apertures.iter().filter(|a| a.space == space);
        let offset = |a: &Aperture| a.cpu.wrapping_sub(a.span.first);
        if let Some(aperture) = own.clone().find(|a| a.span.contains(at)) {
            return offset(aperture);
        }
        let first = own.next().map_or(0, offset);
        if own.all(|a| offset(a) == first) { first } else { 0 }
    }

    /// Translates bus addresses to CPU addresses; `None` if the result would wrap around.
    #[must_use]
    pub fn to_cpu(&self, space: Space, span: BusRange) -> Option<BusRange> {
        span.shifted(self.offset(space, span.first))
    }

    /// Translates CPU addresses to bus addresses; `None` if the result would wrap around.
    #[must_use]
    pub fn to_bus(&self, space: Space, span: BusRange) -> Option<BusRange> {
        let mut own = self.apertures.iter().filter(|a| a.space == space);
        let back = |a: &Aperture| a.span.first.wrapping_sub(a.cpu);
        let inside = own.clone().find(|a| span.first.wrapping_sub(a.cpu) < a.span.len());
        let by = match inside {
            Some(aperture) => back(aperture),
            None => {
                let first = own.next().map_or(0, back);
                if own.all(|a| back(a) == first) { first } else { 0 }
            }
        };
        span.shifted(by)
    }

    /// Iterates over the bus addresses that the CPU reaches at `span` through the apertures, one range per
    /// aperture.
    pub fn through_apertures(&self, space: Space, span: BusRange) -> impl Iterator<Item = BusRange> + '_ {
        self.apertures.iter().filter(move |aperture| aperture.space == space).filter_map(move |aperture| {
            let seen = BusRange::sized(aperture.cpu, aperture.span.len())?.intersect(span)?;
            seen.shifted(aperture.span.first.wrapping_sub(aperture.cpu))
        })
    }

    /// Sorts the apertures, and joins those that touch and have the same offset.
    pub fn join_apertures(&mut self) {
        self.apertures.sort_unstable_by_key(|a| (a.space, a.span));
        let mut joined: Vec<Aperture> = Vec::new();
        for aperture in self.apertures.drain(..) {
            match joined.last_mut() {
                Some(last)
                    if last.space == aperture.space
                        && last.span.last.checked_add(1) == Some(aperture.span.first)
                        && last.cpu.wrapping_sub(last.span.first)
                            == aperture.cpu.wrapping_sub(aperture.span.first) =>
                {
                    last.span.last = aperture.span.last;
                }
                _ => joined.push(aperture),
            }
        }
        self.apertures = joined;
    }
}

/// A range of addresses where nothing may be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avoid {
    /// Whether these are I/O ports or memory.
    pub space: Space,
    /// The CPU addresses.
    pub span: BusRange,
    /// Whether even a resource that firmware put there is a violation, because accesses fail. Otherwise the
    /// range is only closed to new placements.
    pub strict: bool,
}

/// A PCI hierarchy: everything that [`check`](crate::check::check) and [`plan`](crate::plan::plan) need to
/// know.
///
/// # Examples
/// ```
/// use pmem_pci::tree::{Bridge, Function, Root, Tree};
///
/// let mut tree = Tree::default();
/// tree.roots.push(Root { buses: (0, 0xff), ..Root::default() });
/// // The root port first: a function comes after the bridge above it.
/// let mut port = Function::new("00:1c.0".parse()?, None, 0);
/// port.bridge = Some(Bridge { buses: Some((1, 1)), ..Bridge::default() });
/// tree.functions = vec![port, Function::new("01:00.0".parse()?, Some(0), 0)];
///
/// let card = tree.find("01:00.0".parse()?).ok_or("no such function")?;
/// assert!(tree.is_below(card, 0));
/// assert_eq!(tree.on_bus(0, Some(0)).count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The host bridges.
    pub roots: Vec<Root>,
    /// The functions. Each comes after the bridge above it.
    pub functions: Vec<Function>,
    /// The ranges where nothing may be placed.
    pub avoid: Vec<Avoid>,
}

impl Tree {
    /// Returns the function at `address`.
    #[must_use]
    pub fn find(&self, address: Address) -> Option<Index> {
        self.functions.iter().position(|function| function.address == address)
    }

    /// Iterates over the functions on the bus directly below `bridge`, or on the root bus of `root` if that is
    /// `None`.
    pub fn on_bus(
        &self,
        root: usize,
        bridge: Option<Index>,
    ) -> impl Iterator<Item = (Index, &Function)> + '_ {
        self.functions.iter().enumerate().filter(move |(_, f)| f.parent == bridge && f.root == root)
    }

    /// Iterates over the bridges above a function, nearest first.
    pub fn above(&self, function: Index) -> impl Iterator<Item = Index> + '_ {
        let parent = |index: Index| self.functions.get(index).and_then(|f| f.parent);
        // A bridge has a lower index than what is below it. Insisting on that ends the walk even if `parent`s
        // form a loop.
        core::iter::successors(parent(function), move |index| parent(*index).filter(|above| above < index))
    }

    /// Returns `true` if the function is anywhere below the bridge.
    #[must_use]
    pub fn is_below(&self, function: Index, bridge: Index) -> bool {
        self.above(function).any(|above| above == bridge)
    }
}
