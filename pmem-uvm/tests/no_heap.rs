//! Page operations take no memory from the heap and give none back; what plugging takes, unplugging returns.

use allocation_counter::measure;
use pmem_uvm::{
    FrameRange, MoveError, PageListRequest, PageOwner, PageRequest, PgaFlags, Plug, Reserves, Settings,
    Strategy, Uvm, Zone,
};

fn range(start: u64, count: u64) -> FrameRange {
    FrameRange::new(start, count).unwrap()
}

/// 64 MiB in four segments of two nodes and lists, every other page of the first handed out.
fn uvm() -> Uvm {
    let mut uvm = Uvm::new(Settings::default().colours(8).unwrap());
    for (at, list, node) in [(0, 0, 0), (8192, 0, 1), (100_000, 1, 0), (1 << 30, 1, 1)] {
        uvm.plug(&Plug::new(range(at, 4096)).free_list(list).node(node).zeroed()).unwrap();
    }
    for frame in (0..4096).step_by(2) {
        uvm.capture(range(frame, 1), &mut |_, _| Err(MoveError::Never)).unwrap();
    }
    uvm
}

#[test]
fn page_operations_take_nothing() {
    let mut uvm = uvm();
    let cache = uvm.add_cache(1, 64);
    let info = measure(|| {
        let owner = PageOwner::Object { key: 1, offset: 0x5000 };
        for strategy in [Strategy::Normal, Strategy::Numa, Strategy::Only(1), Strategy::Fallback(3)] {
            for node in 0..3 {
                let request =
                    PageRequest::new().strategy(strategy).node(node).owner(owner).flags(PgaFlags::ZERO);
                let page = uvm.pagealloc(&request).unwrap();
                uvm.pagerealloc(page, PageOwner::None).unwrap();
                uvm.pagewire(page).unwrap();
                uvm.pageunwire(page).unwrap();
                uvm.pageloan(page).unwrap();
                uvm.pageunloan(page).unwrap();
                uvm.pagefree(page).unwrap();
            }
        }
        for runs in [1, 3, u64::MAX] {
            let request = PageListRequest::new(700)
                .unwrap()
                .runs(runs)
                .unwrap()
                .align(16)
                .unwrap()
                .boundary(1024)
                .unwrap();
            let mut list = uvm.pglistalloc(&request).unwrap();
            let run = uvm.runs(&list).next().unwrap();
            uvm.pglistfree_part(&mut list, range(run.start() + 3, 5)).unwrap();
            uvm.pglistfree(list);
        }
        let every_page = PageListRequest::new(1500).unwrap().window(range(0, 4096)).runs(2000).unwrap();
        let list = uvm.pglistalloc(&every_page).unwrap();
        assert_eq!(list.nruns(), 1500);
        uvm.pglistfree(list);
        assert!(uvm.pglistalloc(&PageListRequest::new(5000).unwrap().runs(1).unwrap()).is_err());
        let moved = &mut |_: u64, _: u64| Ok(());
        uvm.capture(range(8, 600), moved).unwrap();
        (8..608).for_each(|frame| uvm.pagefree(frame).unwrap());
        uvm.offline(range(8192, 512), moved).unwrap();
        uvm.online(range(8192, 512)).unwrap();
        uvm.retire(range(8200, 3)).unwrap();
        uvm.fill_cache(&cache);
        uvm.drain_caches();
    });
    assert_eq!((info.count_total, info.bytes_total), (0, 0), "{info:?}");
}

