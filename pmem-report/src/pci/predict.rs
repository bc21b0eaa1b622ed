//! Predicts what Linux does, event by event.

use super::goal::{GoalError, PlacementGoal, PlacementRequest, unknown};
use super::kernel::map_of;
use super::parts::{Names, Part, Placement, WindowChange, changed_windows, placement};
use crate::sources::{Read, Warning};
use pmem_import::{Address, PciTree};
use pmem_pci::linux::{Event, Map, ResourceId, Rules, predict};
use pmem_pci::plan::Goal;
use pmem_pci::tree::{Function, Index, Slot, Tree};
use serde::Serialize;

/// An event that makes the kernel assign resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HotplugEvent {
    /// A card is plugged in below a port.
    Plug {
        /// What the card decodes.
        card: String,
        /// The port.
        at: Address,
        /// Whether ACPI handles the hot-plug, instead of pciehp.
        acpi: bool,
    },
    /// The card below a port is taken out.
    Unplug(Address),
    /// The machine boots with the assignments that firmware left.
    Boot,
    /// The machine boots, and the kernel assigns everything afresh.
    Reassign,
    /// The machine boots with `pci=realloc`.
    Realloc,
    /// All buses are rescanned.
    Rescan,
    /// A single bus is rescanned.
    RescanBus {
        /// The bus's segment.
        segment: u32,
        /// The bus number.
        bus: u8,
    },
    /// A BAR is resized.
    Resize {
        /// The function that has the BAR.
        function: Address,
        /// The BAR's number.
        bar: u8,
        /// The new size in bytes.
        size: u64,
    },
}

/// The outcome of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Predicted {
    /// The event, in words.
    pub does: String,
    /// The resources that get an address or another one.
    pub placements: Vec<Placement>,
    /// The windows that change in the kernel's map.
    pub windows: Vec<WindowChange>,
    /// The resources that get no address.
    pub fails: Vec<Part>,
    /// The resources of other functions that lose their address or move.
    pub hurts: Vec<Part>,
    /// Bridge windows whose registers differ from the kernel's map after the event: `old` is the registers' range,
    /// `new` the map's.
    pub differs: Vec<WindowChange>,
}

impl Predicted {
    /// Whether the event changes nothing, and leaves nothing without an address.
    pub(crate) fn is_nothing(&self) -> bool {
        let Self { does: _, placements, windows, fails, hurts, differs } = self;
        placements.is_empty()
            && windows.is_empty()
            && fails.is_empty()
            && hurts.is_empty()
            && differs.is_empty()
    }
}

/// The outcome of a series of events.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PciPrediction {
    /// The version of Linux.
    pub kernel: String,
    /// The events, in order.
    pub events: Vec<Predicted>,
    /// What was read of each source.
    pub read: Vec<Read>,
    /// What is odd in the sources.
    pub warnings: Vec<Warning>,
}

impl PciPrediction {
    /// Predicts what a version of Linux makes of events, one after the other.
    ///
    /// # Errors
    /// Returns [`GoalError`] if an event names a function, port or bus that does not exist, or a card that makes no
    /// sense.
    pub fn of(
        known: &PciTree,
        kernel: &str,
        rules: &Rules,
        deeds: &[HotplugEvent],
        read: Vec<Read>,
        warnings: Vec<Warning>,
    ) -> Result<Self, GoalError> {
        // The hierarchy contains all future cards from the start, but the map does not until they are plugged in.
        let cards: Vec<PlacementGoal> = deeds
            .iter()
            .filter_map(|deed| match deed {
                HotplugEvent::Plug { card, at, .. } => {
                    Some(PlacementGoal::Add { card: card.clone(), at: *at })
                }
                _ => None,
            })
            .collect();
        let goal = PlacementRequest { wishes: cards, ..PlacementRequest::default() }.goal(known)?;
        let names = Names::of(known, &goal.tree);
        let mut map = map_of(known, &goal.old);
        let first = known.tree.functions.len();
        (first..goal.old.functions.len()).for_each(|card| map.take_out(card));
        let mut next = first;
        let mut events = Vec::new();
        for deed in deeds {
            let before = map.clone();
            let (event, cards) = event(&goal, deed, &mut next)?;
            cards.iter().for_each(|card| map.plug_in(*card));
            let (failed, hurt) = match event {
                Some(event) => {
                    let outcome = predict(&map, rules, event);
                    map = outcome.map;
                    let asked = if outcome.put_back { resized(event) } else { None };
                    let hurt = outcome.hurt.into_iter().filter(|id| Some(*id) != resized(event)).collect();
                    (outcome.failed.into_iter().chain(asked).collect::<Vec<_>>(), hurt)
                }
                None => {
                    gone(&goal, deed).into_iter().for_each(|card| map.take_out(card));
                    (Vec::new(), Vec::<ResourceId>::new())
                }
            };
            events.push(said(&names, deed, &before, &map, &cards, &failed, &hurt));
        }
        Ok(Self { kernel: kernel.to_owned(), events, read, warnings })
    }
}

