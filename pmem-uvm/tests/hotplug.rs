//! What callbacks are told, row by row of Linux's online_pages() and offline_pages().

use pmem_uvm::{
    Added, Answer, AutoOnline, BlockState, Event, FrameRange, Hotplug, HotplugError, MemoryAction, MoveError,
    NodeAction, NotifierKey, PageListRequest, PageOwner, PageRequest, PageState, Plug, Strategy, Uvm,
    UvmError, Zone,
};
use std::sync::{Arc, Mutex};

const BLOCK: u64 = 512;

fn block(number: u64) -> FrameRange {
    FrameRange::new(number * BLOCK, BLOCK).unwrap()
}

fn blocks(number: u64, count: u64) -> FrameRange {
    FrameRange::new(number * BLOCK, count * BLOCK).unwrap()
}

fn stay(_: u64, _: u64) -> Result<(), MoveError> {
    Err(MoveError::Never)
}

/// Node 0 has block 0 from the start; node 1 has nothing.
struct World {
    uvm: Uvm,
    hotplug: Hotplug,
    trace: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        let mut uvm = Uvm::default();
        uvm.plug(&Plug::new(block(0))).unwrap();
        let hotplug = Hotplug::new(BLOCK, &uvm).unwrap();
        Self { uvm, hotplug, trace: Arc::default() }
    }

    /// Registers a callback, for memory and for nodes, that answers `answer` to the event numbered `to`.
    fn listen(&mut self, name: &'static str, priority: i32, to: Option<(u32, bool)>, answer: Answer) {
        let key = NotifierKey(name.as_ptr() as u64);
        let callback = |trace: Arc<Mutex<Vec<String>>>| {
            Box::new(move |_: &mut Uvm, event: &Event| {
                let is_node = matches!(event, Event::Node { .. });
                trace.lock().unwrap().push(format!("{name}:{}", short(event)));
                if to == Some((event.action(), is_node)) { answer } else { Answer::Ok }
            })
        };
        self.hotplug.register_memory(key, priority, callback(self.trace.clone())).unwrap();
        self.hotplug.register_node(key, priority, callback(self.trace.clone())).unwrap();
    }

    fn trace(&self) -> String {
        std::mem::take(&mut *self.trace.lock().unwrap()).join(" ")
    }

    fn add(&mut self, range: FrameRange, node: u32) {
        self.hotplug.add(&mut self.uvm, &Plug::new(range).node(node)).unwrap();
    }

    fn online(&mut self, range: FrameRange) -> Result<(), HotplugError> {
        self.hotplug.online(&mut self.uvm, range, Zone::Normal)
    }

    fn offline(&mut self, range: FrameRange) -> Result<(), HotplugError> {
        self.hotplug.offline(&mut self.uvm, range, &mut stay)
    }

    fn state(&self, number: u64) -> BlockState {
        self.hotplug.blocks().find(|(at, _)| *at == block(number)).unwrap().1.state
    }
}

fn short(event: &Event) -> String {
    match event {
        Event::Memory { action, status_change_nid, status_change_nid_normal, .. } => {
            let node = status_change_nid.map_or(String::new(), |n| n.to_string());
            let normal = status_change_nid_normal.map_or(String::new(), |n| n.to_string());
            format!("{action:?}({node},{normal})")
        }
        Event::Node { action, nid } => format!("{action:?}({nid})"),
    }
}

fn node(action: NodeAction) -> Option<(u32, bool)> {
    Some((action as u32, true))
}

fn memory(action: MemoryAction) -> Option<(u32, bool)> {
    Some((action as u32, false))
}

#[test]
fn the_first_block_of_a_node_comes_online() {
    let mut w = World::new();
    w.listen("a", 0, None, Answer::Ok);
    w.add(block(4), 1);
    assert_eq!(w.trace(), "", "adding tells nobody");
    w.online(block(4)).unwrap();
    let events = "a:AddingFirstMemory(1) a:GoingOnline(1,1) a:AddedFirstMemory(1) a:Online(1,1)";
    assert_eq!(w.trace(), events);
    assert_eq!(w.uvm.uvmexp().npages, 2 * BLOCK);
    w.add(block(5), 1);
    w.online(block(5)).unwrap();
    assert_eq!(w.trace(), "a:GoingOnline(,) a:Online(,)", "not the first");
}

