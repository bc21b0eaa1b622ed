//! Decides exactly whether blocks fit: one sweep from low addresses to high ones, over every order that could
//! matter.
//!
//! In a given order, each block is best placed as low as it can be, because that never pushes a later block up.
//! So of all orders of the same set of blocks only the one that ends lowest matters, and a set is worth one
//! number. That gives a dynamic program over sets, one per bus: 2^n states instead of n! orders.
//!
//! Blocks already in place keep it, and the sweep passes them in order. A window whose content is all to be
//! placed is a block too. Its length depends on its start only modulo the largest alignment in it, so it is
//! worked out once for each remainder.

use crate::layout::{Block, BlockId, Group, Layout, Leaf};
use crate::span::{BusRange, align_up};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

/// A limit on how much the planner tries, and a way to stop it early.
pub struct Budget<'a> {
    /// The steps that are left.
    pub steps: u64,
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Budget<'a> {
    /// Creates a budget of `steps` steps, however long they take.
    #[must_use]
    pub fn steps(steps: u64) -> Self {
        Self { steps, stop: &|| false }
    }

    /// Creates a budget of `steps` steps that ends as soon as `stop` returns `true`. It is called once every
    /// 1024 steps.
    #[must_use]
    pub fn until(steps: u64, stop: &'a dyn Fn() -> bool) -> Self {
        Self { steps, stop }
    }

    /// Takes a step; returns `false` once none are left.
    pub(crate) fn step(&mut self) -> bool {
        if self.steps == 0 {
            return false;
        }
        self.steps -= 1;
        if self.steps.is_multiple_of(1024) && (self.stop)() {
            self.steps = 0;
        }
        self.steps > 0
    }
}

/// The result of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Swept {
    /// Everything fits. Holds an address for each leaf that had to be placed.
    Fits(Vec<(BlockId, u64)>),
    /// Proven impossible: the search was exhaustive.
    Never,
    /// Undecided: the budget ran out, or there were too many orders to try them all.
    Unknown,
}

/// The most items of a bus for which every set is kept.
const EXACT: usize = 14;
/// The approximate number of placements to try for a bus with more items.
const WORK: usize = 200_000;
/// The most items of a bus, limited by the bits of a set.
const MOST: usize = 128;

/// Places all leaves that have no place. A greedy order is tried first because it is fast and usually works;
/// only a failure needs the exhaustive search.
pub(crate) fn sweep(layout: &Layout, budget: &mut Budget<'_>) -> Swept {
    for greedy in [true, false] {
        let found = Sweep::new(layout, budget, greedy).run();
        if !greedy || matches!(found, Swept::Fits(_)) {
            return found;
        }
    }
    Swept::Unknown
}

/// Returns the free space that nothing asks for: the most that a placement can leave unused between blocks.
fn slack(layout: &Layout) -> u64 {
    let leaves = || {
        layout.blocks.iter().filter_map(|block| if let Block::Leaf(leaf) = block { Some(leaf) } else { None })
    };
    let there: Vec<BusRange> = leaves().filter_map(|leaf| BusRange::sized(leaf.at?, leaf.size)).collect();
    let free = BusRange { first: 0, last: u64::MAX }.without(&there);
    let free: u128 = free.iter().map(|gap| u128::from(gap.last - gap.first) + 1).sum();
    let asked: u128 = leaves().filter(|leaf| leaf.at.is_none()).map(|leaf| u128::from(leaf.size)).sum();
    u64::try_from(free.saturating_sub(asked)).unwrap_or(u64::MAX)
}

/// What is known of a block before the sweep. For a group, this sums up all blocks in it.
#[derive(Clone, Debug)]
struct Kind {
    /// Whether something in it is to be placed.
    has_free: bool,
    /// The hull of what is in place, rounded to whole granules; `None` if nothing is.
    hull: Option<BusRange>,
    /// The largest alignment in it.
    align: u64,
    /// The lowest `top` of what is to be placed in it.
    top: u64,
    /// The lowest and the highest `floor` of what is to be placed in it.
    floor: (u64, u64),
}

/// The best order found for the blocks of a bus.
#[derive(Clone, Debug)]
struct Level {
    /// The address after the last block; `None` if that is beyond the last address.
    end: Option<u64>,
    /// The items in order, as indexes into [`Parts::items`].
    order: Vec<u8>,
}

