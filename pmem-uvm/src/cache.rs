//! A processor's cache of free pages, handed out and taken back without a lock.

use crate::counters::{Counters, add, get, sub};
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::page::{FRESH, IDLE, PageFlags, PageOwner, PageState};
use crate::request::{PageRequest, PgaFlags, Strategy};
use crate::snapshot::Snapshot;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// A cache of free pages for one processor, the building block for per-processor allocation.
///
/// Only its owner may hand pages out of it and take pages back into it, one call at a time. Any thread may drain it
/// meanwhile, so its pages never get stuck and no processor has to be interrupted to get at them. Make one with
/// [`Uvm::add_cache`](crate::Uvm::add_cache), fill it with [`Uvm::fill_cache`](crate::Uvm::fill_cache), and drop it
/// to give it up. [`Processor`](crate::SharedUvm::processor) puts this together for threads.
///
/// # Examples
/// ```
/// use pmem_uvm::{FrameRange, PageRequest, Plug, Uvm};
///
/// let mut uvm = Uvm::default();
/// uvm.plug(&Plug::new(FrameRange::new(0x100, 64)?))?;
/// let cache = uvm.add_cache(0, 16);
/// assert_eq!(uvm.fill_cache(&cache), 8, "half of its capacity");
///
/// // From here on the processor needs no access to the manager.
/// let pages = uvm.snapshot();
/// let frame = cache.pagealloc(&pages, &PageRequest::new()).ok_or("ask the manager")?;
/// assert!(cache.pagefree(&pages, frame)?, "the cache took it back");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PageCache {
    node: u32,
    /// Whether pages have more than one colour. It then matters which page a request gets, and none comes from here.
    coloured: bool,
    /// The free list of its pages; only the owner changes it.
    list: AtomicU8,
    /// The bucket of its pages.
    bucket: AtomicU32,
    /// Each slot holds a page frame number plus one, or 0 if it is empty.
    slots: Box<[AtomicU64]>,
    /// An upper bound for the used slots, kept by the owner. Slots below it may have been drained meanwhile.
    top: AtomicUsize,
    counters: Arc<Counters>,
}

impl PageCache {
    pub(crate) fn new(node: u32, pages: usize, coloured: bool, counters: Arc<Counters>) -> Self {
        let slots = (0..pages.max(1)).map(|_| AtomicU64::new(0)).collect();
        Self {
            node,
            coloured,
            list: AtomicU8::new(0),
            bucket: AtomicU32::new(u32::MAX),
            slots,
            top: AtomicUsize::new(0),
            counters,
        }
    }

