//! Memory that threads share.

use pmem_uvm::{
    Answer, Cancel, Event, FrameRange, HotplugError, MoveError, NotifierKey, PageListRequest, PageOwner,
    PageRequest, PageState, Plug, SharedUvm, Uvm, UvmError, Wait, Zone,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const BLOCK: u64 = 512;

fn range(start: u64, count: u64) -> FrameRange {
    FrameRange::new(start, count).unwrap()
}

fn shared(pages: u64) -> SharedUvm {
    let mut uvm = Uvm::default();
    uvm.plug(&Plug::new(range(0, pages))).unwrap();
    SharedUvm::new(uvm, BLOCK).unwrap()
}

#[test]
fn a_wait_ends_by_pages_time_or_cancellation() {
    let memory = shared(64);
    let all = PageListRequest::new(64).unwrap();
    let list = memory.pglistalloc(&all, &Wait::no()).unwrap();
    assert!(matches!(memory.pglistalloc(&all, &Wait::no()), Err(UvmError::NoPages { .. })));
    let begun = Instant::now();
    let short = Wait::at_most(Duration::from_millis(30));
    let failed = memory.uvmexp().failed;
    assert_eq!(memory.pglistalloc(&all, &short), Err(UvmError::TimedOut));
    assert_eq!(memory.uvmexp().failed, failed + 1, "however often it was tried");
    assert!(begun.elapsed() >= Duration::from_millis(30));
    let cancel = Cancel::default();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| memory.pglistalloc(&all, &Wait::default().until(&cancel)));
        thread::sleep(Duration::from_millis(20));
        cancel.cancel();
        assert_eq!(waiter.join().unwrap(), Err(UvmError::Cancelled));
        let waiter = scope.spawn(|| memory.pglistalloc(&all, &Wait::default()));
        thread::sleep(Duration::from_millis(20));
        memory.with(|uvm| uvm.pglistfree(list)).unwrap();
        assert_eq!(waiter.join().unwrap().unwrap().npages(), 64);
    });
}

#[test]
fn a_callback_cannot_wait_for_itself() {
    let memory = shared(BLOCK);
    memory.hotplug(|uvm, hotplug| hotplug.add(uvm, &Plug::new(range(BLOCK, BLOCK)))).unwrap().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (inner, log) = (memory.clone(), seen.clone());
    let callback = move |uvm: &mut Uvm, _: &Event| {
        let key = NotifierKey(2);
        let again = inner.hotplug(|_, hotplug| {
            hotplug.register_memory(key, 0, Box::new(|_: &mut Uvm, _: &Event| Answer::Ok))
        });
        log.lock().unwrap().push(again.map(|_| ()).unwrap_err());
        log.lock().unwrap().push(inner.online_mems().map(|_| ()).unwrap_err());
        log.lock().unwrap().push(inner.with(|_| ()).unwrap_err());
        assert!(uvm.pagealloc(&PageRequest::new()).is_ok(), "what it is given, it may use");
        Answer::Ok
    };
    memory
        .hotplug(|_, hotplug| hotplug.register_memory(NotifierKey(1), 0, Box::new(callback)))
        .unwrap()
        .unwrap();
    memory.hotplug(|uvm, hotplug| hotplug.online(uvm, range(BLOCK, BLOCK), Zone::Normal)).unwrap().unwrap();
    assert_eq!(*seen.lock().unwrap(), [HotplugError::InCallback; 6]);
}

#[test]
fn nothing_goes_while_somebody_keeps_it() {
    let memory = shared(2 * BLOCK);
    let kept = memory.online_mems().unwrap();
    assert_eq!(memory.hotplug(|_, _| ()).unwrap_err().errno(), 35, "it would wait for itself");
    assert!(memory.online_mems().is_err());
    let gone = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let offline = memory.hotplug(|uvm, hotplug| {
                hotplug.offline(uvm, range(0, BLOCK), &mut |_, _| Err(MoveError::Never))
            });
            gone.store(true, Ordering::SeqCst);
            offline.unwrap().unwrap();
        });
        thread::sleep(Duration::from_millis(20));
        assert!(!gone.load(Ordering::SeqCst));
        assert_eq!(memory.uvmexp().offline, 0);
        drop(kept);
    });
    assert_eq!(memory.uvmexp().offline, BLOCK);
}

