//! Threads, drivers, closures and observers that do their worst on one manager, for as long as `PMEM_SECONDS` says:
//! `cargo test --release -p pmem-core --test hostile -- --ignored`.

use pmem_core::test_util::{Call, Hooked};
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Constraints, Error, Interest, Kinds, Manager, Mapping, Metric,
    Pmem, Prot, Region, Request, Scope, Subscription, Walk, Window, Windows,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ONE: Metric = Metric::new(1);

/// Numbers that look random, always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Machine {
    pmem: Pmem,
    ram: ArenaId,
    cpu: ArenaId,
    bus: ArenaId,
}

fn range(start: u64, len: u64) -> AddrRange {
    AddrRange::sized(start, len).unwrap()
}

fn machine() -> Machine {
    let mut manager = Manager::new();
    let [ram, cpu, bus] = [("ram", ArenaType::RAM), ("cpu", ArenaType::VIEW), ("bus", ArenaType::PCI)]
        .map(|(name, kind)| manager.create_arena(name, kind).unwrap());
    manager.prime(ram, range(0, 1 << 26), Attrs::ram()).unwrap();
    manager.prime(bus, range(1 << 31, 1 << 26), Attrs::device()).unwrap();
    manager.connect(cpu, ram, Mapping::window(range(1 << 32, 1 << 26), 0).unwrap(), ONE).unwrap();
    let window = Window::floating(range(1 << 31, 1 << 26), 1 << 16).unwrap();
    manager.connect(cpu, bus, Mapping::Windows(Windows::new([window]).unwrap()), ONE).unwrap();
    Machine { pmem: Pmem::from(manager), ram, cpu, bus }
}

/// A closure's or driver's panic, without the noise of a message.
fn panic(what: &'static str) -> ! {
    resume_unwind(Box::new(what))
}

/// One thread's verbs: whatever comes back must be an answer that a caller can expect.
fn work(machine: &Machine, dice: &mut Dice, held: &mut Vec<Region>, exchange: &Mutex<Vec<Region>>) {
    let Machine { pmem, ram, cpu, bus } = machine;
    let size = Request::new(dice.roll(1 << 13) + 1);
    let done = match dice.roll(14) {
        0..=2 => {
            pmem.alloc(if dice.roll(3) == 0 { *bus } else { *ram }, &size).map(|region| held.push(region))
        }
        3 => pmem.alloc(*cpu, &size.max_metric(ONE)).map(|region| held.push(region)),
        4 => held.last().map_or(Ok(()), |last| pmem.map(*cpu, last).map(drop)),
        5 => held.pop().map_or(Ok(()), |last| last.release().map(drop)),
        6 => held.last().map_or(Ok(()), |last| pmem.write(|m| m.relocate(last.id(), dice.roll(1 << 26)))),
        7 => held.last().map_or(Ok(()), |last| pmem.set(last, Attrs::ram().with_prot(Prot::READ))),
        8 => held.last().map_or(Ok(()), |last| {
            pmem.write(|m| {
                m.park(last.id())?;
                m.unpark(last.id(), Constraints::anywhere())
            })
        }),
        9 => {
            exchange.lock().unwrap().extend(held.pop());
            Ok(())
        }
        10 => {
            held.extend(exchange.lock().unwrap().pop());
            Ok(())
        }
        11 => {
            let taken = pmem.transaction(|t| {
                let a = t.alloc(*ram, &Request::new(0x100))?;
                let id = t.id(&a);
                let seen = t.map(*cpu, id)?;
                if dice.roll(3) == 0 { Err(Error::Abandoned) } else { Ok((a, seen)) }
            });
            taken.map(|((a, seen), mut made)| {
                held.extend([made.take(a), made.take(seen)].into_iter().flatten());
            })
        }
        12 => {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pmem.write(|m| -> Result<(), Error> {
                    m.alloc(*ram, &Request::new(0x10))?;
                    panic("closure")
                })
            }));
            assert!(!matches!(caught, Ok(Ok(()))), "a closure that panics does not return");
            Ok(())
        }
        _ => {
            let gone = held.pop();
            let _ = catch_unwind(AssertUnwindSafe(move || {
                let _gone = gone;
                panic("unwinding");
            }));
            Ok(())
        }
    };
    if let Err(error) = done {
        let expected = matches!(
            error,
            Error::Refused { .. }
                | Error::Failed { .. }
                | Error::NoSpace { .. }
                | Error::Occupied { .. }
                | Error::NoRoute { .. }
                | Error::WindowBlocked { .. }
                | Error::NotPassed { .. }
                | Error::IsAlias(_)
                | Error::IsParked(_)
                | Error::NotParked(_)
                | Error::Condemned(_)
                | Error::NotHeld { .. }
                | Error::Abandoned
                | Error::Prot { .. }
                | Error::AliasAttrs { .. }
                | Error::SpaceAttrs { .. }
        );
        assert!(expected, "{error}");
    }
    held.truncate(32);
}

