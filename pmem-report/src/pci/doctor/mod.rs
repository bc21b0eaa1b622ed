//! What failed, whether it matters, and what helps: by what Linux does itself where that is foretold to succeed and to hurt nobody.

use super::goal::{Ask, Wish};
use super::parts::{Names, Placement, placement};
use super::plan::PlacementPlan;
use super::script;
use crate::sources::{Read, Warning};
use crate::units::size;
use pmem_import::{Address, PciTree, ResourceKind};
use pmem_pci::Budget;
use pmem_pci::linux::{Event, Map, ResourceId, Rules, predict};
use pmem_pci::plan::{Goal, Verdict, plan};
use pmem_pci::tree::{Index, Slot};
use schemars::JsonSchema;
use serde::Serialize;

/// What helps.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Remedy {
    /// `linux`: the kernel does it when it is told to look again; `writes`: windows must be rewritten, which the kernel does not do by itself; `none`.
    pub by: String,
    /// What to write to which file of `/sys`, in order: `VALUE > FILE`.
    pub steps: Vec<String>,
    /// Where everything will be.
    pub placements: Vec<Placement>,
    /// What is interrupted meanwhile.
    pub interrupts: Vec<String>,
    /// The same in words.
    pub says: Vec<String>,
}

/// Something that failed, or could be better.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Ailment {
    /// `no-place`, `optional` (it works without), `small` (a BAR that could be larger), `differs` (registers and the kernel's map).
    pub kind: String,
    /// The function; null where several are meant.
    pub function: Option<String>,
    /// The BAR; null where none is meant.
    pub bar: Option<String>,
    /// In words.
    pub says: String,
    /// What helps.
    pub remedy: Option<Remedy>,
    /// The least-cost plan, where something has no place.
    pub plan: Option<PlacementPlan>,
}

/// What the doctor says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PciDoctor {
    /// `nothing-wrong`, `can-be-fixed`, `no`, `not-proven`.
    pub verdict: String,
    /// In order of functions, what matters first.
    pub ailments: Vec<Ailment>,
    /// A script that does what helps, as far as the kernel does it by itself; null if there is nothing for it to do.
    pub fix: Option<String>,
    /// A script that takes it back, as far as that is possible.
    pub undo: Option<String>,
    /// What was read.
    pub read: Vec<Read>,
    /// What is odd.
    pub warnings: Vec<Warning>,
}

