//! Plans against every placement there is, on hierarchies small enough to try them all.

use pmem_pci::certificate::{Ground, Reason, why};
use pmem_pci::check::check;
use pmem_pci::phases::phases;
use pmem_pci::plan::{Goal, Plan, Verdict, plan};
use pmem_pci::steps::{Step, bystanders, steps, undo};
use pmem_pci::tree::{
    Aperture, Bridge, Function, Index, Mobility, Resource, Root, Slot, Space, Tree, Window, WindowKind,
};
use pmem_pci::{Address, Budget, BusRange};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// How many addresses there are.
const ROOM: u64 = 24;

fn address(n: usize) -> Address {
    Address { segment: 0, bus: n as u8, device: 0, function: 0 }
}

fn memory(slot: u8, size: u64, prefetchable: bool) -> Resource {
    Resource {
        slot: Slot::Bar(slot),
        space: Space::Memory,
        prefetchable,
        top: u64::MAX,
        size,
        align: size,
        at: None,
        fixed: false,
        optional: false,
    }
}

fn bridge(prefetchable: bool, granule: u64) -> Bridge {
    let window = |kind| Window { kind, span: None, granule, top: u64::MAX, card_bus: None };
    let mut windows = vec![window(WindowKind::Memory)];
    if prefetchable {
        windows.push(window(WindowKind::Prefetchable));
    }
    Bridge { windows, ..Bridge::default() }
}

/// Where a function's resource lies: in the prefetchable windows above it as far as there are any, else in the memory windows.
fn window_of(tree: &Tree, function: &Function, demoted: bool, prefetchable: bool) -> Option<(Index, usize)> {
    let above = function.parent?;
    let windows = &tree.functions[above].bridge.as_ref()?.windows;
    let wanted = if prefetchable && !demoted { WindowKind::Prefetchable } else { WindowKind::Memory };
    let found = windows.iter().position(|window| window.kind == wanted);
    Some((above, found.unwrap_or(0)))
}

/// Whether everything that has a place could be there: windows are the hulls of what lies in them, siblings are apart, and the host bridge
/// forwards it all. `demoted` says which lie in a memory window.
fn is_possible(tree: &Tree, demoted: &BTreeSet<(Index, Slot)>) -> bool {
    let mut hulls: Vec<Vec<Option<BusRange>>> = tree
        .functions
        .iter()
        .map(|f| vec![None; f.bridge.as_ref().map_or(0, |bridge| bridge.windows.len())])
        .collect();
    let mut on_root: Vec<BusRange> = Vec::new();
    let mut inside: Vec<Vec<Vec<BusRange>>> =
        hulls.iter().map(|windows| vec![Vec::new(); windows.len()]).collect();
    for (index, function) in tree.functions.iter().enumerate().rev() {
        let mut spans: Vec<(BusRange, bool, bool)> = function
            .resources
            .iter()
            .filter_map(|r| Some((r.span()?, r.prefetchable, demoted.contains(&(index, r.slot)))))
            .collect();
        for (n, window) in function.bridge.iter().flat_map(|bridge| &bridge.windows).enumerate() {
            let own = &inside[index][n];
            if own.iter().enumerate().any(|(i, a)| own[..i].iter().any(|b| a.overlaps(*b))) {
                return false;
            }
            let hull = own.iter().copied().reduce(BusRange::hull).map(|hull| hull.rounded(window.granule));
            hulls[index][n] = hull;
            spans.extend(hull.map(|hull| (hull, window.kind == WindowKind::Prefetchable, false)));
        }
        // A bridge's memory and prefetchable windows lie on one bus, and must be apart as well.
        for (span, prefetchable, demoted) in spans {
            match window_of(tree, function, demoted, prefetchable) {
                Some((above, n)) => inside[above][n].push(span),
                None => on_root.push(span),
            }
        }
    }
    // What lies on one bus but in two windows of the bridge above is apart because those windows are.
    let apertures = &tree.roots[0].apertures;
    let forwarded = on_root.iter().all(|span| apertures.iter().any(|aperture| aperture.span.covers(*span)));
    forwarded && on_root.iter().enumerate().all(|(i, a)| on_root[..i].iter().all(|b| !a.overlaps(*b)))
}

