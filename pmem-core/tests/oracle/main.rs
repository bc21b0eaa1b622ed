//! Every verb against the invariants, and every answer against trying: what addresses mean, what can be made visible, and at what cost.

mod brute;

use brute::{Brute, CELL, Mapper, Meaning, Place};
use pmem_core::test_util::Quiet;
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Constraints, Direction, Interleave, LinkId, Manager, Mapping,
    Metric, OwnedResolution, Policy, Props, Prot, RegionId, Request, Role, Scope, State, Subscription, Table,
    Usage, ViewTarget, Window, Windows,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// In cells, as every number of an operation.
const SIZE: u64 = 64;
const ARENAS: usize = 4;

fn range(start: u64, len: u64) -> AddrRange {
    AddrRange::inclusive(start * CELL, (start + len).min(SIZE) * CELL - 1).unwrap()
}

#[derive(Clone, Debug)]
enum Kind {
    Closed,
    Identity,
    Window(u64, u64, u64),
    Floating(u64, u64, bool),
    Table(u64, u64, Option<(u64, u64)>),
    /// Of two shares, which one.
    Interleave(u64, u64, bool),
}

#[derive(Clone, Debug)]
enum Op {
    Connect(usize, usize, Kind, Kind, u32),
    /// With the inverse for the other direction.
    Join(usize, usize, Kind, u32),
    Disconnect(usize),
    Prime(usize, u64, u64, bool),
    Seal(usize, u64, u64),
    Unseal(usize, u64, u64),
    Unprime(usize, u64, u64),
    Retire(usize, u64, u64),
    Alloc {
        arena: usize,
        len: u64,
        align: u32,
        policy: u8,
        max: u32,
        prefetch: bool,
        at: Option<u64>,
    },
    Map(usize, usize),
    Decref(usize),
    Incref(usize),
    Relocate(usize, u64),
    Swap(usize, usize),
    Resize(usize, u64),
    Park(usize),
    Unpark(usize, Option<u64>),
    Set(usize, bool),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        1 => Just(Kind::Closed),
        3 => Just(Kind::Identity),
        4 => (0..SIZE, 1..32u64, 0..32u64).prop_map(|(s, l, o)| Kind::Window(s, l, o)),
        4 => (0..SIZE, 1..32u64, any::<bool>()).prop_map(|(s, l, p)| Kind::Floating(s, l, p)),
        1 => (0..SIZE, 1..32u64, prop::option::of((0..SIZE, 1..16u64))).prop_map(|(s, l, h)| Kind::Table(s, l, h)),
        1 => (0..4u64, 1..3u64, any::<bool>()).prop_map(|(s, l, p)| Kind::Interleave(s * 16, l * 4, p)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let a = || 0..ARENAS;
    let r = || 0..12usize;
    prop_oneof![
        9 => joins(),
        1 => (0..6usize).prop_map(Op::Disconnect),
        1 => (a(), 0..SIZE, 1..16u64).prop_map(|(a, s, l)| Op::Seal(a, s, l)),
        1 => (a(), 0..SIZE, 1..16u64).prop_map(|(a, s, l)| Op::Unseal(a, s, l)),
        1 => (a(), 0..SIZE, 1..16u64).prop_map(|(a, s, l)| Op::Unprime(a, s, l)),
        1 => (a(), 0..SIZE, 1..4u64).prop_map(|(a, s, l)| Op::Retire(a, s, l)),
        8 => (a(), 1..6u64, 0..3u32, 0..4u8, 0..30u32, any::<bool>(), prop::option::of(0..SIZE)).prop_map(
            |(arena, len, align, policy, max, prefetch, at)| Op::Alloc { arena, len, align, policy, max, prefetch, at }
        ),
        6 => (a(), r()).prop_map(|(a, r)| Op::Map(a, r)),
        3 => r().prop_map(Op::Decref),
        1 => r().prop_map(Op::Incref),
        3 => (r(), 0..SIZE).prop_map(|(r, s)| Op::Relocate(r, s)),
        2 => (r(), r()).prop_map(|(a, b)| Op::Swap(a, b)),
        2 => (r(), 1..8u64).prop_map(|(r, l)| Op::Resize(r, l)),
        2 => r().prop_map(Op::Park),
        2 => (r(), prop::option::of(0..SIZE)).prop_map(|(r, s)| Op::Unpark(r, s)),
        1 => (r(), any::<bool>()).prop_map(|(r, p)| Op::Set(r, p)),
    ]
}

fn direction(kind: &Kind, metric: u32) -> Direction {
    let metric = Metric::new(metric);
    let mapping = match kind {
        Kind::Closed => return Direction::closed(),
        Kind::Identity => Mapping::Identity,
        Kind::Window(start, len, out) => Mapping::window(range(*start, *len), *out * CELL).unwrap(),
        Kind::Floating(start, len, prefetch) => {
            let limit = range(*start, *len).rounded(4 * CELL);
            let one = Window::floating(limit, 4 * CELL).unwrap();
            let all = if *prefetch { vec![one, one.prefetchable()] } else { vec![one] };
            Mapping::Windows(Windows::new(all).unwrap())
        }
        Kind::Table(start, len, hole) => {
            let table = Table::new(range(*start, *len).rounded(4 * CELL), 4 * CELL).unwrap();
            // A hole that is all of it leaves no table.
            let holed = hole.map(|(start, len)| table.clone().without(range(start, len)));
            let holed = holed.filter(|holed| holed.holes() != [table.input()]);
            Mapping::Table(holed.unwrap_or(table))
        }
        Kind::Interleave(start, len, second) => {
            let share =
                Interleave::new(range(*start, *len), 2, CELL as u32, u8::from(*second), *start / 2 * CELL);
            Mapping::Interleave(share.unwrap())
        }
    };
    Direction::new(mapping, metric)
}

struct Bench {
    pmem: Manager,
    arenas: Vec<ArenaId>,
    links: Vec<LinkId>,
    regions: Vec<RegionId>,
}

impl Bench {
    fn new() -> Self {
        let mut pmem = Manager::new();
        let arenas: Vec<ArenaId> =
            (0..ARENAS).map(|i| pmem.create_arena(format!("{i}"), ArenaType::RAM).unwrap()).collect();
        // Debug builds compare each patch of an observed view with the whole view.
        for arena in &arenas {
            let subscription = Subscription::new([Scope::View(*arena)]);
            pmem.register(Box::new(Quiet::new("viewer")), subscription).unwrap();
        }
        Self { pmem, arenas, links: Vec::new(), regions: Vec::new() }
    }

