//! Page lists: `uvm_pglistalloc`, `uvm_pglistfree`.

use super::node::free_on;
use super::{Bucket, Taken, Uvm};
use crate::counters::{get, note};
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::page::Page;
use crate::request::PageListRequest;
use pmem_space::Fit;

/// Pages that were handed out together, as runs of consecutive page frames. The list is kept in the pages themselves.
/// Give it back with [`Uvm::pglistfree`] to the [`Uvm`] that it comes from.
///
/// # Examples
/// Give back the middle of a buffer, and turn the rest into single pages:
///
/// ```
/// use pmem_uvm::{FrameRange, PageListRequest, Plug, Uvm};
///
/// let mut uvm = Uvm::default();
/// uvm.plug(&Plug::new(FrameRange::new(0x100, 64)?))?;
/// let mut list = uvm.pglistalloc(&PageListRequest::new(16)?.runs(1)?)?;
/// uvm.pglistfree_part(&mut list, FrameRange::new(0x104, 8)?)?;
/// assert_eq!((list.nruns(), list.npages()), (2, 8));
///
/// let frames: Vec<u64> = uvm.frames(&list).collect();
/// uvm.disband(list);
/// for frame in frames {
///     uvm.pagefree(frame)?;
/// }
/// assert_eq!(uvm.uvmexp().free, 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the pages stay allocated until the list is given back"]
pub struct PageList {
    first: Option<u64>,
    runs: u64,
    pages: u64,
}

impl PageList {
    /// The number of runs.
    #[must_use]
    pub fn nruns(&self) -> u64 {
        self.runs
    }

    /// The number of pages.
    #[must_use]
    pub fn npages(&self) -> u64 {
        self.pages
    }

    /// Returns a second handle to the same list. Only one of the two may be given back.
    pub(super) fn as_it_is(&self) -> Self {
        Self { first: self.first, runs: self.runs, pages: self.pages }
    }

    /// Returns the first page frame, the number of runs and the number of pages, for interfaces that cannot carry the
    /// type.
    #[must_use]
    pub fn into_raw(self) -> (Option<u64>, u64, u64) {
        (self.first, self.runs, self.pages)
    }

    /// Makes a list from the numbers that [`Self::into_raw`] returned. Any other numbers make a list of other pages,
    /// or of none.
    pub fn from_raw(first: Option<u64>, runs: u64, pages: u64) -> Self {
        Self { first, runs, pages }
    }
}

/// A shortage of pages, reported to a caller that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The error that the request would return now.
    pub error: UvmError,
    /// The number of earlier attempts.
    pub tries: u32,
}

/// What to do about a shortage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShortageAction {
    /// Tries again, because something may have changed.
    Retry,
    /// Returns the shortage as the error.
    GiveUp,
    /// Returns [`UvmError::TimedOut`].
    TimedOut,
    /// Returns [`UvmError::Cancelled`].
    Cancelled,
}

impl Uvm {
    /// Hands out a list of pages, CLEAN and without owner (`uvm_pglistalloc`). It searches free lists from 0 up and
    /// page frames upwards, and never takes movable-only memory. It returns at most the number of runs asked for,
    /// each aligned and within the boundary.
    ///
    /// # Errors
    /// [`UvmError::Constraint`] if the boundary rules the request out; [`UvmError::Nowhere`] if the window contains
    /// no page frame of a segment; [`UvmError::NoPages`] if there are too few free pages (without a search if only
    /// reserved ones are left); [`UvmError::NoFit`] if there are too few in runs that meet the request.
    pub fn pglistalloc(&mut self, request: &PageListRequest) -> Result<PageList, UvmError> {
        self.attempt_list(request).inspect_err(|_| self.note_failed())
    }

    pub(crate) fn note_failed(&mut self) {
        note(&self.counters.failed);
    }

    /// As [`Self::pglistalloc`], for callers that may try again: a failure is not counted as failed yet.
    pub(crate) fn attempt_list(&mut self, request: &PageListRequest) -> Result<PageList, UvmError> {
        let result = self.try_list(request);
        match &result {
            Ok(list) => {
                self.on_the_way(Taken::List(list.as_it_is()), |uvm| {
                    uvm.check_scarce();
                    uvm.check_scarce_on(request.node);
                });
            }
            Err(_) => self.wake(),
        }
        result
    }

    /// As [`Self::pglistalloc`], but asks `wait` what to do about a shortage (`waitok`). `wait` may free pages, or
    /// sleep if it can. A request that could not be met even if everything were free fails without asking.
    ///
    /// # Errors
    /// As [`Self::pglistalloc`]; [`UvmError::TimedOut`] and [`UvmError::Cancelled`] if `wait` says so.
    pub fn pglistalloc_waiting(
        &mut self,
        request: &PageListRequest,
        mut wait: impl FnMut(&mut Self, Shortage) -> ShortageAction,
    ) -> Result<PageList, UvmError> {
        let mut tries = 0;
        loop {
            let why = match self.attempt_list(request) {
                Err(error @ (UvmError::NoPages { .. } | UvmError::NoFit { .. }))
                    if request.count <= self.could_be_had(request) =>
                {
                    match wait(self, Shortage { error, tries }) {
                        ShortageAction::Retry => {
                            tries += 1;
                            continue;
                        }
                        ShortageAction::GiveUp => error,
                        ShortageAction::TimedOut => UvmError::TimedOut,
                        ShortageAction::Cancelled => UvmError::Cancelled,
                    }
                }
                Err(why) => why,
                done => return done,
            };
            self.note_failed();
            return Err(why);
        }
    }

