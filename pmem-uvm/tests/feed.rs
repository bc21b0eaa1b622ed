//! A model's RAM feeds the segment layer.

use pmem_core::test_util::{Call, Faults, Faulty, Hooked, Quiet};
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, DriverId, Error, Manager, Mapping, Metric, Props, Prot, Request,
    Scope, SpanState, Subscription, Usage,
};
use pmem_uvm::{
    Access, Answer, Event, Feed, FrameRange, Hotplug, Layout, MoveError, NotifierKey, PageListRequest,
    PageRequest, PageState, Uvm, Uvmexp,
};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

#[derive(Clone)]
struct Memory(Arc<Mutex<(Uvm, Hotplug)>>);

impl Access for Memory {
    fn access(&self, run: &mut dyn FnMut(&mut Uvm, &mut Hotplug)) {
        self.0.access(run);
    }
}

impl Memory {
    fn new() -> Self {
        let uvm = Uvm::default();
        let hotplug = Hotplug::new(64, &uvm).unwrap();
        Self(Arc::new(Mutex::new((uvm, hotplug))))
    }

    fn with<T>(&self, run: impl FnOnce(&mut Uvm) -> T) -> T {
        run(&mut self.0.lock().unwrap().0)
    }

    fn counters(&self) -> Uvmexp {
        self.with(|uvm| uvm.uvmexp())
    }

    fn state(&self, frame: u64) -> Option<PageState> {
        self.with(|uvm| uvm.page(frame).map(|page| page.state()))
    }
}

fn pages(start: u64, end: u64) -> AddrRange {
    AddrRange::new(start << 12, end << 12).unwrap()
}

/// A bus at cost 1 from fast memory, seen at page 0x1000, and at cost 5 from slow memory, seen at page 0x2000.
fn model() -> (Manager, ArenaId, ArenaId, ArenaId) {
    let mut pmem = Manager::new();
    let bus = pmem.create_arena("bus", ArenaType::VIEW).unwrap();
    let fast = pmem.create_arena("fast", ArenaType::RAM).unwrap();
    let slow = pmem.create_arena("slow", ArenaType::RAM).unwrap();
    let window = |at: u64| Mapping::window(pages(at, at + 0x1000), 0).unwrap();
    pmem.connect(bus, fast, window(0x1000), Metric::new(1)).unwrap();
    pmem.connect(bus, slow, window(0x2000), Metric::new(5)).unwrap();
    (pmem, bus, fast, slow)
}

fn fed() -> (Manager, Memory, DriverId, [ArenaId; 2]) {
    let (mut pmem, bus, fast, slow) = model();
    let memory = Memory::new();
    pmem.prime(fast, pages(0, 0x100), Attrs::ram()).unwrap();
    pmem.prime(slow, pages(0, 0x80), Attrs::ram()).unwrap();
    let feed = Feed::new(memory.clone(), Layout::new(bus).node(slow, 1));
    let id = pmem.register(Box::new(feed), Feed::<Memory>::subscription()).unwrap();
    (pmem, memory, id, [fast, slow])
}

#[test]
fn priming_plugs_sealing_takes_offline_unpriming_unplugs() {
    let (mut pmem, memory, _, [fast, _]) = fed();
    assert_eq!(memory.counters().npages, 0x180);
    pmem.prime(fast, pages(0x100, 0x200), Attrs::ram()).unwrap();
    assert_eq!((memory.counters().npages, memory.counters().physmem), (0x280, 0x280));
    assert_eq!(memory.with(|uvm| uvm.nsegments()), 2, "what is alike is one segment");
    pmem.seal(fast, pages(0x100, 0x200)).unwrap();
    assert_eq!((memory.counters().npages, memory.counters().offline), (0x180, 0x100));
    pmem.unseal(fast, pages(0x180, 0x200)).unwrap();
    assert_eq!((memory.counters().npages, memory.counters().offline), (0x200, 0x80));
    pmem.unprime(fast, pages(0x80, 0x180)).unwrap();
    assert_eq!((memory.counters().npages, memory.counters().physmem), (0x180, 0x180));
    assert_eq!(memory.state(0x1080), None);
    assert_eq!(memory.state(0x1180), Some(PageState::Free));
}

