//! Which node's pages a request gets, against an obviously correct choice among all free pages.

use pmem_uvm::{
    FrameRange, Host, MoveError, NodeCounters, PageListRequest, PageOwner, PageRequest, PageState, PgaFlags,
    Plug, Reserves, Settings, Strategy as Way, Uvm, UvmError, Zone,
};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

/// Page frames of one plug.
const PAGES: u64 = 3;

fn range(start: u64, count: u64) -> FrameRange {
    FrameRange::new(start, count).unwrap()
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        Just(Way::Normal),
        Just(Way::Numa),
        (0u8..3).prop_map(Way::Only),
        (0u8..3).prop_map(Way::Fallback),
    ]
}

/// Memory of these nodes and free lists, one after another.
fn uvm(plugs: &[(u32, u8)]) -> Uvm {
    let mut uvm = Uvm::new(Settings::default().free_lists(3).unwrap());
    for (at, (node, list)) in (0..).zip(plugs) {
        let range = range(at * PAGES, PAGES);
        uvm.plug(&Plug::new(range).node(*node).free_list(*list)).unwrap();
    }
    uvm
}

proptest! {
    #[test]
    fn the_nearest_page_is_handed_out(
        plugs in proptest::collection::vec((0u32..6, 0u8..3), 1..12),
        fallbacks in proptest::collection::vec((0u32..7, proptest::collection::vec(0u32..7, 0..4)), 0..5),
        kept in proptest::collection::btree_map(0u32..6, (0u64..4, 0u64..4), 0..4),
        requests in proptest::collection::vec((way(), 0u32..7, any::<bool>(), any::<bool>()), 1..50),
    ) {
        let mut uvm = uvm(&plugs);
        let mut nearest = std::collections::BTreeMap::new();
        for (node, near) in fallbacks {
            uvm.set_fallback(node, &near);
            nearest.insert(node, near);
        }
        for (node, (pagedaemon, kernel)) in &kept {
            uvm.set_node_reserves(*node, Reserves { pagedaemon: *pagedaemon, kernel: *kernel, ..Reserves::default() });
        }
        for (way, node, strict, urgent) in requests {
            // Every other request may use the kernel's reserve.
            let may_go_down_to = |of: u32| kept.get(&of).map_or(0, |(daemon, kernel)| if urgent { *daemon } else { *daemon.max(kernel) });
            let rank = |other: u32| {
                let near = nearest.get(&node).map_or(&[][..], |near| near);
                let at = near.iter().position(|near| *near == other).map_or(near.len(), |at| at);
                if other == node { (0, 0, 0) } else { (1, at, other) }
            };
            let is_free = |frame: &u64| uvm.page(*frame).unwrap().info().state == PageState::Free;
            let wanted = (0..plugs.len() as u64 * PAGES).filter(is_free).filter_map(|frame| {
                let (of, list) = plugs[(frame / PAGES) as usize];
                let key = match way {
                    Way::Normal => (0, u32::from(list), rank(of), 0),
                    Way::Numa => (0, 0, rank(of), list),
                    Way::Only(only) if only == list => (0, 0, rank(of), 0),
                    Way::Only(_) => return None,
                    Way::Fallback(first) => (u8::from(list != first), u32::from(list), rank(of), 0),
                };
                let enough = uvm.node_counters(of).unwrap().free > may_go_down_to(of);
                (enough && (!strict || of == node)).then_some((key, of, list))
            }).min();
            let request = PageRequest::new().node(node).strategy(way);
            let request = if strict { request.strict() } else { request };
            let request = if urgent { request.flags(PgaFlags::USERESERVE) } else { request };
            let got = uvm.pagealloc(&request).ok().map(|frame| plugs[(frame / PAGES) as usize]);
            prop_assert_eq!(got, wanted.map(|(_, of, list)| (of, list)), "{:?} of {} strict {}", way, node, strict);
        }
    }

    #[test]
    fn a_list_leaves_what_is_kept_back(
        plugs in proptest::collection::vec((0u32..4, 0u8..3), 1..8),
        kept in proptest::collection::btree_map(0u32..4, (0u64..4, 0u64..4), 0..4),
        taken in proptest::collection::vec(0u32..4, 0..6),
        (count, runs) in (1u64..20, 1u64..6),
    ) {
        let mut uvm = uvm(&plugs);
        for node in taken {
            let _ = uvm.pagealloc(&PageRequest::new().node(node).strict());
        }
        for (node, (pagedaemon, kernel)) in &kept {
            uvm.set_node_reserves(*node, Reserves { pagedaemon: *pagedaemon, kernel: *kernel, ..Reserves::default() });
        }
        let free = |uvm: &Uvm| uvm.nodes().into_iter().map(|node| (node, uvm.node_counters(node).unwrap().free)).collect::<Vec<_>>();
        let before = free(&uvm);
        let keeps = |node: u32| kept.get(&node).map_or(0, |(daemon, kernel)| daemon + kernel);
        let spare: u64 = before.iter().map(|(node, free)| free.saturating_sub(keeps(*node))).sum();
        let got = uvm.pglistalloc(&PageListRequest::new(count).unwrap().runs(runs).unwrap());
        let fits = uvm.pglistalloc(&PageListRequest::new(count).unwrap());
        prop_assert!(got.is_err() || spare >= count);
        prop_assert!(got.is_ok() || fits.is_ok() == (spare >= count), "{:?}", fits);
        for ((node, before), (_, after)) in before.into_iter().zip(free(&uvm)) {
            prop_assert!(after == before || after >= keeps(node), "node {} has {} left of {}", node, after, before);
        }
        got.into_iter().chain(fits).for_each(|list| uvm.pglistfree(list));
    }
}