/// The blocks of a bus, sorted by how they take part in the sweep.
#[derive(Clone, Debug, Default)]
struct Parts {
    /// The blocks in place, in ascending order.
    there: Vec<BusRange>,
    /// Windows that hold something in place and must take in more, in ascending order.
    grown: Vec<(BusRange, BlockId)>,
    /// What is to be placed: first the loose items, then the windows of `grown` in their order.
    items: Vec<BlockId>,
    /// The number of loose items, which can be anywhere. They come first in `items`.
    loose: usize,
    /// Whether this is the root bus.
    outermost: bool,
}

impl Parts {
    /// Returns the address after the last block once all items are placed; `None` if that is beyond the last
    /// address.
    fn end(&self, reached: &Reached) -> Option<u64> {
        let rest = self.there.get(reached.passed..).unwrap_or(&[]);
        rest.iter().try_fold(reached.next, |next, span| Some(span.last.checked_add(1)?.max(next)))
    }
}

/// The best way to place one set of items: the state of the dynamic program.
#[derive(Clone, Copy, Debug)]
struct Reached {
    /// The address after the last block placed or passed.
    next: u64,
    /// The number of blocks in `there` that the sweep has passed.
    passed: usize,
    /// The space left unused so far.
    waste: u64,
    /// The set without the item placed last, to trace the order back.
    before: u128,
    /// The item placed last.
    last: u8,
}

struct Sweep<'l, 'b, 's> {
    layout: &'l Layout,
    kinds: Vec<Kind>,
    budget: &'b mut Budget<'s>,
    /// Whether to try only one order per bus: the one that leaves least unused at each step.
    greedy: bool,
    /// The most space that may be left unused, if everything is to fit.
    slack: u64,
    /// Whether sets were dropped or the budget ran out, so that a failure proves nothing.
    inexact: bool,
    /// Whether to ignore floors and tops.
    unbound: bool,
    /// Known results of [`Self::level`] by group, start, and whether bounds are ignored.
    filled: BTreeMap<(BlockId, u64, bool), Option<Level>>,
}

impl<'l, 'b, 's> Sweep<'l, 'b, 's> {
    fn new(layout: &'l Layout, budget: &'b mut Budget<'s>, greedy: bool) -> Self {
        let nothing = Kind { has_free: false, hull: None, align: 1, top: u64::MAX, floor: (0, 0) };
        let mut kinds = vec![nothing; layout.blocks.len()];
        // Blocks in a group have higher ids, so going backwards their kinds are known before the group's.
        for (id, block) in layout.blocks.iter().enumerate().rev() {
            let kind = match block {
                Block::Leaf(leaf) => Kind {
                    has_free: leaf.at.is_none(),
                    hull: leaf.at.and_then(|at| BusRange::sized(at, leaf.size)),
                    align: leaf.align,
                    top: leaf.top,
                    floor: (leaf.floor, leaf.floor),
                },
                Block::Group(group) => {
                    let inside = group.blocks.iter().filter_map(|id| kinds.get(*id));
                    let mut kind = Kind {
                        has_free: false,
                        hull: group.hard,
                        align: group.granule,
                        top: group.top,
                        floor: (u64::MAX, 0),
                    };
                    for inner in inside {
                        kind.has_free |= inner.has_free;
                        kind.align = kind.align.max(inner.align);
                        // Bounds of blocks in place do not matter: those do not move.
                        if inner.has_free {
                            kind.floor = (kind.floor.0.min(inner.floor.0), kind.floor.1.max(inner.floor.1));
                            kind.top = kind.top.min(inner.top);
                        }
                        if group.hard.is_none()
                            && let Some(hull) = inner.hull.map(|hull| hull.rounded(group.granule))
                        {
                            kind.hull = Some(kind.hull.map_or(hull, |had| had.hull(hull)));
                        }
                    }
                    kind
                }
            };
            if let Some(place) = kinds.get_mut(id) {
                *place = kind;
            }
        }
        Self {
            layout,
            kinds,
            budget,
            greedy,
            slack: slack(layout),
            inexact: false,
            unbound: false,
            filled: BTreeMap::new(),
        }
    }