    fn region(&self, index: usize) -> Option<RegionId> {
        self.regions.get(index % self.regions.len().max(1)).copied()
    }

    /// Carries an operation out; says whether the manager did it.
    fn run(&mut self, op: &Op) -> bool {
        let region = |bench: &Self, index: &usize| bench.region(*index).unwrap_or_default();
        match op {
            Op::Connect(left, right, to_right, to_left, metric) => {
                let (left, right) = (self.arenas[*left], self.arenas[*right]);
                let (to_right, to_left) = (direction(to_right, *metric), direction(to_left, *metric));
                let link = self.pmem.connect_asymmetric(left, right, to_right, to_left);
                self.links.extend(link.as_ref().ok());
                link.is_ok()
            }
            Op::Join(left, right, kind, metric) => {
                let Direction { mapping, metric, .. } = direction(kind, *metric);
                let link = self.pmem.connect(self.arenas[*left], self.arenas[*right], mapping, metric);
                self.links.extend(link.as_ref().ok());
                link.is_ok()
            }
            Op::Disconnect(index) => {
                let link = self.links.get(*index).copied();
                let done = link.is_some_and(|link| self.pmem.disconnect(link).is_ok());
                self.links.retain(|l| !done || Some(*l) != link);
                done
            }
            Op::Prime(arena, start, len, prefetch) => {
                let props = if *prefetch { Props::PREFETCH } else { Props::UNCACHED };
                let attrs = Attrs::new(Usage::DATA, Prot::RW, props).unwrap();
                self.pmem.prime(self.arenas[*arena], range(*start, *len), attrs).is_ok()
            }
            Op::Seal(arena, start, len) => self.pmem.seal(self.arenas[*arena], range(*start, *len)).is_ok(),
            Op::Unseal(arena, start, len) => {
                self.pmem.unseal(self.arenas[*arena], range(*start, *len)).is_ok()
            }
            Op::Unprime(arena, start, len) => {
                self.pmem.unprime(self.arenas[*arena], range(*start, *len)).is_ok()
            }
            Op::Retire(arena, start, len) => {
                self.pmem.retire(self.arenas[*arena], range(*start, *len)).is_ok()
            }
            Op::Alloc { arena, len, align, policy, max, prefetch, at } => {
                let policies = [Policy::FirstFit, Policy::LastFit, Policy::InstantFit, Policy::GoodFit];
                let mut request =
                    Request::new(*len * CELL).align(CELL << align).policy(policies[usize::from(*policy)]);
                request = request.max_metric(Metric::new(*max));
                request = if *prefetch { request.props(Props::PREFETCH) } else { request };
                request = at.map_or(request, |at| request.at((at & !((1 << align) - 1)) * CELL));
                let made = self.pmem.alloc(self.arenas[*arena], &request);
                self.regions.extend(made.as_ref().ok());
                made.is_ok()
            }
            Op::Map(arena, index) => {
                let made = self.pmem.map(self.arenas[*arena], region(self, index));
                self.regions.extend(made.as_ref().ok());
                made.is_ok()
            }
            Op::Decref(index) => self.pmem.decref(region(self, index)).is_ok(),
            Op::Incref(index) => self.pmem.incref(region(self, index)).is_ok(),
            Op::Relocate(index, start) => self.pmem.relocate(region(self, index), *start * CELL).is_ok(),
            Op::Swap(a, b) => {
                let (a, b) = (region(self, a), region(self, b));
                let start = |region| self.pmem.range(region).map(AddrRange::start);
                let (Ok(to_b), Ok(to_a)) = (start(a), start(b)) else { return false };
                self.pmem.relocate_all(&[(a, to_b), (b, to_a)]).is_ok()
            }
            Op::Resize(index, len) => self.pmem.resize(region(self, index), *len * CELL).is_ok(),
            Op::Park(index) => self.pmem.park(region(self, index)).is_ok(),
            Op::Unpark(index, at) => {
                let spot = at.map_or(Constraints::anywhere(), |at| Constraints::at(at * CELL));
                self.pmem.unpark(region(self, index), spot).is_ok()
            }
            Op::Set(index, prefetch) => {
                let region = region(self, index);
                let Ok(old) = self.pmem.attrs(region) else { return false };
                let props = if *prefetch { Props::PREFETCH } else { Props::UNCACHED };
                let new = Attrs::new(old.usage(), old.prot(), props).unwrap();
                self.pmem.set(region, new).is_ok()
            }
        }
    }
}

fn all_places(bench: &Bench) -> impl Iterator<Item = Place> + '_ {
    bench.arenas.iter().flat_map(|arena| (0..SIZE + 8).map(|cell| (*arena, cell * CELL)))
}

