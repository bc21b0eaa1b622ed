//! The PCI driver over configuration space that is not there: registers are decoded here from the specification alone.

use pmem_core::{Error, Manager, Scope, Subscription};
use pmem_drivers::pci::{Binding, FakeFunction, FakeSpace, Pci, Port, Recording, model, transact};
use pmem_pci::plan::{Goal, Verdict, plan};
use pmem_pci::tree::{
    Aperture, Bridge, Function, Mobility, Resource, Root, Slot, Space, Tree, Window, WindowKind,
};
use pmem_pci::{Address, Budget, BusRange};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn address(bus: u8, device: u8) -> Address {
    Address { segment: 0, bus, device, function: 0 }
}

fn prefetchable(slot: u8, size: u64, at: Option<u64>) -> Resource {
    Resource {
        slot: Slot::Bar(slot),
        space: Space::Memory,
        prefetchable: true,
        top: u64::MAX,
        size,
        align: size,
        at,
        fixed: false,
        optional: false,
    }
}

fn port(bus: u8, device: u8, below: u8, span: Option<(u64, u64)>) -> Function {
    let mut function = Function::new(address(bus, device), None, 0);
    let window = |kind, span, top| Window { kind, span, granule: MIB, top, card_bus: None };
    let span = span.map(|(first, last)| BusRange { first, last });
    let windows =
        vec![window(WindowKind::Memory, None, 0xffff_ffff), window(WindowKind::Prefetchable, span, u64::MAX)];
    function.bridge =
        Some(Bridge { buses: Some((below, below)), windows, hot_plug: true, ..Bridge::default() });
    function.command = Some(7);
    function
}

/// An empty port, and one whose card lives in a window that is larger than it needs.
fn machine() -> Tree {
    let mut tree = Tree::default();
    let span = BusRange { first: 4 * GIB, last: 36 * GIB - 1 };
    tree.roots.push(Root {
        segment: 0,
        buses: (0, 255),
        apertures: vec![Aperture { space: Space::Memory, span, cpu: span.first }],
    });
    tree.functions.push(port(0, 4, 1, None));
    tree.functions.push(port(0, 5, 2, Some((4 * GIB, 35 * GIB - 1))));
    let mut live = Function::new(address(2, 0), Some(1), 0);
    live.command = Some(6);
    live.resources.push(prefetchable(0, 16 * MIB, Some(4 * GIB)));
    tree.functions.push(live);
    tree
}

/// A function's registers, as the specification has them.
fn fake(function: &Function) -> FakeFunction {
    let mut bytes = [0u8; 64];
    bytes[0..4].copy_from_slice(&[0x36, 0x1b, 0x0c, 0x00]);
    bytes[4] = function.command.unwrap_or(0) as u8;
    let mut put = |offset: usize, value: u32| bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    for resource in &function.resources {
        let Slot::Bar(n) = resource.slot else { continue };
        let at = resource.at.unwrap_or(0);
        put(0x10 + 4 * usize::from(n), at as u32 | 0xc);
        put(0x14 + 4 * usize::from(n), (at >> 32) as u32);
    }
    if let Some(bridge) = &function.bridge {
        let (first, last) = bridge.buses.unwrap_or((0, 0));
        put(0x18, u32::from(first) << 8 | u32::from(last) << 16);
        for window in &bridge.windows {
            let pair = window.span.map_or(0x0000_fff0, |span| {
                (span.first >> 16) as u32 & 0xfff0 | span.last as u32 & 0xfff0_0000
            });
            if window.kind == WindowKind::Memory {
                put(0x20, pair);
            } else {
                put(0x24, pair | 0x0001_0001);
                put(0x28, window.span.map_or(0, |span| (span.first >> 32) as u32));
                put(0x2c, window.span.map_or(0, |span| (span.last >> 32) as u32));
            }
        }
    }
    if function.bridge.is_some() {
        bytes[0x0e] = 1;
    }
    let mut out = FakeFunction::new(&bytes).writable(0x04, 2, 7);
    for resource in &function.resources {
        let Slot::Bar(n) = resource.slot else { continue };
        let size = !(resource.size - 1);
        out = out.writable(0x10 + 4 * u16::from(n), 4, size as u32 & !0xf).writable(
            0x14 + 4 * u16::from(n),
            4,
            (size >> 32) as u32,
        );
    }
    if function.bridge.is_some() {
        out = out
            .writable(0x18, 4, 0x00ff_ffff)
            .writable(0x20, 4, 0xfff0_fff0)
            .writable(0x24, 4, 0xfff0_fff0)
            .writable(0x28, 4, !0)
            .writable(0x2c, 4, !0);
    }
    out
}

