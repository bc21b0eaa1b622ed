//! The model at size: trees, meshes, views of many windows, interleaved nodes; and how each operation grows
//! with them.

use crate::measure::{Figure, run_for};
use crate::report::Line;
use crate::workload::Rng;
use pmem_core::test_util::Quiet;
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Direction, Manager, Mapping, Metric, Owner, RegionId, Request,
    Scope, Subscription, Walk,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

const SUITE: &str = "scale";
const SUBJECT: &str = "pmem";
const PAGE: u64 = 0x1000;

/// How an operation should grow with the size.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grows {
    /// With the logarithm of the size: a single change, or a query about one address.
    Log,
    /// Linearly, or as n log n: a pass over everything.
    Whole,
}

/// A scene of one size, and what was timed in it.
struct Scene {
    name: &'static str,
    n: usize,
    turn: Duration,
    lines: Vec<(Line, Grows)>,
}

impl Scene {
    /// Times an operation that can be repeated.
    fn each(&mut self, what: &str, grows: Grows, mut op: impl FnMut()) {
        let mut figure = Figure::default();
        (0..5).for_each(|_| figure.add(run_for(self.turn, &mut op)));
        self.add(what, grows, &figure);
    }

    /// Times something once that consists of `times` operations.
    fn once<T>(&mut self, what: &str, grows: Grows, times: usize, op: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = op();
        let mut figure = Figure::default();
        figure.add((begun.elapsed(), times as u64));
        self.add(what, grows, &figure);
        done
    }

    fn add(&mut self, what: &str, grows: Grows, figure: &Figure) {
        let line = Line::new(SUITE, &format!("{}: {what}", self.name), self.n, SUBJECT);
        self.lines.push((Line { ns: Some(figure.median()), spread: Some(figure.spread()), ..line }, grows));
    }
}

/// Nodes whose memory is interleaved by eight, 4 KiB at a time, one set after another.
fn interleaved(scene: &mut Scene) {
    const SHARE: u64 = 4 << 20;
    let n = scene.n;
    let ways = n.min(8);
    let set = ways as u64 * SHARE;
    let mut pmem = Manager::new();
    let cpu = arena(&mut pmem, ArenaType::VIEW);
    let memory: Vec<ArenaId> = (0..n).map(|_| arena(&mut pmem, ArenaType::RAM)).collect();
    for (at, nodes) in memory.chunks(ways).enumerate() {
        let targets: Vec<(ArenaId, u64)> = nodes.iter().map(|node| (*node, 0)).collect();
        nodes
            .iter()
            .for_each(|node| pmem.prime(*node, sized(0, SHARE), Attrs::ram()).expect("nothing is there"));
        let input = sized(at as u64 * set, set);
        pmem.interleave(cpu, input, PAGE as u32, Metric::new(1), &targets).expect("nothing is in the way");
    }
    let (mut walk, mut rng) = (Walk::new(), Rng::new(1));
    scene.each("resolve", Grows::Log, || {
        black_box(pmem.state().resolve_in(&mut walk, cpu, rng.below(n as u64 * SHARE)));
    });
    scene.each("where a page is seen", Grows::Log, || {
        let page = sized(rng.below(SHARE / PAGE) * PAGE, PAGE);
        black_box(pmem.state().reverse(memory[rng.below(n as u64) as usize], page).len());
    });
    scene.each("view", Grows::Whole, || {
        black_box(pmem.state().view(cpu).len());
    });
}

/// A function that builds a scene and times operations in it.
type Play = fn(&mut Scene);

/// Runs every scene in both sizes; returns a line on how each operation grows.
pub fn run(quick: bool, add: &mut dyn FnMut(Vec<Line>)) -> Vec<String> {
    let turn = Duration::from_millis(if quick { 2 } else { 50 });
    let scenes: [(&str, Play, [usize; 2]); 6] = [
        ("regions in an arena", regions, [100_000, 1_000_000]),
        ("arenas in a tree", tree, [10_000, 100_000]),
        ("arenas in a full mesh", mesh, [64, 1_000]),
        ("windows in a view", windows, [10_000, 100_000]),
        ("nodes, each seeing all", nodes, [16, 64]),
        ("interleaved nodes", interleaved, [16, 64]),
    ];
    let mut growth = Vec::new();
    for (name, play, sizes) in scenes {
        let [small, large] = sizes.map(|n| {
            let n = if quick { n / 8 } else { n };
            let mut scene = Scene { name, n, turn, lines: Vec::new() };
            play(&mut scene);
            scene.lines
        });
        for ((before, grows), (after, _)) in small.iter().zip(&large) {
            let (n, m) = (before.n as f64, after.n as f64);
            let expected = match grows {
                Grows::Log => m.ln() / n.ln(),
                Grows::Whole => m * m.ln() / (n * n.ln()),
            };
            let times = after.ns.unwrap_or(0.0) / before.ns.unwrap_or(f64::NAN);
            growth.push(format!(
                "{}: ×{:.1} in size, ×{times:.2}; expected ×{expected:.2}",
                after.case,
                m / n
            ));
        }
        [small, large].into_iter().flatten().for_each(|(line, _)| add(vec![line]));
    }
    growth
}

