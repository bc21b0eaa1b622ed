//! Verbs that change what joins arenas, and questions about what is near.

use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Constraints, DeadEnd, Direction, Edit, Error, Holder, LinkId,
    Manager, Mapping, MappingError, Metric, OwnedResolution, Performance, Props, Prot, RegionId, Request,
    Table, Usage, Way, Window, Windows,
};

const ONE: Metric = Metric::new(1);

fn r(start: u64, end: u64) -> AddrRange {
    AddrRange::new(start, end).unwrap()
}

fn device() -> Attrs {
    Attrs::new(Usage::DEVREGS, Prot::RW, Props::UNCACHED).unwrap()
}

/// A bus above another, a bridge whose window floats between them.
fn bridge() -> (Manager, ArenaId, ArenaId, LinkId) {
    let mut pmem = Manager::new();
    let [up, down] = ["up", "down"].map(|name| pmem.create_arena(name, ArenaType::PCI).unwrap());
    for arena in [up, down] {
        pmem.prime(arena, r(0, 0x10000), device()).unwrap();
    }
    let window = Window::floating(r(0, 0x10000), 0x1000).unwrap();
    let link = pmem.connect(up, down, Mapping::Windows(Windows::new([window]).unwrap()), ONE).unwrap();
    (pmem, up, down, link)
}

fn now(pmem: &Manager, link: LinkId) -> Option<AddrRange> {
    pmem.state().window(link, Way::ToRight, 0)
}

#[test]
fn a_floor_comes_goes_and_leaves_what_goes_through() {
    let (mut pmem, up, down, link) = bridge();
    let floor = |pmem: &mut Manager, floor| pmem.set_floor(link, Way::ToRight, 0, floor);
    floor(&mut pmem, Some(r(0x2000, 0x6000))).unwrap();
    assert_eq!(now(&pmem, link), Some(r(0x2000, 0x6000)));
    assert!(pmem.alloc(up, &Request::exactly(r(0x3000, 0x4000))).is_err(), "lent to the window");
    let bar = pmem.alloc(down, &Request::exactly(r(0x8000, 0x8100))).unwrap();
    let seen = pmem.map(up, bar).unwrap();
    assert_eq!(now(&pmem, link), Some(r(0x2000, 0x9000)));
    floor(&mut pmem, None).unwrap();
    assert_eq!(now(&pmem, link), Some(r(0x8000, 0x9000)));
    // All of the limit, and less again.
    floor(&mut pmem, Some(r(0, 0x10000))).unwrap();
    floor(&mut pmem, Some(r(0x8000, 0xa000))).unwrap();
    assert_eq!(now(&pmem, link), Some(r(0x8000, 0xa000)));
    let loaded = Manager::load(pmem.save()).unwrap();
    assert_eq!(now(&loaded, link), Some(r(0x8000, 0xa000)));
    pmem.unmap(seen).unwrap();
    assert_eq!(now(&pmem, link), Some(r(0x8000, 0xa000)));
    assert_eq!(pmem.state().arena_named("up"), Some(up));
    let wall = pmem.alloc(up, &Request::exactly(r(0x4000, 0x4100))).unwrap();
    let before = pmem.state().sequence();
    let error = floor(&mut pmem, Some(r(0x2000, 0xa000))).unwrap_err();
    assert!(matches!(error, Error::WindowBlocked { by: Holder::Region(by, _), .. } if by == wall), "{error}");
    let odd = floor(&mut pmem, Some(r(0x2000, 0x2800)));
    assert!(matches!(odd, Err(Error::Mapping(MappingError::Misaligned { .. }))));
    assert_eq!((pmem.state().sequence(), now(&pmem, link)), (before, Some(r(0x8000, 0xa000))));
    assert_eq!(pmem.check(), Ok(()));
}

