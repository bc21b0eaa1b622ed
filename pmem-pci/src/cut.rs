//! Cuts windows to fit what lies in them. Windows with nothing live behind them make room; the others keep what
//! they have as far as possible.

use crate::BusRange;
use crate::blocks::{Key, Thing, WindowKey, holder, is_reached, live, walls, windows};
use crate::tree::{Space, Tree};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

/// Cuts the windows of one space below a host bridge to fit the places in `tree`, whose windows are still the
/// old ones. `moved` are the resources with a new place. Returns `None` if something overlaps, or does not fit
/// into the window around it.
pub(crate) fn cut(
    tree: &Tree,
    root: usize,
    space: Space,
    demoted: &BTreeSet<Key>,
    moved: &BTreeSet<Key>,
) -> Option<Tree> {
    let mut cutter = Cutter::new(tree, root, space, demoted, moved);
    cutter.bus(None)?;
    let Cutter { cut, .. } = cutter;
    let mut out = tree.clone();
    for ((index, n), span) in cut {
        if let Some(window) = out.functions.get_mut(index)?.bridge.as_mut()?.windows.get_mut(n) {
            window.span = span;
        }
    }
    Some(out)
}

/// A window to cut.
#[derive(Clone, Copy, Debug)]
struct Want {
    key: WindowKey,
    old: Option<BusRange>,
    granule: u64,
    top: u64,
    /// The hull of what lies in it, rounded to whole granules; `None` if nothing does.
    need: Option<BusRange>,
    live: bool,
    /// Whether something in it has a new place.
    changed: bool,
}

struct Cutter<'t> {
    tree: &'t Tree,
    root: usize,
    space: Space,
    live: BTreeSet<WindowKey>,
    /// The hull of what lies in each window, rounded to whole granules.
    need: BTreeMap<WindowKey, BusRange>,
    /// The windows of the bus below that lie in each window; `None` stands for the apertures.
    inside: BTreeMap<Option<WindowKey>, Vec<WindowKey>>,
    /// The resources that lie in each window; `None` stands for the apertures.
    held: BTreeMap<Option<WindowKey>, Vec<BusRange>>,
    /// The windows with something in them that has a new place.
    changed: BTreeSet<WindowKey>,
    /// The resources with a new place directly on the root bus.
    placed: Vec<BusRange>,
    cut: BTreeMap<WindowKey, Option<BusRange>>,
}

impl<'t> Cutter<'t> {
    fn new(
        tree: &'t Tree,
        root: usize,
        space: Space,
        demoted: &BTreeSet<Key>,
        moved: &BTreeSet<Key>,
    ) -> Self {
        let mut out = Self {
            tree,
            root,
            space,
            live: live(tree, root, space, moved),
            need: BTreeMap::new(),
            inside: BTreeMap::new(),
            held: BTreeMap::new(),
            changed: BTreeSet::new(),
            placed: Vec::new(),
            cut: BTreeMap::new(),
        };
        // What lies in a window also lies in those above. Going backwards visits inner bridges first, so that
        // their needs are complete.
        for (index, function) in tree.functions.iter().enumerate().rev().filter(|(_, f)| f.root == root) {
            for resource in function.resources.iter().filter(|r| r.space == space) {
                let Some(span) = resource.span() else { continue };
                let key = (index, resource.slot);
                let mut thing = Thing::of_resource(resource);
                if moved.contains(&key) {
                    thing.span = None;
                    thing.prefetchable &= !demoted.contains(&key);
                } else if !is_reached(tree, function, thing) {
                    continue;
                }
                let held = holder(tree, function, thing);
                out.held.entry(held).or_default().push(span);
                out.add_need(held, span);
                if moved.contains(&key) {
                    match held {
                        Some(window) => drop(out.changed.insert(window)),
                        None => out.placed.push(span),
                    }
                }
            }
            for (n, window) in windows(function, space) {
                let held = holder(tree, function, Thing::of_window(window));
                out.inside.entry(held).or_default().push((index, n));
                if let Some(need) = out.need.get(&(index, n)).copied() {
                    out.add_need(held, need);
                }
                if out.changed.contains(&(index, n)) {
                    out.changed.extend(held);
                }
            }
        }
        out
    }

    fn add_need(&mut self, window: Option<WindowKey>, span: BusRange) {
        let Some(key) = window else { return };
        let granule = self.want(key).map_or(1, |want| want.granule);
        let span = span.rounded(granule);
        self.need.entry(key).and_modify(|had| *had = had.hull(span)).or_insert(span);
    }

