//! The model of a hierarchy: an arena for each bus, an interconnect with floating windows for each bridge, and a
//! region for each base address register. Also applies a planned placement in one transaction.

use super::binding::{Binding, WindowId};
use super::bus::Bus;
use alloc::format;
use alloc::vec::Vec;
use pmem_core::{
    AddrRange, ArenaType, Attrs, Direction, Error, LinkId, Mapping, Metric, Plan, Request, Way, Window,
    Windows,
};
use pmem_pci::BusRange;
use pmem_pci::phases::phases;
use pmem_pci::tree::{Function, Index, Resource, Space, Tree, WindowKind};

fn range(span: BusRange) -> Result<AddrRange, Error> {
    Ok(AddrRange::inclusive(span.first, span.last)?)
}

/// Builds the model of a hierarchy. The root buses' apertures are primed. Each bus below a bridge has all
/// addresses; the bridge's windows decide which of them can be reached.
///
/// # Errors
/// The errors of the operations on `plan`, for example for two BARs at the same address, or a window that is not a
/// multiple of its granule.
pub fn model(plan: &mut Plan<'_>, tree: &Tree) -> Result<Binding, Error> {
    let mut binding = Binding::default();
    for root in &tree.roots {
        let bus = add_bus(plan, root.segment, root.buses.0)?;
        for aperture in &root.apertures {
            plan.prime(bus.of(aperture.space), range(aperture.span)?, Attrs::device())?;
        }
        binding.roots.push(bus);
    }
    binding.tree.roots.clone_from(&tree.roots);
    binding.tree.avoid.clone_from(&tree.avoid);
    for index in 0..tree.functions.len() {
        add_function(plan, &mut binding, tree, index)?;
    }
    // The contents of a bus must exist before windows open to it.
    let closed = without_windows(tree);
    cut(plan, &binding, &closed, tree)?;
    Ok(binding)
}

/// Returns the same hierarchy with every window closed.
fn without_windows(tree: &Tree) -> Tree {
    let mut out = tree.clone();
    for bridge in out.functions.iter_mut().filter_map(|f| f.bridge.as_mut()) {
        bridge.windows.iter_mut().for_each(|window| window.span = None);
    }
    out
}

fn add_bus(plan: &mut Plan<'_>, segment: u32, bus: u8) -> Result<Bus, Error> {
    let name = format!("pci {segment:04x}:{bus:02x}");
    let memory = plan.create_arena(name.as_str(), ArenaType::PCI)?;
    let io = plan.create_arena(format!("{name} I/O"), ArenaType::PCI | ArenaType::IO)?;
    Ok(Bus { memory, io })
}

fn bus_of(binding: &Binding, tree: &Tree, index: Index) -> Option<Bus> {
    let function = tree.functions.get(index)?;
    match function.parent {
        Some(parent) => binding.below.get(&parent).copied(),
        None => binding.roots.get(function.root).copied(),
    }
}

/// Adds a function: its regions and, for a bridge, the bus below it with closed windows. The bridge above it must
/// be there already.
fn add_function(plan: &mut Plan<'_>, binding: &mut Binding, tree: &Tree, index: Index) -> Result<(), Error> {
    let (Some(function), Some(on)) = (tree.functions.get(index), bus_of(binding, tree, index)) else {
        return Ok(());
    };
    for resource in &function.resources {
        let request = Request::new(resource.size).align(resource.align.max(1));
        let region = match resource.span() {
            Some(span) => plan.alloc(on.of(resource.space), &Request::exactly(range(span)?))?,
            None => plan.alloc_parked(on.of(resource.space), &request)?,
        };
        plan.name_region(region, format!("{} BAR {}", function.address, resource.slot))?;
        binding.bars.insert((index, resource.slot), region);
    }
    if let Some(bridge) = &function.bridge {
        let (first, _) = bridge.buses.unwrap_or((0, 0));
        let below = add_bus(plan, function.address.segment, first)?;
        plan.prime(below.memory, AddrRange::ALL, Attrs::device())?;
        plan.prime(below.io, AddrRange::inclusive(0, 0xffff_ffff)?, Attrs::device())?;
        for space in [Space::Memory, Space::Io] {
            let mut pieces = Vec::new();
            let own = bridge.windows.iter().filter(|window| window.kind.space() == space);
            for window in own.clone() {
                let floating = Window::floating(AddrRange::inclusive(0, window.top)?, window.granule)?;
                let is_prefetchable = window.kind == WindowKind::Prefetchable;
                pieces.push(if is_prefetchable { floating.prefetchable() } else { floating });
            }
            if pieces.is_empty() {
                continue;
            }
            let down = Direction::new(Mapping::Windows(Windows::new(pieces)?), Metric::new(1));
            let link: LinkId =
                plan.connect_asymmetric(on.of(space), below.of(space), down, Direction::closed())?;
            plan.name_link(
                link,
                format!("bridge {}{}", function.address, if space == Space::Io { " I/O" } else { "" }),
            )?;
            for (piece, window) in (0u32..).zip(own) {
                binding.windows.insert((index, window.kind), WindowId { link, way: Way::ToRight, piece });
            }
        }
        binding.below.insert(index, below);
    }
    binding.tree.functions.push(function.clone());
    Ok(())
}

