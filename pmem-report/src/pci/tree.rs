//! The hierarchy as the planner sees it: windows, what lies in them, and the room that is left.

use super::parts::{Names, Range};
use crate::sources::{Read, Warning};
use pmem_import::PciTree;
use pmem_pci::BusRange;
use pmem_pci::tree::{Mobility, Resource, Slot, Space, Tree};
use serde::Serialize;

/// A range that a bridge or host bridge forwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Forwarded {
    /// `io`, `mem` or `pref`.
    pub kind: String,
    /// The range; null if the window is closed.
    pub range: Option<Range>,
    /// The bytes in it that nothing on the bus below occupies, in hexadecimal.
    pub free: String,
    /// The largest naturally aligned block of it that is free; null if there is none.
    pub largest: Option<Range>,
}

/// A resource that a function decodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Decoded {
    /// `0` to `5`, `rom`, `vf0` to `vf5`.
    pub bar: String,
    /// `io`, `mem32`, `mem32p`, `mem64`, `mem64p` or `rom`.
    pub kind: String,
    /// The size in bytes, in hexadecimal; null if no source says.
    pub size: Option<String>,
    /// The range; null if it has no address. If the size is not known, the most that it can occupy.
    pub range: Option<Range>,
    /// The sizes that a resizable BAR supports, in bytes, in hexadecimal; empty if it is not resizable.
    pub sizes: Vec<String>,
}

/// A function, or a host bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PciNode {
    /// The function's address, or the root bus.
    pub name: String,
    /// The number of bridges above it, the host bridge included; 0 for a host bridge.
    pub depth: usize,
    /// The first and last bus below it, both inclusive; null if it is not a bridge.
    pub buses: Option<[u8; 2]>,
    /// Whether cards can be hot-plugged below it.
    pub hot_plug: bool,
    /// How hard it is to stop: `idle` (no driver), `driven`, or `pinned` (it must not be stopped).
    pub mobility: String,
    /// The ranges that it forwards.
    pub windows: Vec<Forwarded>,
    /// The resources that it decodes.
    pub bars: Vec<Decoded>,
}

/// A PCI hierarchy.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PciHierarchy {
    /// The host bridges, each followed by its functions in depth-first order.
    pub nodes: Vec<PciNode>,
    /// What was read of each source.
    pub read: Vec<Read>,
    /// What is odd in the sources.
    pub warnings: Vec<Warning>,
}

impl PciHierarchy {
    /// Lists a hierarchy.
    #[must_use]
    pub fn of(known: &PciTree, read: Vec<Read>, warnings: Vec<Warning>) -> Self {
        let names = Names::of(known, &known.tree);
        let mut nodes = Vec::new();
        for (index, root) in known.tree.roots.iter().enumerate() {
            let windows = root.apertures.iter().map(|aperture| {
                let kind = if aperture.space == Space::Io { "io" } else { "mem" };
                forwarded(&names, index, None, kind, aperture.space, Some(aperture.span))
            });
            nodes.push(PciNode {
                name: format!("{:04x}:{:02x}", root.segment, root.buses.0),
                depth: 0,
                buses: Some([root.buses.0, root.buses.1]),
                hot_plug: false,
                mobility: "pinned".to_owned(),
                windows: windows.collect(),
                bars: Vec::new(),
            });
            below(&names, index, None, 1, &mut nodes);
        }
        Self { nodes, read, warnings }
    }
}

