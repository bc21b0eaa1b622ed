//! The shared handle: regions that count themselves, callbacks, observers, readers beside a writer.
#![cfg(not(loom))]

use pmem_core::test_util::{Call, Faults, Faulty, Hooked, Quiet};
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Error, Mapping, Metric, Pmem, Region, Released, Request, Scope,
    Subscription, Usage,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

fn machine() -> (Pmem, ArenaId) {
    let pmem = Pmem::new();
    let arena = pmem
        .write(|manager| {
            let arena = manager.create_arena("RAM", ArenaType::RAM)?;
            manager.prime(arena, AddrRange::sized(0, 0x100_0000)?, Attrs::ram())?;
            Ok(arena)
        })
        .unwrap();
    (pmem, arena)
}

fn count(pmem: &Pmem, arena: ArenaId) -> usize {
    pmem.load().arena(arena).unwrap().regions().count()
}

#[test]
fn a_region_lives_as_long_as_its_last_handle() {
    let (pmem, arena) = machine();
    let region = pmem.alloc(arena, &Request::new(0x1000)).unwrap();
    let clone = region.clone();
    assert_eq!(region.at(&pmem.load()).unwrap().0, AddrRange::sized(0, 0x1000).unwrap());
    drop(region);
    assert_eq!(count(&pmem, arena), 1);
    drop(clone);
    assert_eq!(count(&pmem, arena), 0);
}

#[test]
fn a_released_region_tells_what_became_of_it() {
    let (pmem, arena) = machine();
    let region = pmem.alloc(arena, &Request::new(0x1000)).unwrap();
    let clone = region.clone();
    assert_eq!(region.release(), Ok(Released::Held { refs: 1 }));
    assert_eq!(clone.release(), Ok(Released::Gone));
    let faults = Faults::default();
    let driver = Faulty::around(Quiet::new("d"), &faults);
    pmem.register(Box::new(driver), Subscription::new([Scope::Everything])).unwrap();
    let region = pmem.alloc(arena, &Request::new(0x1000)).unwrap();
    faults.arm(Call::Prepare, 1);
    assert!(matches!(region.release(), Ok(Released::Condemned { .. })));
}

#[test]
fn a_mapped_alias_keeps_its_target() {
    let (pmem, arena) = machine();
    let cpu = pmem.write(|m| m.create_arena("cpu", ArenaType::VIEW)).unwrap();
    let window = Mapping::window(AddrRange::sized(0x8000_0000, 0x100_0000).unwrap(), 0).unwrap();
    pmem.write(|m| m.connect(cpu, arena, window, Metric::new(1))).unwrap();
    let region = pmem.alloc(arena, &Request::new(0x1000)).unwrap();
    let alias = pmem.map(cpu, &region).unwrap();
    drop(region);
    assert_eq!(count(&pmem, arena), 1);
    assert_eq!(pmem.load().resolve(cpu, 0x8000_0004).accepted().unwrap().addr, 4);
    drop(alias);
    assert_eq!((count(&pmem, arena), count(&pmem, cpu)), (0, 0));
}

#[test]
fn a_handle_follows_a_region_that_moves() {
    let (pmem, arena) = machine();
    let region = pmem.alloc(arena, &Request::new(0x1000)).unwrap();
    let before = pmem.load();
    pmem.write(|m| m.relocate(region.id(), 0x8000)).unwrap();
    assert_eq!(region.at(&pmem.load()).unwrap().0.start(), 0x8000);
    assert_eq!(region.at(&before).unwrap().0.start(), 0, "an old snapshot stays as it was");
}