#[test]
fn online_step_1_refuses_with_nobody_told() {
    let mut w = World::new();
    w.listen("a", 0, None, Answer::Ok);
    w.add(blocks(4, 2), 1);
    let half = FrameRange::new(4 * BLOCK + 1, BLOCK).unwrap();
    assert_eq!(w.online(half), Err(HotplugError::Unaligned { range: half, block: BLOCK }));
    assert_eq!(w.online(block(9)), Err(HotplugError::NoBlock(block(9))));
    assert_eq!(w.online(block(0)).unwrap_err().errno(), 22, "online already");
    assert_eq!(w.trace(), "");
}

#[test]
fn online_step_3_vetoed_cancels_without_going_online() {
    let mut w = World::new();
    w.listen("a", 0, node(NodeAction::AddingFirstMemory), Answer::Bad);
    w.listen("b", 0, None, Answer::Ok);
    w.add(block(4), 1);
    let error = w.online(block(4)).unwrap_err();
    assert!(matches!(error, HotplugError::Refused { errno: 1, .. }), "{error}");
    let events = "a:AddingFirstMemory(1) a:CancelOnline(1,1) b:CancelOnline(1,1) \
                  a:CancelAddingFirstMemory(1) b:CancelAddingFirstMemory(1)";
    assert_eq!(w.trace(), events);
    assert_eq!(w.state(4), BlockState::Offline);
    assert_eq!(w.uvm.page(4 * BLOCK).unwrap().state(), PageState::Offline);
}

#[test]
fn online_step_4_vetoed_at_each_position_cancels_for_all() {
    for vetoer in ["a", "b", "c"] {
        let mut w = World::new();
        for name in ["a", "b", "c"] {
            let to = memory(MemoryAction::GoingOnline).filter(|_| name == vetoer);
            w.listen(name, 0, to, Answer::Errno(12));
        }
        w.add(block(4), 0);
        assert_eq!(w.online(block(4)).unwrap_err().errno(), 12);
        let asked: Vec<String> = ["a", "b", "c"]
            .into_iter()
            .take_while(|n| *n <= vetoer)
            .map(|n| format!("{n}:GoingOnline(,)"))
            .collect();
        let cancelled = "a:CancelOnline(,) b:CancelOnline(,) c:CancelOnline(,)";
        assert_eq!(
            w.trace(),
            format!("{} {cancelled}", asked.join(" ")),
            "those never asked are told as well"
        );
        assert_eq!(w.uvm.uvmexp().offline, BLOCK);
    }
}

#[test]
fn online_step_4_vetoed_cancels_the_node_if_it_was_asked() {
    let mut w = World::new();
    w.listen("a", 0, memory(MemoryAction::GoingOnline), Answer::Bad);
    w.add(block(4), 1);
    w.online(block(4)).unwrap_err();
    let events = "a:AddingFirstMemory(1) a:GoingOnline(1,1) a:CancelOnline(1,1) a:CancelAddingFirstMemory(1)";
    assert_eq!(w.trace(), events);
}

#[test]
fn online_step_6_ignores_answers() {
    let mut w = World::new();
    w.listen("a", 1, memory(MemoryAction::Online), Answer::Bad);
    w.listen("b", 0, None, Answer::Ok);
    w.add(block(4), 0);
    w.online(block(4)).unwrap();
    assert_eq!(w.trace(), "a:GoingOnline(,) b:GoingOnline(,) a:Online(,)", "BAD only stops later callbacks");
    assert_eq!(w.state(4), BlockState::Online(Zone::Normal));
}

#[test]
fn stop_is_success_and_skips_the_rest() {
    let mut w = World::new();
    w.listen("a", 0, memory(MemoryAction::GoingOnline), Answer::Stop);
    w.listen("b", 0, None, Answer::Ok);
    w.add(block(4), 0);
    w.online(block(4)).unwrap();
    assert_eq!(w.trace(), "a:GoingOnline(,) a:Online(,) b:Online(,)");
}

