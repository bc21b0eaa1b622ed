//! Traces of cards that come and go below ports of a root bus and of a switch.

use super::greedy::grow;
use super::layouts::{MIB, register};
use crate::measure::percentile;
use crate::report::Line;
use crate::workload::Rng;
use pmem_pci::check::check;
use pmem_pci::linux::{Event, Map, ResourceId, Rules, predict};
use pmem_pci::plan::{Goal, Verdict, plan};
use pmem_pci::tree::{
    Aperture, Bridge, Function, Index, Mobility, Root, Slot, Space, Tree, Window, WindowKind,
};
use pmem_pci::{Address, Budget, BusRange};
use std::time::Instant;

const GIB: u64 = 1 << 30;
/// The cards tried on each machine.
const TRIES: usize = 8;
const STEPS: u64 = 2_000_000;

/// An event below a port: a card of some size is plugged in, or the card there is removed.
#[derive(Clone, Copy)]
struct Happens {
    port: Index,
    size: Option<u64>,
}

fn bridge(tree: &mut Tree, parent: Option<Index>, n: u8) -> Index {
    let address = Address { segment: 0, bus: n, device: 0, function: 0 };
    let mut function = Function::new(address, parent, 0);
    let window =
        Window { kind: WindowKind::Prefetchable, span: None, granule: MIB, top: u64::MAX, card_bus: None };
    let memory =
        Window { kind: WindowKind::Memory, span: None, granule: MIB, top: 0xffff_ffff, card_bus: None };
    let hot_plug = n != 4;
    function.bridge = Some(Bridge { windows: vec![window, memory], hot_plug, ..Bridge::default() });
    function.command = Some(7);
    tree.functions.push(function);
    tree.functions.len() - 1
}

/// Makes a machine with three ports on the root bus and a switch with three more, and a trace of events.
fn trace(rng: &mut Rng) -> (Tree, Vec<Happens>) {
    let mut tree = Tree::default();
    let first = 4 * GIB + rng.below(64) * 16 * MIB;
    let span = BusRange { first, last: first + (8 + rng.below(25)) * GIB - 1 };
    let aperture = Aperture { space: Space::Memory, span, cpu: span.first };
    tree.roots.push(Root { segment: 0, buses: (0, 255), apertures: vec![aperture] });
    let mut ports: Vec<Index> = (0..3).map(|n| bridge(&mut tree, None, n)).collect();
    let root = bridge(&mut tree, None, 3);
    let upstream = bridge(&mut tree, Some(root), 4);
    ports.extend((5..8).map(|n| bridge(&mut tree, Some(upstream), n)));
    let mut held: Vec<Index> = Vec::new();
    let mut out = Vec::new();
    while out.iter().filter(|one: &&Happens| one.size.is_some()).count() < TRIES {
        let port = ports[rng.below(ports.len() as u64) as usize];
        if let Some(n) = held.iter().position(|had| *had == port) {
            held.swap_remove(n);
            out.push(Happens { port, size: None });
        } else {
            held.push(port);
            // Sizes as cards have them: up to half of the aperture.
            let most = 63 - (span.len() / 2).leading_zeros() - 20;
            out.push(Happens { port, size: Some(MIB << rng.below(u64::from(most) + 1)) });
        }
    }
    (tree, out)
}

/// Returns the tree with every future card as an absent function.
fn with_cards(tree: &Tree, happens: &[Happens]) -> (Tree, Vec<Option<Index>>) {
    let mut out = tree.clone();
    let cards = happens.iter().map(|one| {
        let size = one.size?;
        let address = Address { segment: 0, bus: 0x80, device: 0, function: 0 };
        let mut card = Function::new(address, Some(one.port), 0);
        (card.absent, card.mobility) = (true, Mobility::Asked);
        card.resources.push(register(size, None, true));
        out.functions.push(card);
        Some(out.functions.len() - 1)
    });
    let cards = cards.collect();
    (out, cards)
}

/// The outcome of a trace: cards placed, windows changed, and the time of each placement.
#[derive(Default)]
struct Outcome {
    placed: usize,
    windows: usize,
    times: Vec<f64>,
}

fn changed(old: &Tree, new: &Tree) -> usize {
    let windows = |tree: &Tree| -> Vec<Option<BusRange>> {
        tree.functions.iter().filter_map(|f| Some(f.bridge.as_ref()?.windows.first()?.span)).collect()
    };
    windows(old).iter().zip(windows(new)).filter(|(a, b)| *a != b).count()
}

