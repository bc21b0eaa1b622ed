//! Remedies: by the kernel alone, by register writes, or by the kernel module.

use crate::pci::kernel::{Kernel, map_of};
use crate::pci::parts::{Names, Placement, Range, placement};
use crate::pci::plan::{PlacementPlan, Write};
use pmem_import::PciTree;
use pmem_pci::BusRange;
use pmem_pci::linux::{Event, Map, Outcome, ResourceId, predict};
use pmem_pci::phases::{Phase, phases};
use pmem_pci::plan::{Goal, Plan};
use pmem_pci::steps::{Step, steps};
use pmem_pci::tree::{Index, Mobility, Space, Tree};
use serde::Serialize;
use std::collections::BTreeSet;

/// A remedy.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Remedy {
    /// The means. `linux`: the kernel does it by itself when told to rescan. `registers`: bridge registers must be
    /// written to match the kernel's map. `module`: the kernel module pmem_arena changes windows. `writes`: windows
    /// must be rewritten, but no safe way to do so is known. `none`: there is no remedy.
    pub by: String,
    /// The steps, in order: `echo VALUE > FILE`, `write FUNCTION OFFSET WIDTH VALUE` (to configuration space),
    /// `pmem pci windows …`, and conditions to check.
    pub steps: Vec<String>,
    /// The addresses that resources have afterwards.
    pub placements: Vec<Placement>,
    /// The register writes, in order.
    pub writes: Vec<Write>,
    /// The functions that are interrupted meanwhile.
    pub interrupts: Vec<String>,
    /// An explanation in words.
    pub says: Vec<String>,
    /// What the fix script does.
    #[serde(skip)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub(super) acts: Vec<Act>,
    /// What the undo script does.
    #[serde(skip)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub(super) back: Vec<Act>,
}

/// One action of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Writes a word to a file.
    Put { value: String, file: String },
    /// Writes a word to a file if the file exists.
    PutIfThere { value: String, file: String },
    /// Writes a register in configuration space, if it still holds the old value.
    Register { write: Write, old: String },
    /// Restores a register, if it was written.
    Back { write: Write, new: String },
    /// Makes the kernel module change windows.
    Windows(Vec<String>),
    /// Makes the kernel module restore windows, if it changed them.
    WindowsBack(Vec<String>),
    /// Stops if anything is behind a port.
    Empty(String),
    /// Stops if a function has a driver.
    Idle(String),
    /// Stops if a function does not have these vendor and device ids.
    Same { function: String, id: (u16, u16) },
}

impl Act {
    fn remove(function: &str) -> Self {
        Self::Put { value: "1".to_owned(), file: format!("/sys/bus/pci/devices/{function}/remove") }
    }

    fn rescan() -> Self {
        Self::Put { value: "1".to_owned(), file: "/sys/bus/pci/rescan".to_owned() }
    }

    /// Formats the action for a person.
    fn says(&self) -> String {
        match self {
            Self::Put { value, file } | Self::PutIfThere { value, file } => format!("echo {value} > {file}"),
            Self::Register { write, .. } | Self::Back { write, .. } => {
                format!("write {} {} {} {}", write.function, write.offset, write.width, write.value)
            }
            Self::Windows(windows) | Self::WindowsBack(windows) => {
                format!("pmem pci windows {}", windows.join(" "))
            }
            Self::Empty(port) => format!("nothing may be behind {port}"),
            Self::Idle(function) => format!("no driver may have {function}"),
            Self::Same { function, id: (vendor, device) } => {
                format!("{function} must be {vendor:04x}:{device:04x}")
            }
        }
    }
}

impl Remedy {
    fn new(by: &str, acts: Vec<Act>, says: Vec<String>) -> Self {
        let steps = acts.iter().map(Act::says).collect();
        Self { by: by.to_owned(), steps, acts, says, ..Self::default() }
    }

    /// Whether there is anything to put into a script.
    pub(super) fn does_something(&self) -> bool {
        !self.acts.is_empty()
    }

    fn none(says: &str) -> Self {
        Self::new("none", Vec::new(), vec![says.to_owned()])
    }
}

