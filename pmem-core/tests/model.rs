//! What an address means, and what regions and aliases amount to, where a simple model goes wrong.

use pmem_core::test_util::{Log, Quiet, Tracer};
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Constraints, DeadEnd, Direction, Edit, Error, Interleave, Manager,
    Mapping, Metric, OwnedResolution, Owner, Props, Prot, RegionId, Request, Scope, SpanState, Subscription,
    Table, Usage, ViewTarget, Window, Windows,
};
use proptest::prelude::*;

const ONE: Metric = Metric::new(1);

fn r(start: u64, end: u64) -> AddrRange {
    AddrRange::new(start, end).unwrap()
}

fn arenas<const N: usize>(pmem: &mut Manager) -> [ArenaId; N] {
    std::array::from_fn(|i| pmem.create_arena(format!("{i}"), ArenaType::RAM).unwrap())
}

/// A bus that sees all of a RAM at 0x10000.
fn bus_and_ram() -> (Manager, ArenaId, ArenaId) {
    let mut pmem = Manager::new();
    let [bus, ram] = arenas(&mut pmem);
    pmem.prime(ram, r(0, 0x8000), Attrs::ram()).unwrap();
    pmem.connect(bus, ram, Mapping::window(r(0x10000, 0x20000), 0).unwrap(), ONE).unwrap();
    (pmem, bus, ram)
}

fn floating(limit: AddrRange, granule: u64) -> Mapping {
    Mapping::Windows(Windows::new([Window::floating(limit, granule).unwrap()]).unwrap())
}

#[test]
fn a_hole_is_a_fault_where_it_is_and_not_a_loop_by_way_of_the_bus() {
    let (mut pmem, bus, ram) = bus_and_ram();
    for (viewer, addr) in [(ram, 0x9000), (bus, 0x19000)] {
        let fault = pmem.state().resolve(viewer, addr);
        let stuck = matches!(fault, OwnedResolution::Fault { arena, addr: 0x9000, why: DeadEnd::Undecoded, .. } if arena == ram);
        assert!(stuck, "{fault:?}");
        assert_eq!(pmem.state().view_in(viewer, r(addr, addr + 1)), []);
    }
    // Nor does it hide who takes what is handed on.
    let [sink] = arenas(&mut pmem);
    pmem.prime(sink, r(0x9000, 0xa000), Attrs::ram()).unwrap();
    pmem.connect(ram, sink, Mapping::Identity, ONE).unwrap();
    assert_eq!(pmem.state().resolve(bus, 0x19000).accepted().unwrap().arena, sink);
}

#[test]
fn the_cheapest_way_is_found_though_another_went_round_it_first() {
    let mut pmem = Manager::new();
    let [from, near, ram, other] = arenas(&mut pmem);
    pmem.prime(ram, r(0, 0x1000), Attrs::ram()).unwrap();
    for (left, right, cost) in [(from, near, 8), (near, ram, 0), (near, other, 0), (from, other, 0)] {
        pmem.connect(left, right, Mapping::Identity, Metric::new(cost)).unwrap();
    }
    assert_eq!(pmem.state().resolve(from, 0).accepted().unwrap().cost, Metric::ZERO);
    assert_eq!(pmem.state().view(from)[0].cost, Metric::ZERO);
}

#[test]
fn a_ring_of_what_only_yields_is_no_loop_but_one_that_claims_is() {
    let mut pmem = Manager::new();
    let ring: [ArenaId; 3] = arenas(&mut pmem);
    for i in 0..3 {
        let on = Direction::new(Mapping::Identity, ONE);
        pmem.connect_asymmetric(ring[i], ring[(i + 1) % 3], on, Direction::closed()).unwrap();
    }
    // Everybody has been asked, and nobody takes it.
    assert!(matches!(
        pmem.state().resolve(ring[0], 0),
        OwnedResolution::Fault { why: DeadEnd::Undecoded, .. }
    ));
    assert_eq!(pmem.state().view(ring[0]), []);
    let mut pmem = Manager::new();
    let ring: [ArenaId; 3] = arenas(&mut pmem);
    for i in 0..3 {
        let on = Direction::new(Mapping::window(r(0, 0x1000), 0).unwrap(), ONE);
        pmem.connect_asymmetric(ring[i], ring[(i + 1) % 3], on, Direction::closed()).unwrap();
    }
    let OwnedResolution::Loop(hops) = pmem.state().resolve(ring[0], 0) else { panic!() };
    assert_eq!(hops.iter().map(|hop| hop.from).collect::<Vec<_>>(), ring);
    assert_eq!(pmem.state().view(ring[0])[0].what, ViewTarget::Loop);
}

