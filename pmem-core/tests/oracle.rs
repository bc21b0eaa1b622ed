//! Views against resolving address by address; aliases against their targets; every verb against the invariants.

use pmem_core::test_util::Quiet;
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Direction, LinkId, Manager, Mapping, Metric, OwnedResolution,
    Policy, Props, Prot, RegionId, Request, Role, Scope, State, Subscription, Table, Usage, What, Window,
    Windows,
};
use proptest::prelude::*;

const SIZE: u64 = 64;
const ARENAS: usize = 4;

fn range(start: u64, len: u64) -> AddrRange {
    AddrRange::inclusive(start, (start + len - 1).min(SIZE - 1)).unwrap()
}

#[derive(Clone, Debug)]
enum Kind {
    Closed,
    Identity,
    Window(u64, u64, u64),
    Floating(u64, u64, bool),
    Table(u64, u64),
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
        1 => (0..SIZE, 1..32u64).prop_map(|(s, l)| Kind::Table(s, l)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let a = || 0..ARENAS;
    let r = || 0..12usize;
    prop_oneof![
        3 => (a(), a(), kind(), kind(), 0..9u32).prop_map(|(l, r, k, b, m)| Op::Connect(l, r, k, b, m)),
        2 => (a(), a(), kind(), 0..9u32).prop_map(|(l, r, k, m)| Op::Join(l, r, k, m)),
        1 => (0..6usize).prop_map(Op::Disconnect),
        4 => (a(), 0..SIZE, 1..32u64, any::<bool>()).prop_map(|(a, s, l, p)| Op::Prime(a, s, l, p)),
        1 => (a(), 0..SIZE, 1..16u64).prop_map(|(a, s, l)| Op::Seal(a, s, l)),
        1 => (a(), 0..SIZE, 1..16u64).prop_map(|(a, s, l)| Op::Unseal(a, s, l)),
        1 => (a(), 0..SIZE, 1..16u64).prop_map(|(a, s, l)| Op::Unprime(a, s, l)),
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
        Kind::Window(start, len, out) => Mapping::window(range(*start, *len), *out).unwrap(),
        Kind::Floating(start, len, prefetch) => {
            let limit = range(*start, *len).rounded(4);
            let one = Window::floating(limit, 4).unwrap();
            let all = if *prefetch { vec![one, one.prefetchable()] } else { vec![one] };
            Mapping::Windows(Windows::new(all).unwrap())
        }
        Kind::Table(start, len) => Mapping::Table(Table::new(range(*start, *len).rounded(4), 4).unwrap()),
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
            Op::Alloc { arena, len, align, policy, max, prefetch, at } => {
                let policies = [Policy::FirstFit, Policy::LastFit, Policy::InstantFit, Policy::GoodFit];
                let mut request = Request::new(*len).align(1 << align).policy(policies[usize::from(*policy)]);
                request = request.max_metric(Metric::new(*max));
                request = if *prefetch { request.props(Props::PREFETCH) } else { request };
                request = at.map_or(request, |at| request.at(at & !((1 << align) - 1)));
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
            Op::Relocate(index, start) => self.pmem.relocate(region(self, index), *start).is_ok(),
            Op::Swap(a, b) => {
                let (a, b) = (region(self, a), region(self, b));
                let start = |region| self.pmem.range_of(region).map(AddrRange::start);
                let (Ok(to_b), Ok(to_a)) = (start(a), start(b)) else { return false };
                self.pmem.relocate_all(&[(a, to_b), (b, to_a)]).is_ok()
            }
            Op::Resize(index, len) => self.pmem.resize(region(self, index), *len).is_ok(),
            Op::Park(index) => self.pmem.park(region(self, index)).is_ok(),
            Op::Unpark(index, at) => {
                let request = at.map_or(Request::new(1), |at| Request::new(1).at(at));
                self.pmem.unpark(region(self, index), &request).is_ok()
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

/// What a view says of one address.
fn in_view(state: &State, arena: ArenaId, addr: u64) -> String {
    let window = AddrRange::inclusive(addr, addr).unwrap();
    let pieces = state.view_in(arena, window);
    assert!(pieces.len() <= 1, "{pieces:?}");
    pieces.first().map_or("nothing".to_owned(), |piece| match &piece.what {
        What::Local { arena, start, region, .. } => format!("{arena} {start} {region:?} {}", piece.cost),
        What::Table { .. } => "table".to_owned(),
        What::Ambiguous(_) => "ambiguous".to_owned(),
        What::Loop => "loop".to_owned(),
        What::Interleave { .. } => "interleave".to_owned(),
    })
}

fn resolved(state: &State, arena: ArenaId, addr: u64) -> String {
    match state.resolve(arena, addr) {
        OwnedResolution::Accept { place, .. } => {
            format!("{} {} {:?} {}", place.arena, place.addr, place.region, place.cost)
        }
        OwnedResolution::Fault { .. } => "nothing".to_owned(),
        OwnedResolution::Ambiguous(_) => "ambiguous".to_owned(),
        OwnedResolution::Loop(_) => "loop".to_owned(),
    }
}

/// Whether tables can be left out of the comparison: a view keeps them symbolic.
fn has_tables(state: &State) -> bool {
    state
        .links()
        .any(|(_, l)| [&l.to_right, &l.to_left].iter().any(|d| matches!(d.mapping, Mapping::Table(_))))
}

fn check_aliases(pmem: &Manager) -> Result<(), TestCaseError> {
    for (id, placement) in pmem.regions() {
        let (Role::Alias(alias), Some(range)) = (placement.record.role, placement.seat.range()) else {
            continue;
        };
        let target = pmem.range_of(alias.target).unwrap();
        let far = pmem.placement(alias.target).unwrap().arena;
        for offset in [0, range.len() - 1] {
            let here = pmem.state().resolve(placement.arena, range.start() + offset);
            let there = pmem.state().resolve(far, target.start() + offset);
            let place = |r: &OwnedResolution| r.accepted().map(|p| (p.arena, p.addr, p.region));
            // A mapping that was made later may hand the alias's address to a second place, and nothing worse.
            if place(&there).is_some() && !matches!(here, OwnedResolution::Ambiguous(_)) {
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
            let done = bench.run(op);
            prop_assert_eq!(bench.pmem.check(), Ok(()), "after {:?}", op);
            if !done {
                prop_assert_eq!(fingerprint(&bench.pmem), before, "{:?} failed, and left a trace", op);
            }
            check_aliases(&bench.pmem)?;
        }
        let loaded = Manager::load(serde_json::from_str(&serde_json::to_string(&bench.pmem.save()).unwrap()).unwrap());
        prop_assert_eq!(fingerprint(&loaded.unwrap()).0, fingerprint(&bench.pmem).0);
        if !has_tables(bench.pmem.state()) {
            for arena in &bench.arenas {
                for addr in 0..SIZE + 8 {
                    let state = bench.pmem.state();
                    prop_assert_eq!(in_view(state, *arena, addr), resolved(state, *arena, addr), "{} {}", arena, addr);
                }
            }
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
