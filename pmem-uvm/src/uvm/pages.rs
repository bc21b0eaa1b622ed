//! Single pages: `uvm_pagealloc`, `uvm_pagefree`, and the other operations on one page.

use super::node::free_on;
use super::{Bucket, Taken, Uvm};
use crate::cache::PageCache;
use crate::counters::{Counters, add, note, sub};
use crate::error::UvmError;
use crate::page::{FRESH, IDLE, PageFlags, PageOwner, PageState};
use crate::request::{PageRequest, PgaFlags, Strategy};
use crate::segment::Zone;
use alloc::sync::Arc;
use core::sync::atomic::{Ordering, fence};

/// The most pages that a cache can hold.
const MOST_CACHED: usize = 1 << 16;

impl Uvm {
    /// Hands out a page (`uvm_pagealloc`) with the flags BUSY, CLEAN and FAKE. If you ask for a zeroed page, it is
    /// not CLEAN.
    ///
    /// # Errors
    /// [`UvmError::FreeList`] if the request names a free list that does not exist; [`UvmError::NoPages`], after
    /// waking the page daemon; [`UvmError::NotZeroed`] if you ask for a zeroed page, none is known to be zeroed, and
    /// the [`Host`](super::Host) does not fill one.
    pub fn pagealloc(&mut self, request: &PageRequest) -> Result<u64, UvmError> {
        if let Strategy::Only(asked) | Strategy::Fallback(asked) = request.strategy {
            self.check_list(asked)?;
        }
        let reserve = request.kept_of(&self.counters.reserves());
        if self.free_for(request.may_move()) > reserve {
            let found = self.find_page(request);
            // The free pages may all be in caches.
            let found =
                if found.is_none() && self.drain_caches() > 0 { self.find_page(request) } else { found };
            if let Some((frame, zeroed)) = found {
                let handed = self.hand_out(request, frame, zeroed);
                let frame = handed.inspect_err(|_| note(&self.counters.failed))?;
                if self.is_scarce() || !self.node_reserves.is_empty() {
                    self.on_the_way(Taken::Page(frame), |uvm| {
                        uvm.check_scarce();
                        uvm.check_scarce_by(frame);
                    });
                }
                return Ok(frame);
            }
        }
        note(&self.counters.failed);
        self.wake();
        if !request.strict {
            return Err(UvmError::NoPages { asked: 1, free: self.free_for(request.may_move()), reserve });
        }
        self.wake_node(request.node);
        let kept = self.node_reserves.of(request.node).map_or(0, |reserves| request.kept_of(&reserves));
        let free = free_on(&self.buckets, self.orders.of_node(request.node), request.may_move());
        Err(UvmError::NoPages { asked: 1, free, reserve: reserve.max(kept) })
    }

    /// Takes a page out of its bucket. Also returns whether it is zeroed.
    fn find_page(&mut self, request: &PageRequest) -> Option<(u64, bool)> {
        let zero = request.flags.contains(PgaFlags::ZERO);
        let colours = u64::from(self.settings.colours_of());
        let colour = (colours > 1).then(|| self.colour_of(request));
        // The bits of a word of the free map, one page each, that are of this colour.
        let mask = colour.map_or(u64::MAX, |colour| of_colour(colour, colours));
        let (frame, zeroed) = self.pop(request, mask, zero)?;
        let hit = colour.is_none_or(|colour| frame & (colours - 1) == colour);
        note(if hit { &self.counters.colorhit } else { &self.counters.colormiss });
        Some((frame, zeroed))
    }