/// Plays a trace with our planner: windows may be cut, and nothing is stopped.
fn ours(tree: &Tree, happens: &[Happens], out: &mut Outcome) {
    let mut tree = tree.clone();
    let mut cards: Vec<(Index, Index)> = Vec::new();
    for one in happens {
        let Some(size) = one.size else {
            if let Some(n) = cards.iter().position(|(port, _)| *port == one.port) {
                let (_, card) = cards.swap_remove(n);
                tree.functions[card].resources.clear();
            }
            continue;
        };
        let mut old = tree.clone();
        let mut card =
            Function::new(Address { segment: 0, bus: 0x80, device: 0, function: 0 }, Some(one.port), 0);
        (card.absent, card.mobility) = (true, Mobility::Asked);
        card.resources.push(register(size, None, true));
        let index = old.functions.len();
        old.functions.push(card);
        let begun = Instant::now();
        let goal = Goal { tree: old.clone(), old, place: vec![(index, Slot::Bar(0))], ..Goal::default() };
        let verdict = plan(&goal, &mut Budget::steps(STEPS));
        out.times.push(begun.elapsed().as_nanos() as f64);
        if let Verdict::Fits(plan) = verdict {
            assert!(check(&plan.tree).is_empty(), "{:?}", check(&plan.tree));
            out.placed += 1;
            out.windows += changed(&goal.old, &plan.tree);
            tree = plan.tree;
            let card = &mut tree.functions[index];
            (card.absent, card.mobility, card.command) = (false, Mobility::Driven, Some(6));
            cards.push((one.port, index));
        }
    }
}

/// Plays a trace with the model of Linux; cards come through pciehp.
fn linux(tree: &Tree, happens: &[Happens], rules: &Rules, out: &mut Outcome) {
    let (all, cards) = with_cards(tree, happens);
    let mut map = Map::new(&all);
    cards.iter().flatten().for_each(|card| map.take_out(*card));
    let mut live: Vec<(Index, Index)> = Vec::new();
    for (one, card) in happens.iter().zip(&cards) {
        let Some(card) = *card else {
            if let Some(n) = live.iter().position(|(port, _)| *port == one.port) {
                map.take_out(live.swap_remove(n).1);
            }
            continue;
        };
        let before = map.tree();
        let places = |map: &Map, live: &[(Index, Index)]| -> Vec<Option<BusRange>> {
            live.iter().map(|(_, card)| map.span(ResourceId::Slot(*card, Slot::Bar(0)))).collect()
        };
        let held = places(&map, &live);
        map.plug_in(card);
        let begun = Instant::now();
        map = predict(&map, rules, Event::Plug(one.port)).map;
        out.times.push(begun.elapsed().as_nanos() as f64);
        // A card that costs another one its place counts against it.
        let lost: Vec<usize> = (0..live.len()).filter(|n| places(&map, &live)[*n] != held[*n]).collect();
        out.placed = out.placed.saturating_sub(lost.len());
        for n in lost.into_iter().rev() {
            map.take_out(live.swap_remove(n).1);
        }
        if map.span(ResourceId::Slot(card, Slot::Bar(0))).is_some() {
            out.placed += 1;
            out.windows += changed(&before, &map.tree());
            live.push((one.port, card));
        } else {
            map.take_out(card);
        }
    }
}

/// Plays a trace with the model of FreeBSD: windows grow, and never shrink or move.
fn freebsd(tree: &Tree, happens: &[Happens], out: &mut Outcome) {
    let mut tree = tree.clone();
    let mut cards: Vec<(Index, Index)> = Vec::new();
    for one in happens {
        let Some(size) = one.size else {
            if let Some(n) = cards.iter().position(|(port, _)| *port == one.port) {
                let (_, card) = cards.swap_remove(n);
                tree.functions[card].resources.clear();
            }
            continue;
        };
        let begun = Instant::now();
        let mut trial = tree.clone();
        let found = grow(&mut trial, one.port, size);
        out.times.push(begun.elapsed().as_nanos() as f64);
        if let Some((at, grown)) = found {
            let mut card =
                Function::new(Address { segment: 0, bus: 0x80, device: 0, function: 0 }, Some(one.port), 0);
            card.resources.push(register(size, Some(at), true));
            trial.functions.push(card);
            assert!(check(&trial).is_empty(), "{:?}", check(&trial));
            cards.push((one.port, trial.functions.len() - 1));
            tree = trial;
            out.placed += 1;
            out.windows += grown;
        }
    }
}

type Play = Box<dyn Fn(&Tree, &[Happens], &mut Outcome)>;