#[test]
fn higher_priority_first_and_equals_as_they_came() {
    let mut w = World::new();
    w.listen("late", -1, None, Answer::Done);
    w.listen("one", 0, None, Answer::Done);
    w.listen("first", 9, None, Answer::Done);
    w.listen("two", 0, None, Answer::Done);
    w.add(block(4), 0);
    w.online(block(4)).unwrap();
    let order: Vec<String> =
        w.trace().split(' ').take(4).map(|e| e.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(order, ["first", "one", "two", "late"]);
}

#[test]
fn the_last_block_of_a_node_goes_offline() {
    let mut w = World::new();
    w.add(blocks(4, 2), 1);
    w.online(blocks(4, 2)).unwrap();
    w.listen("a", 0, None, Answer::Ok);
    w.offline(block(4)).unwrap();
    assert_eq!(w.trace(), "a:GoingOffline(,) a:Offline(,)");
    w.offline(block(5)).unwrap();
    let events = "a:RemovingLastMemory(1) a:GoingOffline(1,1) a:RemovedLastMemory(1) a:Offline(1,1)";
    assert_eq!(w.trace(), events);
    assert_eq!((w.uvm.uvmexp().npages, w.uvm.uvmexp().offline), (BLOCK, 2 * BLOCK));
}

#[test]
fn offline_steps_1_and_2_fail_with_nobody_told() {
    let mut w = World::new();
    w.uvm.plug(&Plug::new(FrameRange::new(2 * BLOCK, BLOCK / 2).unwrap())).unwrap();
    w.hotplug = Hotplug::new(BLOCK, &w.uvm).unwrap();
    w.add(block(4), 1);
    w.online(block(4)).unwrap();
    w.listen("a", 0, None, Answer::Ok);
    assert!(matches!(w.offline(block(2)), Err(HotplugError::Uvm(UvmError::NotPlugged(_)))), "a hole");
    assert_eq!(w.offline(block(2)).unwrap_err().errno(), 22);
    w.uvm.reserve(FrameRange::new(7, 1).unwrap()).unwrap();
    assert_eq!(w.offline(block(0)).unwrap_err().errno(), 16, "a reserved page cannot be held back");
    w.add(block(5), 1);
    assert_eq!(w.offline(blocks(4, 2)).unwrap_err().errno(), 22, "one is offline");
    w.hotplug.online(&mut w.uvm, block(5), Zone::Movable).unwrap();
    w.trace();
    assert_eq!(w.offline(blocks(4, 2)), Err(HotplugError::Mixed(blocks(4, 2))));
    assert_eq!(w.trace(), "");
    assert_eq!(w.uvm.uvmexp().isolated, 0);
}

#[test]
fn offline_step_3_vetoed_cancels() {
    let mut w = World::new();
    w.add(block(4), 1);
    w.online(block(4)).unwrap();
    w.listen("a", 0, node(NodeAction::RemovingLastMemory), Answer::Bad);
    let free = w.uvm.uvmexp().free;
    assert_eq!(w.offline(block(4)).unwrap_err().errno(), 1);
    assert_eq!(w.trace(), "a:RemovingLastMemory(1) a:CancelOffline(1,1) a:CancelRemovingLastMemory(1)");
    assert_eq!((w.uvm.uvmexp().free, w.uvm.uvmexp().isolated), (free, 0));
    assert_eq!(w.state(4), BlockState::Online(Zone::Normal));
}

#[test]
fn offline_step_4_vetoed_at_each_position_cancels_for_all() {
    for vetoer in ["a", "b", "c"] {
        let mut w = World::new();
        w.add(blocks(4, 2), 1);
        w.online(blocks(4, 2)).unwrap();
        for name in ["a", "b", "c"] {
            w.listen(name, 0, memory(MemoryAction::GoingOffline).filter(|_| name == vetoer), Answer::Bad);
        }
        w.offline(block(5)).unwrap_err();
        let trace = w.trace();
        assert!(trace.ends_with("a:CancelOffline(,) b:CancelOffline(,) c:CancelOffline(,)"), "{trace}");
        assert_eq!(trace.matches("GoingOffline").count(), 1 + "abc".find(vetoer).unwrap());
        assert_eq!(w.uvm.uvmexp().free, 3 * BLOCK);
    }
}

#[test]
fn offline_step_5_moves_pages_or_cancels() {
    let mut w = World::new();
    w.add(block(4), 1);
    w.online(block(4)).unwrap();
    let page = w.uvm.pagealloc(&PageRequest::new().node(1)).unwrap();
    assert_eq!(page, 4 * BLOCK);
    w.uvm.capture(block(0), &mut stay).unwrap();
    w.listen("a", 0, None, Answer::Ok);
    assert!(matches!(w.offline(block(4)), Err(HotplugError::Uvm(UvmError::Unmovable { .. }))));
    let cancelled =
        "a:RemovingLastMemory(1) a:GoingOffline(1,1) a:CancelOffline(1,1) a:CancelRemovingLastMemory(1)";
    assert_eq!(w.trace(), cancelled);
    // There must be somewhere to move it to.
    w.uvm.pagefree(0).unwrap();
    let interrupted = w.hotplug.offline(&mut w.uvm, block(4), &mut |_, _| Err(MoveError::Interrupted));
    assert_eq!(interrupted.unwrap_err().errno(), 4);
    assert_eq!(w.trace(), cancelled);
    assert_eq!(w.state(4), BlockState::Online(Zone::Normal));
    let mut tries = 0;
    let mut moved = None;
    w.hotplug
        .offline(&mut w.uvm, block(4), &mut |from, to| {
            tries += 1;
            moved = Some((from, to));
            if tries < 4 { Err(MoveError::Again) } else { Ok(()) }
        })
        .unwrap();
    assert_eq!((tries, moved), (4, Some((page, 0))));
    assert_eq!(w.uvm.page(0).unwrap().state(), PageState::Allocated);
    assert_eq!(w.state(4), BlockState::Offline);
}

#[test]
fn a_callback_frees_what_it_has_there() {
    let mut w = World::new();
    w.add(block(4), 1);
    w.online(block(4)).unwrap();
    w.uvm
        .pglistalloc(&PageListRequest::new(BLOCK).unwrap().window(block(0)))
        .map(|list| w.uvm.disband(list))
        .unwrap();
    let page = w.uvm.pagealloc(&PageRequest::new()).unwrap();
    assert!(block(4).contains(page));
    let free = move |uvm: &mut Uvm, event: &Event| {
        if event.action() == MemoryAction::GoingOffline as u32 {
            uvm.pagefree(page).unwrap();
            assert!(
                uvm.pagealloc(&PageRequest::new()).is_ok_and(|p| p == page),
                "it may be had again, and is then in the way"
            );
            uvm.pagefree(page).unwrap();
        }
        Answer::Ok
    };
    w.hotplug.register_memory(NotifierKey(1), 0, Box::new(free)).unwrap();
    w.offline(block(4)).unwrap();
    assert_eq!(w.uvm.uvmexp().npages, BLOCK);
}

#[test]
fn a_callback_gets_pages_of_new_memory() {
    let mut w = World::new();
    w.uvm.pglistalloc(&PageListRequest::new(BLOCK).unwrap()).map(|list| w.uvm.disband(list)).unwrap();
    let take = |uvm: &mut Uvm, event: &Event| {
        let got = uvm.pagealloc(&PageRequest::new());
        assert_eq!(got.is_ok(), event.action() == MemoryAction::Online as u32);
        Answer::Ok
    };
    w.hotplug.register_memory(NotifierKey(1), 0, Box::new(take)).unwrap();
    w.add(block(4), 0);
    w.online(block(4)).unwrap();
    assert_eq!(w.uvm.uvmexp().free, BLOCK - 1);
}

#[test]
fn a_memoryless_node_is_one_whose_memory_is_offline() {
    let mut w = World::new();
    w.add(blocks(4, 2), 3);
    w.listen("a", 0, None, Answer::Ok);
    w.online(block(5)).unwrap();
    assert!(w.trace().starts_with("a:AddingFirstMemory(3)"));
    w.offline(block(5)).unwrap();
    assert!(w.trace().starts_with("a:RemovingLastMemory(3)"));
}

#[test]
fn movable_memory_is_not_normal_memory() {
    let mut w = World::new();
    w.add(blocks(4, 2), 1);
    w.listen("a", 0, None, Answer::Ok);
    w.hotplug.online(&mut w.uvm, block(4), Zone::Movable).unwrap();
    assert!(w.trace().contains("GoingOnline(1,)"));
    w.online(block(5)).unwrap();
    assert_eq!(w.trace(), "a:GoingOnline(,1) a:Online(,1)", "the first normal memory, not the first");
    w.offline(block(5)).unwrap();
    assert_eq!(w.trace(), "a:GoingOffline(,1) a:Offline(,1)");
}

#[test]
fn movable_memory_is_for_pages_that_have_an_owner() {
    let mut w = World::new();
    w.add(blocks(4, 2), 1);
    w.hotplug.online(&mut w.uvm, block(4), Zone::Movable).unwrap();
    assert_eq!((w.uvm.zone(4 * BLOCK), w.uvm.zone(0)), (Some(Zone::Movable), Some(Zone::Normal)));
    let near = PageRequest::new().node(1).strategy(Strategy::Numa);
    let owned = near.owner(PageOwner::Object { key: 1, offset: 0 });
    let page = w.uvm.pagealloc(&owned).unwrap();
    assert!(block(4).contains(page));
    // Whoever cannot be told that a page moves gets one that never has to, until there are none.
    for _ in 0..BLOCK {
        assert!(block(0).contains(w.uvm.pagealloc(&near).unwrap()));
    }
    assert!(matches!(w.uvm.pagealloc(&near), Err(UvmError::NoPages { free: 0, .. })));
    let list = PageListRequest::new(1).unwrap();
    assert!(matches!(w.uvm.pglistalloc(&list), Err(UvmError::NoPages { free: 0, .. })));
    let cache = w.uvm.add_cache(1, 8);
    assert_eq!(w.uvm.fill_cache(&cache), 0);
    assert!(block(4).contains(w.uvm.pagealloc(&owned).unwrap()));
    // So it can always be emptied, where there is room.
    w.online(block(5)).unwrap();
    w.hotplug.offline(&mut w.uvm, block(4), &mut |_, _| Ok(())).unwrap();
    assert_eq!(w.uvm.page(page).map(|page| page.state()), Some(PageState::Offline));
    // What comes online again may be for something else.
    w.online(block(4)).unwrap();
    assert_eq!((w.uvm.zone(page), w.uvm.free_on(1, 0)), (Some(Zone::Normal), 2 * BLOCK - 2));
    assert_eq!(w.uvm.pglistalloc(&PageListRequest::new(BLOCK).unwrap()).unwrap().npages(), BLOCK);
}

#[test]
fn a_callback_is_registered_once() {
    let mut w = World::new();
    let callback = || Box::new(|_: &mut Uvm, _: &Event| Answer::Done);
    w.hotplug.register_memory(NotifierKey(7), 0, callback()).unwrap();
    let again = w.hotplug.register_memory(NotifierKey(7), 3, callback()).unwrap_err();
    assert_eq!((again, again.errno()), (HotplugError::Exists(NotifierKey(7)), 17));
    w.hotplug.unregister_memory(NotifierKey(7)).unwrap();
    assert_eq!(w.hotplug.unregister_memory(NotifierKey(7)).unwrap_err().errno(), 2);
    w.hotplug.register_memory(NotifierKey(7), 3, callback()).unwrap();
}

#[test]
fn removal_is_all_or_nothing() {
    let mut w = World::new();
    w.add(blocks(4, 3), 1);
    w.online(block(5)).unwrap();
    let busy = w.hotplug.remove(&mut w.uvm, blocks(4, 3)).unwrap_err();
    assert_eq!((busy.errno(), w.uvm.uvmexp().physmem), (16, 4 * BLOCK));
    w.online(block(6)).unwrap();
    // Block 6 has a page that does not move: block 5 comes back.
    w.uvm.capture(FrameRange::new(6 * BLOCK, 1).unwrap(), &mut stay).unwrap();
    w.listen("a", 0, None, Answer::Ok);
    let range = blocks(4, 3);
    w.hotplug.offline_and_remove(&mut w.uvm, range, &mut stay).unwrap_err();
    assert_eq!(
        [4, 5, 6].map(|n| w.state(n)),
        [BlockState::Offline, BlockState::Online(Zone::Normal), BlockState::Online(Zone::Normal)]
    );
    let trace = w.trace();
    assert!(
        trace.ends_with("a:CancelOffline(1,1) a:CancelRemovingLastMemory(1) a:GoingOnline(,) a:Online(,)"),
        "{trace}"
    );
    w.uvm.pagefree(6 * BLOCK).unwrap();
    w.hotplug.offline_and_remove(&mut w.uvm, range, &mut stay).unwrap();
    assert_eq!((w.uvm.uvmexp().physmem, w.hotplug.blocks().count()), (BLOCK, 1));
    assert_eq!(w.hotplug.add(&mut w.uvm, &Plug::new(block(0))).unwrap_err().errno(), 17);
}

#[test]
fn a_page_is_moved_out_of_all_blocks_that_go() {
    let mut w = World::new();
    w.add(blocks(4, 2), 1);
    w.online(blocks(4, 2)).unwrap();
    let page = w.uvm.pagealloc(&PageRequest::new().node(1).strategy(Strategy::Numa)).unwrap();
    assert!(block(4).contains(page));
    let mut moved = Vec::new();
    let mut mover = |from, to| {
        moved.push((from, to));
        Ok(())
    };
    w.hotplug.offline_and_remove(&mut w.uvm, blocks(4, 2), &mut mover).unwrap();
    let [(from, to)] = moved[..] else { panic!("{moved:?}") };
    assert_eq!((from, block(0).contains(to)), (page, true));
    assert_eq!(w.uvm.page(to).map(|page| page.state()), Some(PageState::Allocated));
}

#[test]
fn bad_pages_go_along() {
    let mut w = World::new();
    w.add(block(4), 1);
    w.online(block(4)).unwrap();
    w.uvm.retire(FrameRange::new(4 * BLOCK + 3, 2).unwrap()).unwrap();
    w.offline(block(4)).unwrap();
    w.online(block(4)).unwrap();
    assert_eq!((w.uvm.uvmexp().retired, w.uvm.uvmexp().npages), (2, 2 * BLOCK - 2));
    w.offline(block(4)).unwrap();
    w.hotplug.remove(&mut w.uvm, block(4)).unwrap();
    assert_eq!(w.uvm.uvmexp().retired, 0);
}

#[test]
fn what_a_callback_frees_of_memory_that_goes_nobody_gets() {
    let mut w = World::new();
    w.add(block(4), 0);
    w.online(block(4)).unwrap();
    w.uvm.capture(FrameRange::new(4 * BLOCK, 1).unwrap(), &mut stay).unwrap();
    let got = Arc::new(Mutex::new(None));
    let seen = got.clone();
    let going = |event: &Event| matches!(event, Event::Memory { action: MemoryAction::GoingOffline, .. });
    let frees = move |uvm: &mut Uvm, event: &Event| {
        if going(event) {
            uvm.pagefree(4 * BLOCK).unwrap();
        }
        Answer::Ok
    };
    let takes = move |uvm: &mut Uvm, event: &Event| {
        if going(event) {
            let all: Vec<u64> = std::iter::from_fn(|| uvm.pagealloc(&PageRequest::new()).ok()).collect();
            *seen.lock().unwrap() = Some(all.contains(&(4 * BLOCK)));
        }
        Answer::Ok
    };
    w.hotplug.register_memory(NotifierKey(1), 1, Box::new(frees)).unwrap();
    w.hotplug.register_memory(NotifierKey(2), 0, Box::new(takes)).unwrap();
    w.offline(block(4)).unwrap();
    assert_eq!(*got.lock().unwrap(), Some(false));
}

#[test]
fn a_callback_that_panics_leaves_memory_that_can_change() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let mut w = World::new();
    w.add(blocks(4, 2), 1);
    w.online(block(4)).unwrap();
    w.listen("a", 0, None, Answer::Ok);
    let panics = Arc::new(Mutex::new(true));
    let once = panics.clone();
    let callback = move |_: &mut Uvm, _: &Event| {
        assert!(!std::mem::take(&mut *once.lock().unwrap()), "not today");
        Answer::Ok
    };
    w.hotplug.register_memory(NotifierKey(9), -1, Box::new(callback)).unwrap();
    catch_unwind(AssertUnwindSafe(|| w.offline(block(4)))).unwrap_err();
    w.trace();
    w.offline(block(4)).unwrap();
    assert_eq!((w.state(4), w.uvm.uvmexp().isolated), (BlockState::Offline, 0));
    *panics.lock().unwrap() = true;
    catch_unwind(AssertUnwindSafe(|| w.online(block(5)))).unwrap_err();
    w.trace();
    w.online(block(5)).unwrap();
    assert!(w.trace().starts_with("a:AddingFirstMemory(1)"), "it is the first, still");
}

