//! The kernel's map: which resources a function has, of which size, and where they are assigned.

use crate::BusRange;
use crate::tree::{Function, Index, Slot, Space, Tree, WindowKind};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A resource in the map: of which function, and which of its resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceId {
    /// What it decodes.
    Slot(Index, Slot),
    /// What it forwards.
    Window(Index, WindowKind),
}

impl ResourceId {
    /// The function.
    #[must_use]
    pub const fn function(self) -> Index {
        match self {
            Self::Slot(index, _) | Self::Window(index, _) => index,
        }
    }

    /// Whether it is a window.
    #[must_use]
    pub const fn is_window(self) -> bool {
        matches!(self, Self::Window(..))
    }
}

/// A resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Res {
    pub(super) id: ResourceId,
    pub(super) space: Space,
    pub(super) prefetchable: bool,
    pub(super) wide: bool,
    /// Nothing is asked for where this is 0.
    pub(super) size: u64,
    pub(super) align: u64,
    /// Where it is assigned.
    pub(super) at: Option<u64>,
    /// It never moves.
    pub(super) fixed: bool,
    /// It was given up, and is not asked for any more.
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

/// The kernel's map of a hierarchy, and what the bridges' registers hold beside it.
#[derive(Clone, Debug)]
pub struct Map {
    pub(super) tree: Tree,
    pub(super) all: Vec<Res>,
    /// By window: what the registers forward.
    hardware: BTreeMap<ResourceId, Option<BusRange>>,
    /// Functions that were just found, and are not on for the kernel, whatever their registers say.
    found: BTreeSet<Index>,
}

impl Map {
    /// The map that has everything where the hierarchy has it.
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

    /// Writes a bridge's windows into its registers.
    pub(super) fn set_up(&mut self, index: Index) {
        let own: Vec<(ResourceId, Option<BusRange>)> =
            self.of(index).filter(|res| res.id.is_window()).map(|res| (res.id, res.span())).collect();
        self.hardware.extend(own);
    }

    /// Notes that a resource without a place is asked for at the next chance.
    pub fn ask_again(&mut self, id: ResourceId) {
        if let Some(res) = self.get_mut(id).filter(|res| res.at.is_none()) {
            res.dead = false;
        }
    }

    /// Notes that a window without a place is wanted as large as it was.
    pub fn keep_size(&mut self, bridge: Index, kind: WindowKind, size: u64) {
        if let Some(res) = self.get_mut(ResourceId::Window(bridge, kind)).filter(|res| res.at.is_none()) {
            res.size = size;
        }
    }

    /// Notes that a window's registers forward something else than the map has; `None` is closed.
    pub fn hold(&mut self, bridge: Index, kind: WindowKind, registers: Option<BusRange>) {
        self.hardware.insert(ResourceId::Window(bridge, kind), registers);
    }

    /// Whether a bridge is on, so that assigning its windows does not write them: Linux makes it master of the bus when it enables it.
    pub(super) fn is_on(&self, index: Index) -> bool {
        let is_master = |f: &Function| f.command.is_none_or(|command| command & 4 != 0);
        !self.found.contains(&index) && self.tree.functions.get(index).is_some_and(is_master)
    }

    /// What was found is on from now on.
    pub(super) fn settle(&mut self) {
        self.found.clear();
    }

    /// The hierarchy as the registers have it.
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
                // What had no place once is not asked for again, until the card is taken out and plugged in anew.
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
                // What is closed is no window to the kernel before it sizes it.
                dead: window.span.is_none(),
            });
        }
    }

    /// Notes that a card is taken out: nothing of it is assigned, or asked for.
    pub fn take_out(&mut self, index: Index) {
        for res in self.all.iter_mut().filter(|res| res.id.function() == index) {
            (res.at, res.dead) = (None, true);
        }
    }

    /// Notes that a function is found, which was plugged in, or taken out of the map before: all of it is asked for, and windows at least as large
    /// as their registers say, whole steps of theirs.
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

    /// Where a resource is assigned; `None` if it is not.
    #[must_use]
    pub fn span(&self, id: ResourceId) -> Option<BusRange> {
        self.get(id)?.span()
    }

    /// The hierarchy as the map has it.
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

    /// A function's resources, in the kernel's order: registers, the ROM, virtual functions', windows (ports, memory, prefetchable).
    pub(super) fn of(&self, index: Index) -> impl Iterator<Item = &Res> + '_ {
        self.all.iter().filter(move |res| res.id.function() == index)
    }

    /// The functions on the bus below a bridge, or on a root bus, in order.
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
