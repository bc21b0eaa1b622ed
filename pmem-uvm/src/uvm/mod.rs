//! The manager of segments, pages and page lists: exclusive, deterministic, without locks of its own.

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

/// How many times to look again at a page that a processor is just handing out or taking back.
pub(crate) const PATIENCE: u32 = 10_000;

/// Services that only the host can provide.
///
/// # Examples
/// A kernel that zeroes pages on demand:
///
/// ```
/// use pmem_uvm::{FrameRange, Host, PageRequest, PgaFlags, Plug, Uvm};
///
/// struct Kernel;
///
/// impl Host for Kernel {
///     fn zero(&mut self, frame: u64) -> bool {
///         // Clear the page through the direct map here.
///         true
///     }
/// }
///
/// let mut uvm = Uvm::default();
/// uvm.plug(&Plug::new(FrameRange::new(0x100, 16)?))?;
/// let zeroed = PageRequest::new().flags(PgaFlags::ZERO);
/// assert!(uvm.pagealloc(&zeroed).is_err(), "nobody fills pages yet");
/// uvm.set_host(Box::new(Kernel));
/// uvm.pagealloc(&zeroed)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Host: Send {
    /// Fills a page with zeroes and returns whether it did. The default does nothing and returns `false`.
    fn zero(&mut self, frame: u64) -> bool {
        let _ = frame;
        false
    }

    /// Wakes the page daemon because pages are scarce. The default does nothing.
    fn wake_pagedaemon(&mut self, uvmexp: &Uvmexp) {
        let _ = uvmexp;
    }

    /// Wakes the page daemon because pages are scarce on a node with reserves of its own
    /// ([`Uvm::set_node_reserves`]). The default does nothing.
    fn wake_pagedaemon_of(&mut self, node: u32, counters: &NodeCounters) {
        let _ = (node, counters);
    }
}

/// A host that has no page daemon and does not fill pages.
struct NoHost;

impl Host for NoHost {}