/// Lists the functions on a bus, each followed by what is below it.
fn below(names: &Names<'_>, root: usize, bridge: Option<usize>, depth: usize, out: &mut Vec<PciNode>) {
    let mut all: Vec<usize> = names.tree.on_bus(root, bridge).map(|(index, _)| index).collect();
    all.sort_by_key(|index| names.tree.functions.get(*index).map(|f| f.address));
    for index in all {
        let Some(function) = names.tree.functions.get(index) else { continue };
        let windows = function.bridge.iter().flat_map(|bridge| &bridge.windows).map(|window| {
            let kind = window.kind.to_string();
            forwarded(names, root, Some(index), &kind, window.kind.space(), window.span)
        });
        let bars = function.resources.iter().map(|resource| {
            let sizes = function.resizable.iter().find(|own| Slot::Bar(own.bar) == resource.slot);
            Decoded {
                bar: resource.slot.to_string(),
                kind: kind(resource).to_owned(),
                size: Some(format!("{:#x}", resource.size))
                    .filter(|_| !names.known.unmeasured.contains(&(index, resource.slot))),
                range: resource.span().map(|span| Range::of(names.to_cpu(root, resource.space, span))),
                sizes: sizes.iter().flat_map(|own| &own.sizes).map(|size| format!("{size:#x}")).collect(),
            }
        });
        let mobility = match function.mobility {
            Mobility::Asked | Mobility::Idle => "idle",
            Mobility::Driven => "driven",
            Mobility::Pinned => "pinned",
        };
        out.push(PciNode {
            name: names.function(index),
            depth,
            buses: function
                .bridge
                .as_ref()
                .and_then(|bridge| bridge.buses)
                .map(|(first, last)| [first, last]),
            hot_plug: function.bridge.as_ref().is_some_and(|bridge| bridge.hot_plug),
            mobility: mobility.to_owned(),
            windows: windows.collect(),
            bars: bars.collect(),
        });
        below(names, root, Some(index), depth + 1, out);
    }
}

fn kind(resource: &Resource) -> &'static str {
    match (resource.slot, resource.space, resource.is_wide(), resource.prefetchable) {
        (Slot::Rom, ..) => "rom",
        (_, Space::Io, ..) => "io",
        (_, Space::Memory, false, false) => "mem32",
        (_, Space::Memory, false, true) => "mem32p",
        (_, Space::Memory, true, false) => "mem64",
        (_, Space::Memory, true, true) => "mem64p",
    }
}

/// Works out what is left of a window beside what lies on the bus below.
fn forwarded(
    names: &Names<'_>,
    root: usize,
    bridge: Option<usize>,
    kind: &str,
    space: Space,
    span: Option<BusRange>,
) -> Forwarded {
    let gaps = span.map_or(Vec::new(), |span| gaps(names.tree, root, bridge, space, span));
    let free = gaps.iter().map(|gap| gap.len()).fold(0, u64::saturating_add);
    let largest = gaps.iter().filter_map(|gap| block(*gap)).max_by_key(|block| block.len());
    let seen = |span: BusRange| Range::of(names.to_cpu(root, space, span));
    Forwarded {
        kind: kind.to_owned(),
        range: span.map(seen),
        free: format!("{free:#x}"),
        largest: largest.map(seen),
    }
}

/// Returns the parts of a window that nothing on the bus below occupies.
fn gaps(tree: &Tree, root: usize, bridge: Option<usize>, space: Space, span: BusRange) -> Vec<BusRange> {
    let mut taken: Vec<BusRange> = Vec::new();
    for (_, function) in tree.on_bus(root, bridge) {
        taken.extend(function.resources.iter().filter(|r| r.space == space).filter_map(Resource::span));
        let windows = function.bridge.iter().flat_map(|bridge| &bridge.windows);
        taken.extend(windows.filter(|window| window.kind.space() == space).filter_map(|window| window.span));
    }
    if let Some(root) = tree.roots.get(root) {
        let avoid = tree.avoid.iter().filter(|avoid| avoid.space == space);
        taken.extend(avoid.flat_map(|avoid| root.through_apertures(space, avoid.span)));
    }
    span.without(&taken)
}

/// Returns the largest naturally aligned block inside a gap.
fn block(gap: BusRange) -> Option<BusRange> {
    let mut size = 1u64 << (63 - gap.len().leading_zeros());
    // Try powers of two downward: the first that fits at a multiple of itself is the largest.
    while size > 0 {
        let first = gap.first.checked_add(size - 1)? & !(size - 1);
        if let Some(span) = BusRange::sized(first, size).filter(|span| gap.covers(*span)) {
            return Some(span);
        }
        size >>= 1;
    }
    None
}
