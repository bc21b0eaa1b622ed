//! What goes in and out of use while it stays plugged: pages turn from one state into another, and counters with them.

use super::{Bucket, Uvm};
use crate::counters::{add, sub};
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::page::{Page, PageFlags, PageState};
use crate::segment::Zone;
use core::sync::atomic::AtomicU64;

impl Uvm {
    /// Puts pages that are offline into use, for anything; those that are retired stay so.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] names a page that is in use.
    pub fn online(&mut self, range: FrameRange) -> Result<(), UvmError> {
        self.online_as(range, Zone::Normal)
    }

    /// As [`Self::online`], in a zone. Takes memory if it was in another.
    ///
    /// # Errors
    /// As there.
    pub fn online_as(&mut self, range: FrameRange, zone: Zone) -> Result<(), UvmError> {
        self.check_kept()?;
        self.check_online(range)?;
        self.set_zone(range, zone);
        self.turn(range, PageState::Free, |state| state == PageState::Offline);
        self.pages_in(range).for_each(|(_, page)| page.set_out(false));
        Ok(())
    }

    /// Frees pages that were reserved: they are ours to hand out from now on.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] names a page that is not reserved, or whose block is offline.
    pub fn free_reserved(&mut self, range: FrameRange) -> Result<(), UvmError> {
        self.check_pages(range, "reserved", |info, _| info.state == PageState::Reserved)?;
        self.check_pages(range, "of memory that is online", |_, page| !page.is_out())?;
        self.turn(range, PageState::Free, |_| true);
        Ok(())
    }

    /// Makes reserved pages ours, as pages that are handed out to nobody in particular.
    pub(crate) fn adopt(&mut self, range: FrameRange) -> Result<(), UvmError> {
        self.check_pages(range, "reserved", |info, _| info.state == PageState::Reserved)?;
        self.turn(range, PageState::Allocated, |_| true);
        Ok(())
    }

    /// Reserves pages: they are not ours to hand out from now on.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] names a page that is not free.
    pub fn reserve(&mut self, range: FrameRange) -> Result<(), UvmError> {
        self.check_drained(range, "free", |info, _| info.state == PageState::Free)?;
        self.turn(range, PageState::Reserved, |_| true);
        Ok(())
    }

    /// Retires bad pages: they are never handed out again. Retiring twice changes nothing.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] names a page that is handed out or held back: see
    /// [`Self::retire_moving`].
    pub fn retire(&mut self, range: FrameRange) -> Result<(), UvmError> {
        self.check_drained(range, "idle", |info, _| info.state.is_idle())?;
        self.turn(range, PageState::Retired, |_| true);
        Ok(())
    }

    /// Takes the pages of a range that are held back out of use, and those with them that are the blocks' own.
    pub(crate) fn offline_isolated(&mut self, range: FrameRange) {
        self.turn(range, PageState::Offline, |state| state == PageState::Isolated);
        self.pages_in(range).for_each(|(_, page)| page.set_out(true));
    }

    /// Lets go of pages that are held back; others are left as they are.
    pub(crate) fn unisolate(&mut self, range: FrameRange) {
        self.end_move();
        self.turn(range, PageState::Free, |state| state == PageState::Isolated);
    }

    /// Whether a range has a page that is in use, free to be, or reserved, which may be anybody's.
    pub(crate) fn is_in_use(&self, range: FrameRange) -> bool {
        let idle = |state| matches!(state, PageState::Offline | PageState::Retired);
        self.pages_in(range).any(|(_, page)| !idle(page.state()) && !page.is_out())
    }

    /// Whether a node has a free page outside of a range, in memory that is not only for movable ones if `normal` matters.
    pub(crate) fn has_free_beside(&self, node: u32, normal: bool, range: FrameRange) -> bool {
        let counts = |bucket: &&Bucket| !(normal && bucket.zone == Zone::Movable);
        self.orders.of_node(node).map(|at| &self.buckets[at as usize]).filter(counts).any(|bucket| {
            let within: u64 = bucket.map.runs(range).map(FrameRange::count).sum();
            bucket.map.free() > within
        })
    }

    /// Whether all that is plugged in a range is of one node.
    pub(crate) fn is_of_one_node(&self, range: FrameRange) -> bool {
        let mut nodes = self.map.overlapping(range).map(|(_, held)| held.segment.node);
        let first = nodes.next();
        nodes.all(|node| Some(node) == first)
    }

    /// The lowest page frame of a range that is plugged.
    pub(crate) fn next_plugged(&self, range: FrameRange) -> Option<u64> {
        self.map.overlapping(range).next().map(|(entry, _)| entry.start().max(range.start()))
    }

    /// The node of the lowest page of a range, and what it is for, unless it is lent, as memory for anything is.
    pub(crate) fn place_of(&self, range: FrameRange) -> Option<(u32, Zone)> {
        let (at, held) = self.map.overlapping(range).next()?;
        let lent = self.check_not_lent(at).is_err();
        let zone = if lent { Zone::Normal } else { self.buckets[held.bucket as usize].zone };
        Some((held.segment.node, zone))
    }

    /// Checks that all of a range may come online: offline, or retired or its block's own, which it stays.
    pub(crate) fn check_online(&self, range: FrameRange) -> Result<(), UvmError> {
        self.check_not_lent(range)?;
        let may = |state| matches!(state, PageState::Offline | PageState::Retired);
        self.check_pages(range, "offline", |info, page| may(info.state) || page.is_out())
    }

    /// Checks that all of a range may go offline: managed, or retired or its block's own, which it stays.
    pub(crate) fn check_offline(&self, range: FrameRange) -> Result<(), UvmError> {
        self.check_not_lent(range)?;
        let may_not = |state| matches!(state, PageState::Offline | PageState::Reserved | PageState::Isolated);
        self.check_pages(range, "managed", |info, page| !may_not(info.state) || page.is_own())
    }