/// The manager of plugged physical memory: its segments, its pages, and its free lists.
///
/// Page operations neither allocate nor free heap memory. Only these do: plugging, unplugging, bringing memory online
/// for another zone, making and removing caches, and changing settings.
///
/// # Examples
/// ```
/// use pmem_uvm::{FrameRange, PageOwner, PageRequest, PageState, Plug, Uvm};
///
/// let mut uvm = Uvm::default();
/// let low = uvm.plug(&Plug::new(FrameRange::new(0x0, 0xa0)?))?;
/// let high = uvm.plug(&Plug::new(FrameRange::new(0x100, 0x8000)?))?;
/// assert_eq!(uvm.next(low)?.map(|segment| segment.id()), Some(high));
///
/// let owner = PageOwner::Object { key: 1, offset: 0 };
/// let frame = uvm.pagealloc(&PageRequest::new().owner(owner))?;
/// let (segment, index) = uvm.find(frame).ok_or("not plugged")?;
/// assert_eq!((segment.id(), index), (low, frame));
/// assert_eq!(uvm.page(frame).map(|page| page.state()), Some(PageState::Allocated));
///
/// uvm.pagefree(frame)?;
/// assert_eq!((uvm.uvmexp().free, uvm.uvmexp().physmem), (0x80a0, 0x80a0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Uvm {
    settings: Settings,
    map: FrameMap<Held>,
    segments: SlotMap<SegmentId, Arc<Segment>>,
    buckets: Vec<Bucket>,
    orders: Orders,
    node_reserves: NodeReserves,
    counters: Arc<Counters>,
    caches: Vec<Arc<PageCache>>,
    /// The areas that are set aside and lent, in ascending order.
    areas: Vec<FrameRange>,
    next_colour: u32,
    host: Box<dyn Host>,
    /// Whether somebody relies on memory staying plugged and online.
    kept: bool,
    /// The page that is being moved: its page frame, its head word, and its new page frame once that is allocated.
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
    /// Makes a manager without any memory.
    #[must_use]
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

    /// Sets whether memory must stay plugged and online as it is. While it must, plugging, unplugging, onlining and
    /// offlining fail with [`UvmError::Kept`].
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

    /// Sets the host, which fills pages and wakes the page daemon.
    pub fn set_host(&mut self, host: Box<dyn Host>) {
        self.host = host;
    }

    /// Sets how many pages are kept back, and when the page daemon is woken.
    pub fn set_reserves(&mut self, reserves: Reserves) {
        let counters = &self.counters;
        counters.reserve_pagedaemon.store(reserves.pagedaemon, Ordering::Release);
        counters.reserve_kernel.store(reserves.kernel, Ordering::Release);
        counters.freemin.store(reserves.freemin, Ordering::Release);
        counters.freetarg.store(reserves.freetarg, Ordering::Release);
    }

    /// Sets how many pages are on their way to be freed. They count as free when the manager decides whether to wake
    /// the page daemon.
    pub fn set_paging(&mut self, pages: u64) {
        self.counters.paging.store(pages, Ordering::Release);
    }

    /// Sets which nodes a node falls back to when it has no pages, nearest first. All other nodes come after these.
    /// Allocates memory.
    pub fn set_fallback(&mut self, node: u32, nearest: &[u32]) {
        self.orders.prefer(node, nearest);
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Reads the counters.
    #[must_use]
    pub fn uvmexp(&self) -> Uvmexp {
        self.counters.read(&self.settings)
    }

    /// Counts plugs, unplugs and everything else that changes the map of segments.
    #[must_use]
    pub fn generation(&self) -> u64 {
        get(&self.counters.generation.0)
    }

    /// Marks copies of the map as out of date.
    fn map_changed(&self) {
        note(&self.counters.generation.0);
    }

    /// Iterates over all segments, in ascending order of address.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> + '_ {
        let mut from = 0;
        core::iter::from_fn(move || {
            let (_, held) = self.map.at_or_after(from)?;
            from = held.segment.range.end();
            Some(&*held.segment)
        })
    }

    /// Returns a segment by its id.
    ///
    /// # Errors
    /// [`UvmError::NoSegment`] if it is gone.
    pub fn segment(&self, id: SegmentId) -> Result<&Segment, UvmError> {
        self.segments.get(id).map(|segment| &**segment).ok_or(UvmError::NoSegment(id))
    }

    /// Returns the segment of a page frame and the page frame's index in it; `None` if it is not plugged.
    #[inline]
    #[must_use]
    pub fn find(&self, frame: u64) -> Option<(&Segment, u64)> {
        let (_, held) = self.map.get(frame)?;
        Some((&held.segment, frame - held.segment.range.start()))
    }

    /// Returns the page of a page frame; `None` if it is not plugged.
    #[inline]
    #[must_use]
    pub fn page(&self, frame: u64) -> Option<Page<'_>> {
        let (_, held) = self.map.get(frame)?;
        held.pages.get(frame - held.first)
    }

    /// Returns the lowest segment; `None` if nothing is plugged.
    #[must_use]
    pub fn first(&self) -> Option<&Segment> {
        self.map.at_or_after(0).map(|(_, held)| &*held.segment)
    }

    /// Returns the highest segment; `None` if nothing is plugged.
    #[must_use]
    pub fn last(&self) -> Option<&Segment> {
        self.map.at_or_before(u64::MAX).map(|(_, held)| &*held.segment)
    }

    /// Returns the next higher segment; `None` if `id` is the highest.
    ///
    /// # Errors
    /// [`UvmError::NoSegment`] if `id` is gone.
    pub fn next(&self, id: SegmentId) -> Result<Option<&Segment>, UvmError> {
        let end = self.segment(id)?.range.end();
        Ok(self.map.at_or_after(end).map(|(_, held)| &*held.segment))
    }

    /// Returns the next lower segment; `None` if `id` is the lowest.
    ///
    /// # Errors
    /// [`UvmError::NoSegment`] if `id` is gone.
    pub fn previous(&self, id: SegmentId) -> Result<Option<&Segment>, UvmError> {
        let below = self.segment(id)?.range.start().checked_sub(1);
        Ok(below.and_then(|below| self.map.at_or_before(below)).map(|(_, held)| &*held.segment))
    }

    /// Returns the highest plugged page frame; `None` if nothing is plugged.
    #[must_use]
    pub fn highest_frame(&self) -> Option<u64> {
        self.last().map(|segment| segment.range.end() - 1)
    }

    /// The number of segments.
    #[must_use]
    pub fn nsegments(&self) -> usize {
        self.segments.len()
    }

    /// The number of free pages on a free list of a node, not counting those in caches.
    #[must_use]
    pub fn free_on(&self, node: u32, free_list: u8) -> u64 {
        let here = self.orders.of_node(node).map(|at| &self.buckets[at as usize]);
        here.filter(|bucket| bucket.free_list == free_list).map(|bucket| bucket.map.free()).sum()
    }

    /// Returns the zone of a page frame; `None` if it is not plugged.
    #[must_use]
    pub fn zone(&self, frame: u64) -> Option<Zone> {
        self.map.get(frame).map(|(_, held)| self.buckets[held.bucket as usize].zone)
    }

    /// The number of free pages that a request may use, whether it is for movable pages or not.
    fn free_for(&self, movable: bool) -> u64 {
        let others = if movable { 0 } else { get(&self.counters.movable) };
        get(&self.counters.free).saturating_sub(others)
    }

    /// The nodes that have or once had memory, in ascending order.
    #[must_use]
    pub fn nodes(&self) -> Vec<u32> {
        self.orders.nodes()
    }

    /// Returns the longest run of free pages of a node, the lowest of equals; `None` if the node has no free page.
    pub fn longest_run(&mut self, node: u32) -> Option<FrameRange> {
        let buckets = &mut self.buckets;
        let runs = self.orders.of_node(node).filter_map(|at| buckets[at as usize].map.longest());
        runs.max_by_key(|run| (run.count(), core::cmp::Reverse(run.start())))
    }

    /// The size in bytes of the index of free pages. The pages themselves take 24 bytes each.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.map.bytes()).sum()
    }

    /// Takes a snapshot of what is plugged, for readers. Later plugs and unplugs do not change it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.map, self.generation())
    }

    #[cfg(feature = "std")]
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Returns a page that must be plugged, and its map entry.
    fn known(&self, frame: u64) -> Result<(&Held, Page<'_>), UvmError> {
        let found =
            self.map.get(frame).and_then(|(_, held)| Some((held, held.pages.get(frame - held.first)?)));
        found.ok_or_else(|| UvmError::NotPlugged(lone(frame)))
    }

    /// Iterates over the pages of a range with their page frames, skipping what is not plugged.
    fn pages_in(&self, range: FrameRange) -> impl Iterator<Item = (u64, Page<'_>)> + '_ {
        self.parts_in(range).flat_map(|(part, _, pages)| part.frames().zip(pages))
    }

    /// Iterates over the pages of a range in the pieces in which the map keeps them, each with its bucket.
    fn parts_in(
        &self,
        range: FrameRange,
    ) -> impl Iterator<Item = (FrameRange, u32, impl ExactSizeIterator<Item = Page<'_>>)> + '_ {
        self.map.overlapping(range).filter_map(move |(entry, held)| {
            let part = entry.intersect(range)?;
            Some((part, held.bucket, held.pages.slice(part.start() - held.first, part.count())))
        })
    }

    /// Returns the first part of a range where nothing is plugged.
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

    /// Checks that all of a range is plugged and that `good` accepts every page of it; the error names the first that
    /// fails.
    fn check_pages(
        &self,
        range: FrameRange,
        wanted: &'static str,
        good: impl Fn(PageInfo, Page<'_>) -> bool,
    ) -> Result<(), UvmError> {
        if let Some(hole) = self.hole_in(range) {
            return Err(UvmError::NotPlugged(hole));
        }
        // Report the state that was tested: a processor may be changing the page right now.
        let mut pages = self.pages_in(range).map(|(frame, page)| (frame, page.info(), page));
        match pages.find(|(_, info, page)| !good(*info, *page)) {
            Some((frame, info, _)) => Err(UvmError::Page { frame, info, wanted }),
            None => Ok(()),
        }
    }

    /// As [`Self::check_pages`], after draining the processors' caches. Looks again at a page that is just on its way
    /// into one.
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
                    core::hint::spin_loop();
                }
                done => return done,
            }
        }
        self.check_pages(range, wanted, good)
    }

    /// Runs something that calls the host while pages that were taken have not reached their caller yet. If the host
    /// panics, they are given back.
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

    /// Returns the bucket of a node, a free list and a zone, and makes it if there is none.
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

/// Pages that were taken out of their buckets.
enum Taken {
    Page(u64),
    List(PageList),
    /// Pages that are held back.
    Held(FrameRange),
}

/// A guard for pages that were taken but not delivered yet. Unless it is disarmed, dropping it gives them back.
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

/// Makes a range of one page frame.
fn lone(frame: u64) -> FrameRange {
    FrameRange::one(frame).unwrap_or(FrameRange::LAST)
}