    fn run(mut self) -> Swept {
        let layout = self.layout;
        let mut placed = Vec::new();
        // A window that keeps its range does not depend on what is outside, so its content is a problem of its
        // own.
        for (id, block) in layout.blocks.iter().enumerate() {
            let Block::Group(Group { hard: Some(span), blocks, .. }) = block else { continue };
            if !self.kinds.get(id).is_some_and(|kind| kind.has_free) {
                continue;
            }
            let fits = |level: &Level| {
                level.end.is_some_and(|end| end.checked_sub(1).is_some_and(|l| l <= span.last))
            };
            let Some(level) = self.level(blocks, span.first).filter(fits) else { return self.failed() };
            if self.replay(blocks, span.first, &level.order, &mut placed).is_none() {
                return Swept::Unknown;
            }
        }
        let Some(level) = self.level(&layout.outermost, 0) else { return self.failed() };
        match self.replay(&layout.outermost, 0, &level.order, &mut placed) {
            Some(()) => Swept::Fits(placed),
            None => Swept::Unknown,
        }
    }

    fn failed(&self) -> Swept {
        if self.inexact { Swept::Unknown } else { Swept::Never }
    }

    fn kind(&self, id: BlockId) -> Kind {
        self.kinds.get(id).cloned().unwrap_or(Kind {
            has_free: false,
            hull: None,
            align: 1,
            top: 0,
            floor: (0, 0),
        })
    }

    /// Sorts the blocks of a bus by how they take part in the sweep.
    fn parts(&self, blocks: &[BlockId]) -> Parts {
        let outermost = core::ptr::eq(blocks, self.layout.outermost.as_slice());
        let mut parts = Parts { outermost, ..Parts::default() };
        for id in blocks {
            let kind = self.kind(*id);
            let hard = matches!(self.layout.blocks.get(*id), Some(Block::Group(Group { hard: Some(_), .. })));
            match kind.hull {
                Some(hull) if kind.has_free && !hard => parts.grown.push((hull, *id)),
                Some(hull) => parts.there.push(hull),
                None if kind.has_free => parts.items.push(*id),
                None => {}
            }
        }
        parts.there.sort_unstable();
        parts.grown.sort_unstable();
        // Largest first, and interchangeable items side by side: `follows` relies on that.
        parts.items.sort_by_key(|id| core::cmp::Reverse(self.likeness(*id)));
        parts.loose = parts.items.len();
        parts.items.extend(parts.grown.iter().map(|(_, id)| *id));
        parts
    }

    /// Returns a sort key that is equal only for interchangeable items: leaves of the same size, alignment and
    /// bounds.
    fn likeness(&self, id: BlockId) -> (u64, u64, (u64, u64), u64, BlockId) {
        match self.layout.blocks.get(id) {
            Some(Block::Leaf(leaf)) => (leaf.align, leaf.size, (leaf.floor, leaf.floor), leaf.top, 0),
            _ => (self.kind(id).align, 0, self.kind(id).floor, self.kind(id).top, id + 1),
        }
    }

    /// Finds the best order for the blocks of a bus from `start` on; `None` if there is none.
    fn level(&mut self, blocks: &[BlockId], start: u64) -> Option<Level> {
        let parts = self.parts(blocks);
        if parts.items.len() > MOST {
            self.inexact = true;
            return None;
        }
        let begin = Reached { next: start, passed: 0, waste: 0, before: 0, last: 0 };
        if self.greedy {
            return self.greedy(&parts, begin);
        }
        // Layer n maps each set of n items to its lowest end. One layer follows from the one before.
        let mut layers: Vec<BTreeMap<u128, Reached>> = vec![BTreeMap::from([(0u128, begin)])];
        for _ in 0..parts.items.len() {
            let mut next: BTreeMap<u128, Reached> = BTreeMap::new();
            for (set, reached) in layers.last()? {
                self.follow(&parts, *set, *reached, &mut next);
            }
            self.narrow(&mut next, parts.items.len());
            if next.is_empty() {
                return None;
            }
            layers.push(next);
        }
        // The last layer has one set, all items. Trace back which item was placed last in each layer.
        let (mut set, mut reached) = layers.last()?.iter().next().map(|(set, reached)| (*set, *reached))?;
        let end = parts.end(&reached);
        let mut order = Vec::with_capacity(parts.items.len());
        for layer in layers.iter().rev().skip(1) {
            order.push(reached.last);
            set = reached.before;
            reached = *layer.get(&set)?;
        }
        debug_assert_eq!(set, 0);
        order.reverse();
        Some(Level { end, order })
    }

