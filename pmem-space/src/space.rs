//! The index itself.
//!
//! Kept simple: one ordered map of what is not free, searched from one end. Every answer follows from the
//! definition, which makes it the oracle for any faster structure behind the same interface.

use crate::fit::{Fit, Policy};
use crate::range::AddrRange;
use alloc::collections::BTreeMap;
use core::fmt;

/// What an address is occupied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupant<T> {
    /// Free: may be handed out.
    Gap,
    /// No space at all.
    Hole,
    /// Space of which nothing more may be handed out.
    Sealed,
    /// Taken, by what was inserted.
    Taken(T),
}

/// A range and what occupies all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// The addresses: as many as have this occupant in a row, where it is not [`Occupant::Taken`].
    pub range: AddrRange,
    /// What occupies them.
    pub occupant: Occupant<T>,
}

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

/// The entries of one address space, in order of address, and the gaps between them.
///
/// # Invariants
/// Entries are disjoint; neighbouring holes are one entry, and so is neighbouring sealed space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space<T> {
    /// By first address: the last address, and what is there. Gaps are what is not listed.
    entries: BTreeMap<u64, (u64, Occupant<T>)>,
}

impl<T: Copy> Default for Space<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> Space<T> {
    /// Makes an address space that is one hole.
    pub fn new() -> Self {
        Self { entries: BTreeMap::from([(0, (u64::MAX, Occupant::Hole))]) }
    }

    /// Makes a gap of whatever in `range` is a hole or sealed.
    pub fn open(&mut self, range: AddrRange) {
        self.rebase(range, Occupant::Gap);
    }

    /// Makes a hole of whatever in `range` is a gap or sealed.
    pub fn close(&mut self, range: AddrRange) {
        self.rebase(range, Occupant::Hole);
    }

    /// Makes sealed space of whatever in `range` is a gap or a hole.
    pub fn seal(&mut self, range: AddrRange) {
        self.rebase(range, Occupant::Sealed);
    }

    /// Takes exactly `range`.
    ///
    /// # Errors
    /// [`Conflict`] unless all of it is a gap.
    pub fn insert(&mut self, range: AddrRange, value: T) -> Result<(), Conflict<T>> {
        let met = self.entries_in(range).find(|e| !matches!(e.occupant, Occupant::Gap));
        if let Some(met) = met {
            return Err(Conflict { wanted: range, met });
        }
        self.entries.insert(range.start(), (range.last(), Occupant::Taken(value)));
        Ok(())
    }

    /// Gives back what was taken at `start`; a gap is left.
    pub fn remove(&mut self, start: u64) -> Option<(AddrRange, T)> {
        let &(last, Occupant::Taken(value)) = self.entries.get(&start)? else { return None };
        self.entries.remove(&start);
        Some((raw(start, last), value))
    }

    /// Replaces the value of what was taken at `start`, and returns the old one.
    pub fn replace(&mut self, start: u64, value: T) -> Option<T> {
        match self.entries.get_mut(&start) {
            Some((_, Occupant::Taken(old))) => Some(core::mem::replace(old, value)),
            _ => None,
        }
    }

    /// What is at `addr`.
    pub fn at(&self, addr: u64) -> Entry<T> {
        let below = self.entries.range(..=addr).next_back();
        if let Some((&start, &(last, occupant))) = below
            && addr <= last
        {
            return Entry { range: raw(start, last), occupant };
        }
        let start = below.map_or(0, |(_, &(last, _))| last + 1);
        let last = self.entries.range(addr..).next().map_or(u64::MAX, |(&next, _)| next - 1);
        Entry { range: raw(start, last), occupant: Occupant::Gap }
    }

