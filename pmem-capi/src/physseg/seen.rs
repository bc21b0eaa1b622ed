//! Each thread's own view of the segments, for look-ups without a lock.
//!
//! A thread keeps a copy of the map, which shares its memory with the map, until anything changes. A thread that is
//! about to change something drops its own copy first, so that nothing has to be copied unless another thread holds
//! one.

use super::host::Host;
use super::node::{Node, Pfn, Plugged};
use pmem_uvm::FrameMap;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of changes. It changes only under the lock.
static GENERATION: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static SEEN: RefCell<Seen> = const { RefCell::new(Seen::nothing()) };
}

/// The segments as they were at one generation.
pub(super) struct Seen {
    generation: u64,
    map: FrameMap<Plugged>,
    pub(super) page_shift: c_int,
    vm_page_size: usize,
    /// The last segment that was found.
    last: Plugged,
}

/// Records a change. The caller holds the lock.
pub(super) fn changed() {
    GENERATION.fetch_add(1, Ordering::Release);
}

/// Drops this thread's copy.
pub(super) fn forget() {
    // A thread that is ending has dropped it already.
    let _ = SEEN.try_with(|seen| *seen.borrow_mut() = Seen::nothing());
}

/// Calls `run` with the segments as they are. If this thread's copy is out of date, it first takes a new one with
/// `now`, which holds the lock meanwhile.
#[inline]
pub(super) fn look<T>(now: impl Fn() -> Seen, run: impl Fn(&mut Seen) -> T) -> T {
    let kept = SEEN.try_with(|seen| {
        let seen = &mut *seen.borrow_mut();
        if seen.generation != GENERATION.load(Ordering::Acquire) {
            *seen = now();
        }
        run(seen)
    });
    // A thread that is ending keeps no copy.
    kept.unwrap_or_else(|_| run(&mut now()))
}

impl Seen {
    /// A copy that is out of date at every generation.
    const fn nothing() -> Self {
        let last = Plugged { node: ptr::null_mut(), pages: ptr::null_mut() };
        Self { generation: 0, map: FrameMap::new(), page_shift: 0, vm_page_size: 0, last }
    }

    /// Takes a copy. The caller holds the lock.
    pub(super) fn new(map: FrameMap<Plugged>, host: &Host) -> Self {
        let generation = GENERATION.load(Ordering::Relaxed);
        let (page_shift, vm_page_size) = (host.page_shift, host.vm_page_size);
        Self { generation, map, page_shift, vm_page_size, ..Self::nothing() }
    }

    /// Returns the segment of a page frame, and that segment's page frames.
    #[inline]
    pub(super) fn find(&mut self, pfn: Pfn) -> Option<(Plugged, Range<Pfn>)> {
        let (range, plugged) = self.map.get(pfn as u64)?;
        self.last = *plugged;
        Some((*plugged, range.start() as Pfn..range.end() as Pfn))
    }

    /// Returns a page of the segment that was found last, if `node` is that segment and it has pages.
    #[inline]
    pub(super) fn page_of_last(&self, node: *const Node, index: Pfn) -> Option<*mut c_void> {
        let is_it = ptr::eq(self.last.node, node) && !self.last.pages.is_null();
        is_it.then(|| self.page(self.last, index))
    }

    /// Returns a segment's page by its index; null if the segment has no pages.
    #[inline]
    pub(super) fn page(&self, plugged: Plugged, index: Pfn) -> *mut c_void {
        let Plugged { pages, .. } = plugged;
        if pages.is_null() {
            return pages;
        }
        pages.wrapping_byte_add(index.wrapping_mul(self.vm_page_size))
    }
}