/// Whether what a search says of an address is what trying says.
fn check_resolved(state: &State, from: Place) -> Result<(), TestCaseError> {
    let brute = Brute { state, names: false, also: BTreeMap::new() };
    let (meaning, found) = (brute.means(from), state.resolve(from.0, from.1));
    match (&meaning, &found) {
        (Meaning::Nothing, OwnedResolution::Fault { .. }) | (Meaning::Loop, OwnedResolution::Loop(_)) => {}
        (Meaning::One(place, cost, hops, _), OwnedResolution::Accept { place: is, hops: by }) => {
            let sum: u32 = by.iter().map(|hop| hop.cost.get()).sum();
            prop_assert_eq!((*place, *cost), ((is.arena, is.addr), is.cost.get()), "{:?}", from);
            prop_assert_eq!((*cost, *hops as usize), (sum, by.len()), "{:?}", found);
        }
        (Meaning::Several(all), OwnedResolution::Ambiguous(places)) => {
            let places: BTreeSet<Place> = places.iter().map(|p| (p.arena, p.addr)).collect();
            prop_assert_eq!(all, &places);
        }
        _ => return Err(TestCaseError::fail(format!("{from:?}: {found:?}, not {meaning:?}"))),
    }
    Ok(())
}

/// Whether what a view says of every address is what trying says.
fn check_view(state: &State, arena: ArenaId) -> Result<(), TestCaseError> {
    let brute = Brute { state, names: true, also: BTreeMap::new() };
    let view = state.view(arena);
    prop_assert!(view.windows(2).all(|pair| pair[0].seen.last() < pair[1].seen.start()));
    for cell in 0..SIZE + 8 {
        let addr = cell * CELL;
        let meaning = brute.means((arena, addr));
        let piece = view.iter().find(|piece| piece.seen.contains(addr));
        let on = piece.map_or(0, |piece| addr - piece.seen.start());
        let same = match (&meaning, piece.map(|piece| (&piece.what, piece.cost.get(), piece.hops))) {
            (Meaning::Nothing, None) | (Meaning::Loop, Some((ViewTarget::Loop, ..))) => true,
            (
                Meaning::One(place, cost, hops, prots),
                Some((ViewTarget::Local { arena, start, region, attrs, .. }, c, h)),
            ) => {
                let own = state.arena(place.0).unwrap();
                let there = own.region_at(place.1).map(|(_, record)| (record.id, record.attrs));
                let whole = there.map_or_else(|| own.span_at(place.1).unwrap().1.attrs, |(_, attrs)| attrs);
                let prots: BTreeSet<u8> = prots.iter().map(|prot| prot & whole.prot().bits()).collect();
                *place == (*arena, start + on)
                    && (*cost, *hops) == (c, h)
                    && *region == there.map(|(id, _)| id)
                    && prots.contains(&attrs.prot().bits())
                    && (attrs.usage(), attrs.props()) == (whole.usage(), whole.props())
            }
            (
                Meaning::Table(link, place, cost),
                Some((ViewTarget::Table { link: l, arena, start }, c, _)),
            ) => (link, *place, *cost) == (l, (*arena, start + on), c),
            (Meaning::Interleave(place, cost), Some((ViewTarget::Interleave { arena, start, .. }, c, _))) => {
                (*place, *cost) == ((*arena, start + on), c)
            }
            (Meaning::Several(all), Some((ViewTarget::Ambiguous(arenas), ..))) => {
                all.iter().map(|place| place.0).collect::<Vec<_>>() == *arenas
            }
            _ => false,
        };
        prop_assert!(same, "{} {:#x}: {:?}, not {:?}", arena, addr, piece, meaning);
    }
    Ok(())
}

