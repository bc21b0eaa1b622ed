//! What failed, whether it matters, and what helps: by what Linux does itself where that is foretold to succeed and to hurt nobody.

mod ailment;
mod remedy;
mod script;
mod small;

pub use ailment::Diagnosis;
pub use remedy::Remedy;

use super::kernel::Kernel;
use super::lint::{self, sure};
use super::parts::Names;
use super::plan::PlacementPlan;
use crate::sources::{Read, Warning};
use crate::units::size;
use pmem_import::{PciSource, PciTree, ResourceKind};
use pmem_pci::Budget;
use pmem_pci::check::{Part, Violation, ViolationKind};
use pmem_pci::plan::{Goal, Verdict, plan};
use pmem_pci::tree::{Index, Mobility, Slot};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// What the doctor says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PciDoctor {
    /// `nothing-wrong`, `can-be-fixed`, `no`, `not-proven`.
    pub verdict: String,
    /// What hurts what runs first, then in order of functions.
    pub ailments: Vec<Diagnosis>,
    /// A script that does what helps with the first of them; null if there is nothing for it to do.
    pub fix: Option<String>,
    /// A script that takes it back, as far as that is possible.
    pub undo: Option<String>,
    /// What was read.
    pub read: Vec<Read>,
    /// What is odd.
    pub warnings: Vec<Warning>,
}

impl PciDoctor {
    /// Looks at a hierarchy.
    #[must_use]
    pub fn of(
        known: &PciTree,
        kernel: Option<&Kernel>,
        read: Vec<Read>,
        warnings: Vec<Warning>,
        budget: &mut Budget<'_>,
    ) -> Self {
        let names = Names::of(known, &known.tree);
        let mut ailments: Vec<Diagnosis> = damage(known, &names, kernel).into_iter().collect();
        // What nothing forwards has no place, whatever its register holds.
        let (unreached, wrong): (Vec<Violation>, Vec<Violation>) = sure(known).into_iter().partition(|v| {
            matches!(v.fault, ViolationKind::Unreachable | ViolationKind::Outside)
                && matches!(v.side.part, Part::Resource(_))
        });
        let unreached: BTreeSet<(Index, Slot)> = unreached
            .iter()
            .filter_map(|v| match v.side.part {
                Part::Resource(slot) => Some((v.side.function?, slot)),
                _ => None,
            })
            .collect();
        ailments.extend(wrong.iter().map(|violation| illegal(&names, violation)));
        for (index, function) in known.tree.functions.iter().enumerate() {
            let lost = |optional: bool| {
                let own = function.resources.iter().filter(move |r| r.optional == optional);
                own.filter(|r| r.at.is_none() || unreached.contains(&(index, r.slot)))
                    .filter(|r| !known.given_up.contains(&(index, r.slot)))
            };
            let needed: Vec<Slot> = lost(false).map(|r| r.slot).collect();
            if !needed.is_empty() {
                ailments.push(no_place(known, &names, kernel, index, &needed, budget));
            }
            for resource in lost(true) {
                let (name, slot) = (names.function(index), resource.slot);
                ailments.push(Diagnosis {
                    kind: "optional".to_owned(),
                    function: Some(name.clone()),
                    bar: Some(slot.to_string()),
                    says: format!(
                        "{name} BAR {slot} ({}) has no place, and the function works without it",
                        size(resource.size)
                    ),
                    remedy: None,
                    plan: None,
                });
            }
            ailments.extend(small::small(known, &names, kernel, index));
        }
        for (index, kind) in known.unknown.iter().filter(|(_, kind)| matches!(kind, ResourceKind::Bar(_))) {
            let name = names.function(*index);
            ailments.push(Diagnosis {
                kind: "no-place".to_owned(),
                says: format!("{name} {kind} has no place, and its size is not said: a dmesg says it"),
                function: Some(name),
                bar: None,
                remedy: None,
                plan: None,
            });
        }
        ailments.extend(short(known, &names));
        ailments.extend(known.conflicts.iter().map(|said| {
            let wrong = lint::of_firmware(&said.value);
            Diagnosis {
                kind: "firmware".to_owned(),
                function: wrong.side.function,
                bar: None,
                says: wrong.says,
                remedy: None,
                plan: None,
            }
        }));
        // What has no place is in no list of what has one.
        if known.sources.iter().all(|source| *source < PciSource::Log || *source == PciSource::Lspci) {
            ailments.push(Diagnosis {
                kind: "unsaid".to_owned(),
                function: None,
                bar: None,
                says: "lists, and lspci, name what has a place: whether anything has none a log of the kernel says"
                    .to_owned(),
                remedy: None,
                plan: None,
            });
        }
        let verdict = verdict(&ailments).to_owned();
        // One at a time: after it everything may look different.
        let first = ailments.iter().find_map(|ailment| {
            let remedy = ailment.remedy.as_ref().filter(|remedy| remedy.does_something())?;
            Some(script::scripts(&ailment.says, remedy))
        });
        let (fix, undo) = first.unzip();
        Self { verdict, ailments, fix, undo, read, warnings }
    }
}

