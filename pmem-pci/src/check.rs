//! Whether a hierarchy is legal: what overlaps, what lies outside of what it must lie in, each with both sides.

use crate::BusRange;
use crate::tree::{Function, Index, Resource, Slot, Space, Tree, Window, WindowKind};
use alloc::vec::Vec;
use core::fmt;

/// What of a hierarchy something is said about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// What a function decodes.
    Resource(Slot),
    /// What a bridge forwards.
    Window(WindowKind),
    /// What a host bridge forwards.
    Aperture,
    /// What nothing may be placed at.
    Avoid,
    /// The buses below a bridge.
    Buses,
}

/// One side of a violation; addresses are the bus's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Side {
    /// The function; `None` of a host bridge, and of what is to be avoided.
    pub function: Option<Index>,
    /// The host bridge.
    pub root: usize,
    /// What of it.
    pub part: Part,
    /// Ports or memory.
    pub space: Space,
    /// Its addresses, or its bus numbers.
    pub span: BusRange,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ViolationKind {
    /// Both answer to the same addresses.
    Overlap,
    /// The first does not lie in the second, the bridge's window that is nearest.
    Outside,
    /// The first lies in a window that its bridge does not open: it is closed, or there is none.
    Unreachable,
    /// The first, whose reads have side effects, lies in a prefetchable window.
    Prefetched,
    /// The first does not begin at a multiple of its alignment.
    Misaligned,
    /// The first is not of whole granules.
    Ragged,
    /// The first lies beyond what its register can hold.
    TooHigh,
    /// The first lies where nothing may be placed.
    Avoided,
    /// The first is larger than the 256 ports that its bridge forwards of each 1024 below 64 Ki.
    Isa,
    /// Both forward VGA from one bus.
    Vga,
    /// The buses below the first are not among those below the second, or both claim one.
    Buses,
}

impl fmt::Display for ViolationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlap => "overlaps",
            Self::Outside => "lies outside of",
            Self::Unreachable => "is not forwarded by",
            Self::Prefetched => "has side effects, and lies in the prefetchable window of",
            Self::Misaligned => "is not aligned to its size",
            Self::Ragged => "is not of whole granules",
            Self::TooHigh => "lies beyond what its register holds",
            Self::Avoided => "lies in what is to be avoided,",
            Self::Isa => "is more than the ISA enable bit forwards of",
            Self::Vga => "forwards VGA beside",
            Self::Buses => "has bus numbers at odds with",
        })
    }
}

/// A violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Violation {
    /// What is wrong.
    pub fault: ViolationKind,
    /// With what.
    pub side: Side,
    /// And with what else.
    pub other: Option<Side>,
}

/// Everything that is wrong with a hierarchy, in order of functions.
///
/// Rules: PCI Local Bus 3.0, 6.2.5.1 (alignment); PCI-to-PCI Bridge Architecture 1.2, 3.2.5 (windows, buses, VGA, ISA) and 4 (what is
/// forwarded).
#[must_use]
pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut out = Vec::new();
    for (root, _) in tree.roots.iter().enumerate() {
        bus(tree, root, None, &mut out);
    }
    for (index, function) in tree.functions.iter().enumerate() {
        registers(index, function, &mut out);
        if function.bridge.is_some() {
            bus(tree, function.root, Some(index), &mut out);
        }
        numbers(tree, index, function, &mut out);
    }
    out.sort_unstable_by_key(|v| (v.side.function, v.side.root, v.side.part, v.fault));
    out
}

/// A resource as a side.
pub(crate) fn of_resource(index: Index, function: &Function, resource: &Resource) -> Option<Side> {
    let (part, space) = (Part::Resource(resource.slot), resource.space);
    Some(Side { function: Some(index), root: function.root, part, space, span: resource.span()? })
}

/// A window as a side.
pub(crate) fn of_window(index: Index, function: &Function, window: &Window) -> Option<Side> {
    let (part, space) = (Part::Window(window.kind), window.kind.space());
    Some(Side { function: Some(index), root: function.root, part, space, span: window.span? })
}

