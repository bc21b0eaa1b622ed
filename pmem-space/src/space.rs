//! The index itself: what the tree does not hold, and what is asked of it.

use crate::entry::{Entry, Occupant};
use crate::fit::{Fit, Policy};
use crate::range::AddrRange;
use crate::tree::{Cut, Leaf, Need, Node, Occupied, Pool, Put, Search, Slot, largest, marked, raw};
use core::fmt;

/// Why a range could not be taken: what it meets first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict<T> {
    /// The range that was to be taken.
    pub wanted: AddrRange,
    /// The lowest entry in its way.
    pub met: Entry<T>,
}

impl<T: fmt::Debug> fmt::Display for Conflict<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} meets {:?} at {}", self.wanted, self.met.occupant, self.met.range)
    }
}

impl<T: fmt::Debug> core::error::Error for Conflict<T> {}

/// A place that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub place: AddrRange,
    /// Whether it is the one that the policy asks for. Not so only after [`Fit::visits`] gaps were looked at in vain: it is
    /// then in the lowest gap that holds the request whatever its alignment.
    pub exact: bool,
}

/// The entries of one address space, in order of address, and the gaps between them.
///
/// A clone shares everything; a later change copies only the path to what it changes. Each change and question takes
/// logarithmic time, but for a search whose alignment many gaps nearly fit: [`Fit::visits`] bounds it.
///
/// # Invariants
/// Entries are disjoint; neighbouring holes are one entry, and so is neighbouring sealed space.
#[derive(Clone)]
pub struct Space<T> {
    root: Node<T>,
    /// The last address of the gap before the first entry.
    lead: Option<u64>,
    taken: usize,
    /// Levels of inner nodes.
    height: usize,
}

impl<T: Copy + Default> Default for Space<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy + Default> Space<T> {
    /// Makes an address space that is one hole.
    pub fn new() -> Self {
        let mut space = Self { root: Node::empty_leaf(u64::MAX), lead: Some(u64::MAX), taken: 0, height: 0 };
        space.fill(AddrRange::ALL, Occupant::Hole, &mut Pool::default());
        space
    }

    /// Sets aside what one change of this space may need, and what undoes it.
    pub fn fill_pool(&self, pool: &mut Pool<T>) {
        pool.fill(self.height + 1, || Leaf::new(u64::MAX));
    }
}

impl<T: Copy> Space<T> {
    /// Makes a gap of whatever in `range` is a hole or sealed.
    pub fn open(&mut self, range: AddrRange) {
        self.pooled(&mut Pool::default()).open(range);
    }

    /// Makes a hole of whatever in `range` is a gap or sealed.
    pub fn close(&mut self, range: AddrRange) {
        self.pooled(&mut Pool::default()).close(range);
    }

    /// Makes sealed space of whatever in `range` is a gap or a hole.
    pub fn seal(&mut self, range: AddrRange) {
        self.pooled(&mut Pool::default()).seal(range);
    }

    /// The space for changes that take their memory from `pool`.
    pub fn pooled<'s>(&'s mut self, pool: &'s mut Pool<T>) -> Pooled<'s, T> {
        Pooled { space: self, pool }
    }

    /// Takes exactly `range`.
    ///
    /// # Errors
    /// [`Conflict`] unless all of it is a gap.
    pub fn insert(&mut self, range: AddrRange, value: T) -> Result<(), Conflict<T>> {
        self.insert_marked(range, value, false)
    }

    /// Takes exactly `range`, for an entry that [`Self::marked_in`] finds if it is `marked`.
    ///
    /// # Errors
    /// [`Conflict`] unless all of it is a gap.
    pub fn insert_marked(&mut self, range: AddrRange, value: T, marked: bool) -> Result<(), Conflict<T>> {
        self.pooled(&mut Pool::default()).insert_marked(range, value, marked)
    }

    /// Finds a place for `fit` and takes it.
    pub fn alloc(&mut self, fit: &Fit, value: T) -> Option<AddrRange> {
        self.alloc_with(fit, |_| value)
    }