#[test]
fn blocks_that_memory_is_far_between_are_found_at_once() {
    let mut uvm = Uvm::default();
    let mut hotplug = Hotplug::new(1, &uvm).unwrap();
    let far = FrameRange::new((1 << 52) - 2, 1).unwrap();
    uvm.plug(&Plug::new(far)).unwrap();
    hotplug.follow(&uvm, FrameRange::new(0, 1 << 52).unwrap());
    assert_eq!(hotplug.blocks().map(|(at, _)| at).collect::<Vec<_>>(), [far]);
}

#[test]
fn a_page_whose_move_panics_stays_its_owners() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let mut w = World::new();
    w.add(block(4), 0);
    w.online(block(4)).unwrap();
    let page = 4 * BLOCK;
    w.uvm.capture(FrameRange::new(page, 1).unwrap(), &mut stay).unwrap();
    let before = w.uvm.uvmexp();
    let offline = |w: &mut World| w.hotplug.offline(&mut w.uvm, block(4), &mut |_, _| panic!("not today"));
    catch_unwind(AssertUnwindSafe(|| offline(&mut w))).unwrap_err();
    w.offline(block(4)).unwrap_err();
    let after = w.uvm.uvmexp();
    assert_eq!(w.uvm.page(page).unwrap().state(), PageState::Allocated);
    assert_eq!((after.free, after.isolated, after.npages), (before.free, 0, before.npages));
}

