//! The index alone, the exclusive manager, and the shared handle.

use super::{Hit, Live, Subject, Tag, Want};
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Manager, Owner, Pmem, Region, RegionId, RegionRecord, Request,
};
use pmem_space::{Fit, Policy, Space};

struct Index {
    space: Space<Tag>,
    policy: Policy,
    visits: u32,
}

fn make(all: AddrRange, policy: Policy, visits: u32) -> Box<dyn Subject> {
    let mut space = Space::new();
    space.open(all);
    Box::new(Index { space, policy, visits })
}

pub fn index(all: AddrRange) -> Box<dyn Subject> {
    make(all, Policy::FirstFit, u32::MAX)
}

pub fn bounded(all: AddrRange) -> Box<dyn Subject> {
    make(all, Policy::FirstFit, 64)
}

pub fn good(all: AddrRange) -> Box<dyn Subject> {
    make(all, Policy::GoodFit, u32::MAX)
}

impl Subject for Index {
    fn adopt(&mut self, range: AddrRange) -> Option<Live> {
        self.space.insert(range, Tag::of(range.start())).ok()?;
        Some(Live { start: range.start(), len: range.len(), token: 0 })
    }

    fn alloc(&mut self, want: &Want) -> Option<Live> {
        let fit = Fit::new(want.len).ok()?.align(want.align).ok()?.policy(self.policy);
        let fit = fit.visits(self.visits).window(want.window.unwrap_or(AddrRange::ALL));
        let place = self.space.alloc_with(&fit, |place| Tag::of(place.start()))?;
        Some(Live { start: place.start(), len: place.len(), token: 0 })
    }

    fn free(&mut self, live: &Live) {
        self.space.remove(live.start);
    }

    fn find(&self, addr: u64) -> Option<Hit> {
        let (range, tag) = self.space.get(addr)?;
        Some(Hit { start: range.start(), last: range.last(), attrs: tag.attrs, id: tag.id })
    }

    fn neighbours(&self, addr: u64) -> Option<(u64, u64)> {
        Some((self.space.before(addr)?.0.start(), self.space.after(addr)?.0.start()))
    }
}

fn request(want: &Want) -> Request {
    Request::new(want.len).align(want.align).window(want.window.unwrap_or(AddrRange::ALL)).owner(Owner(7))
}

fn hit((range, record): (AddrRange, RegionRecord)) -> Hit {
    let attrs = u32::from(record.attrs.usage().bits()) << 16 | u32::from(record.attrs.props().bits());
    Hit { start: range.start(), last: range.last(), attrs, id: record.id.to_raw() }
}

struct Exclusive {
    pmem: Manager,
    arena: ArenaId,
}

fn manager(all: AddrRange) -> (Manager, ArenaId) {
    let mut pmem = Manager::new();
    let arena = pmem.create_arena("RAM", ArenaType::RAM).expect("nothing is in the way");
    pmem.prime(arena, all, Attrs::ram()).expect("nothing is in the way");
    (pmem, arena)
}

pub fn exclusive(all: AddrRange) -> Box<dyn Subject> {
    let (pmem, arena) = manager(all);
    Box::new(Exclusive { pmem, arena })
}

impl Exclusive {
    fn live(&self, region: RegionId, len: u64) -> Option<Live> {
        let (_, start) = self.pmem.start(region).ok()?;
        Some(Live { start, len, token: region.to_raw() })
    }
}

impl Subject for Exclusive {
    fn adopt(&mut self, range: AddrRange) -> Option<Live> {
        let region = self.pmem.alloc(self.arena, &Request::exactly(range).owner(Owner(7))).ok()?;
        self.live(region, range.len())
    }

    fn alloc(&mut self, want: &Want) -> Option<Live> {
        let region = self.pmem.alloc(self.arena, &request(want)).ok()?;
        self.live(region, want.len)
    }

    fn free(&mut self, live: &Live) {
        self.pmem.decref(RegionId::from_raw(live.token)).expect("held");
    }

    fn find(&self, addr: u64) -> Option<Hit> {
        self.pmem.state().arena(self.arena)?.region_at(addr).map(hit)
    }

    fn neighbours(&self, addr: u64) -> Option<(u64, u64)> {
        let arena = self.pmem.state().arena(self.arena)?;
        Some((arena.region_before(addr)?.0.start(), arena.region_after(addr)?.0.start()))
    }
}

struct Shared {
    pmem: Pmem,
    arena: ArenaId,
    /// The regions by token.
    held: Vec<Option<Region>>,
    spare: Vec<u64>,
}

pub fn shared(all: AddrRange) -> Box<dyn Subject> {
    let (manager, arena) = manager(all);
    Box::new(Shared { pmem: Pmem::from(manager), arena, held: Vec::new(), spare: Vec::new() })
}

impl Shared {
    fn hold(&mut self, len: u64, request: &Request) -> Option<Live> {
        let region = self.pmem.alloc(self.arena, request).ok()?;
        let start = region.made_at()?;
        let token = self.spare.pop().unwrap_or(self.held.len() as u64);
        if token as usize == self.held.len() {
            self.held.push(None);
        }
        self.held[token as usize] = Some(region);
        Some(Live { start, len, token })
    }
}

impl Subject for Shared {
    fn listed(&self) -> usize {
        self.held.capacity() * size_of::<Option<Region>>() + self.spare.capacity() * size_of::<u64>()
    }

    fn adopt(&mut self, range: AddrRange) -> Option<Live> {
        self.hold(range.len(), &Request::exactly(range).owner(Owner(7)))
    }

    fn alloc(&mut self, want: &Want) -> Option<Live> {
        self.hold(want.len, &request(want))
    }

    fn free(&mut self, live: &Live) {
        self.held[live.token as usize] = None;
        self.spare.push(live.token);
    }

    fn find(&self, addr: u64) -> Option<Hit> {
        self.pmem.load().arena(self.arena)?.region_at(addr).map(hit)
    }

    fn neighbours(&self, addr: u64) -> Option<(u64, u64)> {
        let state = self.pmem.load();
        let arena = state.arena(self.arena)?;
        Some((arena.region_before(addr)?.0.start(), arena.region_after(addr)?.0.start()))
    }
}
