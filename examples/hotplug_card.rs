//! A card with 8 GiB is plugged in behind a port, but its neighbour's window has all the room. The plan cuts
//! that window while the card behind it is live. The driver writes it register by register, reading each back,
//! as one transaction that leaves no trace if a register refuses.

use pmem_core::{Manager, Scope, Subscription};
use pmem_drivers::pci::{FakeFunction, FakeSpace, Pci, Recording, Written, model, transact};
use pmem_pci::check::check;
use pmem_pci::plan::{Goal, Verdict, plan};
use pmem_pci::tree::{
    Aperture, Bridge, Function, Mobility, Resource, Root, Slot, Space, Tree, Window, WindowKind,
};
use pmem_pci::{Address, Budget, BusRange};
use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}

/// Makes a function on a bus.
fn function(bus: u8, device: u8, parent: Option<usize>) -> Function {
    Function::new(Address { segment: 0, bus, device, function: 0 }, parent, 0)
}

/// Makes a port for cards; its prefetchable window is closed if `window` is `None`.
fn port(device: u8, below: u8, window: Option<BusRange>) -> Function {
    let mut port = function(0, device, None);
    let memory =
        Window { kind: WindowKind::Memory, span: None, granule: MIB, top: 0xffff_ffff, card_bus: None };
    let prefetchable =
        Window { kind: WindowKind::Prefetchable, span: window, granule: MIB, top: u64::MAX, card_bus: None };
    let windows = vec![memory, prefetchable];
    port.bridge = Some(Bridge { buses: Some((below, below)), windows, hot_plug: true, ..Bridge::default() });
    port.command = Some(7);
    port
}

/// Makes BAR 0: 64-bit, prefetchable.
fn bar(size: u64, at: Option<u64>) -> Resource {
    Resource {
        slot: Slot::Bar(0),
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

/// Returns the registers of a function that does not exist.
fn registers(function: &Function) -> FakeFunction {
    let mut bytes = [0u8; 64];
    bytes[..4].copy_from_slice(&[0x36, 0x1b, 0x0c, 0x00]);
    bytes[4] = function.command.unwrap_or(0) as u8;
    let mut put = |offset: usize, value: u32| bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    for resource in &function.resources {
        let at = resource.at.unwrap_or(0);
        put(0x10, at as u32 | 0xc);
        put(0x14, (at >> 32) as u32);
    }
    let Some(bridge) = &function.bridge else {
        let size = function.resources.first().map_or(0, |resource| !(resource.size - 1));
        let own = FakeFunction::new(&bytes).writable(0x04, 2, 7);
        return own.writable(0x10, 4, size as u32 & !0xf).writable(0x14, 4, (size >> 32) as u32);
    };
    put(0x18, bridge.buses.map_or(0, |(first, last)| u32::from(first) << 8 | u32::from(last) << 16));
    put(0x20, 0x0000_fff0);
    let span = function.window(WindowKind::Prefetchable).and_then(|window| window.span);
    let pair = |span: BusRange| (span.first >> 16) as u32 & 0xfff0 | span.last as u32 & 0xfff0_0000;
    put(0x24, span.map_or(0x0000_fff0, pair) | 0x0001_0001);
    put(0x28, span.map_or(0, |span| (span.first >> 32) as u32));
    put(0x2c, span.map_or(0, |span| (span.last >> 32) as u32));
    let own = FakeFunction::new(&bytes).writable(0x04, 2, 7).writable(0x18, 4, 0x00ff_ffff);
    own.writable(0x20, 4, 0xfff0_fff0)
        .writable(0x24, 4, 0xfff0_fff0)
        .writable(0x28, 4, !0)
        .writable(0x2c, 4, !0)
}

fn show(written: &[Written], out: &mut String) -> std::fmt::Result {
    for Written { function, offset, width, value } in written {
        let digits = 2 + 2 * usize::from(*width);
        writeln!(out, "  {function} {offset:#04x} {value:#0digits$x}")?;
    }
    Ok(())
}

/// Builds the machine, plugs the card in, and returns what happened.
pub fn run() -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let mut tree = Tree::default();
    let aperture = BusRange { first: 4 * GIB, last: 36 * GIB - 1 };
    tree.roots.push(Root {
        segment: 0,
        buses: (0, 255),
        apertures: vec![Aperture { space: Space::Memory, span: aperture, cpu: aperture.first }],
    });
    tree.functions.push(port(4, 1, None));
    tree.functions.push(port(5, 2, Some(BusRange { first: 4 * GIB, last: 35 * GIB - 1 })));
    let mut live = function(2, 0, Some(1));
    (live.command, live.mobility) = (Some(6), Mobility::Pinned);
    live.resources.push(bar(16 * MIB, Some(4 * GIB)));
    tree.functions.push(live);
    assert!(check(&tree).is_empty());

    // The model takes over the machine without writing anything.
    let space = FakeSpace::default();
    tree.functions.iter().for_each(|function| space.plug(function.address, registers(function)));
    let mut manager = Manager::new();
    let binding = Arc::new(Mutex::new(manager.transaction(|plan| model(plan, &tree))?));
    let driver = Pci::new(space.clone(), Arc::clone(&binding));
    let driver = manager.register(Box::new(driver), Subscription::new([Scope::Everything]))?;
    writeln!(out, "taken over with {} writes", space.trace().len())?;

    // The card: what is the least that must change?
    let mut goal = Goal { old: tree.clone(), ..Goal::default() };
    let mut card = function(1, 0, Some(0));
    (card.absent, card.mobility) = (true, Mobility::Asked);
    card.resources.push(bar(8 * GIB, None));
    goal.old.functions.push(card.clone());
    (goal.tree, goal.place) = (goal.old.clone(), vec![(3, Slot::Bar(0))]);
    let Verdict::Fits(found) = plan(&goal, &mut Budget::steps(1_000_000)) else {
        return Err("it does not fit without stopping anybody".into());
    };
    let at = found.tree.functions[3].resources[0].at.unwrap_or(0);
    writeln!(out, "8 GiB fit at {at:#x}, and {} functions are stopped", found.quiesced.len())?;

    // What would be written: the same driver with a port that only records.
    card.command = Some(0);
    space.plug(card.address, registers(&card));
    let mut trial = Manager::new();
    let trial_binding = Arc::new(Mutex::new(trial.transaction(|plan| model(plan, &tree))?));
    let recording = Box::new(Pci::new(Recording::new(space.clone()), Arc::clone(&trial_binding)));
    let recording = trial.register(recording, Subscription::new([Scope::Everything]))?;
    transact(&mut trial, &trial_binding, &found.tree)?;
    let recording: Box<dyn std::any::Any> = trial.deregister(recording)?;
    let recording = recording.downcast::<Pci<Recording<FakeSpace>, Arc<Mutex<pmem_drivers::pci::Binding>>>>();
    let recording = recording.map_err(|_| "another driver")?;
    writeln!(out, "a dry run would write")?;
    show(recording.port().written(), &mut out)?;

    // A bridge that does not accept its window: nothing is left of the attempt.
    space.stick_after(Some(2));
    if let Err(error) = transact(&mut manager, &binding, &found.tree) {
        writeln!(out, "refused: {error}")?;
    }
    space.stick_after(None);
    manager.verify(driver)?;
    writeln!(
        out,
        "all is as it was: {} functions in the model",
        binding.lock().map_or(0, |own| own.tree.functions.len())
    )?;

    let _ = space.trace();
    transact(&mut manager, &binding, &found.tree)?;
    manager.verify(driver)?;
    writeln!(out, "plugged in; written was")?;
    show(&space.trace(), &mut out)?;
    Ok(out)
}