    /// Finds a place for `fit` and takes it, for a value that depends on the place.
    pub fn alloc_with(&mut self, fit: &Fit, value: impl FnOnce(AddrRange) -> T) -> Option<AddrRange> {
        let place = self.find(fit)?;
        self.put(place, Occupant::Taken(value(place)), false, &mut Pool::default()).is_ok().then_some(place)
    }

    /// Gives back what was taken at `start`; a gap is left.
    pub fn remove(&mut self, start: u64) -> Option<(AddrRange, T)> {
        self.pooled(&mut Pool::default()).remove(start)
    }

    /// Replaces the value of what was taken at `start`, and returns the old one.
    pub fn replace(&mut self, start: u64, value: T) -> Option<T> {
        let marked = self.slot_at(start)?.marked;
        self.replace_marked(start, value, marked)
    }

    /// Replaces the value of what was taken at `start`, marks it or not, and returns the old value.
    pub fn replace_marked(&mut self, start: u64, value: T, marked: bool) -> Option<T> {
        self.pooled(&mut Pool::default()).replace_marked(start, value, marked)
    }

    /// What is at `addr`.
    pub fn at(&self, addr: u64) -> Entry<T> {
        if let Some(lead) = self.lead.filter(|lead| addr <= *lead) {
            return Entry { range: raw(0, lead), occupant: Occupant::Gap };
        }
        let whole = Entry { range: AddrRange::ALL, occupant: Occupant::Gap };
        self.root.leaf(addr).and_then(|leaf| leaf.entry(addr)).unwrap_or(whole)
    }

    /// What was taken at `addr`, if anything.
    #[inline]
    pub fn get(&self, addr: u64) -> Option<(AddrRange, T)> {
        self.root.leaf(addr)?.get(addr)
    }

