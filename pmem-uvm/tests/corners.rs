//! What a review found, so that it does not come back.

use pmem_core::{AddrRange, ArenaId, ArenaType, Attrs, Manager, Mapping, Metric, Request, Usage};
use pmem_uvm::{
    Feed, FrameRange, Hotplug, Layout, MoveError, PageListRequest, PageOwner, PageRequest, PageState,
    PgaFlags, Plug, Reserves, Settings, SharedUvm, Uvm, UvmError, Wait, Zone,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn range(start: u64, count: u64) -> FrameRange {
    FrameRange::new(start, count).unwrap()
}

fn uvm(pages: u64) -> Uvm {
    let mut uvm = Uvm::default();
    uvm.plug(&Plug::new(range(0, pages))).unwrap();
    uvm
}

#[test]
fn a_page_of_a_list_has_no_other_owner() {
    let mut uvm = uvm(64);
    let list = uvm.pglistalloc(&PageListRequest::new(8).unwrap()).unwrap();
    assert!(uvm.pagerealloc(0, PageOwner::Object { key: 0, offset: 9 }).is_err());
    assert!(uvm.pagewire(3).is_err() && uvm.pageloan(4).is_err());
    uvm.pglistfree(list);
    assert_eq!((uvm.uvmexp().free, uvm.uvmexp().wired), (64, 0));
}

#[test]
fn too_much_memory_is_refused() {
    let mut uvm = Uvm::default();
    let all = range(0, pmem_uvm::FRAMES);
    assert_eq!(uvm.plug(&Plug::new(all)), Err(UvmError::Storage { range: all }));
    let mut large = Uvm::new(Settings::default().pagesize(1 << 30).unwrap());
    let beyond = range(1 << 34, 4);
    assert_eq!(large.plug(&Plug::new(beyond)), Err(UvmError::Storage { range: beyond }), "past 2^64");
    assert_eq!(uvm.uvmexp().physmem, 0);
}

#[test]
fn nobody_frees_a_page_that_is_being_moved() {
    let memory = SharedUvm::new(uvm(64), 8).unwrap();
    let mut processor = memory.processor(0, 8).unwrap();
    let page = memory.with(|uvm| uvm.pagealloc(&PageRequest::new())).unwrap().unwrap();
    let captured = memory.with(|uvm| {
        uvm.capture(range(page, 1), &mut |from, _| {
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(processor.pagefree(from).is_err())).join().unwrap();
            });
            Ok(())
        })
    });
    captured.unwrap().unwrap();
    assert_ne!(processor.pagealloc(&PageRequest::new()).unwrap(), page);
}

#[test]
fn a_zeroed_page_is_found_wherever_it_is() {
    let zero = PageRequest::new().flags(PgaFlags::ZERO);
    let mut uvm = uvm(8);
    uvm.plug(&Plug::new(range(100, 8)).free_list(1).zeroed()).unwrap();
    assert_eq!(uvm.pagealloc(&zero), Ok(100));
    let mut coloured = Uvm::new(Settings::default().colours(2).unwrap());
    coloured.plug(&Plug::new(range(0, 1))).unwrap();
    coloured.plug(&Plug::new(range(1, 1)).zeroed().offline()).unwrap();
    coloured.online(range(1, 1)).unwrap();
    assert_eq!(coloured.pagealloc(&zero.colour(0)), Ok(1));
}

#[test]
fn hits_and_misses_of_a_colour_are_counted() {
    let mut uvm = Uvm::new(Settings::default().colours(4).unwrap());
    uvm.plug(&Plug::new(range(0, 8))).unwrap();
    let mut counts = Vec::new();
    for _ in 0..3 {
        assert!(uvm.pagealloc(&PageRequest::new().colour(1)).is_ok());
        let now = uvm.uvmexp();
        counts.push((now.colorhit, now.colormiss));
    }
    assert_eq!(counts, [(1, 0), (2, 0), (2, 1)], "two of eight pages have the colour");
}

#[test]
fn lists_keep_to_the_lowest_free_lists() {
    let mut uvm = uvm(200);
    for frame in (0..200).step_by(2) {
        uvm.capture(range(frame, 1), &mut |_, _| Err(MoveError::Never)).unwrap();
    }
    uvm.plug(&Plug::new(range(1000, 100)).free_list(1)).unwrap();
    let list = uvm.pglistalloc(&PageListRequest::new(50).unwrap()).unwrap();
    assert!(uvm.frames(&list).all(|frame| frame < 200));
    let long = uvm.pglistalloc(&PageListRequest::new(60).unwrap().runs(1).unwrap()).unwrap();
    assert_eq!(uvm.runs(&long).next(), Some(range(1000, 60)));
}

