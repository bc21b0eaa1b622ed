//! Diagnoses what failed, whether it matters, and what helps. What Linux can do by itself comes first, if it is
//! predicted to succeed and to hurt nobody.

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
use serde::Serialize;
use std::collections::BTreeSet;

/// The doctor's report.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PciDoctor {
    /// `nothing-wrong`, `can-be-fixed`, `no` or `not-proven`.
    pub verdict: String,
    /// The diagnoses: damage to running functions first, then violations of the bus's rules, then each function's own,
    /// and last what concerns windows, bus numbers, firmware and the sources.
    pub ailments: Vec<Diagnosis>,
    /// A shell script that applies the first remedy; null if no remedy can be scripted.
    pub fix: Option<String>,
    /// A shell script that undoes it, as far as possible.
    pub undo: Option<String>,
    /// What was read of each source.
    pub read: Vec<Read>,
    /// What is odd in the sources.
    pub warnings: Vec<Warning>,
}

impl PciDoctor {
    /// Examines a hierarchy. Without a kernel, only register writes are considered as a remedy.
    ///
    /// # Examples
    ///
    /// A graphics card whose BAR 1 found no space. Linux 6.12 finds room if the card is removed and its bus rescanned:
    ///
    /// ```
    /// use pmem_import::{Machine, Sources};
    /// use pmem_pci::Budget;
    /// use pmem_pci::linux::Rules;
    /// use pmem_report::pci::{Kernel, PciDoctor};
    ///
    /// let mut log: &[u8] = b"\
    /// pci_bus 0000:00: root bus resource [mem 0x80000000-0xdfffffff window]
    /// pci_bus 0000:00: root bus resource [mem 0x400000000-0x7ffffffff window]
    /// pci_bus 0000:00: root bus resource [bus 00-ff]
    /// pci 0000:00:1c.0: [8086:1927] type 01 class 0x060400 PCIe Root Port
    /// pci 0000:00:1c.0: PCI bridge to [bus 01]
    /// pci 0000:00:1c.0:   bridge window [mem 0x80000000-0x801fffff]
    /// pci 0000:00:1c.0:   bridge window [mem 0x400000000-0x4001fffff 64bit pref]
    /// pci 0000:01:00.0: [10de:1234] type 00 class 0x030000 PCIe Endpoint
    /// pci 0000:01:00.0: BAR 0 [mem 0x80000000-0x800fffff]
    /// pci 0000:01:00.0: BAR 1 [mem size 0x40000000 64bit pref]: can't assign; no space
    /// ";
    /// let mut sources = Sources::default();
    /// sources.add_stream("dmesg", &mut log)?;
    /// let machine = Machine::read(&mut sources)?;
    ///
    /// let kernel = Rules::parse("6.12").map(|rules| Kernel { version: "6.12".to_owned(), rules });
    /// let mut budget = Budget::steps(1_000_000);
    /// let doctor = PciDoctor::of(&machine.pci, kernel.as_ref(), Vec::new(), Vec::new(), &mut budget);
    /// assert_eq!(doctor.verdict, "can-be-fixed");
    /// assert_eq!(doctor.ailments[0].remedy.as_ref().map(|remedy| remedy.by.as_str()), Some("linux"));
    /// assert!(doctor.fix.is_some_and(|script| script.contains("/sys/class/pci_bus/0000:01/rescan")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        // A resource that nothing upstream forwards has no usable address, whatever its BAR holds.
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
                says: format!("{name} {kind} has no address, and no source gives its size; add a kernel log"),
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
        // Resource lists contain only what has an address, so they cannot show what lacks one.
        if known.sources.iter().all(|source| *source < PciSource::Log || *source == PciSource::Lspci) {
            ailments.push(Diagnosis {
                kind: "unsaid".to_owned(),
                function: None,
                bar: None,
                says: "resource lists and lspci show only what has an address; add a kernel log to see what has none"
                    .to_owned(),
                remedy: None,
                plan: None,
            });
        }
        let verdict = verdict(&ailments).to_owned();
        // Fix one thing at a time: the rest may look different afterwards.
        let first = ailments.iter().find_map(|ailment| {
            let remedy = ailment.remedy.as_ref().filter(|remedy| remedy.does_something())?;
            Some(script::scripts(&ailment.says, remedy))
        });
        let (fix, undo) = first.unzip();
        Self { verdict, ailments, fix, undo, read, warnings }
    }
}

/// Sums up the diagnoses. Optional resources, small BARs, and mistakes of firmware that the kernel corrected do not
/// count.
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

/// Describes a violation of the rules of the bus.
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

/// Describes windows smaller than the kernel wanted, and bridges without bus numbers.
fn short(known: &PciTree, names: &Names<'_>) -> Vec<Diagnosis> {
    // If the sources show functions, their missing BARs tell more than the windows do.
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

/// Explains which bus numbers are missing, and who could give some up.
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
    // Numbers that no sibling bridge uses, up to the end of the range above.
    let function = tree.functions.get(port);
    let around = function.and_then(|f| f.parent).and_then(buses);
    let around = around.or_else(|| tree.roots.get(function?.root).map(|root| root.buses));
    let Some((_, end)) = around else { return says };
    let beside = function.into_iter().flat_map(|f| tree.on_bus(f.root, f.parent));
    let next = beside.filter_map(|(other, _)| Some(buses(other)?.0)).filter(|bus| *bus > from).min();
    let free = next.map_or(end, |next| next - 1);
    // If the log does not say which number is missing, assume the next one.
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

/// Describes the damage that a failed attempt did to others: addresses that the kernel took away, registers that differ
/// from its map.
fn damage(known: &PciTree, names: &Names<'_>, kernel: Option<&Kernel>) -> Option<Diagnosis> {
    let mut says: Vec<String> = Vec::new();
    for (index, slot) in &known.given_up {
        let optional =
            known.tree.functions.get(*index).and_then(|f| f.resource(*slot)).is_some_and(|r| r.optional);
        if !optional {
            says.push(format!(
                "{} BAR {slot} had an address, and the kernel took it away",
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

/// Diagnoses a function whose required resources have no address.
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
        says: format!("{name}: {} without an address", list.join(", ")),
        remedy,
        plan: Some(report),
    }
}