/// Whether the images of some of an arena's addresses are where trying finds them.
fn check_reverse(bench: &Bench, arena: ArenaId) -> Result<(), TestCaseError> {
    let state = bench.pmem.state();
    let brute = Brute { state, names: false, also: BTreeMap::new() };
    let wanted = range(8, 40);
    let mut expected: BTreeSet<(Place, u64, u32)> = BTreeSet::new();
    for from in all_places(bench) {
        if let Meaning::One(place, cost, ..) = brute.means(from)
            && place.0 == arena
            && wanted.contains(place.1)
        {
            expected.insert((from, place.1, cost));
        }
    }
    let mut found: BTreeSet<(Place, u64, u32)> = BTreeSet::new();
    for image in state.reverse(arena, wanted) {
        let cells = (image.seen.start() / CELL..=image.seen.last() / CELL).filter(|cell| *cell < SIZE + 8);
        found.extend(cells.map(|cell| {
            let on = cell * CELL - image.seen.start();
            ((image.viewer, cell * CELL), image.start + on, image.cost.get())
        }));
    }
    prop_assert_eq!(found, expected, "of {}", arena);
    Ok(())
}

/// Whether two viewers differ where trying finds that they do.
fn check_diff(bench: &Bench, left: ArenaId, right: ArenaId) -> Result<(), TestCaseError> {
    let state = bench.pmem.state();
    if state
        .links()
        .any(|(_, l)| [&l.to_right, &l.to_left].iter().any(|d| matches!(d.mapping, Mapping::Interleave(_))))
    {
        return Ok(());
    }
    let brute = Brute { state, names: false, also: BTreeMap::new() };
    let mut expected: BTreeSet<(Place, bool, u64)> = BTreeSet::new();
    for (viewer, is_left) in [(left, true), (right, false)] {
        for cell in 0..SIZE + 8 {
            if let Some(place) = brute.place((viewer, cell * CELL)) {
                let one = (place, is_left, cell * CELL);
                let other = (place, !is_left, cell * CELL);
                if !expected.remove(&other) {
                    expected.insert(one);
                }
            }
        }
    }
    let mut found: BTreeSet<(Place, bool, u64)> = BTreeSet::new();
    for difference in state.diff(left, right) {
        for cell in difference.range.start() / CELL..=difference.range.last() / CELL {
            let on = cell * CELL - difference.range.start();
            for (seen, is_left) in [(difference.left, true), (difference.right, false)] {
                let seen = seen.map(|seen| seen + on).filter(|seen| *seen < (SIZE + 8) * CELL);
                found.extend(seen.map(|seen| ((difference.arena, cell * CELL), is_left, seen)));
            }
        }
    }
    prop_assert_eq!(found, expected, "{} {}", left, right);
    Ok(())
}