    /// Gives a page that was taken out of its bucket to the request. If it had to be zeroed and could not be, takes
    /// another page that is. Returns the page frame.
    fn hand_out(&mut self, request: &PageRequest, mut frame: u64, zeroed: bool) -> Result<u64, UvmError> {
        let zero = request.flags.contains(PgaFlags::ZERO);
        // A page that was filled has been written to.
        let flags = if zero { FRESH.difference(PageFlags::CLEAN) } else { FRESH };
        if zero {
            note(if zeroed { &self.counters.pga_zerohit } else { &self.counters.pga_zeromiss });
            if !zeroed && !self.on_the_way(Taken::Page(frame), |uvm| uvm.host.zero(frame)) {
                self.free_all(super::lone(frame));
                // Accept any colour, and any bucket that the request may use.
                frame = self.pop_zeroed(request).ok_or(UvmError::NotZeroed { frame })?;
            }
        }
        let (_, page) = self.known(frame)?;
        debug_assert_eq!(page.state(), PageState::Free);
        page.give(PageState::Allocated, flags, request.owner);
        Ok(frame)
    }

    /// Takes a page that is known to be zeroed, from any bucket that the request may use.
    fn pop_zeroed(&mut self, request: &PageRequest) -> Option<u64> {
        self.first_bucket(request, |bucket, counters| {
            if bucket.map.zeroed() == 0 {
                return None;
            }
            bucket.pop(counters, u64::MAX, true).map(|(frame, _)| frame)
        })
    }

    /// Returns the colour for a page: the one asked for, else the one that follows from its place in its owner, else
    /// the next in turn.
    fn colour_of(&mut self, request: &PageRequest) -> u64 {
        let colours = self.settings.colours_of();
        let wanted = match (request.colour, request.owner) {
            (Some(colour), _) => u64::from(colour),
            (None, PageOwner::Object { offset, .. } | PageOwner::Anon { offset, .. }) => {
                offset >> self.settings.pageshift()
            }
            (None, PageOwner::None) => {
                self.next_colour = self.next_colour.wrapping_add(1);
                u64::from(self.next_colour)
            }
        };
        wanted & u64::from(colours - 1)
    }

    /// Takes a page from the buckets in the request's order. The order of buckets counts for more than the colour.
    fn pop(&mut self, request: &PageRequest, mask: u64, zero: bool) -> Option<(u64, bool)> {
        self.first_bucket(request, |bucket, counters| {
            bucket.pop(counters, mask, zero).or_else(|| bucket.pop(counters, u64::MAX, zero))
        })
    }

    /// Calls `take` for the buckets in the request's order, leaving out nodes at their reserve, and returns the first
    /// result.
    fn first_bucket<T>(
        &mut self,
        request: &PageRequest,
        mut take: impl FnMut(&mut Bucket, &Counters) -> Option<T>,
    ) -> Option<T> {
        let Self { buckets, counters, orders, node_reserves, .. } = self;
        let any_kept = !node_reserves.is_empty();
        orders.first(request, |at| {
            let node = buckets[at as usize].node;
            if any_kept && let Some(reserves) = node_reserves.of(node) {
                let free = free_on(buckets, orders.of_node(node), request.may_move());
                if free <= request.kept_of(&reserves) {
                    return None;
                }
            }
            take(&mut buckets[at as usize], counters)
        })
    }

    /// Frees a page (`uvm_pagefree`). If its ZERO flag is set, it will serve a request for a zeroed page.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not allocated, is wired or lent, or is part of a list.
    pub fn pagefree(&mut self, frame: u64) -> Result<(), UvmError> {
        let (held, page) = self.known(frame)?;
        let zeroed = page.flags() & PageFlags::ZERO;
        page.hand(PageState::Free, zeroed).map_err(|info| UvmError::Page { frame, info, wanted: IDLE })?;
        let bucket = held.bucket;
        self.free(bucket, super::lone(frame), !zeroed.is_empty());
        Ok(())
    }

    /// Gives a page to another owner (`uvm_pagerealloc`).
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not allocated or is part of a list.
    pub fn pagerealloc(&mut self, frame: u64, owner: PageOwner) -> Result<(), UvmError> {
        let (_, page) = self.alone(frame)?;
        page.own(owner);
        Ok(())
    }

