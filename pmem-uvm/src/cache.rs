//! A processor's own few pages: handed out and taken back without asking anybody.

use crate::counters::{Counters, add, get, sub};
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::page::{FRESH, IDLE, PageFlags, PageOwner, PageState};
use crate::request::{PageRequest, PgaFlags, Strategy};
use crate::snapshot::Snapshot;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Free pages that one processor hands out by itself: the hook for what runs on each processor.
///
/// Its owner alone hands out of it and takes back into it; anybody may steal, while the owner works: no page is shut in, and
/// nobody has to be interrupted to get at it. It is made by [`Uvm::add_cache`](crate::Uvm::add_cache), filled by
/// [`Uvm::fill_cache`](crate::Uvm::fill_cache), and given up by dropping it. [`Processor`](crate::SharedUvm::processor) is all that, put
/// together for threads.
#[derive(Debug)]
pub struct PageCache {
    node: u32,
    /// Whether it matters which page a request gets: then none comes from here.
    coloured: bool,
    /// The free list that its pages are on: its owner's to say.
    list: AtomicU8,
    /// The bucket that they come from.
    bucket: AtomicU32,
    /// Each a page frame plus one, or 0.
    slots: Box<[AtomicU64]>,
    /// Above the highest slot in use, as far as the owner knows.
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

    /// The node whose pages it has.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// How many pages it has now.
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.load(Ordering::Relaxed) != 0).count()
    }

    /// How many pages it has at most.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Hands a page out, as [`Uvm::pagealloc`](crate::Uvm::pagealloc) does; `None` if that has to be asked: for a page of a colour, or
    /// filled with zeroes, on a free list or a node that this cache does not have; while pages are scarce; when it is empty,
    /// after which it may be filled; and if `pages`, which is what is plugged, is older than that.
    pub fn pagealloc(&self, pages: &Snapshot, request: &PageRequest) -> Option<u64> {
        if !self.may_serve(request) || self.is_old(pages) {
            return None;
        }
        let counters = &self.counters;
        // What is scarce is handed out where the page daemon is woken.
        let reserve = request.kept_of(&counters.reserves()).max(get(&counters.freemin));
        let frame = self.pop()?;
        // What was plugged since is not found.
        let page = pages.held(frame).map(|(_, page)| page);
        let others = if request.may_move() { 0 } else { get(&counters.movable) };
        let less = |free: u64| if free.saturating_sub(others) > reserve { free.checked_sub(1) } else { None };
        let Some(page) =
            page.filter(|_| counters.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok())
        else {
            // There is room: the slot that it came from, at least.
            self.put(frame);
            return None;
        };
        sub(&counters.cached, 1);
        add(&counters.cpuhit, 1);
        page.give(PageState::Allocated, FRESH, request.owner);
        Some(frame)
    }

    /// Takes a page back; whether it did. If not, it is [`Uvm::pagefree`](crate::Uvm::pagefree)'s: there is no room, or it is of another node
    /// or free list, or `pages`, which is what is plugged, is old. Nobody who waits for pages hears of it.
    ///
    /// # Errors
    /// As there.
    pub fn pagefree(&self, pages: &Snapshot, frame: u64) -> Result<bool, UvmError> {
        let none = UvmError::NotPlugged(FrameRange::one(frame).unwrap_or(FrameRange::LAST));
        let (held, page) = pages.held(frame).ok_or(none)?;
        let alike = held.bucket == self.bucket.load(Ordering::Relaxed);
        if !alike || self.is_old(pages) || !self.has_room() {
            return Ok(false);
        }
        let zeroed = page.flags() & PageFlags::ZERO;
        page.hand(PageState::Cached, zeroed).map_err(|info| UvmError::Page { frame, info, wanted: IDLE })?;
        // Counted first: whoever steals it counts it out again.
        add(&self.counters.cached, 1);
        add(&self.counters.free, 1);
        let put = self.put(frame);
        if !put {
            // Somebody else put one in, against the rules: it is handed out as before.
            sub(&self.counters.free, 1);
            sub(&self.counters.cached, 1);
            page.give(PageState::Allocated, zeroed, PageOwner::None);
        }
        Ok(put)
    }

    /// Whether something was plugged or unplugged since a snapshot.
    fn is_old(&self, pages: &Snapshot) -> bool {
        pages.generation() != get(&self.counters.generation.0)
    }

    /// Whether a page can be put in. Others only make room: the owner looks when there was none.
    fn has_room(&self) -> bool {
        if self.top.load(Ordering::Relaxed) < self.slots.len() {
            return true;
        }
        let used = self.slots.iter().rposition(|slot| slot.load(Ordering::Relaxed) != 0);
        self.top.store(used.map_or(0, |at| at + 1), Ordering::Relaxed);
        used.is_none_or(|at| at + 1 < self.slots.len())
    }

    /// Whether a page for a request may come from here at all.
    pub(crate) fn may_serve(&self, request: &PageRequest) -> bool {
        let plain = !self.coloured && request.colour.is_none() && !request.flags.contains(PgaFlags::ZERO);
        plain
            && request.node == self.node
            && match request.strategy {
                Strategy::Numa => true,
                // Free lists matter more than nodes.
                Strategy::Normal => self.list() == 0,
                Strategy::Only(_) | Strategy::Fallback(_) => false,
            }
    }

    /// The free list that its pages are on.
    fn list(&self) -> u8 {
        self.list.load(Ordering::Relaxed)
    }

    /// Says which bucket its pages come from, and which free list they are on. It is empty.
    pub(crate) fn fill_from(&self, bucket: u32, list: u8) {
        self.top.store(0, Ordering::Relaxed);
        self.bucket.store(bucket, Ordering::Relaxed);
        self.list.store(list, Ordering::Relaxed);
    }

    /// Puts a page in, which counts as cached already; `false` if it is full.
    pub(crate) fn put(&self, frame: u64) -> bool {
        let top = self.top.load(Ordering::Relaxed);
        let Some(slot) = self.slots.get(top) else { return false };
        let put = slot.compare_exchange(0, frame + 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if put {
            self.top.store(top + 1, Ordering::Relaxed);
        }
        put
    }

    /// Takes a page out, which still counts as cached.
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

    /// Takes all pages out, one after another, whoever calls.
    pub(crate) fn steal(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().filter_map(|slot| {
            if slot.load(Ordering::Relaxed) == 0 {
                None
            } else {
                slot.swap(0, Ordering::AcqRel).checked_sub(1)
            }
        })
    }
}
