//! Plays events by pmem's rules and by those of several Linux versions.

use super::goal::{GoalError, PlacementGoal, PlacementRequest};
use super::kernel::Kernel;
use super::parts::Part;
use super::plan::PlacementPlan;
use super::predict::{HotplugEvent, PciPrediction, Predicted, below, words};
use crate::sources::{Read, Warning};
use pmem_import::PciTree;
use pmem_pci::Budget;
use pmem_pci::plan::{Verdict, plan};
use serde::Serialize;

/// What pmem's planner makes of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Planned {
    /// `fits`, `fits-with-quiesce`, `no`, `not-proven` or `nothing-to-do`.
    pub verdict: String,
    /// The functions that must be stopped, except the one that the event is about.
    pub quiesced: Vec<String>,
    /// The number of windows that change.
    pub windows: usize,
    /// The number of register writes.
    pub writes: u64,
}

/// What a version of Linux makes of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KernelOutcome {
    /// The version of Linux.
    pub kernel: String,
    /// Whether everything gets an address and no other function is hurt.
    pub succeeds: bool,
    /// The number of BARs without an address.
    pub lacking: usize,
    /// The number of other functions' BARs that lose their address or move.
    pub hurt: usize,
    /// The outcome in full.
    pub predicted: Predicted,
}

/// One event of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplayedEvent {
    /// The event, in words.
    pub does: String,
    /// The outcome by pmem's rules.
    pub planned: Planned,
    /// The outcome by each version of Linux.
    pub linux: Vec<KernelOutcome>,
}

/// A replay of all events.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PciReplay {
    /// The events, in order.
    pub rounds: Vec<ReplayedEvent>,
    /// What was read of each source.
    pub read: Vec<Read>,
    /// What is odd in the sources.
    pub warnings: Vec<Warning>,
}

impl PciReplay {
    /// Plays events one after the other. Each side continues from its own state: pmem in the hierarchy that its plans
    /// led to, each version of Linux in its own.
    ///
    /// # Errors
    /// Returns [`GoalError`] if an event names a function, port or bus that does not exist, or a card that makes no
    /// sense.
    pub fn of(
        known: &PciTree,
        kernels: &[Kernel],
        deeds: &[HotplugEvent],
        read: Vec<Read>,
        warnings: Vec<Warning>,
        budget: &mut Budget<'_>,
    ) -> Result<Self, GoalError> {
        let mut columns = Vec::new();
        for Kernel { version, rules } in kernels {
            let played = PciPrediction::of(known, version, rules, deeds, Vec::new(), Vec::new())?;
            columns.push((version, played.events));
        }
        let mut ours = known.clone();
        let mut rounds = Vec::new();
        for (n, deed) in deeds.iter().enumerate() {
            let planned = planned(&mut ours, deed, budget)?;
            let linux = columns.iter().filter_map(|(version, events)| {
                let predicted = events.get(n)?.clone();
                // A window by itself does not count; the BARs behind it do.
                let count =
                    |parts: &[Part]| parts.iter().filter(|part| !part.bar.ends_with("window")).count();
                let (lacking, hurt) = (count(&predicted.fails), count(&predicted.hurts));
                let succeeds = lacking == 0 && hurt == 0;
                Some(KernelOutcome { kernel: (*version).clone(), succeeds, lacking, hurt, predicted })
            });
            rounds.push(ReplayedEvent { does: words(deed), planned, linux: linux.collect() });
        }
        Ok(Self { rounds, read, warnings })
    }
}

/// Plans for an event, and brings the hierarchy into the state after it.
fn planned(known: &mut PciTree, deed: &HotplugEvent, budget: &mut Budget<'_>) -> Result<Planned, GoalError> {
    let wish = match deed {
        HotplugEvent::Plug { card, at, .. } => PlacementGoal::Add { card: card.clone(), at: *at },
        HotplugEvent::Resize { function, bar, size } => {
            PlacementGoal::Resize { function: *function, bar: *bar, size: *size }
        }
        HotplugEvent::Unplug(port) => {
            // A removed card leaves its windows behind, empty.
            if let Some(port) = known.tree.find(*port) {
                for gone in below(&known.tree, port) {
                    if let Some(function) = known.tree.functions.get_mut(gone) {
                        (function.absent, function.resources) = (true, Vec::new());
                    }
                }
            }
            return Ok(nothing());
        }
        HotplugEvent::Rescan
        | HotplugEvent::RescanBus { .. }
        | HotplugEvent::Boot
        | HotplugEvent::Reassign
        | HotplugEvent::Realloc => PlacementGoal::AllFailed,
    };
    let goal = PlacementRequest { wishes: vec![wish], ..PlacementRequest::default() }.goal(known)?;
    if goal.place.is_empty() {
        return Ok(nothing());
    }
    let verdict = plan(&goal, budget);
    let report = PlacementPlan::of(known, &goal, &verdict, Vec::new(), Vec::new());
    if let Verdict::Fits(plan) | Verdict::FitsWithQuiesce(plan) = verdict {
        known.tree = plan.tree;
        known.tree.functions.iter_mut().for_each(|f| f.absent &= f.resources.is_empty());
    }
    let asked = |name: &String| {
        let index = known.tree.functions.iter().position(|f| f.address.to_string() == *name);
        index.is_some_and(|index| goal.place.iter().any(|(place, _)| *place == index))
    };
    Ok(Planned {
        verdict: report.verdict,
        quiesced: report.quiesced.into_iter().filter(|name| !asked(name)).collect(),
        windows: report.windows.len(),
        writes: report.cost.map_or(0, |cost| cost.writes),
    })
}

fn nothing() -> Planned {
    Planned { verdict: "nothing-to-do".to_owned(), quiesced: Vec::new(), windows: 0, writes: 0 }
}
