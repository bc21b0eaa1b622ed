//! Segments, pages and lists against one entry a page: after every step all counters, pages, segments and names agree.

mod model;

use model::{Entry, FRESH, Model, Request};
use pmem_uvm::{
    Arrival, Caller, FrameRange, Host, MoveError, PageFlags, PageList, PageOwner, PageRequest, PageState,
    PgaFlags, Plug, Reserves, SegmentId, Settings, Strategy as Way, Uvm, UvmError, Zone,
};
use proptest::prelude::*;

/// Memory lies in [0, SPAN), across leaves of the index.
const SPAN: u64 = 6000;

#[derive(Clone, Debug)]
enum Step {
    Plug {
        range: FrameRange,
        avail: Option<FrameRange>,
        list: u8,
        node: u32,
        arrival: Arrival,
        merging: bool,
        zeroed: bool,
    },
    Unplug(FrameRange),
    Alloc {
        flags: u32,
        way: Way,
        node: u32,
        colour: Option<u32>,
        daemon: bool,
        owner: PageOwner,
        times: u8,
    },
    Free(prop::sample::Index, bool),
    Realloc(prop::sample::Index, PageOwner),
    List(Request),
    FreeList(prop::sample::Index),
    FreePart(prop::sample::Index, prop::sample::Index, u64),
    Disband(prop::sample::Index),
    Capture(FrameRange, u8),
    Retire(FrameRange),
    Offline(FrameRange),
    Online(FrameRange, Zone),
    Reserve(FrameRange),
    FreeReserved(FrameRange),
    Wire(prop::sample::Index, bool),
    Loan(prop::sample::Index, bool),
    Reserves(u64, u64),
    Cache,
    Drain,
}

fn range() -> impl Strategy<Value = FrameRange> {
    (0..SPAN, prop_oneof![Just(1u64), 1u64..40, 1u64..1500])
        .prop_map(|(start, count)| FrameRange::new(start, count).unwrap())
}

fn owner() -> impl Strategy<Value = PageOwner> {
    let place = (1u64..9, 0u64..64);
    prop_oneof![
        Just(PageOwner::None),
        place.clone().prop_map(|(key, page)| PageOwner::Object { key, offset: page << 12 }),
        place.prop_map(|(key, page)| PageOwner::Anon { key, offset: page << 12 }),
    ]
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        Just(Way::Normal),
        Just(Way::Numa),
        (0u8..4).prop_map(Way::Only),
        (0u8..4).prop_map(Way::Fallback)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let plug = (range(), proptest::option::weighted(0.2, range()), 0u8..4, 0u32..3, any::<[bool; 3]>())
        .prop_map(|(range, avail, list, node, [offline, merging, zeroed])| {
            let avail = avail.map_or(Some(range), |avail| avail.intersect(range));
            let arrival = if offline && list == 3 { Arrival::Offline } else { Arrival::Online };
            Step::Plug { range, avail, list, node, arrival, merging, zeroed }
        });
    let alloc =
        (0u32..4, way(), 0u32..4, proptest::option::weighted(0.3, 0u32..8), any::<bool>(), owner(), 1u8..30)
            .prop_map(|(flags, way, node, colour, daemon, owner, times)| Step::Alloc {
                flags,
                way,
                node,
                colour,
                daemon,
                owner,
                times,
            });
    let list =
        (1u64..600, range(), 0u32..8, proptest::option::of(0u32..9), 1u64..6, any::<bool>(), any::<bool>())
            .prop_map(|(count, window, align, boundary, runs, all, many)| {
                Step::List(Request {
                    count,
                    window: if all { FrameRange::new(0, SPAN * 2).unwrap() } else { window },
                    align: 1 << align,
                    boundary: boundary.map(|b| 1 << b),
                    runs: if many { u64::MAX } else { runs },
                })
            });
    prop_oneof![
        8 => plug,
        3 => range().prop_map(Step::Unplug),
        10 => alloc,
        5 => (index(), any::<bool>()).prop_map(|(i, zero)| Step::Free(i, zero)),
        1 => (index(), owner()).prop_map(|(i, owner)| Step::Realloc(i, owner)),
        6 => list,
        3 => index().prop_map(Step::FreeList),
        3 => (index(), index(), 1u64..50).prop_map(|(list, run, count)| Step::FreePart(list, run, count)),
        1 => index().prop_map(Step::Disband),
        3 => (range(), 0u8..8).prop_map(|(range, denies)| Step::Capture(range, denies)),
        2 => range().prop_map(Step::Retire),
        2 => range().prop_map(Step::Offline),
        2 => (range(), any::<bool>()).prop_map(|(range, movable)| {
            Step::Online(range, if movable { Zone::Movable } else { Zone::Normal })
        }),
        2 => range().prop_map(Step::Reserve),
        2 => range().prop_map(Step::FreeReserved),
        2 => (index(), any::<bool>()).prop_map(|(i, up)| Step::Wire(i, up)),
        2 => (index(), any::<bool>()).prop_map(|(i, up)| Step::Loan(i, up)),
        1 => (0u64..60, 0u64..60).prop_map(|(daemon, kernel)| Step::Reserves(daemon, kernel)),
        2 => Just(Step::Cache),
        1 => Just(Step::Drain),
    ]
}