    /// Makes pages that are in one of the states that `which` says pages of another state, of nobody. What is cached must
    /// be drained before.
    pub(crate) fn turn(&mut self, range: FrameRange, to: PageState, which: impl Fn(PageState) -> bool) {
        if which(PageState::Free) {
            self.take_free(range);
        }
        let mut turned = [0u64; PageState::ALL.len()];
        let mut from = range.start();
        while let Some(run) =
            FrameRange::between(from, range.end()).and_then(|rest| self.run_that(rest, &which))
        {
            from = run.end();
            let mut rest = Some(run);
            while let Some((part, bucket)) = rest.and_then(|rest| self.first_part(rest)) {
                rest = FrameRange::between(part.end(), run.end());
                let mut states = [0; PageState::ALL.len()];
                for (_, page) in self.pages_in(part) {
                    let state = page.state();
                    states[state as usize] += 1;
                    let keeps =
                        matches!(state, PageState::Isolated | PageState::Offline) && to == PageState::Free;
                    page.reset(to, if keeps { page.flags() & PageFlags::ZERO } else { PageFlags::empty() });
                }
                turned.iter_mut().zip(states).for_each(|(all, these)| *all += these);
                let idle = &mut self.buckets[bucket as usize].idle;
                idle.count_all(&states, false);
                idle.count(to, part.count(), true);
            }
            if to == PageState::Free {
                self.free_all(run);
            }
        }
        self.count_turned(&turned, to);
    }

    /// How many pages of a range are in each state.
    pub(super) fn count_states(&self, range: FrameRange) -> [u64; PageState::ALL.len()] {
        let mut states = [0; PageState::ALL.len()];
        self.pages_in(range).for_each(|(_, page)| states[page.state() as usize] += 1);
        states
    }

    /// The first part of a range that is plugged, and is of one bucket; and which.
    pub(super) fn first_part(&self, range: FrameRange) -> Option<(FrameRange, u32)> {
        self.parts_in(range).next().map(|(part, bucket, _)| (part, bucket))
    }

    /// The first run of pages in a state that `which` says.
    pub(super) fn run_that(
        &self,
        range: FrameRange,
        which: &impl Fn(PageState) -> bool,
    ) -> Option<FrameRange> {
        let mut pages = self.pages_in(range).skip_while(|(_, page)| !which(page.state()));
        let (start, _) = pages.next()?;
        let more =
            pages.zip(start + 1..).take_while(|((frame, page), next)| frame == next && which(page.state()));
        FrameRange::between(start, start + 1 + more.count() as u64)
    }

    /// Moves pages from the counters of what they were to that of what they are.
    fn count_turned(&self, turned: &[u64; PageState::ALL.len()], to: PageState) {
        let total: u64 = turned.iter().sum();
        let counters = &self.counters;
        let settle = |counter: &AtomicU64, states: &[PageState]| {
            let gone: u64 = states.iter().map(|state| turned[*state as usize]).sum();
            let come = if states.contains(&to) { total } else { 0 };
            add(counter, come.saturating_sub(gone));
            sub(counter, gone.saturating_sub(come));
        };
        use PageState::{Allocated, Cached, Free, Isolated, Offline, Reserved, Retired};
        settle(&counters.npages, &[Free, Cached, Allocated, Isolated]);
        settle(&counters.isolated, &[Isolated]);
        settle(&counters.reserved, &[Reserved]);
        settle(&counters.retired, &[Retired]);
        settle(&counters.offline, &[Offline]);
    }

    /// Takes all free pages of a range out of their buckets; how many.
    pub(super) fn take_free(&mut self, range: FrameRange) -> u64 {
        let mut taken = 0;
        let mut from = range.start();
        while let Some((entry, held)) = self.map.at_or_after(from)
            && entry.start() < range.end()
        {
            from = entry.end();
            let bucket = &mut self.buckets[held.bucket as usize];
            let mut rest = entry.intersect(range);
            while let Some(run) = rest.and_then(|rest| bucket.map.runs(rest).next()) {
                bucket.take(&self.counters, run);
                taken += run.count();
                rest = rest.and_then(|rest| FrameRange::between(run.end(), rest.end()));
            }
        }
        taken
    }

    /// Gives pages that were taken out of their buckets, and are free by their state, to the buckets that they are of now.
    pub(super) fn free_again(&mut self, range: FrameRange) {
        let mut from = range.start();
        while let Some(run) = FrameRange::between(from, range.end())
            .and_then(|rest| self.run_that(rest, &|state| state == PageState::Free))
        {
            from = run.end();
            self.free_all(run);
        }
    }

    /// Frees pages of one bucket.
    pub(super) fn free(&mut self, bucket: u32, range: FrameRange, zeroed: bool) {
        self.buckets[bucket as usize].give(&self.counters, range, zeroed);
    }

    /// Gives pages that are free by their state to their buckets, neighbours that are alike in one step.
    pub(super) fn free_all(&mut self, range: FrameRange) {
        let mut from = range.start();
        while let Some(rest) = FrameRange::between(from, range.end()) {
            let Some((part, bucket, mut pages)) = self.parts_in(rest).next() else { return };
            let Some(zeroed) = pages.next().map(Page::is_zeroed) else { return };
            let alike = pages.take_while(|page| page.is_zeroed() == zeroed).count() as u64;
            from = part.start() + 1 + alike;
            if let Some(run) = FrameRange::between(part.start(), from) {
                self.free(bucket, run, zeroed);
            }
        }
    }
}
