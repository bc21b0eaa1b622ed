//! A PCI hierarchy: host bridges with their apertures, bridges with their windows, functions with what they decode.
//!
//! Addresses are those of the bus, as registers hold them, for it is there that alignment counts (PCI Local Bus 3.0, 6.2.5.1); a host bridge's
//! [`Aperture`]s say where the CPU sees them.

use crate::{Address, BusRange};
use alloc::vec::Vec;
use core::fmt;

/// Which of a tree's functions.
pub type Index = usize;

/// What is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// I/O ports.
    Io,
    /// Memory.
    Memory,
}

/// What of a function a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// Base address register 0 to 5: the first of the two that a 64-bit one takes.
    Bar(u8),
    /// The expansion ROM.
    Rom,
    /// The space of a base address register of all virtual functions together, 0 to 5.
    Vf(u8),
}

impl fmt::Display for Slot {
    /// `0` to `5`, `rom`, `vf0` to `vf5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bar(n) => write!(f, "{n}"),
            Self::Rom => f.write_str("rom"),
            Self::Vf(n) => write!(f, "vf{n}"),
        }
    }
}

/// What a function decodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Which it is.
    pub slot: Slot,
    /// Ports or memory.
    pub space: Space,
    /// Reads have no side effects.
    pub prefetchable: bool,
    /// The last address that its register can hold: 2^32 - 1, or 2^64 - 1 of a 64-bit one.
    pub top: u64,
    /// Its size in bytes.
    pub size: u64,
    /// What it begins at a multiple of: its size, but for the space of virtual functions, where it is that of one.
    pub align: u64,
    /// Where it begins; `None` if it has no place.
    pub at: Option<u64>,
    /// It cannot be anywhere else: Enhanced Allocation, legacy ranges.
    pub fixed: bool,
    /// The function works without it: ROMs, ports of PCI Express functions, virtual functions.
    pub optional: bool,
}

impl Resource {
    /// Its addresses.
    #[must_use]
    pub fn span(&self) -> Option<BusRange> {
        BusRange::sized(self.at?, self.size)
    }

    /// Whether it can be above 4 GiB.
    #[must_use]
    pub const fn is_wide(&self) -> bool {
        self.top > 0xffff_ffff
    }
}

/// Which of a bridge's windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowKind {
    /// I/O ports.
    Io,
    /// Memory, whatever it is.
    Memory,
    /// Prefetchable memory.
    Prefetchable,
}

impl WindowKind {
    /// What it forwards.
    #[must_use]
    pub const fn space(self) -> Space {
        match self {
            Self::Io => Space::Io,
            Self::Memory | Self::Prefetchable => Space::Memory,
        }
    }
}

impl fmt::Display for WindowKind {
    /// `io`, `mem`, `pref`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io => "io",
            Self::Memory => "mem",
            Self::Prefetchable => "pref",
        })
    }
}

/// One of a bridge's windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which it is.
    pub kind: WindowKind,
    /// What it forwards; `None` if it is closed.
    pub span: Option<BusRange>,
    /// Its step, a power of two.
    pub granule: u64,
    /// The last address that its registers can hold.
    pub top: u64,
    /// Of a CardBus bridge: by which of its two sets of registers for the space, 0 or 1 (PC Card Standard 8.0, volume 3).
    pub card_bus: Option<u8>,
}

/// What makes a function a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// The first and the last bus below it; `None` if it has none.
    pub buses: Option<(u8, u8)>,
    /// The windows that it has: at most one of each kind, but for CardBus bridges, which have two of each space.
    pub windows: Vec<Window>,
    /// Cards can be plugged in below it.
    pub hot_plug: bool,
    /// It forwards VGA's frame buffer and ports.
    pub vga: bool,
    /// It forwards only the first 256 of each 1024 ports below 64 Ki.
    pub isa: bool,
    /// It forwards what nobody else takes.
    pub subtractive: bool,
}

/// What it costs to stop a function, so that what it decodes can be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mobility {
    /// It is stopped anyway: what is asked for is about it.
    Asked,
    /// Nobody uses it.
    Idle,
    /// A driver has it, or it is not known that none has.
    #[default]
    Driven,
    /// It must stay.
    Pinned,
}

impl Mobility {
    /// The weight of stopping it; `None` if it must not be.
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

/// A base address register whose size can be changed (PCI Express 6.0, 7.8.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resizable {
    /// Which: 0 to 5.
    pub bar: u8,
    /// Sizes that it can have, in bytes, in order.
    pub sizes: Vec<u64>,
    /// Where in configuration space its control register is, and what else than the size that holds.
    pub control: (u16, u32),
}

/// Where a function's virtual functions are set up (PCI Express 6.0, 9.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualFunctions {
    /// Where in configuration space the capability is.
    pub capability: u16,
    /// What its control register holds.
    pub control: u16,
}