#[test]
fn a_transaction_gives_its_regions_at_commit_and_keeps_released_handles_on_failure() {
    let (pmem, arena) = machine();
    let old = pmem.alloc(arena, &Request::new(0x1000)).unwrap();
    let result = pmem.transaction(|tx| {
        tx.release(&old)?;
        tx.alloc(arena, &Request::new(u64::MAX))
    });
    assert!(matches!(result, Err(Error::NoSpace { .. })));
    assert!(old.at(&pmem.load()).is_some());
    let (pending, mut reserved) = pmem
        .transaction(|tx| {
            tx.release(&old)?;
            let new = tx.alloc(arena, &Request::exactly(AddrRange::sized(0, 0x1000)?))?;
            let id = tx.id(&new);
            tx.plan().set(id, Attrs::ram().with_usage(Usage::DMABUF))?;
            Ok(new)
        })
        .unwrap();
    let new = reserved.take(pending).unwrap();
    assert_eq!(new.at(&pmem.load()).unwrap().1.attrs.usage(), Usage::DMABUF);
    drop(old);
    assert_eq!(count(&pmem, arena), 1, "a spent handle gives up nothing more");
}

#[test]
fn a_callback_that_writes_is_refused_and_one_that_drops_is_served_afterwards() {
    let (pmem, arena) = machine();
    let mut kept = Some(pmem.alloc(arena, &Request::new(0x1000)).unwrap());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (handle, said) = (pmem.clone(), Arc::clone(&seen));
    let meddler = Hooked::new("meddler", move |call| {
        if call == Call::Prepare {
            let refused = handle.alloc(arena, &Request::new(1)).map(drop);
            said.lock().unwrap().push(format!("{refused:?}, reads {}", handle.load().sequence()));
            drop(kept.take());
        }
    });
    pmem.register(Box::new(meddler), Subscription::new([Scope::Arena(arena)])).unwrap();
    let sequence = pmem.load().sequence();
    let region = pmem.alloc(arena, &Request::new(0x1000)).unwrap();
    assert_eq!(seen.lock().unwrap()[0], format!("Err(InCallback), reads {sequence}"));
    assert_eq!(count(&pmem, arena), 1, "what the callback dropped is gone");
    drop(region);
}

#[test]
fn observers_hear_of_changes_in_order_and_may_change_the_model() {
    let (pmem, arena) = machine();
    let (sender, receiver) = mpsc::channel();
    let handle = pmem.clone();
    let kept: Mutex<Option<Region>> = Mutex::new(None);
    pmem.observe(move |event| {
        sender.send(event.sequence).unwrap();
        let mut kept = kept.lock().unwrap();
        if kept.is_none() {
            *kept = Some(handle.alloc(arena, &Request::new(1)).unwrap());
        }
    });
    let first = pmem.load().sequence();
    pmem.write(|m| m.name_arena(arena, "memory")).unwrap();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [first + 1, first + 2]);
}