    /// Sets and clears flags of an allocated page.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not allocated.
    pub fn set_flags(&mut self, frame: u64, set: PageFlags, clear: PageFlags) -> Result<(), UvmError> {
        let (_, page) = self.allocated(frame)?;
        page.set_flags(set, clear);
        Ok(())
    }

    /// Wires a page (`uvm_pagewire`). It can neither be moved nor freed until it is unwired as many times as it was
    /// wired.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not allocated or is part of a list; [`UvmError::Count`]
    /// if it is already wired 2^24 − 1 times.
    pub fn pagewire(&mut self, frame: u64) -> Result<(), UvmError> {
        let (_, page) = self.alone(frame)?;
        let before = page.count_wired(true).ok_or(UvmError::Count { frame, what: "wire count" })?;
        add(&self.counters.wired, u64::from(before == 0));
        Ok(())
    }

    /// Unwires a page (`uvm_pageunwire`).
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not allocated; [`UvmError::Count`] if it is not wired.
    pub fn pageunwire(&mut self, frame: u64) -> Result<(), UvmError> {
        let (_, page) = self.allocated(frame)?;
        let before = page.count_wired(false).ok_or(UvmError::Count { frame, what: "wire count" })?;
        sub(&self.counters.wired, u64::from(before == 1));
        Ok(())
    }

    /// Lends a page once more (the page's part of `uvm_loan`). It can neither be moved nor freed until all loans are
    /// returned.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not allocated, is wired, or is part of a list;
    /// [`UvmError::Count`] if it is already lent 2^24 − 1 times.
    pub fn pageloan(&mut self, frame: u64) -> Result<(), UvmError> {
        let (_, page) = self.alone(frame)?;
        let info = page.info();
        if info.wired > 0 {
            return Err(UvmError::Page { frame, info, wanted: "unwired" });
        }
        let before = page.count_loans(true).ok_or(UvmError::Count { frame, what: "loan count" })?;
        add(&self.counters.loaned, u64::from(before == 0));
        Ok(())
    }

    /// Returns one loan of a page (the page's part of `uvm_unloan`).
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not allocated; [`UvmError::Count`] if it is not lent.
    pub fn pageunloan(&mut self, frame: u64) -> Result<(), UvmError> {
        let (_, page) = self.allocated(frame)?;
        let before = page.count_loans(false).ok_or(UvmError::Count { frame, what: "loan count" })?;
        sub(&self.counters.loaned, u64::from(before == 1));
        Ok(())
    }

    /// Returns an allocated page that is not part of a list.
    fn alone(&self, frame: u64) -> Result<(&crate::segment::Held, crate::page::Page<'_>), UvmError> {
        let (held, page) = self.allocated(frame)?;
        if page.is_listed() {
            return Err(UvmError::Page { frame, info: page.info(), wanted: "outside any list" });
        }
        Ok((held, page))
    }

    fn allocated(&self, frame: u64) -> Result<(&crate::segment::Held, crate::page::Page<'_>), UvmError> {
        let (held, page) = self.known(frame)?;
        let info = page.info();
        if info.state != PageState::Allocated {
            return Err(UvmError::Page { frame, info, wanted: "allocated" });
        }
        Ok((held, page))
    }

    /// Makes a cache for a processor of this node. It holds up to `pages` pages, at least 1 and at most 65,536.
    /// Allocates memory.
    pub fn add_cache(&mut self, node: u32, pages: usize) -> Arc<PageCache> {
        let coloured = self.settings.colours_of() > 1;
        let cache = Arc::new(PageCache::new(node, pages.min(MOST_CACHED), coloured, self.counters.clone()));
        self.serve(&cache);
        self.forget_caches();
        self.caches.push(cache.clone());
        cache
    }

    /// Removes caches whose owners are gone, and takes their pages back.
    fn forget_caches(&mut self) {
        for at in (0..self.caches.len()).rev() {
            if Arc::strong_count(&self.caches[at]) == 1 {
                // The owner dropped its handle with Release; this makes its last changes to the slots visible.
                fence(Ordering::Acquire);
                let cache = self.caches.swap_remove(at);
                self.drain_cache(&cache);
            }
        }
    }