/// Every way to place these, and to demote what of them is prefetchable.
fn any_way(tree: &mut Tree, keys: &[(Index, Slot)], demoted: &mut BTreeSet<(Index, Slot)>) -> bool {
    let Some((key, rest)) = keys.split_first() else { return true };
    let resource = tree.functions[key.0].resource(key.1).unwrap().clone();
    for demote in [false, true] {
        if demote && !resource.prefetchable {
            continue;
        }
        if demote {
            demoted.insert(*key);
        }
        for at in (0..ROOM).step_by(resource.align as usize) {
            place(tree, *key, Some(at));
            if is_possible(tree, demoted) && any_way(tree, rest, demoted) {
                return true;
            }
        }
        demoted.remove(key);
    }
    place(tree, *key, None);
    false
}

fn place(tree: &mut Tree, (index, slot): (Index, Slot), at: Option<u64>) {
    tree.functions[index].resources.iter_mut().find(|r| r.slot == slot).unwrap().at = at;
}

/// The least weight of functions that must be stopped, by trying all sets of them.
fn least(goal: &Goal) -> Option<u64> {
    let movable: Vec<Index> = (0..goal.tree.functions.len())
        .filter(|i| goal.tree.functions[*i].mobility.weight().is_some_and(|w| w > 0))
        .filter(|i| goal.tree.functions[*i].resources.iter().any(|r| r.at.is_some()))
        .collect();
    let mut best: Option<u64> = None;
    for mask in 0u32..1 << movable.len() {
        let chosen: Vec<Index> =
            movable.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, index)| *index).collect();
        let weight: u64 = chosen.iter().map(|i| goal.tree.functions[*i].mobility.weight().unwrap()).sum();
        if best.is_some_and(|best| best <= weight) {
            continue;
        }
        let mut tree = goal.tree.clone();
        let mut keys = goal.place.clone();
        for index in chosen {
            keys.extend(tree.functions[index].resources.iter().map(|r| (index, r.slot)));
        }
        keys.iter().for_each(|key| place(&mut tree, *key, None));
        keys.sort_by_key(|(index, slot)| {
            std::cmp::Reverse(goal.tree.functions[*index].resource(*slot).unwrap().size)
        });
        if any_way(&mut tree, &keys, &mut BTreeSet::new()) {
            best = Some(weight);
        }
    }
    best
}

/// A hierarchy: bridges (above, prefetchable window, granule), functions (above, mobility, resources: size, prefetchable, place).
type Shape =
    (Vec<(usize, bool, u32)>, Vec<(usize, u8, Vec<(u32, bool, u64)>)>, Vec<(u32, bool)>, usize, bool);

fn shape() -> impl Strategy<Value = Shape> {
    let bridge = (0usize..3, any::<bool>(), 0u32..2);
    let resource = (0u32..4, any::<bool>(), 0u64..24);
    let function = (0usize..4, 0u8..3, prop::collection::vec(resource, 1..3));
    let wanted = prop::collection::vec((0u32..4, any::<bool>()), 1..3);
    (
        prop::collection::vec(bridge, 0..3),
        prop::collection::vec(function, 1..4),
        wanted,
        0usize..4,
        any::<bool>(),
    )
}

