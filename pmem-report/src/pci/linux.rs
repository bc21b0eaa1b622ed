//! Predicts what the running kernel does by itself.

use super::kernel::map_of;
use super::parts::{Names, Part, Placement, WindowChange, changed_windows, placement};
use pmem_pci::linux::{Event, ResourceId, Rules, predict};
use pmem_pci::plan::Goal;
use serde::Serialize;

/// What Linux makes of a request by itself, according to the rules of its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Linux {
    /// The kernel version.
    pub kernel: String,
    /// The event: `plug` (native hot-plug, or a rescan of the port's empty bus) or `resize`.
    pub event: String,
    /// Whether everything asked for gets an address, and nobody else loses one.
    pub succeeds: bool,
    /// The addresses that Linux gives to what is asked for.
    pub placements: Vec<Placement>,
    /// The bridge windows that Linux changes.
    pub windows: Vec<WindowChange>,
    /// The resources asked for that get no address.
    pub fails: Vec<Part>,
    /// Resources of other functions that lose their address or move, and windows with something behind them that are
    /// closed.
    pub hurts: Vec<String>,
}

impl Linux {
    /// Predicts what a kernel version makes of an event.
    pub(super) fn of(names: &Names<'_>, goal: &Goal, kernel: &str, rules: &Rules, event: Event) -> Self {
        let map = map_of(names.known, &goal.old);
        let outcome = predict(&map, rules, event);
        let after = outcome.map.tree();
        let asked = |index: usize| match event {
            Event::Resize { function, .. } => function == index,
            Event::Plug(_) | Event::PlugAcpi(_) => goal.old.functions.get(index).is_some_and(|f| f.absent),
            Event::Rescan | Event::Boot | Event::Reassign | Event::Realloc => false,
        };
        let (mut placements, mut fails) = (Vec::new(), Vec::new());
        for (index, function) in after.functions.iter().enumerate().filter(|(index, _)| asked(*index)) {
            for resource in &function.resources {
                match outcome.map.span(ResourceId::Slot(index, resource.slot)) {
                    Some(span) => placements.push(placement(names, function.root, index, resource, span)),
                    None if !resource.optional => fails.push(names.part((index, resource.slot))),
                    None => {}
                }
            }
        }
        if outcome.put_back {
            placements.clear();
            if let Event::Resize { function, slot, .. } = event {
                fails = vec![names.part((function, slot))];
            }
        }
        let hurts: Vec<String> = outcome
            .hurt
            .iter()
            .filter(|id| !asked(id.function()))
            .filter_map(|id| match id {
                ResourceId::Slot(index, slot) => Some(format!("{} BAR {slot}", names.function(*index))),
                // An empty window is no loss to anybody.
                ResourceId::Window(index, kind) => {
                    let behind = goal.old.functions.iter().enumerate().any(|(inner, f)| {
                        let held = f.resources.iter().any(|r| r.at.is_some());
                        held && goal.old.is_below(inner, *index)
                    });
                    let closed = outcome.map.span(*id).is_none();
                    (behind && closed).then(|| format!("{} {kind} window", names.function(*index)))
                }
            })
            .collect();
        let windows = changed_windows(names, &goal.old, &after);
        let event = if matches!(event, Event::Resize { .. }) { "resize" } else { "plug" };
        let succeeds = fails.is_empty() && hurts.is_empty();
        Self {
            kernel: kernel.to_owned(),
            event: event.to_owned(),
            succeeds,
            placements,
            windows,
            fails,
            hurts,
        }
    }
}