fn sized(start: u64, len: u64) -> AddrRange {
    AddrRange::sized(start, len).expect("far below 2^64")
}

fn arena(pmem: &mut Manager, kind: ArenaType) -> ArenaId {
    pmem.create_arena("a", kind).expect("nothing is in the way")
}

/// An arena of pages, each a region, seen through a window.
fn regions(scene: &mut Scene) {
    let n = scene.n;
    let mut pmem = Manager::new();
    let (ram, cpu) = (arena(&mut pmem, ArenaType::RAM), arena(&mut pmem, ArenaType::VIEW));
    pmem.prime(ram, sized(0, 1 << 44), Attrs::ram()).expect("nothing is in the way");
    let window = Mapping::window(sized(0, 1 << 44), 0).expect("far below 2^64");
    pmem.connect(cpu, ram, window, Metric::new(1)).expect("nothing is in the way");
    let page = Request::new(PAGE);
    let all: Vec<RegionId> = scene.once("alloc", Grows::Log, n, || {
        (0..n).map(|_| pmem.alloc(ram, &page).expect("there is room")).collect()
    });
    let owner = Owner(7);
    pmem.alloc(ram, &page.owner(owner)).expect("there is room");
    let mut rng = Rng::new(1);
    scene.each("map and unmap", Grows::Log, || {
        let alias = pmem.map(cpu, all[rng.below(n as u64) as usize]).expect("it can be reached");
        pmem.unmap(alias).expect("nobody else has it");
    });
    let mut walk = Walk::new();
    scene.each("resolve", Grows::Log, || {
        black_box(pmem.state().resolve_in(&mut walk, cpu, rng.below(n as u64) * PAGE));
    });
    scene.once("by owner, the first question", Grows::Whole, 1, || {
        black_box(pmem.by_owner(owner).count());
    });
    scene.each("by owner", Grows::Log, || {
        black_box(pmem.by_owner(owner).count());
    });
    scene.each("view", Grows::Whole, || {
        black_box(pmem.state().view(cpu).len());
    });
}

/// Arenas with ten children each, behind fixed windows; every arena has space of its own.
fn tree(scene: &mut Scene) {
    let n = scene.n;
    let mut pmem = Manager::new();
    let root = arena(&mut pmem, ArenaType::VIEW);
    pmem.register(Box::new(Quiet::new("quiet")), Subscription::new([Scope::View(root)])).expect("it agrees");
    let size = |depth: u32| 1_u64 << (50 - 4 * depth);
    let mut all = vec![(root, 0, 0)];
    scene.once("an arena more, seen by a driver", Grows::Log, n, || {
        for at in 0..n - 1 {
            let (above, start, depth) = all[at / 10];
            let mine = sized(start + (at % 10) as u64 * size(depth + 1), size(depth + 1));
            let below = arena(&mut pmem, ArenaType::PCI);
            let window = Mapping::window(mine, mine.start()).expect("far below 2^64");
            pmem.connect(above, below, window, Metric::new(1)).expect("nothing is in the way");
            let own = sized(mine.start() + 10 * size(depth + 2), 0x1_0000);
            pmem.prime(below, own, Attrs::device()).expect("nothing is in the way");
            all.push((below, mine.start(), depth + 1));
        }
    });
    let (leaf, start, depth) = all[n - 1];
    let region = pmem.alloc(leaf, &Request::new(PAGE)).expect("there is room");
    scene.each("map a leaf's region and unmap it", Grows::Log, || {
        let alias = pmem.map(root, region).expect("it can be reached");
        pmem.unmap(alias).expect("nobody else has it");
    });
    let mut walk = Walk::new();
    scene.each("resolve", Grows::Log, || {
        black_box(pmem.state().resolve_in(&mut walk, root, start + 10 * size(depth + 1)));
    });
    scene.each("view of the root", Grows::Whole, || {
        black_box(pmem.state().view(root).len());
    });
}