    /// Returns an upper bound for the pages that a list could get if everything were free. Some of the pages it
    /// counts may not be ours to hand out.
    pub(crate) fn could_be_had(&self, request: &PageListRequest) -> u64 {
        let may = |bucket: u32| self.buckets[bucket as usize].may_serve(request);
        let parts = self.parts_in(request.window).filter(|(_, bucket, _)| may(*bucket));
        parts.map(|(part, ..)| part.count()).sum::<u64>().min(get(&self.counters.npages))
    }

    fn try_list(&mut self, request: &PageListRequest) -> Result<PageList, UvmError> {
        if let Some(boundary) = request.boundary
            && boundary.saturating_mul(request.runs) < request.count
        {
            return Err(UvmError::Constraint { what: "boundary", value: boundary });
        }
        if self.map.overlapping(request.window).next().is_none() {
            return Err(UvmError::Nowhere(request.window));
        }
        let free = self.free_for(false);
        let daemon = get(&self.counters.reserve_pagedaemon);
        let reserve = daemon.saturating_add(get(&self.counters.reserve_kernel));
        if free <= reserve || free < request.count {
            return Err(UvmError::NoPages { asked: request.count, free, reserve });
        }
        let found = self.gather_from(request);
        if found.is_err() && self.drain_caches() > 0 { self.gather_from(request) } else { found }
    }

    /// Takes pages from as few free lists as possible, from 0 up.
    fn gather_from(&mut self, request: &PageListRequest) -> Result<PageList, UvmError> {
        let mut found = self.gather(request, 0);
        for list in 1..self.settings.free_lists_of() {
            if found.is_ok()
                || !self.buckets.iter().any(|bucket| {
                    bucket.free_list == list && bucket.may_serve(request) && bucket.map.free() > 0
                })
            {
                continue;
            }
            found = self.gather(request, list);
        }
        found
    }

    /// Takes runs from free lists up to `list_up_to`, the longest first, until there are enough pages. Gives them
    /// back if there are not.
    fn gather(&mut self, request: &PageListRequest, list_up_to: u8) -> Result<PageList, UvmError> {
        let mut list = PageList { first: None, runs: 0, pages: 0 };
        let mut last: Option<FrameRange> = None;
        let (mut longest, mut zeroed) = (0, 0);
        while list.pages < request.count && list.runs < request.runs {
            // The last run was the longest there was, so no later one can be longer.
            let most = (request.count - list.pages).min(last.map_or(u64::MAX, FrameRange::count));
            let Some((bucket, run)) = self.longest_place(request, most, list_up_to) else { break };
            longest = longest.max(run.count());
            zeroed += self.buckets[bucket].take(&self.counters, run);
            self.parts_in(run).for_each(|(.., pages)| pages.for_each(Page::enlist));
            self.link(run, None);
            match last {
                Some(before) => self.link(before, Some(run.start())),
                None => list.first = Some(run.start()),
            }
            last = Some(run);
            list.runs += 1;
            list.pages += run.count();
        }
        if list.pages == request.count {
            if zeroed > 0 {
                // Only whoever gives the pages back knows whether they are still zeroed.
                self.frames(&list).filter_map(|frame| self.page(frame)).for_each(Page::forget_zero);
            }
            return Ok(list);
        }
        self.pglistfree(list);
        Err(UvmError::NoFit { asked: request.count, free: self.free_for(false), longest })
    }

    /// Returns the longest place of at most `wanted` pages and its bucket: on the lowest free list that has one, at
    /// the lowest page frame there.
    fn longest_place(
        &mut self,
        request: &PageListRequest,
        wanted: u64,
        list_up_to: u8,
    ) -> Option<(usize, FrameRange)> {
        let (mut low, mut high) = (0, request.longest().min(wanted));
        let mut best = None;
        let mut middle = high;
        // If a run fits, so does every shorter run at its start; so the longest can be found by bisection. The first
        // try is the whole length, which usually succeeds.
        while low < high {
            match request.fit(middle).and_then(|fit| self.lowest_place(request, &fit, list_up_to)) {
                Some(found) => {
                    best = Some(found);
                    low = middle;
                }
                None => high = middle - 1,
            }
            middle = low + (high - low).div_ceil(2);
        }
        best
    }