#[test]
fn no_change_is_kept_from_observers_however_many_there_are_at_once() {
    let (pmem, arena) = machine();
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    pmem.observe(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    pmem.write(|m| {
        for _ in 0..1000 {
            let region = m.alloc(arena, &Request::new(1))?;
            m.decref(region)?;
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(heard.load(Ordering::SeqCst), 2000);
}

#[test]
fn an_observer_hears_nothing_that_was_published_before_it_came() {
    let (pmem, arena) = machine();
    let (sender, receiver) = mpsc::channel();
    let (handle, mut done) = (pmem.clone(), false);
    pmem.observe(move |_| {
        if !core::mem::replace(&mut done, true) {
            handle.write(|m| m.name_arena(arena, "published, not yet delivered")).unwrap();
            let sender = sender.clone();
            handle.observe(move |event| sender.send(event.sequence).unwrap());
        }
    });
    let first = pmem.load().sequence();
    pmem.write(|m| m.name_arena(arena, "memory")).unwrap();
    pmem.write(|m| m.name_arena(arena, "RAM")).unwrap();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [first + 3]);
}

#[test]
fn a_transaction_may_let_go_of_what_it_made() {
    let (pmem, arena) = machine();
    let made = pmem.transaction(|t| {
        let kept = t.alloc(arena, &Request::new(0x100))?;
        let gone = t.alloc(arena, &Request::new(0x100))?;
        let id = t.id(&gone);
        t.plan().decref(id)?;
        Ok((kept, gone))
    });
    let ((kept, gone), mut reserved) = made.unwrap();
    assert!(reserved.take(gone).is_none());
    let kept = reserved.take(kept).unwrap();
    assert_eq!(count(&pmem, arena), 1);
    drop(kept);
    assert_eq!(count(&pmem, arena), 0);
}

#[test]
fn a_handle_gives_up_no_more_than_its_own_reference() {
    let (pmem, arena) = machine();
    let region = pmem.alloc(arena, &Request::new(0x100)).unwrap();
    let id = region.id();
    let (other, clone) = (pmem.handle(id).unwrap(), region.clone());
    let twice = pmem.transaction(|t| {
        t.release(&region)?;
        t.release(&clone)
    });
    assert_eq!(twice.err(), Some(Error::Spent(id)));
    assert_eq!(pmem.write(|m| m.refs(id)), Ok(2), "all or nothing");
    pmem.transaction(|t| t.release(&region)).unwrap();
    assert_eq!(pmem.transaction(|t| t.release(&clone)).err(), Some(Error::Spent(id)));
    drop(clone);
    assert_eq!(region.release(), Err(Error::Spent(id)));
    assert_eq!(pmem.write(|m| m.refs(id)), Ok(1));
    drop(other);
    assert_eq!(count(&pmem, arena), 0);
}

#[test]
fn a_mesh_of_buses_is_not_walked_once_per_path() {
    let (pmem, ram) = machine();
    let nodes: Vec<ArenaId> =
        (0..16).map(|_| pmem.write(|m| m.create_arena("node", ArenaType::VIEW)).unwrap()).collect();
    for (i, left) in nodes.iter().enumerate() {
        for right in &nodes[i + 1..] {
            pmem.write(|m| m.connect(*left, *right, Mapping::Identity, Metric::new(10))).unwrap();
        }
    }
    pmem.write(|m| m.connect(nodes[15], ram, Mapping::Identity, Metric::new(1))).unwrap();
    let place = pmem.load().resolve(nodes[0], 0x100).accepted().unwrap();
    assert_eq!((place.arena, place.cost), (ram, Metric::new(11)));
    assert!(pmem.load().resolve(nodes[0], 0x1000_0000).accepted().is_none());
    let view = pmem.load().view(nodes[0]);
    assert_eq!(
        view.iter().map(|piece| (piece.seen.len(), piece.cost.get())).collect::<Vec<_>>(),
        [(0x100_0000, 11)]
    );
}

#[test]
fn a_slow_driver_does_not_hold_readers_up() {
    let (pmem, arena) = machine();
    let (entered, leave) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (told, waits) = (Arc::clone(&entered), Arc::clone(&leave));
    let slow = Hooked::new("slow", move |call| {
        if call == Call::Install {
            told.store(true, Ordering::SeqCst);
            while !waits.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        }
    });
    pmem.register(Box::new(slow), Subscription::new([Scope::Everything])).unwrap();
    let mut reader = pmem.reader();
    thread::scope(|scope| {
        let writer = scope.spawn(|| pmem.alloc(arena, &Request::new(0x1000)).unwrap());
        while !entered.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        // The driver is in the middle of it: readers see the state before, and do not wait.
        assert_eq!(reader.state().arena(arena).unwrap().regions().count(), 0);
        leave.store(true, Ordering::SeqCst);
        let region = writer.join().unwrap();
        assert_eq!(reader.state().arena(arena).unwrap().regions().count(), 1);
        drop(region);
    });
}

/// Threads that allocate, map, move and drop, beside readers that check what they see.
#[test]
fn threads_keep_the_model_sound() {
    const ROUNDS: usize = 120;
    let (pmem, arena) = machine();
    let cpu = pmem.write(|m| m.create_arena("cpu", ArenaType::VIEW)).unwrap();
    let window = Mapping::window(AddrRange::sized(0x8000_0000, 0x100_0000).unwrap(), 0).unwrap();
    pmem.write(|m| m.connect(cpu, arena, window, Metric::new(1))).unwrap();
    let checked = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4u64)
            .map(|seed| {
                let pmem = pmem.clone();
                scope.spawn(move || {
                    let mut kept: Vec<Region> = Vec::new();
                    let mut random = seed * 0x9e37_79b9 + 1;
                    for _ in 0..ROUNDS {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        match random >> 60 {
                            0..=6 => {
                                kept.extend(
                                    pmem.alloc(arena, &Request::new((random >> 40 & 0xfff) + 1)).ok(),
                                );
                            }
                            7..=9 => {
                                let region = kept.last().cloned();
                                kept.extend(region.and_then(|region| pmem.map(cpu, &region).ok()));
                            }
                            10 => {
                                let region = kept.first();
                                region.map(|r| {
                                    pmem.write(|m| m.relocate(r.id(), random >> 42 & 0xf_f000)).ok()
                                });
                            }
                            _ if kept.is_empty() => {}
                            _ => drop(kept.swap_remove((random >> 33) as usize % kept.len())),
                        }
                    }
                })
            })
            .collect();
        let mut reader = pmem.reader();
        let (checked, done) = (&checked, &done);
        scope.spawn(move || {
            let mut last = 0;
            while !done.load(Ordering::SeqCst) {
                let state = reader.state();
                assert!(state.sequence() >= last);
                last = state.sequence();
                assert_eq!(state.check(), Ok(()));
                checked.fetch_add(1, Ordering::SeqCst);
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::SeqCst);
    });
    assert!(checked.load(Ordering::SeqCst) > 0);
    assert_eq!((count(&pmem, arena), count(&pmem, cpu)), (0, 0), "every handle was dropped");
    pmem.write(|m| m.check().map_err(|broken| panic!("{broken}"))).unwrap();
}

#[test]
fn what_a_panicking_closure_changed_and_dropped_is_told_at_once() {
    let (pmem, ram) = machine();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    pmem.observe(move |event| kept.lock().unwrap().push(event.sequence));
    let handle = pmem.alloc(ram, &Request::new(0x1000)).unwrap();
    let before = pmem.load().sequence();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pmem.write(|manager| -> Result<(), Error> {
            let _dropped = handle;
            manager.alloc(ram, &Request::new(0x1000))?;
            std::panic::resume_unwind(Box::new("closure"))
        })
    }));
    assert!(result.is_err());
    // One region made, one let go of; both published and told, without another write.
    assert_eq!(pmem.load().sequence(), before + 2);
    assert_eq!(heard.lock().unwrap().last(), Some(&(before + 2)));
    assert_eq!(count(&pmem, ram), 1);
}

