//! Whether blocks can be placed, exactly: one sweep from low addresses to high ones over every order that could matter.
//!
//! In a given order each block is best placed as low as it can be, for nothing that follows is hindered by that. So of all orders of the
//! same blocks only the one that ends lowest counts, and a set of blocks is worth one number: a dynamic programme over sets, for each
//! bus. What is there already keeps its place in between. A window that is all to be placed is a block whose length depends on where it
//! begins, modulo its largest alignment: that is found once for each remainder.

use crate::layout::{Block, BlockId, Group, Layout, Leaf};
use crate::span::{BusRange, align_up};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

/// How much may be tried, and who says when to stop.
pub struct Budget<'a> {
    /// Steps that are left.
    pub steps: u64,
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Budget<'a> {
    /// So many steps, however long they take.
    #[must_use]
    pub fn steps(steps: u64) -> Self {
        Self { steps, stop: &|| false }
    }

    /// So many steps, and none when `stop` says so; it is asked once in a while.
    #[must_use]
    pub fn until(steps: u64, stop: &'a dyn Fn() -> bool) -> Self {
        Self { steps, stop }
    }

    /// Takes a step; `false` if none is left.
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

/// What came of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Swept {
    /// Where each leaf that had no place can be, by block.
    Fits(Vec<(BlockId, u64)>),
    /// There is no way.
    Never,
    /// None was found before the budget was used up, or there are too many orders.
    Unknown,
}

/// Items of a bus of which every set is kept.
const EXACT: usize = 14;
/// How many placements are tried of a bus with more, about.
const WORK: usize = 200_000;
/// Blocks of a bus that can be told apart in a set.
const MOST: usize = 128;

/// Places what has no place: by the order that leaves least behind at each step, if that does, else by all of them.
pub(crate) fn sweep(layout: &Layout, budget: &mut Budget<'_>) -> Swept {
    for greedy in [true, false] {
        let found = Sweep::new(layout, budget, greedy).run();
        if !greedy || matches!(found, Swept::Fits(_)) {
            return found;
        }
    }
    Swept::Unknown
}

/// How much is free that nothing asks for: what is left free on the way can be no more.
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

/// What is known of a block beforehand.
#[derive(Clone, Debug)]
struct Kind {
    /// Something in it is to be placed.
    has_free: bool,
    /// What is there of it, of whole granules.
    hull: Option<BusRange>,
    /// The largest alignment in it.
    align: u64,
    /// The least of the highest addresses in it.
    top: u64,
    /// The lowest and the highest of the floors in it.
    floor: (u64, u64),
}

/// Blocks of a bus, in the best order.
#[derive(Clone, Debug)]
struct Level {
    /// What follows the last of them; `None` beyond the last address there is.
    end: Option<u64>,
    /// Those that were to be placed, by their place among them.
    order: Vec<u8>,
}

/// What a bus has.
#[derive(Clone, Debug, Default)]
struct Parts {
    /// What is there, in order.
    there: Vec<BusRange>,
    /// Windows in which something is there, and more is to be placed, in order.
    grown: Vec<(BusRange, BlockId)>,
    /// What is to be placed: first what can be anywhere, then those windows.
    items: Vec<BlockId>,
    /// How many can be anywhere.
    loose: usize,
    /// It is the root bus.
    outermost: bool,
}

impl Parts {
    /// What follows the last of them, once all that was to be placed is; `None` beyond the last address there is.
    fn end(&self, reached: &Reached) -> Option<u64> {
        let rest = self.there.get(reached.passed..).unwrap_or(&[]);
        rest.iter().try_fold(reached.next, |next, span| Some(span.last.checked_add(1)?.max(next)))
    }
}

/// A set of blocks that is placed.
#[derive(Clone, Copy, Debug)]
struct Reached {
    /// What follows the last of them.
    next: u64,
    /// How many of the blocks that were there are passed.
    passed: usize,
    /// What was left free on the way.
    waste: u64,
    /// The set without the last, and which that was.
    before: u128,
    last: u8,
}

struct Sweep<'l, 'b, 's> {
    layout: &'l Layout,
    kinds: Vec<Kind>,
    budget: &'b mut Budget<'s>,
    /// Of each bus only the order is tried that leaves least behind at each step.
    greedy: bool,
    /// What can be left free at most, for all to have a place.
    slack: u64,
    /// Sets were left out, or the budget is used up.
    inexact: bool,
    /// Floors and tops do not count.
    unbound: bool,
    /// By group, where it may begin, and without bounds or not: how it is best filled.
    filled: BTreeMap<(BlockId, u64, bool), Option<Level>>,
}