    /// What overlaps `window`, gaps included, in order of address; the first and the last entry are given whole.
    pub fn entries_in(&self, window: AddrRange) -> Entries<'_, T> {
        Entries { space: self, leaf: None, next: Some(window.start()), last: window.last() }
    }

    /// What was taken inside or across `window`, in order of address.
    pub fn taken_in(&self, window: AddrRange) -> TakenIn<'_, T> {
        TakenIn { space: self, leaf: None, left: Some(window) }
    }

    /// The gaps inside `window`, cut to it, in order of address.
    pub fn gaps_in(&self, window: AddrRange) -> impl Iterator<Item = AddrRange> + '_ {
        self.entries_in(window)
            .filter(|e| matches!(e.occupant, Occupant::Gap))
            .filter_map(move |e| e.range.intersect(window))
    }

    /// Gives `each` the marked entries inside or across `window`, in order of address, passing over what has none.
    pub fn marked_in(&self, window: AddrRange, mut each: impl FnMut(AddrRange, T)) {
        marked(&self.root, window, &mut each);
    }

    /// The nearest taken range that ends below `addr`.
    pub fn before(&self, addr: u64) -> Option<(AddrRange, T)> {
        self.taken_in(raw(0, addr.checked_sub(1)?)).rev().find(|(range, _)| range.last() < addr)
    }

    /// The nearest taken range that starts above `addr`.
    pub fn after(&self, addr: u64) -> Option<(AddrRange, T)> {
        self.taken_in(raw(addr.checked_add(1)?, u64::MAX)).find(|(range, _)| range.start() > addr)
    }

    /// Finds a place for `fit`, without taking it.
    pub fn find(&self, fit: &Fit) -> Option<AddrRange> {
        self.search(fit).map(|found| found.place)
    }

    /// Finds a place for `fit`, without taking it, and says whether it is the one that the policy asks for.
    pub fn search(&self, fit: &Fit) -> Option<Found> {
        let mut search = Search { fit, need: Need::of(fit), patience: fit.visits_of() };
        let lead = self.lead.map(|lead| raw(0, lead));
        let window = fit.window_of();
        let cut = Cut { below: window.start() > 0, above: window.last() < u64::MAX };
        let in_lead = || lead.and_then(|lead| fit.lowest_in(lead));
        let quick = match fit.policy_of() {
            Policy::FirstFit | Policy::LastFit => None,
            Policy::InstantFit => in_lead().or_else(|| search.in_any_order(&self.root)),
            Policy::GoodFit => search.in_smallest_order(&self.root, lead),
        };
        if let Some(place) = quick {
            return Some(Found { place, exact: true });
        }
        let run = |search: &mut Search<'_>| match fit.policy_of() {
            Policy::LastFit => {
                let found = search.highest(&self.root);
                found.or_else(|| fit.highest_in(lead.filter(|_| search.patience > 0)?))
            }
            _ => in_lead().or_else(|| search.lowest(&self.root, cut)),
        };
        let first = run(&mut search);
        if first.is_some() || search.patience > 0 {
            return first.map(|place| Found { place, exact: true });
        }
        if let Some(place) = search.in_any_order(&self.root) {
            return Some(Found { place, exact: false });
        }
        // Only gaps that the request may just fit are left: nothing but looking at all of them tells.
        search.patience = u32::MAX;
        run(&mut search).map(|place| Found { place, exact: true })
    }

    /// The largest gap inside `window`, the lowest among equals.
    pub fn largest_gap(&self, window: AddrRange) -> Option<AddrRange> {
        let lead = self.lead.and_then(|lead| raw(0, lead).intersect(window));
        largest(&self.root, window, lead)
    }

    /// How many ranges are taken.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// The entry, of any kind, that starts at `start`.
    fn slot_at(&self, start: u64) -> Option<Slot<T>> {
        let leaf = self.root.leaf(start)?;
        Some(leaf.slot(leaf.upto(start).checked_sub(1)?)).filter(|slot| slot.start == start)
    }

    /// Puts an entry where there is a gap.
    fn put(
        &mut self,
        range: AddrRange,
        what: Occupant<T>,
        marked: bool,
        pool: &mut Pool<T>,
    ) -> Result<(), Occupied> {
        let (start, last) = (range.start(), range.last());
        let Put { split, .. } = self.root.put(&Slot { start, last, what, marked }, pool)?;
        if self.lead.is_some_and(|lead| start <= lead) {
            self.lead = start.checked_sub(1);
        }
        self.taken += usize::from(matches!(what, Occupant::Taken(_)));
        if let Some(split) = split {
            self.root = Node::over(self.root.clone(), split, pool);
            self.height += 1;
        }
        Ok(())
    }

    /// Puts a hole or sealed space where there is known to be a gap.
    fn fill(&mut self, range: AddrRange, what: Occupant<T>, pool: &mut Pool<T>) {
        let put = self.put(range, what, false, pool);
        debug_assert!(put.is_ok(), "{range} is no gap");
    }

    /// Takes out the entry that starts at `start`, if `which` wants it; a gap is left.
    fn cut(&mut self, start: u64, which: fn(&Occupant<T>) -> bool, pool: &mut Pool<T>) -> Option<Slot<T>> {
        let taken = self.root.take(start, which, pool)?;
        self.taken -= usize::from(matches!(taken.slot.what, Occupant::Taken(_)));
        if taken.reach.is_some() {
            self.lead = taken.reach;
        }
        while let Some(kid) = self.root.only_kid() {
            pool.keep(core::mem::replace(&mut self.root, kid));
            self.height -= 1;
        }
        Some(taken.slot)
    }

    fn rebase(&mut self, range: AddrRange, base: Occupant<T>, pool: &mut Pool<T>) {
        let mut next = Some(range.start());
        while let Some(addr) = next.filter(|addr| *addr <= range.last()) {
            let entry = self.at(addr);
            next = entry.range.end();
            if matches!(entry.occupant, Occupant::Taken(_)) {
                continue;
            }
            let Some(part) = entry.range.intersect(range) else { continue };
            if !matches!(entry.occupant, Occupant::Gap) {
                self.cut(entry.range.start(), |_| true, pool);
                for rest in entry.range.minus(part).into_iter().flatten() {
                    self.fill(rest, entry.occupant, pool);
                }
            }
            if !matches!(base, Occupant::Gap) {
                self.fill(part, base, pool);
                self.merge(part, pool);
            }
        }
    }

    /// Joins the hole or sealed space at `part` with neighbours of its kind.
    fn merge(&mut self, part: AddrRange, pool: &mut Pool<T>) {
        let here = self.at(part.start());
        let joins = |e: &Entry<T>| {
            matches!(
                (e.occupant, here.occupant),
                (Occupant::Hole, Occupant::Hole) | (Occupant::Sealed, Occupant::Sealed)
            )
        };
        let below = part.start().checked_sub(1).map(|addr| self.at(addr)).filter(joins);
        let above = part.end().map(|addr| self.at(addr)).filter(joins);
        if below.is_none() && above.is_none() {
            return;
        }
        let whole = [below, above].into_iter().flatten().fold(here.range, |all, e| all.hull(e.range));
        for gone in [below, Some(here), above].into_iter().flatten() {
            self.cut(gone.range.start(), |_| true, pool);
        }
        self.fill(whole, here.occupant, pool);
    }
}

