//! Parts of a hierarchy, as every report names them.

use crate::units::{Addr, range};
use pmem_import::PciTree;
use pmem_pci::BusRange;
use pmem_pci::tree::{Index, Resource, Slot, Space, Tree};
use schemars::JsonSchema;
use serde::Serialize;

/// Addresses as the CPU sees them, or bus numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Range {
    /// The first.
    pub start: Addr,
    /// The last.
    pub end: Addr,
}

impl Range {
    pub(super) fn of(span: BusRange) -> Self {
        Self { start: Addr(span.first), end: Addr(span.last) }
    }

    /// As a text has it.
    pub(crate) fn shown(&self) -> String {
        range(self.start.0, self.end.0)
    }

    /// Bus numbers, as lspci has them: `01-04`.
    pub(crate) fn buses(&self) -> String {
        format!("{:02x}-{:02x}", self.start.0, self.end.0)
    }
}

/// Where a resource is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Placement {
    /// The function.
    pub function: String,
    /// `0` to `5`, `rom`, `vf0` to `vf5`.
    pub bar: String,
    /// The first address.
    pub start: Addr,
    /// The last.
    pub end: Addr,
}

impl Placement {
    /// As a text has it.
    pub(crate) fn shown(&self) -> String {
        format!("{} BAR {}: {}", self.function, self.bar, range(self.start.0, self.end.0))
    }
}

/// A window that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WindowChange {
    /// The bridge.
    pub bridge: String,
    /// `io`, `mem`, `pref`, or `bus`.
    pub kind: String,
    /// What it was; null if it was closed.
    pub old: Option<Range>,
    /// What it is to be; null if it is to be closed.
    pub new: Option<Range>,
}

/// A resource of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Part {
    /// The function.
    pub function: String,
    /// `0` to `5`, `rom`, `vf0` to `vf5`.
    pub bar: String,
}

/// Names of a hierarchy's parts.
pub(super) struct Names<'k> {
    pub(super) known: &'k PciTree,
    pub(super) tree: &'k Tree,
}

/// Where a resource comes to be.
pub(super) fn placement(
    names: &Names<'_>,
    root: usize,
    index: Index,
    resource: &Resource,
    span: BusRange,
) -> Placement {
    let Range { start, end } = Range::of(names.to_cpu(root, resource.space, span));
    let Part { function, bar } = names.part((index, resource.slot));
    Placement { function, bar, start, end }
}

/// The windows that are others afterwards.
pub(super) fn changed_windows(names: &Names<'_>, old: &Tree, new: &Tree) -> Vec<WindowChange> {
    let mut out = Vec::new();
    for (index, (had, has)) in old.functions.iter().zip(&new.functions).enumerate() {
        let (Some(before), Some(after)) = (&had.bridge, &has.bridge) else { continue };
        if before.buses != after.buses {
            let numbers = |buses: Option<(u8, u8)>| {
                buses.map(|(first, last)| Range { start: Addr(first.into()), end: Addr(last.into()) })
            };
            let (bridge, kind) = (names.function(index), "bus".to_owned());
            out.push(WindowChange { bridge, kind, old: numbers(before.buses), new: numbers(after.buses) });
        }
        for (old, new) in before.windows.iter().zip(&after.windows).filter(|(old, new)| old.span != new.span)
        {
            let seen =
                |span: Option<BusRange>| Some(Range::of(names.to_cpu(has.root, new.kind.space(), span?)));
            let (bridge, kind) = (names.function(index), new.kind.to_string());
            out.push(WindowChange { bridge, kind, old: seen(old.span), new: seen(new.span) });
        }
    }
    out
}

impl<'k> Names<'k> {
    pub(super) fn of(known: &'k PciTree, tree: &'k Tree) -> Self {
        Self { known, tree }
    }

    pub(super) fn function(&self, index: Index) -> String {
        match self.tree.functions.get(index) {
            Some(function) if self.known.nameless.contains(&index) => {
                let below = function.bridge.as_ref().and_then(|bridge| bridge.buses);
                format!("bridge to {:04x}:{:02x}", function.address.segment, below.map_or(0, |below| below.0))
            }
            Some(function) => function.address.to_string(),
            None => index.to_string(),
        }
    }

    pub(super) fn part(&self, (index, slot): (Index, Slot)) -> Part {
        Part { function: self.function(index), bar: slot.to_string() }
    }

    pub(super) fn to_cpu(&self, root: usize, space: Space, span: BusRange) -> BusRange {
        self.tree.roots.get(root).and_then(|root| root.to_cpu(space, span)).unwrap_or(span)
    }
}