#[test]
#[ignore = "a minute, or PMEM_SECONDS"]
fn hostile_threads_leave_a_sound_model() {
    let seconds = std::env::var("PMEM_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    let machine = Arc::new(machine());
    let stop = Arc::new(AtomicBool::new(false));
    let (calm, pmem) = (Arc::new(AtomicBool::new(false)), machine.pmem.clone());
    let register = |name: &str, scope, hook: Box<dyn FnMut(Call) + Send>| {
        let everything = Interest { kinds: Kinds::all(), ..Interest::default() };
        let subscription = Subscription::new([scope]).interest(everything);
        pmem.register(Box::new(Hooked::new(name, hook)), subscription).unwrap()
    };
    let mut dice = Dice(1);
    register(
        "sleeper",
        Scope::Arena(machine.bus),
        Box::new(move |_| {
            if dice.roll(40) == 0 {
                std::thread::sleep(Duration::from_micros(dice.roll(300)));
            }
        }),
    );
    let (mut dice, inside, ram) = (Dice(2), machine.pmem.clone(), machine.ram);
    register(
        "writer",
        Scope::Everything,
        Box::new(move |_| {
            if dice.roll(20) == 0 {
                assert_eq!(inside.alloc(ram, &Request::new(1)).err(), Some(Error::InCallback));
            }
        }),
    );
    let (mut dice, at_ease) = (Dice(3), Arc::clone(&calm));
    register(
        "panicker",
        Scope::View(machine.cpu),
        Box::new(move |call| {
            if dice.roll(200) == 0 && !at_ease.load(Ordering::Relaxed) && !matches!(call, Call::Attach) {
                panic("driver");
            }
        }),
    );
    // Every change once and in order; what it says of its moment is that moment's.
    let (last, told) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (newest, count) = (Arc::clone(&last), Arc::clone(&told));
    pmem.observe(move |event| {
        let before = newest.swap(event.sequence, Ordering::Relaxed);
        assert!(before == 0 || event.sequence == before + 1, "{before}, then {}", event.sequence);
        assert!(event.state().is_none_or(|state| state.sequence() == event.sequence));
        count.fetch_add(1, Ordering::Relaxed);
    });
    let exchange = Arc::new(Mutex::new(Vec::new()));
    let mut threads = Vec::new();
    for t in 0..6 {
        let (machine, stop, exchange) = (Arc::clone(&machine), Arc::clone(&stop), Arc::clone(&exchange));
        threads.push(std::thread::spawn(move || {
            let (mut dice, mut held) = (Dice(100 + t), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                work(&machine, &mut dice, &mut held, &exchange);
            }
        }));
    }
    for t in 0..2 {
        let (machine, stop) = (Arc::clone(&machine), Arc::clone(&stop));
        threads.push(std::thread::spawn(move || {
            let (mut dice, mut reader, mut walk, mut newest) =
                (Dice(200 + t), machine.pmem.reader(), Walk::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                let state = reader.state();
                assert!(state.sequence() >= newest, "time goes back");
                newest = state.sequence();
                let _ = state.resolve_in(&mut walk, machine.cpu, (1 << 32) + dice.roll(1 << 26));
                if dice.roll(200) == 0 {
                    assert_eq!(state.check(), Ok(()));
                }
            }
        }));
    }
    let (guest, at_end) = (machine.pmem.clone(), Arc::clone(&stop));
    let cpu = machine.cpu;
    threads.push(std::thread::spawn(move || {
        while !at_end.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            let observer = guest.observe(|_| ());
            let subscription = Subscription::new([Scope::View(cpu)]);
            if let Ok(id) = guest.register(Box::new(Hooked::new("guest", |_| ())), subscription) {
                let _ = guest.write(|m| m.deregister(id));
            }
            assert!(guest.unobserve(observer));
            let _ = guest.write(|m| Ok(m.reclaim()));
        }
    }));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        let before = pmem.load().sequence();
        std::thread::sleep(Duration::from_secs(2));
        assert_ne!(pmem.load().sequence(), before, "nothing moves any more");
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    calm.store(true, Ordering::Relaxed);
    exchange.lock().unwrap().clear();
    let left = pmem.write(|m| {
        let drivers: Vec<_> = m.drivers().map(|(id, ..)| id).collect();
        drivers.into_iter().try_for_each(|id| m.deregister(id).map(drop))?;
        m.reclaim();
        assert_eq!((m.check(), m.condemned().len()), (Ok(()), 0));
        Ok(m.regions().count())
    });
    // What panicking closures made stays made; everything else has been let go of.
    assert!(told.load(Ordering::Relaxed) > 0 && left.is_ok());
    assert_eq!(last.load(Ordering::Relaxed), pmem.load().sequence());
}
