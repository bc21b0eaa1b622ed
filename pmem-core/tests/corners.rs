//! Corners that a review found wrong once.
#![cfg(not(loom))]

use pmem_core::test_util::{Call, Faults, Faulty, Log, Quiet, Tracer};
use pmem_core::*;

const ONE: Metric = Metric::new(1);
fn r(s: u64, e: u64) -> AddrRange {
    AddrRange::new(s, e).unwrap()
}
fn arenas<const N: usize>(p: &mut Manager) -> [ArenaId; N] {
    std::array::from_fn(|i| p.create_arena(format!("{i}"), ArenaType::RAM).unwrap())
}
fn wins(w: impl IntoIterator<Item = Window>) -> Mapping {
    Mapping::Windows(Windows::new(w).unwrap())
}

fn shared() -> (Pmem, ArenaId, ArenaId) {
    let p = Pmem::new();
    let (ram, cpu) = p
        .write(|m| {
            let ram = m.create_arena("ram", ArenaType::RAM)?;
            let cpu = m.create_arena("cpu", ArenaType::VIEW)?;
            m.prime(ram, r(0, 0x10000), Attrs::ram())?;
            m.connect(cpu, ram, Mapping::window(r(0x10000, 0x20000), 0).unwrap(), ONE)?;
            Ok((ram, cpu))
        })
        .unwrap();
    (p, ram, cpu)
}

#[test]
fn veto_of_a_count_condemns_others_references() {
    let mut m = Manager::new();
    let [bus, ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    m.connect(bus, ram, Mapping::window(r(0x10000, 0x20000), 0).unwrap(), ONE).unwrap();
    let region = m.alloc(ram, &Request::new(0x1000)).unwrap();
    m.incref(region).unwrap();
    let _alias = m.map(bus, region).unwrap();
    assert_eq!(m.refs(region), Ok(3));
    let faults = Faults::default();
    let sub = Subscription::new([Scope::Everything])
        .interest(Interest { kinds: Kinds::all(), ..Interest::default() });
    m.register(Box::new(Faulty::around(Quiet::new("counts"), &faults)), sub).unwrap();
    faults.arm(Call::Prepare, 1);
    assert_eq!(m.decref(region), Ok(Released::Held { refs: 2 }));
    assert_eq!(m.check(), Ok(()));
}

#[test]
fn yielding_windows_have_each_its_own_prot() {
    let mut m = Manager::new();
    let [bus, dev] = arenas(&mut m);
    let a = Window::fixed(r(0, 0x1000), 0).unwrap();
    let b = Window::fixed(r(0x1000, 0x2000), 0x1000).unwrap().prot(Prot::READ);
    m.prime(dev, r(0, 0x2000), Attrs::ram()).unwrap();
    let map = Mapping::Windows(Windows::new([a, b]).unwrap().yielding().unwrap());
    m.connect(bus, dev, map, ONE).unwrap();
    let prots: Vec<_> = m
        .state()
        .view(bus)
        .into_iter()
        .map(|p| match p.what {
            ViewTarget::Local { attrs, .. } => (p.seen, attrs.prot()),
            o => panic!("{o:?}"),
        })
        .collect();
    let region = m.alloc(dev, &Request::exactly(r(0x1000, 0x1100))).unwrap();
    let alias = m.map(bus, region).unwrap();
    assert_eq!(prots, [(r(0, 0x1000), Prot::RWX), (r(0x1000, 0x2000), Prot::READ)]);
    assert_eq!(m.attrs(alias).unwrap().prot(), Prot::READ);
}

#[test]
fn set_of_what_is_seen_through_the_inverse_of_a_prefetchable_window() {
    let mut m = Manager::new();
    let [bus, dev] = arenas(&mut m);
    let w = Window::floating(r(0, 0x10000), 0x1000).unwrap().prefetchable();
    m.connect(bus, dev, wins([w]), ONE).unwrap();
    m.prime(bus, r(0x4000, 0x8000), Attrs::ram()).unwrap();
    let region = m.alloc(bus, &Request::new(0x1000)).unwrap();
    let alias = m.map(dev, region).unwrap();
    assert_eq!(m.state().resolve(dev, m.range(alias).unwrap().start()).accepted().unwrap().arena, bus);
    assert_eq!(m.set(region, Attrs::ram()), Ok(()), "its own attributes, and no window in the way");
}

#[test]
fn a_pinned_entry_pins_what_it_leads_to() {
    let mut m = Manager::new();
    let [dev, ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x10000), Attrs::ram()).unwrap();
    m.connect(dev, ram, Mapping::Table(Table::new(r(0, 0x10000), 0x1000).unwrap()), ONE).unwrap();
    let region = m.alloc(ram, &Request::new(0x1000)).unwrap();
    let entry = m.map(dev, region).unwrap();
    m.set_pin(entry, Pin::Pinned).unwrap();
    let moved = m.relocate(region, 0x2000);
    assert!(
        matches!(moved, Err(Error::Pinned { .. })),
        "Pin::Pinned: and so does whatever it is an alias of; got {moved:?}"
    );
}