/// The chain of aliases from one that is seen to what it was to show: what it costs, and over how many hops.
fn cost_of(pmem: &Manager, seen: RegionId, shown: Option<RegionId>) -> (u32, u32) {
    let (mut at, mut cost, mut hops) = (seen, 0, 0);
    while let Role::Alias(alias) = pmem.placement(at).unwrap().record.role
        && shown != Some(at)
    {
        cost += pmem.state().link(alias.link).unwrap().direction(alias.way).metric.get();
        hops += 1;
        at = alias.target;
    }
    (cost, hops)
}

fn mapper(pmem: &Manager, props: Props, strict: bool) -> Mapper<'_> {
    let mut aliases: BTreeMap<RegionId, Vec<_>> = BTreeMap::new();
    for (id, placement) in pmem.regions() {
        if let (Role::Alias(alias), Some(range)) = (placement.record.role, placement.seat.range()) {
            let place = (placement.arena, range.start());
            aliases.entry(alias.target).or_default().push((id, alias.link, alias.way, place));
        }
    }
    Mapper { state: pmem.state(), props, aliases, strict }
}

/// What a verb is to do, by trying, before it does it: the least cost at which it can; `None` for verbs that this says nothing of.
fn foreseen(bench: &Bench, op: &Op, strict: bool) -> Option<Option<(u32, u32)>> {
    let pmem = &bench.pmem;
    match op {
        Op::Map(arena, index) => {
            let region = bench.region(*index)?;
            let placement = pmem.placement(region).ok()?;
            let (range, viewer) = (placement.seat.range()?, bench.arenas[*arena]);
            if placement.arena == viewer || pmem.refs(region) == Ok(0) {
                return None;
            }
            let mapper = mapper(pmem, pmem.attrs(region).ok()?.props(), strict);
            Some(mapper.least(viewer, placement.arena, Some(region), range, u32::MAX - 1, &|_, _| true))
        }
        Op::Alloc { arena, len, align, policy: 0, max, prefetch, at } => {
            let (from, len) = (bench.arenas[*arena], len * CELL);
            let attrs = |defaults: Attrs| {
                let props = if *prefetch { Props::PREFETCH } else { defaults.props() };
                Attrs::new(defaults.usage(), defaults.prot(), props).ok()
            };
            let align = CELL << align;
            let start = at.map(|at| (at * CELL) & !(align - 1));
            let asked = |seen: u64| seen & (align - 1) == 0 && start.is_none_or(|start| start == seen);
            let mut best: Option<(u32, u32)> = None;
            for home in &bench.arenas {
                for (range, attrs) in brute::places(pmem.state(), *home, len, attrs, (SIZE + 40) * CELL) {
                    // Through a table it is seen where a page starts, unless that is not where it is wanted.
                    let wanted = |seen, within| asked(seen) && (start.is_some() || within == 0);
                    if *home == from {
                        best = best.into_iter().chain(wanted(range.start(), 0).then_some((0, 0))).min();
                    } else if *max > 0 {
                        let shown = mapper(pmem, attrs.props(), strict)
                            .least(from, *home, None, range, *max, &wanted);
                        best = best.into_iter().chain(shown).min();
                    }
                }
            }
            Some(best)
        }
        _ => None,
    }
}