/// Fills even pages.
struct Filler;

impl Host for Filler {
    fn zero(&mut self, frame: u64) -> bool {
        frame.is_multiple_of(2)
    }
}

struct World {
    uvm: Uvm,
    model: Model,
    lists: Vec<PageList>,
    colours: u64,
}

impl World {
    fn new(colours: u32) -> Self {
        let mut uvm = Uvm::new(Settings::default().colours(colours).unwrap());
        uvm.set_host(Box::new(Filler));
        Self { uvm, model: Model::default(), lists: Vec::new(), colours: colours.into() }
    }

    /// A page that is handed out by itself.
    fn pick(&self, index: &prop::sample::Index) -> Option<u64> {
        let all: Vec<u64> = self
            .model
            .pages
            .iter()
            .filter(|(_, e)| e.state == PageState::Allocated && !e.listed)
            .map(|(f, _)| *f)
            .collect();
        (!all.is_empty()).then(|| all[index.index(all.len())])
    }

    /// All caches are drained by whatever needs their pages.
    fn uncache(&mut self) {
        for e in self.model.pages.values_mut().filter(|e| e.state == PageState::Cached) {
            e.state = PageState::Free;
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Plug { range, avail, list, node, arrival, merging, zeroed } => {
                let mut plug = Plug::new(range).avail(avail).free_list(list).node(node);
                plug = if arrival == Arrival::Offline { plug.offline() } else { plug };
                plug = if merging { plug.merging() } else { plug };
                plug = if zeroed { plug.zeroed() } else { plug };
                self.plug(&plug, range, avail, (list, node), arrival, merging, zeroed);
            }
            Step::Unplug(range) => self.unplug(range),
            Step::Alloc { flags, way, node, colour, daemon, owner, times } => {
                let caller = if daemon { Caller::PageDaemon } else { Caller::Anybody };
                for _ in 0..times {
                    self.alloc(PgaFlags::from_bits_truncate(flags), way, node, colour, caller, owner);
                }
            }
            Step::Free(index, zero) => {
                let Some(frame) = self.pick(&index) else { return };
                if zero {
                    self.uvm.set_flags(frame, PageFlags::ZERO, PageFlags::empty()).unwrap();
                }
                let was = self.model.pages[&frame];
                let zeroed = self.uvm.page(frame).unwrap().info().flags.contains(PageFlags::ZERO);
                let freed = self.uvm.pagefree(frame);
                assert_eq!(freed.is_ok(), was.wired == 0 && was.loans == 0, "{freed:?}");
                if freed.is_ok() {
                    self.model.set(frame, |e| (e.state, e.zeroed) = (PageState::Free, zeroed));
                    assert!(matches!(self.uvm.pagefree(frame), Err(UvmError::Page { .. })), "freed twice");
                }
            }
            Step::Realloc(index, owner) => {
                let Some(frame) = self.pick(&index) else { return };
                self.uvm.pagerealloc(frame, owner).unwrap();
                self.model.set(frame, |e| e.owner = owner);
            }
            Step::List(request) => self.list(&request),
            Step::FreeList(index) => {
                if self.lists.is_empty() {
                    return;
                }
                let list = self.lists.swap_remove(index.index(self.lists.len()));
                let frames: Vec<u64> = self.uvm.frames(&list).collect();
                assert_eq!(frames.len() as u64, list.npages());
                self.uvm.pglistfree(list);
                frames.into_iter().for_each(|frame| self.freed(frame));
            }
            Step::FreePart(index, run, count) => {
                if self.lists.is_empty() {
                    return;
                }
                let at = index.index(self.lists.len());
                let runs: Vec<FrameRange> = self.uvm.runs(&self.lists[at]).collect();
                let Some(run) = (!runs.is_empty()).then(|| runs[run.index(runs.len())]) else { return };
                let start = run.start() + count % run.count();
                let part = FrameRange::new(start, count.min(run.end() - start)).unwrap();
                let before = (self.lists[at].npages(), self.lists[at].nruns());
                self.uvm.pglistfree_part(&mut self.lists[at], part).unwrap();
                part.frames().for_each(|frame| self.freed(frame));
                let left: Vec<FrameRange> = self.uvm.runs(&self.lists[at]).collect();
                assert_eq!(left.iter().map(|r| r.count()).sum::<u64>(), before.0 - part.count());
                assert_eq!(left.len() as u64, self.lists[at].nruns());
                assert!(self.uvm.pglistfree_part(&mut self.lists[at], part).is_err());
            }
            Step::Disband(index) => {
                if self.lists.is_empty() {
                    return;
                }
                let list = self.lists.swap_remove(index.index(self.lists.len()));
                let frames: Vec<u64> = self.uvm.frames(&list).collect();
                self.uvm.disband(list);
                frames.into_iter().for_each(|frame| {
                    self.model.set(frame, |e| (e.listed, e.owner) = (false, PageOwner::None));
                });
            }
            Step::Capture(range, denies) => self.capture(range, denies),
            Step::Retire(range) => {
                self.uncache();
                let idle = |e: &Entry| !matches!(e.state, PageState::Allocated | PageState::Isolated);
                let retired = self.uvm.retire(range);
                assert_eq!(retired.is_ok(), self.model.all(range, idle), "{retired:?}");
                self.apply(range, retired, PageState::Retired);
            }
            Step::Offline(range) => {
                let managed = |e: &Entry| matches!(e.state, PageState::Free | PageState::Cached);
                let all = self.model.all(range, managed);
                let mut tried = None;
                let offline = self.uvm.offline(range, &mut |_, to| {
                    tried = Some(to);
                    Err(MoveError::Never)
                });
                assert_eq!(offline.is_ok(), all, "{offline:?}");
                if self.uvm.uvmexp().cached == 0 {
                    self.uncache();
                }
                self.tried(tried);
                self.apply(range, offline, PageState::Offline);
            }
            Step::Online(range, zone) => {
                let online = self.uvm.online_as(range, zone);
                let may = |e: &Entry| matches!(e.state, PageState::Offline | PageState::Retired) || e.out;
                assert_eq!(online.is_ok(), self.model.all(range, may), "{online:?}");
                if online.is_ok() {
                    // What is bad stays so, and what was zeroed when it was plugged.
                    for frame in range.frames() {
                        self.model.set(frame, |e| {
                            e.zone = zone;
                            e.out = false;
                            e.state = if e.state == PageState::Offline { PageState::Free } else { e.state };
                        });
                    }
                }
            }
            Step::Reserve(range) => {
                self.uncache();
                let all = self.model.all(range, |e| e.state == PageState::Free);
                let reserved = self.uvm.reserve(range);
                assert_eq!(reserved.is_ok(), all, "{reserved:?}");
                self.apply(range, reserved, PageState::Reserved);
            }
            Step::FreeReserved(range) => {
                let freed = self.uvm.free_reserved(range);
                assert_eq!(
                    freed.is_ok(),
                    self.model.all(range, |e| e.state == PageState::Reserved && !e.out),
                    "{freed:?}"
                );
                self.apply(range, freed, PageState::Free);
            }
            Step::Wire(index, up) => {
                let Some(frame) = self.pick(&index) else { return };
                let done = if up { self.uvm.pagewire(frame) } else { self.uvm.pageunwire(frame) };
                assert_eq!(done.is_ok(), up || self.model.pages[&frame].wired > 0);
                if done.is_ok() {
                    self.model.set(frame, |e| e.wired = if up { e.wired + 1 } else { e.wired - 1 });
                }
            }
            Step::Loan(index, up) => {
                let Some(frame) = self.pick(&index) else { return };
                let was = self.model.pages[&frame];
                let done = if up { self.uvm.pageloan(frame) } else { self.uvm.pageunloan(frame) };
                assert_eq!(done.is_ok(), if up { was.wired == 0 } else { was.loans > 0 });
                if done.is_ok() {
                    self.model.set(frame, |e| e.loans = if up { e.loans + 1 } else { e.loans - 1 });
                }
            }
            Step::Reserves(pagedaemon, kernel) => {
                let reserves = Reserves { pagedaemon, kernel, freemin: 0, freetarg: 0 };
                self.uvm.set_reserves(reserves);
                self.model.reserves = reserves;
            }
            Step::Cache => {
                // Those before were dropped, and are forgotten.
                let cache = self.uvm.add_cache(1, 20);
                self.uncache();
                self.uvm.fill_cache(&cache);
                let cached: Vec<u64> = self
                    .model
                    .pages
                    .iter()
                    .filter(|(f, e)| {
                        e.state == PageState::Free && self.uvm.page(**f).unwrap().state() == PageState::Cached
                    })
                    .map(|(f, _)| *f)
                    .collect();
                assert!(cached.len() <= 10);
                cached.into_iter().for_each(|frame| self.model.set(frame, |e| e.state = PageState::Cached));
            }
            Step::Drain => {
                let cached = self.model.count(|e| e.state == PageState::Cached);
                assert_eq!(self.uvm.drain_caches() as u64, cached);
                self.uncache();
            }
        }
    }

