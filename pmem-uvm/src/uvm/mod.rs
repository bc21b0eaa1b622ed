//! Segments, pages and page lists under one owner: exclusive, deterministic, without locks of its own.

mod area;
mod bucket;
mod capture;
mod list;
mod node;
mod nodes;
mod order;
mod pages;
mod plug;
#[cfg(feature = "model")]
mod runs;
mod turn;

pub use capture::{Migrate, MoveError};
pub use list::{PageList, Shortage, ShortageAction};
pub use node::NodeCounters;

use crate::cache::PageCache;
use crate::counters::{Counters, Reserves, Uvmexp, get, note};
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::free::FreeMap;
use crate::map::FrameMap;
use crate::page::{Page, PageInfo, PageState};
use crate::segment::{Held, Segment, SegmentId, Zone};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bucket::{Bucket, Idle};
use core::fmt;
use core::sync::atomic::Ordering;
use node::NodeReserves;
use order::Orders;
use slotmap::SlotMap;

/// How often a page that a processor is about to hand out, or to take back, is looked at again.
pub(crate) const PATIENCE: u32 = 10_000;

/// What only the host can do.
pub trait Host: Send {
    /// Fills a page with zeroes; whether it did. By default it does not.
    fn zero(&mut self, frame: u64) -> bool {
        let _ = frame;
        false
    }

    /// Wakes the page daemon: pages are scarce. By default there is none.
    fn wake_pagedaemon(&mut self, uvmexp: &Uvmexp) {
        let _ = uvmexp;
    }

    /// Wakes the page daemon for a node of which [`Uvm::set_node_reserves`] says something: pages are scarce there. By default there is none.
    fn wake_pagedaemon_of(&mut self, node: u32, counters: &NodeCounters) {
        let _ = (node, counters);
    }
}

/// A host without page daemon, whose pages nobody fills.
struct NoHost;

impl Host for NoHost {}

/// All physical memory that was plugged: its segments, its pages, and which of them are free.
///
/// Page operations take no memory and give none back; only plugging, unplugging, bringing online for something else, making and
/// removing caches, and settings do.
pub struct Uvm {
    settings: Settings,
    map: FrameMap<Held>,
    segments: SlotMap<SegmentId, Arc<Segment>>,
    buckets: Vec<Bucket>,
    orders: Orders,
    node_reserves: NodeReserves,
    counters: Arc<Counters>,
    caches: Vec<Arc<PageCache>>,
    /// What is set aside and lent, in order.
    areas: Vec<FrameRange>,
    next_colour: u32,
    host: Box<dyn Host>,
    /// Whether others may count on what is plugged and online: it stays so.
    kept: bool,
    /// What is being moved: from where, how it was, and where to, once that is known.
    moving: Option<(u64, u64, Option<u64>)>,
}

impl fmt::Debug for Uvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments: Vec<_> = self.segments().collect();
        f.debug_struct("Uvm")
            .field("segments", &segments)
            .field("uvmexp", &self.uvmexp())
            .finish_non_exhaustive()
    }
}