/// The kernel that is there, if it is known.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its version.
    pub version: String,
    /// Its rules.
    pub rules: Rules,
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
        let mut out = Self {
            verdict: "nothing-wrong".to_owned(),
            ailments: Vec::new(),
            fix: None,
            undo: None,
            read,
            warnings,
        };
        for (index, function) in known.tree.functions.iter().enumerate() {
            let lost: Vec<Slot> =
                function.resources.iter().filter(|r| r.at.is_none() && !r.optional).map(|r| r.slot).collect();
            if !lost.is_empty() {
                let ailment = no_place(known, &names, kernel, index, &lost, budget);
                out.ailments.push(ailment);
            }
            for resource in function.resources.iter().filter(|r| r.at.is_none() && r.optional) {
                let (name, slot) = (names.function(index), resource.slot);
                out.ailments.push(Ailment {
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
            out.ailments.extend(small(known, &names, kernel, index));
        }
        for (index, kind) in known.unknown.iter().filter(|(_, kind)| matches!(kind, ResourceKind::Bar(_))) {
            let name = names.function(*index);
            out.ailments.push(Ailment {
                kind: "no-place".to_owned(),
                says: format!("{name} {kind} has no place, and its size is not said: a dmesg says it"),
                function: Some(name),
                bar: None,
                remedy: None,
                plan: None,
            });
        }
        let differs = out.warnings.iter().filter(|warning| warning.text.contains("by its registers"));
        let differs: Vec<Ailment> = differs.map(|warning| differing(&warning.text)).collect();
        out.ailments.extend(differs);
        let needed = || out.ailments.iter().filter(|ailment| ailment.kind == "no-place");
        let helped = |ailment: &Ailment| ailment.remedy.as_ref().is_some_and(|remedy| remedy.by != "none");
        out.verdict = match (
            needed().count(),
            needed().all(helped),
            out.ailments.iter().any(|a| a.kind == "differs"),
        ) {
            (0, _, false) => "nothing-wrong",
            (_, true, _) => "can-be-fixed",
            _ if needed().any(|a| a.plan.as_ref().is_none_or(|plan| plan.verdict == "not-proven")) => {
                "not-proven"
            }
            _ => "no",
        }
        .to_owned();
        let remedies: Vec<(&Ailment, &Remedy)> = out
            .ailments
            .iter()
            .filter(|ailment| ailment.kind == "no-place")
            .filter_map(|ailment| {
                Some((ailment, ailment.remedy.as_ref().filter(|remedy| remedy.by == "linux")?))
            })
            .collect();
        if let Some((ailment, remedy)) = remedies.first() {
            // One at a time: after it everything may look different.
            let about = ailment.says.clone();
            let (fix, undo) = script::scripts(&about, &remedy.steps, &remedy.placements);
            (out.fix, out.undo) = (Some(fix), Some(undo));
        }
        out
    }
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
            function.mobility = pmem_pci::tree::Mobility::Asked;
        }
    }
    let verdict = plan(&goal, budget);
    let report = PlacementPlan::of(known, &goal, &verdict, Vec::new(), Vec::new());
    let by_itself = kernel.and_then(|kernel| by_itself(known, names, kernel, index));
    let remedy = by_itself.or_else(|| match &verdict {
        Verdict::Fits(_) | Verdict::FitsWithQuiesce(_) => Some(by_writes(&report, kernel)),
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

/// What has to be rewritten, where Linux does not do it by itself.
fn by_writes(report: &PlacementPlan, kernel: Option<&Kernel>) -> Remedy {
    let cut = "windows must be cut anew, as below; firmware may";
    let mut says = vec![match kernel {
        Some(kernel) => format!("Linux {} does not find this place by itself: {cut}", kernel.version),
        None => format!(
            "{cut}; what the kernel would do by itself is not foretold without its version (--kernel)"
        ),
    }];
    for window in &report.windows {
        let show = |range: &Option<super::Range>| {
            range.as_ref().map_or("closed".to_owned(), |range| format!("{}-{}", range.start, range.end))
        };
        let (old, new) = (show(&window.old), show(&window.new));
        says.push(format!("{} {} window: {old} -> {new}", window.bridge, window.kind));
    }
    Remedy {
        by: "writes".to_owned(),
        steps: Vec::new(),
        placements: report.placements.clone(),
        interrupts: report.quiesced.clone(),
        says,
    }
}

/// Taking the card out of the kernel's map and having its empty bus looked through again, if that is foretold to succeed and to hurt nobody;
/// after a rescan of everything, if only then.
fn by_itself(known: &PciTree, names: &Names<'_>, kernel: &Kernel, index: Index) -> Option<Remedy> {
    let tree = &known.tree;
    let port = tree.functions.get(index)?.parent?;
    let (segment, bus) =
        tree.functions.get(port).and_then(|f| Some((f.address.segment, f.bridge.as_ref()?.buses?.0)))?;
    let cards: Vec<Index> = (0..tree.functions.len()).filter(|inner| tree.is_below(*inner, port)).collect();
    let on_bus: Vec<Index> =
        tree.on_bus(tree.functions.get(port)?.root, Some(port)).map(|(inner, _)| inner).collect();
    for rescan_first in [false, true] {
        let mut map = Map::new(tree);
        cards.iter().for_each(|card| map.take_out(*card));
        if rescan_first {
            map = predict(&map, &kernel.rules, Event::Rescan).map;
        }
        let before = map.clone();
        cards.iter().for_each(|card| map.plug_in(*card));
        let outcome = predict(&map, &kernel.rules, Event::Plug(port));
        let placed = |card: &Index| {
            let function = tree.functions.get(*card);
            function.is_some_and(|f| {
                f.resources
                    .iter()
                    .all(|r| r.optional || outcome.map.span(ResourceId::Slot(*card, r.slot)).is_some())
            })
        };
        let own = |id: &ResourceId| cards.contains(&id.function()) || id.function() == port;
        let hurt = outcome.hurt.iter().any(|id| !own(id) && before.span(*id).is_some());
        if !cards.iter().all(placed) || hurt {
            continue;
        }
        let mut steps: Vec<String> = on_bus
            .iter()
            .map(|card| format!("1 > /sys/bus/pci/devices/{}/remove", names.function(*card)))
            .collect();
        if rescan_first {
            steps.push("1 > /sys/bus/pci/rescan".to_owned());
        }
        steps.push(format!("1 > /sys/class/pci_bus/{segment:04x}:{bus:02x}/rescan"));
        let mut placements = Vec::new();
        for card in &cards {
            let Some(function) = tree.functions.get(*card) else { continue };
            for resource in &function.resources {
                if let Some(span) = outcome.map.span(ResourceId::Slot(*card, resource.slot)) {
                    placements.push(placement(names, function.root, *card, resource, span));
                }
            }
        }
        let interrupts: Vec<String> = cards.iter().map(|card| names.function(*card)).collect();
        let mut says = vec![format!(
            "Linux {} makes room by itself when the card is removed from its map and its empty bus is looked through again",
            kernel.version
        )];
        if rescan_first {
            says.push("a rescan of everything comes first: without it the attempt fails, or closes windows of others".to_owned());
        }
        return Some(Remedy { by: "linux".to_owned(), steps, placements, interrupts, says });
    }
    None
}

/// Steps for finding out whether one size of a register fits: it is asked for many, and nobody waits for a proof.
const A_SIZE: u64 = 200_000;

/// BARs that could be larger, and the largest size that fits.
fn small(known: &PciTree, names: &Names<'_>, kernel: Option<&Kernel>, index: Index) -> Vec<Ailment> {
    let Some(function) = known.tree.functions.get(index) else { return Vec::new() };
    let mut out = Vec::new();
    for resizable in &function.resizable {
        let slot = Slot::Bar(resizable.bar);
        let Some(now) = function.resource(slot).filter(|r| r.at.is_some()).map(|r| r.size) else { continue };
        let mut larger: Vec<u64> = resizable.sizes.iter().copied().filter(|size| *size > now).collect();
        larger.sort_unstable();
        let Some(most) = larger.last().copied() else { continue };
        let fitting = larger.iter().rev().find_map(|size| {
            let ask = Ask { wishes: vec![wish(function.address, resizable.bar, *size)], ..Ask::default() };
            let goal = ask.goal(known).ok()?;
            match plan(&goal, &mut Budget::steps(A_SIZE)) {
                Verdict::Fits(_) => Some((*size, goal)),
                _ => None,
            }
        });
        let name = names.function(index);
        let mut says = format!("{name} BAR {slot} has {}, and could have {}", size(now), size(most));
        match &fitting {
            Some((fits, goal)) => {
                says += &format!("; {} fits with nothing else interrupted", size(*fits));
                let event = Event::Resize { function: index, slot, size: *fits };
                let alone = kernel.is_some_and(|kernel| {
                    let outcome = predict(&Map::new(&goal.old), &kernel.rules, event);
                    !outcome.put_back && outcome.failed.is_empty()
                });
                says += if alone { ", and Linux does it by itself (resourceN_resize)" } else { "" };
            }
            None => says += "; none of its larger sizes fits without stopping others",
        }
        let (function, bar) = (Some(name), Some(slot.to_string()));
        out.push(Ailment { kind: "small".to_owned(), function, bar, says, remedy: None, plan: None });
    }
    out
}

fn wish(function: Address, bar: u8, size: u64) -> Wish {
    Wish::Resize { function, bar, size }
}

fn differing(text: &str) -> Ailment {
    let says = vec![
        "whatever is behind that window answers nothing, though the kernel believes it does: a failed attempt does this to neighbours".to_owned(),
        "the registers must get what the kernel's map says".to_owned(),
    ];
    let remedy = Remedy {
        by: "writes".to_owned(),
        steps: Vec::new(),
        placements: Vec::new(),
        interrupts: Vec::new(),
        says,
    };
    Ailment {
        kind: "differs".to_owned(),
        function: None,
        bar: None,
        says: text.to_owned(),
        remedy: Some(remedy),
        plan: None,
    }
}
