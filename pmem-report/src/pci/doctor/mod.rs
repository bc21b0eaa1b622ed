//! What failed, whether it matters, and what helps: by what Linux does itself where that is foretold to succeed and to hurt nobody.

mod ailment;
mod remedy;
mod script;
mod small;

pub use ailment::Ailment;
pub use remedy::Remedy;

use super::kernel::Kernel;
use super::parts::Names;
use super::plan::PlacementPlan;
use crate::sources::{Read, Warning};
use crate::units::size;
use pmem_import::{PciTree, ResourceKind};
use pmem_pci::Budget;
use pmem_pci::plan::{Goal, Verdict, plan};
use pmem_pci::tree::{Index, Mobility, Slot};
use schemars::JsonSchema;
use serde::Serialize;

/// What the doctor says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PciDoctor {
    /// `nothing-wrong`, `can-be-fixed`, `no`, `not-proven`.
    pub verdict: String,
    /// What hurts what runs first, then in order of functions.
    pub ailments: Vec<Ailment>,
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
        let mut ailments: Vec<Ailment> = damage(known, &names, kernel).into_iter().collect();
        for (index, function) in known.tree.functions.iter().enumerate() {
            let lost = |optional: bool| {
                let own = function.resources.iter().filter(move |r| r.at.is_none() && r.optional == optional);
                own.filter(|r| !known.given_up.contains(&(index, r.slot)))
            };
            let needed: Vec<Slot> = lost(false).map(|r| r.slot).collect();
            if !needed.is_empty() {
                ailments.push(no_place(known, &names, kernel, index, &needed, budget));
            }
            for resource in lost(true) {
                let (name, slot) = (names.function(index), resource.slot);
                ailments.push(Ailment {
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
            ailments.push(Ailment {
                kind: "no-place".to_owned(),
                says: format!("{name} {kind} has no place, and its size is not said: a dmesg says it"),
                function: Some(name),
                bar: None,
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

fn verdict(ailments: &[Ailment]) -> &'static str {
    let matters = |ailment: &&Ailment| matches!(ailment.kind.as_str(), "no-place" | "given-up" | "differs");
    let needed: Vec<&Ailment> = ailments.iter().filter(matters).collect();
    let helped = |ailment: &&Ailment| ailment.remedy.as_ref().is_some_and(|remedy| remedy.by != "none");
    let is_open = |ailment: &&Ailment| ailment.plan.as_ref().is_none_or(|plan| plan.verdict == "not-proven");
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

/// What a failed attempt did to others: places that the kernel gave up, registers that are not as its map.
fn damage(known: &PciTree, names: &Names<'_>, kernel: Option<&Kernel>) -> Option<Ailment> {
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
    Some(Ailment {
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
) -> Ailment {
    let name = names.function(index);
    let of =
        |slot: &Slot| known.tree.functions.get(index).and_then(|f| f.resource(*slot)).map_or(0, |r| r.size);
    let list: Vec<String> = lost.iter().map(|slot| format!("BAR {slot} ({})", size(of(slot)))).collect();
    let mut goal = Goal { old: known.tree.clone(), tree: known.tree.clone(), ..Goal::default() };
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
    Ailment {
        kind: "no-place".to_owned(),
        function: Some(name.clone()),
        bar: None,
        says: format!("{name}: {} without a place", list.join(", ")),
        remedy,
        plan: Some(report),
    }
}