fn check_aliases(pmem: &Manager) -> Result<(), TestCaseError> {
    for (id, placement) in pmem.regions() {
        let (Role::Alias(alias), Some(range)) = (placement.record.role, placement.seat.range()) else {
            continue;
        };
        let target = pmem.range(alias.target).unwrap();
        let far = pmem.placement(alias.target).unwrap().arena;
        for offset in [0, range.len() - 1] {
            let here = pmem.state().resolve(placement.arena, range.start() + offset);
            let there = pmem.state().resolve(far, target.start() + offset);
            let place = |r: &OwnedResolution| r.accepted().map(|p| (p.arena, p.addr, p.region));
            if place(&there).is_some() {
                prop_assert_eq!(place(&here), place(&there), "{} of {:?}", id, placement);
            }
        }
    }
    Ok(())
}

fn fingerprint(pmem: &Manager) -> (String, usize) {
    let mut value = serde_json::to_value(pmem.save()).unwrap();
    // Ids that were given out and taken back leave another version behind.
    value.as_object_mut().unwrap().remove("ids");
    (value.to_string(), pmem.journal().iter().count())
}

/// How many sequences of verbs: `PROPTEST_CASES`, or few enough for every build.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn every_verb_keeps_the_model_sound(ops in prop::collection::vec(op(), 1..60)) {
        let mut bench = Bench::new();
        for op in &ops {
            let before = fingerprint(&bench.pmem);
            // Where they differ, whether it will do is a matter of chance: an address that leads there already by another way.
            let foreseen = foreseen(&bench, op, false).zip(foreseen(&bench, op, true));
            let shown: Vec<Option<RegionId>> = bench.regions.iter().map(|region| Some(*region)).collect();
            let done = bench.run(op);
            if let Some((lax, strict)) = foreseen {
                let shown = match op {
                    Op::Map(_, index) => shown[index % shown.len()],
                    _ => None,
                };
                let got = done.then(|| cost_of(&bench.pmem, *bench.regions.last().unwrap(), shown));
                if got.is_none_or(|(_, hops)| hops <= brute::LONGEST) {
                    prop_assert!(got == lax || got == strict, "{:?}, not {:?}: {:?}", got, lax, op);
                }
            }
            prop_assert_eq!(bench.pmem.check(), Ok(()), "after {:?}", op);
            if !done {
                prop_assert_eq!(fingerprint(&bench.pmem), before, "{:?} failed, and left a trace", op);
            }
            check_aliases(&bench.pmem)?;
        }
        let loaded = Manager::load(serde_json::from_str(&serde_json::to_string(&bench.pmem.save()).unwrap()).unwrap());
        prop_assert_eq!(fingerprint(&loaded.unwrap()).0, fingerprint(&bench.pmem).0);
        for place in all_places(&bench) {
            check_resolved(bench.pmem.state(), place)?;
        }
        for arena in &bench.arenas {
            check_view(bench.pmem.state(), *arena)?;
            check_reverse(&bench, *arena)?;
            check_diff(&bench, bench.arenas[0], *arena)?;
        }
        // Every reference given up, nothing is left.
        for _ in 0..64 {
            let regions: Vec<RegionId> = bench.pmem.regions().map(|(id, _)| id).collect();
            regions.into_iter().for_each(|id| drop(bench.pmem.decref(id)));
        }
        prop_assert_eq!(bench.pmem.regions().count(), 0);
        prop_assert_eq!(bench.pmem.check(), Ok(()));
    }
}