#[test]
fn slower_memory_is_on_a_higher_list_and_on_its_node() {
    let (_, memory, ..) = fed();
    let found: Vec<_> =
        memory.with(|uvm| uvm.segments().map(|s| (s.range().start(), s.free_list(), s.node())).collect());
    assert_eq!(found, [(0x1000, 0, 0), (0x2000, 1, 1)]);
}

#[test]
fn regions_are_not_available_and_bad_ones_are_retired() {
    let (mut pmem, memory, id, [fast, _]) = fed();
    let text = pmem.alloc(fast, &Request::new(0x3001).at(0x4000).usage(Usage::TEXT)).unwrap();
    assert_eq!(memory.counters().reserved, 4, "a page of which part is taken is taken");
    let label = pmem.alloc(fast, &Request::new(0x1000).at(0x1_0000).usage(Usage::empty())).unwrap();
    assert_eq!(memory.counters().reserved, 4, "what is used for nothing stays available");
    let bad = pmem.alloc(fast, &Request::new(0x1000).at(0x2_0000).usage(Usage::BROKEN)).unwrap();
    assert_eq!((memory.counters().retired, memory.state(0x1020)), (1, Some(PageState::Retired)));
    pmem.set(text, pmem.attrs(text).unwrap().with_usage(Usage::BROKEN)).unwrap();
    assert_eq!((memory.counters().reserved, memory.counters().retired), (0, 5));
    for region in [text, label, bad] {
        pmem.decref(region).unwrap();
    }
    assert_eq!((memory.counters().free, memory.counters().npages), (0x180, 0x180));
    assert_eq!(pmem.verify(id), Ok(()));
}

#[test]
fn busy_pages_refuse_and_all_is_as_it_was() {
    let (mut pmem, memory, _, [fast, slow]) = fed();
    let page = memory.with(|uvm| uvm.pagealloc(&PageRequest::new())).unwrap();
    assert_eq!(page, 0x1000);
    let before = (memory.counters(), pmem.state().arena(fast).unwrap().spans().collect::<Vec<_>>());
    let error = pmem.seal(fast, pages(0, 0x100)).unwrap_err();
    assert!(error.to_string().contains("pages are busy at 0x1000000..0x1001000"), "{error}");
    pmem.unprime(fast, pages(0, 0x100)).unwrap_err();
    pmem.alloc(fast, &Request::new(0x1000).at(0)).unwrap_err();
    let both = pmem.transaction(|plan| {
        plan.seal(slow, pages(0, 0x80))?;
        plan.seal(fast, pages(0, 1))
    });
    assert!(matches!(both, Err(Error::Refused { .. })));
    let after = (memory.counters(), pmem.state().arena(fast).unwrap().spans().collect::<Vec<_>>());
    assert_eq!(
        (before.0.free, before.0.npages, before.0.offline),
        (after.0.free, after.0.npages, after.0.offline)
    );
    assert_eq!(before.1, after.1);
    memory.with(|uvm| uvm.pagefree(page)).unwrap();
    pmem.seal(fast, pages(0, 0x100)).unwrap();
}

#[test]
fn pages_are_moved_if_that_is_possible() {
    let (mut pmem, bus, fast, slow) = model();
    let memory = Memory::new();
    pmem.prime(fast, pages(0, 0x100), Attrs::ram()).unwrap();
    pmem.prime(slow, pages(0, 0x80), Attrs::ram()).unwrap();
    let moves = Arc::new(Mutex::new(Vec::new()));
    let log = moves.clone();
    let feed = Feed::new(memory.clone(), Layout::new(bus)).mover(Box::new(move |from, to| {
        log.lock().unwrap().push((from, to));
        Ok(())
    }));
    pmem.register(Box::new(feed), Feed::<Memory>::subscription()).unwrap();
    memory.with(|uvm| uvm.pagealloc(&PageRequest::new())).unwrap();
    pmem.seal(fast, pages(0, 0x100)).unwrap();
    assert_eq!(*moves.lock().unwrap(), [(0x1000, 0x2000)]);
    assert_eq!(memory.counters().npages, 0x80);
}