impl Default for Uvm {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Uvm {
    /// Makes a manager of no memory.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            map: FrameMap::new(),
            segments: SlotMap::with_key(),
            buckets: Vec::new(),
            orders: Orders::default(),
            node_reserves: NodeReserves::default(),
            counters: Arc::default(),
            caches: Vec::new(),
            areas: Vec::new(),
            next_colour: 0,
            host: Box::new(NoHost),
            kept: false,
            moving: None,
        }
    }

    /// Keeps what is plugged and online as it is, or no longer: meanwhile [`UvmError::Kept`] refuses what would plug, unplug, bring
    /// online or take offline.
    #[cfg(feature = "std")]
    pub(crate) fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    pub(crate) fn check_kept(&self) -> Result<(), UvmError> {
        if self.kept { Err(UvmError::Kept) } else { Ok(()) }
    }

    fn check_list(&self, asked: u8) -> Result<(), UvmError> {
        let lists = self.settings.free_lists_of();
        if asked < lists { Ok(()) } else { Err(UvmError::FreeList { asked, lists }) }
    }

    /// Says who fills pages and wakes the page daemon.
    pub fn set_host(&mut self, host: Box<dyn Host>) {
        self.host = host;
    }

    /// Sets how many pages are kept back.
    pub fn set_reserves(&mut self, reserves: Reserves) {
        let counters = &self.counters;
        counters.reserve_pagedaemon.store(reserves.pagedaemon, Ordering::Release);
        counters.reserve_kernel.store(reserves.kernel, Ordering::Release);
        counters.freemin.store(reserves.freemin, Ordering::Release);
        counters.freetarg.store(reserves.freetarg, Ordering::Release);
    }

    /// Says how many pages are on their way to be freed: they do not wake the page daemon again.
    pub fn set_paging(&mut self, pages: u64) {
        self.counters.paging.store(pages, Ordering::Release);
    }

    /// Says which nodes a node turns to when it has no pages, nearest first; the others come after them. Takes memory.
    pub fn set_fallback(&mut self, node: u32, nearest: &[u32]) {
        self.orders.prefer(node, nearest);
    }

    /// The settings.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// The counters.
    pub fn uvmexp(&self) -> Uvmexp {
        self.counters.read(&self.settings)
    }

    /// Counts plugs, unplugs and all else that changes what lies where.
    pub fn generation(&self) -> u64 {
        get(&self.counters.generation.0)
    }

    /// Says that a copy of the map is old.
    fn map_changed(&self) {
        note(&self.counters.generation.0);
    }

    /// All segments, in order of address.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> + '_ {
        let mut from = 0;
        core::iter::from_fn(move || {
            let (_, held) = self.map.at_or_after(from)?;
            from = held.segment.range.end();
            Some(&*held.segment)
        })
    }

    /// A segment by name.
    ///
    /// # Errors
    /// [`UvmError::NoSegment`] if it is gone.
    pub fn segment(&self, id: SegmentId) -> Result<&Segment, UvmError> {
        self.segments.get(id).map(|segment| &**segment).ok_or(UvmError::NoSegment(id))
    }

    /// The segment that a page frame is in, and the page frame's place in it.
    #[inline]
    pub fn find(&self, frame: u64) -> Option<(&Segment, u64)> {
        let (_, held) = self.map.get(frame)?;
        Some((&held.segment, frame - held.segment.range.start()))
    }

    /// The page of a page frame.
    #[inline]
    pub fn page(&self, frame: u64) -> Option<Page<'_>> {
        let (_, held) = self.map.get(frame)?;
        held.pages.get(frame - held.first)
    }

    /// The lowest segment.
    pub fn first(&self) -> Option<&Segment> {
        self.map.at_or_after(0).map(|(_, held)| &*held.segment)
    }

    /// The highest segment.
    pub fn last(&self) -> Option<&Segment> {
        self.map.at_or_before(u64::MAX).map(|(_, held)| &*held.segment)
    }

    /// The segment above another.
    ///
    /// # Errors
    /// [`UvmError::NoSegment`] if the other is gone.
    pub fn next(&self, id: SegmentId) -> Result<Option<&Segment>, UvmError> {
        let end = self.segment(id)?.range.end();
        Ok(self.map.at_or_after(end).map(|(_, held)| &*held.segment))
    }

    /// The segment below another.
    ///
    /// # Errors
    /// [`UvmError::NoSegment`] if the other is gone.
    pub fn previous(&self, id: SegmentId) -> Result<Option<&Segment>, UvmError> {
        let below = self.segment(id)?.range.start().checked_sub(1);
        Ok(below.and_then(|below| self.map.at_or_before(below)).map(|(_, held)| &*held.segment))
    }

    /// The highest page frame that is there.
    pub fn highest_frame(&self) -> Option<u64> {
        self.last().map(|segment| segment.range.end() - 1)
    }

    /// How many segments there are.
    pub fn nsegments(&self) -> usize {
        self.segments.len()
    }

    /// How many pages are free on a node and a free list, those in caches left out.
    pub fn free_on(&self, node: u32, free_list: u8) -> u64 {
        let here = self.orders.of_node(node).map(|at| &self.buckets[at as usize]);
        here.filter(|bucket| bucket.free_list == free_list).map(|bucket| bucket.map.free()).sum()
    }

    /// What a page frame is for.
    pub fn zone(&self, frame: u64) -> Option<Zone> {
        self.map.get(frame).map(|(_, held)| self.buckets[held.bucket as usize].zone)
    }

    /// How many pages are free for what can be moved, or for what cannot.
    fn free_for(&self, movable: bool) -> u64 {
        let others = if movable { 0 } else { get(&self.counters.movable) };
        get(&self.counters.free).saturating_sub(others)
    }

    /// The nodes that have, or had, memory, in order.
    pub fn nodes(&self) -> Vec<u32> {
        self.orders.nodes()
    }

    /// The longest run of free pages of a node.
    pub fn longest_run(&mut self, node: u32) -> Option<FrameRange> {
        let buckets = &mut self.buckets;
        let runs = self.orders.of_node(node).filter_map(|at| buckets[at as usize].map.longest());
        runs.max_by_key(|run| (run.count(), core::cmp::Reverse(run.start())))
    }

    /// The memory that the index of free pages takes, in bytes; pages themselves take 24 bytes each.
    pub fn index_bytes(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.map.bytes()).sum()
    }

    /// What is plugged now, for readers: it stays as it is when more is plugged, or something unplugged.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.map, self.generation())
    }

    #[cfg(feature = "std")]
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// A page that has to be there.
    fn known(&self, frame: u64) -> Result<(&Held, Page<'_>), UvmError> {
        let found =
            self.map.get(frame).and_then(|(_, held)| Some((held, held.pages.get(frame - held.first)?)));
        found.ok_or_else(|| UvmError::NotPlugged(lone(frame)))
    }

    /// Every page of a range with its page frame; what is not plugged is left out.
    fn pages_in(&self, range: FrameRange) -> impl Iterator<Item = (u64, Page<'_>)> + '_ {
        self.parts_in(range).flat_map(|(part, _, pages)| part.frames().zip(pages))
    }

    /// The pages of a range in the pieces in which they are kept, each with its bucket.
    fn parts_in(
        &self,
        range: FrameRange,
    ) -> impl Iterator<Item = (FrameRange, u32, impl ExactSizeIterator<Item = Page<'_>>)> + '_ {
        self.map.overlapping(range).filter_map(move |(entry, held)| {
            let part = entry.intersect(range)?;
            Some((part, held.bucket, held.pages.slice(part.start() - held.first, part.count())))
        })
    }

    /// The first part of a range of which nothing is plugged.
    fn hole_in(&self, range: FrameRange) -> Option<FrameRange> {
        let mut from = range.start();
        for (entry, _) in self.map.overlapping(range) {
            if entry.start() > from {
                return FrameRange::between(from, entry.start());
            }
            from = entry.end();
        }
        FrameRange::between(from, range.end())
    }

    /// The first page of a range that is not as `good` wants it.
    fn check_pages(
        &self,
        range: FrameRange,
        wanted: &'static str,
        good: impl Fn(PageInfo, Page<'_>) -> bool,
    ) -> Result<(), UvmError> {
        if let Some(hole) = self.hole_in(range) {
            return Err(UvmError::NotPlugged(hole));
        }
        // What is said of a page is what was looked at: a processor may be about to change it.
        let mut pages = self.pages_in(range).map(|(frame, page)| (frame, page.info(), page));
        match pages.find(|(_, info, page)| !good(*info, *page)) {
            Some((frame, info, _)) => Err(UvmError::Page { frame, info, wanted }),
            None => Ok(()),
        }
    }

    /// As [`Self::check_pages`], with nothing in processors' caches. A page that is on its way into one is looked at again.
    fn check_drained(
        &mut self,
        range: FrameRange,
        wanted: &'static str,
        good: impl Fn(PageInfo, Page<'_>) -> bool,
    ) -> Result<(), UvmError> {
        self.end_move();
        for _ in 0..PATIENCE {
            self.drain_caches();
            match self.check_pages(range, wanted, &good) {
                Err(UvmError::Page { info, .. }) if info.state == PageState::Cached => {
                    core::hint::spin_loop()
                }
                done => return done,
            }
        }
        self.check_pages(range, wanted, good)
    }

    /// Has something done that calls the host, while what was taken is on its way to whoever asked: it comes back if the host panics.
    fn on_the_way<T>(&mut self, taken: Taken, run: impl FnOnce(&mut Self) -> T) -> T {
        let mut way = OnTheWay { uvm: self, taken: Some(taken) };
        let done = run(way.uvm);
        way.taken = None;
        done
    }

    /// Wakes the page daemon if pages are scarce.
    fn check_scarce(&mut self) {
        if self.is_scarce() {
            self.wake();
        }
    }

    fn is_scarce(&self) -> bool {
        let counters = &self.counters;
        get(&counters.free).saturating_add(get(&counters.paging)) < get(&counters.freemin)
    }

    fn wake(&mut self) {
        note(&self.counters.pdwoke);
        let uvmexp = self.uvmexp();
        self.host.wake_pagedaemon(&uvmexp);
    }

    /// The bucket of a node, a free list and a zone, made if it is not there.
    fn bucket(&mut self, node: u32, free_list: u8, zone: Zone) -> u32 {
        if let Some(at) = self.orders.find(node, free_list, zone) {
            return at;
        }
        let map = self.new_map();
        self.add_bucket(node, free_list, zone, map)
    }

    fn new_map(&self) -> FreeMap {
        FreeMap::new(self.settings.colours_of() > 1)
    }

    fn add_bucket(&mut self, node: u32, free_list: u8, zone: Zone, map: FreeMap) -> u32 {
        let at = self.buckets.len() as u32;
        self.buckets.push(Bucket { free_list, node, zone, map, idle: Idle::default() });
        self.orders.add(node, free_list, zone, at);
        at
    }
}

/// What was taken out of buckets.
enum Taken {
    Page(u64),
    List(PageList),
    /// Held back.
    Held(FrameRange),
}

/// Pages that nobody has yet, for whom they were taken neither.
struct OnTheWay<'u> {
    uvm: &'u mut Uvm,
    taken: Option<Taken>,
}

impl Drop for OnTheWay<'_> {
    fn drop(&mut self) {
        match self.taken.take() {
            Some(Taken::Page(frame)) => self.uvm.turn(lone(frame), PageState::Free, |_| true),
            Some(Taken::List(list)) => self.uvm.pglistfree(list),
            Some(Taken::Held(range)) => self.uvm.unisolate(range),
            None => {}
        }
    }
}

/// A page frame as a range.
fn lone(frame: u64) -> FrameRange {
    FrameRange::one(frame).unwrap_or(FrameRange::LAST)
}