fn build((bridges, functions, wanted, at, split): &Shape) -> Option<Goal> {
    let mut tree = Tree::default();
    let aperture =
        |first, last| Aperture { space: Space::Memory, span: BusRange { first, last }, cpu: first };
    let apertures =
        if *split { vec![aperture(0, 9), aperture(12, ROOM - 1)] } else { vec![aperture(0, ROOM - 1)] };
    tree.roots.push(Root { segment: 0, buses: (0, 255), apertures });
    for (i, (above, prefetchable, granule)) in bridges.iter().enumerate() {
        let above = if i == 0 || *above >= i { None } else { Some(*above) };
        let mut function = Function::new(address(i), above, 0);
        function.bridge = Some(bridge(*prefetchable, 1 << granule));
        function.mobility = Mobility::Pinned;
        tree.functions.push(function);
    }
    let below = |at: usize| if at < bridges.len() { Some(at) } else { None };
    for (i, (above, mobility, resources)) in functions.iter().enumerate() {
        let mut function = Function::new(address(100 + i), below(*above), 0);
        function.mobility = [Mobility::Idle, Mobility::Driven, Mobility::Pinned][usize::from(*mobility)];
        for (n, (size, prefetchable, at)) in resources.iter().enumerate() {
            let size = 1u64 << size;
            let mut resource = memory(2 * n as u8, size, *prefetchable);
            resource.at = Some(at / size * size);
            function.resources.push(resource);
        }
        tree.functions.push(function);
    }
    if !is_possible(&tree, &BTreeSet::new()) {
        return None;
    }
    // Windows as they are: around what lies in them.
    for index in (0..bridges.len()).rev() {
        for n in 0..tree.functions[index].bridge.as_ref()?.windows.len() {
            let mut hull: Option<BusRange> = None;
            for function in &tree.functions {
                let inner = function
                    .bridge
                    .iter()
                    .flat_map(|b| &b.windows)
                    .filter_map(|w| Some((w.span?, w.kind == WindowKind::Prefetchable)));
                let own = function.resources.iter().filter_map(|r| Some((r.span()?, r.prefetchable)));
                for (span, prefetchable) in own.chain(inner) {
                    if window_of(&tree, function, false, prefetchable) == Some((index, n)) {
                        hull = Some(hull.map_or(span, |hull| hull.hull(span)));
                    }
                }
            }
            let window = &mut tree.functions[index].bridge.as_mut()?.windows[n];
            window.span = hull.map(|hull| hull.rounded(window.granule));
        }
    }
    let mut card = Function::new(address(200), below(*at), 0);
    card.absent = true;
    card.mobility = Mobility::Asked;
    card.resources =
        wanted.iter().zip(0..).map(|((size, pref), n)| memory(2 * n, 1 << size, *pref)).collect();
    let index = tree.functions.len();
    let place = card.resources.iter().map(|r| (index, r.slot)).collect();
    tree.functions.push(card);
    Some(Goal { old: tree.clone(), tree, place, extra: Vec::new() })
}

/// What a window's registers hold.
#[derive(Clone, Copy, Default)]
struct Registers {
    pair: u32,
    base_upper: u32,
    limit_upper: u32,
}

/// Configuration space as writes change it, worked out from the specification alone: the hierarchy that it makes.
struct Wire {
    tree: Tree,
    on: Vec<bool>,
    windows: Vec<[Registers; 2]>,
}

const MIB: u64 = 1 << 20;

fn encode(span: Option<BusRange>) -> Registers {
    let Some(span) = span else { return Registers { pair: 0xfff0, ..Registers::default() } };
    let pair = (span.first >> 16) as u32 & 0xfff0 | span.last as u32 & 0xfff0_0000;
    Registers { pair, base_upper: (span.first >> 32) as u32, limit_upper: (span.last >> 32) as u32 }
}

impl Wire {
    fn new(tree: &Tree) -> Self {
        let window = |f: &Function, kind| encode(f.window(kind).and_then(|w| w.span));
        let both = |f: &Function| [window(f, WindowKind::Memory), window(f, WindowKind::Prefetchable)];
        Self {
            on: vec![true; tree.functions.len()],
            windows: tree.functions.iter().map(both).collect(),
            tree: tree.clone(),
        }
    }