#[test]
fn what_is_no_floating_window_has_no_floor_to_set() {
    let (mut pmem, up, down, link) = bridge();
    let fixed = pmem.connect(down, up, Mapping::window(r(0x20000, 0x21000), 0x20000).unwrap(), ONE).unwrap();
    let set = |pmem: &mut Manager, link, way, piece| pmem.set_floor(link, way, piece, None).unwrap_err();
    assert!(matches!(set(&mut pmem, fixed, Way::ToRight, 0), Error::FixedWindow { .. }));
    assert!(matches!(set(&mut pmem, link, Way::ToRight, 1), Error::NoWindow { piece: 1, .. }));
    assert!(matches!(set(&mut pmem, link, Way::ToLeft, 0), Error::NoWindow { .. }), "what yields has none");
    assert!(matches!(set(&mut pmem, LinkId::default(), Way::ToRight, 0), Error::NoLink(_)));
}

#[test]
fn costs_mappings_and_measurements_change_under_aliases() {
    let (mut pmem, up, down, link) = bridge();
    let bar = pmem.alloc(down, &Request::exactly(r(0x8000, 0x8100))).unwrap();
    pmem.map(up, bar).unwrap();
    let resolved = |pmem: &Manager| pmem.state().resolve(up, 0x8000).accepted().unwrap().cost;
    pmem.set_metric(link, Way::ToRight, Metric::new(7)).unwrap();
    assert_eq!((resolved(&pmem), pmem.state().distance(up, down)), (Metric::new(7), Metric::new(7)));
    assert_eq!(pmem.state().distance(down, up), ONE);
    assert!(matches!(
        pmem.set_metric(link, Way::ToRight, Metric::UNREACHABLE),
        Err(Error::OpenButUnreachable { from, to }) if (from, to) == (up, down)
    ));
    let fast = Performance { read_latency: Some(90), ..Performance::default() };
    pmem.set_performance(link, Way::ToRight, fast).unwrap();
    assert_eq!(pmem.state().link(link).unwrap().to_right.performance, fast);
    assert_eq!(now(&pmem, link), Some(r(0x8000, 0x9000)), "windows stay");
    // A mapping that something goes through stays; the other direction's may change.
    let identity = pmem.set_mapping(link, Way::ToRight, Mapping::Identity);
    assert!(matches!(identity, Err(Error::LinkBusy { .. })));
    pmem.set_mapping(link, Way::ToLeft, Mapping::Closed).unwrap();
    assert!(pmem.state().distances(down).len() == 1);
    let window = Mapping::window(r(0x9000, 0xa000), 0x9000).unwrap();
    let occupied = pmem.set_mapping(link, Way::ToLeft, window.clone());
    assert!(matches!(occupied, Err(Error::Occupied { by: Holder::Primed(_), .. })));
    pmem.unprime(down, r(0x9000, 0x10000)).unwrap();
    pmem.set_mapping(link, Way::ToLeft, window).unwrap();
    assert_eq!(pmem.state().windows(link, Way::ToLeft), [Some(r(0x9000, 0xa000))]);
    assert_eq!(pmem.check(), Ok(()));
}

#[test]
fn an_interleave_is_whole_or_nothing() {
    let mut pmem = Manager::new();
    let near = pmem.create_arena("near", ArenaType::VIEW).unwrap();
    let targets: Vec<ArenaId> =
        (0..4).map(|i| pmem.create_arena(format!("{i}"), ArenaType::CXL).unwrap()).collect();
    for target in &targets {
        pmem.prime(*target, r(0, 0x1000), Attrs::ram()).unwrap();
    }
    let all: Vec<(ArenaId, u64)> = targets.iter().map(|target| (*target, 0)).collect();
    assert!(matches!(
        pmem.interleave(near, r(0, 0x5000), 256, ONE, &[&all[..], &all[..1]].concat()),
        Err(Error::Mapping(MappingError::Ways(5)))
    ));
    assert!(matches!(pmem.interleave(near, r(0, 0x5000), 256, ONE, &[]), Err(Error::Mapping(_))));
    let links = pmem.interleave(near, r(0x10000, 0x14000), 256, ONE, &all).unwrap();
    for (chunk, target) in (0u64..).zip(targets.iter().chain(&targets)) {
        let place = pmem.state().resolve(near, 0x10000 + chunk * 256).accepted().unwrap();
        assert_eq!((place.arena, place.addr), (*target, chunk / 4 * 256));
    }
    // One share less: nothing is decoded, and it says why.
    pmem.disconnect(links[2]).unwrap();
    let OwnedResolution::Fault { why, .. } = pmem.state().resolve(near, 0x10000) else { panic!() };
    assert_eq!(why, DeadEnd::Incomplete(links[0]));
    assert_eq!(pmem.state().view(near), []);
}