const LOCKED: &str = "the kernel is locked down: neither registers nor windows can be written, only functions removed and looked for again";

fn write(names: &Names<'_>, step: &Step) -> Write {
    Write {
        function: names.function(step.function),
        offset: format!("{:#x}", step.offset),
        width: step.width,
        value: format!("{:#x}", step.value),
    }
}

/// Restores what a failed attempt took away. A rescan restores the kernel's map. It does not write the registers of
/// bridges that are enabled, so those are then written to match the map.
pub(super) fn restore(known: &PciTree, names: &Names<'_>, kernel: Option<&Kernel>) -> Remedy {
    let mut map = map_of(known, &known.tree);
    let (mut acts, mut says, mut placements) = (Vec::new(), Vec::new(), Vec::new());
    if !known.given_up.is_empty() {
        let Some(kernel) = kernel else {
            return Remedy::none("give the kernel version (--kernel) to predict what a rescan does");
        };
        let outcome = predict(&map, &kernel.rules, Event::Rescan);
        let needed = |(index, slot): &&(Index, _)| {
            known.tree.functions.get(*index).and_then(|f| f.resource(*slot)).is_some_and(|r| !r.optional)
        };
        let given_up: Vec<_> = known.given_up.iter().filter(needed).collect();
        if given_up.iter().any(|(index, slot)| outcome.map.span(ResourceId::Slot(*index, *slot)).is_none()) {
            return Remedy::none(
                "a rescan will not give it back: first remove the function that took the room",
            );
        }
        if outcome.hurt.iter().any(|id| !id.is_window()) {
            return Remedy::none("a rescan would move others");
        }
        for (index, slot) in given_up {
            let found = known.tree.functions.get(*index).and_then(|f| Some((f.root, f.resource(*slot)?)));
            let span = outcome.map.span(ResourceId::Slot(*index, *slot));
            if let Some(((root, resource), span)) = found.zip(span) {
                placements.push(placement(names, root, *index, resource, span));
            }
        }
        map = outcome.map;
        acts.push(Act::rescan());
        says.push("a rescan gives it a place in the kernel's map again".to_owned());
    }
    let Ok(writes) = steps(&map.registers(), &map.tree(), &BTreeSet::new()) else {
        return Remedy::none("registers cannot be written without stopping what is behind them");
    };
    if !writes.is_empty() && known.locked_down {
        return Remedy::none(LOCKED);
    }
    acts.extend(writes.iter().map(|step| Act::Register {
        write: write(names, step),
        old: format!("{:#x}", step.before.unwrap_or(0)),
    }));
    if !writes.is_empty() {
        says.push(
            "bridges that are on keep what their registers hold: these must get what the kernel's map has"
                .to_owned(),
        );
    }
    let by = if writes.is_empty() { "linux" } else { "registers" };
    let mut out = Remedy::new(by, acts, says);
    let back = writes.iter().rev().map(|step| Act::Back {
        write: Write { value: format!("{:#x}", step.before.unwrap_or(0)), ..write(names, step) },
        new: format!("{:#x}", step.value),
    });
    out.back = back.collect();
    out.writes = writes.iter().map(|step| write(names, step)).collect();
    out.placements = placements;
    out
}

/// Tells what has to be rewritten, if no safe way to do so is known.
pub(super) fn by_writes(known: &PciTree, report: &PlacementPlan, kernel: Option<&Kernel>) -> Remedy {
    let mut says = vec![match kernel {
        Some(kernel) => format!("there is room, which Linux {} does not find by itself", kernel.version),
        None => {
            "there is room; give the kernel version (--kernel) to predict whether the kernel finds it by itself"
                .to_owned()
        }
    }];
    if !report.windows.is_empty() {
        says.push("firmware or register writes must change these windows:".to_owned());
    }
    if known.locked_down {
        says.push(LOCKED.to_owned());
    }
    for window in &report.windows {
        let show = |range: &Option<Range>| range.as_ref().map_or("closed".to_owned(), Range::shown);
        let (old, new) = (show(&window.old), show(&window.new));
        says.push(format!("{} {} window: {old} -> {new}", window.bridge, window.kind));
    }
    let mut out = Remedy::new("writes", Vec::new(), says);
    out.placements = report.placements.clone();
    out.interrupts = report.quiesced.clone();
    out.writes = report.writes.clone();
    out
}

