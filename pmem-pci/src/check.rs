//! Checks whether a hierarchy is legal, and names both sides of each violation.

use crate::BusRange;
use crate::tree::{Function, Index, Resource, Slot, Space, Tree, Window, WindowKind};
use alloc::vec::Vec;
use core::fmt;

/// The part of a hierarchy that a [`Side`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// A resource that a function decodes.
    Resource(Slot),
    /// A window of a bridge.
    Window(WindowKind),
    /// An aperture of a host bridge.
    Aperture,
    /// A range where nothing may be placed.
    Avoid,
    /// The bus numbers below a bridge.
    Buses,
}

/// One side of a violation. Addresses are bus addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Side {
    /// The function; `None` for a host bridge, and for a range to avoid.
    pub function: Option<Index>,
    /// The host bridge, as an index into [`Tree::roots`].
    pub root: usize,
    /// The part of the function or host bridge.
    pub part: Part,
    /// Whether `span` is I/O ports or memory; without meaning for bus numbers.
    pub space: Space,
    /// Its addresses or bus numbers.
    pub span: BusRange,
}

/// The rule that a [`Violation`] breaks. "First" is its `side`, "second" its `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ViolationKind {
    /// Both claim the same addresses.
    Overlap,
    /// The first is not inside the second, the window or aperture that comes closest.
    Outside,
    /// The first cannot be reached: the bridge above has no open window for it, or no aperture of the host
    /// bridge has any of its addresses.
    Unreachable,
    /// The first has read side effects, but lies in a prefetchable window.
    Prefetched,
    /// The first does not begin at a multiple of its alignment.
    Misaligned,
    /// The first, a window, is not a whole number of granules.
    Ragged,
    /// The first ends beyond what its register can hold.
    TooHigh,
    /// The first overlaps the second, a range where nothing works.
    Avoided,
    /// The first has more ports than the 256 of each 1024 that a bridge with ISA enable forwards below 64 Ki.
    Isa,
    /// Both bridges forward VGA from the same bus.
    Vga,
    /// The first's bus numbers are not inside the second's, or overlap those of a bridge beside it.
    Buses,
}

impl fmt::Display for ViolationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlap => "overlaps",
            Self::Outside => "is outside",
            Self::Unreachable => "is not forwarded by",
            Self::Prefetched => "has read side effects but is in the prefetchable window of",
            Self::Misaligned => "does not begin at a multiple of its alignment",
            Self::Ragged => "is not a whole number of granules",
            Self::TooHigh => "ends beyond what its register can hold",
            Self::Avoided => "overlaps a range that must stay free,",
            Self::Isa => "has more ports than ISA enable forwards from",
            Self::Vga => "forwards VGA beside",
            Self::Buses => "has bus numbers that conflict with",
        })
    }
}

/// A rule that a hierarchy breaks, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Violation {
    /// The rule.
    pub fault: ViolationKind,
    /// The resource, window or bridge that breaks it.
    pub side: Side,
    /// What it conflicts with; `None` if the rule concerns one side alone.
    pub other: Option<Side>,
}

/// Lists everything that is wrong with a hierarchy, ordered by function. An empty list means that it is legal.
///
/// Rules: PCI Local Bus 3.0, 6.2.5.1 (alignment); PCI-to-PCI Bridge Architecture 1.2, 3.2.5 (windows, buses,
/// VGA, ISA) and 4 (forwarding).
///
/// # Examples
/// A NIC claims addresses in the middle of a framebuffer:
/// ```
/// use pmem_pci::check::{ViolationKind, check};
/// use pmem_pci::tree::{Function, Resource, Root, Slot, Space, Tree};
///
/// let mut tree = Tree::default();
/// tree.roots.push(Root { buses: (0, 0xff), ..Root::default() });
/// for (address, at, size) in [("00:02.0", 0xe000_0000, 16 << 20), ("00:03.0", 0xe008_0000, 64 << 10)] {
///     let mut function = Function::new(address.parse()?, None, 0);
///     function.resources.push(Resource {
///         slot: Slot::Bar(0), space: Space::Memory, prefetchable: false, top: 0xffff_ffff,
///         size, align: size, at: Some(at), fixed: false, optional: false,
///     });
///     tree.functions.push(function);
/// }
/// let violations = check(&tree);
/// assert_eq!(violations.len(), 1);
/// assert_eq!(violations[0].fault, ViolationKind::Overlap);
/// assert_eq!(violations[0].side.function, Some(1));
/// assert_eq!(violations[0].other.and_then(|other| other.function), Some(0));
/// # Ok::<(), pmem_pci::BadAddress>(())
/// ```
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

/// Returns a resource as a side; `None` if it has not been placed.
pub(crate) fn of_resource(index: Index, function: &Function, resource: &Resource) -> Option<Side> {
    let (part, space) = (Part::Resource(resource.slot), resource.space);
    Some(Side { function: Some(index), root: function.root, part, space, span: resource.span()? })
}

/// Returns a window as a side; `None` if it is closed.
pub(crate) fn of_window(index: Index, function: &Function, window: &Window) -> Option<Side> {
    let (part, space) = (Part::Window(window.kind), window.kind.space());
    Some(Side { function: Some(index), root: function.root, part, space, span: window.span? })
}

/// Lists what claims addresses on a bus: the resources of its functions, and the windows of its bridges.
pub(crate) fn on_bus(tree: &Tree, root: usize, bridge: Option<Index>) -> Vec<Side> {
    let mut sides = Vec::new();
    for (index, function) in tree.on_bus(root, bridge) {
        sides.extend(function.resources.iter().filter_map(|r| of_resource(index, function, r)));
        let windows = function.bridge.iter().flat_map(|bridge| &bridge.windows);
        sides.extend(windows.filter_map(|w| of_window(index, function, w)));
    }
    sides
}

/// Checks everything on one bus.
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

/// Reports overlaps. `sides` are sorted by space and address.
fn overlaps(sides: &[Side], out: &mut Vec<Violation>) {
    for (i, side) in sides.iter().enumerate() {
        let before = sides.get(..i).unwrap_or(&[]);
        // One report per side: the earlier one that reaches farthest stands for all that overlap it.
        let reaching =
            before.iter().filter(|other| other.space == side.space && other.span.overlaps(side.span));
        if let Some(other) = reaching.max_by_key(|other| other.span.last) {
            out.push(Violation { fault: ViolationKind::Overlap, side: *side, other: Some(*other) });
        }
    }
}

/// Reports a side that the bridge above, or the host bridge, does not forward to.
fn inside(tree: &Tree, root: usize, bridge: Option<Index>, side: &Side, out: &mut Vec<Violation>) {
    let Some((index, function)) = bridge.and_then(|index| Some((index, tree.functions.get(index)?))) else {
        let apertures = tree.roots.get(root).map_or(&[][..], |root| &root.apertures);
        let mut own = apertures.iter().filter(|aperture| aperture.space == side.space).peekable();
        // A host bridge without apertures has not said what it forwards, so nothing counts as outside.
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
        // Subtractive decode: the bridge claims what nothing else on the bus above does.
        None if bridge.subtractive => {}
        None => {
            // Name the window that comes closest: one that overlaps, else one of the right kind, else any.
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

/// Reports addresses that a function's own registers cannot hold.
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

/// Reports bus numbers that are not inside those of the bridge above, or that a bridge beside it also has.
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
