//! The shared handle: what publishing adds to a change, and readers beside a writer.

use crate::measure::{Figure, ROUNDS, each, percentile, run_for};
use crate::report::Line;
use crate::workload::{Layout, Rng, space};
use pmem_core::test_util::{Call, Hooked};
use pmem_core::{ArenaId, ArenaType, Attrs, Manager, Pmem, Region, RegionId, Request, Scope, Subscription};
use pmem_space::AddrRange;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SUITE: &str = "shared";

/// Builds a manager of `arenas` arenas, one of which holds `n` regions.
fn manager(arenas: usize, n: usize) -> (Manager, ArenaId, Vec<RegionId>) {
    let mut pmem = Manager::new();
    let arena = pmem.create_arena("RAM", ArenaType::RAM).expect("nothing is in the way");
    pmem.prime(arena, space(n), Attrs::ram()).expect("nothing is in the way");
    for _ in 1..arenas {
        pmem.create_arena("other", ArenaType::RAM).expect("nothing is in the way");
    }
    let layout = Layout::new(n, 42);
    let all = layout.all.iter().take(n);
    let regions = all.map(|range| pmem.alloc(arena, &Request::exactly(*range)).expect("free")).collect();
    (pmem, arena, regions)
}

/// Frees one region and allocates another: exclusively, and published after each change, by the number of
/// arenas.
pub fn commits(n: usize, turn: Duration) -> Vec<Line> {
    let mut lines = Vec::new();
    for arenas in [10, 10_000] {
        let (mut exclusive, arena, mut ids) = manager(arenas, n);
        let (other, _, others) = manager(arenas, n);
        let shared = Pmem::from(other);
        let mut held: Vec<Region> = others.iter().map(|id| shared.handle(*id).expect("there")).collect();
        others.iter().for_each(|id| drop(shared.write(|m| m.decref(*id))));
        let mut figures = [Figure::default(), Figure::default()];
        let (mut one, mut two) = (Rng::new(1), Rng::new(1));
        let request = |rng: &mut Rng| {
            let want = rng.want();
            Request::new(want.len).align(want.align)
        };
        for _ in 0..ROUNDS {
            let (elapsed, ops) = run_for(turn, || {
                let i = one.below(n as u64) as usize;
                exclusive.decref(ids[i]).expect("held");
                ids[i] = exclusive.alloc(arena, &request(&mut one)).expect("there is space");
            });
            figures[0].add((elapsed, ops));
            let (elapsed, ops) = run_for(turn, || {
                let i = two.below(n as u64) as usize;
                held.swap_remove(i).release().expect("held");
                held.push(shared.alloc(arena, &request(&mut two)).expect("there is space"));
            });
            figures[1].add((elapsed, ops));
        }
        for (subject, figure) in ["pmem", "pmem-shared"].into_iter().zip(figures) {
            lines.push(Line {
                ns: Some(figure.median()),
                spread: Some(figure.spread()),
                note: format!("{arenas} arenas; two changes an operation"),
                ..Line::new(SUITE, &format!("commit, {arenas} arenas"), n, subject)
            });
        }
    }
    lines
}

/// Look-ups of `readers` threads beside a writer that commits `rate` times a second: ours, and a map under a
/// lock.
pub fn readers(n: usize, readers: usize, rate: u64, turn: Duration) -> Vec<Line> {
    let layout = Layout::new(n, 42);
    let ranges: Vec<AddrRange> = layout.all.iter().take(n).copied().collect();
    let mut rng = Rng::new(5);
    // In the order of the look-ups, so that picking them is not measured.
    let addresses: Vec<u64> = (0..1 << 20).map(|_| ranges[rng.below(n as u64) as usize].start()).collect();
    let (manager, arena, ids) = manager(10, n);
    let pmem = Pmem::from(manager);
    let map: RwLock<BTreeMap<u64, (u64, u64)>> =
        RwLock::new(ranges.iter().map(|range| (range.start(), (range.last(), 7))).collect());
    let mut figures = [Figure::default(), Figure::default()];
    for _ in 0..ROUNDS {
        let ours = || {
            let mut reader = pmem.reader();
            move |addr| {
                let found = reader.state().arena(arena).and_then(|arena| arena.region_at(addr));
                found.map_or(0, |(range, record)| range.start() ^ record.id.to_raw())
            }
        };
        let locked = || {
            |addr| {
                let map = map.read().expect("no panic");
                let found = map.range(..=addr).next_back().filter(|(_, (last, _))| addr <= *last);
                found.map_or(0, |(start, (_, value))| start ^ value)
            }
        };
        figures[0].add(beside(
            rate,
            |i| {
                let attrs = if i % 2 == 0 { Attrs::device() } else { Attrs::ram() };
                pmem.write(|m| m.set(ids[i % n], attrs)).expect("admitted");
            },
            || read(readers, turn, &addresses, ours),
        ));
        figures[1].add(beside(
            rate,
            |i| {
                if let Some((_, value)) = map.write().expect("no panic").get_mut(&ranges[i % n].start()) {
                    *value += 1;
                }
            },
            || read(readers, turn, &addresses, locked),
        ));
    }
    let case = match readers {
        1 => format!("reader, {rate} changes/s"),
        _ => format!("{readers} readers, {rate} changes/s"),
    };
    let lines = ["pmem-shared", "rwlock-btreemap"].into_iter().zip(figures).map(|(subject, figure)| Line {
        ns: Some(figure.median()),
        spread: Some(figure.spread()),
        note: format!("{readers} readers, {rate} changes a second; ns of one of them"),
        ..Line::new(SUITE, &case, n, subject)
    });
    lines.collect()
}