    /// Builds one order: at each step the item that leaves least unused, and among equals the largest.
    fn greedy(&mut self, parts: &Parts, begin: Reached) -> Option<Level> {
        let (mut set, mut reached, mut order) = (0u128, begin, Vec::with_capacity(parts.items.len()));
        for _ in 0..parts.items.len() {
            let mut best: Option<(u64, core::cmp::Reverse<u64>, u8, Reached)> = None;
            for (i, id) in parts.items.iter().enumerate() {
                if set >> i & 1 == 1 || self.follows(parts, set, i, *id) {
                    continue;
                }
                if !self.budget.step() {
                    self.inexact = true;
                    return None;
                }
                let placed = self.place(parts, i, set, reached);
                // With more waste than slack, what is left over cannot all fit.
                let Some(placed) = placed.filter(|placed| placed.waste <= self.slack) else { continue };
                let rank = (placed.waste - reached.waste, core::cmp::Reverse(placed.next - reached.next));
                if best.is_none_or(|(waste, len, ..)| rank < (waste, len)) {
                    best = Some((rank.0, rank.1, i as u8, placed));
                }
            }
            let (_, _, item, placed) = best?;
            set |= 1 << item;
            order.push(item);
            reached = placed;
        }
        Some(Level { end: parts.end(&reached), order })
    }

    /// Returns `true` if another item must go before `item`. Of interchangeable items the first goes first,
    /// because swapping them changes nothing; windows of `grown` keep their order, because each is tied to what
    /// it holds.
    fn follows(&self, parts: &Parts, set: u128, item: usize, id: BlockId) -> bool {
        let before =
            item.checked_sub(1).filter(|before| set >> before & 1 == 0).and_then(|b| parts.items.get(b));
        before.is_some_and(|before| item > parts.loose || self.likeness(*before) == self.likeness(id))
    }

    /// Extends one set by each item that may come next.
    fn follow(&mut self, parts: &Parts, set: u128, reached: Reached, next: &mut BTreeMap<u128, Reached>) {
        let left = |i: usize| set >> i & 1 == 0;
        // Items left over only move up from here. Once one is past its top, no order of the rest can help.
        let late = |id: &BlockId| self.kind(*id).top < reached.next;
        if !self.unbound && parts.items.iter().enumerate().any(|(i, id)| left(i) && late(id)) {
            return;
        }
        for (i, id) in parts.items.iter().enumerate().filter(|(i, _)| left(*i)) {
            if self.follows(parts, set, i, *id) {
                continue;
            }
            if !self.budget.step() {
                self.inexact = true;
                return;
            }
            let placed = self.place(parts, i, set, reached);
            // More unused space than the slack is fatal only on the root bus. Inside a window, the unused space
            // before the first item may turn out to be outside of the window.
            let most = if parts.outermost { self.slack } else { u64::MAX };
            let Some(placed) = placed.filter(|placed| placed.waste <= most) else { continue };
            let new = Reached { before: set, last: i as u8, ..placed };
            // Of two orders of the same set only the one that ends lower can matter.
            next.entry(set | 1 << i)
                .and_modify(|had| {
                    if new.next < had.next {
                        *had = new;
                    }
                })
                .or_insert(new);
        }
    }

    /// Drops the sets that leave most unused if there are too many to keep.
    fn narrow(&mut self, sets: &mut BTreeMap<u128, Reached>, items: usize) {
        // Up to `EXACT` items all sets are kept. Beyond that the width shrinks with the square of the items, which
        // keeps the total work about the same.
        let width = if items <= EXACT { usize::MAX } else { (WORK / (items * items)).max(16) };
        if sets.len() <= width {
            return;
        }
        self.inexact = true;
        let mut wastes: Vec<(u64, u64, u128)> =
            sets.iter().map(|(set, reached)| (reached.waste, reached.next, *set)).collect();
        wastes.sort_unstable();
        wastes.truncate(width);
        let kept: BTreeSet<u128> = wastes.into_iter().map(|(_, _, set)| set).collect();
        sets.retain(|set, _| kept.contains(set));
    }