/// What answers on a bus: what its functions decode, and what its bridges forward.
pub(crate) fn on_bus(tree: &Tree, root: usize, bridge: Option<Index>) -> Vec<Side> {
    let mut sides = Vec::new();
    for (index, function) in tree.on_bus(root, bridge) {
        sides.extend(function.resources.iter().filter_map(|r| of_resource(index, function, r)));
        let windows = function.bridge.iter().flat_map(|bridge| &bridge.windows);
        sides.extend(windows.filter_map(|w| of_window(index, function, w)));
    }
    sides
}

/// What lies on one bus.
fn bus(tree: &Tree, root: usize, bridge: Option<Index>, out: &mut Vec<Violation>) {
    let mut sides = on_bus(tree, root, bridge);
    sides.sort_unstable_by_key(|side| (side.space, side.span));
    overlaps(&sides, out);
    for side in &sides {
        let strict = tree.avoid.iter().filter(|avoid| avoid.strict && avoid.space == side.space);
        let host = tree.roots.get(root);
        let avoided = strict
            .flat_map(|avoid| {
                host.into_iter().flat_map(|host| host.through_apertures(avoid.space, avoid.span))
            })
            .find(|span| span.overlaps(side.span));
        if let Some(span) = avoided {
            let other = Side { function: None, root, part: Part::Avoid, space: side.space, span };
            out.push(Violation { fault: ViolationKind::Avoided, side: *side, other: Some(other) });
        }
        inside(tree, root, bridge, side, out);
    }
    let vga = |(index, function): (Index, &Function)| {
        let bridge = function.bridge.as_ref().filter(|bridge| bridge.vga)?;
        let (first, last) = bridge.buses.unwrap_or((0, 0));
        let span = BusRange::new(first.into(), last.into())?;
        Some(Side { function: Some(index), root, part: Part::Buses, space: Space::Memory, span })
    };
    let mut forwarding = tree.on_bus(root, bridge).filter_map(vga);
    if let Some(first) = forwarding.next() {
        out.extend(forwarding.map(|side| Violation { fault: ViolationKind::Vga, side, other: Some(first) }));
    }
}

/// Neighbours that overlap; sides are in order.
fn overlaps(sides: &[Side], out: &mut Vec<Violation>) {
    for (i, side) in sides.iter().enumerate() {
        let before = sides.get(..i).unwrap_or(&[]);
        // Each with whoever before it reaches farthest.
        let reaching =
            before.iter().filter(|other| other.space == side.space && other.span.overlaps(side.span));
        if let Some(other) = reaching.max_by_key(|other| other.span.last) {
            out.push(Violation { fault: ViolationKind::Overlap, side: *side, other: Some(*other) });
        }
    }
}

