//! Areas that are lent to movable pages, and claimed back in runs.

use pmem_uvm::{
    FrameRange, Hotplug, HotplugError, MoveError, PageFlags, PageList, PageListRequest, PageOwner,
    PageRequest, PageState, Plug, Settings, Uvm, UvmError, Zone,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn range(start: u64, count: u64) -> FrameRange {
    FrameRange::new(start, count).unwrap()
}

fn owned(key: u64) -> PageRequest {
    PageRequest::new().owner(PageOwner::Object { key, offset: 0 })
}

fn asked(count: u64) -> PageListRequest {
    PageListRequest::new(count).unwrap()
}

fn never(_: u64, _: u64) -> Result<(), MoveError> {
    Err(MoveError::Never)
}

/// 256 pages, of which these are set aside.
fn uvm(area: FrameRange) -> Uvm {
    let mut uvm = Uvm::new(Settings::default());
    uvm.plug(&Plug::new(range(0, 256)).avail(Some(range(0, area.start())))).unwrap();
    uvm.lend(area).unwrap();
    uvm
}

#[test]
fn what_is_lent_serves_movable_pages_alone_until_it_is_claimed() {
    let area = range(64, 128);
    let mut uvm = uvm(area);
    assert_eq!(uvm.areas(), [area]);
    let counters = uvm.uvmexp();
    assert_eq!((counters.free, counters.movable, counters.reserved), (64 + 128, 128, 64));
    let page = uvm.pagealloc(&owned(1)).unwrap();
    assert!(area.contains(page), "movable pages first");
    assert!(uvm.pagealloc(&PageRequest::new()).unwrap() < 64, "others elsewhere");
    let mut moves = Vec::new();
    let list = uvm
        .claim(&asked(128), &mut |from, to| {
            moves.push((from, to));
            Ok(())
        })
        .unwrap();
    assert_eq!(uvm.runs(&list).collect::<Vec<_>>(), [area]);
    assert_eq!(moves.len(), 1);
    assert_eq!((moves[0].0, moves[0].1 < 64), (page, true));
    let moved = uvm.page(moves[0].1).unwrap().info();
    assert_eq!(moved.owner, PageOwner::Object { key: 1, offset: 0 }, "it went with its owner");
    assert_eq!((uvm.uvmexp().movable, uvm.uvmexp().free), (0, 62));
    let claimed = uvm.page(100).unwrap().info();
    assert_eq!(
        (claimed.state, claimed.listed, claimed.flags),
        (PageState::Allocated, true, PageFlags::CLEAN)
    );
    assert!(matches!(uvm.take_back(area, &mut never), Err(UvmError::Unmovable { .. })), "it is claimed");
    uvm.pglistfree(list);
    assert!(area.contains(uvm.pagealloc(&owned(2)).unwrap()), "lent again");
}

#[test]
fn an_area_keeps_its_pages_where_they_are() {
    let area = range(64, 64);
    let mut uvm = uvm(area);
    let met = |range| Err(UvmError::Lent { range, area });
    assert_eq!(uvm.lend(range(100, 100)), met(range(100, 100)));
    assert_eq!(uvm.unplug(range(0, 256)), met(range(0, 256)));
    assert_eq!(uvm.offline(range(127, 1), &mut never), met(range(127, 1)));
    assert_eq!(uvm.take_back(range(64, 63), &mut never), Err(UvmError::NoArea(range(64, 63))));
    let mut hotplug = Hotplug::new(128, &uvm).unwrap();
    let refused = hotplug.offline(&mut uvm, range(0, 128), &mut never).unwrap_err();
    assert_eq!(
        (refused.errno(), refused),
        (16, HotplugError::Uvm(UvmError::Lent { range: range(0, 128), area }))
    );
    assert_eq!(
        refused.to_string(),
        "page frames 0x0..0x80 overlap the lent area 0x40..0x80: take the area back first"
    );
    uvm.take_back(area, &mut never).unwrap();
    assert_eq!((uvm.areas(), uvm.uvmexp().reserved, uvm.zone(64)), (&[][..], 192, Some(Zone::Normal)));
    uvm.free_reserved(area).unwrap();
    let all = uvm.pglistalloc(&asked(128).runs(1).unwrap()).unwrap();
    assert_eq!(uvm.runs(&all).next(), Some(range(0, 128)), "as it was");
}

#[test]
fn a_block_whose_first_page_is_lent_is_still_for_anything() {
    let mut uvm = Uvm::new(Settings::default());
    uvm.plug(&Plug::new(range(0, 256))).unwrap();
    uvm.lend(range(0, 32)).unwrap();
    let hotplug = Hotplug::new(128, &uvm).unwrap();
    let zones: Vec<String> = hotplug.blocks().map(|(_, block)| block.state.to_string()).collect();
    assert_eq!(zones, ["online", "online"]);
}

#[test]
fn what_may_not_be_lent_is_named() {
    let mut uvm = Uvm::new(Settings::default());
    uvm.plug(&Plug::new(range(0, 64))).unwrap();
    uvm.plug(&Plug::new(range(64, 64)).offline()).unwrap();
    let page = uvm.pagealloc(&PageRequest::new()).unwrap();
    assert!(matches!(uvm.lend(range(0, 64)), Err(UvmError::Page { frame, .. }) if frame == page));
    assert!(matches!(uvm.lend(range(60, 8)), Err(UvmError::Page { frame: 64, .. })), "offline");
    uvm.online_as(range(64, 64), Zone::Movable).unwrap();
    assert!(matches!(uvm.lend(range(60, 8)), Err(UvmError::Page { frame: 64, .. })), "movable already");
    assert_eq!(uvm.lend(range(120, 16)), Err(UvmError::NotPlugged(range(128, 8))));
    assert!(matches!(uvm.claim(&asked(4), &mut never), Err(UvmError::Nowhere(_))), "nothing is lent");
}

#[test]
fn a_mover_that_panics_loses_no_page() {
    let area = range(64, 16);
    let mut uvm = uvm(area);
    let page = uvm.pagealloc(&owned(1)).unwrap();
    let before = uvm.uvmexp();
    let claimed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        uvm.claim(&asked(16), &mut |_, _| panic!("no")).map(drop)
    }));
    assert!(claimed.is_err());
    let after = uvm.uvmexp();
    assert_eq!((after.free, after.isolated, after.movable), (before.free, 0, before.movable));
    assert_eq!(uvm.page(page).unwrap().state(), PageState::Allocated);
    uvm.pagefree(page).unwrap();
}