/// Changes windows from one placement to another.
fn cut(plan: &mut Plan<'_>, binding: &Binding, from: &Tree, to: &Tree) -> Result<(), Error> {
    for phase in phases(from, to) {
        if let Some(leg) = binding.windows.get(&(phase.bridge, phase.kind)) {
            plan.set_floor(leg.link, leg.way, leg.piece, phase.to.map(range).transpose()?)?;
        }
    }
    Ok(())
}

/// Applies a placement to the model, in one transaction with whatever else the caller changes. Regions move and
/// windows change. New functions, such as a card that was plugged in, get their regions, and buses below them their
/// arenas. Functions that `to` no longer has were pulled out: they stay in the binding's list, without addresses.
/// The binding is updated too. If the transaction fails you must restore it, as [`transact`] does.
///
/// # Errors
/// The errors of the operations on `plan`.
pub fn apply(plan: &mut Plan<'_>, binding: &mut Binding, to: &Tree) -> Result<(), Error> {
    let known = binding.tree.functions.len();
    let mut to = to.clone();
    // A card that was expected has arrived.
    to.functions.iter_mut().for_each(|function| function.absent = false);
    let pulled = binding.tree.functions.iter().skip(to.functions.len()).map(without_places);
    to.functions.extend(pulled.map(|function| Function { absent: true, ..function }));
    let moves: Vec<(Index, &Resource, Option<u64>)> = to
        .functions
        .iter()
        .take(known)
        .enumerate()
        .flat_map(|(index, function)| function.resources.iter().map(move |resource| (index, resource)))
        .filter_map(|(index, resource)| {
            let had = binding.tree.functions.get(index)?.resource(resource.slot)?;
            let same = had.at == resource.at && had.size == resource.size;
            (!same).then_some((index, resource, had.at))
        })
        .collect();
    let region = |index: Index, resource: &Resource| binding.bars.get(&(index, resource.slot)).copied();
    for (index, resource, had) in &moves {
        if let (Some(region), Some(_)) = (region(*index, resource), had) {
            plan.park(region)?;
        }
    }
    let mut from = binding.tree.clone();
    for function in to.functions.get(known..).unwrap_or(&[]) {
        from.functions.push(without_places(function));
    }
    for (index, resource, _) in &moves {
        if let Some(region) = region(*index, resource) {
            plan.resize(region, resource.size)?;
        }
    }
    // Regions that move are parked now, so neither they nor their windows are in the way.
    for index in known..to.functions.len() {
        add_function(plan, binding, &from, index)?;
    }
    let mut grows = Vec::new();
    for phase in phases(&from, &to) {
        let Some(leg) = binding.windows.get(&(phase.bridge, phase.kind)).copied() else { continue };
        match phase.to {
            // Growing windows wait until the regions are in place.
            Some(span) if phase.from.is_none_or(|had| span.covers(had)) => grows.push((leg, span)),
            _ => plan.set_floor(leg.link, leg.way, leg.piece, phase.to.map(range).transpose()?)?,
        }
    }
    for (index, resource, _) in &moves {
        if let (Some(region), Some(at)) = (binding.bars.get(&(*index, resource.slot)).copied(), resource.at) {
            plan.unpark(region, pmem_core::Constraints::at(at))?;
        }
    }
    for (index, function) in to.functions.iter().enumerate().skip(known) {
        for resource in &function.resources {
            if let (Some(region), Some(at)) =
                (binding.bars.get(&(index, resource.slot)).copied(), resource.at)
            {
                plan.unpark(region, pmem_core::Constraints::at(at))?;
            }
        }
    }
    for (leg, span) in grows {
        plan.set_floor(leg.link, leg.way, leg.piece, Some(range(span)?))?;
    }
    binding.tree = to;
    Ok(())
}

/// Returns the function with all its addresses and windows cleared.
fn without_places(function: &Function) -> Function {
    let mut function = function.clone();
    function.resources.iter_mut().for_each(|resource| resource.at = None);
    let windows = function.bridge.iter_mut().flat_map(|bridge| &mut bridge.windows);
    windows.for_each(|window| window.span = None);
    function
}

/// Applies a placement to the model and, through its driver, to the hardware. If an operation or a register
/// refuses, nothing changes.
///
/// # Errors
/// The errors of the operations on the model, and the drivers' [`Error::Refused`] and [`Error::Failed`]. The binding is
/// then as it was before.
#[cfg(feature = "std")]
pub fn transact(
    manager: &mut pmem_core::Manager,
    binding: &std::sync::Mutex<Binding>,
    to: &Tree,
) -> Result<(), Error> {
    let lock = || binding.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = lock().clone();
    // Lock the binding only while applying the placement: the driver needs the lock when the change is made.
    let done = manager.transaction(|plan| apply(plan, &mut lock(), to));
    if done.is_err() {
        *lock() = before;
    }
    done
}