#[test]
fn a_place_that_is_asked_for_is_where_it_is_mapped() {
    let mut pmem = Manager::new();
    let [device, ram] = ["device", "ram"].map(|name| pmem.create_arena(name, ArenaType::RAM).unwrap());
    pmem.prime(ram, r(0, 0x10000), Attrs::ram()).unwrap();
    let table = Table::new(r(0x10_0000, 0x20_0000), 0x1000).unwrap();
    pmem.connect(device, ram, Mapping::Table(table), ONE).unwrap();
    let buffer = pmem.alloc(ram, &Request::exactly(r(0x4800, 0x5000))).unwrap();
    let start = |pmem: &Manager, id: RegionId| pmem.range(id).unwrap().start();
    let fixed = pmem.map_at(device, buffer, Constraints::at(0x18_0800)).unwrap();
    assert_eq!(start(&pmem, fixed), 0x18_0800);
    // What is there already is shared; elsewhere it is another entry.
    assert_eq!(pmem.map(device, buffer), Ok(fixed));
    assert_eq!(pmem.map_at(device, buffer, Constraints::within(r(0x18_0000, 0x19_0000))), Ok(fixed));
    let other =
        pmem.map_at(device, buffer, Constraints::within(r(0x11_0000, 0x12_0000)).align(0x800)).unwrap();
    assert_eq!(start(&pmem, other), 0x11_0800);
    // It starts as far into a page as what it leads to.
    let odd = pmem.map_at(device, buffer, Constraints::at(0x18_1000));
    assert!(matches!(odd, Err(Error::NoRoute { .. })), "{odd:?}");
    assert!(matches!(pmem.map_at(ram, buffer, Constraints::at(0)), Err(Error::NoSpace { .. })));
    assert_eq!(pmem.map_at(ram, buffer, Constraints::at(0x4800)), Ok(buffer));
}

#[test]
fn space_in_one_arena_where_another_sees_it() {
    let (mut pmem, up, down, link) = bridge();
    let open = r(0x4000, 0x6000);
    pmem.set_floor(link, Way::ToRight, 0, Some(open)).unwrap();
    pmem.alloc(up, &Request::exactly(r(0x6000, 0x10000))).unwrap();
    let request = Request::new(0x1000).in_arena(down).max_metric(ONE);
    let seen = pmem.alloc(up, &request).unwrap();
    assert_eq!(pmem.placement(seen).unwrap().arena, up);
    let far = pmem.placement(seen).unwrap().record.alias().unwrap().target;
    assert_eq!((pmem.placement(far).unwrap().arena, pmem.refs(far)), (down, Ok(1)));
    let error = pmem.alloc(up, &Request::new(0x7000).in_arena(down).max_metric(ONE)).unwrap_err();
    assert!(matches!(error, Error::Occupied { arena, .. } if arena == up), "{error}");
}