/// One thing done to an area.
#[derive(Clone, Copy, Debug)]
enum Step {
    Alloc,
    Free(usize),
    Wire(usize),
    Retire(u64),
    Claim { count: u64, align: u32, boundary: Option<u32>, window: (u64, u64) },
    GiveBack(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let claim = (1u64..12, 0u32..4, prop::option::of(2u32..6), (0u64..64, 1u64..80))
        .prop_map(|(count, align, boundary, window)| Step::Claim { count, align, boundary, window });
    prop_oneof![
        6 => Just(Step::Alloc),
        3 => any::<usize>().prop_map(Step::Free),
        1 => any::<usize>().prop_map(Step::Wire),
        1 => (0u64..64).prop_map(Step::Retire),
        4 => claim,
        3 => any::<usize>().prop_map(Step::GiveBack),
    ]
}

proptest! {
    /// A page is free, somebody's, pinned there, or claimed: what a claim gets follows from that.
    #[test]
    fn a_claim_gets_the_lowest_place_that_can_be_had(
        plain in 0u64..40,
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        const AREA: (u64, u64) = (64, 64);
        let mut uvm = Uvm::new(Settings::default());
        uvm.plug(&Plug::new(range(0, plain + 1))).unwrap();
        uvm.plug(&Plug::new(range(AREA.0, AREA.1))).unwrap();
        uvm.lend(range(AREA.0, AREA.1)).unwrap();
        let mut owners: BTreeMap<u64, u64> = BTreeMap::new();
        let mut lists: Vec<PageList> = Vec::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Alloc => {
                    if let Ok(frame) = uvm.pagealloc(&owned(next)) {
                        owners.insert(next, frame);
                        next += 1;
                    }
                }
                Step::Free(n) | Step::Wire(n) if !owners.is_empty() => {
                    let (key, frame) = owners.iter().nth(n % owners.len()).map(|(k, f)| (*k, *f)).unwrap();
                    if matches!(step, Step::Wire(_)) {
                        uvm.pagewire(frame).unwrap();
                    } else if uvm.pagefree(frame).is_ok() {
                        owners.remove(&key);
                    }
                }
                Step::Retire(at) => drop(uvm.retire(range(AREA.0 + at, 1))),
                Step::GiveBack(n) if !lists.is_empty() => {
                    let list = lists.swap_remove(n % lists.len());
                    uvm.pglistfree(list);
                }
                Step::Claim { count, align, boundary, window } => {
                    let (align, boundary) = (1 << align, boundary.map(|bits| 1 << bits));
                    let window = range(AREA.0 + window.0, window.1);
                    let state = |frame: u64| uvm.page(frame).map(|page| page.info());
                    let fits = |start: u64| {
                        let run = range(start, count);
                        let within = run.start() >= window.start() && run.end() <= window.end().min(AREA.0 + AREA.1);
                        within && start.is_multiple_of(align)
                            && boundary.is_none_or(|b: u64| start / b == (start + count - 1) / b)
                    };
                    let free = |frame: u64| state(frame).is_some_and(|info| info.state == PageState::Free);
                    let can_go = |frame: u64| state(frame).is_some_and(|info| {
                        free(frame) || info.state == PageState::Allocated && !info.listed && info.wired == 0
                    });
                    let starts = || (AREA.0..AREA.0 + AREA.1).filter(|start| fits(*start));
                    let all = |start: u64, what: &dyn Fn(u64) -> bool| (start..start + count).all(what);
                    let beside = |start: u64| {
                        let run = range(start, count);
                        let spare = (0..AREA.0 + AREA.1).filter(|f| !run.contains(*f) && free(*f)).count();
                        spare >= run.frames().filter(|f| !free(*f)).count()
                    };
                    let wanted = starts().find(|start| all(*start, &free))
                        .or_else(|| starts().find(|start| all(*start, &can_go) && beside(*start)));
                    let mut request = asked(count).window(window).align(align).unwrap();
                    if let Some(boundary) = boundary {
                        request = request.boundary(boundary).unwrap();
                    }
                    let mut moves = Vec::new();
                    let got = uvm.claim(&request, &mut |from, to| { moves.push((from, to)); Ok(()) });
                    for (from, to) in moves {
                        let key = *owners.iter().find(|(_, frame)| **frame == from).unwrap().0;
                        owners.insert(key, to);
                    }
                    prop_assert_eq!(got.as_ref().ok().and_then(|list| uvm.runs(list).next()), wanted.map(|start| range(start, count)), "{:?}", got);
                    lists.extend(got);
                }
                _ => {}
            }
            for (key, frame) in &owners {
                prop_assert_eq!(uvm.page(*frame).unwrap().info().owner, PageOwner::Object { key: *key, offset: 0 });
            }
            let counters = uvm.uvmexp();
            let states = |wanted: PageState| uvm.segments().flat_map(|s| s.range().frames())
                .filter(|frame| uvm.page(*frame).unwrap().state() == wanted).count() as u64;
            prop_assert_eq!((counters.free, counters.isolated), (states(PageState::Free), 0));
            let in_area = |frame: &u64| *frame >= AREA.0 && uvm.page(*frame).unwrap().state() == PageState::Free;
            prop_assert_eq!(counters.movable, (AREA.0..AREA.0 + AREA.1).filter(in_area).count() as u64);
        }
    }
}