#[test]
fn a_journal_that_kept_nothing_says_so() {
    let mut m = Manager::new();
    let _: [ArenaId; 3] = arenas(&mut m);
    let loaded = Manager::load(m.save()).unwrap();
    assert_eq!(loaded.state().sequence(), 3);
    let since = loaded.journal().since(1).map(|i| i.count());
    let mut m2 = Manager::new();
    m2.set_journal_limit(0);
    let _: [ArenaId; 3] = arenas(&mut m2);
    let since2 = m2.journal().since(1).map(|i| i.count());
    assert_eq!((since, since2), (None, None), "changes 2 and 3 are kept no more");
}

#[test]
fn a_single_way_interleave() {
    let mut m = Manager::new();
    let [bus, a] = arenas(&mut m);
    m.prime(a, r(0, 0x1000), Attrs::ram()).unwrap();
    let share = Interleave::new(r(0x10000, 0x11000), 1, 256, 0, 0).unwrap();
    m.connect(bus, a, Mapping::Interleave(share), ONE).unwrap();
    let region = m.alloc(bus, &Request::new(0x100).max_metric(ONE)).unwrap();
    assert_eq!(m.range(region).unwrap().start(), 0x10000);
    let images = m.state().reverse(a, r(0, 0x100));
    assert!(images.iter().any(|i| i.viewer == bus), "{images:?}");
}

#[test]
fn all_of_an_alias_means_its_target() {
    let mut m = Manager::new();
    let [bus, ram, other] = arenas(&mut m);
    m.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    m.prime(other, r(0x1000, 0x2000), Attrs::ram()).unwrap();
    m.connect(bus, ram, Mapping::Identity, ONE).unwrap();
    m.connect(bus, other, Mapping::Identity, ONE).unwrap();
    let region = m.alloc(ram, &Request::exactly(r(0, 0x2000))).unwrap();
    let mapped = m.map(bus, region);
    assert!(mapped.is_err(), "its second half is ambiguous from the bus");
}

#[test]
fn an_alias_that_moved_still_means_its_target() {
    let mut m = Manager::new();
    let [bus, ram, other] = arenas(&mut m);
    m.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    m.prime(other, r(0x1000, 0x2000), Attrs::ram()).unwrap();
    m.connect(bus, ram, Mapping::Identity, ONE).unwrap();
    m.connect(bus, other, Mapping::Identity, ONE).unwrap();
    let region = m.alloc(ram, &Request::exactly(r(0, 0x1000))).unwrap();
    m.map(bus, region).unwrap();
    let moved = m.relocate(region, 0x1000);
    assert!(moved.is_err(), "map refuses the very same alias");
}

#[test]
fn good_fit_tries_the_other_gaps() {
    for policy in [Policy::FirstFit, Policy::InstantFit, Policy::GoodFit] {
        let mut m = Manager::new();
        let [bus, ram] = arenas(&mut m);
        m.prime(ram, r(0, 0x6000), Attrs::ram()).unwrap();
        m.prime(ram, r(0x8000, 0x9000), Attrs::ram()).unwrap();
        m.prime(bus, r(0x8000, 0x9000), Attrs::ram()).unwrap();
        m.alloc(bus, &Request::new(0x1000)).unwrap();
        let w = Window::floating(r(0, 0x10000), 0x1000).unwrap();
        m.connect(bus, ram, wins([w]), ONE).unwrap();
        let got = m.alloc(bus, &Request::new(0x1000).policy(policy).max_metric(ONE));
        assert!(got.is_ok(), "{policy:?}: {:?}", got);
    }
}

