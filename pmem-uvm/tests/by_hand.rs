//! Memory that a model feeds, and that somebody brings online, takes offline and uses by hand beside it.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, DriverId, Manager, Mapping, Metric, RegionId, Request, Usage,
};
use pmem_uvm::{
    Answer, BlockState, Event, Feed, FrameRange, Hotplug, Layout, MoveError, NotifierKey, PageOwner,
    PageRequest, PageState, Uvm, Zone,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

type Both = Arc<Mutex<(Uvm, Hotplug)>>;

/// 256 pages in blocks of 64, seen at page 0x1000, of a model; and what callbacks for memory were told.
struct World {
    pmem: Manager,
    both: Both,
    feed: DriverId,
    ram: ArenaId,
    told: Arc<Mutex<Vec<String>>>,
}

const ALL: (u64, u64) = (0x1000, 0x100);

fn range((start, count): (u64, u64)) -> FrameRange {
    FrameRange::new(start, count).unwrap()
}

fn bytes(start: u64, end: u64) -> AddrRange {
    AddrRange::new(start << 12, end << 12).unwrap()
}

fn stay(_: u64, _: u64) -> Result<(), MoveError> {
    Err(MoveError::Never)
}

impl World {
    fn new() -> Self {
        let mut pmem = Manager::new();
        let bus = pmem.create_arena("bus", ArenaType::VIEW).unwrap();
        let ram = pmem.create_arena("ram", ArenaType::RAM).unwrap();
        pmem.connect(bus, ram, Mapping::window(bytes(0x1000, 0x2000), 0).unwrap(), Metric::new(1)).unwrap();
        pmem.prime(ram, bytes(0, 0x100), Attrs::ram()).unwrap();
        let uvm = Uvm::default();
        let mut hotplug = Hotplug::new(64, &uvm).unwrap();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = told.clone();
        let callback = move |_: &mut Uvm, event: &Event| {
            log.lock().unwrap().push(event.to_string());
            Answer::Ok
        };
        hotplug.register_memory(NotifierKey(1), 0, Box::new(callback)).unwrap();
        let both = Arc::new(Mutex::new((uvm, hotplug)));
        let feed = Feed::new(both.clone(), Layout::new(bus));
        let feed = pmem.register(Box::new(feed), Feed::<Both>::subscription()).unwrap();
        Self { pmem, both, feed, ram, told }
    }

    fn run<T>(&self, run: impl FnOnce(&mut Uvm, &mut Hotplug) -> T) -> T {
        let mut both = self.both.lock().unwrap_or_else(PoisonError::into_inner);
        let (uvm, hotplug) = &mut *both;
        run(uvm, hotplug)
    }

    fn online(&self, at: (u64, u64), zone: Zone) {
        self.run(|uvm, hotplug| hotplug.online(uvm, range(at), zone)).unwrap();
        self.told.lock().unwrap().clear();
    }

    fn offline(&self, at: (u64, u64)) {
        self.run(|uvm, hotplug| hotplug.offline(uvm, range(at), &mut stay)).unwrap();
        self.told.lock().unwrap().clear();
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    fn state(&self, frame: u64) -> Option<PageState> {
        self.run(|uvm, _| uvm.page(frame).map(|page| page.state()))
    }

    fn block(&self, frame: u64) -> BlockState {
        self.run(|_, hotplug| hotplug.blocks().find(|(at, _)| at.contains(frame)).unwrap().1.state)
    }

    fn alloc(&self) -> u64 {
        let owner = PageOwner::Object { key: 1, offset: 0 };
        self.run(|uvm, _| uvm.pagealloc(&PageRequest::new().owner(owner))).unwrap()
    }

    fn is_verified(&mut self) -> bool {
        matches!(self.pmem.verify(self.feed), Ok(()))
    }
}

#[test]
fn what_is_in_use_by_hand_stays_so_when_the_model_unseals_it() {
    let mut w = World::new();
    w.pmem.seal(w.ram, bytes(0, 0x100)).unwrap();
    w.online(ALL, Zone::Movable);
    let page = w.alloc();
    w.pmem.unseal(w.ram, bytes(0, 0x100)).unwrap();
    assert_eq!(w.told(), [""; 0], "it was online");
    let counters = w.run(|uvm, _| uvm.uvmexp());
    assert_eq!((counters.free, counters.npages, counters.movable), (0xff, 0x100, 0xff));
    assert_eq!((w.state(page), w.is_verified()), (Some(PageState::Allocated), true));
}

#[test]
fn busy_memory_that_was_brought_online_by_hand_does_not_leave() {
    let mut w = World::new();
    w.pmem.seal(w.ram, bytes(0, 0x100)).unwrap();
    w.online(ALL, Zone::Normal);
    let page = w.alloc();
    let refused = w.pmem.unprime(w.ram, bytes(0, 0x100)).unwrap_err();
    assert!(refused.to_string().contains("busy"), "{refused}");
    assert_eq!(w.state(page), Some(PageState::Allocated));
    w.run(|uvm, _| uvm.pagefree(page)).unwrap();
    w.told();
    w.pmem.unprime(w.ram, bytes(0, 0x100)).unwrap();
    assert_eq!(w.told().len(), 2, "whoever listens is asked and told");
    assert_eq!(w.state(page), None);
}

#[test]
fn making_memory_what_the_model_has_fails_where_it_is_busy() {
    let mut w = World::new();
    w.pmem.seal(w.ram, bytes(0, 0x100)).unwrap();
    w.online(ALL, Zone::Normal);
    let page = w.alloc();
    w.pmem.resync(w.feed).unwrap_err();
    assert_eq!((w.state(page), w.run(|uvm, _| uvm.uvmexp().isolated)), (Some(PageState::Allocated), 0));
    w.run(|uvm, _| uvm.pagefree(page)).unwrap();
    w.pmem.resync(w.feed).unwrap();
    assert_eq!((w.state(page), w.is_verified()), (Some(PageState::Offline), true));
}

#[test]
fn what_caches_have_goes_when_memory_is_made_what_the_model_has() {
    let mut w = World::new();
    w.pmem.seal(w.ram, bytes(0, 0x100)).unwrap();
    w.online(ALL, Zone::Normal);
    let cache = w.run(|uvm, _| {
        let cache = uvm.add_cache(0, 8);
        assert_eq!(uvm.fill_cache(&cache), 4);
        cache
    });
    w.pmem.resync(w.feed).unwrap();
    assert!(w.is_verified());
    let pages = w.run(|uvm, _| uvm.snapshot());
    assert_eq!(cache.pagealloc(&pages, &PageRequest::new()), None);
}

#[test]
fn a_movable_block_stays_one() {
    let mut w = World::new();
    w.offline(ALL);
    w.online(ALL, Zone::Movable);
    w.pmem.seal(w.ram, bytes(0, 32)).unwrap();
    w.pmem.unseal(w.ram, bytes(0, 32)).unwrap();
    w.pmem.unprime(w.ram, bytes(32, 64)).unwrap();
    w.pmem.prime(w.ram, bytes(32, 64), Attrs::ram()).unwrap();
    assert!(range(ALL).frames().all(|frame| w.run(|uvm, _| uvm.zone(frame)) == Some(Zone::Movable)));
    assert_eq!(w.block(0x1000), BlockState::Online(Zone::Movable));
    assert!(w.run(|uvm, _| uvm.pagealloc(&PageRequest::new())).is_err(), "only for pages with an owner");
}

#[test]
fn what_is_offline_by_hand_is_not_brought_online_by_a_region_that_goes() {
    let mut w = World::new();
    w.offline((0x1000, 64));
    let region = w.pmem.alloc(w.ram, &Request::new(0x1000).at(0).usage(Usage::TEXT)).unwrap();
    w.pmem.decref(region).unwrap();
    assert_eq!((w.state(0x1000), w.block(0x1000)), (Some(PageState::Offline), BlockState::Offline));
    assert_eq!(w.told(), [""; 0]);
    w.online((0x1000, 64), Zone::Normal);
    assert!(w.is_verified());
}

#[test]
fn what_a_region_has_is_not_removed() {
    let mut w = World::new();
    w.pmem.alloc(w.ram, &Request::new(64 << 12).at(0).usage(Usage::TEXT)).unwrap();
    assert_eq!(w.block(0x1000), BlockState::Online(Zone::Normal));
    w.run(|uvm, hotplug| hotplug.remove(uvm, range((0x1000, 64)))).unwrap_err();
    w.run(|uvm, hotplug| hotplug.offline_and_remove(uvm, range((0x1000, 64)), &mut stay)).unwrap_err();
    assert_eq!((w.told(), w.state(0x1000)), (vec![], Some(PageState::Reserved)));
}

#[test]
fn what_is_lent_of_a_models_memory_does_not_leave() {
    let mut w = World::new();
    let area = FrameRange::new(0x1010, 0x10).unwrap();
    w.run(|uvm, _| uvm.lend(area)).unwrap();
    let refused = w.pmem.unprime(w.ram, bytes(0, 0x100)).unwrap_err();
    assert_eq!(refused.to_string(), "uvm refused: pages are set aside and lent at 0x1010000..0x1020000");
    w.pmem.seal(w.ram, bytes(0x18, 0x20)).unwrap_err();
    w.pmem.seal(w.ram, bytes(0x20, 0x40)).unwrap();
    w.run(|uvm, _| uvm.take_back(area, &mut stay)).unwrap();
    w.pmem.unprime(w.ram, bytes(0, 0x100)).unwrap();
}

#[test]
fn the_first_memory_says_which_free_lists_there_are() {
    let mut pmem = Manager::new();
    let bus = pmem.create_arena("bus", ArenaType::VIEW).unwrap();
    let [slow, fast] = ["slow", "fast"].map(|name| pmem.create_arena(name, ArenaType::RAM).unwrap());
    let uvm = Uvm::default();
    let hotplug = Hotplug::new(64, &uvm).unwrap();
    let both = Arc::new(Mutex::new((uvm, hotplug)));
    pmem.register(Box::new(Feed::new(both.clone(), Layout::new(bus))), Feed::<Both>::subscription()).unwrap();
    pmem.connect(bus, slow, Mapping::window(bytes(0x2000, 0x3000), 0).unwrap(), Metric::new(5)).unwrap();
    pmem.prime(slow, bytes(0, 0x40), Attrs::ram()).unwrap();
    both.lock().unwrap().0.pagealloc(&PageRequest::new()).unwrap();
    pmem.connect(bus, fast, Mapping::window(bytes(0x1000, 0x2000), 0).unwrap(), Metric::new(1)).unwrap();
    pmem.prime(fast, bytes(0, 0x40), Attrs::ram()).unwrap();
    assert!(both.lock().unwrap().0.segments().all(|segment| segment.free_list() == 0), "nothing moved");
}

#[test]
fn a_listener_that_panics_in_a_change_leaves_nothing_begun() {
    let mut w = World::new();
    let panics = Arc::new(Mutex::new(0));
    let left = panics.clone();
    let callback = move |_: &mut Uvm, _: &Event| {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        *left -= i32::from(*left > 0);
        let now = *left == 1;
        drop(left);
        assert!(!now, "not today");
        Answer::Ok
    };
    w.run(|_, hotplug| hotplug.register_memory(NotifierKey(9), -1, Box::new(callback))).unwrap();
    let counts = |w: &World| {
        let e = w.run(|uvm, _| uvm.uvmexp());
        (e.physmem, e.npages, e.free, e.isolated)
    };
    let before = counts(&w);
    *panics.lock().unwrap_or_else(PoisonError::into_inner) = 2;
    w.pmem.seal(w.ram, bytes(0, 64)).unwrap_err();
    assert_eq!(counts(&w), before);
    // The first of two ranges was asked about, the second not to the end.
    *panics.lock().unwrap_or_else(PoisonError::into_inner) = 3;
    let primed = w.pmem.transaction(|plan| {
        plan.prime(w.ram, bytes(0x200, 0x240), Attrs::ram())?;
        plan.prime(w.ram, bytes(0x300, 0x340), Attrs::ram())
    });
    primed.unwrap_err();
    assert_eq!(counts(&w), before);
    w.pmem.seal(w.ram, bytes(0, 64)).unwrap();
    w.pmem.prime(w.ram, bytes(0x200, 0x240), Attrs::ram()).unwrap();
    assert!(w.is_verified());
}

#[derive(Clone, Debug)]
enum Op {
    Prime(u64, u64),
    Seal(u64, u64),
    Unseal(u64, u64),
    Unprime(u64, u64),
    Region(u64, u64, bool),
    Release(prop::sample::Index),
    Resync,
    Online(u64, bool),
    Offline(u64, bool),
    Remove(u64),
    Retire(u64),
    Alloc(u8, bool),
    Free(prop::sample::Index),
    Cache,
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    let part = || (0u64..0x140, 1u64..0xa0).prop_map(|(start, count)| (start, start + count));
    let block = 0u64..6;
    prop_oneof![
        2 => part().prop_map(|(a, b)| Op::Prime(a, b)),
        2 => part().prop_map(|(a, b)| Op::Seal(a, b)),
        3 => part().prop_map(|(a, b)| Op::Unseal(a, b)),
        1 => part().prop_map(|(a, b)| Op::Unprime(a, b)),
        3 => (part(), any::<bool>()).prop_map(|((a, b), bad)| Op::Region(a, b, bad)),
        3 => index().prop_map(Op::Release),
        1 => Just(Op::Resync),
        3 => (block.clone(), any::<bool>()).prop_map(|(at, movable)| Op::Online(at, movable)),
        3 => (block.clone(), any::<bool>()).prop_map(|(at, moves)| Op::Offline(at, moves)),
        1 => block.prop_map(Op::Remove),
        1 => (0u64..0x140).prop_map(Op::Retire),
        3 => (1u8..60, any::<bool>()).prop_map(|(times, owned)| Op::Alloc(times, owned)),
        3 => index().prop_map(Op::Free),
        1 => Just(Op::Cache),
    ]
}

/// What is handed out by hand.
type Held = Arc<Mutex<BTreeSet<u64>>>;

impl World {
    fn carry_out(&mut self, op: &Op, held: &Held, regions: &mut Vec<RegionId>) {
        let block = |number: u64| range((0x1000 + 64 * number, 64));
        match op {
            Op::Prime(a, b) => drop(self.pmem.prime(self.ram, bytes(*a, *b), Attrs::ram())),
            Op::Seal(a, b) => drop(self.pmem.seal(self.ram, bytes(*a, *b))),
            Op::Unseal(a, b) => drop(self.pmem.unseal(self.ram, bytes(*a, *b))),
            Op::Unprime(a, b) => drop(self.pmem.unprime(self.ram, bytes(*a, *b))),
            Op::Region(a, b, bad) => {
                let usage = if *bad { Usage::BROKEN } else { Usage::TEXT };
                let request = Request::new((b - a) << 12).at(a << 12).usage(usage);
                regions.extend(self.pmem.alloc(self.ram, &request));
            }
            Op::Release(index) if !regions.is_empty() => {
                let at = index.index(regions.len());
                let _ = self.pmem.decref(regions[at]);
                if self.pmem.range(regions[at]).is_err() {
                    regions.swap_remove(at);
                }
            }
            Op::Resync => {
                if self.pmem.resync(self.feed).is_ok() {
                    assert!(self.is_verified());
                }
            }
            Op::Online(at, movable) => {
                let zone = if *movable { Zone::Movable } else { Zone::Normal };
                let _ = self.run(|uvm, hotplug| hotplug.online(uvm, block(*at), zone));
            }
            Op::Offline(at, moves) => {
                let mut held = held.lock().unwrap();
                let mut mover = |from: u64, to: u64| {
                    if !moves {
                        return Err(MoveError::Never);
                    }
                    assert!(held.remove(&from) && held.insert(to), "{from:#x} moves to {to:#x}");
                    Ok(())
                };
                let _ = self.run(|uvm, hotplug| hotplug.offline(uvm, block(*at), &mut mover));
            }
            Op::Remove(at) => drop(self.run(|uvm, hotplug| hotplug.remove(uvm, block(*at)))),
            Op::Retire(at) => drop(self.run(|uvm, _| uvm.retire(range((0x1000 + at, 1))))),
            Op::Alloc(times, owned) => {
                let owner = if *owned { PageOwner::Object { key: 1, offset: 0 } } else { PageOwner::None };
                for _ in 0..*times {
                    let got = self.run(|uvm, _| uvm.pagealloc(&PageRequest::new().owner(owner)));
                    let Ok(page) = got else { break };
                    assert!(held.lock().unwrap().insert(page), "{page:#x} is handed out twice");
                    assert!(*owned || self.run(|uvm, _| uvm.zone(page)) == Some(Zone::Normal));
                }
            }
            Op::Free(index) => {
                let mut held = held.lock().unwrap();
                let page = (!held.is_empty()).then(|| *held.iter().nth(index.index(held.len())).unwrap());
                if let Some(page) = page {
                    self.run(|uvm, _| uvm.pagefree(page)).unwrap();
                    held.remove(&page);
                }
            }
            Op::Cache => self.run(|uvm, _| {
                let cache = uvm.add_cache(0, 16);
                uvm.fill_cache(&cache);
            }),
            Op::Release(_) => {}
        }
    }

    /// Counters, blocks and what is handed out agree with the pages.
    fn check(&self, held: &Held) {
        self.run(|uvm, hotplug| {
            let mut states = [0u64; 7];
            let mut movable = 0;
            for frame in 0x1000..0x1200 {
                let Some(page) = uvm.page(frame) else { continue };
                let state = page.state();
                states[state as usize] += 1;
                movable += u64::from(state == PageState::Free && uvm.zone(frame) == Some(Zone::Movable));
                let is_held = held.lock().unwrap().contains(&frame);
                assert_eq!(state == PageState::Allocated, is_held, "page {frame:#x} is {state}");
            }
            let e = uvm.uvmexp();
            let [free, cached, allocated, isolated, reserved, retired, offline] = states;
            assert_eq!(
                (e.free, e.cached, e.isolated, e.reserved, e.retired, e.offline, e.movable),
                (free + cached, cached, 0, reserved, retired, offline, movable)
            );
            assert_eq!((isolated, e.npages), (0, free + cached + allocated));
            assert_eq!((e.physmem, uvm.free_on(0, 0)), (states.iter().sum(), free));
            for (at, block) in hotplug.blocks() {
                let used = |frame: &u64| {
                    let state = uvm.page(*frame).map(|page| page.state());
                    !matches!(state, None | Some(PageState::Offline | PageState::Retired))
                };
                match block.state {
                    BlockState::Online(zone) => {
                        assert!(at.frames().filter(used).all(|frame| uvm.zone(frame) == Some(zone)));
                    }
                    state => assert!(state == BlockState::Offline && !at.frames().any(|f| used(&f))),
                }
            }
        });
    }
}

proptest! {
    #[test]
    fn model_and_hand_work_on_the_same_pages(ops in proptest::collection::vec(op(), 1..50)) {
        let mut w = World::new();
        let held = Held::default();
        let mut regions = Vec::new();
        for op in ops {
            w.carry_out(&op, &held, &mut regions);
            w.check(&held);
        }
    }
}