    fn write(&mut self, step: &Step) {
        let function = &mut self.tree.functions[step.function];
        let windows = &mut self.windows[step.function];
        match step.offset {
            0x04 => self.on[step.function] = step.value & 2 != 0,
            0x20 if function.bridge.is_some() => windows[0].pair = step.value,
            0x24 if function.bridge.is_some() => windows[1].pair = step.value,
            0x28 if function.bridge.is_some() => windows[1].base_upper = step.value,
            0x2c if function.bridge.is_some() => windows[1].limit_upper = step.value,
            offset => {
                let n = (offset - 0x10) / 4;
                for resource in &mut function.resources {
                    let Slot::Bar(slot) = resource.slot else { continue };
                    let had = resource.at.unwrap_or(0);
                    if n == u16::from(slot) {
                        resource.at = Some(had & !0xffff_ffff | u64::from(step.value & !0xf));
                    } else if n == u16::from(slot) + 1 {
                        resource.at = Some(had & 0xffff_ffff | u64::from(step.value) << 32);
                    }
                }
            }
        }
    }

    /// What is decoded now.
    fn seen(&self) -> Tree {
        let mut tree = self.tree.clone();
        for (index, function) in tree.functions.iter_mut().enumerate() {
            if !self.on[index] || function.absent {
                function.resources.clear();
            }
            let Some(bridge) = &mut function.bridge else { continue };
            for window in &mut bridge.windows {
                let prefetchable = window.kind == WindowKind::Prefetchable;
                let Registers { pair, base_upper, limit_upper } =
                    self.windows[index][usize::from(prefetchable)];
                let upper = |upper: u32| if prefetchable { u64::from(upper) << 32 } else { 0 };
                let first = u64::from(pair & 0xfff0) << 16 | upper(base_upper);
                let last = u64::from(pair & 0xfff0_0000) | upper(limit_upper) | 0xf_ffff;
                window.span = BusRange::new(first, last);
            }
        }
        tree
    }
}

/// Writes lead from one to the other, and nothing on the way is illegal; back as well.
fn on_the_way(old: &Tree, new: &Tree) -> Result<(), TestCaseError> {
    let (old, new) = (old.clone(), new.clone());
    let Ok(stopped) = bystanders(&old, &new) else {
        return Err(TestCaseError::fail("there is no way"));
    };
    let steps = steps(&old, &new, &stopped).unwrap_or_default();
    let mut wire = Wire::new(&old);
    for step in &steps {
        wire.write(step);
        let wrong = check(&wire.seen());
        prop_assert!(wrong.is_empty(), "{:?} after {:?} of {:?}", wrong, step, steps);
    }
    let mut there = new.clone();
    for (function, wanted) in there.functions.iter_mut().zip(&new.functions) {
        if wanted.absent {
            function.resources.clear();
        }
    }
    let mut seen = wire.seen();
    prop_assert_eq!(&seen.functions, &there.functions);
    let back = undo(&steps);
    for step in back.iter().flatten() {
        wire.write(step);
        seen = wire.seen();
        let wrong = check(&seen);
        prop_assert!(wrong.is_empty(), "{:?} on the way back, after {:?}", wrong, step);
    }
    Ok(())
}

/// An operating system's map gets there window by window, and nothing on the way is illegal, where what is stopped is taken out of it meanwhile.
fn map_on_the_way(old: &Tree, plan: &Plan) -> Result<(), TestCaseError> {
    let mut tree = old.clone();
    for index in &plan.quiesced {
        tree.functions[*index].resources.clear();
    }
    for phase in phases(old, &plan.tree) {
        let windows = &mut tree.functions[phase.bridge].bridge.as_mut().unwrap().windows;
        let window = windows.iter_mut().find(|window| window.kind == phase.kind).unwrap();
        prop_assert_eq!(window.span, phase.from);
        window.span = phase.to;
        let wrong = check(&tree);
        prop_assert!(wrong.is_empty(), "{:?} after {:?}", wrong, phase);
    }
    for (there, wanted) in tree.functions.iter().zip(&plan.tree.functions) {
        let windows = |f: &Function| f.bridge.as_ref().map(|bridge| bridge.windows.clone());
        prop_assert_eq!(windows(there), windows(wanted));
    }
    Ok(())
}

