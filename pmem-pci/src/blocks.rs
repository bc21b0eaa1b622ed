//! Turns one address space below a host bridge into blocks: what stays is in place, what may move is to be
//! placed.

use crate::BusRange;
use crate::layout::{Block, BlockId, Group, Layout, Leaf};
use crate::tree::{Function, Index, Mobility, Resource, Slot, Space, Tree, Window, WindowKind};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A resource: the function, and its register.
pub type Key = (Index, Slot);
/// A window: the bridge, and the index among its windows.
pub(crate) type WindowKey = (Index, usize);

/// The resources and windows of a tree that may change, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Freedom {
    /// The resources to place.
    pub(crate) free: BTreeSet<Key>,
    /// The prefetchable resources to place in the memory window.
    pub(crate) demoted: BTreeSet<Key>,
    /// Whether windows with something live behind them keep their range.
    pub(crate) hard: bool,
    /// Whether whatever can be above 4 GiB is placed there.
    pub(crate) high: bool,
}

/// A layout, and the resource or window that each block stands for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    pub(crate) layout: Layout,
    pub(crate) leaves: BTreeMap<BlockId, Key>,
    pub(crate) windows: BTreeMap<BlockId, WindowKey>,
}

/// The first address beyond 32 bits.
pub(crate) const FOUR_GIB: u64 = 1 << 32;

impl Blocks {
    /// Builds the blocks of one space below one host bridge.
    pub(crate) fn new(tree: &Tree, root: usize, space: Space, freedom: &Freedom) -> Self {
        let mut out = Self::default();
        let live = live(tree, root, space, &freedom.free);
        let mut groups: BTreeMap<WindowKey, BlockId> = BTreeMap::new();
        // A bridge comes before what is below it, so the group of the window above is always there already.
        for (index, function) in tree.functions.iter().enumerate().filter(|(_, f)| f.root == root) {
            for (n, window) in windows(function, space) {
                let group = holder(tree, function, Thing::of_window(window))
                    .and_then(|key| groups.get(&key).copied());
                let hard = window.span.filter(|_| freedom.hard && live.contains(&(index, n)));
                let made = Group { granule: window.granule, top: window.top, hard, blocks: Vec::new() };
                let id = out.layout.add(group, Block::Group(made));
                groups.insert((index, n), id);
                out.windows.insert(id, (index, n));
            }
            for resource in function.resources.iter().filter(|r| r.space == space) {
                out.add_resource(tree, index, function, resource, freedom, &groups);
            }
        }
        for span in walls(tree, root, space) {
            out.wall(tree, root, None, space, span, &live, &groups);
        }
        out
    }

    fn add_resource(
        &mut self,
        tree: &Tree,
        index: Index,
        function: &Function,
        resource: &Resource,
        freedom: &Freedom,
        groups: &BTreeMap<WindowKey, BlockId>,
    ) {
        let key = (index, resource.slot);
        let free = freedom.free.contains(&key);
        let mut thing = Thing::of_resource(resource);
        if free {
            // What moves belongs where its kind belongs, not where it is now.
            thing.span = None;
            thing.prefetchable &= !freedom.demoted.contains(&key);
        } else if thing.span.is_none() || !is_reached(tree, function, thing) {
            // Nothing can reach it, whatever its register holds, so it does not take up space.
            return;
        }
        let group = holder(tree, function, thing).and_then(|key| groups.get(&key).copied());
        let top = match group.and_then(|id| self.layout.blocks.get(id)) {
            Some(Block::Group(group)) => group.top.min(resource.top),
            _ => resource.top,
        };
        // A hard floor, not a preference: the sweep knows only what is legal, so the planner runs it with and
        // without the floor.
        let floor = if freedom.high && free && top >= FOUR_GIB { FOUR_GIB } else { 0 };
        let at = resource.at.filter(|_| !free);
        let leaf = Leaf { size: resource.size, align: resource.align, floor, top: resource.top, at };
        let id = self.layout.add(group, Block::Leaf(leaf));
        self.leaves.insert(id, key);
    }

    /// Adds a wall for `span`, in pieces: the parts inside live windows go into the groups of those windows,
    /// and what a resource holds is left out. A wall in one piece would overlap what is there.
    #[expect(clippy::too_many_arguments, reason = "one bus, and what is known of its windows")]
    fn wall(
        &mut self,
        tree: &Tree,
        root: usize,
        bridge: Option<(Index, BlockId)>,
        space: Space,
        span: BusRange,
        live: &BTreeSet<WindowKey>,
        groups: &BTreeMap<WindowKey, BlockId>,
    ) {
        let mut inside = Vec::new();
        for (index, function) in tree.on_bus(root, bridge.map(|(index, _)| index)) {
            // Other windows are cut to fit, so they must stay clear of the wall as a whole.
            for (n, window) in windows(function, space).filter(|(n, _)| live.contains(&(index, *n))) {
                let part = window.span.and_then(|own| own.intersect(span));
                let Some((part, group)) = part.zip(groups.get(&(index, n)).copied()) else { continue };
                self.wall(tree, root, Some((index, group)), space, part, live, groups);
                inside.push(part);
            }
            inside.extend(function.resources.iter().filter(|r| r.space == space).filter_map(Resource::span));
        }
        for part in span.without(&inside) {
            self.layout.add_wall(bridge.map(|(_, group)| group), part);
        }
    }
}