    /// Chooses the bucket that a cache serves: on the lowest free list of its node with free pages, else on the
    /// lowest. Returns `None` if the node has no memory for any page.
    fn serve(&self, cache: &PageCache) -> Option<usize> {
        let mine = self.orders.of_node(cache.node()).map(|at| (at, &self.buckets[at as usize]));
        let normal = mine.filter(|(_, bucket)| bucket.zone == Zone::Normal);
        let (at, bucket) = normal.min_by_key(|(_, b)| (b.map.free() == 0, b.free_list))?;
        cache.fill_from(at, bucket.free_list);
        Some(at as usize)
    }

    /// Refills a cache: gives back what it holds, then takes pages of its node, on the lowest free list that has any,
    /// up to half of its capacity. Returns how many pages it holds now. Only the cache's owner may call this.
    pub fn fill_cache(&mut self, cache: &PageCache) -> usize {
        self.drain_cache(cache);
        let Some(at) = self.serve(cache) else { return 0 };
        // A cache hands out pages without looking at the node's reserves, so leave those in the bucket.
        let room = self.node_reserves.of(cache.node()).map_or(u64::MAX, |kept| {
            let free = free_on(&self.buckets, self.orders.of_node(cache.node()), false);
            free.saturating_sub(kept.kernel.max(kept.pagedaemon).max(kept.freemin))
        });
        let wanted = cache.capacity().div_ceil(2).min(usize::try_from(room).unwrap_or(usize::MAX));
        let mut came = 0;
        while came < wanted {
            // Take from the map, not through the bucket: a cached page still counts as free, only no longer as
            // zeroed.
            let bucket: &mut Bucket = &mut self.buckets[at];
            let Some((frame, zeroed)) = bucket.map.pop(u64::MAX, false) else { break };
            if zeroed {
                sub(&self.counters.zeropages, 1);
            }
            let Some(page) = self.page(frame) else { break };
            page.reset(PageState::Cached, if zeroed { PageFlags::ZERO } else { PageFlags::empty() });
            add(&self.counters.cached, 1);
            if !cache.put(frame) {
                self.uncache(frame);
                break;
            }
            came += 1;
        }
        came
    }

    /// Takes all pages out of all caches and returns how many there were. The owners may go on meanwhile.
    pub fn drain_caches(&mut self) -> usize {
        let mut drained = 0;
        for at in 0..self.caches.len() {
            let cache = self.caches[at].clone();
            drained += self.drain_cache(&cache);
        }
        drained
    }

    /// Takes all pages out of a cache and removes it. A cache that its owner just drops is removed when the next one
    /// is made.
    pub fn remove_cache(&mut self, cache: &Arc<PageCache>) {
        self.drain_cache(cache);
        self.caches.retain(|other| !Arc::ptr_eq(other, cache));
    }

    /// Takes all pages out of a cache and returns how many there were.
    pub fn drain_cache(&mut self, cache: &PageCache) -> usize {
        cache.steal().map(|frame| self.uncache(frame)).count()
    }

    /// Puts a page that came out of a cache back into its bucket.
    fn uncache(&mut self, frame: u64) {
        let Ok((held, page)) = self.known(frame) else { return };
        let (bucket, zeroed) = (held.bucket, page.flags() & PageFlags::ZERO);
        page.reset(PageState::Free, zeroed);
        sub(&self.counters.cached, 1);
        if !zeroed.is_empty() {
            add(&self.counters.zeropages, 1);
        }
        self.buckets[bucket as usize].map.give(super::lone(frame), !zeroed.is_empty());
    }
}

/// Returns the bits of a 64-bit word, one page frame each, that are of a colour.
fn of_colour(colour: u64, colours: u64) -> u64 {
    // All ones divided by a group of `colours` ones leaves the lowest bit of each group.
    let every = if colours >= 64 { 1 } else { u64::MAX / ((1 << colours) - 1) };
    every << colour
}
