//! Changes of windows in a safe order, for an operating system whose resource map knows windows but no
//! registers.

use crate::BusRange;
use crate::tree::{Function, Index, Tree, WindowKind};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// A change of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The bridge.
    pub bridge: Index,
    /// The kind of window.
    pub kind: WindowKind,
    /// The addresses that it forwards before; `None` if it is closed.
    pub from: Option<BusRange>,
    /// The addresses that it forwards after; `None` if it is closed.
    pub to: Option<BusRange>,
}

/// Lists the window changes that lead from one placement of a hierarchy to another, in order. First each window
/// shrinks to what it keeps, innermost first; then each grows to its new range, outermost first. So at no point
/// is a window outside of the one above, or overlapping another.
#[must_use]
pub fn phases(old: &Tree, new: &Tree) -> Vec<Phase> {
    let mut changed: Vec<(Reverse<usize>, Phase)> = Vec::new();
    let there = old.functions.iter().zip(&new.functions).enumerate().filter(|(_, (f, _))| !f.absent);
    for (bridge, (had, has)) in there {
        let windows = |f: &'_ Function| f.bridge.as_ref().map_or(Vec::new(), |bridge| bridge.windows.clone());
        for (from, to) in windows(had).iter().zip(&windows(has)).filter(|(from, to)| from.span != to.span) {
            let phase = Phase { bridge, kind: to.kind, from: from.span, to: to.span };
            changed.push((Reverse(new.above(bridge).count()), phase));
        }
    }
    changed.sort_unstable_by_key(|(depth, phase)| (*depth, phase.bridge, phase.kind));
    let kept = |phase: &Phase| phase.from.zip(phase.to).and_then(|(from, to)| from.intersect(to));
    let cuts = changed.iter().map(|(_, phase)| Phase { to: kept(phase), ..*phase });
    let grown = changed.iter().rev().map(|(_, phase)| Phase { from: kept(phase), ..*phase });
    cuts.chain(grown).filter(|phase| phase.from != phase.to).collect()
}