    fn apply(&mut self, range: FrameRange, done: Result<(), UvmError>, state: PageState) {
        if done.is_ok() {
            let change = |e: &mut Entry| (e.state, e.zeroed, e.out) = (state, false, false);
            range.frames().for_each(|frame| self.model.set(frame, change));
        }
    }

    /// A page that something was to be moved to may have been written to.
    fn tried(&mut self, to: Option<u64>) {
        to.into_iter().for_each(|to| self.model.set(to, |e| e.zeroed = false));
    }

    fn freed(&mut self, frame: u64) {
        self.model.set(frame, |e| (e.state, e.zeroed, e.listed) = (PageState::Free, false, false));
    }

    #[expect(clippy::too_many_arguments, reason = "what a plug is made of")]
    fn plug(
        &mut self,
        plug: &Plug,
        range: FrameRange,
        avail: Option<FrameRange>,
        (list, node): (u8, u32),
        arrival: Arrival,
        merging: bool,
        zeroed: bool,
    ) {
        let plugged = self.uvm.plug(plug);
        assert_eq!(plugged.is_ok(), self.model.in_range(range).next().is_none(), "{plugged:?}");
        let Ok(segment) = plugged else { return };
        let state = if arrival == Arrival::Online { PageState::Free } else { PageState::Offline };
        for frame in range.frames() {
            let available = avail.is_some_and(|avail| avail.contains(frame));
            let state = if available { state } else { PageState::Reserved };
            let owner = PageOwner::None;
            let zeroed = zeroed && state != PageState::Reserved;
            self.model.pages.insert(
                frame,
                Entry {
                    state,
                    zeroed,
                    listed: false,
                    owner,
                    wired: 0,
                    loans: 0,
                    segment,
                    list,
                    node,
                    zone: Zone::Normal,
                    out: !available && arrival == Arrival::Offline,
                },
            );
        }
        if merging {
            let like = |model: &Model, frame: Option<u64>| {
                frame
                    .and_then(|frame| model.pages.get(&frame).copied())
                    .filter(|e| (e.list, e.node) == (list, node))
                    .map(|e| e.segment)
            };
            let below = like(&self.model, range.start().checked_sub(1));
            let above = like(&self.model, Some(range.end()));
            assert_eq!(segment, below.unwrap_or(segment), "the lowest keeps its name");
            if let Some(gone) = above {
                self.model.pages.values_mut().filter(|e| e.segment == gone).for_each(|e| e.segment = segment);
                assert_eq!(
                    self.uvm.segment(gone).err(),
                    Some(UvmError::NoSegment(gone)).filter(|_| gone != segment)
                );
            }
        }
    }

