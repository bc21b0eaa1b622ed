//! BARs that could be larger.

use super::ailment::Diagnosis;
use crate::pci::goal::{PlacementGoal, PlacementRequest};
use crate::pci::kernel::{Kernel, map_of};
use crate::pci::parts::Names;
use crate::units::size;
use pmem_import::{Address, PciTree};
use pmem_pci::Budget;
use pmem_pci::linux::{Event, predict};
use pmem_pci::plan::{Verdict, plan};
use pmem_pci::tree::{Index, Slot};

/// The search budget for one BAR size. Many sizes are tried, so none may wait for a long proof.
const A_SIZE: u64 = 200_000;

/// Finds resizable BARs that could be larger, and the largest size that fits.
pub(super) fn small(
    known: &PciTree,
    names: &Names<'_>,
    kernel: Option<&Kernel>,
    index: Index,
) -> Vec<Diagnosis> {
    let Some(function) = known.tree.functions.get(index) else { return Vec::new() };
    let mut out = Vec::new();
    for resizable in &function.resizable {
        let slot = Slot::Bar(resizable.bar);
        let Some(now) = function.resource(slot).filter(|r| r.at.is_some()).map(|r| r.size) else { continue };
        let mut larger: Vec<u64> = resizable.sizes.iter().copied().filter(|size| *size > now).collect();
        larger.sort_unstable();
        let Some(most) = larger.last().copied() else { continue };
        let fitting = larger.iter().rev().find_map(|size| {
            let ask = PlacementRequest {
                wishes: vec![wish(function.address, resizable.bar, *size)],
                ..PlacementRequest::default()
            };
            let goal = ask.goal(known).ok()?;
            match plan(&goal, &mut Budget::steps(A_SIZE)) {
                Verdict::Fits(_) => Some((*size, goal)),
                _ => None,
            }
        });
        let name = names.function(index);
        let is_known = known.unmeasured.is_empty()
            && !known.guessed.contains(&(function.root, pmem_pci::tree::Space::Memory));
        let mut says = format!("{name} BAR {slot} has {}, and could have {}", size(now), size(most));
        match &fitting {
            Some((fits, goal)) => {
                says += &format!("; {} fits with nothing else interrupted", size(*fits));
                let event = Event::Resize { function: index, slot, size: *fits };
                let alone = kernel.is_some_and(|kernel| {
                    let outcome = predict(&map_of(known, &goal.old), &kernel.rules, event);
                    !outcome.put_back && outcome.failed.is_empty()
                });
                says += if alone { ", and Linux does it by itself (resourceN_resize)" } else { "" };
            }
            None if is_known => says += "; none of its larger sizes fits without stopping others",
            None => {
                says += "; whether one of them fits is not known: no source says what the host bridge forwards, or how large others are";
            }
        }
        let (function, bar) = (Some(name), Some(slot.to_string()));
        out.push(Diagnosis { kind: "small".to_owned(), function, bar, says, remedy: None, plan: None });
    }
    out
}

fn wish(function: Address, bar: u8, size: u64) -> PlacementGoal {
    PlacementGoal::Resize { function, bar, size }
}