    fn want(&self, key: WindowKey) -> Option<Want> {
        let window = self.tree.functions.get(key.0)?.bridge.as_ref()?.windows.get(key.1)?;
        let (old, granule, top) = (window.span, window.granule, window.top);
        let (need, live) = (self.need.get(&key).copied(), self.live.contains(&key));
        Some(Want { key, old, granule, top, need, live, changed: self.changed.contains(&key) })
    }

    /// Cuts the windows that lie in `outer`, and then those inside them. `None` stands for the apertures of the
    /// host bridge.
    fn bus(&mut self, outer: Option<WindowKey>) -> Option<()> {
        let room: Vec<BusRange> = match outer {
            None => {
                let walls = walls(self.tree, self.root, self.space);
                BusRange { first: 0, last: u64::MAX }.without(&walls)
            }
            Some(key) => self.cut.get(&key).copied().flatten().into_iter().collect(),
        };
        let wants: Vec<Want> =
            self.inside.get(&outer).into_iter().flatten().filter_map(|key| self.want(*key)).collect();
        let held = self.held.get(&outer).cloned().unwrap_or_default();
        let placed = if outer.is_none() { &self.placed[..] } else { &[] };
        let changed = wants.iter().filter(|want| want.changed);
        if changed.clone().any(|want| want.need.is_some_and(|need| need.last > want.top)) {
            return None;
        }
        // Only what moves must be inside: firmware may have left other things outside, and they may stay there.
        let mut new = changed.filter_map(|want| want.need).chain(placed.iter().copied());
        if !new.all(|span| room.iter().any(|room| room.covers(span))) {
            return None;
        }
        let cut = divide(&room, &held, &wants, outer.is_none())?;
        for (want, span) in wants.iter().zip(cut) {
            self.cut.insert(want.key, span);
            self.bus(Some(want.key))?;
        }
        Some(())
    }
}

/// Divides the room of a bus among its windows, around what resources hold.
fn divide(
    room: &[BusRange],
    held: &[BusRange],
    wants: &[Want],
    capped: bool,
) -> Option<Vec<Option<BusRange>>> {
    let mut out: Vec<Option<BusRange>> = vec![None; wants.len()];
    let mut taken: Vec<BusRange> = held.to_vec();
    taken.extend(wants.iter().filter_map(|want| want.need));
    if overlapping(&taken) {
        return None;
    }
    // First every window gets what it needs. A live one keeps all of its old range that is free, because
    // changing it costs most.
    for live in [true, false] {
        for (want, place) in wants.iter().zip(&mut out).filter(|(want, _)| want.live == live) {
            let Some(need) = want.need else { continue };
            let span = if live { kept(room, &taken, want, need) } else { need };
            taken.push(span);
            *place = Some(span);
        }
    }
    // Empty windows stay in place if nobody needs that place. They are room for future cards.
    let mut displaced = Vec::new();
    for (i, want) in wants.iter().enumerate().filter(|(_, want)| want.need.is_none()) {
        let Some(old) = want.old else { continue };
        if room.iter().any(|room| room.covers(old)) && !taken.iter().any(|t| t.overlaps(old)) {
            taken.push(old);
            if let Some(place) = out.get_mut(i) {
                *place = Some(old);
            }
        } else {
            displaced.push(i);
        }
    }
    let mut new = share(room, &taken, wants, &displaced, capped);
    if !capped && !displaced.is_empty() {
        // Some empty windows lost their place while others kept theirs. Share the room of all of them anew if
        // that gives more in total, or as much in total and more to the smallest.
        let empty: Vec<usize> = (0..wants.len())
            .filter(|i| wants.get(*i).is_some_and(|w| w.need.is_none() && w.old.is_some()))
            .collect();
        let kept: Vec<Option<BusRange>> = empty.iter().map(|i| out.get(*i).copied().flatten()).collect();
        let others: Vec<BusRange> = taken.iter().copied().filter(|t| !kept.contains(&Some(*t))).collect();
        let all = share(room, &others, wants, &empty, capped);
        let value = |spans: &[Option<BusRange>]| {
            let lens = || spans.iter().map(|span| span.map_or(0, BusRange::len));
            (lens().fold(0, u64::saturating_add), lens().min().unwrap_or(0))
        };
        let as_it_is: Vec<Option<BusRange>> =
            kept.iter().filter(|span| span.is_some()).chain(&new).copied().collect();
        if value(&all) > value(&as_it_is) {
            taken = others;
            (displaced, new) = (empty, all);
        }
    }
    for (i, span) in displaced.iter().zip(new) {
        taken.extend(span);
        if let Some(place) = out.get_mut(*i) {
            *place = span;
        }
    }
    // The other windows get back what is left of their old range.
    for (want, place) in wants.iter().zip(&mut out).filter(|(want, _)| !want.live) {
        if let (Some(need), Some(_)) = (want.need, *place) {
            let others: Vec<BusRange> = taken.iter().copied().filter(|t| !t.overlaps(need)).collect();
            let span = kept(room, &others, want, need);
            taken.push(span);
            *place = Some(span);
        }
    }
    Some(out)
}