#[test]
fn nobody_waits_for_what_cannot_be() {
    let memory = SharedUvm::new(uvm(64), 8).unwrap();
    let cramped = PageListRequest::new(16).unwrap().boundary(8).unwrap().runs(1).unwrap();
    assert!(matches!(memory.pglistalloc(&cramped, &Wait::default()), Err(UvmError::Constraint { .. })));
    let large = PageListRequest::new(65).unwrap();
    assert!(matches!(memory.pglistalloc(&large, &Wait::default()), Err(UvmError::NoPages { .. })));
    let one = PageListRequest::new(1).unwrap();
    assert!(memory.pglistalloc(&one, &Wait::at_most(Duration::MAX)).is_ok());
    memory
        .with(|uvm| {
            uvm.set_reserves(Reserves {
                pagedaemon: u64::MAX,
                kernel: u64::MAX,
                freemin: u64::MAX,
                freetarg: 0,
            });
            uvm.set_paging(u64::MAX);
            assert!(uvm.pglistalloc(&one).is_err());
        })
        .unwrap();
}

#[test]
fn who_keeps_one_memory_may_change_another() {
    let (one, two) = (SharedUvm::new(uvm(8), 8).unwrap(), SharedUvm::new(uvm(8), 8).unwrap());
    let kept = one.online_mems().unwrap();
    assert!(two.hotplug(|_, _| ()).is_ok() && two.online_mems().is_ok());
    assert!(one.hotplug(|_, _| ()).is_err());
    drop(kept);
    assert!(one.hotplug(|_, _| ()).is_ok());
}

#[test]
fn what_is_available_in_pieces_stays_apart() {
    let mut uvm = Uvm::default();
    uvm.plug(&Plug::new(range(0, 100)).avail(Some(range(0, 10)))).unwrap();
    uvm.plug(&Plug::new(range(100, 100)).avail(Some(range(190, 10))).merging()).unwrap();
    assert_eq!(uvm.nsegments(), 2);
    let first = uvm.first().unwrap();
    first.set_host(7);
    uvm.plug(&Plug::new(range(200, 100)).merging()).unwrap();
    assert_eq!((uvm.nsegments(), uvm.first().unwrap().host()), (2, 7));
}

#[test]
fn nobody_waits_for_movable_memory_or_beside_a_window() {
    let mut uvm = uvm(16);
    uvm.plug(&Plug::new(range(64, 64)).offline()).unwrap();
    uvm.online_as(range(64, 64), Zone::Movable).unwrap();
    let memory = SharedUvm::new(uvm, 8).unwrap();
    let short = PageListRequest::new(32).unwrap();
    let narrow = PageListRequest::new(12).unwrap().window(range(0, 8));
    for request in [short, narrow] {
        let got = memory.pglistalloc(&request, &Wait::default());
        assert!(matches!(got, Err(UvmError::NoPages { .. } | UvmError::NoFit { .. })), "{got:?}");
    }
}

#[test]
fn a_merge_is_published() {
    let mut uvm = uvm(64);
    let id = uvm.plug(&Plug::new(range(64, 64))).unwrap();
    let memory = SharedUvm::new(uvm, 64).unwrap();
    let kept = memory.with(|uvm| uvm.merge(id)).unwrap();
    assert_eq!(memory.snapshot().find(100).unwrap().0.id(), kept);
}

#[test]
fn a_cache_looks_at_no_old_snapshot() {
    let mut uvm = uvm(64);
    let cache = uvm.add_cache(0, 8);
    let old = uvm.snapshot();
    uvm.offline(range(0, 64), &mut |_, _| Err(MoveError::Never)).unwrap();
    uvm.online_as(range(0, 64), Zone::Movable).unwrap();
    let owner = PageOwner::Anon { key: 1, offset: 0 };
    let page = uvm.pagealloc(&PageRequest::new().owner(owner)).unwrap();
    assert_eq!(cache.pagefree(&old, page), Ok(false), "it became movable memory since");
    uvm.plug(&Plug::new(range(64, 64))).unwrap();
    assert_eq!(uvm.fill_cache(&cache), 4);
    assert_eq!(cache.pagealloc(&old, &PageRequest::new()), None);
    assert!(cache.pagealloc(&uvm.snapshot(), &PageRequest::new()).is_some_and(|page| page >= 64));
}

