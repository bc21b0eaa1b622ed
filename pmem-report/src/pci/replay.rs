//! A hierarchy and events, by our rules and by those of versions of Linux.

use super::goal::{GoalError, PlacementGoal, PlacementRequest};
use super::kernel::Kernel;
use super::parts::Part;
use super::plan::PlacementPlan;
use super::predict::{HotplugEvent, PciPrediction, Predicted, below, words};
use crate::sources::{Read, Warning};
use pmem_import::PciTree;
use pmem_pci::Budget;
use pmem_pci::plan::{Verdict, plan};
use schemars::JsonSchema;
use serde::Serialize;

/// What the planner makes of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Planned {
    /// `fits`, `fits-with-quiesce`, `no`, `not-proven`, `nothing-to-do`.
    pub verdict: String,
    /// Functions that are stopped for it, but for the one that it is about.
    pub quiesced: Vec<String>,
    /// How many windows change.
    pub windows: usize,
    /// How many registers are written.
    pub writes: u64,
}

/// What a version of Linux makes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KernelOutcome {
    /// The version.
    pub kernel: String,
    /// All has a place, and nobody else is hurt.
    pub succeeds: bool,
    /// BARs without a place.
    pub lacking: usize,
    /// BARs of others that are lost, or moved.
    pub hurt: usize,
    /// The same in full.
    pub predicted: Predicted,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReplayedEvent {
    /// What was done.
    pub does: String,
    /// By our rules.
    pub planned: Planned,
    /// By those of Linux.
    pub linux: Vec<KernelOutcome>,
}

/// All events.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PciReplay {
    /// In order.
    pub rounds: Vec<ReplayedEvent>,
    /// What was read.
    pub read: Vec<Read>,
    /// What is odd.
    pub warnings: Vec<Warning>,
}

impl PciReplay {
    /// Plays events, each in the hierarchy that the ones before have left: by our rules in ours, by a version of Linux in its own.
    ///
    /// # Errors
    /// A function, a port or a bus that is not there; a card that is none.
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
                // What becomes of a window matters by what was behind it.
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

/// What an event asks of the planner, and the hierarchy afterwards.
fn planned(known: &mut PciTree, deed: &HotplugEvent, budget: &mut Budget<'_>) -> Result<Planned, GoalError> {
    let wish = match deed {
        HotplugEvent::Plug { card, at, .. } => PlacementGoal::Add { card: card.clone(), at: *at },
        HotplugEvent::Resize { function, bar, size } => {
            PlacementGoal::Resize { function: *function, bar: *bar, size: *size }
        }
        HotplugEvent::Unplug(port) => {
            // A card that is out leaves its windows, which are empty then.
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