#[test]
fn what_was_held_back_for_several_blocks_comes_back_after_a_panic() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let mut w = World::new();
    w.add(blocks(4, 2), 0);
    w.online(blocks(4, 2)).unwrap();
    let once = Arc::new(Mutex::new(true));
    let callback = move |_: &mut Uvm, _: &Event| {
        assert!(!std::mem::take(&mut *once.lock().unwrap_or_else(|e| e.into_inner())), "not today");
        Answer::Ok
    };
    w.hotplug.register_memory(NotifierKey(9), 0, Box::new(callback)).unwrap();
    let gone = |w: &mut World| w.hotplug.offline_and_remove(&mut w.uvm, blocks(4, 2), &mut stay);
    catch_unwind(AssertUnwindSafe(|| gone(&mut w))).unwrap_err();
    w.offline(block(5)).unwrap();
    assert_eq!((w.state(4), w.uvm.uvmexp().isolated), (BlockState::Online(Zone::Normal), 0));
}

#[test]
fn a_block_of_two_nodes_stays() {
    let mut uvm = Uvm::default();
    uvm.plug(&Plug::new(FrameRange::new(0, 96).unwrap())).unwrap();
    uvm.plug(&Plug::new(FrameRange::new(96, 32).unwrap()).node(1)).unwrap();
    let mut hotplug = Hotplug::new(64, &uvm).unwrap();
    let mixed = hotplug.offline(&mut uvm, FrameRange::new(64, 64).unwrap(), &mut stay).unwrap_err();
    assert_eq!((mixed.errno(), matches!(mixed, HotplugError::Mixed(_))), (22, true));
}