    fn lowest_place(
        &mut self,
        request: &PageListRequest,
        fit: &Fit,
        list_up_to: u8,
    ) -> Option<(usize, FrameRange)> {
        let enough = |bucket: &Bucket| {
            bucket.free_list <= list_up_to && bucket.may_serve(request) && bucket.map.free() >= fit.len()
        };
        let Self { buckets, orders, node_reserves, .. } = self;
        let mut lowest: Option<(u8, usize, FrameRange)> = None;
        for at in 0..buckets.len() {
            let (list, node) = (buckets[at].free_list, buckets[at].node);
            let kept = node_reserves.of(node).map_or(0, |kept| kept.pagedaemon.saturating_add(kept.kernel));
            let spare = || free_on(buckets, orders.of_node(node), false).saturating_sub(kept);
            if !enough(&buckets[at]) || kept > 0 && spare() < fit.len() {
                continue;
            }
            if let Some(place) = buckets[at].map.search(fit)
                && lowest.is_none_or(|(other, _, low)| (list, place.start()) < (other, low.start()))
            {
                lowest = Some((list, at, place));
            }
        }
        lowest.map(|(_, at, place)| (at, place))
    }

    /// Makes a list of one run whose pages are allocated one by one.
    pub(super) fn list_of(&self, run: FrameRange) -> PageList {
        self.pages_in(run).for_each(|(_, page)| page.enlist());
        self.link(run, None);
        PageList { first: Some(run.start()), runs: 1, pages: run.count() }
    }

    fn link(&self, run: FrameRange, next: Option<u64>) {
        if let Some(page) = self.page(run.start()) {
            page.link(run.count(), next);
        }
        if let Some(page) = self.page(run.end() - 1).filter(|_| run.count() > 1) {
            page.end(run.start());
        }
    }

    /// Returns the run that starts at a page frame, and the start of the next run in its list.
    fn run_of(&self, start: u64) -> Option<(FrameRange, Option<u64>)> {
        let (count, next) = self.page(start)?.linked()?;
        Some((FrameRange::new(start, count).ok()?, next))
    }

    /// Iterates over the runs of a list in the order in which they were found, the longest first.
    pub fn runs<'u>(&'u self, list: &PageList) -> impl Iterator<Item = FrameRange> + use<'u> {
        let mut at = list.first;
        core::iter::from_fn(move || {
            let (run, next) = self.run_of(at?)?;
            at = next;
            Some(run)
        })
    }

    /// Returns the next page frame in a list; `None` after the last one, and for a page that is in no list.
    #[must_use]
    pub fn next_in_list(&self, frame: u64) -> Option<u64> {
        let page = self.page(frame).filter(|page| page.is_listed())?;
        // Only the first page of a run has links. The last page leads back to it.
        let next = frame.checked_add(1)?;
        if self.page(next).is_some_and(|page| page.is_listed() && page.linked().is_none()) {
            return Some(next);
        }
        let start = if page.linked().is_some() { frame } else { page.start() };
        self.run_of(start)?.1
    }

    /// Iterates over the page frames of a list.
    pub fn frames<'u>(&'u self, list: &PageList) -> impl Iterator<Item = u64> + use<'u> {
        self.runs(list).flat_map(FrameRange::frames)
    }

    /// Gives a list back (`uvm_pglistfree`). Pages whose ZERO flag is set will serve requests for zeroed pages.
    pub fn pglistfree(&mut self, list: PageList) {
        let mut at = list.first;
        while let Some((run, next)) = at.and_then(|at| self.run_of(at)) {
            self.free_run(run);
            at = next;
        }
    }

    /// Dissolves a list. Its pages stay allocated; free them one by one.
    pub fn disband(&mut self, list: PageList) {
        let mut at = list.first;
        while let Some((run, next)) = at.and_then(|at| self.run_of(at)) {
            self.pages_in(run).for_each(|(_, page)| page.unlist());
            at = next;
        }
    }

    /// Gives part of a list back: any part of one of its runs, in any order.
    ///
    /// # Errors
    /// [`UvmError::NotInList`] if the part does not lie in one run of the list.
    pub fn pglistfree_part(&mut self, list: &mut PageList, part: FrameRange) -> Result<(), UvmError> {
        let mut before: Option<FrameRange> = None;
        let mut at = list.first;
        let (run, next) = loop {
            let Some((run, next)) = at.and_then(|at| self.run_of(at)) else {
                return Err(UvmError::NotInList(part));
            };
            if run.covers(part) {
                break (run, next);
            }
            (before, at) = (Some(run), next);
        };
        // Up to two runs are left of this one. Link the upper first: the lower has to point to it, and the run before
        // to whichever is lowest.
        let [below, above] = run.minus(part);
        if let Some(page) = self.page(run.start()) {
            page.unlink();
        }
        if let Some(above) = above {
            self.link(above, next);
        }
        let next = above.map(FrameRange::start).or(next);
        if let Some(below) = below {
            self.link(below, next);
        }
        let here = below.map(FrameRange::start).or(next);
        match before {
            Some(before) => self.link(before, here),
            None => list.first = here,
        }
        list.pages -= part.count();
        list.runs = list.runs - 1 + u64::from(below.is_some()) + u64::from(above.is_some());
        self.free_run(part);
        Ok(())
    }

    /// Frees the pages of a run and keeps their ZERO flags.
    fn free_run(&mut self, run: FrameRange) {
        self.parts_in(run).for_each(|(.., pages)| pages.for_each(Page::delist));
        self.free_all(run);
    }
}
