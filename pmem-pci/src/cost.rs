//! The cost of changing a hierarchy.

use crate::BusRange;
use crate::blocks::{Key, Thing, holder, live};
use crate::tree::{Index, Mobility, Resource, Space, Tree, WindowKind};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// The room in an empty port for a future card: what its memory and prefetchable windows forward, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Headroom {
    /// The port.
    pub port: Index,
    /// The length of its memory window before and after, in bytes; 0 if it is closed.
    pub memory: (u64, u64),
    /// The length of its prefetchable window before and after, in bytes; 0 if it is closed.
    pub prefetchable: (u64, u64),
}

/// The cost of a change. The parts count in this order: an earlier part outweighs all later ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The sum of the weights of the functions that must be stopped; see [`Mobility::weight`].
    pub weight: u64,
    /// The bytes that windows with something live behind them forward only before, or only after the change.
    pub live_bytes: u64,
    /// The depth of the topmost bridge whose windows or bus numbers change: 0 on a root bus; `None` if none do.
    /// Deeper is better.
    pub topmost: Option<u32>,
    /// The headroom of each topmost port without a card. More is better.
    pub headroom: Vec<Headroom>,
    /// The number of registers that get a new value: windows, bus numbers and BARs. The writes that stop and restart
    /// functions are not counted, so [`Plan::steps`](crate::plan::Plan::steps) is usually longer.
    pub writes: u64,
    /// The bytes that changed windows forward in total. It breaks ties in favour of the tightest plan.
    pub(crate) forwarded: u64,
}

/// A cost as a tuple that compares lexicographically.
pub(crate) type Rank = (u64, u64, Reverse<u32>, Reverse<u64>, Reverse<u64>, u64, u64);

impl Cost {
    /// Returns the cost as a rank; the lowest is best.
    pub(crate) fn rank(&self) -> Rank {
        // `Reverse` where more is better: a deep topmost bridge, and much headroom.
        let after = |room: &Headroom| room.memory.1.saturating_add(room.prefetchable.1);
        let sum = self.headroom.iter().map(after).fold(0, u64::saturating_add);
        let least = self.headroom.iter().map(after).min().unwrap_or(0);
        let topmost = self.topmost.unwrap_or(u32::MAX);
        (
            self.weight,
            self.live_bytes,
            Reverse(topmost),
            Reverse(sum),
            Reverse(least),
            self.writes,
            self.forwarded,
        )
    }
}

/// Computes the cost of getting from one placement of a hierarchy to another.
///
/// Both trees have the same functions in the same order. `bystanders` are functions that must be stopped
/// although they stay in place; see [`steps::bystanders`](crate::steps::bystanders).
#[must_use]
pub fn cost(old: &Tree, new: &Tree, bystanders: &BTreeSet<Index>) -> Cost {
    let moved: BTreeSet<Key> = moved(old, new).collect();
    let mut stopped: BTreeSet<Index> = stopped(old, &moved).collect();
    stopped.extend(bystanders);
    let weight = stopped.iter().filter_map(|index| weight(new, *index)).sum();
    let mut out = Cost { weight, headroom: headroom(old, new), ..Cost::default() };
    let mut lives: BTreeMap<(usize, Space), BTreeSet<(Index, usize)>> = BTreeMap::new();
    for (index, (before, after)) in old.functions.iter().zip(&new.functions).enumerate() {
        let (Some(had), Some(has)) = (&before.bridge, &after.bridge) else { continue };
        let changed = had.windows.iter().zip(&has.windows).enumerate().filter(|(_, (a, b))| a.span != b.span);
        for (n, (a, b)) in changed {
            let key = (before.root, a.kind.space());
            let live = lives.entry(key).or_insert_with(|| live(old, key.0, key.1, &moved));
            if live.contains(&(index, n)) {
                out.live_bytes = out.live_bytes.saturating_add(apart(a.span, b.span));
            }
            let depth = old.above(index).count() as u32;
            out.topmost = Some(out.topmost.map_or(depth, |least| least.min(depth)));
            out.writes += window_writes(a.kind, a.span, b.span);
            out.forwarded = out.forwarded.saturating_add(b.span.map_or(0, BusRange::len));
        }
        if had.buses != has.buses {
            let depth = old.above(index).count() as u32;
            out.topmost = Some(out.topmost.map_or(depth, |least| least.min(depth)));
            out.writes += 1;
        }
    }
    let registers = |(index, slot): &Key| {
        let resource = new.functions.get(*index).filter(|function| !function.absent)?.resource(*slot)?;
        let had = old.functions.get(*index).and_then(|function| function.resource(*slot));
        let written = had.is_none_or(|had| !is_same(had, resource));
        Some(if !written {
            0
        } else if resource.is_wide() {
            2
        } else {
            1
        })
    };
    out.writes += moved.iter().filter_map(registers).sum::<u64>();
    out
}