/// Returns the addresses that cards get when they are removed from the kernel's map and found again. Returns `None` if
/// a card gets none or one that the bridges above do not forward, if another function is hurt, or if something lands in
/// a range to be kept free.
fn found_again(
    known: &PciTree,
    names: &Names<'_>,
    cards: &[Index],
    may_change: &dyn Fn(Index) -> bool,
    before: &Map,
    outcome: &Outcome,
) -> Option<Vec<Placement>> {
    let tree = &known.tree;
    let registers = outcome.map.registers();
    let mut out = Vec::new();
    for card in cards {
        let function = tree.functions.get(*card)?;
        for resource in &function.resources {
            match outcome.map.span(ResourceId::Slot(*card, resource.slot)) {
                Some(span) if is_avoided(tree, function.root, resource.space, span) => return None,
                // Linux assigns a window to a bridge that is enabled, but does not write its registers.
                Some(span) if !is_forwarded(&registers, *card, resource.space, span) => return None,
                Some(span) => out.push(placement(names, function.root, *card, resource, span)),
                None if resource.optional => {}
                None => return None,
            }
        }
    }
    let own = |id: &ResourceId| cards.contains(&id.function()) || may_change(id.function());
    let is_hurt = outcome.hurt.iter().any(|id| !own(id) && before.span(*id).is_some());
    (!is_hurt).then_some(out)
}

/// Whether all bridges above a function forward a range to it.
fn is_forwarded(tree: &Tree, index: Index, space: Space, span: BusRange) -> bool {
    tree.above(index).filter_map(|above| tree.functions.get(above)?.bridge.as_ref()).all(|bridge| {
        let mut windows = bridge.windows.iter().filter(|window| window.kind.space() == space);
        bridge.subtractive || windows.any(|window| window.span.is_some_and(|own| own.covers(span)))
    })
}

fn is_avoided(tree: &Tree, root: usize, space: Space, span: BusRange) -> bool {
    let Some(root) = tree.roots.get(root) else { return false };
    tree.avoid
        .iter()
        .filter(|avoid| avoid.space == space)
        .any(|avoid| root.through_apertures(space, avoid.span).any(|avoided| avoided.overlaps(span)))
}

/// The functions below a port: all of them, and those directly on its bus.
struct Below {
    all: Vec<Index>,
    on_bus: Vec<Index>,
}

impl Below {
    fn of(tree: &Tree, port: Index) -> Option<Self> {
        let root = tree.functions.get(port)?.root;
        let all = (0..tree.functions.len()).filter(|inner| tree.is_below(*inner, port)).collect();
        Some(Self { all, on_bus: tree.on_bus(root, Some(port)).map(|(inner, _)| inner).collect() })
    }
}