#[test]
fn good_fit_in_a_table_with_a_boundary() {
    let mut m = Manager::new();
    let [dev, ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x100000), Attrs::ram()).unwrap();
    m.connect(dev, ram, Mapping::Table(Table::new(r(0, 0x20000), 0x1000).unwrap()), ONE).unwrap();
    // Entries 0x0..0x10000 free (large gap), 0x10000..0x17000 taken, 0x17000..0x19000 free, the rest taken.
    let far = |len| Request::new(len).max_metric(ONE);
    m.alloc(dev, &far(0x7000).at(0x10000)).unwrap();
    m.alloc(dev, &far(0x7000).at(0x19000)).unwrap();
    for policy in [Policy::FirstFit, Policy::GoodFit] {
        let got = m.alloc(dev, &far(0x2000).boundary(0x4000).policy(policy));
        assert!(got.is_ok(), "{policy:?}: {got:?}");
    }
}

#[test]
fn an_exact_start_outside_the_window() {
    let mut m = Manager::new();
    let [ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    let got = m.alloc(ram, &Request::new(0x100).window(r(0, 0x1000)).at(0x5000));
    assert!(got.is_err(), "{:?}", got.map(|id| m.range(id)));
}

#[test]
fn unpark_at_a_misaligned_start() {
    let mut m = Manager::new();
    let [ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    let region = m.alloc(ram, &Request::new(0x100)).unwrap();
    m.park(region).unwrap();
    let got = m.unpark(region, &Request::new(0x100).at(0x10).align(0x1000));
    assert!(got.is_err(), "{:?} (alloc refuses the same)", m.range(region));
}

#[test]
fn a_transaction_hands_out_no_more_handles_than_references() {
    let (p, ram, cpu) = shared();
    let region = p.alloc(ram, &Request::new(0x1000)).unwrap();
    let held = p.map(cpu, &region).unwrap();
    let id = region.id();
    let (_, reserved) = p
        .transaction(|t| {
            let pending = t.map(cpu, id)?;
            let alias = t.id(&pending);
            t.plan().decref(alias)?;
            Ok(())
        })
        .unwrap();
    assert_eq!(p.write(|m| m.refs(held.id())), Ok(1));
    drop(reserved);
    assert!(held.at(&p.load()).is_some(), "we hold it: {:?}", p.write(|m| m.refs(held.id())));
}

#[test]
fn an_observer_that_panics_keeps_no_event_from_others() {
    use std::sync::{Arc, Mutex};
    let (p, ram, _) = shared();
    let heard: Arc<Mutex<Vec<u64>>> = Arc::default();
    let first = p.load().sequence();
    let mut once = true;
    p.observe(move |_| {
        if std::mem::replace(&mut once, false) {
            panic!("observer")
        }
    });
    let h = heard.clone();
    p.observe(move |e| h.lock().unwrap().push(e.sequence));
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| p.write(|m| m.name_arena(ram, "a"))));
    p.write(|m| m.name_arena(ram, "b")).unwrap();
    assert_eq!(*heard.lock().unwrap(), [first + 1, first + 2]);
}

#[test]
fn what_was_committed_before_a_panic_is_published() {
    let (p, _, _) = shared();
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        p.write(|m| -> Result<(), Error> {
            m.create_arena("new", ArenaType::RAM)?;
            panic!("caller")
        })
    }));
    let there = p.write(|m| Ok(m.state().arena_named("new").is_some())).unwrap();
    assert_eq!(p.load().arena_named("new").is_some(), there, "readers see what came of them");
}

