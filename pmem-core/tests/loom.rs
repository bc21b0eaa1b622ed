//! The shared handle under every interleaving that loom finds: publication, the drop queue, registration.
//!
//! `cargo xtask loom`
#![cfg(loom)]

use loom::thread;
use pmem_core::test_util::{Log, Quiet, Tracer};
use pmem_core::{AddrRange, ArenaId, ArenaType, Attrs, Error, Pmem, Request, Scope, Subscription};

fn machine() -> (Pmem, ArenaId) {
    let pmem = Pmem::new();
    let arena = pmem
        .write(|manager| {
            let arena = manager.create_arena("RAM", ArenaType::RAM)?;
            manager.prime(arena, AddrRange::sized(0, 0x10000)?, Attrs::ram())?;
            Ok::<_, Error>(arena)
        })
        .unwrap();
    (pmem, arena)
}

fn regions(pmem: &Pmem, arena: ArenaId) -> usize {
    pmem.load().arena(arena).unwrap().regions().count()
}

#[test]
fn a_reader_sees_whole_changes_only() {
    loom::model(|| {
        let (pmem, arena) = machine();
        let writer = pmem.clone();
        let thread = thread::spawn(move || {
            // Two regions in one change: never one of them alone.
            let (_, reserved) = writer
                .transaction(|tx| {
                    tx.alloc(arena, &Request::new(0x100))?;
                    tx.alloc(arena, &Request::new(0x100))?;
                    Ok(())
                })
                .unwrap();
            reserved
        });
        let first = pmem.load();
        let second = pmem.load();
        let count = |state: &pmem_core::State| state.arena(arena).unwrap().regions().count();
        assert!(count(&first) == 0 || count(&first) == 2);
        assert!(second.sequence() >= first.sequence(), "publication goes forward");
        let reserved = thread.join().unwrap();
        assert_eq!(regions(&pmem, arena), 2);
        drop(reserved);
        assert_eq!(regions(&pmem, arena), 0, "what was not taken is released");
    });
}

#[test]
fn no_dropped_region_is_lost_whoever_holds_the_writer() {
    loom::model(|| {
        let (pmem, arena) = machine();
        let region = pmem.alloc(arena, &Request::new(0x100)).unwrap();
        let thread = thread::spawn(move || drop(region));
        let other = pmem.alloc(arena, &Request::new(0x100)).unwrap();
        thread.join().unwrap();
        assert_eq!(regions(&pmem, arena), 1, "the queue is empty when nobody is at it any more");
        drop(other);
        assert_eq!(regions(&pmem, arena), 0);
    });
}

#[test]
fn of_two_clones_dropped_at_once_one_gives_the_reference_up() {
    loom::model(|| {
        let (pmem, arena) = machine();
        let region = pmem.alloc(arena, &Request::new(0x100)).unwrap();
        let clone = region.clone();
        let thread = thread::spawn(move || drop(clone));
        drop(region);
        thread.join().unwrap();
        assert_eq!(regions(&pmem, arena), 0);
    });
}

#[test]
fn a_driver_hears_of_every_change_after_it_attached() {
    loom::model(|| {
        let (pmem, arena) = machine();
        let log = Log::default();
        let (registrar, traced) = (pmem.clone(), log.clone());
        let thread = thread::spawn(move || {
            let driver = Tracer::around(Quiet::new("d"), &traced);
            registrar.register(Box::new(driver), Subscription::new([Scope::Everything])).unwrap();
        });
        let region = pmem.alloc(arena, &Request::new(0x100)).unwrap();
        thread.join().unwrap();
        let calls = log.take();
        // Either it attached to a state that has the region, or it took part in the change.
        match &calls[..] {
            [attach] => assert_eq!(attach, "d: attach"),
            all => assert_eq!(all, ["d: attach", "d: prepare", "d: withdraw", "d: install"]),
        }
        drop(region);
    });
}