struct Rig {
    manager: Manager,
    binding: Arc<Mutex<Binding>>,
    space: FakeSpace,
    driver: pmem_core::DriverId,
}

fn rig(tree: &Tree) -> Rig {
    let space = FakeSpace::default();
    for function in tree.functions.iter().filter(|f| !f.absent) {
        space.plug(function.address, fake(function));
    }
    let mut manager = Manager::new();
    let mut present = tree.clone();
    present.functions.retain(|function| !function.absent);
    let binding = manager.transaction(|plan| model(plan, &present)).unwrap();
    let binding = Arc::new(Mutex::new(binding));
    let driver = Pci::new(space.clone(), binding.clone());
    let everything = Subscription::new([Scope::Everything]);
    let driver = manager.register(Box::new(driver), everything).unwrap();
    assert_eq!(space.trace(), [], "taking over writes nothing");
    Rig { manager, binding, space, driver }
}

/// What the registers of a window hold, worked out from the specification.
fn window(space: &FakeSpace, bridge: Address) -> Option<(u64, u64)> {
    let pair = u64::from(space.holds(bridge, 0x24, 4));
    let first = (pair & 0xfff0) << 16 | u64::from(space.holds(bridge, 0x28, 4)) << 32;
    let last = pair & 0xfff0_0000 | 0xf_ffff | u64::from(space.holds(bridge, 0x2c, 4)) << 32;
    (first <= last).then_some((first, last))
}

fn bar(space: &FakeSpace, function: Address) -> u64 {
    u64::from(space.holds(function, 0x10, 4)) & !0xf | u64::from(space.holds(function, 0x14, 4)) << 32
}

/// The same machine with a card that is to come, and where it is to be.
fn planned(tree: &Tree, size: u64) -> (Tree, Tree) {
    let mut old = tree.clone();
    let mut card = Function::new(address(1, 0), Some(0), 0);
    (card.absent, card.mobility) = (true, Mobility::Asked);
    card.resources.push(prefetchable(0, size, None));
    old.functions.push(card);
    let goal =
        Goal { old: old.clone(), tree: old.clone(), place: vec![(3, Slot::Bar(0))], ..Goal::default() };
    match plan(&goal, &mut Budget::steps(1_000_000)) {
        Verdict::Fits(plan) => (old, plan.tree),
        other => panic!("{other:?}"),
    }
}

/// Plugs the card of a hierarchy in: the hardware is there, and decodes nothing.
fn arrives(space: &FakeSpace, tree: &Tree) {
    space.plug(address(1, 0), fake(&Function { command: Some(0), ..tree.functions[3].clone() }));
}