    /// What overlaps `window`, gaps included, in order of address; the first and the last entry are given whole.
    pub fn entries_in(&self, window: AddrRange) -> impl Iterator<Item = Entry<T>> + '_ {
        let mut next = Some(window.start());
        core::iter::from_fn(move || {
            let entry = self.at(next.filter(|addr| *addr <= window.last())?);
            next = entry.range.end();
            Some(entry)
        })
    }

    /// What was taken inside or across `window`, in order of address.
    pub fn taken_in(&self, window: AddrRange) -> impl DoubleEndedIterator<Item = (AddrRange, T)> + '_ {
        let first = self.at(window.start()).range.start();
        self.entries.range(first..=window.last()).filter_map(
            move |(&start, &(last, occupant))| match occupant {
                Occupant::Taken(value) if last >= window.start() => Some((raw(start, last), value)),
                _ => None,
            },
        )
    }

    /// The gaps inside `window`, cut to it, in order of address.
    pub fn gaps_in(&self, window: AddrRange) -> impl Iterator<Item = AddrRange> + '_ {
        self.entries_in(window)
            .filter(|e| matches!(e.occupant, Occupant::Gap))
            .filter_map(move |e| e.range.intersect(window))
    }

    /// The nearest taken range that ends below `addr`.
    pub fn before(&self, addr: u64) -> Option<(AddrRange, T)> {
        self.taken_in(AddrRange::inclusive(0, addr.checked_sub(1)?).ok()?)
            .rev()
            .find(|(range, _)| range.last() < addr)
    }

    /// The nearest taken range that starts above `addr`.
    pub fn after(&self, addr: u64) -> Option<(AddrRange, T)> {
        self.taken_in(AddrRange::inclusive(addr.checked_add(1)?, u64::MAX).ok()?)
            .find(|(range, _)| range.start() > addr)
    }

    /// Finds a place for `fit`, without taking it.
    pub fn find(&self, fit: &Fit) -> Option<AddrRange> {
        let gaps = || self.gaps_in(fit.window_of());
        match fit.policy_of() {
            Policy::FirstFit => gaps().find_map(|gap| fit.lowest_in(gap)),
            Policy::LastFit => {
                let mut best = None;
                gaps().for_each(|gap| best = fit.highest_in(gap).or(best));
                best
            }
            Policy::InstantFit => {
                gaps().filter(|gap| fit.surely_in(gap.len())).chain(gaps()).find_map(|gap| fit.lowest_in(gap))
            }
            Policy::GoodFit => gaps()
                .filter_map(|gap| Some((gap.len(), fit.lowest_in(gap)?)))
                .min_by_key(|(bytes, place)| (*bytes, place.start()))
                .map(|(_, place)| place),
        }
    }

    /// The largest gap inside `window`, the lowest among equals.
    pub fn largest_gap(&self, window: AddrRange) -> Option<AddrRange> {
        self.gaps_in(window).min_by_key(|gap| (u64::MAX - gap.len(), gap.start()))
    }

    /// How many ranges are taken.
    pub fn taken(&self) -> usize {
        self.taken_in(AddrRange::ALL).count()
    }

    fn rebase(&mut self, range: AddrRange, base: Occupant<T>) {
        let mut next = Some(range.start());
        while let Some(addr) = next.filter(|addr| *addr <= range.last()) {
            let entry = self.at(addr);
            next = entry.range.end();
            if matches!(entry.occupant, Occupant::Taken(_)) {
                continue;
            }
            let Some(part) = entry.range.intersect(range) else { continue };
            self.entries.remove(&entry.range.start());
            for rest in entry.range.minus(part).into_iter().flatten() {
                self.put(rest, entry.occupant);
            }
            self.put(part, base);
            self.merge(part);
        }
    }

    fn put(&mut self, range: AddrRange, occupant: Occupant<T>) {
        if !matches!(occupant, Occupant::Gap) {
            self.entries.insert(range.start(), (range.last(), occupant));
        }
    }

    /// Joins the entry at `part` with neighbours of its kind.
    fn merge(&mut self, part: AddrRange) {
        let here = self.at(part.start());
        let (mut start, mut last) = (here.range.start(), here.range.last());
        let joins = |e: Entry<T>| {
            matches!(
                (e.occupant, here.occupant),
                (Occupant::Hole, Occupant::Hole) | (Occupant::Sealed, Occupant::Sealed)
            )
        };
        if let Some(below) = start.checked_sub(1).map(|a| self.at(a)).filter(|e| joins(*e)) {
            start = below.range.start();
        }
        if let Some(above) = last.checked_add(1).map(|a| self.at(a)).filter(|e| joins(*e)) {
            self.entries.remove(&above.range.start());
            last = above.range.last();
        }
        if joins(here) {
            self.entries.remove(&here.range.start());
            self.entries.insert(start, (last, here.occupant));
        }
    }
}

/// A range whose bounds are known to be in order.
fn raw(start: u64, last: u64) -> AddrRange {
    AddrRange::inclusive(start, last).unwrap_or(AddrRange::ALL)
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
            .filter_map(|start| AddrRange::sized(start, fit.len_of()).ok())
            .filter(|p| p.last() < SMALL && fit.admits(*p))
            .filter(|p| (p.start()..=p.last()).all(|a| cells[a as usize] == Occupant::Gap))
            .collect()
    }

    fn gap_of(cells: &[Occupant<u8>], fit: &Fit, place: AddrRange) -> u64 {
        let free = |a: u64| fit.window_of().contains(a) && cells[a as usize] == Occupant::Gap;
        let below = (0..place.start()).rev().take_while(|a| free(*a)).count();
        let above = (place.last() + 1..SMALL).take_while(|a| free(*a)).count();
        place.len() + (below + above) as u64
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
        let least = all.iter().map(|p| gap_of(&cells, &fit, *p)).min();
        prop_assert_eq!(good.map(|p| gap_of(&cells, &fit, p)), least);
        Ok(())
    }

    proptest! {
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