#[test]
fn an_alias_narrows_what_its_viewers_may_do() {
    let (mut pmem, bus, ram) = bus_and_ram();
    let region = pmem.alloc(ram, &Request::new(0x1000)).unwrap();
    let alias = pmem.map(bus, region).unwrap();
    let log = Log::default();
    let subscription = Subscription::new([Scope::View(bus)]);
    pmem.register(Box::new(Tracer::around(Quiet::new("cpu"), &log)), subscription).unwrap();
    log.take();
    pmem.set(alias, Attrs::ram().with_prot(Prot::READ)).unwrap();
    assert_eq!(log.take()[1], "cpu:   0x10000..0x11000 data read+write+exec wback -> data read wback");
    let prots = pmem.state().view(bus).into_iter().map(|piece| match piece.what {
        ViewTarget::Local { attrs, .. } => (piece.seen, attrs.prot()),
        other => panic!("{other:?}"),
    });
    let expected = [(r(0x10000, 0x11000), Prot::READ), (r(0x11000, 0x18000), Prot::RWX)];
    assert_eq!(prots.collect::<Vec<_>>(), expected);
}

#[test]
fn a_parked_alias_has_its_targets_attributes_whoever_takes_the_address() {
    let (mut pmem, bus, ram) = bus_and_ram();
    let region = pmem.alloc(ram, &Request::new(0x1000)).unwrap();
    let alias = pmem.map(bus, region).unwrap();
    pmem.park(region).unwrap();
    let stranger = Request::exactly(r(0, 0x1000)).usage(Usage::TEXT).prot(Prot::READ);
    pmem.alloc(ram, &stranger).unwrap();
    assert_eq!(pmem.attrs(alias), pmem.attrs(region));
    assert_eq!(pmem.attrs(alias).unwrap().usage(), Usage::DATA);
}

#[test]
fn what_a_prefetchable_window_carries_stays_prefetchable() {
    let mut pmem = Manager::new();
    let [bus, dev] = arenas(&mut pmem);
    pmem.prime(dev, r(0, 0x10000), Attrs::device()).unwrap();
    let window = Window::floating(r(0, 0x10000), 0x100).unwrap().prefetchable();
    let link = pmem.connect(bus, dev, Mapping::Windows(Windows::new([window]).unwrap()), ONE).unwrap();
    let region = pmem.alloc(dev, &Request::new(0x100).props(Props::PREFETCH)).unwrap();
    pmem.map(bus, region).unwrap();
    let refused = pmem.set(region, Attrs::device());
    assert!(matches!(refused, Err(Error::NotPassed { link: by, .. }) if by == link), "{refused:?}");
    assert_eq!(pmem.attrs(region).unwrap().props(), Props::PREFETCH);
    pmem.relocate(region, 0x1000).unwrap();
}

#[test]
fn an_entry_of_a_table_is_where_the_request_wants_it() {
    let mut pmem = Manager::new();
    let [dev, ram] = arenas(&mut pmem);
    pmem.prime(ram, r(0x100, 0x10_0000), Attrs::ram()).unwrap();
    let table = Mapping::Table(Table::new(r(0, 0x10_0000), 0x1000).unwrap());
    pmem.connect(dev, ram, table, ONE).unwrap();
    let far = |len| Request::new(len).max_metric(ONE);

    let narrow = far(0x1000).window(r(0x1800, 0x4000));
    let first = pmem.alloc(dev, &narrow).unwrap();
    assert!(r(0x1800, 0x4000).covers(pmem.range(first).unwrap()));
    // The last two of these pages are whole; the first is only half inside the window.
    let tight = far(0x1000).window(r(0x5800, 0x7000));
    let second = pmem.alloc(dev, &tight).unwrap();
    assert!(r(0x5800, 0x7000).covers(pmem.range(second).unwrap()));
    assert!(matches!(
        pmem.alloc(dev, &far(0x1000).window(r(0x8800, 0x9800)).align(0x1000)),
        Err(Error::NoSpace { .. })
    ));

    for _ in 0..20 {
        let region = pmem.alloc(dev, &far(0x3000).boundary(0x4000)).unwrap();
        let at = pmem.range(region).unwrap();
        assert_eq!(at.start() / 0x4000, at.last() / 0x4000, "{at} crosses");
    }
    assert_eq!(pmem.check(), Ok(()));
}

