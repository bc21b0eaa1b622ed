//! Lists of pages: `uvm_pglistalloc`, `uvm_pglistfree`.

use super::node::free_on;
use super::{Bucket, Taken, Uvm};
use crate::counters::{get, note};
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::page::Page;
use crate::request::PageListRequest;
use pmem_space::Fit;

/// Pages that were handed out together: runs of consecutive ones. It is kept in the pages themselves, and must be
/// given back with [`Uvm::pglistfree`] to the [`Uvm`] that it comes from.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the pages stay allocated until the list is given back"]
pub struct PageList {
    first: Option<u64>,
    runs: u64,
    pages: u64,
}

impl PageList {
    /// How many runs it has.
    pub fn nruns(&self) -> u64 {
        self.runs
    }

    /// How many pages it has.
    pub fn npages(&self) -> u64 {
        self.pages
    }

    /// The same list, of which only one may be given back.
    pub(super) fn as_it_is(&self) -> Self {
        Self { first: self.first, runs: self.runs, pages: self.pages }
    }

    /// Its first page frame, runs and pages, for interfaces that cannot carry the type.
    pub fn into_raw(self) -> (Option<u64>, u64, u64) {
        (self.first, self.runs, self.pages)
    }

    /// Back from [`Self::into_raw`]. Other numbers are a list of other pages, or of none.
    pub fn from_raw(first: Option<u64>, runs: u64, pages: u64) -> Self {
        Self { first, runs, pages }
    }
}

/// Why a list cannot be had yet, for whoever may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// What would be said now.
    pub error: UvmError,
    /// How often it was tried before.
    pub tries: u32,
}

/// What to do about a shortage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShortageAction {
    /// Something may have changed.
    Retry,
    /// No waiting: say what is short.
    GiveUp,
    /// It took too long.
    TimedOut,
    /// It was called off.
    Cancelled,
}

impl Uvm {
    /// Hands out a list of pages, CLEAN and without owner (`uvm_pglistalloc`): free lists from 0 up, page frames
    /// upwards, but none that is only for movable pages; never more runs than asked for, each aligned and within the boundary.
    ///
    /// # Errors
    /// [`UvmError::Constraint`] if the boundary leaves no way; [`UvmError::Nowhere`] if no segment has page frames in the window; [`UvmError::NoPages`] for too few free pages, with
    /// no search if only reserved ones are left; [`UvmError::NoFit`] for too few in runs as asked for.
    pub fn pglistalloc(&mut self, request: &PageListRequest) -> Result<PageList, UvmError> {
        self.attempt_list(request).inspect_err(|_| self.note_failed())
    }

    pub(crate) fn note_failed(&mut self) {
        note(&self.counters.failed);
    }

    /// As [`Self::pglistalloc`], for who may try again: what fails does not count as failed yet.
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

    /// As [`Self::pglistalloc`], and asks `wait` what to do about a shortage (`waitok`): it may free pages, or sleep where that
    /// can be.
    ///
    /// # Errors
    /// As [`Self::pglistalloc`]; [`UvmError::TimedOut`] and [`UvmError::Cancelled`] as `wait` says.
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

    /// How many pages a list could be of if all were free: no fewer, for some may not be ours to hand out.
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

    /// Takes pages of as few free lists as will do, from 0 up.
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

    /// Takes runs, the longest on free lists up to `list`, until there are enough pages; puts them back if there are not.
    fn gather(&mut self, request: &PageListRequest, list_up_to: u8) -> Result<PageList, UvmError> {
        let mut list = PageList { first: None, runs: 0, pages: 0 };
        let mut last: Option<FrameRange> = None;
        let (mut longest, mut zeroed) = (0, 0);
        while list.pages < request.count && list.runs < request.runs {
            // No run can be longer than the one before, which was the longest.
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
                // Whether they still are, only who gives them back can tell.
                self.frames(&list).filter_map(|frame| self.page(frame)).for_each(Page::forget_zero);
            }
            return Ok(list);
        }
        self.pglistfree(list);
        Err(UvmError::NoFit { asked: request.count, free: self.free_for(false), longest })
    }

    /// The longest place of at most `wanted` pages, and its bucket: on the lowest free list that has one, at the lowest
    /// page frame there.
    fn longest_place(
        &mut self,
        request: &PageListRequest,
        wanted: u64,
        list_up_to: u8,
    ) -> Option<(usize, FrameRange)> {
        let (mut low, mut high) = (0, request.longest().min(wanted));
        let mut best = None;
        let mut middle = high;
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

    /// A list of one run, whose pages are handed out, each by itself.
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

    /// The run that begins at a page frame, and where the next one begins.
    fn run_of(&self, start: u64) -> Option<(FrameRange, Option<u64>)> {
        let (count, next) = self.page(start)?.linked()?;
        Some((FrameRange::new(start, count).ok()?, next))
    }

    /// The runs of a list, in the order in which they were found: the longest first.
    pub fn runs<'u>(&'u self, list: &PageList) -> impl Iterator<Item = FrameRange> + use<'u> {
        let mut at = list.first;
        core::iter::from_fn(move || {
            let (run, next) = self.run_of(at?)?;
            at = next;
            Some(run)
        })
    }

    /// The page frame after another in its list; none after the last, or after one that is in no list.
    pub fn next_in_list(&self, frame: u64) -> Option<u64> {
        let page = self.page(frame).filter(|page| page.is_listed())?;
        // Only the first page of a run has links, and the last leads to it.
        let next = frame.checked_add(1)?;
        if self.page(next).is_some_and(|page| page.is_listed() && page.linked().is_none()) {
            return Some(next);
        }
        let start = if page.linked().is_some() { frame } else { page.start() };
        self.run_of(start)?.1
    }

    /// The page frames of a list.
    pub fn frames<'u>(&'u self, list: &PageList) -> impl Iterator<Item = u64> + use<'u> {
        self.runs(list).flat_map(FrameRange::frames)
    }

    /// Gives a list back (`uvm_pglistfree`). Pages whose flag ZERO is set serve requests for zeroed pages.
    pub fn pglistfree(&mut self, list: PageList) {
        let mut at = list.first;
        while let Some((run, next)) = at.and_then(|at| self.run_of(at)) {
            self.free_run(run);
            at = next;
        }
    }

    /// Dissolves a list: its pages stay handed out, each by itself, and go back one by one.
    pub fn disband(&mut self, list: PageList) {
        let mut at = list.first;
        while let Some((run, next)) = at.and_then(|at| self.run_of(at)) {
            self.pages_in(run).for_each(|(_, page)| page.unlist());
            at = next;
        }
    }

    /// Gives part of a list back: any part of one of its runs, in whatever order.
    ///
    /// # Errors
    /// [`UvmError::NotInList`] if it is not all in one run of the list.
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

    /// Frees the pages of a run, those that are zeroed as such.
    fn free_run(&mut self, run: FrameRange) {
        self.parts_in(run).for_each(|(.., pages)| pages.for_each(Page::delist));
        self.free_all(run);
    }
}