/// A space whose changes take their memory from a pool; got from [`Space::pooled`]. Its verbs are those of [`Space`].
pub struct Pooled<'s, T> {
    space: &'s mut Space<T>,
    pool: &'s mut Pool<T>,
}

impl<T: Copy> Pooled<'_, T> {
    /// [`Space::open`].
    pub fn open(&mut self, range: AddrRange) {
        self.space.rebase(range, Occupant::Gap, self.pool);
    }

    /// [`Space::close`].
    pub fn close(&mut self, range: AddrRange) {
        self.space.rebase(range, Occupant::Hole, self.pool);
    }

    /// [`Space::seal`].
    pub fn seal(&mut self, range: AddrRange) {
        self.space.rebase(range, Occupant::Sealed, self.pool);
    }

    /// [`Space::insert`].
    ///
    /// # Errors
    /// [`Conflict`] unless all of `range` is a gap.
    pub fn insert(&mut self, range: AddrRange, value: T) -> Result<(), Conflict<T>> {
        self.insert_marked(range, value, false)
    }

    /// [`Space::insert_marked`].
    ///
    /// # Errors
    /// [`Conflict`] unless all of `range` is a gap.
    pub fn insert_marked(&mut self, range: AddrRange, value: T, marked: bool) -> Result<(), Conflict<T>> {
        if self.space.put(range, Occupant::Taken(value), marked, self.pool).is_ok() {
            return Ok(());
        }
        let gap = |entry: &Entry<T>| matches!(entry.occupant, Occupant::Gap);
        let here = self.space.at(range.start());
        let met = here.range.end().filter(|_| gap(&here)).map_or(here, |next| self.space.at(next));
        Err(Conflict { wanted: range, met })
    }

    /// [`Space::remove`].
    pub fn remove(&mut self, start: u64) -> Option<(AddrRange, T)> {
        let slot = self.space.cut(start, |what| matches!(what, Occupant::Taken(_)), self.pool)?;
        match slot.what {
            Occupant::Taken(value) => Some((slot.range(), value)),
            _ => None,
        }
    }

    /// [`Space::replace_marked`].
    pub fn replace_marked(&mut self, start: u64, value: T, marked: bool) -> Option<T> {
        let Occupant::Taken(old) = self.space.slot_at(start)?.what else { return None };
        self.space.root.set(start, Occupant::Taken(value), marked, self.pool);
        Some(old)
    }
}

impl<T: Copy + PartialEq> PartialEq for Space<T> {
    fn eq(&self, other: &Self) -> bool {
        self.entries_in(AddrRange::ALL).eq(other.entries_in(AddrRange::ALL))
    }
}

