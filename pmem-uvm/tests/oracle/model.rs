//! Memory as one entry a page: slow and obviously correct.

use pmem_uvm::{
    Caller, FrameRange, PageFlags, PageListRequest, PageOwner, PageState, PgaFlags, Reserves, SegmentId,
    Strategy, Uvm, Zone,
};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub state: PageState,
    pub zeroed: bool,
    pub listed: bool,
    pub owner: PageOwner,
    pub wired: u32,
    pub loans: u32,
    pub segment: SegmentId,
    pub list: u8,
    pub node: u32,
    pub zone: Zone,
    /// Reserved, and of a block that is offline.
    pub out: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub pages: BTreeMap<u64, Entry>,
    pub reserves: Reserves,
}

impl Entry {
    fn is_free(&self) -> bool {
        matches!(self.state, PageState::Free | PageState::Cached)
    }

    /// Whether a page that somebody owns may be here.
    pub fn is_for(&self, owner: PageOwner) -> bool {
        self.zone == Zone::Normal || owner != PageOwner::None
    }
}

impl Model {
    pub fn count(&self, what: impl Fn(&Entry) -> bool) -> u64 {
        self.pages.values().filter(|entry| what(entry)).count() as u64
    }

    pub fn in_range(&self, range: FrameRange) -> impl Iterator<Item = (u64, Entry)> + '_ {
        self.pages.range(range.frames()).map(|(frame, entry)| (*frame, *entry))
    }

    pub fn all(&self, range: FrameRange, what: impl Fn(&Entry) -> bool) -> bool {
        self.in_range(range).filter(|(_, entry)| what(entry)).count() as u64 == range.count()
    }

    pub fn set(&mut self, frame: u64, change: impl FnOnce(&mut Entry)) {
        change(self.pages.get_mut(&frame).expect("a page that is there"));
    }

    pub fn free(&self) -> u64 {
        self.count(Entry::is_free)
    }

    /// How many pages are free for an owner.
    fn free_for(&self, owner: PageOwner) -> u64 {
        self.count(|e| e.is_free() && e.is_for(owner))
    }

    /// What a page has to be like, or none if none may be handed out.
    pub fn may_alloc(&self, flags: PgaFlags, caller: Caller, strategy: Strategy, owner: PageOwner) -> bool {
        let kernel = if flags.contains(PgaFlags::USERESERVE) { 0 } else { self.reserves.kernel };
        let daemon = if caller == Caller::PageDaemon { 0 } else { self.reserves.pagedaemon };
        self.free_for(owner) > kernel.max(daemon) && self.candidates(strategy, owner).next().is_some()
    }

    /// Whether a free page that is known to be zeroed may be handed out, those in caches left out.
    pub fn has_zeroed(&self, strategy: Strategy, owner: PageOwner) -> bool {
        self.candidates(strategy, owner).any(|e| e.state == PageState::Free && e.zeroed)
    }

    fn candidates(&self, strategy: Strategy, owner: PageOwner) -> impl Iterator<Item = &Entry> {
        let fits = move |e: &&Entry| match strategy {
            Strategy::Only(list) => e.list == list,
            _ => true,
        };
        self.pages.values().filter(move |e| e.is_free() && e.is_for(owner)).filter(fits)
    }

    /// Checks that the page handed out came from the right place, all free pages being in buckets.
    pub fn check_choice(
        &self,
        frame: u64,
        (strategy, owner): (Strategy, PageOwner),
        node: u32,
        colour: Option<u64>,
        colours: u64,
        zero: bool,
    ) {
        let it = self.pages[&frame];
        assert_eq!(it.state, PageState::Free);
        assert!(it.is_for(owner), "page {frame:#x} is only for movable pages");
        let free = || self.pages.iter().filter(|(_, e)| e.state == PageState::Free && e.is_for(owner));
        // Nodes have no preference among others: the node itself, then by number.
        let normal = |e: &Entry| (e.list, e.node != node, e.node, e.zone == Zone::Normal);
        let local = |e: &Entry| (e.node != node, e.node, e.list, e.zone == Zone::Normal);
        let bucket = match strategy {
            Strategy::Normal => free().map(|(_, e)| normal(e)).min() == Some(normal(&it)),
            Strategy::Numa => free().map(|(_, e)| local(e)).min() == Some(local(&it)),
            Strategy::Only(list) => {
                it.list == list
                    && free().filter(|(_, e)| e.list == list).map(|(_, e)| normal(e)).min()
                        == Some(normal(&it))
            }
            Strategy::Fallback(list) => {
                let wanted = |e: &Entry| (e.list != list, normal(e));
                free().map(|(_, e)| wanted(e)).min() == Some(wanted(&it))
            }
        };
        assert!(bucket, "page {frame:#x} of the wrong bucket");
        let mine = || free().filter(|(_, e)| (e.list, e.node, e.zone) == (it.list, it.node, it.zone));
        let Some(colour) = colour else {
            assert!(!zero || it.zeroed || !mine().any(|(_, e)| e.zeroed));
            return;
        };
        let has = |frame: u64| frame & (colours - 1) == colour;
        assert!(has(frame) || !mine().any(|(frame, _)| has(*frame)), "a colour was there");
        if zero && has(frame) {
            assert!(
                it.zeroed || !mine().any(|(frame, e)| e.zeroed && has(*frame)),
                "a zeroed page was there"
            );
        }
    }

    /// The longest pieces that runs of one bucket fall into, by the constraints.
    fn pieces(&self, request: &Request) -> Vec<u64> {
        let mut pieces = Vec::new();
        let mut run: Option<(u64, u64, (u8, u32))> = None;
        let mut close = |run: Option<(u64, u64, (u8, u32))>| {
            let Some((start, end, _)) = run else { return };
            let mut at = start;
            while at < end {
                let stop = request.boundary.map_or(end, |b| end.min((at / b + 1) * b));
                let first = at.div_ceil(request.align) * request.align;
                if first < stop {
                    pieces.push(stop - first);
                }
                at = stop;
            }
        };
        let may = |e: &Entry| e.state == PageState::Free && e.is_for(PageOwner::None);
        for (frame, e) in self.in_range(request.window).filter(|(_, e)| may(e)) {
            let bucket = (e.list, e.node);
            match &mut run {
                Some((_, end, of)) if *end == frame && *of == bucket => *end += 1,
                _ => {
                    close(run.take());
                    run = Some((frame, frame + 1, bucket));
                }
            }
        }
        close(run);
        pieces.sort_unstable_by(|a, b| b.cmp(a));
        pieces
    }

    /// Whether a list can be had: the longest pieces are enough.
    pub fn may_list(&self, request: &Request) -> bool {
        let reserve = self.reserves.kernel + self.reserves.pagedaemon;
        let longest: u64 = self.pieces(request).iter().take(request.runs.min(1 << 20) as usize).sum();
        self.free_for(PageOwner::None) > reserve && longest >= request.count
    }

    /// Compares everything.
    pub fn compare(&self, uvm: &Uvm) {
        let counters = uvm.uvmexp();
        let managed =
            |e: &Entry| !matches!(e.state, PageState::Reserved | PageState::Retired | PageState::Offline);
        assert_eq!(counters.npages, self.count(managed), "npages");
        assert_eq!(counters.physmem, self.pages.len() as u64, "physmem");
        assert_eq!(counters.free, self.free(), "free");
        assert_eq!(counters.zeropages, self.count(|e| e.state == PageState::Free && e.zeroed), "zeropages");
        assert_eq!(counters.movable, self.count(|e| e.is_free() && e.zone == Zone::Movable), "movable");
        assert_eq!(counters.cached, self.count(|e| e.state == PageState::Cached), "cached");
        assert_eq!(counters.isolated, self.count(|e| e.state == PageState::Isolated), "isolated");
        assert_eq!(counters.wired, self.count(|e| e.wired > 0), "wired");
        assert_eq!(counters.loaned, self.count(|e| e.loans > 0), "loaned");
        assert_eq!(counters.reserved, self.count(|e| e.state == PageState::Reserved), "reserved");
        assert_eq!(counters.retired, self.count(|e| e.state == PageState::Retired), "retired");
        assert_eq!(counters.offline, self.count(|e| e.state == PageState::Offline), "offline");
        for (frame, e) in &self.pages {
            let info = uvm.page(*frame).expect("a page").info();
            assert_eq!((info.state, info.wired, info.loans), (e.state, e.wired, e.loans), "page {frame:#x}");
            if e.state == PageState::Allocated && !e.listed {
                assert_eq!(info.owner, e.owner, "owner of {frame:#x}");
            }
            let (segment, offset) = uvm.find(*frame).expect("a segment");
            assert_eq!(segment.id(), e.segment, "segment of {frame:#x}");
            assert_eq!(segment.range().start() + offset, *frame);
            assert_eq!((segment.free_list(), segment.node()), (e.list, e.node));
            assert_eq!(uvm.zone(*frame), Some(e.zone));
        }
        self.compare_segments(uvm);
        self.compare_nodes(uvm);
    }

    fn compare_nodes(&self, uvm: &Uvm) {
        for node in uvm.nodes() {
            let count = |what: &dyn Fn(&Entry) -> bool| self.count(|e| e.node == node && what(e));
            let state = |state: PageState| count(&|e| e.state == state);
            let of = uvm.node_counters(node).expect("a node");
            assert_eq!(of.physmem, count(&|_| true), "physmem of node {node}");
            assert_eq!(of.free, count(&Entry::is_free), "free on node {node}");
            assert_eq!(
                of.zeropages,
                count(&|e| e.state == PageState::Free && e.zeroed),
                "zeroed on node {node}"
            );
            assert_eq!(
                of.movable,
                count(&|e| e.is_free() && e.zone == Zone::Movable),
                "movable on node {node}"
            );
            assert_eq!(
                [of.cached, of.reserved, of.retired, of.offline],
                [PageState::Cached, PageState::Reserved, PageState::Retired, PageState::Offline].map(state),
                "states on node {node}"
            );
            assert_eq!(of.npages, of.physmem - of.reserved - of.retired - of.offline);
        }
        assert_eq!(uvm.node_counters(77), None);
    }

    fn compare_segments(&self, uvm: &Uvm) {
        let mut expected: Vec<(SegmentId, u64, u64)> = Vec::new();
        for (frame, e) in &self.pages {
            match expected.last_mut() {
                Some((id, _, end)) if *id == e.segment && *end == *frame => *end += 1,
                _ => expected.push((e.segment, *frame, frame + 1)),
            }
        }
        let found: Vec<_> = uvm.segments().map(|s| (s.id(), s.range().start(), s.range().end())).collect();
        assert_eq!(found, expected);
        assert_eq!(uvm.nsegments(), expected.len());
        assert_eq!(uvm.highest_frame(), self.pages.keys().next_back().copied());
        for pair in expected.windows(2) {
            assert_eq!(uvm.next(pair[0].0).unwrap().map(|s| s.id()), Some(pair[1].0));
            assert_eq!(uvm.previous(pair[1].0).unwrap().map(|s| s.id()), Some(pair[0].0));
        }
        for node in uvm.nodes() {
            for list in 0..4 {
                let here = self.count(|e| e.state == PageState::Free && (e.list, e.node) == (list, node));
                assert_eq!(uvm.free_on(node, list), here);
            }
        }
    }
}

/// A request for a list, with its numbers in reach.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub count: u64,
    pub window: FrameRange,
    pub align: u64,
    pub boundary: Option<u64>,
    pub runs: u64,
}

impl Request {
    pub fn real(&self) -> PageListRequest {
        let request =
            PageListRequest::new(self.count).unwrap().window(self.window).align(self.align).unwrap();
        let request = request.runs(self.runs).unwrap();
        self.boundary.map_or(request, |boundary| request.boundary(boundary).unwrap())
    }
}

/// Flags of a page fresh from the allocator.
pub const FRESH: PageFlags = PageFlags::BUSY.union(PageFlags::CLEAN).union(PageFlags::FAKE);