#[test]
fn a_cache_that_was_full_is_filled_and_takes_pages_again() {
    let mut uvm = uvm(64);
    let cache = uvm.add_cache(0, 4);
    let pages = uvm.snapshot();
    let fill_up = |uvm: &mut Uvm| {
        let taken: Vec<u64> = (0..4).map(|_| uvm.pagealloc(&PageRequest::new()).unwrap()).collect();
        taken.into_iter().filter(|page| cache.pagefree(&pages, *page).unwrap()).count()
    };
    assert_eq!(fill_up(&mut uvm), 4);
    assert_eq!((uvm.drain_caches(), fill_up(&mut uvm)), (4, 4), "others made room");
    assert_eq!((uvm.fill_cache(&cache), uvm.uvmexp().cached), (2, 2));
}

type Memory = Arc<Mutex<(Uvm, Hotplug)>>;

fn pages(start: u64, end: u64) -> AddrRange {
    AddrRange::new(start << 12, end << 12).unwrap()
}

/// RAM of 0x100 pages, seen from page 0x1000 on.
fn fed(settings: Settings) -> (Manager, Memory, ArenaId, ArenaId) {
    let mut pmem = Manager::new();
    let bus = pmem.create_arena("bus", ArenaType::VIEW).unwrap();
    let ram = pmem.create_arena("ram", ArenaType::RAM).unwrap();
    let window = Mapping::window(pages(0x1000, 0x2000), 0).unwrap();
    pmem.connect(bus, ram, window, Metric::new(1)).unwrap();
    pmem.prime(ram, pages(0, 0x100), Attrs::ram()).unwrap();
    let uvm = Uvm::new(settings);
    let hotplug = Hotplug::new(64, &uvm).unwrap();
    let memory = Arc::new(Mutex::new((uvm, hotplug)));
    pmem.register(Box::new(Feed::new(memory.clone(), Layout::new(bus))), Feed::<Memory>::subscription())
        .unwrap();
    (pmem, memory, bus, ram)
}

fn count(memory: &Memory, state: PageState) -> usize {
    let both = memory.lock().unwrap();
    let all = both.0.segments().flat_map(|segment| segment.range().frames());
    all.filter(|frame| both.0.page(*frame).unwrap().state() == state).count()
}

#[test]
fn regions_that_share_a_page_are_all_taken() {
    let (mut pmem, memory, _, ram) = fed(Settings::default());
    pmem.transaction(|plan| {
        plan.alloc(ram, &Request::new(0x3800).at(0).usage(Usage::TEXT))?;
        plan.alloc(ram, &Request::new(0x4800).at(0x3800).usage(Usage::TEXT))?;
        plan.alloc(ram, &Request::new(0x800).at(0x2_0000).usage(Usage::TEXT))?;
        plan.alloc(ram, &Request::new(0x800).at(0x2_0800).usage(Usage::BROKEN))
    })
    .unwrap();
    assert_eq!(
        (count(&memory, PageState::Reserved), count(&memory, PageState::Retired)),
        (8, 1),
        "the worst use wins"
    );
}

#[test]
fn memory_that_is_seen_twice_is_plugged_once() {
    let (mut pmem, memory, bus, ram) = fed(Settings::default());
    let again = Mapping::window(pages(0x5000, 0x6000), 0).unwrap();
    pmem.connect(bus, ram, again, Metric::new(3)).unwrap();
    assert_eq!(count(&memory, PageState::Free), 0x100);
}

#[test]
fn bad_pages_stay_bad() {
    let (mut pmem, memory, _, ram) = fed(Settings::default());
    memory.lock().unwrap().0.retire(range(0x1010, 2)).unwrap();
    pmem.seal(ram, pages(0, 0x100)).unwrap();
    pmem.unseal(ram, pages(0, 0x100)).unwrap();
    assert_eq!(count(&memory, PageState::Retired), 2);
    let bad = pmem.alloc(ram, &Request::new(0x1000).at(0x1_0000).usage(Usage::BROKEN)).unwrap();
    assert_eq!(count(&memory, PageState::Retired), 2);
    pmem.decref(bad).unwrap();
}

#[test]
fn what_is_offline_by_block_can_be_unprimed() {
    let (mut pmem, memory, _, ram) = fed(Settings::default());
    let offline = |memory: &Memory| {
        let mut both = memory.lock().unwrap();
        let (uvm, hotplug) = &mut *both;
        hotplug.offline(uvm, range(0x1000, 64), &mut |_, _| Err(MoveError::Never))
    };
    offline(&memory).unwrap();
    pmem.unprime(ram, pages(0, 64)).unwrap();
    assert_eq!((count(&memory, PageState::Offline), count(&memory, PageState::Free)), (0, 0xc0));
}

#[test]
fn small_pages_are_fed_as_well() {
    let (_, memory, ..) = fed(Settings::default().pagesize(512).unwrap());
    assert_eq!(count(&memory, PageState::Free), 0x800);
}