#[test]
fn a_block_takes_its_own_pages_with_it() {
    let mut w = World::new();
    let own = FrameRange::new(4 * BLOCK, 8).unwrap();
    let rest = FrameRange::new(4 * BLOCK + 8, BLOCK - 8).unwrap();
    w.hotplug.add(&mut w.uvm, &Plug::new(block(4)).avail(Some(rest))).unwrap();
    let before = w.uvm.uvmexp();
    let refused = w.uvm.free_reserved(own).unwrap_err();
    assert!(matches!(refused, UvmError::Page { frame, .. } if frame == own.start()), "its block is offline");

    for _ in 0..2 {
        w.online(block(4)).unwrap();
        let online = w.uvm.uvmexp();
        assert_eq!((online.npages - before.npages, online.reserved), (BLOCK - 8, before.reserved));
        assert_eq!(w.uvm.page(own.start()).unwrap().state(), PageState::Reserved);
        let captured = w.uvm.capture(own, &mut stay);
        assert!(matches!(captured, Err(UvmError::Page { .. })), "nobody else gets them: {captured:?}");
        w.offline(block(4)).unwrap();
        assert_eq!(w.uvm.uvmexp(), before);
        assert!(w.uvm.free_reserved(own).is_err());
    }

    w.online(block(4)).unwrap();
    w.uvm.free_reserved(own).unwrap();
    assert_eq!(w.uvm.uvmexp().npages - before.npages, BLOCK, "of a block that is online they can be freed");
    w.offline(block(4)).unwrap();
    assert_eq!(w.uvm.page(own.start()).unwrap().state(), PageState::Offline);

    w.hotplug.add(&mut w.uvm, &Plug::new(block(6)).avail(None)).unwrap();
    w.online(block(6)).unwrap();
    w.hotplug.offline_and_remove(&mut w.uvm, block(6), &mut stay).unwrap();
    assert!(w.uvm.page(6 * BLOCK).is_none());
}

