//! Crates that keep ranges or allocate them.

use super::btreemap::lowest;
use super::{Hit, Live, Subject, Tag, Want};
use nodit::interval::ii;
use nodit::{Interval, NoditMap};
use pmem_space::AddrRange;
use rangemap::RangeMap;
use vm_allocator::{AddressAllocator, AllocPolicy, RangeInclusive};

const PAGE: u64 = 4096;

struct VmAllocator(AddressAllocator);

pub fn vm_allocator(all: AddrRange) -> Box<dyn Subject> {
    Box::new(VmAllocator(AddressAllocator::new(all.start(), all.len()).expect("a range")))
}

impl VmAllocator {
    fn take(&mut self, len: u64, align: u64, policy: AllocPolicy) -> Option<Live> {
        let range = self.0.allocate(len, align, policy).ok()?;
        Some(Live { start: range.start(), len, token: 0 })
    }
}

impl Subject for VmAllocator {
    fn adopt(&mut self, range: AddrRange) -> Option<Live> {
        self.take(range.len(), 1, AllocPolicy::ExactMatch(range.start()))
    }

    fn alloc(&mut self, want: &Want) -> Option<Live> {
        self.take(want.len, want.align, AllocPolicy::FirstMatch)
    }

    fn free(&mut self, live: &Live) {
        let range = RangeInclusive::new(live.start, live.start + live.len - 1).expect("a range");
        self.0.free(&range).expect("taken");
    }

    fn find(&self, _: u64) -> Option<Hit> {
        None
    }

    fn neighbours(&self, _: u64) -> Option<(u64, u64)> {
        None
    }
}

struct Ranges {
    all: AddrRange,
    map: RangeMap<u64, Tag>,
}

pub fn rangemap(all: AddrRange) -> Box<dyn Subject> {
    Box::new(Ranges { all, map: RangeMap::new() })
}

impl Subject for Ranges {
    fn adopt(&mut self, range: AddrRange) -> Option<Live> {
        self.map.insert(range.start()..range.end()?, Tag::of(range.start()));
        Some(Live { start: range.start(), len: range.len(), token: 0 })
    }

    fn alloc(&mut self, want: &Want) -> Option<Live> {
        let window = want.window.unwrap_or(self.all);
        let outer = window.start()..window.end()?;
        let fits = |gap: std::ops::Range<u64>| lowest(AddrRange::new(gap.start, gap.end).ok()?, want);
        let place = self.map.gaps(&outer).find_map(fits)?;
        self.adopt(place)
    }

    fn free(&mut self, live: &Live) {
        self.map.remove(live.start..live.start + live.len);
    }

    fn find(&self, addr: u64) -> Option<Hit> {
        let (range, tag) = self.map.get_key_value(&addr)?;
        Some(Hit { start: range.start, last: range.end - 1, attrs: tag.attrs, id: tag.id })
    }

    fn neighbours(&self, addr: u64) -> Option<(u64, u64)> {
        let below = self.map.overlapping(0..addr).rev().find(|(range, _)| range.end <= addr)?.0.start;
        let above = self.map.overlapping(addr + 1..u64::MAX).find(|(range, _)| range.start > addr)?.0.start;
        Some((below, above))
    }
}

struct Nodit {
    all: AddrRange,
    map: NoditMap<u64, Interval<u64>, Tag>,
}

pub fn nodit(all: AddrRange) -> Box<dyn Subject> {
    Box::new(Nodit { all, map: NoditMap::new() })
}

impl Subject for Nodit {
    fn adopt(&mut self, range: AddrRange) -> Option<Live> {
        self.map.insert_strict(ii(range.start(), range.last()), Tag::of(range.start())).ok()?;
        Some(Live { start: range.start(), len: range.len(), token: 0 })
    }

    fn alloc(&mut self, want: &Want) -> Option<Live> {
        let window = want.window.unwrap_or(self.all);
        let fits = |gap: Interval<u64>| lowest(AddrRange::inclusive(*gap.start(), *gap.end()).ok()?, want);
        let place = self.map.gaps_trimmed(&ii(window.start(), window.last())).find_map(fits)?;
        self.adopt(place)
    }

    fn free(&mut self, live: &Live) {
        self.map.remove_overlapping(&ii(live.start, live.start + live.len - 1)).for_each(drop);
    }

    fn find(&self, addr: u64) -> Option<Hit> {
        let (range, tag) = self.map.get_key_value_at_point(&addr).ok()?;
        Some(Hit { start: *range.start(), last: *range.end(), attrs: tag.attrs, id: tag.id })
    }

    fn neighbours(&self, _: u64) -> Option<(u64, u64)> {
        None
    }
}

struct RangeAlloc(range_alloc::RangeAllocator<u64>);

pub fn range_alloc(all: AddrRange) -> Box<dyn Subject> {
    Box::new(RangeAlloc(range_alloc::RangeAllocator::new(all.start()..all.last())))
}

impl Subject for RangeAlloc {
    fn adopt(&mut self, range: AddrRange) -> Option<Live> {
        // While a layout is built there is a single free range, so requests in order get addresses in order.
        self.alloc(&Want { len: range.len(), align: 1, window: None })
    }

    fn alloc(&mut self, want: &Want) -> Option<Live> {
        let range = self.0.allocate_range_aligned(want.len, want.align).ok()?;
        Some(Live { start: range.start, len: want.len, token: 0 })
    }

    fn free(&mut self, live: &Live) {
        self.0.free_range(live.start..live.start + live.len);
    }

    fn find(&self, _: u64) -> Option<Hit> {
        None
    }

    fn neighbours(&self, _: u64) -> Option<(u64, u64)> {
        None
    }
}

struct Offset {
    inner: offset_allocator::Allocator<u32>,
    base: u64,
    /// The allocations by token.
    held: Vec<Option<offset_allocator::Allocation<u32>>>,
    spare: Vec<u64>,
}

pub fn offset(all: AddrRange) -> Box<dyn Subject> {
    let pages = (all.len() / PAGE).min(u32::MAX.into()) as u32;
    let inner = offset_allocator::Allocator::with_max_allocs(pages, 1 << 22);
    Box::new(Offset { inner, base: all.start(), held: Vec::new(), spare: Vec::new() })
}

impl Subject for Offset {
    fn adopt(&mut self, range: AddrRange) -> Option<Live> {
        self.alloc(&Want { len: range.len(), align: 1, window: None })
    }

    fn alloc(&mut self, want: &Want) -> Option<Live> {
        let got = self.inner.allocate(want.len.div_ceil(PAGE) as u32)?;
        let token = self.spare.pop().unwrap_or(self.held.len() as u64);
        if token as usize == self.held.len() {
            self.held.push(None);
        }
        self.held[token as usize] = Some(got);
        Some(Live { start: self.base + u64::from(got.offset) * PAGE, len: want.len, token })
    }

    fn free(&mut self, live: &Live) {
        if let Some(got) = self.held[live.token as usize].take() {
            self.inner.free(got);
            self.spare.push(live.token);
        }
    }

    fn find(&self, _: u64) -> Option<Hit> {
        None
    }

    fn neighbours(&self, _: u64) -> Option<(u64, u64)> {
        None
    }
}
