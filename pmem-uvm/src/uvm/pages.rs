//! One page at a time: `uvm_pagealloc`, `uvm_pagefree`, and what else is done with a page.

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

/// A cache has no more pages than this.
const MOST_CACHED: usize = 1 << 16;

impl Uvm {
    /// Hands out a page (`uvm_pagealloc`): BUSY, CLEAN and FAKE; one that is asked for filled with zeroes is not CLEAN.
    ///
    /// # Errors
    /// [`UvmError::FreeList`] for one that there is not; [`UvmError::NoPages`], after waking the page daemon; [`UvmError::NotZeroed`] if no page is known to be zeroed and the
    /// [`Host`](super::Host) does not fill one.
    pub fn pagealloc(&mut self, request: &PageRequest) -> Result<u64, UvmError> {
        if let Strategy::Only(asked) | Strategy::Fallback(asked) = request.strategy {
            self.check_list(asked)?;
        }
        let reserve = request.kept_of(&self.counters.reserves());
        if self.free_for(request.may_move()) > reserve {
            let found = self.find_page(request);
            // What is free may be in caches.
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

    /// Takes a page out of its bucket; whether it is zeroed comes with it.
    fn find_page(&mut self, request: &PageRequest) -> Option<(u64, bool)> {
        let zero = request.flags.contains(PgaFlags::ZERO);
        let colours = u64::from(self.settings.colours_of());
        let colour = (colours > 1).then(|| self.colour_of(request));
        // Every bit of a page frame number modulo 64 that is of this colour.
        let mask = colour.map_or(u64::MAX, |colour| of_colour(colour, colours));
        let (frame, zeroed) = self.pop(request, mask, zero)?;
        let hit = colour.is_none_or(|colour| frame & (colours - 1) == colour);
        note(if hit { &self.counters.colorhit } else { &self.counters.colormiss });
        Some((frame, zeroed))
    }

    /// Makes a page that was taken out of its bucket the request's, or another that is zeroed; which.
    fn hand_out(&mut self, request: &PageRequest, mut frame: u64, zeroed: bool) -> Result<u64, UvmError> {
        let zero = request.flags.contains(PgaFlags::ZERO);
        // A page that was filled is not clean.
        let flags = if zero { FRESH.difference(PageFlags::CLEAN) } else { FRESH };
        if zero {
            note(if zeroed { &self.counters.pga_zerohit } else { &self.counters.pga_zeromiss });
            if !zeroed && !self.on_the_way(Taken::Page(frame), |uvm| uvm.host.zero(frame)) {
                self.free_all(super::lone(frame));
                // Another colour, or a bucket that is further away.
                frame = self.pop_zeroed(request).ok_or(UvmError::NotZeroed { frame })?;
            }
        }
        let (_, page) = self.known(frame)?;
        debug_assert_eq!(page.state(), PageState::Free);
        page.give(PageState::Allocated, flags, request.owner);
        Ok(frame)
    }

    /// Takes a page that is known to be zeroed, wherever a request may have one.
    fn pop_zeroed(&mut self, request: &PageRequest) -> Option<u64> {
        self.first_bucket(request, |bucket, counters| {
            if bucket.map.zeroed() == 0 {
                return None;
            }
            bucket.pop(counters, u64::MAX, true).map(|(frame, _)| frame)
        })
    }

    /// The colour that a page is to have: asked for, or after its place in its owner, or any in turn.
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

    /// Takes a page from the buckets that a request looks at, in their order; a bucket matters more than a colour.
    fn pop(&mut self, request: &PageRequest, mask: u64, zero: bool) -> Option<(u64, bool)> {
        self.first_bucket(request, |bucket, counters| {
            bucket.pop(counters, mask, zero).or_else(|| bucket.pop(counters, u64::MAX, zero))
        })
    }

    /// The first bucket, in a request's order, that `take` takes something of, and whose node has more than is kept back there.
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

    /// Gives a page back (`uvm_pagefree`). One whose flag ZERO is set serves requests for zeroed pages.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not handed out, is wired or lent, or part of a list.
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
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not handed out, or part of a list.
    pub fn pagerealloc(&mut self, frame: u64, owner: PageOwner) -> Result<(), UvmError> {
        let (_, page) = self.alone(frame)?;
        page.own(owner);
        Ok(())
    }

    /// Sets and clears flags of a page that is handed out.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not handed out.
    pub fn set_flags(&mut self, frame: u64, set: PageFlags, clear: PageFlags) -> Result<(), UvmError> {
        let (_, page) = self.allocated(frame)?;
        page.set_flags(set, clear);
        Ok(())
    }

    /// Wires a page: it can neither be moved nor freed until it is unwired as often (`uvm_pagewire`).
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not handed out, or part of a list;
    /// [`UvmError::Count`] beyond 2^24 − 1 times.
    pub fn pagewire(&mut self, frame: u64) -> Result<(), UvmError> {
        let (_, page) = self.alone(frame)?;
        let before = page.count_wired(true).ok_or(UvmError::Count { frame, what: "wire count" })?;
        add(&self.counters.wired, u64::from(before == 0));
        Ok(())
    }

    /// Unwires a page (`uvm_pageunwire`).
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not handed out; [`UvmError::Count`] if it is not wired.
    pub fn pageunwire(&mut self, frame: u64) -> Result<(), UvmError> {
        let (_, page) = self.allocated(frame)?;
        let before = page.count_wired(false).ok_or(UvmError::Count { frame, what: "wire count" })?;
        sub(&self.counters.wired, u64::from(before == 1));
        Ok(())
    }

    /// Lends a page once more (the page's part of `uvm_loan`): it can neither be moved nor freed until it is returned.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not handed out, is wired, or part of a list; [`UvmError::Count`] beyond 2^24 − 1
    /// times.
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

    /// Returns a page that was lent (the page's part of `uvm_unloan`).
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] if it is not handed out; [`UvmError::Count`] if it is not lent.
    pub fn pageunloan(&mut self, frame: u64) -> Result<(), UvmError> {
        let (_, page) = self.allocated(frame)?;
        let before = page.count_loans(false).ok_or(UvmError::Count { frame, what: "loan count" })?;
        sub(&self.counters.loaned, u64::from(before == 1));
        Ok(())
    }

    /// A page that is handed out by itself.
    fn alone(&self, frame: u64) -> Result<(&crate::segment::Held, crate::page::Page<'_>), UvmError> {
        let (held, page) = self.allocated(frame)?;
        if page.is_listed() {
            return Err(UvmError::Page {
                frame,
                info: page.info(),
                wanted: "a page by itself, but part of a list",
            });
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

    /// Makes a cache of at most `pages` pages, and no more than 65,536, for a processor of this node. Takes memory.
    pub fn add_cache(&mut self, node: u32, pages: usize) -> Arc<PageCache> {
        let coloured = self.settings.colours_of() > 1;
        let cache = Arc::new(PageCache::new(node, pages.min(MOST_CACHED), coloured, self.counters.clone()));
        self.serve(&cache);
        self.forget_caches();
        self.caches.push(cache.clone());
        cache
    }

    /// Forgets caches whose owners are gone, and takes their pages.
    fn forget_caches(&mut self) {
        for at in (0..self.caches.len()).rev() {
            if Arc::strong_count(&self.caches[at]) == 1 {
                // What its owner put in last is seen from here on.
                fence(Ordering::Acquire);
                let cache = self.caches.swap_remove(at);
                self.drain_cache(&cache);
            }
        }
    }

    /// Says which bucket a cache is of: on the lowest free list of its node that has free pages, or on the lowest; or none.
    fn serve(&self, cache: &PageCache) -> Option<usize> {
        let mine = self.orders.of_node(cache.node()).map(|at| (at, &self.buckets[at as usize]));
        let normal = mine.filter(|(_, bucket)| bucket.zone == Zone::Normal);
        let (at, bucket) = normal.min_by_key(|(_, b)| (b.map.free() == 0, b.free_list))?;
        cache.fill_from(at, bucket.free_list);
        Some(at as usize)
    }

    /// Fills a cache by half with pages of its node, on the lowest free list that has any; how many came. For the cache's owner to
    /// call. What it had goes back first.
    pub fn fill_cache(&mut self, cache: &PageCache) -> usize {
        self.drain_cache(cache);
        let Some(at) = self.serve(cache) else { return 0 };
        // What is kept back on the node is not handed out from here: nobody would look.
        let room = self.node_reserves.of(cache.node()).map_or(u64::MAX, |kept| {
            let free = free_on(&self.buckets, self.orders.of_node(cache.node()), false);
            free.saturating_sub(kept.kernel.max(kept.pagedaemon).max(kept.freemin))
        });
        let wanted = cache.capacity().div_ceil(2).min(usize::try_from(room).unwrap_or(usize::MAX));
        let mut came = 0;
        while came < wanted {
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

    /// Takes all pages out of all caches; how many. Their owners need not stop.
    pub fn drain_caches(&mut self) -> usize {
        let mut drained = 0;
        for at in 0..self.caches.len() {
            let cache = self.caches[at].clone();
            drained += self.drain_cache(&cache);
        }
        drained
    }

    /// Takes all pages out of a cache, and forgets it. One whose owner is gone without is forgotten when another is made.
    pub fn remove_cache(&mut self, cache: &Arc<PageCache>) {
        self.drain_cache(cache);
        self.caches.retain(|other| !Arc::ptr_eq(other, cache));
    }

    /// Takes all pages out of a cache; how many.
    pub fn drain_cache(&mut self, cache: &PageCache) -> usize {
        cache.steal().map(|frame| self.uncache(frame)).count()
    }

    /// Puts a page that came out of a cache into its bucket.
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

/// The bits of page frame numbers modulo 64 that are of a colour.
fn of_colour(colour: u64, colours: u64) -> u64 {
    let every = if colours >= 64 { 1 } else { u64::MAX / ((1 << colours) - 1) };
    every << colour
}
