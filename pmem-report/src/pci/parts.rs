//! Parts of a hierarchy, in the form shared by all PCI reports.

use crate::units::{Addr, range};
use pmem_import::PciTree;
use pmem_pci::BusRange;
use pmem_pci::tree::{Index, Resource, Slot, Space, Tree};
use serde::Serialize;

/// A range of CPU addresses, or of bus numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Range {
    /// The first address or bus number.
    pub start: Addr,
    /// The last address or bus number, inclusive.
    pub end: Addr,
}

impl Range {
    pub(super) fn of(span: BusRange) -> Self {
        Self { start: Addr(span.first), end: Addr(span.last) }
    }

    /// Formats the range for text.
    pub(crate) fn shown(&self) -> String {
        range(self.start.0, self.end.0)
    }

    /// Formats bus numbers as lspci does: `01-04`.
    pub(crate) fn buses(&self) -> String {
        format!("{:02x}-{:02x}", self.start.0, self.end.0)
    }
}

/// The address assigned to a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Placement {
    /// The function.
    pub function: String,
    /// `0` to `5`, `rom`, `vf0` to `vf5`.
    pub bar: String,
    /// The first CPU address.
    pub start: Addr,
    /// The last CPU address, inclusive.
    pub end: Addr,
    /// Whether the function is on a card that is to be plugged in.
    pub new: bool,
}

impl Placement {
    /// Formats the placement for text.
    pub(crate) fn shown(&self) -> String {
        format!("{} BAR {}: {}", self.function, self.bar, range(self.start.0, self.end.0))
    }

    /// Returns the function's name for text, which says if the card is not there yet.
    pub(crate) fn named(&self) -> String {
        format!("{}{}", self.function, if self.new { " (new)" } else { "" })
    }
}

/// A bridge window, or a bridge's bus numbers, that change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WindowChange {
    /// The bridge.
    pub bridge: String,
    /// `io`, `mem`, `pref` or `bus`.
    pub kind: String,
    /// The old range; null if the window was closed.
    pub old: Option<Range>,
    /// The new range; null if the window is to be closed.
    pub new: Option<Range>,
}

/// A resource of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Part {
    /// The function.
    pub function: String,
    /// `0` to `5`, `rom`, `vf0` to `vf5`; in a prediction also a window, such as `mem window`.
    pub bar: String,
}

impl Part {
    /// Whether a placement is of this BAR.
    pub(crate) fn is_placed_by(&self, placement: &Placement) -> bool {
        (&self.function, &self.bar) == (&placement.function, &placement.bar)
    }

    /// Whether a change is of this window.
    pub(crate) fn is_changed_by(&self, window: &WindowChange) -> bool {
        self.function == window.bridge && self.bar.strip_suffix(" window") == Some(&window.kind)
    }
}

/// Names the parts of a hierarchy for reports.
pub(super) struct Names<'k> {
    pub(super) known: &'k PciTree,
    pub(super) tree: &'k Tree,
}

/// Describes the address that a resource gets.
pub(super) fn placement(
    names: &Names<'_>,
    root: usize,
    index: Index,
    resource: &Resource,
    span: BusRange,
) -> Placement {
    let Range { start, end } = Range::of(names.to_cpu(root, resource.space, span));
    let Part { function, bar } = names.part((index, resource.slot));
    let new = names.known.tree.functions.get(index).is_none();
    Placement { function, bar, start, end, new }
}

/// Lists the windows and bus numbers that differ between two states of a hierarchy.
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