fn verdict(ailments: &[Diagnosis]) -> &'static str {
    let matters = |ailment: &&Diagnosis| !matches!(ailment.kind.as_str(), "optional" | "small" | "firmware");
    let needed: Vec<&Diagnosis> = ailments.iter().filter(matters).collect();
    let helped = |ailment: &&Diagnosis| ailment.remedy.as_ref().is_some_and(|remedy| remedy.by != "none");
    let is_open =
        |ailment: &&Diagnosis| ailment.plan.as_ref().is_none_or(|plan| plan.verdict == "not-proven");
    if needed.is_empty() {
        "nothing-wrong"
    } else if needed.iter().all(helped) {
        "can-be-fixed"
    } else if needed.iter().filter(|ailment| !helped(ailment)).any(is_open) {
        "not-proven"
    } else {
        "no"
    }
}

/// What is against the rules of the bus.
fn illegal(names: &Names<'_>, violation: &Violation) -> Diagnosis {
    let wrong = lint::one(names, violation);
    Diagnosis {
        kind: "illegal".to_owned(),
        function: wrong.side.function,
        bar: None,
        says: wrong.says,
        remedy: None,
        plan: None,
    }
}

/// Windows that are smaller than the kernel wanted them, and bridges without bus numbers.
fn short(known: &PciTree, names: &Names<'_>) -> Vec<Diagnosis> {
    // Where functions are known those that have no place say more.
    let is_excerpt = !known.tree.functions.iter().any(|f| f.bridge.is_none() && !f.resources.is_empty());
    let windows = known.short.iter().filter(|_| is_excerpt).map(|(index, kind, wanted)| {
        let name = names.function(*index);
        let has = known.tree.functions.get(*index).and_then(|f| f.window(*kind)?.span);
        let has = has.map_or("is closed".to_owned(), |span| format!("has {}", size(span.len())));
        let says = format!("the {kind} window of {name} {has}, and the kernel wanted {}", size(*wanted));
        ("short", name, says)
    });
    let buses = known.numberless.iter().map(|(index, (first, last))| {
        let name = names.function(*index);
        ("buses", name.clone(), numbers(known, names, *index, (*first, *last)))
    });
    let ailments = windows.chain(buses).map(|(kind, name, says)| Diagnosis {
        kind: kind.to_owned(),
        function: Some(name),
        bar: None,
        says,
        remedy: None,
        plan: None,
    });
    ailments.collect()
}