#[test]
fn a_list_can_be_walked_from_any_of_its_pages() {
    let mut uvm = uvm(4096);
    (0..4096)
        .step_by(7)
        .for_each(|frame| uvm.capture(range(frame, 1), &mut |_, _| Err(MoveError::Never)).unwrap());
    let request = PageListRequest::new(2000).unwrap().runs(500).unwrap();
    let mut list = uvm.pglistalloc(&request).unwrap();
    let other = uvm.pglistalloc(&request).unwrap_err();
    assert!(matches!(other, UvmError::NoPages { .. } | UvmError::NoFit { .. }));
    let walked = |uvm: &Uvm, first: u64| -> Vec<u64> {
        std::iter::successors(Some(first), |frame| uvm.next_in_list(*frame)).collect()
    };
    for cut in [range(1, 1), range(9, 3), range(15, 6), range(27, 1)] {
        let all: Vec<u64> = uvm.frames(&list).collect();
        assert_eq!(walked(&uvm, all[0]), all);
        assert_eq!(walked(&uvm, all[700]), all[700..]);
        uvm.pglistfree_part(&mut list, cut).unwrap();
        assert_eq!(uvm.next_in_list(cut.start()), None);
    }
    let all: Vec<u64> = uvm.frames(&list).collect();
    assert_eq!((walked(&uvm, all[0]).len() as u64, all.len() as u64), (list.npages(), 2000 - 11));
    uvm.pglistfree(list);
}

/// A host that panics when it is to fill a page, or to wake the page daemon.
struct Panics {
    zeroing: bool,
}

impl pmem_uvm::Host for Panics {
    fn zero(&mut self, _: u64) -> bool {
        assert!(!self.zeroing, "a page cannot be filled");
        true
    }

    fn wake_pagedaemon(&mut self, _: &pmem_uvm::Uvmexp) {
        assert!(self.zeroing, "there is no page daemon");
    }
}

/// Memory of a host that panics; it always wants its page daemon.
fn panicking(zeroing: bool) -> Uvm {
    let mut uvm = uvm(64);
    uvm.set_host(Box::new(Panics { zeroing }));
    uvm.set_reserves(Reserves { freemin: 65, ..Reserves::default() });
    uvm
}

fn panics<T>(run: impl FnOnce() -> T) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
}

#[test]
fn a_panicking_host_loses_no_page() {
    let mut uvm = panicking(true);
    assert!(panics(|| uvm.pagealloc(&PageRequest::new().flags(PgaFlags::ZERO))));
    assert_eq!((uvm.uvmexp().free, uvm.longest_run(0)), (64, Some(range(0, 64))), "while it fills one");

    let mut uvm = panicking(false);
    assert!(panics(|| uvm.pagealloc(&PageRequest::new())));
    assert!(panics(|| uvm.pglistalloc(&PageListRequest::new(9).unwrap())));
    assert_eq!((uvm.uvmexp().free, uvm.longest_run(0)), (64, Some(range(0, 64))), "while it wakes");
    assert_eq!(uvm.unplug(range(0, 64)), Ok(()), "nobody has any");
}

#[test]
fn a_host_that_panics_in_a_move_leaves_the_page_to_its_owner() {
    let mut uvm = uvm(64);
    let owner = PageOwner::Object { key: 1, offset: 0 };
    let page = uvm.pagealloc(&PageRequest::new().owner(owner)).unwrap();
    uvm.set_host(Box::new(Panics { zeroing: false }));
    uvm.set_reserves(Reserves { freemin: 65, ..Reserves::default() });
    assert!(panics(|| uvm.capture(range(page, 1), &mut |_, _| Ok(()))));
    uvm.set_host(Box::new(Panics { zeroing: true }));
    assert!(uvm.capture(range(page, 1), &mut |_, _| Err(MoveError::Never)).is_err());
    assert_eq!((uvm.page(page).unwrap().info().owner, uvm.uvmexp().free), (owner, 63));
    assert_eq!(uvm.pagefree(page), Ok(()));
    assert_eq!(uvm.uvmexp().free, 64);
}

#[test]
fn a_page_that_nobody_can_fill_counts_as_failed() {
    let mut uvm = uvm(4);
    let zero = PageRequest::new().flags(PgaFlags::ZERO);
    assert!(matches!(uvm.pagealloc(&zero), Err(UvmError::NotZeroed { .. })));
    assert_eq!((uvm.uvmexp().failed, uvm.uvmexp().free), (1, 4));
    let page = uvm.pagealloc(&PageRequest::new()).unwrap();
    assert_eq!((uvm.uvmexp().failed, uvm.uvmexp().free), (1, 3));
    uvm.pagefree(page).unwrap();
}