/// A resource or window that must lie in a window of the bridge above: where it is, and what it requires of
/// that window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thing {
    pub(crate) space: Space,
    pub(crate) prefetchable: bool,
    /// Whether it can be above 4 GiB.
    pub(crate) wide: bool,
    pub(crate) span: Option<BusRange>,
}

impl Thing {
    pub(crate) fn of_resource(resource: &Resource) -> Self {
        let Resource { space, prefetchable, .. } = *resource;
        Self { space, prefetchable, wide: resource.is_wide(), span: resource.span() }
    }

    pub(crate) fn of_window(window: &Window) -> Self {
        let prefetchable = window.kind == WindowKind::Prefetchable;
        Self { space: window.kind.space(), prefetchable, wide: window.top >= FOUR_GIB, span: window.span }
    }
}

/// Iterates over a function's windows in a space, with their index among all its windows.
pub(crate) fn windows(function: &Function, space: Space) -> impl Iterator<Item = (usize, &Window)> + '_ {
    let all = function.bridge.iter().flat_map(|bridge| bridge.windows.iter().enumerate());
    all.filter(move |(_, window)| window.kind.space() == space)
}

/// Returns the window that something belonging to a function lies in, or will lie in. That is a window of the
/// bridge above, or of one farther up if all bridges in between decode subtractively. `None` on a root bus.
pub(crate) fn holder(tree: &Tree, function: &Function, thing: Thing) -> Option<WindowKey> {
    if let Some(covering) = covering(tree, function, thing) {
        return covering;
    }
    // It has no place, or nothing reaches it: return the window where it belongs.
    let above = function.parent?;
    // A prefetchable window above 4 GiB, or one still closed that may open there, cannot hold a 32-bit
    // resource.
    let low =
        |window: &Window| window.top < FOUR_GIB || window.span.is_some_and(|span| span.first < FOUR_GIB);
    let suits = |window: &Window| window.kind != WindowKind::Prefetchable || thing.wide || low(window);
    let find = |kind| {
        let mut own = windows(tree.functions.get(above)?, thing.space);
        own.find(|(_, window)| window.kind == kind && suits(window)).map(|(n, _)| (above, n))
    };
    match (thing.space, thing.prefetchable) {
        (Space::Io, _) => find(WindowKind::Io),
        (Space::Memory, true) => find(WindowKind::Prefetchable).or_else(|| find(WindowKind::Memory)),
        (Space::Memory, false) => find(WindowKind::Memory),
    }
}

/// Returns the window that forwards to something: `Some(None)` if the host bridge does so directly, `None` if
/// nothing does.
#[expect(clippy::option_option, reason = "what is on a root bus lies in no window, and is reached")]
fn covering(tree: &Tree, function: &Function, thing: Thing) -> Option<Option<WindowKey>> {
    let span = thing.span?;
    let mut above = function.parent;
    while let Some(index) = above {
        let bridge = tree.functions.get(index)?;
        let covers = |(_, window): &(usize, &Window)| window.span.is_some_and(|own| own.covers(span));
        if let Some((n, _)) = windows(bridge, thing.space).find(covers) {
            return Some(Some((index, n)));
        }
        if !bridge.bridge.as_ref().is_some_and(|bridge| bridge.subtractive) {
            return None;
        }
        above = bridge.parent.filter(|parent| *parent < index);
    }
    Some(None)
}

/// Returns `true` if something has a place, and the bridge above forwards it.
pub(crate) fn is_reached(tree: &Tree, function: &Function, thing: Thing) -> bool {
    covering(tree, function, thing).is_some()
}

/// Returns the windows with something live behind them: a resource that has a place and need not move.
pub(crate) fn live(tree: &Tree, root: usize, space: Space, free: &BTreeSet<Key>) -> BTreeSet<WindowKey> {
    let mut out = BTreeSet::new();
    for (index, function) in tree.functions.iter().enumerate().filter(|(_, f)| f.root == root && !f.absent) {
        if function.mobility == Mobility::Asked {
            continue;
        }
        for resource in function.resources.iter().filter(|r| r.space == space) {
            if free.contains(&(index, resource.slot)) {
                continue;
            }
            let mut next = covering(tree, function, Thing::of_resource(resource)).flatten();
            // Mark the window and all windows above it. Above a marked one everything is marked already.
            while let Some((bridge, n)) = next {
                if !out.insert((bridge, n)) {
                    break;
                }
                let Some(above) = tree.functions.get(bridge) else { break };
                let window = above.bridge.as_ref().and_then(|b| b.windows.get(n));
                next = window.and_then(|window| holder(tree, above, Thing::of_window(window)));
            }
        }
    }
    out
}

/// Lists the bus addresses where nothing may be placed: those in no aperture of the host bridge, and those to
/// avoid.
pub(crate) fn walls(tree: &Tree, root: usize, space: Space) -> Vec<BusRange> {
    let Some(root) = tree.roots.get(root) else { return Vec::new() };
    let apertures: Vec<BusRange> = root
        .apertures
        .iter()
        .filter(|aperture| aperture.space == space)
        .map(|aperture| aperture.span)
        .collect();
    let all = BusRange { first: 0, last: u64::MAX };
    let mut walls = all.without(&apertures);
    for avoid in tree.avoid.iter().filter(|avoid| avoid.space == space) {
        for span in root.through_apertures(space, avoid.span) {
            // Only the part that no earlier wall covers: walls must not overlap each other.
            walls.extend(span.without(&walls.clone()));
        }
    }
    walls.sort_unstable();
    walls
}