#[test]
fn listeners_are_asked_in_prepare_and_told_when_it_is_published() {
    let (mut pmem, memory, _, [fast, _]) = fed();
    let trace = Arc::new(Mutex::new(Vec::new()));
    let (log, listening) = (trace.clone(), memory.clone());
    let callback = move |_: &mut Uvm, event: &Event| {
        log.lock().unwrap().push(event.to_string());
        if event.to_string().contains("GOING_OFFLINE 0x1080") { Answer::Bad } else { Answer::Ok }
    };
    listening.0.lock().unwrap().1.register_memory(NotifierKey(1), 0, Box::new(callback)).unwrap();
    let told = || std::mem::take(&mut *trace.lock().unwrap());
    pmem.prime(fast, pages(0x100, 0x140), Attrs::ram()).unwrap();
    assert_eq!(told(), ["MEM_GOING_ONLINE 0x1100..0x1140", "MEM_ONLINE 0x1100..0x1140"]);
    pmem.unprime(fast, pages(0x100, 0x140)).unwrap();
    assert_eq!(told(), ["MEM_GOING_OFFLINE 0x1100..0x1140", "MEM_OFFLINE 0x1100..0x1140"]);
    assert!(pmem.seal(fast, pages(0x80, 0x100)).unwrap_err().to_string().contains("notifier refused"));
    assert_eq!(told(), ["MEM_GOING_OFFLINE 0x1080..0x1100", "MEM_CANCEL_OFFLINE 0x1080..0x1100"]);
    assert_eq!(memory.counters().npages, 0x180);
    let region = pmem.alloc(fast, &Request::new(0x1000)).unwrap();
    pmem.decref(region).unwrap();
    assert!(told().is_empty(), "a region is no hot-plug");
}

#[test]
fn the_last_memory_of_a_node_may_be_several_ranges() {
    let (mut pmem, memory, _, [_, slow]) = fed();
    pmem.alloc(slow, &Request::new(0x1000).at(0x4000).usage(Usage::TEXT)).unwrap();
    let trace = Arc::new(Mutex::new(Vec::new()));
    let log = trace.clone();
    let callback = move |_: &mut Uvm, event: &Event| {
        log.lock().unwrap().push(event.to_string());
        Answer::Ok
    };
    memory.0.lock().unwrap().1.register_node(NotifierKey(1), 0, Box::new(callback)).unwrap();
    pmem.seal(slow, pages(0, 0x80)).unwrap();
    pmem.unseal(slow, pages(0, 0x80)).unwrap();
    assert_eq!(
        *trace.lock().unwrap(),
        [
            "NODE_REMOVING_LAST_MEMORY node 1",
            "NODE_REMOVED_LAST_MEMORY node 1",
            "NODE_ADDING_FIRST_MEMORY node 1",
            "NODE_ADDED_FIRST_MEMORY node 1"
        ]
    );
}

#[test]
fn what_comes_is_handed_out_when_it_is_published() {
    let (mut pmem, memory, id, [fast, _]) = fed();
    let (there, found) = (memory.clone(), Arc::new(Mutex::new(Vec::new())));
    let seen = found.clone();
    let other = Hooked::new("other", move |call| {
        if matches!(call, Call::Withdraw | Call::Install) {
            seen.lock().unwrap().push(there.state(0x1100));
        }
    });
    pmem.register(Box::new(other), Subscription::new([Scope::Everything]).priority(i32::MIN)).unwrap();
    pmem.prime(fast, pages(0x100, 0x200), Attrs::ram()).unwrap();
    assert_eq!(*found.lock().unwrap(), [Some(PageState::Offline); 2]);
    assert_eq!(memory.state(0x1100), Some(PageState::Free));
    assert_eq!(pmem.verify(id), Ok(()));
}

#[test]
fn what_was_changed_behind_it_is_found_and_put_right() {
    let (mut pmem, memory, id, _) = fed();
    let half = FrameRange::new(0x1000, 0x80).unwrap();
    memory.with(|uvm| uvm.offline(half, &mut |_, _| Err(MoveError::Never))).unwrap();
    let Err(Error::Differs { mismatch, .. }) = pmem.verify(id) else { panic!() };
    assert_eq!(mismatch.range, Some(pages(0x1000, 0x1080)));
    pmem.resync(id).unwrap();
    assert_eq!((pmem.verify(id), memory.counters().free), (Ok(()), 0x180));
    memory.with(|uvm| uvm.unplug(half)).unwrap();
    pmem.verify(id).unwrap_err();
    pmem.resync(id).unwrap();
    assert_eq!((pmem.verify(id), memory.counters().free), (Ok(()), 0x180));
}