/// The same with a MiB for each address, from a MiB on.
fn in_mib(goal: &Goal, base: u64) -> Goal {
    let mut tree = goal.tree.clone();
    let at = |address: u64| (address + base) * MIB;
    let span = |span: BusRange| BusRange { first: at(span.first), last: at(span.last) + MIB - 1 };
    for aperture in &mut tree.roots[0].apertures {
        aperture.span = span(aperture.span);
        aperture.cpu = aperture.span.first;
    }
    for function in &mut tree.functions {
        function.command = Some(6);
        for resource in &mut function.resources {
            resource.at = resource.at.map(at);
            resource.size *= MIB;
            resource.align = resource.size;
        }
        for window in function.bridge.iter_mut().flat_map(|bridge| &mut bridge.windows) {
            window.span = window.span.map(span);
            window.granule *= MIB;
            if window.kind == WindowKind::Memory {
                window.top = 0xffff_ffff;
            }
        }
    }
    Goal { old: tree.clone(), tree, ..goal.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]
    #[test]
    fn the_least_weight_is_found(shape in shape()) {
        let Some(tiny) = build(&shape) else { return Err(TestCaseError::reject("not legal")) };
        let wanted = least(&tiny);
        let goal = in_mib(&tiny, 1024);
        let before = check(&goal.tree);
        prop_assert!(before.is_empty(), "{before:?}");
        match plan(&goal, &mut Budget::steps(10_000_000)) {
            Verdict::Fits(plan) | Verdict::FitsWithQuiesce(plan) => {
                prop_assert_eq!(Some(plan.cost.weight), wanted, "{:?}", &plan);
                prop_assert!(plan.least);
                is_right(&goal, &plan)?;
            }
            Verdict::No(keys) => {
                prop_assert_eq!(wanted, None);
                let reasons = why(&goal, &keys);
                prop_assert_eq!(reasons.len(), 1);
                holds(&goal, &reasons[0])?;
            }
            Verdict::NotProven(_) => prop_assert!(false, "not proven"),
        }
    }

    #[test]
    fn windows_cross_4_gib_step_by_step(shape in shape()) {
        let Some(tiny) = build(&shape) else { return Err(TestCaseError::reject("not legal")) };
        let goal = in_mib(&tiny, 4096 - 8);
        if !check(&goal.tree).is_empty() {
            return Err(TestCaseError::reject("a memory window above 4 GiB"));
        }
        if let Verdict::Fits(plan) | Verdict::FitsWithQuiesce(plan) = plan(&goal, &mut Budget::steps(10_000_000)) {
            is_right(&goal, &plan)?;
        }
    }
}

/// A certificate is true, counted anew place by place from the hierarchy alone.
fn holds(goal: &Goal, reason: &Reason) -> Result<(), TestCaseError> {
    let stays: Vec<BusRange> = goal
        .tree
        .functions
        .iter()
        .filter(|f| f.mobility == Mobility::Pinned)
        .flat_map(|f| f.resources.iter().filter_map(Resource::span))
        .collect();
    let apertures: Vec<BusRange> =
        goal.tree.roots[0].apertures.iter().map(|aperture| aperture.span).collect();
    let free_mib = apertures
        .iter()
        .flat_map(|aperture| (aperture.first..=aperture.last).step_by(MIB as usize))
        .filter(|at| !stays.iter().any(|span| span.contains(*at)))
        .count() as u64;
    prop_assert_eq!(reason.free, free_mib * MIB);
    let movable: Vec<u64> = goal
        .tree
        .functions
        .iter()
        .filter(|f| f.mobility != Mobility::Pinned)
        .flat_map(|f| f.resources.iter().map(|r| r.size))
        .collect();
    let places: Vec<BusRange> = (0..1u64 << 14)
        .map(|n| BusRange { first: n * reason.size, last: n * reason.size + reason.size - 1 })
        .filter(|place| apertures.iter().any(|aperture| aperture.covers(*place)))
        .collect();
    let is_free = |place: &&BusRange| !stays.iter().any(|span| span.overlaps(**place));
    let free = places.iter().filter(is_free).count();
    let needs = movable.iter().filter(|size| **size >= reason.size).count();
    match reason.ground {
        Ground::TooFewPlaces => prop_assert!(free < needs, "{free} free, {needs} needed: {reason:?}"),
        Ground::TooFewBytes => prop_assert!(movable.iter().sum::<u64>() > reason.free, "{reason:?}"),
        // Which the other test has tried one by one.
        Ground::Exhausted => prop_assert!(free >= needs),
    }
    let listed: Vec<BusRange> = reason.places.iter().map(|place| place.span).collect();
    prop_assert_eq!(&listed, &places, "every place is listed");
    for place in &reason.places {
        prop_assert_eq!(place.blockers.is_empty(), is_free(&&place.span), "{:?}", place);
    }
    Ok(())
}