#[test]
fn what_is_near_and_the_way_there() {
    let mut pmem = Manager::new();
    let [cpu, near, far, cut] =
        ["cpu", "near", "far", "cut"].map(|name| pmem.create_arena(name, ArenaType::RAM).unwrap());
    pmem.prime(near, r(0, 0x1000), Attrs::ram()).unwrap();
    pmem.prime(far, r(0, 0x8000), Attrs::ram()).unwrap();
    pmem.prime(far, r(0x8000, 0x9000), device()).unwrap();
    let measured = |latency, bandwidth| Performance {
        read_latency: Some(latency),
        read_bandwidth: Some(bandwidth),
        ..Performance::default()
    };
    let there = |metric, performance| Direction {
        performance,
        ..Direction::new(Mapping::Identity, Metric::new(metric))
    };
    let closed = Direction::closed;
    // As near as the way there, and made first; but dear from there on.
    let side = pmem.create_arena("side", ArenaType::VIEW).unwrap();
    pmem.connect_asymmetric(side, far, there(100, Performance::default()), closed()).unwrap();
    pmem.connect_asymmetric(cpu, side, there(1, Performance::default()), closed()).unwrap();
    let first = pmem.connect_asymmetric(cpu, near, there(10, measured(80, 200)), closed()).unwrap();
    let second = pmem.connect_asymmetric(near, far, there(5, measured(60, 90)), closed()).unwrap();
    pmem.connect_asymmetric(cpu, far, there(21, measured(100, 400)), closed()).unwrap();
    pmem.alloc(far, &Request::exactly(r(0x1000, 0x2000))).unwrap();
    let state = pmem.state();
    let found =
        |bytes| state.nearest_free(cpu, ArenaType::RAM, bytes).map(|found| (found.arena, found.metric));
    assert_eq!(found(0x1000), Some((near, Metric::new(10))));
    assert_eq!(found(0x1001), Some((far, Metric::new(15))));
    assert_eq!(state.nearest_free(cpu, ArenaType::empty(), 1).unwrap().free, r(0, 0x1000));
    // No run goes on from one set of defaults to another.
    assert_eq!((found(0x6000), found(0x6001)), (Some((far, Metric::new(15))), None));
    assert_eq!(state.nearest_free(cpu, ArenaType::CXL, 1), None);
    let route = state.route(cpu, far).unwrap();
    assert_eq!(route.hops, [(first, Way::ToRight), (second, Way::ToRight)]);
    assert_eq!((route.metric, route.performance), (Metric::new(15), measured(140, 90)));
    assert_eq!(state.route(cpu, cut), None);
    assert_eq!(state.route(cpu, cpu).unwrap().hops, []);
}

#[test]
fn what_one_change_does_twice_is_one_edit() {
    let mut pmem = Manager::new();
    let ram = pmem.create_arena("ram", ArenaType::RAM).unwrap();
    pmem.prime(ram, r(0, 0x1000), Attrs::ram()).unwrap();
    let region = pmem.alloc(ram, &Request::new(0x100)).unwrap();
    pmem.transaction(|plan| (0..3).try_for_each(|_| plan.incref(region))).unwrap();
    let last = pmem.journal().iter().last().unwrap();
    assert_eq!(last.edits, [Edit::Count { region, old: 1, new: 4 }]);
    let names = ["first", "second"];
    pmem.transaction(|plan| names.iter().try_for_each(|name| plan.name_region(region, *name))).unwrap();
    let last = pmem.journal().iter().last().unwrap();
    assert_eq!(last.edits, [Edit::Name { region, old: None, new: Some("second".into()) }]);
}