/// Finds a remedy by Linux alone: the card is removed from the kernel's map and the bus is rescanned.
///
/// The variants are tried in order, and the first that is predicted to succeed and to hurt nobody wins: rescan only the
/// card's bus; rescan everything; also remove one empty sibling port that holds the room; remove all of them.
pub(super) fn by_itself(known: &PciTree, names: &Names<'_>, kernel: &Kernel, index: Index) -> Option<Remedy> {
    let tree = &known.tree;
    let port = tree.functions.get(index)?.parent?;
    let (segment, bus) =
        tree.functions.get(port).and_then(|f| Some((f.address.segment, f.bridge.as_ref()?.buses?.0)))?;
    let below = Below::of(tree, port)?;
    let look = Act::Put {
        value: "1".to_owned(),
        file: format!("/sys/class/pci_bus/{segment:04x}:{bus:02x}/rescan"),
    };
    let is_named = |index: &Index| !known.nameless.contains(index);
    let may_stop = |index: &Index| {
        tree.functions.get(*index).is_some_and(|function| function.mobility != Mobility::Pinned)
    };
    if !is_named(&port) || !below.all.iter().all(|card| is_named(card) && may_stop(card)) {
        return None;
    }
    let remove =
        |all: &[Index]| all.iter().map(|card| Act::remove(&names.function(*card))).collect::<Vec<_>>();
    let empty = empty_siblings(known, port);
    // The variants in order of preference.
    let mut ways: Vec<(bool, Vec<Index>)> = vec![(false, Vec::new()), (true, Vec::new())];
    ways.extend(empty.iter().map(|sibling| (false, vec![*sibling])));
    if empty.len() > 1 {
        ways.push((false, empty));
    }
    for (everything, released) in ways {
        let mut map = map_of(known, tree);
        below.all.iter().chain(&released).for_each(|card| map.take_out(*card));
        let before = map.clone();
        below.all.iter().for_each(|card| map.plug_in(*card));
        let event = if everything { Event::Rescan } else { Event::Plug(port) };
        let outcome = predict(&map, &kernel.rules, event);
        let may_change = |index: Index| index == port;
        let Some(placements) = found_again(known, names, &below.all, &may_change, &before, &outcome) else {
            continue;
        };
        let mut acts: Vec<Act> = released.iter().map(|port| Act::Empty(names.function(*port))).collect();
        acts.extend(same(known, names, &below.on_bus));
        // A function that merely shares the bus may be in use.
        let beside = below.all.iter().filter(|card| **card != index && !tree.is_below(**card, index));
        let others = beside.filter(|card| tree.functions.get(**card).is_some_and(|f| f.bridge.is_none()));
        acts.extend(others.map(|card| Act::Idle(names.function(*card))));
        acts.extend(remove(&below.on_bus));
        acts.extend(remove(&released));
        let (what, act) =
            if everything { ("everything", Act::rescan()) } else { ("its empty bus", look.clone()) };
        acts.push(act);
        let mut says = vec![format!(
            "Linux {} makes room by itself if the card is removed from its map and {what} is rescanned",
            kernel.version
        )];
        if !released.is_empty() {
            // The removed ports must come back without hurting what got their room.
            let mut map = outcome.map.clone();
            released.iter().for_each(|port| map.plug_in(*port));
            let after = predict(&map, &kernel.rules, Event::Rescan);
            let own = |id: &ResourceId| released.contains(&id.function());
            if after.hurt.iter().any(|id| !own(id)) {
                continue;
            }
            acts.push(Act::rescan());
            let list: Vec<String> = released.iter().map(|port| names.function(*port)).collect();
            says.push(format!(
                "{}, which nothing is plugged into, is taken out meanwhile: it holds the room",
                list.join(", ")
            ));
        }
        let mut out = Remedy::new("linux", acts, says);
        out.placements = placements;
        out.interrupts = below.all.iter().map(|card| names.function(*card)).collect();
        let there = |card: &Index| Act::PutIfThere {
            value: "1".to_owned(),
            file: format!("/sys/bus/pci/devices/{}/remove", names.function(*card)),
        };
        out.back = below.on_bus.iter().map(there).chain([Act::rescan()]).collect();
        return Some(out);
    }
    None
}

/// Makes the script check that each function to be removed is the expected device.
fn same(known: &PciTree, names: &Names<'_>, cards: &[Index]) -> Vec<Act> {
    let same = |card: &Index| Some(Act::Same { function: names.function(*card), id: *known.ids.get(card)? });
    cards.iter().filter_map(same).collect()
}

/// Returns the other ports on a port's bus that nothing is plugged into.
fn empty_siblings(known: &PciTree, port: Index) -> Vec<Index> {
    let tree = &known.tree;
    let Some(function) = tree.functions.get(port) else { return Vec::new() };
    let is_empty = |index: Index| !(0..tree.functions.len()).any(|inner| tree.is_below(inner, index));
    let on_bus = tree.on_bus(function.root, function.parent);
    // A port with a BAR of its own would see that BAR moved.
    let bare = on_bus.filter(|(_, f)| f.bridge.is_some() && f.resources.is_empty());
    let other = |index: &Index| *index != port && is_empty(*index) && !known.nameless.contains(index);
    bare.map(|(index, _)| index).filter(other).collect()
}