/// Joins and space, made in some order, with something added to every cost.
fn built(ops: &[Op], order: &[usize], more: u32) -> Bench {
    let mut bench = Bench::new();
    for index in order {
        let op = match ops[*index].clone() {
            Op::Connect(l, r, to_right, to_left, metric) => {
                Op::Connect(l, r, to_right, to_left, metric + more)
            }
            Op::Join(l, r, kind, metric) => Op::Join(l, r, kind, metric + more),
            other => other,
        };
        assert!(bench.run(&op), "{op:?}");
    }
    bench
}

/// Where an address leads, whatever it costs.
fn place_of(state: &State, (arena, addr): Place) -> String {
    match state.resolve(arena, addr) {
        OwnedResolution::Accept { place, .. } => format!("{} {:#x}", place.arena, place.addr),
        OwnedResolution::Fault { arena, addr, why, .. } => {
            // Which table, or share, is told by a number that depends on the order.
            format!("stuck in {arena} at {addr:#x}: {:?}", std::mem::discriminant(&why))
        }
        OwnedResolution::Ambiguous(places) => {
            let places: BTreeSet<Place> = places.iter().map(|place| (place.arena, place.addr)).collect();
            format!("{places:x?}")
        }
        OwnedResolution::Loop(_) => "loop".to_owned(),
    }
}

/// What joins, and space.
fn joins() -> impl Strategy<Value = Op> {
    let a = || 0..ARENAS;
    prop_oneof![
        3 => (a(), a(), kind(), kind(), 0..9u32).prop_map(|(l, r, k, b, m)| Op::Connect(l, r, k, b, m)),
        2 => (a(), a(), kind(), 0..9u32).prop_map(|(l, r, k, m)| Op::Join(l, r, k, m)),
        4 => (a(), 0..SIZE, 1..32u64, any::<bool>()).prop_map(|(a, s, l, p)| Op::Prime(a, s, l, p)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    /// Neither the order in which interconnects were made nor something added to all costs moves an answer.
    #[test]
    fn order_and_costs_move_no_answer(ops in prop::collection::vec(joins(), 1..12), seed in any::<u64>(), more in 0..9u32) {
        // What can be made at all, in the first order.
        let mut bench = Bench::new();
        let ops: Vec<Op> = ops.into_iter().filter(|op| bench.run(op)).collect();
        let mut order: Vec<usize> = (0..ops.len()).collect();
        let (mut dice, forward) = (seed, order.clone());
        for i in (1..order.len()).rev() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            order.swap(i, (dice >> 33) as usize % (i + 1));
        }
        let (first, second) = (built(&ops, &forward, 0), built(&ops, &order, more));
        for place in all_places(&first) {
            prop_assert_eq!(place_of(first.pmem.state(), place), place_of(second.pmem.state(), place), "{:?}", place);
        }
    }
}
