//! What each thread saw of the segments, for look-ups without a lock.
//!
//! A thread keeps a copy of the map, which shares all with the map, until anything changes; who changes something lets go of its
//! own first, so that nothing has to be copied where nobody else looks.

use super::host::Host;
use super::node::{Node, Pfn, Plugged};
use pmem_uvm::FrameMap;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts changes. It changes under the lock alone.
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

/// Says that something changed: for whoever holds the lock.
pub(super) fn changed() {
    GENERATION.fetch_add(1, Ordering::Release);
}

/// Lets go of what this thread saw.
pub(super) fn forget() {
    // A thread that ends has nothing left to let go of.
    let _ = SEEN.try_with(|seen| *seen.borrow_mut() = Seen::nothing());
}

/// Calls `run` with what there is. `now`, which keeps the lock meanwhile, says that if this thread does not know.
#[inline]
pub(super) fn look<T>(now: impl Fn() -> Seen, run: impl Fn(&mut Seen) -> T) -> T {
    let kept = SEEN.try_with(|seen| {
        let seen = &mut *seen.borrow_mut();
        if seen.generation != GENERATION.load(Ordering::Acquire) {
            *seen = now();
        }
        run(seen)
    });
    // A thread that ends keeps nothing.
    kept.unwrap_or_else(|_| run(&mut now()))
}

impl Seen {
    /// What is of no generation.
    const fn nothing() -> Self {
        let last = Plugged { node: ptr::null_mut(), pages: ptr::null_mut() };
        Self { generation: 0, map: FrameMap::new(), page_shift: 0, vm_page_size: 0, last }
    }

    /// What is there: for whoever holds the lock.
    pub(super) fn new(map: FrameMap<Plugged>, host: &Host) -> Self {
        let generation = GENERATION.load(Ordering::Relaxed);
        let (page_shift, vm_page_size) = (host.page_shift, host.vm_page_size);
        Self { generation, map, page_shift, vm_page_size, ..Self::nothing() }
    }

    /// The segment that a page frame is in, and its page frames.
    #[inline]
    pub(super) fn find(&mut self, pfn: Pfn) -> Option<(Plugged, Range<Pfn>)> {
        let (range, plugged) = self.map.get(pfn as u64)?;
        self.last = *plugged;
        Some((*plugged, range.start() as Pfn..range.end() as Pfn))
    }

    /// A page of the segment that was found last, if that is the one and has pages.
    #[inline]
    pub(super) fn page_of_last(&self, node: *const Node, index: Pfn) -> Option<*mut c_void> {
        let is_it = ptr::eq(self.last.node, node) && !self.last.pages.is_null();
        is_it.then(|| self.page(self.last, index))
    }

    /// A segment's page by its place there; null if it has none.
    #[inline]
    pub(super) fn page(&self, plugged: Plugged, index: Pfn) -> *mut c_void {
        let Plugged { pages, .. } = plugged;
        if pages.is_null() {
            return pages;
        }
        pages.wrapping_byte_add(index.wrapping_mul(self.vm_page_size))
    }
}