/// Everything has a place, nothing is illegal, and there is a way to it.
fn is_right(goal: &Goal, plan: &Plan) -> Result<(), TestCaseError> {
    let wrong = check(&plan.tree);
    prop_assert!(wrong.is_empty(), "{:?} {:?}", wrong, &plan.tree);
    prop_assert!(
        goal.place.iter().all(|(i, slot)| plan.tree.functions[*i].resource(*slot).unwrap().at.is_some())
    );
    on_the_way(&goal.tree, &plan.tree)?;
    map_on_the_way(&goal.tree, plan)
}

/// Six cards of 32 GiB and 32 MiB each, every one behind a port of its own, in eight places of 32 GiB: a gap serves two of the small ones, and
/// there are two gaps (notes of a public case: six RTX 4090).
#[test]
fn no_more_is_demoted_than_must_be() {
    const GIB: u64 = 1 << 30;
    let mut tree = Tree::default();
    let aperture =
        |first, last| Aperture { space: Space::Memory, span: BusRange { first, last }, cpu: first };
    let apertures = vec![aperture(0x8000_0000, 0xdfff_ffff), aperture(256 * GIB, 512 * GIB - 1)];
    tree.roots.push(Root { segment: 0, buses: (0, 255), apertures });
    let mut place = Vec::new();
    for n in 0..6 {
        let mut port = Function::new(address(n), None, 0);
        let mut own = bridge(true, MIB);
        own.windows[0].top = 0xffff_ffff;
        port.bridge = Some(own);
        let above = tree.functions.len();
        tree.functions.push(port);
        let mut card = Function::new(address(100 + n), Some(above), 0);
        card.mobility = Mobility::Asked;
        card.resources = vec![memory(0, 32 * GIB, true), memory(2, 32 * MIB, true)];
        place.extend([(above + 1, Slot::Bar(0)), (above + 1, Slot::Bar(2))]);
        tree.functions.push(card);
    }
    let goal = Goal { old: tree.clone(), tree, place, extra: Vec::new() };
    let Verdict::Fits(plan) = plan(&goal, &mut Budget::steps(50_000_000)) else { panic!("it fits") };
    assert_eq!(plan.demoted.len(), 2, "{:?}", plan.demoted);
    assert!(plan.least && check(&plan.tree).is_empty());
}

/// Two dice of 32 GiB and 2 MiB behind one window: it begins 2 MiB before a multiple of 32 GiB, and is not a byte longer than it must be.
#[test]
fn a_mirrored_packing_is_found() {
    const GIB: u64 = 1 << 30;
    let mut tree = Tree::default();
    let span = BusRange { first: 64 * GIB - 2 * MIB, last: 128 * GIB + 2 * MIB - 1 };
    let apertures = vec![Aperture { space: Space::Memory, span, cpu: span.first }];
    tree.roots.push(Root { segment: 0, buses: (0, 255), apertures });
    let mut place = Vec::new();
    let mut above = None;
    for n in 0..2 {
        let mut port = Function::new(address(n), above, 0);
        port.bridge = Some(bridge(true, MIB));
        above = Some(tree.functions.len());
        tree.functions.push(port);
    }
    for n in 0..2 {
        let mut port = Function::new(address(10 + n), above, 0);
        port.bridge = Some(bridge(true, MIB));
        let bus = tree.functions.len();
        tree.functions.push(port);
        let mut die = Function::new(address(20 + n), Some(bus), 0);
        die.mobility = Mobility::Asked;
        die.resources = vec![memory(0, 32 * GIB, true), memory(2, 2 * MIB, true)];
        place.extend([(bus + 1, Slot::Bar(0)), (bus + 1, Slot::Bar(2))]);
        tree.functions.push(die);
    }
    let goal = Goal { old: tree.clone(), tree, place, extra: Vec::new() };
    let Verdict::Fits(plan) = plan(&goal, &mut Budget::steps(1_000_000)) else { panic!("it fits") };
    assert!(plan.demoted.is_empty() && check(&plan.tree).is_empty());
    let window = plan.tree.functions[0].window(WindowKind::Prefetchable).unwrap().span;
    assert_eq!(window, Some(span));
}

