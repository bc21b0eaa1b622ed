//! The kernel's resource map: the resources of each function, their sizes, and where they are assigned.

use crate::BusRange;
use crate::tree::{Function, Index, Slot, Space, Tree, WindowKind};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A resource in the map: the function, and which of its resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceId {
    /// A resource that the function decodes.
    Slot(Index, Slot),
    /// A window that the function forwards, as a bridge.
    Window(Index, WindowKind),
}

impl ResourceId {
    /// Returns the function.
    #[must_use]
    pub const fn function(self) -> Index {
        match self {
            Self::Slot(index, _) | Self::Window(index, _) => index,
        }
    }

    /// Returns `true` for a window.
    #[must_use]
    pub const fn is_window(self) -> bool {
        matches!(self, Self::Window(..))
    }
}

/// A resource, with what the kernel knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Res {
    pub(super) id: ResourceId,
    pub(super) space: Space,
    pub(super) prefetchable: bool,
    pub(super) wide: bool,
    /// The size in bytes; 0 means that nothing is requested.
    pub(super) size: u64,
    pub(super) align: u64,
    /// The bus address where it is assigned; `None` if it is not.
    pub(super) at: Option<u64>,
    /// Whether it never moves.
    pub(super) fixed: bool,
    /// Whether the kernel has given it up and no longer requests it.
    pub(super) dead: bool,
}

impl Res {
    pub(super) fn span(&self) -> Option<BusRange> {
        BusRange::sized(self.at?, self.size).filter(|_| !self.dead)
    }

    pub(super) fn is_vf(&self) -> bool {
        matches!(self.id, ResourceId::Slot(_, Slot::Vf(_)))
    }

    pub(super) fn is_window(&self) -> bool {
        self.id.is_window()
    }

    pub(super) fn is_rom(&self) -> bool {
        matches!(self.id, ResourceId::Slot(_, Slot::Rom))
    }
}

/// The kernel's resource map of a hierarchy, and what the bridges' registers hold.
#[derive(Clone, Debug)]
pub struct Map {
    pub(super) tree: Tree,
    pub(super) all: Vec<Res>,
    /// What the registers of each window forward, which may differ from the map.
    hardware: BTreeMap<ResourceId, Option<BusRange>>,
    /// The functions that were just discovered. The kernel has not enabled them yet, whatever their registers
    /// say.
    found: BTreeSet<Index>,
}

impl Map {
    /// Creates a map with everything where the hierarchy has it.
    #[must_use]
    pub fn new(tree: &Tree) -> Self {
        let mut map =
            Self { tree: tree.clone(), all: Vec::new(), hardware: BTreeMap::new(), found: BTreeSet::new() };
        for (index, function) in tree.functions.iter().enumerate() {
            map.add(index, function);
            map.set_up(index);
        }
        map
    }

    /// Writes a bridge's windows to its registers.
    pub(super) fn set_up(&mut self, index: Index) {
        let own: Vec<(ResourceId, Option<BusRange>)> =
            self.of(index).filter(|res| res.id.is_window()).map(|res| (res.id, res.span())).collect();
        self.hardware.extend(own);
    }

    /// Marks a resource without a place to be requested again at the next opportunity.
    pub fn ask_again(&mut self, id: ResourceId) {
        if let Some(res) = self.get_mut(id).filter(|res| res.at.is_none()) {
            res.dead = false;
        }
    }

    /// Records that a window without a place is wanted at its old size.
    pub fn keep_size(&mut self, bridge: Index, kind: WindowKind, size: u64) {
        if let Some(res) = self.get_mut(ResourceId::Window(bridge, kind)).filter(|res| res.at.is_none()) {
            res.size = size;
        }
    }

    /// Records that a window's registers forward something other than the map says; `None` if they are closed.
    pub fn hold(&mut self, bridge: Index, kind: WindowKind, registers: Option<BusRange>) {
        self.hardware.insert(ResourceId::Window(bridge, kind), registers);
    }

    /// Returns `true` if a bridge is enabled, so that assigning its windows does not write them. Linux makes a
    /// bridge bus master when it enables it.
    pub(super) fn is_on(&self, index: Index) -> bool {
        let is_master = |f: &Function| f.command.is_none_or(|command| command & 4 != 0);
        !self.found.contains(&index) && self.tree.functions.get(index).is_some_and(is_master)
    }

    /// Marks all discovered functions as enabled.
    pub(super) fn settle(&mut self) {
        self.found.clear();
    }

    /// Returns the hierarchy as the registers have it.
    #[must_use]
    pub fn registers(&self) -> Tree {
        let mut tree = self.tree();
        for (id, span) in &self.hardware {
            let ResourceId::Window(index, kind) = *id else { continue };
            let bridge = tree.functions.get_mut(index).and_then(|function| function.bridge.as_mut());
            let windows = bridge.into_iter().flat_map(|bridge| &mut bridge.windows);
            if let Some(window) = windows.into_iter().find(|window| window.kind == kind) {
                window.span = *span;
            }
        }
        tree
    }