#[test]
fn what_was_reserved_at_boot_keeps_its_block_online() {
    let mut uvm = Uvm::default();
    let kernel = FrameRange::new(0, 8).unwrap();
    let rest = FrameRange::new(8, BLOCK - 8).unwrap();
    uvm.plug(&Plug::new(block(0)).avail(Some(rest))).unwrap();
    let mut hotplug = Hotplug::new(BLOCK, &uvm).unwrap();
    let refused = hotplug.offline(&mut uvm, block(0), &mut stay).unwrap_err();
    assert!(matches!(refused, HotplugError::Uvm(UvmError::Page { frame: 0, .. })), "{refused}");
    uvm.free_reserved(kernel).unwrap();
    hotplug.offline(&mut uvm, block(0), &mut stay).unwrap();
}

#[test]
fn what_is_added_comes_online_as_the_policy_says() {
    let mut w = World::new();
    let add = |w: &mut World, at, node| w.hotplug.add(&mut w.uvm, &Plug::new(at).node(node)).unwrap();
    assert_eq!(add(&mut w, block(1), 0), Added::default());
    assert_eq!(w.state(1), BlockState::Offline, "none by itself");
    for (number, zone) in [(2, Zone::Normal), (3, Zone::Movable)] {
        w.hotplug.set_auto_online(AutoOnline::As(zone));
        assert_eq!(add(&mut w, block(number), 0), Added { online: 1, refused: None });
        assert_eq!(w.state(number), BlockState::Online(zone));
    }
    w.hotplug.set_auto_online(AutoOnline::Never);
    assert_eq!(add(&mut w, block(4), 0), Added::default());
}