/// Whether something can be reached through the bridge above it, or the host bridge.
fn inside(tree: &Tree, root: usize, bridge: Option<Index>, side: &Side, out: &mut Vec<Violation>) {
    let Some((index, function)) = bridge.and_then(|index| Some((index, tree.functions.get(index)?))) else {
        let apertures = tree.roots.get(root).map_or(&[][..], |root| &root.apertures);
        let mut own = apertures.iter().filter(|aperture| aperture.space == side.space).peekable();
        // Where nobody says what a host bridge forwards, nothing lies outside of it.
        if own.peek().is_none() || own.clone().any(|aperture| aperture.span.covers(side.span)) {
            return;
        }
        let near = own.find(|aperture| aperture.span.overlaps(side.span));
        let as_side = |span| Side { function: None, root, part: Part::Aperture, space: side.space, span };
        let other = near.map(|aperture| as_side(aperture.span));
        let fault = if other.is_some() { ViolationKind::Outside } else { ViolationKind::Unreachable };
        out.push(Violation { fault, side: *side, other });
        return;
    };
    let Some(bridge) = &function.bridge else { return };
    let windows = || bridge.windows.iter().filter(|window| window.kind.space() == side.space);
    let prefetchable = match side.part {
        Part::Resource(slot) => tree
            .functions
            .get(side.function.unwrap_or(usize::MAX))
            .and_then(|f| f.resource(slot))
            .is_some_and(|resource| resource.prefetchable),
        part => part == Part::Window(WindowKind::Prefetchable),
    };
    let covers = |window: &&Window| window.span.is_some_and(|span| span.covers(side.span));
    match windows().find(covers) {
        Some(window) if window.kind == WindowKind::Prefetchable && !prefetchable => {
            let other = of_window(index, function, window);
            out.push(Violation { fault: ViolationKind::Prefetched, side: *side, other });
        }
        Some(window) => {
            let limited = window.kind == WindowKind::Io && bridge.isa && side.span.first < 0x1_0000;
            if limited && side.span.len() > 0x100 && matches!(side.part, Part::Resource(_)) {
                out.push(Violation {
                    fault: ViolationKind::Isa,
                    side: *side,
                    other: of_window(index, function, window),
                });
            }
        }
        // It takes what nobody else does.
        None if bridge.subtractive => {}
        None => {
            let near = windows().find(|window| window.span.is_some_and(|span| span.overlaps(side.span)));
            let wanted = if prefetchable { WindowKind::Prefetchable } else { WindowKind::Memory };
            let near = near.or_else(|| windows().find(|window| window.kind == wanted));
            let near = near.or_else(|| windows().next());
            let other = near.and_then(|window| of_window(index, function, window));
            let fault = if other.is_some() { ViolationKind::Outside } else { ViolationKind::Unreachable };
            let (first, last) = bridge.buses.unwrap_or((0, 0));
            let whole = BusRange::new(first.into(), last.into()).map(|span| Side {
                function: Some(index),
                root,
                part: Part::Buses,
                space: side.space,
                span,
            });
            out.push(Violation { fault, side: *side, other: other.or(whole) });
        }
    }
}

/// What a function's registers cannot hold.
fn registers(index: Index, function: &Function, out: &mut Vec<Violation>) {
    for resource in &function.resources {
        let Some(side) = of_resource(index, function, resource) else { continue };
        let mut add = |fault| out.push(Violation { fault, side, other: None });
        if !resource.fixed && !side.span.first.is_multiple_of(resource.align.max(1)) {
            add(ViolationKind::Misaligned);
        }
        if side.span.last > resource.top {
            add(ViolationKind::TooHigh);
        }
    }
    for window in function.bridge.iter().flat_map(|bridge| &bridge.windows) {
        let Some(side) = of_window(index, function, window) else { continue };
        let mut add = |fault| out.push(Violation { fault, side, other: None });
        if side.span.rounded(window.granule) != side.span {
            add(ViolationKind::Ragged);
        }
        if side.span.last > window.top {
            add(ViolationKind::TooHigh);
        }
    }
}

/// Whether the buses below a bridge are among those below the one above it, and nobody else's.
fn numbers(tree: &Tree, index: Index, function: &Function, out: &mut Vec<Violation>) {
    let buses = |index: Index| {
        let function = tree.functions.get(index)?;
        let (first, last) = function.bridge.as_ref()?.buses?;
        let span = BusRange::new(first.into(), last.into())?;
        Some(Side {
            function: Some(index),
            root: function.root,
            part: Part::Buses,
            space: Space::Memory,
            span,
        })
    };
    let Some(side) = buses(index) else { return };
    let above = match function.parent {
        Some(parent) => buses(parent),
        None => tree.roots.get(function.root).and_then(|root| {
            let span = BusRange::new(root.buses.0.into(), root.buses.1.into())?;
            Some(Side { function: None, root: function.root, part: Part::Buses, space: Space::Memory, span })
        }),
    };
    let inner =
        above.map(|above| (above, above.span.covers(side.span) && side.span.first > above.span.first));
    if let Some((above, false)) = inner {
        out.push(Violation { fault: ViolationKind::Buses, side, other: Some(above) });
    }
    let beside = tree.on_bus(function.root, function.parent).filter(|(other, _)| *other < index);
    let shared = beside.filter_map(|(other, _)| buses(other)).find(|other| other.span.overlaps(side.span));
    if let Some(other) = shared {
        out.push(Violation { fault: ViolationKind::Buses, side, other: Some(other) });
    }
}