#[test]
fn the_page_daemon_hears_of_a_node_whose_pages_are_scarce() {
    struct Heard(Arc<Mutex<Vec<(u32, u64)>>>);
    impl Host for Heard {
        fn wake_pagedaemon_of(&mut self, node: u32, counters: &NodeCounters) {
            self.0.lock().unwrap().push((node, counters.free));
        }
    }
    let mut uvm = uvm(&[(0, 0), (1, 0), (2, 0)]);
    let heard = Arc::new(Mutex::new(Vec::new()));
    uvm.set_host(Box::new(Heard(heard.clone())));
    uvm.set_node_reserves(1, Reserves { freemin: 3, kernel: 1, ..Reserves::default() });
    let on = |node| PageRequest::new().node(node);
    uvm.pagealloc(&on(0)).unwrap();
    assert_eq!(*heard.lock().unwrap(), [], "node 0 has no such mark");
    uvm.pagealloc(&on(1)).unwrap();
    assert_eq!(*heard.lock().unwrap(), [(1, 2)]);
    uvm.pagealloc(&on(1)).unwrap();
    assert_eq!(uvm.pagealloc(&on(1).strict()), Err(UvmError::NoPages { asked: 1, free: 1, reserve: 1 }));
    assert_eq!(*heard.lock().unwrap(), [(1, 2), (1, 1), (1, 1)]);
    uvm.set_node_reserves(1, Reserves::default());
    assert!(uvm.pagealloc(&on(1).strict()).is_ok(), "nothing is kept back any more");
    assert_eq!(heard.lock().unwrap().len(), 3);
}

#[test]
fn a_cache_leaves_what_is_kept_back_on_its_node() {
    let mut uvm = uvm(&[(0, 0), (1, 0), (1, 0)]);
    uvm.set_node_reserves(1, Reserves { kernel: 4, ..Reserves::default() });
    let cache = uvm.add_cache(1, 16);
    assert_eq!(uvm.fill_cache(&cache), 2, "of six");
    let counters = uvm.node_counters(1).unwrap();
    assert_eq!((counters.free, counters.cached, counters.npages), (6, 2, 6));
    uvm.set_node_reserves(1, Reserves { kernel: 6, ..Reserves::default() });
    assert_eq!(uvm.node_counters(1).unwrap().cached, 0, "they went back");
}

#[test]
fn a_strict_request_gets_a_page_of_its_node_or_none() {
    let mut uvm = uvm(&[(0, 0), (1, 0)]);
    let strict = PageRequest::new().node(1).strict();
    for _ in 0..PAGES {
        assert!(uvm.pagealloc(&strict).unwrap() >= PAGES);
    }
    assert_eq!(
        uvm.pagealloc(&strict),
        Err(UvmError::NoPages { asked: 1, free: 0, reserve: 0 }),
        "of its node"
    );
    assert_eq!(uvm.pagealloc(&PageRequest::new().node(1)), Ok(0), "others turn to the next node");
    assert!(uvm.pagealloc(&PageRequest::new().node(7).strict()).is_err(), "a node without memory");
}

#[test]
fn a_list_keeps_to_its_node_and_free_list() {
    let mut uvm = uvm(&[(0, 0), (1, 1), (1, 0), (0, 1)]);
    let runs = |uvm: &mut Uvm, request: PageListRequest| {
        let list = uvm.pglistalloc(&request)?;
        let runs: Vec<_> = uvm.runs(&list).collect();
        uvm.pglistfree(list);
        Ok::<_, UvmError>(runs)
    };
    let three = PageListRequest::new(PAGES).unwrap();
    assert_eq!(runs(&mut uvm, three), Ok(vec![range(0, 3)]));
    assert_eq!(runs(&mut uvm, three.node(1)), Ok(vec![range(6, 3)]), "the lower free list first");
    assert_eq!(runs(&mut uvm, three.free_list(1)), Ok(vec![range(3, 3)]));
    assert_eq!(runs(&mut uvm, three.node(0).free_list(1)), Ok(vec![range(9, 3)]));
    let seven = PageListRequest::new(2 * PAGES + 1).unwrap().node(1);
    assert!(matches!(runs(&mut uvm, seven), Err(UvmError::NoFit { .. })), "six are all that node 1 has");
    assert_eq!(uvm.uvmexp().free, 4 * PAGES);
    assert_eq!(uvm.free_on(1, 0), PAGES);
}

#[test]
fn memory_for_movable_pages_alone_goes_first() {
    let mut uvm = uvm(&[(0, 0), (0, 0)]);
    let above = range(PAGES, PAGES);
    uvm.offline(above, &mut |_, _| Err(MoveError::Never)).unwrap();
    uvm.online_as(above, Zone::Movable).unwrap();
    let owner = PageOwner::Object { key: 0, offset: 0 };
    for way in [Way::Normal, Way::Numa, Way::Only(0)] {
        let request = PageRequest::new().strategy(way);
        assert_eq!(uvm.pagealloc(&request.owner(owner)).map(|frame| frame / PAGES), Ok(1), "{way:?}");
        let other = uvm.pagealloc(&request).unwrap();
        assert_eq!(other / PAGES, 0, "{way:?}: nobody could move it");
        uvm.pagefree(other).unwrap();
    }
}
