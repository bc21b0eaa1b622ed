//! Between arenas: distances, resolving over several hops, and what a driver on a view adds to a change.

use crate::measure::{Figure, ROUNDS, run_for};
use crate::report::Line;
use crate::workload::{Layout, Rng, space};
use pmem_core::test_util::Quiet;
use pmem_core::{
    ArenaId, ArenaType, Attrs, Manager, Mapping, Metric, RegionId, Request, Scope, Subscription, Walk, Way,
};
use std::hint::black_box;
use std::time::Duration;

const SUITE: &str = "graph";

fn line(case: &str, n: usize, subject: &'static str, figure: &Figure) -> Line {
    Line { ns: Some(figure.median()), spread: Some(figure.spread()), ..Line::new(SUITE, case, n, subject) }
}

/// Works out a distance after each change of the topology, and once more without a change.
pub fn distances(arenas: usize, turn: Duration) -> Vec<Line> {
    let mut pmem = Manager::new();
    let mut rng = Rng::new(1);
    let all: Vec<ArenaId> = (0..arenas)
        .map(|_| pmem.create_arena("a", ArenaType::VIEW).expect("nothing is in the way"))
        .collect();
    for (i, arena) in all.iter().enumerate().skip(1) {
        for other in [i - 1, rng.below(i as u64) as usize] {
            let metric = Metric::new(1 + rng.below(20) as u32);
            pmem.connect(*arena, all[other], Mapping::Identity, metric).expect("nothing is in the way");
        }
    }
    let (mut anew, mut again) = (Figure::default(), Figure::default());
    let (first, _) = pmem.state().links().next().expect("there are arenas to join");
    let mut cost = 0;
    let pick = |rng: &mut Rng| all[rng.below(arenas as u64) as usize];
    for _ in 0..ROUNDS {
        anew.add(run_for(turn, || {
            cost = cost % 20 + 1;
            pmem.set_metric(first, Way::ToRight, Metric::new(cost)).expect("there");
            black_box(pmem.state().distance(pick(&mut rng), pick(&mut rng)));
        }));
        again.add(run_for(turn, || {
            black_box(pmem.state().distance(pick(&mut rng), pick(&mut rng)));
        }));
    }
    vec![line("distance", arenas, "pmem, new topology", &anew), line("distance", arenas, "pmem", &again)]
}

/// Builds an arena with `n` regions behind four windows.
fn chain(n: usize) -> (Manager, ArenaId, ArenaId, Vec<RegionId>) {
    let mut pmem = Manager::new();
    let ram = pmem.create_arena("RAM", ArenaType::RAM).expect("nothing is in the way");
    pmem.prime(ram, space(n), Attrs::ram()).expect("nothing is in the way");
    let mut last = ram;
    for _ in 0..4 {
        let view = pmem.create_arena("view", ArenaType::VIEW).expect("nothing is in the way");
        let window = Mapping::window(space(n), space(n).start()).expect("far below 2^64");
        pmem.connect(view, last, window, Metric::new(1)).expect("nothing is in the way");
        last = view;
    }
    let layout = Layout::new(n, 42);
    let taken = layout.all.iter().take(n);
    let regions = taken.map(|range| pmem.alloc(ram, &Request::exactly(*range)).expect("free")).collect();
    (pmem, last, ram, regions)
}

/// Resolves an address four interconnects away, and in its own arena.
pub fn resolve(n: usize, turn: Duration) -> Vec<Line> {
    let (pmem, view, ram, _) = chain(n);
    let ranges = Layout::new(n, 42).all;
    let (mut far, mut near) = (Figure::default(), Figure::default());
    let (mut rng, mut walk) = (Rng::new(1), Walk::new());
    for _ in 0..ROUNDS {
        far.add(run_for(turn, || {
            let range = ranges[rng.below(n as u64) as usize];
            black_box(pmem.state().resolve_in(&mut walk, view, range.start()));
        }));
        near.add(run_for(turn, || {
            let range = ranges[rng.below(n as u64) as usize];
            black_box(pmem.state().arena(ram).and_then(|ram| ram.region_at(range.start())));
        }));
    }
    vec![line("resolve", n, "pmem, 4 hops", &far), line("resolve", n, "pmem, look-up in the arena", &near)]
}

/// Changes one region's attributes, without a driver, and with one on a view four interconnects away.
pub fn observed(n: usize, turn: Duration) -> Vec<Line> {
    let (mut plain, _, _, ids) = chain(n);
    let (mut watched, view, _, others) = chain(n);
    let subscription = Subscription::new([Scope::View(view)]);
    watched.register(Box::new(Quiet::new("viewer")), subscription).expect("it never refuses");
    let (mut without, mut with) = (Figure::default(), Figure::default());
    let (mut one, mut two) = (Rng::new(1), Rng::new(1));
    let change = |pmem: &mut Manager, ids: &[RegionId], rng: &mut Rng| {
        let attrs = if rng.below(2) == 0 { Attrs::device() } else { Attrs::ram() };
        pmem.set(ids[rng.below(n as u64) as usize], attrs).expect("admitted");
    };
    for _ in 0..ROUNDS {
        without.add(run_for(turn, || change(&mut plain, &ids, &mut one)));
        with.add(run_for(turn, || change(&mut watched, &others, &mut two)));
    }
    vec![
        line("attribute change", n, "pmem", &without),
        line("attribute change", n, "pmem, a driver on a view", &with),
    ]
}
