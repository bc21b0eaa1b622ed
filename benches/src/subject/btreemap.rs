//! What you would write yourself with the standard library: an ordered map of what is taken, or two of what is
//! free.

use super::{Hit, Live, Subject, Tag, Want};
use pmem_space::AddrRange;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the lowest place in `gap` that is aligned and inside the window.
pub fn lowest(gap: AddrRange, want: &Want) -> Option<AddrRange> {
    let gap = gap.intersect(want.window.unwrap_or(AddrRange::ALL))?;
    let start = gap.start().checked_next_multiple_of(want.align)?;
    AddrRange::sized(start, want.len).ok().filter(|place| gap.covers(*place))
}

struct FirstFit {
    all: AddrRange,
    taken: BTreeMap<u64, (u64, Tag)>,
}

pub fn first_fit(all: AddrRange) -> Box<dyn Subject> {
    Box::new(FirstFit { all, taken: BTreeMap::new() })
}

impl FirstFit {
    fn take(&mut self, place: AddrRange) -> Live {
        self.taken.insert(place.start(), (place.last(), Tag::of(place.start())));
        Live { start: place.start(), len: place.len(), token: 0 }
    }
}

fn find(taken: &BTreeMap<u64, (u64, Tag)>, addr: u64) -> Option<Hit> {
    let (start, (last, tag)) = taken.range(..=addr).next_back()?;
    (addr <= *last).then_some(Hit { start: *start, last: *last, attrs: tag.attrs, id: tag.id })
}

fn neighbours(taken: &BTreeMap<u64, (u64, Tag)>, addr: u64) -> Option<(u64, u64)> {
    let below = taken.range(..addr).rev().find(|(_, (last, _))| *last < addr)?;
    Some((*below.0, *taken.range(addr + 1..).next()?.0))
}

impl Subject for FirstFit {
    fn adopt(&mut self, range: AddrRange) -> Option<Live> {
        Some(self.take(range))
    }

    fn alloc(&mut self, want: &Want) -> Option<Live> {
        let window = want.window.unwrap_or(self.all);
        let before = self.taken.range(..=window.start()).next_back();
        let mut from = before.map_or(Some(self.all.start()), |(_, (last, _))| last.checked_add(1));
        let mut found = None;
        for (start, (last, _)) in self.taken.range(window.start() + 1..) {
            let gap = from.and_then(|from| AddrRange::new(from, *start).ok());
            found = gap.and_then(|gap| lowest(gap, want));
            from = last.checked_add(1);
            if found.is_some() || from.is_none_or(|from| from > window.last()) {
                break;
            }
        }
        if found.is_none() {
            found = lowest(AddrRange::inclusive(from?, self.all.last()).ok()?, want);
        }
        found.map(|place| self.take(place))
    }

    fn free(&mut self, live: &Live) {
        self.taken.remove(&live.start);
    }

    fn find(&self, addr: u64) -> Option<Hit> {
        find(&self.taken, addr)
    }

    fn neighbours(&self, addr: u64) -> Option<(u64, u64)> {
        neighbours(&self.taken, addr)
    }
}

/// What is taken, by address; what is free, by address and by size and address.
struct Two {
    taken: BTreeMap<u64, (u64, Tag)>,
    free: BTreeMap<u64, u64>,
    sizes: BTreeSet<(u64, u64)>,
}

pub fn two(all: AddrRange) -> Box<dyn Subject> {
    let mut two = Two { taken: BTreeMap::new(), free: BTreeMap::new(), sizes: BTreeSet::new() };
    two.put(all);
    Box::new(two)
}

impl Two {
    fn put(&mut self, gap: AddrRange) {
        self.free.insert(gap.start(), gap.last());
        self.sizes.insert((gap.len(), gap.start()));
    }

    fn cut(&mut self, gap: AddrRange) {
        self.free.remove(&gap.start());
        self.sizes.remove(&(gap.len(), gap.start()));
    }

    fn take(&mut self, gap: AddrRange, place: AddrRange) -> Live {
        self.cut(gap);
        gap.minus(place).into_iter().flatten().for_each(|rest| self.put(rest));
        self.taken.insert(place.start(), (place.last(), Tag::of(place.start())));
        Live { start: place.start(), len: place.len(), token: 0 }
    }
}

impl Subject for Two {
    fn adopt(&mut self, range: AddrRange) -> Option<Live> {
        let (start, last) = self.free.range(..=range.start()).next_back()?;
        let gap = AddrRange::inclusive(*start, *last).ok().filter(|gap| gap.covers(range))?;
        Some(self.take(gap, range))
    }

    fn alloc(&mut self, want: &Want) -> Option<Live> {
        let fits = |(bytes, start): &(u64, u64)| {
            let gap = AddrRange::sized(*start, *bytes).ok()?;
            Some((gap, lowest(gap, want)?))
        };
        let (gap, place) = self.sizes.range((want.len, 0)..).find_map(fits)?;
        Some(self.take(gap, place))
    }

    fn free(&mut self, live: &Live) {
        self.taken.remove(&live.start);
        let Ok(mut gap) = AddrRange::sized(live.start, live.len) else { return };
        let below = self.free.range(..gap.start()).next_back().map(|(start, last)| (*start, *last));
        if let Some((start, last)) = below.filter(|(_, last)| last + 1 == gap.start()) {
            let below = AddrRange::inclusive(start, last).expect("in order");
            self.cut(below);
            gap = gap.hull(below);
        }
        let above = gap.end().and_then(|end| Some((end, *self.free.get(&end)?)));
        if let Some((start, last)) = above {
            let above = AddrRange::inclusive(start, last).expect("in order");
            self.cut(above);
            gap = gap.hull(above);
        }
        self.put(gap);
    }

    fn find(&self, addr: u64) -> Option<Hit> {
        find(&self.taken, addr)
    }

    fn neighbours(&self, addr: u64) -> Option<(u64, u64)> {
        neighbours(&self.taken, addr)
    }
}