    fn unplug(&mut self, range: FrameRange) {
        self.uncache();
        let idle = |e: &Entry| !matches!(e.state, PageState::Allocated | PageState::Isolated);
        let unplugged = self.uvm.unplug(range);
        assert_eq!(unplugged.is_ok(), self.model.all(range, idle), "{unplugged:?}");
        if unplugged.is_err() {
            return;
        }
        let mut touched: Vec<SegmentId> = self.model.in_range(range).map(|(_, e)| e.segment).collect();
        touched.dedup();
        self.model.pages.retain(|frame, _| !range.contains(*frame));
        for id in touched {
            // Of a segment that is cut in the middle, the upper part is new.
            let below =
                self.model.pages.range(..range.start()).next_back().is_some_and(|(_, e)| e.segment == id);
            let above: Vec<u64> = self
                .model
                .pages
                .range(range.end()..)
                .take_while(|(_, e)| e.segment == id)
                .map(|(f, _)| *f)
                .collect();
            if below && !above.is_empty() {
                let tail = self.uvm.find(above[0]).unwrap().0.id();
                assert_ne!(tail, id);
                above.into_iter().for_each(|frame| self.model.set(frame, |e| e.segment = tail));
            }
        }
    }

    fn alloc(
        &mut self,
        flags: PgaFlags,
        way: Way,
        node: u32,
        colour: Option<u32>,
        caller: Caller,
        owner: PageOwner,
    ) {
        let may = self.model.may_alloc(flags, caller, way, owner);
        let mut request =
            PageRequest::new().flags(flags).strategy(way).node(node).owner(owner).caller(caller);
        if let Some(colour) = colour {
            request = request.colour(colour);
        }
        let before = self.uvm.uvmexp();
        let got = self.uvm.pagealloc(&request);
        let refused = matches!(got, Err(UvmError::NotZeroed { .. }));
        assert!(!refused || !self.model.has_zeroed(way, owner), "a zeroed page was there");
        assert_eq!(got.is_ok() || refused, may, "{got:?} {before:?}");
        if self.uvm.uvmexp().cached == 0 {
            self.uncache();
        }
        let Ok(frame) = got else { return };
        let wanted = match (colour, owner) {
            _ if self.colours == 1 => None,
            (Some(colour), _) => Some(u64::from(colour) & (self.colours - 1)),
            (None, PageOwner::None) => None,
            (None, PageOwner::Object { offset, .. } | PageOwner::Anon { offset, .. }) => {
                Some(offset >> 12 & (self.colours - 1))
            }
        };
        let zero = flags.contains(PgaFlags::ZERO);
        // A page that had to be zeroed, and could not be, gives way to any that is.
        let instead = zero && self.model.pages[&frame].zeroed;
        if !instead && (wanted.is_some() || self.colours == 1) {
            self.model.check_choice(
                frame,
                (way, owner),
                if node < 3 { node } else { u32::MAX },
                wanted,
                self.colours,
                zero,
            );
        }
        let info = self.uvm.page(frame).unwrap().info();
        assert_eq!(info.flags, if zero { FRESH - PageFlags::CLEAN } else { FRESH });
        self.model.set(frame, |e| (e.state, e.owner) = (PageState::Allocated, owner));
    }