#[test]
fn a_cache_needs_nobody() {
    let mut uvm = Uvm::default();
    uvm.plug(&Plug::new(range(0, 64))).unwrap();
    uvm.plug(&Plug::new(range(64, 64)).node(1)).unwrap();
    let cache = uvm.add_cache(1, 16);
    let plain = PageRequest::new().node(1);
    let pages = uvm.snapshot();
    assert_eq!(cache.pagealloc(&pages, &plain), None, "empty");
    assert_eq!(uvm.fill_cache(&cache), 8);
    let info = measure(|| {
        let all: [u64; 8] = std::array::from_fn(|_| cache.pagealloc(&pages, &plain).unwrap());
        assert!(all.iter().all(|page| range(64, 64).contains(*page)));
        assert_eq!(cache.pagealloc(&pages, &plain), None);
        all.into_iter().for_each(|page| assert_eq!(cache.pagefree(&pages, page), Ok(true)));
        assert!(cache.pagefree(&pages, all[0]).is_err(), "freed twice");
    });
    assert_eq!((info.count_total, info.bytes_total), (0, 0), "{info:?}");
    for other in [plain.node(0), plain.flags(PgaFlags::ZERO), plain.strategy(Strategy::Only(0))] {
        assert_eq!(cache.pagealloc(&pages, &other), None);
    }
    uvm.set_reserves(Reserves { kernel: 128, ..Reserves::default() });
    assert_eq!(cache.pagealloc(&pages, &plain), None, "what is left is reserved");
    assert!(cache.pagealloc(&pages, &plain.flags(PgaFlags::USERESERVE)).is_some());
    let far = uvm.pagealloc(&PageRequest::new().flags(PgaFlags::USERESERVE)).unwrap();
    assert_eq!((far, cache.pagefree(&pages, far)), (0, Ok(false)), "of another node");
    let counters = uvm.uvmexp();
    assert_eq!((counters.free, counters.cached), (126, 7));
    drop(cache);
    assert_eq!((uvm.drain_caches(), uvm.uvmexp().cached), (7, 0));
}

#[test]
fn the_index_of_memory_that_went_goes() {
    let mut uvm = Uvm::default();
    let range = range(1 << 20, 1 << 14);
    uvm.plug(&Plug::new(range).offline()).unwrap();
    let plugged = uvm.index_bytes();
    uvm.online_as(range, Zone::Movable).unwrap();
    assert_eq!(uvm.index_bytes(), plugged, "there is one, whatever the memory is for");
    uvm.unplug(range).unwrap();
    assert_eq!(uvm.index_bytes(), 0);
}

#[test]
fn a_cache_that_was_dropped_is_forgotten_where_memory_may_be_returned() {
    let mut uvm = Uvm::default();
    uvm.plug(&Plug::new(range(0, 4))).unwrap();
    let cache = uvm.add_cache(0, 4);
    uvm.fill_cache(&cache);
    drop(cache);
    let info = measure(|| (0..4).for_each(|_| assert!(uvm.pagealloc(&PageRequest::new()).is_ok())));
    assert_eq!((info.count_total, info.bytes_current), (0, 0), "{info:?}");
    assert!(measure(|| drop(uvm.add_cache(0, 4))).count_current < 2);
}

#[test]
fn nothing_is_leaked() {
    let info = measure(|| {
        let mut uvm = uvm();
        let list = uvm.pglistalloc(&PageListRequest::new(100).unwrap()).unwrap();
        uvm.pglistfree(list);
        for frame in (0..4096).step_by(2) {
            uvm.pagefree(frame).unwrap();
        }
        let index = uvm.index_bytes();
        let memory = measure(|| uvm.unplug(range(100_000, 4096)).unwrap());
        assert!(memory.bytes_current < -(4096 * 24), "the pages' memory went: {memory:?}");
        uvm.plug(&Plug::new(range(100_000, 4096)).free_list(1)).unwrap();
        assert_eq!(uvm.index_bytes(), index, "no more than before");
    });
    assert_eq!((info.count_current, info.bytes_current), (0, 0), "{info:?}");
}

#[test]
fn a_plug_beside_large_memory_asks_for_what_it_needs() {
    let mut uvm = Uvm::default();
    uvm.plug(&Plug::new(range(0, 1 << 21))).unwrap();
    uvm.plug(&Plug::new(range(1 << 30, 512))).unwrap();
    let beside = Plug::new(range(1 << 21, 512)).merging();
    let info = measure(|| assert!(uvm.plug(&beside).is_ok()));
    assert!(info.bytes_max < 1 << 21, "512 pages beside 8 GiB: {info:?}");
}