/// Bus numbers are short: who would have to give some.
fn numbers(known: &PciTree, names: &Names<'_>, index: Index, (first, last): (u8, u8)) -> String {
    let tree = &known.tree;
    let name = names.function(index);
    let above = tree.above(index).next();
    let mut says = match (first, last) {
        (0, 0) => format!("bus numbers are short: {name} needs one, and has none"),
        _ => format!("bus numbers are short: {name} needs {first:02x}-{last:02x} for what is behind it"),
    };
    let buses = |index: Index| tree.functions.get(index)?.bridge.as_ref()?.buses;
    let Some((port, (from, to))) = above.and_then(|port| Some((port, buses(port)?))) else { return says };
    says += &format!(", and {} above it has {from:02x}-{to:02x}", names.function(port));
    // Numbers that nobody else on the bus above has, up to the end of what is above.
    let function = tree.functions.get(port);
    let around = function.and_then(|f| f.parent).and_then(buses);
    let around = around.or_else(|| tree.roots.get(function?.root).map(|root| root.buses));
    let Some((_, end)) = around else { return says };
    let beside = function.into_iter().flat_map(|f| tree.on_bus(f.root, f.parent));
    let next = beside.filter_map(|(other, _)| Some(buses(other)?.0)).filter(|bus| *bus > from).min();
    let free = next.map_or(end, |next| next - 1);
    // One more, where the log does not say which.
    let last = if last == 0 { to.saturating_add(1) } else { last };
    says += &if free >= last {
        format!(
            "; numbers up to {free:02x} are nobody's: {} can be given {from:02x}-{last:02x}, and nothing else is renumbered",
            names.function(port)
        )
    } else {
        format!("; only numbers up to {free:02x} are nobody's: others would have to be renumbered")
    };
    says
}

/// What a failed attempt did to others: places that the kernel gave up, registers that are not as its map.
fn damage(known: &PciTree, names: &Names<'_>, kernel: Option<&Kernel>) -> Option<Diagnosis> {
    let mut says: Vec<String> = Vec::new();
    for (index, slot) in &known.given_up {
        let optional =
            known.tree.functions.get(*index).and_then(|f| f.resource(*slot)).is_some_and(|r| r.optional);
        if !optional {
            says.push(format!(
                "{} BAR {slot} had a place, and the kernel gave it up",
                names.function(*index)
            ));
        }
    }
    let is_lost = !says.is_empty();
    for (index, kind) in known.differs.keys() {
        says.push(format!(
            "the registers of {} hold another {kind} window than the kernel's map: what is behind it may answer nothing",
            names.function(*index)
        ));
    }
    if says.is_empty() {
        return None;
    }
    Some(Diagnosis {
        kind: if is_lost { "given-up" } else { "differs" }.to_owned(),
        function: None,
        bar: None,
        says: says.join("; "),
        remedy: Some(remedy::restore(known, names, kernel)),
        plan: None,
    })
}

fn no_place(
    known: &PciTree,
    names: &Names<'_>,
    kernel: Option<&Kernel>,
    index: Index,
    lost: &[Slot],
    budget: &mut Budget<'_>,
) -> Diagnosis {
    let name = names.function(index);
    let of =
        |slot: &Slot| known.tree.functions.get(index).and_then(|f| f.resource(*slot)).map_or(0, |r| r.size);
    let list: Vec<String> = lost.iter().map(|slot| format!("BAR {slot} ({})", size(of(slot)))).collect();
    let mut goal = Goal { old: known.tree.clone(), tree: known.tree.clone(), ..Goal::default() };
    for tree in [&mut goal.old, &mut goal.tree] {
        let own = tree.functions.get_mut(index).into_iter().flat_map(|f| &mut f.resources);
        own.filter(|r| lost.contains(&r.slot)).for_each(|r| r.at = None);
    }
    goal.place = lost.iter().map(|slot| (index, *slot)).collect();
    for tree in [&mut goal.old, &mut goal.tree] {
        if let Some(function) = tree.functions.get_mut(index).filter(|f| f.bridge.is_none()) {
            function.mobility = Mobility::Asked;
        }
    }
    let verdict = plan(&goal, budget);
    let report = PlacementPlan::of(known, &goal, &verdict, Vec::new(), Vec::new());
    let by_itself = kernel.and_then(|kernel| remedy::by_itself(known, names, kernel, index));
    let remedy = by_itself.or_else(|| match &verdict {
        Verdict::Fits(plan) | Verdict::FitsWithQuiesce(plan) => {
            let by_module = kernel.and_then(|kernel| remedy::by_module(known, names, kernel, &goal, plan));
            Some(by_module.unwrap_or_else(|| remedy::by_writes(known, &report, kernel)))
        }
        Verdict::No(_) | Verdict::NotProven(_) => None,
    });
    Diagnosis {
        kind: "no-place".to_owned(),
        function: Some(name.clone()),
        bar: None,
        says: format!("{name}: {} without a place", list.join(", ")),
        remedy,
        plan: Some(report),
    }
}