    /// The node of its pages.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// The number of pages in it now.
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.load(Ordering::Relaxed) != 0).count()
    }

    /// The most pages it can hold.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Hands out a page, as [`Uvm::pagealloc`](crate::Uvm::pagealloc) does. `pages` is a snapshot of what is plugged.
    ///
    /// Returns `None` if you have to ask [`Uvm::pagealloc`](crate::Uvm::pagealloc) instead: the request asks for a
    /// colour, for a zeroed page, or for a free list or node that this cache does not serve; pages are scarce; the
    /// snapshot is out of date; or the cache is empty, in which case you may fill it.
    pub fn pagealloc(&self, pages: &Snapshot, request: &PageRequest) -> Option<u64> {
        if !self.may_serve(request) || self.is_old(pages) {
            return None;
        }
        let counters = &self.counters;
        // When pages are scarce, the shared path must run, because it wakes the page daemon.
        let reserve = request.kept_of(&counters.reserves()).max(get(&counters.freemin));
        let frame = self.pop()?;
        // A page that was plugged after the snapshot is not in it.
        let page = pages.held(frame).map(|(_, page)| page);
        let others = if request.may_move() { 0 } else { get(&counters.movable) };
        let less = |free: u64| if free.saturating_sub(others) > reserve { free.checked_sub(1) } else { None };
        let Some(page) =
            page.filter(|_| counters.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok())
        else {
            // This cannot fail: the slot that the page came from is free at least.
            self.put(frame);
            return None;
        };
        sub(&counters.cached, 1);
        add(&counters.cpuhit, 1);
        page.give(PageState::Allocated, FRESH, request.owner);
        Some(frame)
    }

    /// Takes a page back and returns whether it did. `pages` is a snapshot of what is plugged.
    ///
    /// If it returns `false`, call [`Uvm::pagefree`](crate::Uvm::pagefree): the cache is full, the page is of another
    /// node or free list, or the snapshot is out of date. A page that goes into the cache does not wake threads that
    /// wait for pages.
    ///
    /// # Errors
    /// As [`Uvm::pagefree`](crate::Uvm::pagefree).
    pub fn pagefree(&self, pages: &Snapshot, frame: u64) -> Result<bool, UvmError> {
        let none = UvmError::NotPlugged(FrameRange::one(frame).unwrap_or(FrameRange::LAST));
        let (held, page) = pages.held(frame).ok_or(none)?;
        let alike = held.bucket == self.bucket.load(Ordering::Relaxed);
        if !alike || self.is_old(pages) || !self.has_room() {
            return Ok(false);
        }
        let zeroed = page.flags() & PageFlags::ZERO;
        page.hand(PageState::Cached, zeroed).map_err(|info| UvmError::Page { frame, info, wanted: IDLE })?;
        // Count the page before it is visible: a thread that drains the cache subtracts it, and the counter must not
        // go below zero.
        add(&self.counters.cached, 1);
        add(&self.counters.free, 1);
        let put = self.put(frame);
        if !put {
            // Only another thread that put a page in, which is not allowed, can make this fail. The page stays
            // allocated.
            sub(&self.counters.free, 1);
            sub(&self.counters.cached, 1);
            page.give(PageState::Allocated, zeroed, PageOwner::None);
        }
        Ok(put)
    }

    /// Whether anything was plugged or unplugged since the snapshot.
    fn is_old(&self, pages: &Snapshot) -> bool {
        pages.generation() != get(&self.counters.generation.0)
    }

    /// Whether the cache has room for a page. Other threads only remove pages, so it is enough to look at the slots
    /// when the upper bound says the cache is full.
    fn has_room(&self) -> bool {
        if self.top.load(Ordering::Relaxed) < self.slots.len() {
            return true;
        }
        let used = self.slots.iter().rposition(|slot| slot.load(Ordering::Relaxed) != 0);
        self.top.store(used.map_or(0, |at| at + 1), Ordering::Relaxed);
        used.is_none_or(|at| at + 1 < self.slots.len())
    }

    /// Whether a page of this cache can serve the request at all.
    pub(crate) fn may_serve(&self, request: &PageRequest) -> bool {
        let plain = !self.coloured && request.colour.is_none() && !request.flags.contains(PgaFlags::ZERO);
        plain
            && request.node == self.node
            && match request.strategy {
                Strategy::Numa => true,
                // In this order free lists come before nodes, so only list 0 can be served without looking elsewhere.
                Strategy::Normal => self.list() == 0,
                Strategy::Only(_) | Strategy::Fallback(_) => false,
            }
    }

    /// The free list of its pages.
    fn list(&self) -> u8 {
        self.list.load(Ordering::Relaxed)
    }

    /// Sets the bucket and the free list of its pages. The cache is empty at this moment.
    pub(crate) fn fill_from(&self, bucket: u32, list: u8) {
        self.top.store(0, Ordering::Relaxed);
        self.bucket.store(bucket, Ordering::Relaxed);
        self.list.store(list, Ordering::Relaxed);
    }

    /// Puts a page in, which is already counted as cached; `false` if the cache is full.
    pub(crate) fn put(&self, frame: u64) -> bool {
        let top = self.top.load(Ordering::Relaxed);
        let Some(slot) = self.slots.get(top) else { return false };
        let put = slot.compare_exchange(0, frame + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if put {
            self.top.store(top + 1, Ordering::Relaxed);
        }
        put
    }

    /// Takes a page out, which is still counted as cached.
    fn pop(&self) -> Option<u64> {
        let top = self.top.load(Ordering::Relaxed);
        let taken = (0..top).rev().find_map(|at| {
            let frame = self.slots[at].swap(0, Ordering::AcqRel).checked_sub(1)?;
            Some((at, frame))
        });
        self.top.store(taken.map_or(0, |(at, _)| at), Ordering::Relaxed);
        if taken.is_none() {
            add(&self.counters.cpumiss, 1);
        }
        taken.map(|(_, frame)| frame)
    }

    /// Takes all pages out, one by one. Any thread may call this.
    pub(crate) fn steal(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().filter_map(|slot| {
            // Look before swapping: a swap of an empty slot would take the cache line from the owner for nothing.
            if slot.load(Ordering::Relaxed) == 0 {
                None
            } else {
                slot.swap(0, Ordering::AcqRel).checked_sub(1)
            }
        })
    }
}
