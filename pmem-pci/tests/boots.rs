//! What Linux assigns at boot and on a resize, against what it did on machines of public reports, whose figures are
//! restated here; and how it shares out what a hot-plug port has.

use pmem_pci::linux::{Event, Map, ResourceId, Rules, predict};
use pmem_pci::tree::{
    Aperture, Avoid, Bridge, Function, Resource, Root, Slot, Space, Tree, Window, WindowKind,
};
use pmem_pci::{Address, BusRange};

const MIB: u64 = 1 << 20;
const LOW: u64 = 0xffff_ffff;

fn at(device: u8, function: u8) -> Address {
    Address { segment: 0, bus: 0, device, function }
}

fn span(first: u64, last: u64) -> BusRange {
    BusRange { first, last }
}

fn root(apertures: &[(u64, u64)]) -> Tree {
    let aperture = |(first, last): &(u64, u64)| Aperture {
        space: Space::Memory,
        span: span(*first, *last),
        cpu: *first,
    };
    let root = Root { segment: 0, buses: (0, 255), apertures: apertures.iter().map(aperture).collect() };
    Tree { roots: vec![root], ..Tree::default() }
}

fn memory(slot: Slot, prefetchable: bool, (size, align): (u64, u64), at: Option<u64>) -> Resource {
    let optional = matches!(slot, Slot::Vf(_));
    let (space, top) = (Space::Memory, u64::MAX);
    Resource { slot, space, prefetchable, top, size, align, at, fixed: false, optional }
}

fn virtual_functions() -> [Resource; 2] {
    [
        memory(Slot::Vf(0), false, (7 * 16 * MIB, 16 * MIB), None),
        memory(Slot::Vf(2), true, (7 * 512 * MIB, 512 * MIB), None),
    ]
}

/// A port with a window of memory, and one of prefetchable memory that may be closed.
fn port(
    tree: &mut Tree,
    address: Address,
    bus: u8,
    hot_plug: bool,
    windows: (Option<BusRange>, Option<BusRange>),
) -> usize {
    let window = |kind, span, top| Window { kind, span, granule: MIB, top, card_bus: None };
    let windows = vec![
        window(WindowKind::Memory, windows.0, LOW),
        window(WindowKind::Prefetchable, windows.1, u64::MAX),
    ];
    let mut made = Function::new(address, None, 0);
    made.bridge = Some(Bridge { buses: Some((bus, bus)), windows, hot_plug, ..Bridge::default() });
    tree.functions.push(made);
    tree.functions.len() - 1
}

fn function(tree: &mut Tree, address: Address, parent: Option<usize>, resources: Vec<Resource>) -> usize {
    tree.functions.push(Function { resources, ..Function::new(address, parent, 0) });
    tree.functions.len() - 1
}

/// Alder Lake-P with coreboot, its graphics with virtual functions (public text 7612131391, a boot journal of 6.1's time): falling alignment, each
/// in the lowest gap above 4 GiB; a space of virtual functions is aligned as one of them.
#[test]
fn virtual_functions_at_boot() {
    let mut tree = root(&[
        (0xa_0000, 0xf_ffff),
        (0x8040_0000, 0xdfff_ffff),
        (0x8_7fc0_0000, 0x7f_ffff_ffff),
        (0xfc80_0000, 0xfe7f_ffff),
        (0xfed4_0000, 0xfed4_7fff),
    ]);
    let ecam = span(0xc000_0000, 0xcfff_ffff);
    tree.avoid.push(Avoid { space: Space::Memory, span: ecam, strict: true });
    let mut graphics = vec![
        memory(Slot::Bar(0), false, (16 * MIB, 16 * MIB), Some(0x8100_0000)),
        memory(Slot::Bar(2), true, (256 * MIB, 256 * MIB), Some(0x9000_0000)),
    ];
    graphics.extend(virtual_functions());
    let graphics = function(&mut tree, at(2, 0), None, graphics);
    let mut disk = |device, bus, hot_plug, first: u64| {
        let port = port(&mut tree, at(device, 0), bus, hot_plug, (Some(span(first, first + MIB - 1)), None));
        let bar = memory(Slot::Bar(0), false, (0x4000, 0x4000), Some(first));
        function(&mut tree, Address { bus, ..at(0, 0) }, Some(port), vec![bar]);
        port
    };
    disk(0x1c, 1, false, 0x8040_0000);
    let port = disk(0x1d, 2, true, 0x8050_0000);
    let outcome = predict(&Map::new(&tree), &Rules::of(6, 1), Event::Boot);
    let found = |id| outcome.map.span(id);
    assert_eq!(found(ResourceId::Slot(graphics, Slot::Vf(2))), Some(span(0x8_8000_0000, 0x9_5fff_ffff)));
    assert_eq!(found(ResourceId::Slot(graphics, Slot::Vf(0))), Some(span(0x9_6000_0000, 0x9_66ff_ffff)));
    let window = found(ResourceId::Window(port, WindowKind::Prefetchable));
    assert_eq!(window, Some(span(0x8_7fc0_0000, 0x8_7fdf_ffff)));
    assert_eq!(outcome.hurt, []);
}