    /// Places an item as low as it can be from a state, and returns the new state; `None` if it does not fit.
    fn place(&mut self, parts: &Parts, item: usize, set: u128, reached: Reached) -> Option<Reached> {
        let id = *parts.items.get(item)?;
        let grown = item.checked_sub(parts.loose).and_then(|i| parts.grown.get(i));
        let mut at = reached;
        // Loose items may not overtake a window that is partly in place: it is a wall until it is placed
        // itself.
        let is_left = |(i, _): &(usize, &(BusRange, BlockId))| {
            set >> (parts.loose + i) & 1 == 0 && parts.loose + i != item
        };
        let wall = parts.grown.iter().enumerate().find(is_left).map(|(_, (hull, _))| *hull);
        loop {
            let there = parts.there.get(at.passed).copied();
            let after = match (grown, there) {
                // A window in `grown` covers its hull, so the sweep must pass all blocks before that first.
                (Some((hull, _)), Some(there)) if there.first < hull.first => Some(there),
                _ => {
                    let (first, last) = self.lowest(id, at.next)?;
                    if wall.is_some_and(|wall| last >= wall.first) {
                        return None;
                    }
                    match there {
                        // It does not fit before the next block in place, so go past that. A window in `grown`
                        // cannot: what it holds lies before that block.
                        Some(there) if last >= there.first => {
                            if grown.is_some() {
                                return None;
                            }
                            Some(there)
                        }
                        _ => {
                            at.waste = at.waste.saturating_add(first - at.next);
                            at.next = last.checked_add(1)?;
                            None
                        }
                    }
                }
            };
            let Some(there) = after else { return Some(at) };
            at.waste = at.waste.saturating_add(there.first.saturating_sub(at.next));
            at.next = at.next.max(there.last.checked_add(1)?);
            at.passed += 1;
        }
    }

    /// Returns a block's first and last address, as low as it can be from `from` on.
    fn lowest(&mut self, id: BlockId, from: u64) -> Option<(u64, u64)> {
        match self.layout.blocks.get(id)? {
            Block::Leaf(Leaf { size, align, floor, top, .. }) => {
                let (floor, top) = if self.unbound { (0, u64::MAX) } else { (*floor, *top) };
                let first = align_up(from.max(floor), *align)?;
                let last = first.checked_add(size.checked_sub(1)?)?;
                (last <= top).then_some((first, last))
            }
            Block::Group(_) => Some((self.begin(id, from)?, self.fill(id, from)?.end?.checked_sub(1)?)),
        }
    }

    /// Returns the lowest address from `from` on where a group may begin.
    fn begin(&self, id: BlockId, from: u64) -> Option<u64> {
        let Some(Block::Group(group)) = self.layout.blocks.get(id) else { return None };
        let kind = self.kind(id);
        let floor = if kind.hull.is_none() && !self.unbound { kind.floor.0 } else { 0 };
        align_up(from.max(floor), group.granule)
    }

    /// Finds the best way to fill a group that begins at `from` or as soon as possible after it. The end is of
    /// whole granules.
    fn fill(&mut self, id: BlockId, from: u64) -> Option<Level> {
        let start = self.begin(id, from)?;
        let kind = self.kind(id);
        if kind.hull.is_none() && (self.unbound || start >= kind.floor.1) {
            // Shifting the whole window by its largest alignment shifts everything in it alike, so only the
            // remainder matters, unless a bound is near.
            let inside = start & (kind.align - 1);
            let level = self.filled(id, inside, true)?;
            let end = level.end?.checked_add(start - inside)?;
            if self.unbound || end - 1 <= kind.top {
                return Some(Level { end: Some(end), order: level.order });
            }
        }
        // A bound is near: work it out for exactly this start.
        self.filled(id, start, false)
    }

    /// Same as [`Self::level`] for a group, remembered; `unbound` ignores floors and tops.
    fn filled(&mut self, id: BlockId, start: u64, unbound: bool) -> Option<Level> {
        let key = (id, start, unbound);
        if let Some(known) = self.filled.get(&key) {
            return known.clone();
        }
        let Some(Block::Group(group)) = self.layout.blocks.get(id) else { return None };
        let outside = core::mem::replace(&mut self.unbound, unbound);
        let level = self.level(&group.blocks, start);
        self.unbound = outside;
        let level = level.and_then(|level| {
            let end = align_up(level.end?, group.granule)?;
            (unbound || end - 1 <= group.top).then_some(Level { end: Some(end), order: level.order })
        });
        self.filled.insert(key, level.clone());
        level
    }