#[test]
fn a_hot_plugged_card_is_one_transaction() {
    let tree = machine();
    let mut rig = rig(&tree);
    let (old, to) = planned(&tree, 8 * GIB);
    arrives(&rig.space, &old);
    transact(&mut rig.manager, &rig.binding, &to).unwrap();
    rig.manager.verify(rig.driver).unwrap();
    let at = to.functions[3].resources[0].at.unwrap();
    assert_eq!(bar(&rig.space, address(1, 0)), at);
    let span = |index: usize| {
        to.functions[index].window(WindowKind::Prefetchable).unwrap().span.map(|span| (span.first, span.last))
    };
    assert_eq!((window(&rig.space, address(0, 4)), window(&rig.space, address(0, 5))), (span(0), span(1)));
    assert_eq!(bar(&rig.space, address(2, 0)), 4 * GIB, "the neighbour stays");
    assert_eq!(rig.space.holds(address(2, 0), 0x04, 2), 6, "and is never stopped");
    let trace = rig.space.trace();
    assert!(trace.iter().all(|written| written.function != address(2, 0)), "{trace:?}");
    // The neighbour's window shrinks before the other one opens.
    let first = |function| trace.iter().position(|written| written.function == function).unwrap();
    assert!(first(address(0, 5)) < first(address(0, 4)), "{trace:?}");
    assert!(rig.manager.state().arena_named("pci 0000:01").is_some());
}

/// Every byte of every function.
fn image(space: &FakeSpace) -> Vec<u32> {
    let functions = [address(0, 4), address(0, 5), address(2, 0), address(1, 0)];
    let registers = |function| (0..64).step_by(4).map(move |offset| (function, offset));
    functions
        .into_iter()
        .flat_map(registers)
        .map(|(function, offset)| space.holds(function, offset, 4))
        .collect()
}

#[test]
fn whatever_refuses_all_is_as_it_was() {
    let tree = machine();
    let (old, to) = planned(&tree, 8 * GIB);
    let writes = {
        let mut rig = rig(&tree);
        arrives(&rig.space, &old);
        transact(&mut rig.manager, &rig.binding, &to).unwrap();
        rig.space.trace().len()
    };
    assert!(writes >= 6);
    for after in 0..writes {
        for sticks in [false, true] {
            let mut rig = rig(&tree);
            arrives(&rig.space, &old);
            let before = image(&rig.space);
            let functions = rig.binding.lock().unwrap().tree.functions.len();
            if sticks {
                rig.space.stick_after(Some(after));
            } else {
                rig.space.fail_after(Some(after));
            }
            let refused = transact(&mut rig.manager, &rig.binding, &to);
            // A register that holds already what is written to it may stick.
            if refused.is_ok() {
                assert!(sticks, "write {after}");
                continue;
            }
            assert!(matches!(refused, Err(Error::Failed { .. })), "{refused:?}");
            rig.space.stick_after(None);
            rig.space.fail_after(None);
            assert_eq!(image(&rig.space), before, "after {after} writes");
            assert_eq!(rig.binding.lock().unwrap().tree.functions.len(), functions);
            assert!(rig.manager.state().arena_named("pci 0000:03").is_none());
            rig.manager.verify(rig.driver).unwrap();
            rig.manager.check().unwrap();
        }
    }
}

#[test]
fn a_card_that_is_pulled_out_half_way_is_a_fault() {
    let tree = machine();
    let (old, to) = planned(&tree, 8 * GIB);
    let mut rig = rig(&tree);
    arrives(&rig.space, &old);
    let before = (window(&rig.space, address(0, 4)), window(&rig.space, address(0, 5)));
    rig.space.pull_after(4, address(1, 0));
    let Err(Error::Failed { fault, .. }) = transact(&mut rig.manager, &rig.binding, &to) else {
        panic!("it was not noticed")
    };
    assert_eq!(fault.reason, "the function does not answer: it was removed");
    assert_eq!((window(&rig.space, address(0, 4)), window(&rig.space, address(0, 5))), before);
    rig.manager.verify(rig.driver).unwrap();
}

#[test]
fn a_register_that_somebody_else_writes_is_found_and_mended() {
    let mut rig = rig(&machine());
    rig.manager.verify(rig.driver).unwrap();
    rig.space.meddle(address(0, 5), 0x24, 4, 0x0001_fff1);
    let wrong = rig.manager.verify(rig.driver).unwrap_err().to_string();
    assert!(wrong.contains("a bridge's window differs from the model"), "{wrong}");
    assert!(rig.manager.resync(rig.driver).is_ok());
    rig.manager.verify(rig.driver).unwrap();
    assert_eq!(window(&rig.space, address(0, 5)), Some((4 * GIB, 35 * GIB - 1)));
}