#[test]
fn memory_comes_and_goes_where_nobody_keeps_it() {
    let memory = shared(2 * BLOCK);
    let kept = memory.online_mems().unwrap();
    let refused = memory.with(|uvm| {
        let bad = range(BLOCK, BLOCK);
        [
            uvm.plug(&Plug::new(range(4 * BLOCK, BLOCK))).map(|_| ()),
            uvm.unplug(bad),
            uvm.online(bad),
            uvm.offline(bad, &mut |_, _| Err(MoveError::Never)),
        ]
    });
    assert_eq!(refused, Ok([Err(UvmError::Kept); 4]));
    drop(kept);
    memory.hotplug(|uvm, _| uvm.unplug(range(BLOCK, BLOCK))).unwrap().unwrap();
}

#[test]
fn a_processor_goes_wherever_it_is_dropped() {
    let memory = shared(64);
    let mut processor = memory.processor(0, 32).unwrap();
    processor.pagealloc(&PageRequest::new()).unwrap();
    assert_eq!(memory.uvmexp().cached, 15);
    memory.with(|_| drop(processor)).unwrap();
    assert_eq!(memory.with(|uvm| (uvm.drain_caches(), uvm.drain_caches())), Ok((15, 0)));
    assert_eq!((memory.uvmexp().cached, memory.uvmexp().free), (0, 63));
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let memory = shared(64);
    let before = memory.snapshot();
    memory.hotplug(|uvm, _| uvm.unplug(range(0, 32))).unwrap().unwrap();
    assert_eq!(memory.snapshot().find(5).map(|(_, offset)| offset), None);
    assert_eq!(before.find(5).map(|(segment, offset)| (segment.range(), offset)), Some((range(0, 64), 5)));
    assert_eq!(
        memory.snapshot().find(40).map(|(segment, offset)| (segment.range(), offset)),
        Some((range(32, 32), 8))
    );
}

#[test]
fn caches_hand_out_and_give_way() {
    let memory = shared(100);
    let mut one = memory.processor(0, 32).unwrap();
    let mut two = memory.processor(0, 32).unwrap();
    let page = one.pagealloc(&PageRequest::new()).unwrap();
    two.pagealloc(&PageRequest::new()).unwrap();
    assert_eq!((memory.uvmexp().free, memory.uvmexp().cached), (98, 30), "what is cached is free");
    let rest: Vec<u64> = (0..98).map(|_| two.pagealloc(&PageRequest::new()).unwrap()).collect();
    assert_eq!((memory.uvmexp().free, memory.uvmexp().cached), (0, 0), "one gets at what the other has");
    assert!(two.pagealloc(&PageRequest::new()).is_err());
    rest.into_iter().for_each(|page| one.pagefree(page).unwrap());
    one.pagefree(page).unwrap();
    assert!(matches!(one.pagefree(page), Err(UvmError::Page { .. })), "freed twice");
    assert_eq!(memory.uvmexp().free, 99);
    drop(one);
    assert_eq!(memory.uvmexp().cached, 0);
}

#[test]
fn two_threads_race_online_and_remove() {
    for round in 0..50 {
        let memory = shared(BLOCK);
        let block = range(BLOCK, BLOCK);
        memory.hotplug(|uvm, hotplug| hotplug.add(uvm, &Plug::new(block))).unwrap().unwrap();
        let barrier = Barrier::new(2);
        let (online, removed) = thread::scope(|scope| {
            let online = scope.spawn(|| {
                barrier.wait();
                memory.hotplug(|uvm, hotplug| hotplug.online(uvm, block, Zone::Normal)).unwrap()
            });
            barrier.wait();
            let removed = memory.hotplug(|uvm, hotplug| hotplug.remove(uvm, block)).unwrap();
            (online.join().unwrap(), removed)
        });
        let counters = memory.uvmexp();
        match (online, removed) {
            (Ok(()), Err(HotplugError::State { .. })) => assert_eq!(counters.npages, 2 * BLOCK),
            (Err(HotplugError::NoBlock(_)), Ok(())) => assert_eq!(counters.physmem, BLOCK),
            other => panic!("round {round}: {other:?}"),
        }
    }
}