#[test]
fn another_drivers_fault_takes_all_back() {
    for call in [Call::Withdraw, Call::Install] {
        let (mut pmem, memory, id, [fast, _]) = fed();
        let faults = Faults::default();
        let other = Faulty::around(Quiet::new("other"), &faults);
        pmem.register(Box::new(other), Subscription::new([Scope::Everything]).priority(i32::MIN)).unwrap();
        let before = memory.counters();
        for change in 0..4 {
            faults.arm(call, 1);
            let failed = match change {
                0 => pmem.prime(fast, pages(0x100, 0x200), Attrs::ram()),
                1 => pmem.seal(fast, pages(0, 0x80)),
                2 => pmem.unprime(fast, pages(0, 0x80)),
                _ => pmem.alloc(fast, &Request::new(0x3000).usage(Usage::BROKEN)).map(|_| ()),
            };
            assert!(matches!(failed, Err(Error::Failed { .. })), "{call:?} {change}: {failed:?}");
            let after = memory.counters();
            assert_eq!(
                (after.free, after.npages, after.physmem),
                (before.free, before.npages, before.physmem),
                "{call:?} {change}"
            );
            assert_eq!((after.isolated, after.offline, after.retired), (0, 0, 0), "{call:?} {change}");
            assert_eq!(pmem.verify(id), Ok(()));
        }
    }
}

#[test]
fn memory_moves_with_its_window() {
    let (mut pmem, bus, fast, _) = model();
    let memory = Memory::new();
    pmem.prime(fast, pages(0, 0x100), Attrs::ram()).unwrap();
    pmem.register(Box::new(Feed::new(memory.clone(), Layout::new(bus))), Feed::<Memory>::subscription())
        .unwrap();
    let link = pmem.state().links().next().unwrap().0;
    pmem.disconnect(link).unwrap();
    assert_eq!(memory.counters().physmem, 0);
    let window = Mapping::window(pages(0x4000, 0x5000), 0).unwrap();
    pmem.connect(bus, fast, window, Metric::new(9)).unwrap();
    assert_eq!(memory.counters().npages, 0x100);
    assert_eq!(memory.with(|uvm| uvm.first().map(|s| (s.range().start(), s.free_list()))), Some((0x4000, 1)));
}