/// Arenas that each see all of every other. The sizes are small, because there are n² interconnects.
fn mesh(scene: &mut Scene) {
    let n = scene.n;
    let mut pmem = Manager::new();
    let all: Vec<ArenaId> = (0..n).map(|_| arena(&mut pmem, ArenaType::VIEW)).collect();
    scene.once("an interconnect more", Grows::Log, n * (n - 1) / 2, || {
        for (at, left) in all.iter().enumerate() {
            for right in &all[at + 1..] {
                let joined = pmem.connect(*left, *right, Mapping::Identity, Metric::new(10));
                joined.expect("nothing is in the way");
            }
        }
    });
    let (first, last) = (all[0], all[n - 1]);
    pmem.prime(last, sized(0, 1 << 20), Attrs::ram()).expect("nothing is in the way");
    let mut walk = Walk::new();
    // Every arena that may claim the address must be asked, because a second claim would make it ambiguous.
    scene.once("resolve, by interconnects", Grows::Log, n * (n - 1), || {
        black_box(pmem.state().resolve_in(&mut walk, first, PAGE));
    });
    scene.once("resolve what nobody has, by interconnects", Grows::Log, n * (n - 1), || {
        black_box(pmem.state().resolve_in(&mut walk, first, 1 << 21));
    });
    scene.once("view, by interconnects", Grows::Log, n * (n - 1), || {
        black_box(pmem.state().view(first).len());
    });
    scene.once("where an arena's own is seen, by interconnects", Grows::Log, n * (n - 1), || {
        black_box(pmem.state().reverse(last, sized(0, 1 << 20)).len());
    });
}

/// One interconnect with many windows.
fn windows(scene: &mut Scene) {
    let n = scene.n as u64;
    let mut pmem = Manager::new();
    let (bus, ram) = (arena(&mut pmem, ArenaType::PCI), arena(&mut pmem, ArenaType::RAM));
    pmem.prime(ram, sized(0, n * PAGE), Attrs::ram()).expect("nothing is in the way");
    let pairs: Vec<_> = (0..n).map(|at| (sized(at * 2 * PAGE, PAGE), at * PAGE)).collect();
    let mapping = Mapping::windows(pairs).expect("apart from each other");
    scene.once("connect, with the inverse", Grows::Whole, 1, || {
        pmem.connect(bus, ram, mapping, Metric::new(1)).expect("nothing is in the way");
    });
    let (mut walk, mut rng) = (Walk::new(), Rng::new(1));
    scene.each("resolve", Grows::Log, || {
        black_box(pmem.state().resolve_in(&mut walk, bus, rng.below(n) * 2 * PAGE));
    });
    scene.each("resolve back", Grows::Log, || {
        black_box(pmem.state().resolve_in(&mut walk, ram, (n + rng.below(n)) * PAGE));
    });
    scene.each("view", Grows::Whole, || {
        black_box(pmem.state().view(bus).len());
    });
}

/// Nodes with memory of their own and distances to each other: n² interconnects.
fn nodes(scene: &mut Scene) {
    const GIB: u64 = 1 << 30;
    let n = scene.n;
    let mut pmem = Manager::new();
    let memory: Vec<ArenaId> = (0..n).map(|_| arena(&mut pmem, ArenaType::RAM)).collect();
    let views: Vec<ArenaId> = (0..n).map(|_| arena(&mut pmem, ArenaType::VIEW)).collect();
    for (at, ram) in memory.iter().enumerate() {
        let space = sized(at as u64 * GIB, GIB);
        pmem.prime(*ram, space, Attrs::ram()).expect("nothing is in the way");
        for (from, view) in views.iter().enumerate() {
            let distance = Metric::new(10 + 10 * (from ^ at).count_ones());
            let window = Mapping::window(space, space.start()).expect("far below 2^64");
            let there = Direction::new(window, distance);
            let joined = pmem.connect_asymmetric(*view, *ram, there, Direction::closed());
            joined.expect("nothing is in the way");
        }
    }
    let near = Request::new(PAGE).max_metric(Metric::new(10));
    scene.each("alloc near and free", Grows::Log, || {
        let region = pmem.alloc(views[0], &near).expect("there is room");
        pmem.decref(region).expect("nobody else has it");
    });
    let (mut walk, mut rng) = (Walk::new(), Rng::new(1));
    scene.each("resolve", Grows::Log, || {
        black_box(pmem.state().resolve_in(&mut walk, views[1], rng.below(n as u64 * GIB)));
    });
    scene.each("view", Grows::Whole, || {
        black_box(pmem.state().view(views[1]).len());
    });
    scene.each("diff of two", Grows::Whole, || {
        black_box(pmem.state().diff(views[0], views[1]).len());
    });
}