fn overlapping(spans: &[BusRange]) -> bool {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| matches!(pair, [a, b] if a.overlaps(*b)))
}

/// Returns what a window needs, extended on both sides into its old range as far as that is free.
fn kept(room: &[BusRange], taken: &[BusRange], want: &Want, need: BusRange) -> BusRange {
    let Some(old) = want.old.filter(|old| old.overlaps(need)) else { return need };
    let Some(room) = room.iter().find(|room| room.covers(need)) else { return need };
    let mask = want.granule - 1;
    let (mut first, mut last) =
        (old.first.max(room.first).min(need.first), old.last.min(room.last).max(need.last));
    for other in taken.iter().filter(|other| !other.overlaps(need)) {
        if other.last < need.first && other.last >= first {
            first = other.last + 1;
        }
        if other.first > need.last && other.first <= last {
            last = other.first - 1;
        }
    }
    // Round inwards to whole granules: the neighbour may own the rest of a granule.
    let first = first.checked_add(mask).map_or(need.first, |up| up & !mask).min(need.first);
    let last = (last.wrapping_add(1) & !mask).wrapping_sub(1).max(need.last);
    BusRange { first, last }
}

/// Shares free space among windows that lost their place: as much as possible in total, then as much as
/// possible for the smallest. If `capped` (on a root bus), none gets more than it had.
fn share(
    room: &[BusRange],
    taken: &[BusRange],
    wants: &[Want],
    displaced: &[usize],
    capped: bool,
) -> Vec<Option<BusRange>> {
    let mut out = vec![None; displaced.len()];
    let all: Vec<&Want> = displaced.iter().filter_map(|i| wants.get(*i)).collect();
    let Some(granule) = all.iter().map(|want| want.granule).max() else { return out };
    let Some(top) = all.iter().map(|want| want.top).min() else { return out };
    let mask = granule - 1;
    // Only whole granules below everyone's top can be used.
    let mut gaps: Vec<BusRange> = room
        .iter()
        .flat_map(|room| room.without(taken))
        .filter_map(|gap| {
            let first = gap.first.checked_add(mask)? & !mask;
            let last = (gap.last.min(top).wrapping_add(1) & !mask).wrapping_sub(1);
            BusRange::new(first, last)
        })
        .collect();
    gaps.sort_unstable_by_key(|gap| (core::cmp::Reverse(gap.len()), gap.first));
    // One window goes into each of the largest gaps. Further windows share the gap that leaves most for each.
    let mut shares: Vec<(BusRange, u64)> = gaps.into_iter().take(all.len()).map(|gap| (gap, 1)).collect();
    if shares.is_empty() {
        return out;
    }
    for _ in shares.len()..all.len() {
        if let Some((_, n)) = shares.iter_mut().max_by_key(|(gap, n)| gap.len() / (*n + 1)) {
            *n += 1;
        }
    }
    let mut pieces: Vec<BusRange> = Vec::new();
    for (gap, n) in shares {
        let each = (gap.len() / n) & !mask;
        let mut first = gap.first;
        for k in 0..n {
            let last = if k + 1 == n { gap.last } else { first.wrapping_add(each).wrapping_sub(1) };
            pieces.extend(BusRange::new(first, last).filter(|_| each > 0));
            first = first.wrapping_add(each);
        }
    }
    // Keep the old order of windows, so that they move as little as possible.
    pieces.sort_unstable();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|i| all.get(*i).and_then(|want| want.old));
    if pieces.len() < order.len() {
        // There are too few pieces: the windows that had most get one.
        order.sort_by_key(|i| core::cmp::Reverse(all.get(*i).and_then(|want| want.old).map(BusRange::len)));
        order.truncate(pieces.len());
        order.sort_by_key(|i| all.get(*i).and_then(|want| want.old));
    }
    for (i, piece) in order.into_iter().zip(pieces) {
        let had = all.get(i).and_then(|want| want.old).map_or(0, BusRange::len);
        let piece = if capped && piece.len() > had { BusRange::sized(piece.first, had) } else { Some(piece) };
        if let Some(place) = out.get_mut(i) {
            *place = piece;
        }
    }
    out
}