/// Returns the weight of moving a function's own resources. A driven bridge weighs as little as an idle
/// function, because it stays on and only its registers are written.
pub(crate) fn weight(tree: &Tree, index: Index) -> Option<u64> {
    let function = tree.functions.get(index)?;
    match function.mobility {
        Mobility::Driven if function.bridge.is_some() => Mobility::Idle.weight(),
        mobility => mobility.weight(),
    }
}

/// Iterates over the resources that change place, size, or the window that forwards to them.
pub(crate) fn moved<'t>(old: &'t Tree, new: &'t Tree) -> impl Iterator<Item = Key> + 't {
    new.functions.iter().enumerate().flat_map(move |(index, function)| {
        let before = old.functions.get(index);
        let changed = function.resources.iter().filter(move |resource| {
            let Some((before, had)) =
                before.and_then(|before| Some((before, before.resource(resource.slot)?)))
            else {
                return resource.at.is_some();
            };
            // A resource that stays, but lies in another window now, must be stopped while windows change.
            let through = |tree, function| holder(tree, function, Thing::of_resource(resource));
            resource.at.is_some()
                && (!is_same(had, resource) || through(old, before) != through(new, function))
        });
        changed.map(move |resource| (index, resource.slot))
    })
}

/// Iterates over the functions that must be stopped while `keys` move.
pub(crate) fn stopped<'t>(tree: &'t Tree, keys: &'t BTreeSet<Key>) -> impl Iterator<Item = Index> + 't {
    let stops = |(index, slot): &&Key| tree.functions.get(*index).is_none_or(|f| f.stops_for(*slot));
    keys.iter().filter(stops).map(|(index, _)| *index)
}

fn is_same(had: &Resource, has: &Resource) -> bool {
    had.at == has.at && had.size == has.size
}

/// Counts the addresses that exactly one of the two ranges has.
fn apart(a: Option<BusRange>, b: Option<BusRange>) -> u64 {
    let len = |span: Option<BusRange>| span.map_or(0, BusRange::len);
    let both = len(a.zip(b).and_then(|(a, b)| a.intersect(b)));
    (len(a) - both).saturating_add(len(b) - both)
}

/// Counts the register writes that change a window. Base and limit take one; each changed upper half of a
/// prefetchable window takes one more, both upper halves of an I/O window together one.
pub(crate) fn window_writes(kind: WindowKind, old: Option<BusRange>, new: Option<BusRange>) -> u64 {
    let upper =
        |span: Option<BusRange>, by: u32| span.map_or((0, 0), |span| (span.first >> by, span.last >> by));
    match kind {
        WindowKind::Memory => 1,
        WindowKind::Io => 1 + u64::from(upper(old, 16) != upper(new, 16)),
        WindowKind::Prefetchable => {
            let (a, b) = (upper(old, 32), upper(new, 32));
            1 + u64::from(a.0 != b.0) + u64::from(a.1 != b.1)
        }
    }
}

/// Finds the topmost ports without resources behind them in either tree, with what their windows forward before
/// and after.
fn headroom(old: &Tree, new: &Tree) -> Vec<Headroom> {
    let mut used = BTreeSet::new();
    for tree in [old, new] {
        let holding = tree.functions.iter().enumerate().filter(|(_, f)| !f.resources.is_empty());
        holding.for_each(|(index, _)| used.extend(tree.above(index)));
    }
    let len = |tree: &Tree, index: Index, kind: WindowKind| {
        tree.functions.get(index).and_then(|f| f.window(kind)?.span).map_or(0, BusRange::len)
    };
    // A port counts if cards can be plugged in, or if firmware reserved room in it; not if something is behind
    // it.
    let is_port = |index: Index| {
        let bridge = new.functions.get(index).and_then(|f| f.bridge.as_ref());
        let reserves =
            [WindowKind::Memory, WindowKind::Prefetchable].iter().any(|kind| len(old, index, *kind) > 0);
        bridge.is_some_and(|bridge| bridge.hot_plug || reserves) && !used.contains(&index)
    };
    let topmost = |index: &Index| is_port(*index) && !new.above(*index).any(is_port);
    (0..new.functions.len())
        .filter(topmost)
        .map(|port| Headroom {
            port,
            memory: (len(old, port, WindowKind::Memory), len(new, port, WindowKind::Memory)),
            prefetchable: (
                len(old, port, WindowKind::Prefetchable),
                len(new, port, WindowKind::Prefetchable),
            ),
        })
        .collect()
}