/// Plays `count` traces with each.
pub fn traces(count: usize) -> Vec<Line> {
    let linux = |major, minor| -> Play {
        let rules = Rules::of(major, minor);
        Box::new(move |tree, happens, out| linux(tree, happens, &rules, out))
    };
    let subjects: [(&str, Play); 5] = [
        ("pmem", Box::new(ours)),
        ("model of Linux up to 6.10", linux(6, 1)),
        ("model of Linux 6.11 to 6.19", linux(6, 12)),
        ("model of Linux 7.1", linux(7, 1)),
        ("model of FreeBSD", Box::new(freebsd)),
    ];
    let mut rng = Rng::new(17);
    let all: Vec<(Tree, Vec<Happens>)> = (0..count).map(|_| trace(&mut rng)).collect();
    let mut placed_by_us: Vec<usize> = Vec::new();
    let mut lines = Vec::new();
    for (name, play) in subjects {
        let (mut placed, mut windows, mut times, mut more) = (0, 0, Vec::new(), 0);
        for (n, (tree, happens)) in all.iter().enumerate() {
            let mut outcome = Outcome::default();
            play(tree, happens, &mut outcome);
            more += usize::from(placed_by_us.get(n).is_some_and(|ours| outcome.placed > *ours));
            if name == "pmem" {
                placed_by_us.push(outcome.placed);
            }
            (placed, windows) = (placed + outcome.placed, windows + outcome.windows);
            times.extend(outcome.times);
        }
        times.sort_by(f64::total_cmp);
        let note = format!(
            "{:.1} % of {} cards placed, {:.2} windows each; more than pmem in {more} of {count} traces; p99 {:.2} ms",
            100.0 * placed as f64 / (count * TRIES) as f64,
            count * TRIES,
            windows as f64 / placed.max(1) as f64,
            percentile(&times, 99.0) / 1e6
        );
        lines.push(Line {
            ns: Some(percentile(&times, 50.0)),
            note,
            ..Line::new("pci", "hot-plug", count, name)
        });
    }
    lines
}

/// A server with 256 functions, whose empty ports are asked for room for one more card.
pub fn server(count: usize) -> Vec<Line> {
    let mut rng = Rng::new(256);
    let mut times = Vec::new();
    let (mut fits, mut functions) = (0, 0);
    for _ in 0..count {
        let mut tree = Tree::default();
        let first = 64 * GIB;
        let aperture = Aperture {
            space: Space::Memory,
            span: BusRange { first, last: first + 4096 * GIB - 1 },
            cpu: first,
        };
        tree.roots.push(Root { segment: 0, buses: (0, 255), apertures: vec![aperture] });
        let mut at = first;
        let mut ports = Vec::new();
        for n in 0..32u8 {
            let port = bridge(&mut tree, None, 8 + n);
            ports.push(port);
            let begin = at;
            for _ in 0..if n % 8 == 7 { 0 } else { 8 } {
                let size = MIB << rng.below(14);
                at = at.div_ceil(size) * size;
                let mut card =
                    Function::new(Address { segment: 0, bus: 0x80, device: 0, function: 0 }, Some(port), 0);
                card.resources.push(register(size, Some(at), true));
                card.command = Some(6);
                tree.functions.push(card);
                at += size;
            }
            let len = (at - begin).max(MIB).div_ceil(MIB) * MIB;
            let begin = begin / MIB * MIB;
            if let Some(window) = tree.functions[port].bridge.as_mut().and_then(|b| b.windows.first_mut()) {
                window.span = BusRange::sized(begin, len + MIB).map(|span| span.rounded(MIB));
                at = window.span.map_or(at, |span| span.last + 1);
            }
        }
        functions = tree.functions.len();
        let mut card =
            Function::new(Address { segment: 0, bus: 0x90, device: 0, function: 0 }, Some(ports[7]), 0);
        (card.absent, card.mobility) = (true, Mobility::Asked);
        card.resources.push(register(32 * GIB, None, true));
        let index = tree.functions.len();
        tree.functions.push(card);
        let begun = Instant::now();
        let goal =
            Goal { tree: tree.clone(), old: tree, place: vec![(index, Slot::Bar(0))], ..Goal::default() };
        fits += usize::from(matches!(plan(&goal, &mut Budget::steps(STEPS)), Verdict::Fits(_)));
        times.push(begun.elapsed().as_nanos() as f64);
    }
    times.sort_by(f64::total_cmp);
    let note =
        format!("{fits} of {count} fit, {functions} functions, p99 {:.1} ms", percentile(&times, 99.0) / 1e6);
    vec![Line {
        ns: Some(percentile(&times, 50.0)),
        note,
        ..Line::new("pci", "a server, one card more", count, "pmem")
    }]
}