    fn add(&mut self, index: Index, function: &Function) {
        for resource in &function.resources {
            self.all.push(Res {
                id: ResourceId::Slot(index, resource.slot),
                space: resource.space,
                prefetchable: resource.prefetchable,
                wide: resource.is_wide() && resource.space == Space::Memory,
                size: resource.size,
                align: resource.align,
                at: resource.at,
                fixed: resource.fixed,
                // The kernel does not retry what failed once, until the card is removed and plugged in again.
                dead: resource.at.is_none() && !function.absent,
            });
        }
        for window in function.bridge.iter().flat_map(|bridge| &bridge.windows) {
            self.all.push(Res {
                id: ResourceId::Window(index, window.kind),
                space: window.kind.space(),
                prefetchable: window.kind == WindowKind::Prefetchable,
                wide: window.kind == WindowKind::Prefetchable && window.top > 0xffff_ffff,
                size: window.span.map_or(0, BusRange::len),
                align: window.granule,
                at: window.span.map(|span| span.first),
                fixed: false,
                // To the kernel a closed window does not exist until it sizes it.
                dead: window.span.is_none(),
            });
        }
    }

    /// Records that a card is removed: none of its resources is assigned or requested any more.
    pub fn take_out(&mut self, index: Index) {
        for res in self.all.iter_mut().filter(|res| res.id.function() == index) {
            (res.at, res.dead) = (None, true);
        }
    }

    /// Records that a function is discovered, after it was plugged in or removed from the map. All its
    /// resources are requested. Its windows are requested at least as large as their registers say, in whole
    /// granules.
    pub fn plug_in(&mut self, index: Index) {
        self.found.insert(index);
        for res in self.all.iter_mut().filter(|res| res.id.function() == index) {
            (res.at, res.dead) = (None, false);
            if let ResourceId::Window(bridge, kind) = res.id {
                let window = self.tree.functions.get(bridge).and_then(|f| f.window(kind));
                let granule = window.map_or(1, |window| window.granule);
                let held = self.hardware.get(&res.id).copied().flatten();
                res.size = held.map_or(0, |span| span.rounded(granule).len());
            }
        }
    }

    /// Returns where a resource is assigned; `None` if it is not.
    #[must_use]
    pub fn span(&self, id: ResourceId) -> Option<BusRange> {
        self.get(id)?.span()
    }

    /// Returns the hierarchy as the map has it.
    #[must_use]
    pub fn tree(&self) -> Tree {
        let mut tree = self.tree.clone();
        for res in &self.all {
            let Some(function) = tree.functions.get_mut(res.id.function()) else { continue };
            match res.id {
                ResourceId::Slot(_, slot) => {
                    if let Some(resource) = function.resources.iter_mut().find(|r| r.slot == slot) {
                        resource.at = res.at.filter(|_| !res.dead);
                    }
                }
                ResourceId::Window(_, kind) => {
                    let windows = function.bridge.iter_mut().flat_map(|bridge| &mut bridge.windows);
                    if let Some(window) = windows.into_iter().find(|window| window.kind == kind) {
                        window.span = res.span();
                    }
                }
            }
        }
        tree
    }

    pub(super) fn get(&self, id: ResourceId) -> Option<&Res> {
        self.all.iter().find(|res| res.id == id)
    }

    pub(super) fn get_mut(&mut self, id: ResourceId) -> Option<&mut Res> {
        self.all.iter_mut().find(|res| res.id == id)
    }

    /// Iterates over a function's resources in the kernel's order: BARs, ROM, virtual functions, windows (I/O,
    /// memory, prefetchable).
    pub(super) fn of(&self, index: Index) -> impl Iterator<Item = &Res> + '_ {
        self.all.iter().filter(move |res| res.id.function() == index)
    }

    /// Returns the functions directly below a bridge, or on a root bus, in order of address.
    pub(super) fn on_bus(&self, root: usize, bridge: Option<Index>) -> Vec<Index> {
        let mut all: Vec<Index> = self.tree.on_bus(root, bridge).map(|(index, _)| index).collect();
        all.sort_by_key(|index| self.tree.functions.get(*index).map(|f| f.address));
        all
    }

    pub(super) fn is_bridge(&self, index: Index) -> bool {
        self.tree.functions.get(index).is_some_and(|f| f.bridge.is_some())
    }

    pub(super) fn is_hot_plug(&self, index: Index) -> bool {
        self.tree.functions.get(index).and_then(|f| f.bridge.as_ref()).is_some_and(|bridge| bridge.hot_plug)
    }

    pub(super) fn root_of(&self, index: Index) -> usize {
        self.tree.functions.get(index).map_or(0, |f| f.root)
    }

    pub(super) fn parent(&self, index: Index) -> Option<Index> {
        self.tree.functions.get(index).and_then(|f| f.parent)
    }
}
