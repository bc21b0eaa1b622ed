//! A processor's own few pages: taken and given back without asking anybody.

use crate::counters::Counters;
#[cfg(feature = "std")]
use crate::counters::{add, sub};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Free pages that one processor hands out by itself.
///
/// Its owner alone puts and takes; anybody may steal, while the owner works: no page is shut in, and nobody has to be
/// interrupted to get at it.
#[derive(Debug)]
pub struct PageCache {
    node: u32,
    /// The free list that its pages are on: its owner's to say.
    list: AtomicU8,
    /// Each a page frame plus one, or 0.
    slots: Box<[AtomicU64]>,
    /// Above the highest slot in use, as far as the owner knows.
    top: AtomicUsize,
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "only processors' handles count"))]
    counters: Arc<Counters>,
}

impl PageCache {
    pub(crate) fn new(node: u32, pages: usize, counters: Arc<Counters>) -> Self {
        let slots = (0..pages.max(1)).map(|_| AtomicU64::new(0)).collect();
        Self { node, list: AtomicU8::new(0), slots, top: AtomicUsize::new(0), counters }
    }

    /// The node whose pages it has.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// The free list that its pages are on.
    #[cfg(feature = "std")]
    pub(crate) fn list(&self) -> u8 {
        self.list.load(Ordering::Relaxed)
    }

    /// Says which free list its pages are on; it has none of another.
    pub(crate) fn set_list(&self, list: u8) {
        self.list.store(list, Ordering::Relaxed);
    }

    /// How many pages it has at most.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Whether its owner can put a page in. Others only make room.
    #[cfg(feature = "std")]
    pub(crate) fn has_room(&self) -> bool {
        self.top.load(Ordering::Relaxed) < self.slots.len()
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

    /// Takes a page out for good, unless no more than `reserve` pages are free at all.
    #[cfg(feature = "std")]
    pub(crate) fn take(&self, reserve: u64) -> Option<u64> {
        let top = self.top.load(Ordering::Relaxed);
        let frame = (0..top).rev().find_map(|at| {
            let frame = self.slots[at].swap(0, Ordering::AcqRel).checked_sub(1)?;
            self.top.store(at, Ordering::Relaxed);
            Some(frame)
        });
        let Some(frame) = frame else {
            self.top.store(0, Ordering::Relaxed);
            add(&self.counters.cpumiss, 1);
            return None;
        };
        let less = |free: u64| if free > reserve { free.checked_sub(1) } else { None };
        if self.counters.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_err() {
            // There is room: the slot that it came from, at least.
            self.put(frame);
            return None;
        }
        sub(&self.counters.cached, 1);
        add(&self.counters.cpuhit, 1);
        Some(frame)
    }

    /// Puts a page in that was handed out; `false` if it is full.
    #[cfg(feature = "std")]
    pub(crate) fn give(&self, frame: u64) -> bool {
        // Counted first: whoever steals it counts it out again.
        add(&self.counters.cached, 1);
        add(&self.counters.free, 1);
        let put = self.put(frame);
        if !put {
            sub(&self.counters.free, 1);
            sub(&self.counters.cached, 1);
        }
        put
    }

    /// Takes a page out, whoever calls.
    pub(crate) fn steal(&self) -> Option<u64> {
        self.slots.iter().find_map(|slot| {
            if slot.load(Ordering::Relaxed) == 0 {
                None
            } else {
                slot.swap(0, Ordering::AcqRel).checked_sub(1)
            }
        })
    }
}