/// Raptor Lake-P with three empty Thunderbolt ports (public text 12169930836, a boot log).
#[test]
fn virtual_functions_between_thunderbolt_ports() {
    let mut tree = root(&[
        (0xa_0000, 0xf_ffff),
        (0x8040_0000, 0xdfff_ffff),
        (0x8_7fc0_0000, 0x3fff_ffff_ffff),
        (0xfc80_0000, 0xfe7f_ffff),
        (0xfed4_0000, 0xfed4_7fff),
    ]);
    let graphics = function(&mut tree, at(2, 0), None, virtual_functions().into());
    for (n, bus, low, high) in [
        (0, 0x01, (0x8300_0000, 0x8f1f_ffff), (0x8_7fc0_0000, 0x8_9bbf_ffff)),
        (1, 0x2c, (0xa000_0000, 0xac1f_ffff), (0x8_9bc0_0000, 0x8_b7bf_ffff)),
        (2, 0x57, (0xac20_0000, 0xb83f_ffff), (0x8_b7c0_0000, 0x8_d3bf_ffff)),
    ] {
        port(&mut tree, at(7, n), bus, true, (Some(span(low.0, low.1)), Some(span(high.0, high.1))));
    }
    let small = |at| memory(Slot::Bar(0), false, (0x1000, 0x1000), at);
    let eight = function(&mut tree, at(8, 0), None, vec![small(None)]);
    let nineteen = function(&mut tree, at(0x19, 0), None, vec![small(None)]);
    let slot = port(&mut tree, at(0x1c, 0), 0x82, true, (Some(span(0x8040_0000, 0x804f_ffff)), None));
    port(&mut tree, at(0x1d, 0), 0x83, false, (Some(span(0x8050_0000, 0x805f_ffff)), None));
    let outcome = predict(&Map::new(&tree), &Rules::of(6, 1), Event::Boot);
    let first = |id| outcome.map.span(id).map(|span| span.first);
    assert_eq!(first(ResourceId::Slot(graphics, Slot::Vf(2))), Some(0x8_e000_0000));
    assert_eq!(first(ResourceId::Slot(graphics, Slot::Vf(0))), Some(0x8_d400_0000));
    assert_eq!(first(ResourceId::Window(slot, WindowKind::Prefetchable)), Some(0x8_d3c0_0000));
    assert_eq!(first(ResourceId::Slot(eight, Slot::Bar(0))), Some(0x8_d3e0_0000));
    assert_eq!(first(ResourceId::Slot(nineteen, Slot::Bar(0))), Some(0x8_d3e0_1000));
}

