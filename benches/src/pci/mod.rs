//! PCI bus space: how many hierarchies that are known to fit get placed from scratch, and how many hot-plugged
//! cards, beside our models of what others do.

mod greedy;
mod hotplug;
mod layouts;

pub use hotplug::{server, traces};

use crate::measure::percentile;
use crate::report::Line;
use crate::workload::Rng;
use greedy::Like;
use layouts::{Kind, scratch};
use pmem_pci::Budget;
use pmem_pci::check::check;
use pmem_pci::linux::{Event, Map, Rules, predict};
use pmem_pci::plan::{Goal, Verdict, plan};
use pmem_pci::tree::{Mobility, Tree};
use std::time::Instant;

/// The planner's budget in steps.
const STEPS: u64 = 2_000_000;

fn ours(tree: &Tree) -> bool {
    let functions = tree.functions.iter().enumerate();
    let keys =
        functions.flat_map(|(i, f)| f.resources.iter().filter(|r| r.at.is_none()).map(move |r| (i, r.slot)));
    let goal = Goal { old: tree.clone(), tree: tree.clone(), place: keys.collect(), extra: Vec::new() };
    let verdict = plan(&goal, &mut Budget::steps(STEPS));
    matches!(verdict, Verdict::Fits(plan) if is_legal(&plan.tree))
}

/// Returns whether everything has a place, and nothing overlaps or sticks out of its window.
fn is_legal(tree: &Tree) -> bool {
    tree.functions.iter().all(|f| f.resources.iter().all(|r| r.at.is_some())) && check(tree).is_empty()
}

/// Models what Linux assigns at boot if only fixed resources have a place.
fn linux(tree: &Tree, major: u32, minor: u32) -> bool {
    let mut tree = tree.clone();
    for function in tree.functions.iter_mut().filter(|f| f.mobility != Mobility::Pinned) {
        function.absent = true;
    }
    let outcome = predict(&Map::new(&tree), &Rules::of(major, minor), Event::Rescan);
    outcome.failed.is_empty() && is_legal(&outcome.map.tree())
}

fn greedy(tree: &Tree, like: Like) -> bool {
    greedy::place(tree, like).is_some_and(|placed| is_legal(&placed))
}

type Subject = (&'static str, fn(&Tree) -> bool);

const SUBJECTS: [Subject; 7] = [
    ("pmem", ours),
    ("model of Linux up to 6.10", |tree| linux(tree, 6, 1)),
    ("model of Linux 6.11 to 6.19", |tree| linux(tree, 6, 12)),
    ("model of Linux 7.1", |tree| linux(tree, 7, 1)),
    ("model of edk2", |tree| greedy(tree, Like::Edk2)),
    ("model of coreboot", |tree| greedy(tree, Like::Coreboot)),
    ("model of openvmm", |tree| greedy(tree, Like::Openvmm)),
];

/// Counts how many of `count` hierarchies get placed, and the time of each.
pub fn from_scratch(count: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let kinds = [Kind::Plain, Kind::Pins, Kind::Apertures];
    for (kind, fill) in kinds.into_iter().flat_map(|kind| [100, 90, 60, 40].map(|fill| (kind, fill))) {
        let mut rng = Rng::new(fill);
        let all: Vec<Tree> = (0..count).map(|_| scratch(&mut rng, fill, kind)).collect();
        let functions = all.iter().map(|tree| tree.functions.len()).sum::<usize>() / count.max(1);
        for (name, solve) in SUBJECTS {
            let mut times = Vec::new();
            let mut placed = 0;
            for tree in &all {
                let begun = Instant::now();
                placed += usize::from(solve(tree));
                times.push(begun.elapsed().as_nanos() as f64);
            }
            times.sort_by(f64::total_cmp);
            let (half, most) = (percentile(&times, 50.0), percentile(&times, 99.0));
            let note = format!(
                "{:.1} % placed, {functions} functions, p99 {:.1} ms",
                100.0 * placed as f64 / count as f64,
                most / 1e6
            );
            let case = format!("{}, {fill} % full", kind.name());
            lines.push(Line { ns: Some(half), note, ..Line::new("pci", &case, count, name) });
        }
    }
    lines
}