/// The slowest of a thousand look-ups, without a writer, and beside one whose driver spends a millisecond in
/// every change.
pub fn tails(n: usize, turn: Duration) -> Vec<Line> {
    let ranges: Vec<AddrRange> = Layout::new(n, 42).all.iter().take(n).copied().collect();
    let (mut manager, arena, ids) = manager(10, n);
    let slow = Hooked::new("slow", |call| {
        if call == Call::Install {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(1) {
                std::hint::spin_loop();
            }
        }
    });
    manager.register(Box::new(slow), Subscription::new([Scope::Everything])).expect("it never refuses");
    let pmem = Pmem::from(manager);
    let mut lines = Vec::new();
    for (subject, rate) in [("pmem-shared, no writer", 0), ("pmem-shared, 1 ms in each change", 1_000_000)] {
        let write = |i: usize| {
            let attrs = if i.is_multiple_of(2) { Attrs::device() } else { Attrs::ram() };
            pmem.write(|m| m.set(ids[i % n], attrs)).expect("admitted");
        };
        let mut reader = pmem.reader();
        let mut rng = Rng::new(5);
        let look_up = || {
            let addr = ranges[rng.below(ranges.len() as u64) as usize].start();
            black_box(reader.state().arena(arena).and_then(|arena| arena.region_at(addr)));
        };
        let samples = beside(rate, write, || each(turn * 4, 1 << 20, look_up));
        lines.push(Line {
            ns: Some(percentile(&samples, 50.0)),
            p999: Some(percentile(&samples, 99.9)),
            max: Some(percentile(&samples, 100.0)),
            note: String::from("look-ups timed one by one"),
            ..Line::new(SUITE, "look-up, tail", n, subject)
        });
    }
    lines
}

/// Lets `threads` threads look up random addresses, each with its own reader; returns the time and the look-ups
/// of one.
fn read<R: FnMut(u64) -> u64>(
    readers: usize,
    turn: Duration,
    addresses: &[u64],
    reader: impl Fn() -> R + Sync,
) -> (Duration, u64) {
    let one = |part: u64| {
        let (mut read, mut next) = (reader(), addresses.len() / readers * part as usize);
        run_for(turn, || {
            black_box(read(addresses[next]));
            next = if next + 1 < addresses.len() { next + 1 } else { 0 };
        })
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..readers as u64).map(|seed| scope.spawn(move || one(seed))).collect();
        let mine = one(0);
        others.into_iter().map(|other| other.join().expect("no panic")).fold(mine, |(time, ops), other| {
            // The mean over all threads: the time and operations of one.
            (time + other.0, ops + other.1)
        })
    })
}

/// Does `work` while another thread calls `write` `rate` times a second.
fn beside<T>(rate: u64, mut write: impl FnMut(usize) + Send, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (begun, mut done) = (Instant::now(), 0u64);
            while !over.load(Ordering::Relaxed) {
                let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64;
                while done < due && !over.load(Ordering::Relaxed) {
                    write(done as usize);
                    done += 1;
                }
                // A writer with little to do leaves its processor to the readers.
                match rate {
                    0..=10_000 => thread::sleep(Duration::from_micros(100)),
                    _ => thread::yield_now(),
                }
            }
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        result
    })
}