#[test]
fn a_block_that_is_refused_stays_offline_beside_others() {
    let mut w = World::new();
    w.hotplug.set_auto_online(AutoOnline::As(Zone::Normal));
    let second = block(5);
    let callback = move |_: &mut Uvm, event: &Event| match event {
        Event::Memory { action: MemoryAction::GoingOnline, range, .. } if *range == second => {
            Answer::Errno(12)
        }
        _ => Answer::Ok,
    };
    w.hotplug.register_memory(NotifierKey(1), 0, Box::new(callback)).unwrap();
    let added = w.hotplug.add(&mut w.uvm, &Plug::new(blocks(4, 3))).unwrap();
    assert_eq!(added.online, 2);
    assert!(matches!(added.refused, Some(HotplugError::Refused { errno: 12, .. })), "{added:?}");
    let online = BlockState::Online(Zone::Normal);
    assert_eq!([4, 5, 6].map(|number| w.state(number)), [online, BlockState::Offline, online]);
}

/// One block of node 0 is for anything from the start.
#[test]
fn a_ratio_holds_on_the_node_and_on_all() {
    let mut w = World::new();
    let mut zone_of = |percent: u32, number: u64, count: u64, node: u32| {
        w.hotplug.set_auto_online(AutoOnline::Ratio(percent));
        let at = blocks(number, count);
        w.hotplug.add(&mut w.uvm, &Plug::new(at).node(node)).unwrap();
        let BlockState::Online(zone) = w.state(number) else { panic!("{:?}", w.state(number)) };
        zone
    };
    assert_eq!(zone_of(301, 1, 3, 0), Zone::Movable, "three times as much");
    assert_eq!(zone_of(301, 4, 1, 0), Zone::Normal, "four times is too much");
    assert_eq!(zone_of(301, 8, 1, 1), Zone::Normal, "node 1 has nothing for anything yet");
    assert_eq!(zone_of(301, 9, 3, 1), Zone::Movable);
    assert_eq!(zone_of(200, 12, 1, 0), Zone::Normal, "four to two on its node, seven to three on all");
    assert_eq!(zone_of(199, 13, 1, 2), Zone::Normal);
    assert_eq!(zone_of(0, 14, 1, 0), Zone::Normal, "none at all");
}

#[test]
fn an_offline_block_with_pages_of_its_own_is_taken_over_as_offline() {
    let mut uvm = Uvm::default();
    uvm.plug(&Plug::new(block(0))).unwrap();
    let rest = FrameRange::new(BLOCK + 8, BLOCK - 8).unwrap();
    uvm.plug(&Plug::new(block(1)).avail(Some(rest)).offline()).unwrap();
    let mut hotplug = Hotplug::new(BLOCK, &uvm).unwrap();
    assert_eq!(hotplug.block(BLOCK).unwrap().1.state, BlockState::Offline);
    hotplug.online(&mut uvm, block(1), Zone::Normal).unwrap();
    assert_eq!(uvm.uvmexp().free, 2 * BLOCK - 8);
}