#[derive(Clone, Debug)]
enum Op {
    Prime(u64, u64, bool),
    Seal(u64, u64),
    Unseal(u64, u64),
    Unprime(u64, u64),
    Region(u64, u64, u8),
    Release(prop::sample::Index),
    Alloc(u8),
    List(u64),
    Free(prop::sample::Index),
    Fault(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let range = || (0u64..200, 1u64..80).prop_map(|(start, count)| (start, start + count));
    let bytes = (0u64..200 << 12, 1u64..20 << 12);
    let index = any::<prop::sample::Index>;
    prop_oneof![
        3 => (range(), any::<bool>()).prop_map(|((a, b), x)| Op::Prime(a, b, x)),
        2 => range().prop_map(|(a, b)| Op::Seal(a, b)),
        2 => range().prop_map(|(a, b)| Op::Unseal(a, b)),
        2 => range().prop_map(|(a, b)| Op::Unprime(a, b)),
        3 => (bytes, 0u8..4).prop_map(|((a, n), usage)| Op::Region(a, n, usage)),
        2 => index().prop_map(Op::Release),
        2 => (1u8..20).prop_map(Op::Alloc),
        1 => (1u64..30).prop_map(Op::List),
        3 => index().prop_map(Op::Free),
        1 => any::<bool>().prop_map(Op::Fault),
    ]
}

/// What the model wants of one page, asked address by address at its borders and by its regions.
fn wanted(pmem: &Manager, arena: ArenaId, page: u64) -> Option<PageState> {
    let here = pmem.state().arena(arena).unwrap();
    let range = pages(page, page + 1);
    let spans: Vec<_> = here.spans_in(range).collect();
    let [(at, span)] = spans[..] else { return None };
    if at != range {
        return None;
    }
    let taken: Vec<Usage> =
        here.regions_in(range).map(|(_, record)| record.attrs.usage()).filter(|u| !u.is_empty()).collect();
    Some(match taken.first() {
        Some(_) if taken.iter().any(|usage| usage.contains(Usage::BROKEN)) => PageState::Retired,
        Some(_) => PageState::Reserved,
        None if span.state == SpanState::Sealed => PageState::Offline,
        None => PageState::Free,
    })
}

proptest! {
    #[test]
    fn pages_are_what_the_model_says(ops in proptest::collection::vec(op(), 1..60)) {
        let (mut pmem, bus, fast, _) = model();
        let memory = Memory::new();
        pmem.register(Box::new(Feed::new(memory.clone(), Layout::new(bus))), Feed::<Memory>::subscription()).unwrap();
        let faults = Faults::default();
        let other = Faulty::around(Quiet::new("other"), &faults);
        pmem.register(Box::new(other), Subscription::new([Scope::Everything]).priority(i32::MIN)).unwrap();
        let mut regions = Vec::new();
        let mut busy: Vec<u64> = Vec::new();
        for op in ops {
            let before = memory.counters();
            let changed = match op {
                Op::Prime(a, b, exec) => {
                    let prot = if exec { Prot::RWX } else { Prot::RW };
                    pmem.prime(fast, pages(a, b), Attrs::new(Usage::DATA, prot, Props::WBACK).unwrap())
                }
                Op::Seal(a, b) => pmem.seal(fast, pages(a, b)),
                Op::Unseal(a, b) => pmem.unseal(fast, pages(a, b)),
                Op::Unprime(a, b) => pmem.unprime(fast, pages(a, b)),
                Op::Region(at, len, usage) => {
                    let usage = [Usage::empty(), Usage::DATA, Usage::TEXT, Usage::BROKEN][usize::from(usage)];
                    pmem.alloc(fast, &Request::new(len).at(at).usage(usage)).map(|region| regions.push(region))
                }
                Op::Release(index) if !regions.is_empty() => {
                    let at = index.index(regions.len());
                    let released = pmem.decref(regions[at]).map(|_| ());
                    if pmem.range(regions[at]).is_err() {
                        regions.swap_remove(at);
                    }
                    released
                }
                Op::Alloc(times) => {
                    busy.extend((0..times).filter_map(|_| memory.with(|uvm| uvm.pagealloc(&PageRequest::new())).ok()));
                    continue;
                }
                Op::List(count) => {
                    let request = PageListRequest::new(count).unwrap();
                    memory.with(|uvm| {
                        if let Ok(list) = uvm.pglistalloc(&request) {
                            busy.extend(uvm.frames(&list));
                            uvm.disband(list);
                        }
                    });
                    continue;
                }
                Op::Free(index) if !busy.is_empty() => {
                    let page = busy.swap_remove(index.index(busy.len()));
                    memory.with(|uvm| uvm.pagefree(page)).unwrap();
                    continue;
                }
                Op::Fault(install) => {
                    faults.arm(if install { Call::Install } else { Call::Withdraw }, 1);
                    continue;
                }
                _ => continue,
            };
            let after = memory.counters();
            if changed.is_err() {
                let of = |c: &Uvmexp| (c.free, c.npages, c.physmem, c.reserved, c.retired, c.offline);
                prop_assert_eq!(of(&before), of(&after), "{:?}", changed);
            }
            prop_assert_eq!(after.isolated, 0);
            prop_assert_eq!(after.npages, after.free + busy.len() as u64);
            for page in 0..300 {
                let found = memory.state(0x1000 + page);
                let wanted = wanted(&pmem, fast, page);
                if busy.contains(&(0x1000 + page)) {
                    prop_assert_eq!((found, wanted), (Some(PageState::Allocated), Some(PageState::Free)));
                } else {
                    prop_assert_eq!(found, wanted, "page {:#x}", page);
                }
            }
        }
        let range = FrameRange::new(0x1000, 0x1000).unwrap();
        prop_assert!(memory.with(|uvm| uvm.segments().all(|s| range.covers(s.range()))));
    }
}