/// Functions on the root bus, each with one 64-bit register of a size, none with a place.
fn on_root(apertures: &[(u64, u64)], sizes: &[u64]) -> Goal {
    let mut tree = Tree::default();
    let aperture = |(first, last): &(u64, u64)| {
        let span = BusRange { first: *first, last: *last };
        Aperture { space: Space::Memory, span, cpu: span.first }
    };
    let apertures = apertures.iter().map(aperture).collect();
    tree.roots.push(Root { segment: 0, buses: (0, 255), apertures });
    let mut place = Vec::new();
    for (n, size) in sizes.iter().enumerate() {
        let mut card = Function::new(address(n), None, 0);
        card.mobility = Mobility::Asked;
        card.resources = vec![memory(0, *size, true)];
        tree.functions.push(card);
        place.push((n, Slot::Bar(0)));
    }
    Goal { old: tree.clone(), tree, place, extra: Vec::new() }
}

/// Public cases of which the facts are known: eight cards of 128 GiB below 2^40; one of 16 GiB with, and without, a window above 4 GiB.
#[test]
fn facts_of_public_cases_are_told() {
    const GIB: u64 = 1 << 30;
    let low = (0xdfa0_0000, 0xfeaf_ffff);
    // All that 40 bits leave, even without any memory in them.
    let goal = on_root(&[low, (4 * GIB, (1 << 40) - 1)], &[128 * GIB; 8]);
    let Verdict::No(keys) = plan(&goal, &mut Budget::steps(1_000_000)) else { panic!("it cannot fit") };
    let reason = &why(&goal, &keys)[0];
    assert_eq!((reason.ground, reason.needs.len(), reason.places.len()), (Ground::TooFewPlaces, 8, 7));
    let goal = on_root(&[low, (0x4_1f60_0000, 0xf_ffff_ffff)], &[16 * GIB, 16 << 20, 32 << 20]);
    let Verdict::Fits(plan_a) = plan(&goal, &mut Budget::steps(1_000_000)) else { panic!("it fits") };
    let at = plan_a.tree.functions[0].resources[0].at;
    assert!(at == Some(0x8_0000_0000) || at == Some(0xc_0000_0000), "{at:x?}");
    let goal = on_root(&[low], &[16 * GIB]);
    let Verdict::No(keys) = plan(&goal, &mut Budget::steps(1_000_000)) else { panic!("it cannot fit") };
    assert!(why(&goal, &keys)[0].places.is_empty());
}