impl<'l, 'b, 's> Sweep<'l, 'b, 's> {
    fn new(layout: &'l Layout, budget: &'b mut Budget<'s>, greedy: bool) -> Self {
        let nothing = Kind { has_free: false, hull: None, align: 1, top: u64::MAX, floor: (0, 0) };
        let mut kinds = vec![nothing; layout.blocks.len()];
        // What is in a group follows it.
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
        // Windows that stay are layouts of their own.
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

    /// What a bus has.
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
        // The largest first, and those that are alike side by side.
        parts.items.sort_by_key(|id| core::cmp::Reverse(self.likeness(*id)));
        parts.loose = parts.items.len();
        parts.items.extend(parts.grown.iter().map(|(_, id)| *id));
        parts
    }

    /// Leaves that are alike have the same.
    fn likeness(&self, id: BlockId) -> (u64, u64, (u64, u64), u64, BlockId) {
        match self.layout.blocks.get(id) {
            Some(Block::Leaf(leaf)) => (leaf.align, leaf.size, (leaf.floor, leaf.floor), leaf.top, 0),
            _ => (self.kind(id).align, 0, self.kind(id).floor, self.kind(id).top, id + 1),
        }
    }

    /// The best order of a bus's blocks from an address on; `None` if there is none.
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

    /// The order that leaves least behind at each step, and of what leaves as little the largest first.
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

    /// Whether another item goes before one: of those that are alike the first goes first, and what was there keeps its order.
    fn follows(&self, parts: &Parts, set: u128, item: usize, id: BlockId) -> bool {
        let before =
            item.checked_sub(1).filter(|before| set >> before & 1 == 0).and_then(|b| parts.items.get(b));
        before.is_some_and(|before| item > parts.loose || self.likeness(*before) == self.likeness(id))
    }

    /// The sets that have one block more.
    fn follow(&mut self, parts: &Parts, set: u128, reached: Reached, next: &mut BTreeMap<u128, Reached>) {
        let left = |i: usize| set >> i & 1 == 0;
        // Whatever is left must still be possible.
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
            // In a window that begins too low more may be left free than where it begins in the end.
            let most = if parts.outermost { self.slack } else { u64::MAX };
            let Some(placed) = placed.filter(|placed| placed.waste <= most) else { continue };
            let new = Reached { before: set, last: i as u8, ..placed };
            next.entry(set | 1 << i)
                .and_modify(|had| {
                    if new.next < had.next {
                        *had = new;
                    }
                })
                .or_insert(new);
        }
    }

    /// Keeps the sets that leave least behind, where there are too many.
    fn narrow(&mut self, sets: &mut BTreeMap<u128, Reached>, items: usize) {
        // All sets of a dozen are kept; of more items fewer sets, so that the work stays about the same.
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

    /// Places one of a bus's items as low as it can be after what is reached.
    fn place(&mut self, parts: &Parts, item: usize, set: u128, reached: Reached) -> Option<Reached> {
        let id = *parts.items.get(item)?;
        let grown = item.checked_sub(parts.loose).and_then(|i| parts.grown.get(i));
        let mut at = reached;
        // The next window that is there, and has more to come, ends what can be placed before it.
        let is_left = |(i, _): &(usize, &(BusRange, BlockId))| {
            set >> (parts.loose + i) & 1 == 0 && parts.loose + i != item
        };
        let wall = parts.grown.iter().enumerate().find(is_left).map(|(_, (hull, _))| *hull);
        loop {
            let there = parts.there.get(at.passed).copied();
            let after = match (grown, there) {
                // It keeps its place among what is there.
                (Some((hull, _)), Some(there)) if there.first < hull.first => Some(there),
                _ => {
                    let (first, last) = self.lowest(id, at.next)?;
                    if wall.is_some_and(|wall| last >= wall.first) {
                        return None;
                    }
                    match there {
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

    /// A block's first and last address, as low as it can be from an address on.
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

    /// Where a group may begin from an address on.
    fn begin(&self, id: BlockId, from: u64) -> Option<u64> {
        let Some(Block::Group(group)) = self.layout.blocks.get(id) else { return None };
        let kind = self.kind(id);
        let floor = if kind.hull.is_none() && !self.unbound { kind.floor.0 } else { 0 };
        align_up(from.max(floor), group.granule)
    }

    /// How a group is best filled that begins at an address or later; its end is of whole granules.
    fn fill(&mut self, id: BlockId, from: u64) -> Option<Level> {
        let start = self.begin(id, from)?;
        let kind = self.kind(id);
        if kind.hull.is_none() && (self.unbound || start >= kind.floor.1) {
            // Where it begins counts modulo its alignment only, as long as no bound is near.
            let inside = start & (kind.align - 1);
            let level = self.filled(id, inside, true)?;
            let end = level.end?.checked_add(start - inside)?;
            if self.unbound || end - 1 <= kind.top {
                return Some(Level { end: Some(end), order: level.order });
            }
        }
        self.filled(id, start, false)
    }

    /// The same, remembered; `unbound` without floors and tops.
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

    /// Goes through an order again, and notes where everything comes to lie.
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
            // From where it was placed in the end: past all that was there before it.
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