#[test]
fn an_observer_is_told_nothing_more_once_it_is_taken_out() {
    let (pmem, ram) = machine();
    let heard = Arc::new(Mutex::new(0));
    let kept = Arc::clone(&heard);
    let observer = pmem.observe(move |_| *kept.lock().unwrap() += 1);
    // One that takes itself out.
    let (handle, own) = (pmem.clone(), Arc::new(Mutex::new(None)));
    let (id, once) = (Arc::clone(&own), Arc::new(Mutex::new(0)));
    let told = Arc::clone(&once);
    *own.lock().unwrap() = Some(pmem.observe(move |_| {
        *told.lock().unwrap() += 1;
        assert!(handle.unobserve(id.lock().unwrap().unwrap()));
    }));
    let _kept = pmem.alloc(ram, &Request::new(0x1000)).unwrap();
    assert!(pmem.unobserve(observer));
    assert!(!pmem.unobserve(observer));
    let _more = pmem.alloc(ram, &Request::new(0x1000)).unwrap();
    assert_eq!((*heard.lock().unwrap(), *once.lock().unwrap()), (1, 1));
    assert!(!pmem.unobserve(own.lock().unwrap().unwrap()));
}

#[test]
fn an_event_has_the_state_of_its_moment() {
    let (pmem, ram) = machine();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    pmem.observe(move |event| {
        let state = event.state().unwrap();
        kept.lock().unwrap().push((
            event.sequence,
            state.sequence(),
            state.arena(ram).unwrap().regions().count(),
        ));
    });
    let before = pmem.load().sequence();
    pmem.write(|manager| {
        for _ in 0..3 {
            manager.alloc(ram, &Request::new(0x1000))?;
        }
        Ok(())
    })
    .unwrap();
    let expected: Vec<_> = (1..=3).map(|i| (before + i, before + i, i as usize)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}
