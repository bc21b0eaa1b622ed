//! A sorted list that does what the index does, and sequences of operations on both.

use pmem_space::{AddrRange, Entry, Fit, Occupant, Policy, Space};

/// Entries in order of address; what is not listed is a gap.
#[derive(Clone, Debug, Default)]
struct List(Vec<(AddrRange, Occupant<u32>)>);

impl List {
    fn new() -> Self {
        Self(vec![(AddrRange::ALL, Occupant::Hole)])
    }

    /// Everything, gaps included, in order of address.
    fn entries(&self) -> Vec<Entry<u32>> {
        let mut out = Vec::new();
        let mut next = Some(0);
        for (range, occupant) in &self.0 {
            let gap = next.and_then(|next| AddrRange::new(next, range.start()).ok());
            out.extend(gap.map(|range| Entry { range, occupant: Occupant::Gap }));
            out.push(Entry { range: *range, occupant: *occupant });
            next = range.end();
        }
        let gap = next.and_then(|next| AddrRange::inclusive(next, u64::MAX).ok());
        out.extend(gap.map(|range| Entry { range, occupant: Occupant::Gap }));
        out
    }

    fn gaps(&self) -> Vec<AddrRange> {
        self.entries().iter().filter(|e| e.occupant == Occupant::Gap).map(|e| e.range).collect()
    }

    fn put(&mut self, range: AddrRange, occupant: Occupant<u32>) {
        let place = self.0.partition_point(|(other, _)| other.start() < range.start());
        self.0.insert(place, (range, occupant));
    }

    fn insert(&mut self, range: AddrRange, value: u32) -> bool {
        let free = self.gaps().iter().any(|gap| gap.covers(range));
        if free {
            self.put(range, Occupant::Taken(value));
        }
        free
    }

    fn remove(&mut self, start: u64) -> bool {
        let here = |(range, what): &(AddrRange, Occupant<u32>)| {
            range.start() == start && matches!(what, Occupant::Taken(_))
        };
        let place = self.0.iter().position(here);
        place.map(|place| self.0.remove(place)).is_some()
    }

    fn rebase(&mut self, range: AddrRange, base: Occupant<u32>) {
        for entry in self.entries() {
            let Some(part) = entry.range.intersect(range) else { continue };
            if matches!(entry.occupant, Occupant::Taken(_)) {
                continue;
            }
            self.0.retain(|(other, _)| *other != entry.range);
            for rest in entry.range.minus(part).into_iter().flatten() {
                if entry.occupant != Occupant::Gap {
                    self.put(rest, entry.occupant);
                }
            }
            if base != Occupant::Gap {
                self.put(part, base);
            }
        }
        // Neighbours of one kind that may be joined are one.
        let mut joined: Vec<(AddrRange, Occupant<u32>)> = Vec::new();
        for (range, what) in self.0.drain(..) {
            match joined.last_mut() {
                Some((last, same))
                    if *same == what
                        && !matches!(what, Occupant::Taken(_))
                        && last.end() == Some(range.start()) =>
                {
                    *last = last.hull(range);
                }
                _ => joined.push((range, what)),
            }
        }
        self.0 = joined;
    }
}

#[derive(Clone, Debug)]
pub enum Op {
    Rebase(u8, u64, u64),
    Insert(u64, u64),
    Remove(usize),
    Alloc(Ask),
    Keep,
}

#[derive(Clone, Debug)]
pub struct Ask {
    pub len: u64,
    pub align: u32,
    pub phase: u64,
    pub boundary: Option<u32>,
    pub window: Option<(u64, u64)>,
    pub policy: u8,
}

const POLICIES: [Policy; 4] = [Policy::FirstFit, Policy::LastFit, Policy::InstantFit, Policy::GoodFit];
/// Addresses that are used: enough for a tree of three levels.
pub const SIZE: u64 = 1 << 14;

/// `len` addresses from `start` on, in the part of the space that is used.
fn range(base: u64, start: u64, len: u64) -> AddrRange {
    AddrRange::inclusive(base + start, base + (start + len - 1).min(SIZE - 1)).unwrap()
}

fn check_alloc(list: &List, fit: &Fit, found: Option<AddrRange>) {
    let gaps = list.gaps();
    assert!(found.is_none_or(|place| fit.admits(place) && gaps.iter().any(|gap| gap.covers(place))));
    let first = gaps.iter().find_map(|gap| fit.lowest_in(*gap));
    let last = gaps.iter().rev().find_map(|gap| fit.highest_in(*gap));
    match fit.policy_of() {
        Policy::FirstFit => assert_eq!(found, first),
        Policy::LastFit => assert_eq!(found, last),
        policy => assert_eq!(found, quick(&gaps, fit, policy == Policy::GoodFit).or(first), "{fit:?}"),
    }
}

/// The order of the largest naturally aligned block in a gap.
fn order(gap: AddrRange) -> u32 {
    let has = |order: &u32| {
        let first = gap.start().checked_next_multiple_of(1 << order);
        first
            .and_then(|start| AddrRange::sized(start, 1 << order).ok())
            .is_some_and(|block| gap.covers(block))
    };
    (0..40).rev().find(has).unwrap_or(0)
}