    fn list(&mut self, request: &Request) {
        self.uvm.drain_caches();
        self.uncache();
        let may = self.model.may_list(request);
        let got = self.uvm.pglistalloc(&request.real());
        assert_eq!(got.is_ok(), may, "{got:?} for {request:?}");
        let Ok(list) = got else { return };
        let runs: Vec<FrameRange> = self.uvm.runs(&list).collect();
        assert_eq!(runs.len() as u64, list.nruns());
        assert!(list.nruns() <= request.runs);
        assert_eq!(runs.iter().map(|run| run.count()).sum::<u64>(), request.count);
        for run in runs {
            assert_eq!(run.start() % request.align, 0);
            assert!(request.window.covers(run));
            assert!(request.boundary.is_none_or(|b| run.start() / b == (run.end() - 1) / b));
            for frame in run.frames() {
                assert_eq!(self.model.pages[&frame].state, PageState::Free);
                self.model.set(frame, |e| {
                    (e.state, e.listed, e.owner) = (PageState::Allocated, true, PageOwner::None);
                });
                assert!(self.uvm.pagefree(frame).is_err(), "a page of a list goes back with its list");
            }
        }
        self.lists.push(list);
    }

    /// A page whose number is 3 modulo `denies` does not let itself be moved.
    fn capture(&mut self, range: FrameRange, denies: u8) {
        let mut moves: Vec<(u64, u64)> = Vec::new();
        let mut tried = None;
        let movable = |frame: u64| denies < 2 || frame % u64::from(denies) != 3;
        let got = self.uvm.capture(range, &mut |from, to| {
            if !movable(from) {
                tried = Some(to);
                return Err(MoveError::Never);
            }
            moves.push((from, to));
            Ok(())
        });
        self.tried(tried);
        if self.uvm.uvmexp().cached == 0 {
            self.uncache();
        }
        for (from, to) in &moves {
            assert!(range.contains(*from) && !range.contains(*to));
            let Entry { segment, list, node, zone, .. } = self.model.pages[to];
            let was = self.model.pages[from];
            self.model.set(*to, |e| *e = Entry { segment, list, node, zone, ..was });
            self.model
                .set(*from, |e| (e.state, e.zeroed, e.owner) = (PageState::Free, false, PageOwner::None));
        }
        match got {
            Ok(()) => {
                assert!(self.model.all(range, |e| e.state == PageState::Free));
                range.frames().for_each(|frame| {
                    self.model.set(frame, |e| {
                        (e.state, e.zeroed, e.owner) = (PageState::Allocated, false, PageOwner::None);
                    });
                });
            }
            Err(UvmError::Unmovable { frame, .. }) => {
                let e = self.model.pages[&frame];
                let stuck = e.listed || e.wired > 0 || e.loans > 0 || !movable(frame);
                assert!(
                    stuck
                        || !self.model.may_alloc(PgaFlags::empty(), Caller::Anybody, Way::Normal, e.owner)
                        || self.only_inside(range, e.owner)
                );
            }
            Err(_) => {
                let managed =
                    |e: &Entry| matches!(e.state, PageState::Free | PageState::Cached | PageState::Allocated);
                assert!(!self.model.all(range, managed));
            }
        }
    }

    /// Whether too few pages outside of a range are free to move anything to.
    fn only_inside(&self, range: FrameRange, owner: PageOwner) -> bool {
        let outside = self
            .model
            .pages
            .iter()
            .filter(|(f, e)| !range.contains(**f) && e.state == PageState::Free && e.is_for(owner))
            .count();
        let reserve = self.model.reserves.kernel.max(self.model.reserves.pagedaemon);
        outside as u64 <= reserve
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, max_shrink_iters: 4000, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_one_entry_a_page(
        steps in proptest::collection::vec(step(), 1..70),
        colours in prop_oneof![Just(1u32), Just(4), Just(64)],
    ) {
        let mut world = World::new(colours);
        for step in steps {
            world.step(step);
            world.model.compare(&world.uvm);
        }
    }
}