#[test]
fn an_entry_over_a_window_moves_when_its_pages_no_longer_line_up() {
    let mut pmem = Manager::new();
    let [dev, bus, ram] = arenas(&mut pmem);
    pmem.prime(ram, r(0, 0x20000), Attrs::ram()).unwrap();
    let windows = [(r(0x10000, 0x20000), 0), (r(0x30800, 0x40800), 0x10000)];
    pmem.connect(bus, ram, Mapping::windows(windows).unwrap(), ONE).unwrap();
    pmem.connect(dev, bus, Mapping::Table(Table::new(r(0, 0x10000), 0x1000).unwrap()), ONE).unwrap();
    let region = pmem.alloc(ram, &Request::new(0x1000)).unwrap();
    let entry = pmem.map(dev, region).unwrap();
    let before = pmem.range(entry).unwrap();
    pmem.relocate(region, 0x2000).unwrap();
    assert_eq!(pmem.range(entry), Ok(before), "the same pages serve");
    pmem.relocate(region, 0x10000).unwrap();
    let (at, to) = (pmem.range(entry).unwrap(), pmem.placement(entry).unwrap().record.alias().unwrap().to);
    assert_eq!((at.start() % 0x1000, to), (0x800, 0x30800));
    assert_eq!(pmem.state().resolve(dev, at.start()).accepted().unwrap().addr, 0x10000);
    assert_eq!(pmem.check(), Ok(()));
}

#[test]
fn who_sees_an_address_through_a_table_of_another_arena_is_found() {
    let mut pmem = Manager::new();
    let [dev, mmu, ram] = arenas(&mut pmem);
    pmem.prime(ram, r(0, 0x10000), Attrs::ram()).unwrap();
    pmem.connect(mmu, ram, Mapping::Table(Table::new(r(0x40000, 0x50000), 0x1000).unwrap()), ONE).unwrap();
    pmem.connect(dev, mmu, Mapping::window(r(0, 0x10000), 0x40000).unwrap(), ONE).unwrap();
    let region = pmem.alloc(ram, &Request::exactly(r(0x3000, 0x4000))).unwrap();
    let seen = pmem.map(dev, region).unwrap();
    let at = pmem.range(seen).unwrap();
    let images = pmem.state().reverse(ram, r(0x3800, 0x3900));
    let of_dev = images.iter().find(|image| image.viewer == dev).expect("seen by the device");
    assert_eq!(of_dev.seen.start(), at.start() + 0x800);
    assert_eq!((of_dev.cost, of_dev.hops), (Metric::new(2), 2));
    assert!(
        pmem.state().diff(dev, ram).iter().any(|d| d.left == Some(at.start()) && d.right == Some(0x3000))
    );

    // What an entry leads to is part of a device's view.
    let log = Log::default();
    let subscription = Subscription::new([Scope::View(dev)]);
    pmem.register(Box::new(Tracer::around(Quiet::new("device"), &log)), subscription).unwrap();
    log.take();
    pmem.decref(seen).unwrap();
    assert_eq!(log.take()[1], "device:   0x0..0x1000 data read+write+exec wback -> nothing");
}

#[test]
fn who_sees_an_interleaved_address_is_found_chunk_by_chunk() {
    let mut pmem = Manager::new();
    let [cpu, bus, a, b] = arenas(&mut pmem);
    for (position, ram) in [a, b].into_iter().enumerate() {
        pmem.prime(ram, r(0, 0x1000), Attrs::ram()).unwrap();
        let share = Interleave::new(r(0x10000, 0x12000), 2, 256, position as u8, 0).unwrap();
        pmem.connect(bus, ram, Mapping::Interleave(share), ONE).unwrap();
    }
    pmem.connect(cpu, bus, Mapping::window(r(0x50000, 0x60000), 0x10000).unwrap(), ONE).unwrap();
    let images = pmem.state().reverse(b, r(0x80, 0x280));
    let of_cpu: Vec<_> = images.iter().filter(|image| image.viewer == cpu).collect();
    assert_eq!(of_cpu.len(), 3);
    for image in of_cpu {
        for by in [0, image.seen.len() - 1] {
            let place = pmem.state().resolve(cpu, image.seen.start() + by).accepted().unwrap();
            assert_eq!((place.arena, place.addr, place.cost), (b, image.start + by, image.cost));
        }
    }
    assert!(pmem.state().diff(cpu, bus).iter().all(|d| d.left.is_some() && d.right.is_some()));
}

#[test]
fn the_last_address_of_all_is_seen_too() {
    let mut pmem = Manager::new();
    let [all] = arenas(&mut pmem);
    pmem.prime(all, AddrRange::ALL, Attrs::ram()).unwrap();
    let last = AddrRange::inclusive(u64::MAX, u64::MAX).unwrap();
    assert_eq!(pmem.state().reverse(all, last)[0].seen, last);
}