    /// Follows an order again, and records the address of each leaf.
    fn replay(
        &mut self,
        blocks: &[BlockId],
        start: u64,
        order: &[u8],
        out: &mut Vec<(BlockId, u64)>,
    ) -> Option<()> {
        let parts = self.parts(blocks);
        let mut reached = Reached { next: start, passed: 0, waste: 0, before: 0, last: 0 };
        let mut set = 0;
        for item in order.iter().map(|item| usize::from(*item)) {
            let after = self.place(&parts, item, set, reached)?;
            // `place` may have passed blocks in place before it found room: start after those.
            let passed = parts.there.get(reached.passed..after.passed).unwrap_or(&[]);
            let from = passed.iter().map(|span| span.last + 1).fold(reached.next, u64::max);
            let id = *parts.items.get(item)?;
            match self.layout.blocks.get(id)? {
                Block::Leaf(_) => out.push((id, self.lowest(id, from)?.0)),
                Block::Group(group) => {
                    let (begin, level) = (self.begin(id, from)?, self.fill(id, from)?);
                    self.replay(&group.blocks, begin, &level.order, out)?;
                }
            }
            set |= 1 << item;
            reached = after;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::tests::is_legal;
    use proptest::prelude::*;
    use std::collections::BTreeMap as Map;

    const ROOM: u64 = 32;

    /// Every way there is, one by one.
    fn any(layout: &Layout, free: &[BlockId], at: &mut Map<BlockId, u64>) -> bool {
        let Some((id, rest)) = free.split_first() else { return true };
        for first in 0..ROOM {
            at.insert(*id, first);
            if is_legal(layout, at) && any(layout, rest, at) {
                return true;
            }
        }
        at.remove(id);
        false
    }

    /// Leaves and groups at random, in the first `ROOM` addresses: (group above or none, log2 of size, place or none, bounded), and
    /// (group above, log2 of granule, hard).
    fn layout(groups: &[(usize, u32, bool)], leaves: &[(usize, u32, Option<u64>, u8)]) -> Layout {
        let mut out = Layout::default();
        out.add_wall(None, BusRange { first: ROOM, last: u64::MAX });
        let mut ids = Vec::new();
        for (above, granule, _) in groups {
            let above = if ids.is_empty() { None } else { ids.get(above % (ids.len() + 1)).copied() };
            let group = Group { granule: 1 << granule, top: u64::MAX, hard: None, blocks: Vec::new() };
            ids.push(out.add(above, Block::Group(group)));
        }
        for (above, size, at, bound) in leaves {
            let size = 1u64 << size;
            let above = ids.get(above % (ids.len() + 1)).copied();
            let at = at.map(|at| at % (ROOM / size) * size);
            let (floor, top) = match bound {
                0 => (0, 15),
                1 => (16, u64::MAX),
                _ => (0, u64::MAX),
            };
            out.add(above, Block::Leaf(Leaf { size, align: size, floor, top, at }));
        }
        out
    }

    fn strategy() -> impl Strategy<Value = Layout> {
        let group = (0usize..4, 0u32..3, any_bool());
        let leaf = (0usize..5, 0u32..4, prop_oneof![2 => Just(None), 1 => (0u64..32).prop_map(Some)], 0u8..8);
        (prop::collection::vec(group, 0..4), prop::collection::vec(leaf, 1..7)).prop_map(
            |(groups, leaves)| {
                let mut made = layout(&groups, &leaves);
                // A few windows stay as they are, where that is legal.
                let hulls: Vec<Option<BusRange>> = {
                    let mut budget = Budget::steps(1);
                    let sweep = Sweep::new(&made, &mut budget, false);
                    (0..made.blocks.len()).map(|id| sweep.kind(id).hull).collect()
                };
                let mut seen = 0;
                for (id, block) in made.blocks.iter_mut().enumerate() {
                    let Block::Group(group) = block else { continue };
                    let wanted = groups[seen].2;
                    seen += 1;
                    group.hard = hulls[id].filter(|_| wanted).map(|hull| hull.rounded(4));
                }
                made
            },
        )
    }

    fn any_bool() -> impl Strategy<Value = bool> {
        prop::bool::weighted(0.2)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]
        #[test]
        fn a_sweep_finds_a_way_if_there_is_one(layout in strategy()) {
            let free: Vec<BlockId> = layout.blocks.iter().enumerate().filter_map(|(id, block)| match block {
                Block::Leaf(leaf) if leaf.at.is_none() => Some(id),
                _ => None,
            }).collect();
            prop_assume!(free.len() <= 4 && is_legal(&layout, &Map::new()));
            let there_is = any(&layout, &free, &mut Map::new());
            match sweep(&layout, &mut Budget::steps(1_000_000)) {
                Swept::Fits(placed) => {
                    let at: Map<BlockId, u64> = placed.iter().copied().collect();
                    prop_assert!(there_is && is_legal(&layout, &at), "{layout:?}: {placed:?}");
                    prop_assert_eq!(at.len(), free.len());
                }
                Swept::Never => prop_assert!(!there_is, "{layout:?}"),
                Swept::Unknown => prop_assert!(false, "{layout:?}: not known"),
            }
        }
    }
}
