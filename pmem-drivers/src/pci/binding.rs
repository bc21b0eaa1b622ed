//! The connection between a model and a PCI hierarchy.

use super::bus::Bus;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use pmem_core::{AddrRange, LinkId, RegionId, State, Way};
use pmem_pci::BusRange;
use pmem_pci::tree::{Index, Slot, Tree, WindowKind};

/// A bridge window in the model: one piece of an interconnect's mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowId {
    /// The interconnect from the bus above the bridge to the bus below it.
    pub link: LinkId,
    /// The direction of the interconnect that leads down.
    pub way: Way,
    /// The index of the window in the mapping.
    pub piece: u32,
}

/// A hierarchy, and the regions and windows of a model that stand for its parts. The arenas of buses hold bus
/// addresses.
///
/// # Examples
///
/// ```
/// # use pmem_core::Manager;
/// # use pmem_pci::tree::{Aperture, Function, Resource, Root, Slot, Space, Tree};
/// # use pmem_pci::{Address, BusRange};
/// use pmem_drivers::pci::{Layout, model};
///
/// # let span = BusRange { first: 0xe000_0000, last: 0xefff_ffff };
/// # let aperture = Aperture { space: Space::Memory, span, cpu: span.first };
/// # let mut nic = Function::new(Address { segment: 0, bus: 0, device: 3, function: 0 }, None, 0);
/// # let (slot, size, at) = (Slot::Bar(0), 16 << 20, Some(0xe000_0000));
/// # nic.resources.push(Resource {
/// #     slot, space: Space::Memory, prefetchable: false, top: 0xffff_ffff, size, align: size, at,
/// #     fixed: false, optional: false,
/// # });
/// # let roots = vec![Root { segment: 0, buses: (0, 255), apertures: vec![aperture] }];
/// # let tree = Tree { roots, functions: vec![nic], ..Tree::default() };
/// // `tree` has a NIC, whose BAR 0 is 16 MiB at 0xe0000000.
/// let mut manager = Manager::new();
/// let binding = manager.transaction(|plan| model(plan, &tree))?;
/// let bar = binding.bars[&(0, Slot::Bar(0))];
/// assert_eq!(manager.state().region_name(bar), Some("0000:00:03.0 BAR 0"));
/// // The model asks for the hierarchy from which it was made.
/// let wanted = binding.hierarchy(manager.state());
/// assert_eq!(wanted.functions[0].resources[0].at, Some(0xe000_0000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Binding {
    /// The functions and bridges of the hierarchy. The model, not this tree, determines their addresses.
    pub tree: Tree,
    /// The region of each resource: BARs, ROMs, and the BARs of virtual functions.
    pub bars: BTreeMap<(Index, Slot), RegionId>,
    /// The window in the model for each bridge window.
    pub windows: BTreeMap<(Index, WindowKind), WindowId>,
    /// The arenas of the root buses, in the order of [`Tree::roots`].
    pub roots: Vec<Bus>,
    /// The arenas of the bus below each bridge.
    pub below: BTreeMap<Index, Bus>,
    /// The bus numbers of each bridge, if the model has them: windows between arenas of bus numbers.
    pub buses: BTreeMap<Index, WindowId>,
}

/// Computes the hierarchy that a state of the model asks for.
///
/// A [`Binding`] does this if the set of functions never changes. With the feature `std`, a binding behind a lock
/// lets functions come and go with the transaction that adds them.
pub trait Layout: Send {
    /// Returns the hierarchy that `state` asks for.
    fn hierarchy(&self, state: &State) -> Tree;
}

fn span(state: &State, leg: WindowId) -> Option<BusRange> {
    let range = state.window(leg.link, leg.way, leg.piece)?;
    BusRange::new(range.start(), range.last())
}

impl Layout for Binding {
    fn hierarchy(&self, state: &State) -> Tree {
        let mut tree = self.tree.clone();
        let buses = self.roots.iter().chain(self.below.values());
        let arenas = buses.flat_map(|bus| [bus.memory, bus.io]).filter_map(|arena| state.arena(arena));
        let places: BTreeMap<RegionId, AddrRange> =
            arenas.flat_map(|arena| arena.regions()).map(|(range, record)| (record.id, range)).collect();
        for (index, function) in tree.functions.iter_mut().enumerate() {
            for resource in &mut function.resources {
                let Some(region) = self.bars.get(&(index, resource.slot)) else { continue };
                let range = places.get(region);
                resource.at = range.map(|range| range.start());
                // The model may resize a BAR. BARs are aligned to their size.
                if let Some(len) = range.map(|range| range.len()).filter(|len| *len != resource.size) {
                    (resource.size, resource.align) = (len, len);
                }
            }
            let Some(bridge) = &mut function.bridge else { continue };
            for window in &mut bridge.windows {
                if let Some(leg) = self.windows.get(&(index, window.kind)) {
                    window.span = span(state, *leg);
                }
            }
            if let Some(leg) = self.buses.get(&index) {
                let number = |bus: u64| u8::try_from(bus).ok();
                bridge.buses = span(state, *leg).and_then(|span| number(span.first).zip(number(span.last)));
            }
        }
        tree
    }
}

#[cfg(feature = "std")]
impl Layout for alloc::sync::Arc<std::sync::Mutex<Binding>> {
    fn hierarchy(&self, state: &State) -> Tree {
        self.lock().unwrap_or_else(std::sync::PoisonError::into_inner).hierarchy(state)
    }
}