fn resized(event: Event) -> Option<ResourceId> {
    match event {
        Event::Resize { function, slot, .. } => Some(ResourceId::Slot(function, slot)),
        _ => None,
    }
}

fn find(tree: &Tree, address: Address) -> Result<Index, GoalError> {
    tree.find(address).ok_or_else(|| unknown(tree, address, |_| true))
}

/// Returns everything below a bridge.
pub(super) fn below(tree: &Tree, bridge: Index) -> Vec<Index> {
    (0..tree.functions.len()).filter(|index| tree.is_below(*index, bridge)).collect()
}

/// Returns the functions that an unplug removes.
fn gone(goal: &Goal, deed: &HotplugEvent) -> Vec<Index> {
    match deed {
        HotplugEvent::Unplug(port) => goal.old.find(*port).map_or(Vec::new(), |port| below(&goal.old, port)),
        _ => Vec::new(),
    }
}

/// Returns the event for the kernel, and the functions that appear with it. There is no event if something is only
/// removed.
fn event(
    goal: &Goal,
    deed: &HotplugEvent,
    next: &mut Index,
) -> Result<(Option<Event>, Vec<Index>), GoalError> {
    let tree = &goal.old;
    Ok(match deed {
        HotplugEvent::Plug { at, acpi, .. } => {
            let (port, card) = (find(tree, *at)?, *next);
            *next += 1;
            (Some(if *acpi { Event::PlugAcpi(port) } else { Event::Plug(port) }), vec![card])
        }
        HotplugEvent::Unplug(port) => {
            let is_port = |function: &Function| function.bridge.is_some();
            tree.find(*port).ok_or_else(|| unknown(tree, *port, is_port))?;
            (None, Vec::new())
        }
        HotplugEvent::Rescan => (Some(Event::Rescan), Vec::new()),
        HotplugEvent::Boot => (Some(Event::Boot), Vec::new()),
        HotplugEvent::Reassign => (Some(Event::Reassign), Vec::new()),
        HotplugEvent::Realloc => (Some(Event::Realloc), Vec::new()),
        HotplugEvent::RescanBus { segment, bus } => {
            let leads = |index: &Index| {
                let function = tree.functions.get(*index);
                let buses = function.and_then(|f| Some((f.address.segment, f.bridge.as_ref()?.buses?.0)));
                buses == Some((*segment, *bus))
            };
            match (0..tree.functions.len()).find(leads) {
                Some(port) => (Some(Event::Plug(port)), below(tree, port)),
                None => {
                    let text = format!("no bridge leads to bus {segment:04x}:{bus:02x} in what was read");
                    return Err(GoalError::Usage(text));
                }
            }
        }
        HotplugEvent::Resize { function, bar, size } => {
            let (index, slot) = (find(tree, *function)?, Slot::Bar(*bar));
            if tree.functions.get(index).and_then(|f| f.resource(slot)).is_none() {
                return Err(GoalError::Usage(format!("{function} has no BAR {bar}")));
            }
            (Some(Event::Resize { function: index, slot, size: *size }), Vec::new())
        }
    })
}

/// Describes what changed between two states of the kernel's map.
fn said(
    names: &Names<'_>,
    deed: &HotplugEvent,
    before: &Map,
    after: &Map,
    cards: &[Index],
    failed: &[ResourceId],
    hurt: &[ResourceId],
) -> Predicted {
    let part = |id: &ResourceId| match id {
        ResourceId::Slot(index, slot) => names.part((*index, *slot)),
        ResourceId::Window(index, kind) => {
            Part { function: names.function(*index), bar: format!("{kind} window") }
        }
    };
    let tree = after.tree();
    let mut placements = Vec::new();
    for (index, function) in tree.functions.iter().enumerate() {
        for resource in &function.resources {
            let id = ResourceId::Slot(index, resource.slot);
            let (had, has) = (before.span(id), after.span(id));
            if let Some(span) = has.filter(|_| had != has) {
                placements.push(placement(names, function.root, index, resource, span));
            }
        }
    }
    let others = hurt.iter().filter(|id| !cards.contains(&id.function()));
    Predicted {
        does: words(deed),
        placements,
        windows: changed_windows(names, &before.tree(), &tree),
        fails: failed.iter().map(part).collect(),
        hurts: others.map(part).collect(),
        differs: changed_windows(names, &after.registers(), &tree),
    }
}

pub(super) fn words(deed: &HotplugEvent) -> String {
    match deed {
        HotplugEvent::Plug { card, at, acpi } => {
            format!("plug{} {card} at {at}", if *acpi { "-acpi" } else { "" })
        }
        HotplugEvent::Unplug(at) => format!("unplug {at}"),
        HotplugEvent::Rescan => "rescan".to_owned(),
        HotplugEvent::Boot => "boot".to_owned(),
        HotplugEvent::Reassign => "reassign".to_owned(),
        HotplugEvent::Realloc => "realloc".to_owned(),
        HotplugEvent::RescanBus { segment, bus } => format!("rescan {segment:04x}:{bus:02x}"),
        HotplugEvent::Resize { function, bar, size } => format!("resize {function}:bar{bar}={size:#x}"),
    }
}