#[test]
fn a_claim_keeps_to_its_node_and_free_list() {
    let mut uvm = Uvm::new(Settings::default());
    uvm.plug(&Plug::new(range(0, 64))).unwrap();
    uvm.plug(&Plug::new(range(64, 64)).node(1).free_list(1)).unwrap();
    uvm.lend(range(0, 64)).unwrap();
    uvm.lend(range(64, 64)).unwrap();
    let run = |uvm: &mut Uvm, request: PageListRequest| {
        let list = uvm.claim(&request, &mut |_, _| Ok(()))?;
        let run = uvm.runs(&list).next();
        uvm.pglistfree(list);
        Ok::<_, UvmError>(run)
    };
    assert_eq!(run(&mut uvm, asked(8)), Ok(Some(range(0, 8))));
    assert_eq!(run(&mut uvm, asked(8).node(1)), Ok(Some(range(64, 8))));
    assert_eq!(run(&mut uvm, asked(8).free_list(1)), Ok(Some(range(64, 8))));
    // With sixteen pages left, what is in the way has to be moved, and still only there.
    for _ in 0..112 {
        uvm.pagealloc(&owned(1)).unwrap();
    }
    assert_eq!(run(&mut uvm, asked(8).node(1)).map(|run| run.unwrap().start() >= 64), Ok(true));
    assert!(run(&mut uvm, asked(1).node(2)).is_err(), "no such node");
}

#[test]
fn a_mover_that_is_called_off_is_called_no_more() {
    let mut uvm = uvm(range(64, 64));
    for _ in 0..64 {
        uvm.pagealloc(&owned(1)).unwrap();
    }
    let mut calls = 0;
    let claimed = uvm.claim(&asked(8), &mut |_, _| {
        calls += 1;
        Err(MoveError::Interrupted)
    });
    assert_eq!((claimed, calls, uvm.uvmexp().isolated), (Err(UvmError::Cancelled), 1, 0));
}

#[test]
fn the_page_daemon_hears_of_a_claim_that_makes_a_node_scarce() {
    struct Heard(std::sync::Arc<std::sync::atomic::AtomicU32>);
    impl pmem_uvm::Host for Heard {
        fn wake_pagedaemon_of(&mut self, _: u32, _: &pmem_uvm::NodeCounters) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let mut uvm = uvm(range(64, 64));
    let heard = std::sync::Arc::default();
    uvm.set_host(Box::new(Heard(std::sync::Arc::clone(&heard))));
    uvm.set_node_reserves(0, pmem_uvm::Reserves { freemin: 100, ..Default::default() });
    let _list = uvm.claim(&asked(64), &mut never).unwrap();
    assert_eq!(heard.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn bad_pages_of_an_area_stay_of_it() {
    let area = range(64, 64);
    let mut uvm = uvm(area);
    uvm.retire(range(70, 2)).unwrap();
    assert_eq!(uvm.online(range(70, 2)), Err(UvmError::Lent { range: range(70, 2), area }));
    assert_eq!(uvm.zone(70), Some(Zone::Movable));
}

#[test]
fn a_free_run_in_another_area_comes_before_moving_anything() {
    let mut uvm = uvm(range(64, 32));
    uvm.lend(range(128, 32)).unwrap();
    let page = uvm.pagealloc(&owned(1)).unwrap();
    assert_eq!(page, 64);
    let list = uvm.claim(&asked(32), &mut never).unwrap();
    assert_eq!(uvm.runs(&list).next(), Some(range(128, 32)));
    uvm.pglistfree(list);
}
