//! PCI bus space: how many known-feasible hierarchies are placed from scratch, beside our models of what others do.

use crate::measure::percentile;
use crate::report::Line;
use crate::workload::Rng;
use pmem_pci::check::check;
use pmem_pci::linux::{Event, Map, Rules, predict};
use pmem_pci::plan::{Goal, Verdict, plan};
use pmem_pci::tree::{
    Aperture, Bridge, Function, Index, Mobility, Resource, Root, Slot, Space, Tree, Window, WindowKind,
};
use pmem_pci::{Address, Budget, Span};
use std::time::Instant;

const MIB: u64 = 1 << 20;
/// What the host bridge forwards: from an address that is no multiple of much.
const FIRST: u64 = 0x8070_0000;
/// Steps of a plan.
const STEPS: u64 = 2_000_000;

/// Cuts a span into what lies on one bus: gaps, registers, and bridges with their own; where everything is, is known.
fn cut(rng: &mut Rng, tree: &mut Tree, parent: Option<Index>, span: Span, depth: u32, fill: u64) {
    let mut first = span.first;
    while first <= span.last {
        let left = (span.last - first + 1) / MIB;
        let len = 1 + rng.below(left.min(if depth > 0 { left / 2 + 1 } else { left }));
        let piece = Span { first, last: first + len * MIB - 1 };
        first = piece.last + 1;
        if rng.below(100) >= fill {
            continue;
        }
        if depth > 0 && len > 2 && rng.below(3) > 0 {
            let bridge = add(tree, parent);
            let window =
                Window { kind: WindowKind::Memory, span: Some(piece), granule: MIB, top: 0xffff_ffff };
            if let Some(function) = tree.functions.get_mut(bridge) {
                function.bridge = Some(Bridge { windows: vec![window], ..Bridge::default() });
            }
            cut(rng, tree, Some(bridge), piece, depth - 1, fill);
        } else {
            // Aligned powers of two, as they come.
            let mut at = piece.first;
            while at <= piece.last {
                let most = 1 << (63 - (piece.last - at + 1).leading_zeros());
                let size = most.min(1 << at.trailing_zeros());
                let function = add(tree, parent);
                if let Some(function) = tree.functions.get_mut(function) {
                    function.resources.push(register(size, at));
                }
                at += size;
            }
        }
    }
}

fn add(tree: &mut Tree, parent: Option<Index>) -> Index {
    let n = tree.functions.len();
    let address = Address { segment: 0, bus: (n / 32) as u8, device: (n % 32) as u8, function: 0 };
    let mut function = Function::new(address, parent, 0);
    function.mobility = Mobility::Asked;
    function.command = Some(0);
    tree.functions.push(function);
    n
}

fn register(size: u64, at: u64) -> Resource {
    Resource {
        slot: Slot::Bar(0),
        space: Space::Memory,
        prefetchable: false,
        top: 0xffff_ffff,
        size,
        align: size,
        at: Some(at),
        fixed: false,
        optional: false,
    }
}

/// A hierarchy of which it is known that everything fits, with nothing in its place.
fn scratch(rng: &mut Rng, fill: u64) -> Tree {
    loop {
        let mut tree = Tree::default();
        let span = Span { first: FIRST, last: FIRST + 1024 * MIB - 1 };
        let aperture = Aperture { space: Space::Memory, span, cpu: span.first };
        tree.roots.push(Root { segment: 0, buses: (0, 255), apertures: vec![aperture] });
        cut(rng, &mut tree, None, span, 3, fill);
        if !(8..=120).contains(&tree.functions.len()) {
            continue;
        }
        for function in &mut tree.functions {
            function.resources.iter_mut().for_each(|resource| resource.at = None);
            function.bridge.iter_mut().flat_map(|b| &mut b.windows).for_each(|window| window.span = None);
        }
        return tree;
    }
}

fn ours(tree: &Tree) -> bool {
    let keys =
        tree.functions.iter().enumerate().flat_map(|(i, f)| f.resources.iter().map(move |r| (i, r.slot)));
    let goal = Goal { old: tree.clone(), tree: tree.clone(), place: keys.collect(), extra: Vec::new() };
    let verdict = plan(&goal, &mut Budget::steps(STEPS));
    matches!(verdict, Verdict::Fits(plan) if is_legal(&plan.tree))
}

/// Everything has a place, and nothing overlaps or lies outside of its window.
fn is_legal(tree: &Tree) -> bool {
    tree.functions.iter().all(|f| f.resources.iter().all(|r| r.at.is_some())) && check(tree).is_empty()
}

/// Our model of what Linux assigns at boot, with nothing assigned before.
fn linux(tree: &Tree, major: u32, minor: u32) -> bool {
    let mut tree = tree.clone();
    tree.functions.iter_mut().for_each(|function| function.absent = true);
    let outcome = predict(&Map::new(&tree), &Rules::of(major, minor), Event::Rescan);
    outcome.failed.is_empty() && is_legal(&outcome.map.tree())
}

type Subject = (&'static str, fn(&Tree) -> bool);

const SUBJECTS: [Subject; 4] = [
    ("pmem", ours),
    ("model of Linux up to 6.10", |tree| linux(tree, 6, 1)),
    ("model of Linux 6.11 to 6.19", |tree| linux(tree, 6, 12)),
    ("model of Linux 7.1", |tree| linux(tree, 7, 1)),
];

/// How many of so many hierarchies are placed, and the time of each.
pub fn from_scratch(count: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for fill in [100, 90, 60, 40] {
        let mut rng = Rng::new(fill);
        let all: Vec<Tree> = (0..count).map(|_| scratch(&mut rng, fill)).collect();
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
            let case = format!("from scratch, {fill} % full");
            lines.push(Line { ns: Some(half), note, ..Line::new("pci", &case, count, name) });
        }
    }
    lines
}