/// A host bridge without ports, and a slot that would keep some for cards (an Ampere Altra and a Radeon, linux-pci, June to November 2025).
#[test]
fn ports_that_are_only_kept_undo_a_resize_of_some_versions() {
    let mut tree = root(&[(0x34_0000_0000, 0x37_ffff_ffff), (0x5000_0000, 0x5fff_ffff)]);
    let windows = (Some(span(0x5000_0000, 0x501f_ffff)), Some(span(0x34_0000_0000, 0x34_17ff_ffff)));
    let slot = port(&mut tree, at(1, 0), 1, true, windows);
    if let Some(bridge) = &mut tree.functions[slot].bridge {
        let io = Window { kind: WindowKind::Io, span: None, granule: 0x1000, top: 0xffff, card_bus: None };
        bridge.windows.insert(0, io);
    }
    let bars = vec![
        memory(Slot::Bar(0), true, (256 * MIB, 256 * MIB), Some(0x34_0000_0000)),
        memory(Slot::Bar(2), true, (2 * MIB, 2 * MIB), Some(0x34_1000_0000)),
    ];
    let card = function(&mut tree, Address { bus: 1, ..at(0, 0) }, Some(slot), bars);
    let event = Event::Resize { function: card, slot: Slot::Bar(0), size: 8 << 30 };
    for (minor, undone) in [(14, false), (15, true), (17, true), (18, true), (19, false)] {
        let outcome = predict(&Map::new(&tree), &Rules::of(6, minor), event);
        assert_eq!(outcome.put_back, undone, "6.{minor}");
        let large = outcome.map.span(ResourceId::Slot(card, Slot::Bar(0))).map(BusRange::len);
        assert_eq!(large, Some(if undone { 256 * MIB } else { 8 << 30 }), "6.{minor}");
    }
}

/// What no window of the kernel can be aligned to is given up at once.
#[test]
fn the_largest_register_ends() {
    let mut tree = root(&[(0x8000_0000, 0x8fff_ffff)]);
    let slot = port(&mut tree, at(1, 0), 1, true, (Some(span(0x8000_0000, 0x801f_ffff)), None));
    let bar = memory(Slot::Bar(0), true, (1 << 63, 1 << 63), None);
    let card = function(&mut tree, Address { bus: 1, ..at(0, 0) }, Some(slot), vec![bar]);
    tree.functions[card].absent = true;
    for version in [(6, 1), (6, 12), (7, 0)] {
        let outcome = predict(&Map::new(&tree), &Rules::of(version.0, version.1), Event::Plug(slot));
        assert_eq!(outcome.map.span(ResourceId::Slot(card, Slot::Bar(0))), None);
        assert_eq!(outcome.hurt, []);
    }
}

/// A switch behind a hot-plug port that has 64 MiB of each kind of memory: whichever of its ports take cards share
/// that in equal parts (`pci_bus_distribute_available_resources`).
#[test]
fn what_a_port_has_is_shared_among_the_ports_behind_it() {
    for (hot_plug, shares) in [
        (&[true, true][..], &[32, 32][..]),
        (&[true, true, true, true], &[16, 16, 16, 16]),
        (&[false, true], &[0, 64]),
    ] {
        let mut tree = root(&[(0x8000_0000, 0xbfff_ffff), (0x10_0000_0000, 0x1f_ffff_ffff)]);
        let windows = (span(0x8000_0000, 0x83ff_ffff), span(0x10_0000_0000, 0x10_03ff_ffff));
        let slot = port(&mut tree, at(1, 0), 1, true, (Some(windows.0), Some(windows.1)));
        tree.functions[slot].bridge.as_mut().unwrap().buses = Some((1, 9));
        let mut behind = |above: usize, address: Address, bus: u8, hot_plug: bool| {
            let index = port(&mut tree, address, bus, hot_plug, (None, None));
            tree.functions[index].parent = Some(above);
            index
        };
        let upstream = behind(slot, Address { bus: 1, ..at(0, 0) }, 2, false);
        let downstream: Vec<usize> = (0..)
            .zip(hot_plug)
            .map(|(n, hot_plug)| behind(upstream, Address { bus: 2, ..at(n, 0) }, 3 + n, *hot_plug))
            .collect();
        tree.functions[upstream].bridge.as_mut().unwrap().buses = Some((2, 9));
        let outcome = predict(&Map::new(&tree), &Rules::of(6, 12), Event::Plug(slot));
        for kind in [WindowKind::Memory, WindowKind::Prefetchable] {
            let len = |index: &usize| outcome.map.span(ResourceId::Window(*index, kind)).map(BusRange::len);
            let found: Vec<_> = downstream.iter().map(len).collect();
            let wanted: Vec<_> = shares.iter().map(|mib| Some(mib * MIB).filter(|size| *size > 0)).collect();
            assert_eq!(found, wanted, "{kind} {hot_plug:?}");
            assert_eq!(len(&upstream), Some(64 * MIB));
        }
    }
}