#[test]
fn a_request_says_what_accesses_it_needs() {
    let mut m = Manager::new();
    let [bus, ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    let w = Window::fixed(r(0x10000, 0x18000), 0).unwrap().prot(Prot::READ);
    m.connect(bus, ram, wins([w]), ONE).unwrap();
    let got = m.alloc(bus, &Request::new(0x1000).prot(Prot::RW).max_metric(ONE));
    assert!(got.is_err(), "asked for {:?}, got {:?}", Prot::RW, m.attrs(got.unwrap()).unwrap().prot());
}

#[test]
fn everything_but_reference_counts() {
    let mut m = Manager::new();
    let [ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    let region = m.alloc(ram, &Request::new(0x1000)).unwrap();
    let log = Log::default();
    m.register(Box::new(Tracer::around(Quiet::new("d"), &log)), Subscription::new([Scope::Everything]))
        .unwrap();
    log.take();
    m.set_owner(region, Owner(7)).unwrap();
    let owner = log.take();
    m.set_pin(region, Pin::Pinned).unwrap();
    assert!(
        !owner.is_empty() && !log.take().is_empty(),
        "Interest::default: everything but reference counts"
    );
}

#[test]
fn aliases_are_as_they_were_after_a_veto() {
    let mut m = Manager::new();
    let [a, b, ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    for x in [a, b] {
        m.connect(x, ram, Mapping::window(r(0x10000, 0x18000), 0).unwrap(), ONE).unwrap();
    }
    let region = m.alloc(ram, &Request::new(0x1000)).unwrap();
    let first = m.map(a, region).unwrap();
    m.map(b, region).unwrap();
    let before = m.aliases(region).to_vec();
    let faults = Faults::default();
    m.register(Box::new(Faulty::around(Quiet::new("d"), &faults)), Subscription::new([Scope::Everything]))
        .unwrap();
    faults.arm(Call::Install, 1);
    let out = m.transaction(|p| p.decref(first));
    assert!(out.is_err());
    assert_eq!(m.aliases(region), before, "nothing has happened; Ids::aliases: oldest first");
}

#[test]
fn a_change_that_takes_effect_at_once_and_is_forgotten() {
    // A driver's prepare that panics is a veto, but is it told to drop what it prepared?
    let mut m = Manager::new();
    let [ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    let log = Log::default();
    struct P;
    impl Driver for P {
        fn name(&self) -> &str {
            "p"
        }
        fn attach(&mut self, _: &State) -> Result<(), Veto> {
            Ok(())
        }
        fn prepare(&mut self, _: &Change<'_>) -> Result<Concern, Veto> {
            panic!("half prepared")
        }
        fn withdraw(&mut self) -> Result<(), Fault> {
            Ok(())
        }
        fn install(&mut self) -> Result<(), Fault> {
            Ok(())
        }
        fn revert(&mut self, _: Step) -> Result<(), Fault> {
            Ok(())
        }
        fn abort(&mut self) {}
        fn resync(&mut self, _: &State) -> Result<(), Fault> {
            Ok(())
        }
        fn verify(&mut self, _: &State) -> Result<(), Mismatch> {
            panic!("verify")
        }
    }
    struct T(Log);
    impl Driver for T {
        fn name(&self) -> &str {
            "t"
        }
        fn attach(&mut self, _: &State) -> Result<(), Veto> {
            Ok(())
        }
        fn prepare(&mut self, _: &Change<'_>) -> Result<Concern, Veto> {
            P.prepare_panics()
        }
        fn withdraw(&mut self) -> Result<(), Fault> {
            Ok(())
        }
        fn install(&mut self) -> Result<(), Fault> {
            Ok(())
        }
        fn revert(&mut self, _: Step) -> Result<(), Fault> {
            Ok(())
        }
        fn abort(&mut self) {
            self.0.push("abort");
        }
        fn resync(&mut self, _: &State) -> Result<(), Fault> {
            self.0.push("resync");
            Ok(())
        }
        fn verify(&mut self, _: &State) -> Result<(), Mismatch> {
            Ok(())
        }
    }
    impl P {
        fn prepare_panics(&self) -> Result<Concern, Veto> {
            panic!("half prepared")
        }
    }
    m.register(Box::new(T(log.clone())), Subscription::new([Scope::Everything])).unwrap();
    assert!(m.alloc(ram, &Request::new(0x100)).is_err());
    assert_eq!(log.take(), ["abort"], "what it prepared is dropped");
    let v = m.register(Box::new(P), Subscription::new([Scope::Link(LinkId::default())])).unwrap();
    let out = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| m.verify(v)));
    assert!(out.is_ok(), "a panic in verify is a mismatch");
}

#[test]
fn a_table_behind_eight_tables_is_reversed() {
    for depth in [8u32, 9] {
        let mut m = Manager::new();
        let n = depth as usize + 1;
        let all: Vec<ArenaId> =
            (0..n).map(|i| m.create_arena(format!("{i}"), ArenaType::RAM).unwrap()).collect();
        m.prime(all[n - 1], r(0, 0x8000), Attrs::ram()).unwrap();
        for i in 0..n - 1 {
            m.connect(all[i], all[i + 1], Mapping::Table(Table::new(r(0, 0x8000), 0x1000).unwrap()), ONE)
                .unwrap();
        }
        let region = m.alloc(all[n - 1], &Request::new(0x1000)).unwrap();
        let seen = m.map(all[0], region).unwrap();
        assert_eq!(
            m.state().resolve(all[0], m.range(seen).unwrap().start()).accepted().unwrap().region,
            Some(region)
        );
        let images = m.state().reverse(all[n - 1], r(0, 0x1000));
        assert!(images.iter().any(|i| i.viewer == all[0]), "depth {depth}: {} images", images.len());
    }
}

#[test]
fn a_region_may_come_without_an_address_and_find_one_later() {
    let mut pmem = Manager::new();
    let bus = pmem.create_arena("bus", ArenaType::PCI).unwrap();
    let span = AddrRange::new(0x1000, 0x3000).unwrap();
    pmem.prime(bus, span, Attrs::device()).unwrap();
    let first = pmem.alloc(bus, &Request::exactly(span)).unwrap();
    let wanted = Request::new(0x1000).align(0x1000);
    let parked = pmem.alloc_parked(bus, &wanted).unwrap();
    assert_eq!(pmem.range(parked), Err(Error::IsParked(parked)));
    assert_eq!((pmem.refs(parked), pmem.check()), (Ok(1), Ok(())));
    assert!(matches!(pmem.unpark(parked, &wanted), Err(Error::NoSpace { .. })));
    pmem.decref(first).unwrap();
    pmem.unpark(parked, &wanted).unwrap();
    assert_eq!(pmem.range(parked).unwrap().start(), 0x1000);
    assert!(matches!(pmem.alloc_parked(bus, &Request::new(0)), Err(Error::Range(_))));
}

#[test]
fn a_parallel_way_that_takes_part_of_a_range_is_no_hindrance() {
    let mut m = Manager::new();
    let [bus, ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    m.connect(bus, ram, Mapping::Identity, Metric::new(2)).unwrap();
    let part = Windows::new([Window::fixed(r(0, 0x1000), 0).unwrap()]).unwrap().yielding().unwrap();
    m.connect(bus, ram, Mapping::Windows(part), ONE).unwrap();
    let region = m.alloc(ram, &Request::new(0x2000)).unwrap();
    let alias = m.map(bus, region).unwrap();
    assert_eq!(m.range(alias), Ok(r(0, 0x2000)));
}

#[test]
fn a_table_in_which_nothing_fits_gives_way_to_a_dearer_one() {
    let mut m = Manager::new();
    let [dev, ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x10000), Attrs::ram()).unwrap();
    let table = |start, end| Mapping::Table(Table::new(r(start, end), 0x1000).unwrap());
    m.connect(dev, ram, table(0x10_0000, 0x10_3000), ONE).unwrap();
    m.connect(dev, ram, table(0x20_0000, 0x20_8000), Metric::new(5)).unwrap();
    // The middle of the near one's three pages is taken: no two that follow one another are left.
    let one = m.alloc(ram, &Request::new(0x1000)).unwrap();
    m.map_at(dev, one, Constraints::at(0x10_1000)).unwrap();
    let two = m.alloc(ram, &Request::new(0x2000)).unwrap();
    let alias = m.map(dev, two).unwrap();
    assert_eq!(m.range(alias), Ok(r(0x20_0000, 0x20_2000)));
    let large = m.alloc(ram, &Request::new(0x9000)).unwrap();
    let Err(Error::NoRoute { tried, .. }) = m.map(dev, large) else { panic!("it is larger than either") };
    assert_eq!(tried, 2, "both were tried");
}

#[test]
fn what_is_seen_through_windows_that_go_on_is_one_image() {
    let mut m = Manager::new();
    let [cpu, ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x3000), Attrs::ram()).unwrap();
    let window = |at, to| Window::fixed(r(at, at + 0x1000), to).unwrap();
    m.connect(cpu, ram, wins([window(0x5000, 0), window(0x6000, 0x1000), window(0x9000, 0x2000)]), ONE)
        .unwrap();
    let images: Vec<_> =
        m.state().reverse(ram, r(0, 0x3000)).into_iter().map(|i| (i.viewer, i.seen, i.start)).collect();
    assert_eq!(
        images,
        [(ram, r(0, 0x3000), 0), (cpu, r(0x5000, 0x7000), 0), (cpu, r(0x9000, 0xa000), 0x2000)]
    );
}

/// Each way round the addresses are shifted: nothing is ever passed twice.
#[test]
fn a_circle_that_shifts_is_a_loop_only_where_all_of_it_claims() {
    for yields in [None, Some(0), Some(1), Some(2)] {
        let mut m = Manager::new();
        let ring: [ArenaId; 3] = arenas(&mut m);
        for (i, from) in ring.into_iter().enumerate() {
            let windows = Windows::new([Window::fixed(r(0x1000, 1 << 62), 0x2000).unwrap()]).unwrap();
            let windows = if yields == Some(i) { windows.yielding().unwrap() } else { windows };
            m.connect(from, ring[(i + 1) % 3], Mapping::Windows(windows), ONE).unwrap();
        }
        let loops = m.state().view(ring[0]).iter().any(|piece| piece.what == ViewTarget::Loop);
        assert_eq!(loops, yields.is_none(), "hop {yields:?} yields");
        // Back round the circle there is no end either: it is left after 256 rounds.
        if yields.is_none() {
            let images = m.state().reverse(ring[0], r(1 << 61, (1 << 61) + 0x1000));
            assert!(images.len() <= 256 * 3 + 1, "{}", images.len());
        }
    }
}

/// A share may begin where its chunks do not.
#[test]
fn chunks_are_counted_from_where_a_share_begins() {
    let mut m = Manager::new();
    let [cpu, a, b] = arenas(&mut m);
    let input = r(0x1040, 0x1040 + 0x400);
    for (position, target) in [a, b].into_iter().enumerate() {
        m.prime(target, r(0, 0x1000), Attrs::ram()).unwrap();
        let share = Interleave::new(input, 2, 256, position as u8, 0).unwrap();
        m.connect(cpu, target, Mapping::Interleave(share), ONE).unwrap();
    }
    let state = m.state();
    for at in (input.start()..=input.last()).step_by(64) {
        let (arena, addr) = state.resolve(cpu, at).accepted().map(|place| (place.arena, place.addr)).unwrap();
        let seen = state.reverse(arena, r(addr, addr + 1));
        assert!(
            seen.iter().any(|image| image.viewer == cpu && image.seen.start() == at),
            "{at:#x}: {seen:?}"
        );
    }
}

/// The limit on loops counts how often a path passes the same arena, not how long it is.
#[test]
fn a_long_path_is_no_loop() {
    let mut m = Manager::new();
    let all: Vec<ArenaId> =
        (0..300).map(|i| m.create_arena(format!("{i}"), ArenaType::VIEW).unwrap()).collect();
    let ram = m.create_arena("ram", ArenaType::RAM).unwrap();
    m.prime(ram, r(0, 0x1000), Attrs::ram()).unwrap();
    for (upper, lower) in all.iter().zip(all.iter().skip(1).chain([&ram])) {
        m.connect(*upper, *lower, Mapping::Identity, ONE).unwrap();
    }
    let place = m.state().resolve(all[0], 0x10);
    assert_eq!(place.accepted().map(|place| (place.arena, place.addr)), Some((ram, 0x10)));
}

#[test]
fn the_hole_in_a_range_is_named_with_both_ends() {
    let mut m = Manager::new();
    let [ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x2000), Attrs::ram()).unwrap();
    m.prime(ram, r(0x5000, 0x8000), Attrs::ram()).unwrap();
    let refused = m.alloc(ram, &Request::exactly(r(0x1000, 0x6000)));
    assert!(
        matches!(refused, Err(Error::Occupied { by: Holder::Unprimed(hole), .. }) if hole == r(0x2000, 0x5000)),
        "{refused:?}"
    );
}

#[test]
fn an_entry_keeps_its_address_when_what_it_leads_to_grows() {
    let mut m = Manager::new();
    let [dev, ram] = arenas(&mut m);
    m.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    m.connect(dev, ram, Mapping::Table(Table::new(r(0, 0x8000), 0x1000).unwrap()), ONE).unwrap();
    let region = m.alloc(ram, &Request::exactly(r(0x4000, 0x5000))).unwrap();
    let first = m.map(dev, region).unwrap();
    let second = m.alloc(ram, &Request::new(0x1000)).unwrap();
    let seen = m.map(dev, second).unwrap();
    assert_eq!((m.range(first), m.range(seen)), (Ok(r(0, 0x1000)), Ok(r(0x1000, 0x2000))));
    m.unmap(first).unwrap();
    m.resize(second, 0x2000).unwrap();
    assert_eq!(m.range(seen), Ok(r(0x1000, 0x3000)), "not moved to the first free pages");
}
