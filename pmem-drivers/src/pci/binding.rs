//! What of a model is which part of a PCI hierarchy.

use super::bus::Bus;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use pmem_core::{AddrRange, LinkId, RegionId, State, Way};
use pmem_pci::BusRange;
use pmem_pci::tree::{Index, Slot, Tree, WindowKind};

/// One of a bridge's windows in the model: a piece of an interconnect's mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowId {
    /// The interconnect from the bus above to the bus below.
    pub link: LinkId,
    /// The direction down.
    pub way: Way,
    /// Which of the mapping's windows.
    pub piece: u32,
}

/// A hierarchy, and which regions and windows of a model stand for what of it. Addresses in buses' arenas are those of the bus.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    /// The hierarchy: which functions and bridges there are. Where things are says the model.
    pub tree: Tree,
    /// The regions of what functions decode.
    pub bars: BTreeMap<(Index, Slot), RegionId>,
    /// The windows of bridges.
    pub windows: BTreeMap<(Index, WindowKind), WindowId>,
    /// The arenas of root buses, in order of the host bridges.
    pub roots: Vec<Bus>,
    /// The arenas of buses below bridges.
    pub below: BTreeMap<Index, Bus>,
    /// The bus numbers of bridges, where the model has them: windows between arenas of bus numbers.
    pub buses: BTreeMap<Index, WindowId>,
}

/// Tells the hierarchy that a state of the model asks for.
///
/// [`Binding`] is one for hierarchies whose functions stay; shared behind a lock (feature `std`), functions can come and go with the
/// transaction that makes them.
pub trait Layout: Send {
    /// The hierarchy as it is to be.
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