/// Hands out and frees pages at random, and checks that each is its own.
fn churn(memory: &SharedUvm, me: u64, stop: &AtomicBool, handed: &AtomicU64) {
    let mut processor = memory.processor(0, 64).unwrap();
    let mut mine: Vec<u64> = Vec::new();
    let mut random = 0x9e37_79b9_7f4a_7c15 ^ me;
    while !stop.load(Ordering::Relaxed) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if mine.len() < 400 && random & 1 == 0 {
            let owner = PageOwner::Object { key: me, offset: mine.len() as u64 };
            if let Ok(page) = processor.pagealloc(&PageRequest::new().owner(owner)) {
                handed.fetch_add(1, Ordering::Relaxed);
                mine.push(page);
            }
        } else if !mine.is_empty() {
            let page = mine.swap_remove(random as usize % mine.len());
            let info = processor.page(page).expect("a page that is handed out is there");
            assert_eq!(info.state, PageState::Allocated);
            assert!(matches!(info.owner, PageOwner::Object { key, .. } if key == me), "{page:#x}: {info:?}");
            processor.pagefree(page).unwrap();
        }
    }
    mine.into_iter().for_each(|page| processor.pagefree(page).unwrap());
}

/// Plugs, unplugs, takes offline and captures at random beside it.
fn disturb(memory: &SharedUvm, stop: &AtomicBool) -> u64 {
    let mut changes = 0;
    let mut random = 0x1234_5678_9abc_def1u64;
    while !stop.load(Ordering::Relaxed) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let at = 4 + random % 8;
        let part = range(at * BLOCK + random % 100, 1 + random % 300);
        let block = range(at * BLOCK, BLOCK);
        let stay = &mut |_: u64, _: u64| Err(MoveError::Never);
        changes += u64::from(match random >> 32 & 3 {
            0 => memory.hotplug(|uvm, _| uvm.plug(&Plug::new(part)).is_ok()).unwrap(),
            1 => memory.hotplug(|uvm, _| uvm.unplug(part).is_ok()).unwrap(),
            2 => memory.hotplug(|uvm, _| uvm.unplug(block).is_ok()).unwrap(),
            _ => memory
                .with(|uvm| {
                    uvm.capture(part, stay)
                        .map(|()| part.frames().for_each(|f| uvm.pagefree(f).unwrap()))
                        .is_ok()
                })
                .unwrap(),
        });
    }
    changes
}

fn read(memory: &SharedUvm, stop: &AtomicBool) -> u64 {
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let snapshot = memory.snapshot();
        for frame in (0..12 * BLOCK).step_by(37) {
            if let Some((segment, offset)) = snapshot.find(frame) {
                assert_eq!(segment.range().start() + offset, frame);
                assert!(snapshot.page(frame).is_some());
                reads += 1;
            }
        }
        let counters = memory.uvmexp();
        assert!(counters.cached <= counters.physmem);
    }
    reads
}

/// For `PMEM_RACE_SECONDS`, else one second.
#[test]
fn no_page_is_lost_in_a_race() {
    let seconds = std::env::var("PMEM_RACE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let memory = shared(4 * BLOCK);
    let (stop, handed) = (AtomicBool::new(false), AtomicU64::new(0));
    let (changes, reads) = thread::scope(|scope| {
        for me in 1..=2 {
            let (memory, stop, handed) = (&memory, &stop, &handed);
            scope.spawn(move || churn(memory, me, stop, handed));
        }
        let changes = scope.spawn(|| disturb(&memory, &stop));
        let reads = scope.spawn(|| read(&memory, &stop));
        thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::SeqCst);
        (changes.join().unwrap(), reads.join().unwrap())
    });
    let counters = memory.uvmexp();
    memory
        .with(|uvm| {
            uvm.drain_caches();
            let plugged: u64 = uvm.segments().map(|s| s.range().count()).sum();
            let free = uvm
                .segments()
                .flat_map(|s| s.range().frames())
                .filter(|f| uvm.page(*f).unwrap().state() == PageState::Free);
            assert_eq!(free.count() as u64, plugged, "every page came back");
            assert_eq!((counters.free, counters.npages, counters.physmem), (plugged, plugged, plugged));
            assert_eq!((uvm.free_on(0, 0), counters.cached), (plugged, 0));
        })
        .unwrap();
    println!(
        "{seconds} s: {} pages handed out, {changes} changes, {reads} look-ups; counters exact",
        handed.into_inner()
    );
}