#[test]
fn a_change_of_space_is_said_once_per_address() {
    let mut pmem = Manager::new();
    let [bus, dev] = arenas(&mut pmem);
    pmem.prime(bus, r(0, 0x10000), Attrs::device()).unwrap();
    pmem.prime(dev, r(0, 0x10000), Attrs::device()).unwrap();
    let to_dev = Direction::new(floating(r(0, 0x10000), 0x1000), ONE);
    pmem.connect_asymmetric(bus, dev, to_dev, Direction::closed()).unwrap();
    let region = pmem.alloc(dev, &Request::exactly(r(0, 0x2000))).unwrap();
    pmem.map(bus, region).unwrap();
    let ((), edits) = pmem.plan(|plan| plan.resize(region, 0x1000)).unwrap();
    let spans = edits.iter().filter_map(|edit| match edit {
        Edit::Span { range, old, new, .. } => Some((*range, old.unwrap().state, new.unwrap().state)),
        _ => None,
    });
    assert_eq!(spans.collect::<Vec<_>>(), [(r(0x1000, 0x2000), SpanState::Lent, SpanState::Open)]);
}

/// Owners that are apart in either half of their number.
fn who(n: u64) -> Owner {
    Owner(n << 33 | n & 1)
}

#[test]
fn what_lies_behind_interconnects_is_listed() {
    let (pmem, bus, _) = bus_and_ram();
    let arena = pmem.state().arena(bus).unwrap();
    let ranges: Vec<AddrRange> = arena.windows().map(|(range, _)| range).collect();
    assert_eq!(ranges, [r(0x10000, 0x20000)]);
}

/// Two views of one RAM, shifted: cut by nothing but what differs.
#[test]
fn a_difference_that_goes_on_is_one() {
    let mut pmem = Manager::new();
    let [left, right, ram] = arenas(&mut pmem);
    pmem.prime(ram, r(0, 0x1800), Attrs::ram()).unwrap();
    pmem.prime(ram, r(0x1800, 0x4000), Attrs::ram().with_prot(Prot::READ)).unwrap();
    let windows = |at: u64| {
        let pieces = [0, 0x1000, 0x2000].map(|to| Window::fixed(r(at + to, at + to + 0x1000), to).unwrap());
        Mapping::Windows(Windows::new(pieces).unwrap())
    };
    pmem.connect(left, ram, windows(0x10000), ONE).unwrap();
    pmem.connect(right, ram, windows(0x50000), ONE).unwrap();
    let found: Vec<_> =
        pmem.state().diff(left, right).into_iter().map(|d| (d.range, d.left, d.right)).collect();
    assert_eq!(found, [(r(0, 0x3000), Some(0x10000), Some(0x50000))]);
}

proptest! {
    /// Whoever asks first, and whenever: what is listed under an owner is what is theirs.
    #[test]
    fn whose_a_region_is_is_known_whenever_it_is_asked(
        steps in proptest::collection::vec((0u8..6, 0usize..8, 0u64..4), 1..40),
        asked in 0usize..40,
    ) {
        let mut m = Manager::new();
        let ram = m.create_arena("ram", ArenaType::RAM).unwrap();
        m.prime(ram, AddrRange::sized(0, 0x10000).unwrap(), Attrs::ram()).unwrap();
        let mut regions: Vec<RegionId> = Vec::new();
        for (i, (what, which, owner)) in steps.into_iter().enumerate() {
            let one = regions.get(which % regions.len().max(1)).copied();
            match (what, one) {
                (0 | 1, _) => regions.extend(m.alloc(ram, &Request::new(0x100).owner(who(owner)))),
                (2, Some(one)) => m.set_owner(one, who(owner)).unwrap(),
                (3, Some(one)) => drop(m.park(one)),
                (4, Some(one)) => drop(m.unpark(one, Constraints::anywhere())),
                (_, Some(one)) => {
                    regions.retain(|other| *other != one);
                    m.decref(one).unwrap();
                }
                _ => {}
            }
            if i >= asked {
                for owner in (0..5).map(who) {
                    let theirs = m.regions().filter(|(_, p)| p.record.owner == owner).map(|(id, _)| id);
                    let mut theirs: Vec<RegionId> = theirs.collect();
                    theirs.sort_unstable();
                    prop_assert_eq!(m.by_owner(owner).collect::<Vec<_>>(), theirs);
                }
                prop_assert_eq!(m.check(), Ok(()));
            }
        }
    }
}