impl VirtualFunctions {
    /// Whether they are there, or decode.
    #[must_use]
    pub const fn are_on(self) -> bool {
        self.control & 9 != 0
    }
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: Address,
    /// The bridge above it; `None` on a root bus.
    pub parent: Option<Index>,
    /// The host bridge above it.
    pub root: usize,
    /// What it decodes.
    pub resources: Vec<Resource>,
    /// Which of its registers can have other sizes, where that is known.
    pub resizable: Vec<Resizable>,
    /// Where its virtual functions are set up, where that is known.
    pub virtual_functions: Option<VirtualFunctions>,
    /// What it forwards.
    pub bridge: Option<Bridge>,
    /// What it costs to stop it.
    pub mobility: Mobility,
    /// Its command register, where it is known.
    pub command: Option<u16>,
    /// It is a card that is to come, or may come, for which room is kept: it has places and windows, and no registers yet.
    pub absent: bool,
}

impl Function {
    /// A function that decodes nothing.
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

    /// Its resource in a slot.
    #[must_use]
    pub fn resource(&self, slot: Slot) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.slot == slot)
    }

    /// Whether it must be stopped when a resource moves: the space of virtual functions that are not there is nobody's.
    #[must_use]
    pub fn stops_for(&self, slot: Slot) -> bool {
        match slot {
            Slot::Vf(_) => self.virtual_functions.is_some_and(VirtualFunctions::are_on),
            Slot::Bar(_) | Slot::Rom => true,
        }
    }

    /// Its first window of a kind.
    #[must_use]
    pub fn window(&self, kind: WindowKind) -> Option<&Window> {
        self.bridge.as_ref()?.windows.iter().find(|window| window.kind == kind)
    }
}

/// What a host bridge forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aperture {
    /// Ports or memory.
    pub space: Space,
    /// Its addresses on the bus.
    pub span: BusRange,
    /// Where the CPU sees the first of them.
    pub cpu: u64,
}

/// A host bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// Its segment (Linux: domain).
    pub segment: u32,
    /// Its bus, and the last one below it.
    pub buses: (u8, u8),
    /// What it forwards, in order of address; none overlaps another of its space, and two that touch and are shifted alike are one.
    pub apertures: Vec<Aperture>,
}

impl Root {
    /// What is added to an address on the bus to give the CPU's, modulo 2^64: that of the aperture it lies in, else what all have in common.
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

    /// Where the CPU sees addresses of the bus.
    #[must_use]
    pub fn to_cpu(&self, space: Space, span: BusRange) -> Option<BusRange> {
        span.shifted(self.offset(space, span.first))
    }

    /// Where what the CPU sees is on the bus.
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

    /// Where on the bus addresses are that the CPU sees through its apertures.
    pub fn through_apertures(&self, space: Space, span: BusRange) -> impl Iterator<Item = BusRange> + '_ {
        self.apertures.iter().filter(move |aperture| aperture.space == space).filter_map(move |aperture| {
            let seen = BusRange::sized(aperture.cpu, aperture.span.len())?.intersect(span)?;
            seen.shifted(aperture.span.first.wrapping_sub(aperture.cpu))
        })
    }

    /// Puts its apertures into order, and joins those that touch and are shifted alike.
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

/// Addresses that nothing may be placed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avoid {
    /// Ports or memory.
    pub space: Space,
    /// The addresses, as the CPU sees them.
    pub span: BusRange,
    /// What lies there does not work, so that it is wrong even where firmware put it; else it is only left alone.
    pub strict: bool,
}

/// A PCI hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Host bridges.
    pub roots: Vec<Root>,
    /// Functions, each after the bridge above it.
    pub functions: Vec<Function>,
    /// What nothing may be placed at.
    pub avoid: Vec<Avoid>,
}

impl Tree {
    /// The function at an address.
    #[must_use]
    pub fn find(&self, address: Address) -> Option<Index> {
        self.functions.iter().position(|function| function.address == address)
    }

    /// The functions on the bus below a bridge, or on a root bus.
    pub fn on_bus(
        &self,
        root: usize,
        bridge: Option<Index>,
    ) -> impl Iterator<Item = (Index, &Function)> + '_ {
        self.functions.iter().enumerate().filter(move |(_, f)| f.parent == bridge && f.root == root)
    }

    /// The bridges above a function, the nearest first.
    pub fn above(&self, function: Index) -> impl Iterator<Item = Index> + '_ {
        let parent = |index: Index| self.functions.get(index).and_then(|f| f.parent);
        // A bridge comes before what is below it, so that this ends even where a tree is none.
        core::iter::successors(parent(function), move |index| parent(*index).filter(|above| above < index))
    }

    /// Whether a function is below a bridge.
    #[must_use]
    pub fn is_below(&self, function: Index, bridge: Index) -> bool {
        self.above(function).any(|above| above == bridge)
    }
}