/// While two bridges swap their bus numbers, no bus ever lies behind both, nor does one claim a bus above it.
#[test]
fn bus_numbers_move_without_two_owners() {
    let tree = |buses: [(u8, u8); 2]| {
        let mut tree = Tree::default();
        tree.roots.push(Root { segment: 0, buses: (0, 255), apertures: Vec::new() });
        for (n, buses) in buses.into_iter().enumerate() {
            let mut port = Function::new(address(n), None, 0);
            port.bridge = Some(Bridge { buses: Some(buses), ..Bridge::default() });
            tree.functions.push(port);
        }
        tree
    };
    let (mut now, after) = ([(1u8, 3u8), (4, 4)], [(2, 2), (3, 6)]);
    for step in steps(&tree(now), &tree(after), &BTreeSet::new()).unwrap() {
        let (first, last) = &mut now[step.function];
        let held = if step.offset == 0x19 { &mut *first } else { &mut *last };
        assert_eq!(step.before, Some((*held).into()), "{step:?}");
        *held = step.value as u8;
        // A bridge with two zeros has no numbers.
        let behind = |(first, last): (u8, u8)| {
            (first..=last).filter(|_| (first, last) != (0, 0)).collect::<BTreeSet<u8>>()
        };
        let (one, other) = (behind(now[0]), behind(now[1]));
        assert!(one.is_disjoint(&other), "{now:?} after {step:?}");
        assert!(!one.contains(&0) && !other.contains(&0), "{now:?} after {step:?}");
    }
    assert_eq!(now, after);
}

/// Virtual functions take their size in bytes, of which their alignment is a part.
#[test]
fn bytes_of_virtual_functions_count() {
    let mut goal = on_root(&[(64 * MIB, 128 * MIB - 1)], &[16 * MIB]);
    let mut many = memory(1, MIB, true);
    many.size = 56 * MIB;
    for tree in [&mut goal.old, &mut goal.tree] {
        tree.functions[0].resources.push(many.clone());
    }
    goal.place.push((0, Slot::Bar(1)));
    let Verdict::No(keys) = plan(&goal, &mut Budget::steps(1_000_000)) else { panic!("72 MiB fit into 64") };
    let [reason] = &why(&goal, &keys)[..] else { panic!("one reason") };
    assert_eq!((reason.ground, reason.free), (Ground::TooFewBytes, 64 * MIB));
}

/// A limit that goes from 0x1_ffff_ffff to 0x2_0fff_ffff passes 0x1_0fff_ffff, which cuts the window off, or
/// 0x2_ffff_ffff, which forwards too much. So whoever is behind it is stopped meanwhile, and nobody else.
#[test]
fn only_who_is_behind_a_stuck_window_is_stopped() {
    const MIB: u64 = 1 << 20;
    let placed = |at, size| Resource { at: Some(at), ..memory(0, size, true) };
    let tree = |span: BusRange, mobility: Mobility| {
        let mut tree = Tree::default();
        let all = BusRange::new(0, 0x3_ffff_ffff).unwrap();
        let aperture = Aperture { space: Space::Memory, span: all, cpu: 0 };
        tree.roots.push(Root { segment: 0, buses: (0, 255), apertures: vec![aperture] });
        let mut port = Function::new(address(0), None, 0);
        let mut own = bridge(true, MIB);
        own.windows[1].span = Some(span);
        port.bridge = Some(own);
        tree.functions.push(port);
        for (n, parent, at) in [(1, Some(0), 0x1_f000_0000), (2, None, 0x2_8000_0000)] {
            let mut function = Function::new(address(n), parent, 0);
            (function.mobility, function.resources) = (mobility, vec![placed(at, MIB)]);
            tree.functions.push(function);
        }
        // Behind the window as well, but without anything that decodes.
        tree.functions.push(Function::new(address(3), Some(0), 0));
        tree
    };
    let (old, new) = (
        BusRange::new(0x1_f000_0000, 0x1_ffff_ffff).unwrap(),
        BusRange::new(0x1_f000_0000, 0x2_0fff_ffff).unwrap(),
    );
    let stopped = bystanders(&tree(old, Mobility::Driven), &tree(new, Mobility::Driven));
    assert_eq!(stopped, Ok(BTreeSet::from([1])));
    assert!(bystanders(&tree(old, Mobility::Pinned), &tree(new, Mobility::Pinned)).is_err());
    // One write is enough if only the lower half of the base changes.
    let lower = BusRange::new(0x1_e000_0000, 0x1_ffff_ffff).unwrap();
    let stopped = bystanders(&tree(old, Mobility::Pinned), &tree(lower, Mobility::Pinned));
    assert_eq!(stopped, Ok(BTreeSet::new()));
}