/// Finds a remedy by the kernel module: it changes the windows as planned, and Linux then places the removed cards in
/// them.
pub(super) fn by_module(
    known: &PciTree,
    names: &Names<'_>,
    kernel: &Kernel,
    goal: &Goal,
    plan: &Plan,
) -> Option<Remedy> {
    if known.locked_down || !known.differs.is_empty() {
        return None;
    }
    let tree = &known.tree;
    let stopped: BTreeSet<Index> =
        plan.quiesced.iter().chain(goal.place.iter().map(|(index, _)| index)).copied().collect();
    // A bridge cannot be removed just to move its own BAR.
    if stopped.iter().any(|index| tree.functions.get(*index).is_none_or(|f| f.bridge.is_some() || f.absent)) {
        return None;
    }
    let cards: Vec<Index> = stopped.into_iter().collect();
    let mut map = Map::new(&plan.tree);
    cards.iter().for_each(|card| map.take_out(*card));
    let before = map.clone();
    cards.iter().for_each(|card| map.plug_in(*card));
    let outcome = predict(&map, &kernel.rules, Event::Rescan);
    // Rescanning may give closed bridges their default windows again.
    let may_change = |index: Index| plan.tree.functions.get(index).is_some_and(|f| f.bridge.is_some());
    let placements = found_again(known, names, &cards, &may_change, &before, &outcome)?;
    let changes = phases(&goal.old, &plan.tree);
    let bridge = |phase: &Phase| tree.functions.get(phase.bridge)?.bridge.as_ref();
    let is_card_bus =
        |phase: &Phase| bridge(phase).is_some_and(|b| b.windows.iter().any(|w| w.card_bus.is_some()));
    let is_nameless = |index: Index| known.nameless.contains(&index);
    if changes.iter().any(|phase| is_card_bus(phase) || is_nameless(phase.bridge))
        || cards.iter().any(|card| is_nameless(*card))
    {
        return None;
    }
    let mut acts = same(known, names, &cards);
    acts.extend(cards.iter().map(|card| Act::remove(&names.function(*card))));
    let text = |phase: &Phase, from, to| window(names, phase, from, to);
    let (by, what) = if changes.is_empty() {
        (
            "linux",
            "finds room for it when the card is removed from its map and everything is looked through again",
        )
    } else {
        acts.push(Act::Windows(changes.iter().map(|phase| text(phase, phase.from, phase.to)).collect()));
        (
            "module",
            "does not find this place by itself: the kernel module pmem_arena cuts the windows anew, and Linux puts the card into them",
        )
    };
    acts.push(Act::rescan());
    let mut out = Remedy::new(by, acts, vec![format!("Linux {} {what}", kernel.version)]);
    out.placements = placements;
    out.interrupts = cards.iter().map(|card| names.function(*card)).collect();
    let there = |card: &Index| Act::PutIfThere {
        value: "1".to_owned(),
        file: format!("/sys/bus/pci/devices/{}/remove", names.function(*card)),
    };
    out.back = cards.iter().map(there).collect();
    if !changes.is_empty() {
        let back = changes.iter().rev().map(|phase| text(phase, phase.to, phase.from));
        out.back.push(Act::WindowsBack(back.collect()));
    }
    out.back.push(Act::rescan());
    Some(out)
}

/// Formats a window change the way `pmem pci windows` takes it.
fn window(names: &Names<'_>, phase: &Phase, from: Option<BusRange>, to: Option<BusRange>) -> String {
    let root = names.tree.functions.get(phase.bridge).map_or(0, |f| f.root);
    let show = |span: Option<BusRange>| match span.map(|span| names.to_cpu(root, phase.kind.space(), span)) {
        Some(span) => crate::units::range(span.first, span.last),
        None => "closed".to_owned(),
    };
    format!("{}:{}={},{}", names.function(phase.bridge), phase.kind, show(from), show(to))
}