impl<T: Copy + Eq> Eq for Space<T> {}

impl<T: Copy + fmt::Debug> fmt::Debug for Space<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries_in(AddrRange::ALL)).finish()
    }
}

/// Entries and gaps in order of address; got from [`Space::entries_in`].
pub struct Entries<'s, T> {
    space: &'s Space<T>,
    /// Where the last one was found: the next one is mostly there too.
    leaf: Option<&'s Leaf<T>>,
    next: Option<u64>,
    last: u64,
}

impl<T: Copy> Iterator for Entries<'_, T> {
    type Item = Entry<T>;

    fn next(&mut self) -> Option<Entry<T>> {
        let addr = self.next.filter(|addr| *addr <= self.last)?;
        let entry = self.entry(addr);
        self.next = entry.range.end();
        Some(entry)
    }
}

impl<T: Copy> Entries<'_, T> {
    fn entry(&mut self, addr: u64) -> Entry<T> {
        let known = self.leaf.filter(|leaf| leaf.covers(addr));
        self.leaf = known.or_else(|| self.space.root.leaf(addr));
        match self.leaf.and_then(|leaf| leaf.entry(addr)) {
            Some(entry) => entry,
            None => self.space.at(addr),
        }
    }
}

/// Taken ranges in order of address, from both ends; got from [`Space::taken_in`].
pub struct TakenIn<'s, T> {
    space: &'s Space<T>,
    leaf: Option<&'s Leaf<T>>,
    /// What has not been looked at from either end.
    left: Option<AddrRange>,
}

impl<'s, T: Copy> TakenIn<'s, T> {
    fn leaf(&mut self, addr: u64) -> Option<&'s Leaf<T>> {
        self.leaf = self.leaf.filter(|leaf| leaf.covers(addr)).or_else(|| self.space.root.leaf(addr));
        self.leaf
    }
}

impl<T: Copy> Iterator for TakenIn<'_, T> {
    type Item = (AddrRange, T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let left = self.left?;
            let leaf = self.leaf(left.start())?;
            let i = leaf.upto(left.start()).saturating_sub(1);
            // Entry `i` reaches up to where entry `i + 1` starts.
            let slot = Some(leaf.slot(i)).filter(|slot| i < leaf.len() && slot.last >= left.start());
            let after = match slot {
                Some(slot) => slot.last.checked_add(1),
                None => leaf.reach(i).max(left.start()).checked_add(1),
            };
            self.left = after.and_then(|start| AddrRange::inclusive(start, left.last()).ok());
            if let Some(slot) = slot.filter(|slot| slot.start <= left.last())
                && let Occupant::Taken(value) = slot.what
            {
                return Some((slot.range(), value));
            }
        }
    }
}

