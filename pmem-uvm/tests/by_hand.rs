//! Memory that a model feeds, and that somebody brings online, takes offline and uses by hand beside it.

use pmem_core::{AddrRange, ArenaId, ArenaType, Attrs, DriverId, Manager, Mapping, Metric, Request, Usage};
use pmem_uvm::{
    Answer, BlockState, Event, Feed, FrameRange, Hotplug, Layout, NotifierKey, PageOwner, PageRequest,
    PageState, Unmoved, Uvm, Zone,
};
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

fn stay(_: u64, _: u64) -> Result<(), Unmoved> {
    Err(Unmoved::Never)
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
        matches!(self.pmem.verify(self.feed), Ok(Ok(())))
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