#[test]
fn names_are_kept_and_said_in_place_of_ids() {
    let (mut pmem, up, down, link) = bridge();
    pmem.name_link(link, "bridge 00:1c.0").unwrap();
    let bar = pmem.alloc(down, &Request::exactly(r(0x8000, 0x8100))).unwrap();
    pmem.name_region(bar, "NIC BAR 0").unwrap();
    let wall = pmem.alloc(up, &Request::exactly(r(0x8800, 0x8900))).unwrap();
    let error = pmem.map(up, bar).unwrap_err();
    let said = error.named(pmem.state()).to_string();
    assert_eq!(
        said,
        format!(
            "region NIC BAR 0 cannot be made visible in arena up: interconnect bridge 00:1c.0 to the right: window 0 cannot grow to 0x8000..0x9000: it would cover {wall} at 0x8800..0x8900"
        )
    );
    // What names nothing, or has no name, stays a number.
    let nobody = Error::NoRegion(RegionId::from_raw(7 << 32 | 9));
    assert_eq!(nobody.named(pmem.state()).to_string(), "region 9v7 does not exist");
    assert_eq!(Error::NoArena(down).named(pmem.state()).to_string(), "arena down does not exist");
    let loaded = Manager::load(pmem.save()).unwrap();
    assert_eq!(loaded.state().region_name(bar), Some("NIC BAR 0"));
    assert_eq!(loaded.state().link(link).unwrap().name, "bridge 00:1c.0");
    // A name goes with its region, comes back with an undone change, and can be taken back.
    let gone: Result<(), Error> = pmem.transaction(|plan| {
        plan.decref(bar)?;
        Err(Error::Abandoned)
    });
    assert_eq!((gone, pmem.state().region_name(bar)), (Err(Error::Abandoned), Some("NIC BAR 0")));
    pmem.name_region(bar, "").unwrap();
    assert_eq!(pmem.state().region_name(bar), None);
    pmem.name_region(bar, "again").unwrap();
    pmem.decref(bar).unwrap();
    assert_eq!(pmem.state().region_name(bar), None);
}

#[test]
fn a_graph_for_graphviz() {
    let (mut pmem, up, _, link) = bridge();
    pmem.name_arena(up, "the \"upper\" bus").unwrap();
    pmem.name_link(link, "br").unwrap();
    assert_eq!(
        pmem.state().dot().to_string(),
        "digraph pmem {\n\
         \ta4294967297 [label=\"the \\\"upper\\\" bus\\npci\"];\n\
         \ta4294967298 [label=\"down\\npci\"];\n\
         \ta4294967297 -> a4294967298 [label=\"br\\nwindows, cost 1\"];\n\
         \ta4294967298 -> a4294967297 [label=\"br\\nwindows that yield, cost 1\"];\n\
         }\n"
    );
}

#[test]
fn a_transaction_fails_with_the_callers_own_error() {
    #[derive(Debug, PartialEq)]
    enum Mine {
        Pmem(Error),
        Tired,
    }
    impl From<Error> for Mine {
        fn from(error: Error) -> Self {
            Self::Pmem(error)
        }
    }
    let (mut pmem, up, ..) = bridge();
    let before = pmem.state().sequence();
    let tired = pmem.try_transaction(|plan| {
        plan.alloc(up, &Request::new(0x100))?;
        Err::<(), _>(Mine::Tired)
    });
    let missing = pmem.try_transaction(|plan| Ok::<_, Mine>(plan.decref(RegionId::default())?));
    assert_eq!(tired, Err(Mine::Tired));
    assert_eq!(missing, Err(Mine::Pmem(Error::NoRegion(RegionId::default()))));
    assert_eq!(pmem.state().sequence(), before);
}

#[test]
fn bad_and_sealed_space_is_not_free() {
    let mut pmem = Manager::new();
    let ram = pmem.create_arena("RAM", ArenaType::RAM).unwrap();
    let memory = |usage| Attrs::new(usage, Prot::RWX, Props::empty()).unwrap();
    pmem.prime(ram, r(0, 0x4000), memory(Usage::empty())).unwrap();
    pmem.prime(ram, r(0x4000, 0x9000), memory(Usage::BROKEN)).unwrap();
    pmem.prime(ram, r(0x9000, 0xc000), memory(Usage::empty())).unwrap();
    pmem.seal(ram, r(0, 0x2000)).unwrap();
    let arena = pmem.state().arena(ram).unwrap();
    let free: Vec<AddrRange> = arena.free_in(AddrRange::ALL).map(|(range, _)| range).collect();
    assert_eq!(free, [r(0x2000, 0x4000), r(0x9000, 0xc000)]);
    assert_eq!(arena.largest_free(AddrRange::ALL), Some(r(0x9000, 0xc000)));
    let nearest = |bytes| pmem.state().nearest_free(ram, ArenaType::RAM, bytes).map(|found| found.free);
    assert_eq!((nearest(0x3000), nearest(0x3001)), (Some(r(0x9000, 0xc000)), None));
}