#[test]
fn registers_that_are_not_the_models_are_not_taken_over() {
    let tree = machine();
    let space = FakeSpace::default();
    tree.functions.iter().for_each(|function| space.plug(function.address, fake(function)));
    space.meddle(address(2, 0), 0x10, 4, 0x1000_0000);
    let mut manager = Manager::new();
    let binding = manager.transaction(|plan| model(plan, &tree)).unwrap();
    let driver = Pci::new(space.clone(), binding);
    let refused = manager.register(Box::new(driver), Subscription::new([Scope::Everything]));
    assert!(refused.unwrap_err().to_string().contains("the registers differ from the model"));
    assert_eq!(space.trace(), []);
}

#[test]
fn a_dry_run_writes_what_would_be_written_and_nothing() {
    let tree = machine();
    let (old, to) = planned(&tree, 8 * GIB);
    let mut real = rig(&tree);
    arrives(&real.space, &old);
    transact(&mut real.manager, &real.binding, &to).unwrap();
    let wanted = real.space.trace();

    let space = FakeSpace::default();
    tree.functions.iter().for_each(|function| space.plug(function.address, fake(function)));
    arrives(&space, &old);
    let mut manager = Manager::new();
    let binding = Arc::new(Mutex::new(manager.transaction(|plan| model(plan, &tree)).unwrap()));
    let driver = Box::new(Pci::new(Recording::new(space.clone()), binding.clone()));
    let driver = manager.register(driver, Subscription::new([Scope::Everything])).unwrap();
    transact(&mut manager, &binding, &to).unwrap();
    manager.verify(driver).unwrap();
    assert_eq!(space.trace(), []);
    let driver: Box<dyn std::any::Any> = manager.deregister(driver).unwrap();
    let driver = driver.downcast::<Pci<Recording<FakeSpace>, Arc<Mutex<Binding>>>>().unwrap();
    assert_eq!(driver.port().written(), wanted);
}

#[test]
fn what_is_recorded_is_read_back_byte_by_byte() {
    let space = FakeSpace::default();
    space.plug(address(0, 4), FakeFunction::new(&[0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]));
    let mut port = Recording::new(space);
    port.write(address(0, 4), 2, 1, 0xaa).unwrap();
    port.write(address(0, 4), 4, 2, 0xbbcc).unwrap();
    assert_eq!(port.read(address(0, 4), 0, 4), Ok(0x44aa_2211));
    assert_eq!(port.read(address(0, 4), 4, 4), Ok(0x8877_bbcc));
    assert_eq!(port.read(address(0, 9), 0, 2), Ok(0xffff));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Cards of any size come one after the other; wherever one write fails nothing is left of it, and without a fault all is as planned.
    #[test]
    fn registers_follow_the_model(sizes in prop::collection::vec(20u32..34, 1..3), fails in 0usize..20) {
        let tree = machine();
        for order in sizes {
            let size = 1u64 << order;
            let (old, to) = planned(&tree, size);
            for fails in [Some(fails), None] {
                let mut rig = rig(&tree);
                arrives(&rig.space, &old);
                let before = image(&rig.space);
                rig.space.fail_after(fails);
                let done = transact(&mut rig.manager, &rig.binding, &to);
                rig.space.fail_after(None);
                rig.manager.check().unwrap();
                rig.manager.verify(rig.driver).unwrap();
                if done.is_ok() {
                    prop_assert_eq!(Some(bar(&rig.space, address(1, 0))), to.functions[3].resources[0].at);
                } else {
                    prop_assert!(fails.is_some());
                    prop_assert_eq!(image(&rig.space), before);
                }
            }
        }
    }
}