impl<T: Copy> DoubleEndedIterator for TakenIn<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let left = self.left?;
            let leaf = self.leaf(left.last())?;
            let i = leaf.upto(left.last()).checked_sub(1)?;
            let slot = leaf.slot(i);
            let before = slot.start.checked_sub(1);
            self.left = before.and_then(|last| AddrRange::inclusive(left.start(), last).ok());
            if let Occupant::Taken(value) = slot.what
                && slot.last >= left.start()
            {
                return Some((slot.range(), value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn r(start: u64, end: u64) -> AddrRange {
        AddrRange::new(start, end).unwrap()
    }

    #[test]
    fn a_new_space_is_one_hole() {
        let space = Space::<u8>::new();
        assert_eq!(space.at(77), Entry { range: AddrRange::ALL, occupant: Occupant::Hole });
        assert_eq!(space.find(&Fit::new(1).unwrap()), None);
    }

    #[test]
    fn adjacent_opened_spans_are_one_gap() {
        let mut space = Space::<u8>::new();
        space.open(r(0x1000, 0x2000));
        space.open(r(0x2000, 0x3000));
        assert_eq!(space.gaps_in(AddrRange::ALL).collect::<Vec<_>>(), [r(0x1000, 0x3000)]);
        assert_eq!(space.find(&Fit::new(0x2000).unwrap()), Some(r(0x1000, 0x3000)));
    }

    #[test]
    fn what_is_taken_survives_sealing_and_closing() {
        let mut space = Space::new();
        space.open(r(0, 0x100));
        space.insert(r(0x10, 0x20), 'a').unwrap();
        space.seal(r(0, 0x100));
        assert_eq!(space.find(&Fit::new(1).unwrap()), None);
        assert_eq!(space.remove(0x10), Some((r(0x10, 0x20), 'a')));
        assert_eq!(space.gaps_in(AddrRange::ALL).collect::<Vec<_>>(), [r(0x10, 0x20)]);
        space.close(r(0, 0x100));
        assert_eq!(space, Space::new());
    }

    #[test]
    fn a_conflict_names_what_is_met_first() {
        let mut space = Space::new();
        space.open(r(0, 0x100));
        space.insert(r(0x10, 0x20), 'a').unwrap();
        let conflict = space.insert(r(0x8, 0x40), 'b').unwrap_err();
        assert_eq!(conflict.met, Entry { range: r(0x10, 0x20), occupant: Occupant::Taken('a') });
    }

    #[test]
    fn the_top_of_the_space_can_be_taken() {
        let mut space = Space::new();
        let top = AddrRange::inclusive(u64::MAX - 0xff, u64::MAX).unwrap();
        space.open(top);
        let last = Fit::new(0x10).unwrap().policy(Policy::LastFit);
        let place = space.find(&last).unwrap();
        assert_eq!(place.last(), u64::MAX);
        space.insert(place, ()).unwrap();
        assert_eq!(space.before(u64::MAX), None);
        assert_eq!(space.after(0), Some((place, ())));
    }

    /// One entry per address, over a small space: obviously correct.
    const SMALL: u64 = 96;

    fn dense(space: &Space<u8>) -> Vec<Occupant<u8>> {
        (0..SMALL).map(|addr| space.at(addr).occupant).collect()
    }

    fn places(cells: &[Occupant<u8>], fit: &Fit) -> Vec<AddrRange> {
        (0..SMALL)
            .filter_map(|start| AddrRange::sized(start, fit.len()).ok())
            .filter(|p| p.last() < SMALL && fit.admits(*p))
            .filter(|p| (p.start()..=p.last()).all(|a| cells[a as usize] == Occupant::Gap))
            .collect()
    }

    fn gaps(cells: &[Occupant<u8>]) -> Vec<AddrRange> {
        let free = |a: u64| cells.get(a as usize) == Some(&Occupant::Gap);
        let starts = (0..SMALL).filter(|a| free(*a) && (*a == 0 || !free(a - 1)));
        starts.map(|a| AddrRange::new(a, (a..).find(|a| !free(*a)).unwrap()).unwrap()).collect()
    }

    /// The size of the largest naturally aligned block in a gap.
    fn block(gap: AddrRange) -> u64 {
        let fits =
            |size: &u64| (0..SMALL / size).any(|i| gap.covers(AddrRange::sized(i * size, *size).unwrap()));
        (0..7).map(|order| 1 << order).filter(fits).max().unwrap()
    }

    fn check_find(space: &Space<u8>, fit: Fit) -> Result<(), TestCaseError> {
        let cells = dense(space);
        let all = places(&cells, &fit);
        prop_assert_eq!(space.find(&fit.policy(Policy::FirstFit)), all.first().copied());
        prop_assert_eq!(space.find(&fit.policy(Policy::LastFit)), all.last().copied());
        let instant = space.find(&fit.policy(Policy::InstantFit));
        prop_assert_eq!(instant.is_some(), !all.is_empty());
        prop_assert!(instant.is_none_or(|p| all.contains(&p)));
        let good = space.find(&fit.policy(Policy::GoodFit));
        prop_assert_eq!(good.is_some(), !all.is_empty());
        prop_assert!(good.is_none_or(|p| all.contains(&p)));
        // No gap with a smaller block would surely have done.
        let slack = fit.align_of().max(fit.boundary_of().unwrap_or(1)) - 1;
        let sure =
            |(gap, block): &(AddrRange, u64)| fit.window_of().covers(*gap) && *block >= fit.len() + slack;
        let blocks: Vec<(AddrRange, u64)> = gaps(&cells).into_iter().map(|gap| (gap, block(gap))).collect();
        if let (Some(least), Some(good)) = (blocks.iter().filter(|g| sure(g)).map(|g| g.1).min(), good) {
            let (_, taken) = blocks.iter().find(|(gap, _)| gap.covers(good)).unwrap();
            prop_assert!(*taken <= least, "{} has {}, {} would do", good, taken, least);
        }
        Ok(())
    }

    /// A tree of some levels, whose entries come and go.
    fn grown(ops: Vec<(u8, u64, u64)>) -> Space<u8> {
        let mut space = Space::new();
        space.open(AddrRange::inclusive(0, 1 << 20).unwrap());
        for (i, (op, start, len)) in ops.into_iter().enumerate() {
            let range = AddrRange::sized(start, len).unwrap();
            match op {
                0 => space.close(range),
                1 => space.open(range),
                2..6 => drop(space.after(start).and_then(|(next, _)| space.remove(next.start()))),
                _ => drop(space.insert_marked(range, i as u8, i.is_multiple_of(7))),
            }
        }
        space
    }

    #[test]
    fn it_can_be_shown() {
        let shown = std::format!("{:?}", grown(std::vec![(9, 4096, 16)]));
        assert!(shown.contains("0x1000"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_subtrees_say_is_exact(ops in prop::collection::vec((0u8..16, 0u64..1 << 12, 1u64..9), 1..600)) {
            crate::tree::exact::check(&grown(ops).root);
        }

        #[test]
        fn agrees_with_one_cell_per_address(
            ops in prop::collection::vec((0u8..6, 0..SMALL, 1..24u64), 1..60),
            fits in prop::collection::vec((1..9u64, 0..4u32, 0..40u64, 0..5u32, 0..SMALL, 1..SMALL), 8),
        ) {
            let mut space = Space::new();
            let mut cells: Vec<Occupant<u8>> = (0..SMALL).map(|_| Occupant::Hole).collect();
            for (i, (op, start, len)) in ops.into_iter().enumerate() {
                let range = AddrRange::inclusive(start, (start + len - 1).min(SMALL - 1)).unwrap();
                let ours = start as usize..=range.last() as usize;
                let base = match op {
                    0 | 1 => { space.open(range); Some(Occupant::Gap) }
                    2 => { space.close(range); Some(Occupant::Hole) }
                    3 => { space.seal(range); Some(Occupant::Sealed) }
                    4 => {
                        let free = cells[ours.clone()].iter().all(|c| *c == Occupant::Gap);
                        prop_assert_eq!(space.insert(range, i as u8).is_ok(), free);
                        if free { cells[ours.clone()].fill(Occupant::Taken(i as u8)); }
                        None
                    }
                    _ => {
                        if let Some((gone, _)) = space.remove(start) {
                            cells[gone.start() as usize..=gone.last() as usize].fill(Occupant::Gap);
                        }
                        None
                    }
                };
                if let Some(base) = base {
                    cells[ours].iter_mut().filter(|c| !matches!(c, Occupant::Taken(_))).for_each(|c| *c = base);
                }
                prop_assert_eq!(&dense(&space), &cells);
            }
            for (len, align, phase, boundary, start, size) in fits {
                let window = AddrRange::inclusive(start, (start + size - 1).min(SMALL - 1)).unwrap();
                let fit = Fit::new(len).unwrap().window(window).align(1 << align).unwrap().phase(phase);
                check_find(&space, fit)?;
                check_find(&space, fit.boundary((1u64 << boundary).max(len.next_power_of_two())).unwrap())?;
            }
        }
    }
}