/// The place in the lowest gap, all inside the window, whose largest block surely holds a request; of the smallest such blocks if they are to be
/// good. The gap at address 0 is looked at first, if it need not be good.
fn quick(gaps: &[AddrRange], fit: &Fit, good: bool) -> Option<AddrRange> {
    let lead = gaps.first().filter(|gap| gap.start() == 0 && !good);
    if let Some(place) = lead.and_then(|gap| fit.lowest_in(*gap)) {
        return Some(place);
    }
    let widest = fit.align_of().max(fit.boundary_of().unwrap_or(1));
    let block = if fit.phase_of().is_multiple_of(widest) {
        fit.len().max(fit.align_of())
    } else {
        fit.len() + widest - 1
    };
    let sure =
        |gap: &&AddrRange| fit.window_of().covers(**gap) && 1 << order(**gap) >= block.next_power_of_two();
    let mut sure = gaps.iter().filter(sure);
    let gap = if good { sure.min_by_key(|gap| (order(**gap), gap.start())) } else { sure.next() };
    gap.and_then(|gap| fit.lowest_in(*gap))
}

fn check(space: &Space<u32>, list: &List) {
    let entries = list.entries();
    assert!(space.entries_in(AddrRange::ALL).eq(entries.iter().copied()));
    let taken = |e: &Entry<u32>| match e.occupant {
        Occupant::Taken(value) => Some((e.range, value)),
        _ => None,
    };
    let expected: Vec<_> = entries.iter().filter_map(taken).collect();
    assert!(space.taken_in(AddrRange::ALL).eq(expected.iter().copied()));
    assert!(space.taken_in(AddrRange::ALL).rev().eq(expected.iter().rev().copied()));
    assert_eq!(space.taken(), expected.len());
    for entry in entries.iter().filter(|entry| taken(entry).is_none()) {
        assert_eq!(
            (space.get(entry.range.start()), space.get(entry.range.last())),
            (None, None),
            "{entry:?}"
        );
    }
    let mut marked = Vec::new();
    space.marked_in(AddrRange::ALL, |range, value| marked.push((range, value)));
    assert!(marked.into_iter().eq(expected.iter().copied().filter(|(_, value)| value.is_multiple_of(5))));
    let largest = list.gaps().into_iter().map(AddrRange::len).max();
    assert_eq!(space.largest_gap(AddrRange::ALL).map(AddrRange::len), largest);
    for (i, (range, value)) in expected.iter().enumerate() {
        assert_eq!(space.get(range.last()), Some((*range, *value)));
        let before = i.checked_sub(1).map(|i| expected[i]);
        assert_eq!(space.before(range.start()), before);
        assert_eq!(space.after(range.start()), expected.get(i + 1).copied());
    }
}

/// Carries the operations out on an index and on a list, at the bottom of the space or at its top; panics where they differ.
pub fn run(high: bool, ops: Vec<Op>) {
    let base = if high { u64::MAX - (SIZE - 1) } else { 0 };
    let (mut space, mut list) = (Space::new(), List::new());
    let all = range(base, 0, SIZE);
    space.open(all);
    list.rebase(all, Occupant::Gap);
    let mut kept = Vec::new();
    for (i, op) in ops.into_iter().enumerate() {
        let value = i as u32;
        match op {
            Op::Rebase(kind, start, len) => {
                let part = range(base, start, len);
                // Mostly open, or little can be allocated.
                match (kind, i % 3) {
                    (1, 0) => {
                        space.close(part);
                        list.rebase(part, Occupant::Hole);
                    }
                    (2, 0) => {
                        space.seal(part);
                        list.rebase(part, Occupant::Sealed);
                    }
                    _ => {
                        space.open(part);
                        list.rebase(part, Occupant::Gap);
                    }
                }
            }
            Op::Insert(start, len) => {
                let part = range(base, start, len);
                let done = space.insert_marked(part, value, value.is_multiple_of(5)).is_ok();
                assert_eq!(done, list.insert(part, value));
            }
            Op::Remove(which) => {
                let start = list.0.get(which % list.0.len().max(1)).map_or(0, |(range, _)| range.start());
                assert_eq!(space.remove(start).is_some(), list.remove(start));
            }
            Op::Alloc(ask) => {
                let fit = Fit::new(ask.len).unwrap().align(1 << ask.align).unwrap().phase(ask.phase);
                let fit = ask.boundary.map_or(fit, |b| fit.boundary(1 << b).unwrap());
                let fit = ask.window.map_or(fit, |(start, len)| fit.window(range(base, start, len)));
                let fit = fit.policy(POLICIES[usize::from(ask.policy)]);
                let found = space.find(&fit);
                check_alloc(&list, &fit, found);
                // With little patience there is another place, if there is any.
                let hasty = space.search(&fit.visits(1));
                assert_eq!(hasty.is_some(), found.is_some());
                assert!(hasty.is_none_or(|hasty| !hasty.exact || Some(hasty.place) == found));
                if let Some(place) = found {
                    space.insert_marked(place, value, value.is_multiple_of(5)).unwrap();
                    list.insert(place, value);
                }
            }
            Op::Keep => kept.push((space.clone(), list.clone())),
        }
        if i % 64 == 0 {
            check(&space, &list);
        }
    }
    check(&space, &list);
    for (space, list) in kept {
        check(&space, &list);
    }
}
