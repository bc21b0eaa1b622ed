//! Changing the state of pages that stay plugged, and their counters with them.

use super::{Bucket, Uvm};
use crate::counters::{add, sub};
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::page::{Page, PageFlags, PageState};
use crate::segment::Zone;
use core::sync::atomic::AtomicU64;

impl Uvm {
    /// Brings offline pages online, for any use. Bad pages stay retired.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] names a page that is not offline; [`UvmError::Lent`] if the range
    /// overlaps an area; [`UvmError::Kept`] while memory must stay as it is.
    pub fn online(&mut self, range: FrameRange) -> Result<(), UvmError> {
        self.online_as(range, Zone::Normal)
    }

    /// As [`Self::online`], in a zone. Allocates memory if the pages were in another.
    ///
    /// # Errors
    /// As [`Self::online`].
    pub fn online_as(&mut self, range: FrameRange, zone: Zone) -> Result<(), UvmError> {
        self.check_kept()?;
        self.check_online(range)?;
        self.set_zone(range, zone);
        self.turn(range, PageState::Free, |state| state == PageState::Offline);
        self.pages_in(range).for_each(|(_, page)| page.set_out(false));
        Ok(())
    }

    /// Frees reserved pages, so that they can be handed out from now on.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] names a page that is not reserved or whose block is offline.
    pub fn free_reserved(&mut self, range: FrameRange) -> Result<(), UvmError> {
        self.check_pages(range, "reserved", |info, _| info.state == PageState::Reserved)?;
        self.check_pages(range, "of memory that is online", |_, page| !page.is_out())?;
        self.turn(range, PageState::Free, |_| true);
        Ok(())
    }

    /// Makes reserved pages allocated pages without owner.
    pub(crate) fn adopt(&mut self, range: FrameRange) -> Result<(), UvmError> {
        self.check_pages(range, "reserved", |info, _| info.state == PageState::Reserved)?;
        self.turn(range, PageState::Allocated, |_| true);
        Ok(())
    }

    /// Reserves free pages, so that they are not handed out any more.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Lent`] if the range meets a lent area, which its owner could not get back
    /// with a reserved page in it; [`UvmError::Page`] names a page that is not free.
    pub fn reserve(&mut self, range: FrameRange) -> Result<(), UvmError> {
        self.check_not_lent(range)?;
        self.check_drained(range, "free", |info, _| info.state == PageState::Free)?;
        self.turn(range, PageState::Reserved, |_| true);
        Ok(())
    }

    /// Retires bad pages, which are then never handed out again. Retiring a page twice changes nothing.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] names a page that is allocated or held back: see
    /// [`Self::retire_moving`].
    pub fn retire(&mut self, range: FrameRange) -> Result<(), UvmError> {
        self.check_drained(range, "neither allocated nor held back", |info, _| info.state.is_idle())?;
        self.turn(range, PageState::Retired, |_| true);
        Ok(())
    }

    /// Takes the pages of a range that are held back offline, and with them the reserved pages that follow their
    /// block.
    pub(crate) fn offline_isolated(&mut self, range: FrameRange) {
        self.turn(range, PageState::Offline, |state| state == PageState::Isolated);
        self.pages_in(range).for_each(|(_, page)| page.set_out(true));
    }

    /// Lets go of pages that are held back and leaves the others alone.
    pub(crate) fn unisolate(&mut self, range: FrameRange) {
        self.end_move();
        self.turn(range, PageState::Free, |state| state == PageState::Isolated);
    }

    /// Whether a range has a page that is free, in use, held back, or reserved; a reserved page may be in use by
    /// anybody.
    pub(crate) fn is_in_use(&self, range: FrameRange) -> bool {
        let idle = |state| matches!(state, PageState::Offline | PageState::Retired);
        self.pages_in(range).any(|(_, page)| !idle(page.state()) && !page.is_out())
    }

    /// Whether a node has a free page outside a range. If `normal`, movable-only memory does not count.
    pub(crate) fn has_free_beside(&self, node: u32, normal: bool, range: FrameRange) -> bool {
        let counts = |bucket: &&Bucket| !(normal && bucket.zone == Zone::Movable);
        self.orders.of_node(node).map(|at| &self.buckets[at as usize]).filter(counts).any(|bucket| {
            let within: u64 = bucket.map.runs(range).map(FrameRange::count).sum();
            bucket.map.free() > within
        })
    }

    /// Whether everything that is plugged in a range is of one node.
    pub(crate) fn is_of_one_node(&self, range: FrameRange) -> bool {
        let mut nodes = self.map.overlapping(range).map(|(_, held)| held.segment.node);
        let first = nodes.next();
        nodes.all(|node| Some(node) == first)
    }

    /// Returns the lowest plugged page frame of a range.
    pub(crate) fn next_plugged(&self, range: FrameRange) -> Option<u64> {
        self.map.overlapping(range).next().map(|(entry, _)| entry.start().max(range.start()))
    }

    /// Returns the node and the zone of the lowest plugged page of a range. An area that is lent counts as normal:
    /// only normal memory can be lent.
    pub(crate) fn place_of(&self, range: FrameRange) -> Option<(u32, Zone)> {
        let (at, held) = self.map.overlapping(range).next()?;
        let lent = self.check_not_lent(at).is_err();
        let zone = if lent { Zone::Normal } else { self.buckets[held.bucket as usize].zone };
        Some((held.segment.node, zone))
    }

    /// Checks that a range can come online: every page is offline, or stays retired, or follows its block.
    pub(crate) fn check_online(&self, range: FrameRange) -> Result<(), UvmError> {
        self.check_not_lent(range)?;
        let may = |state| matches!(state, PageState::Offline | PageState::Retired);
        self.check_pages(range, "offline", |info, page| may(info.state) || page.is_out())
    }

    /// Checks that a range can go offline: every page is managed, or stays retired, or follows its block.
    pub(crate) fn check_offline(&self, range: FrameRange) -> Result<(), UvmError> {
        self.check_not_lent(range)?;
        let may_not = |state| matches!(state, PageState::Offline | PageState::Reserved | PageState::Isolated);
        self.check_pages(range, "managed", |info, page| !may_not(info.state) || page.is_own())
    }

    /// Puts the pages of a range whose state `which` accepts into another state, without owner. If that may include
    /// cached pages, drain the caches first.
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
            // The run may span buckets, and each keeps its own counts.
            let mut rest = Some(run);
            while let Some((part, bucket)) = rest.and_then(|rest| self.first_part(rest)) {
                rest = FrameRange::between(part.end(), run.end());
                let mut states = [0; PageState::ALL.len()];
                for (_, page) in self.pages_in(part) {
                    let state = page.state();
                    states[state as usize] += 1;
                    // Nobody wrote to these pages meanwhile, so a zeroed page still is.
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

    /// Counts the pages of a range by their states.
    pub(super) fn count_states(&self, range: FrameRange) -> [u64; PageState::ALL.len()] {
        let mut states = [0; PageState::ALL.len()];
        self.pages_in(range).for_each(|(_, page)| states[page.state() as usize] += 1);
        states
    }

    /// Returns the first part of a range that is plugged and lies in one bucket, and that bucket.
    pub(super) fn first_part(&self, range: FrameRange) -> Option<(FrameRange, u32)> {
        self.parts_in(range).next().map(|(part, bucket, _)| (part, bucket))
    }

    /// Returns the first run of pages of a range whose states `which` accepts.
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

    /// Moves pages from the counters of their old states to that of the new one.
    fn count_turned(&self, turned: &[u64; PageState::ALL.len()], to: PageState) {
        let total: u64 = turned.iter().sum();
        let counters = &self.counters;
        let settle = |counter: &AtomicU64, states: &[PageState]| {
            let gone: u64 = states.iter().map(|state| turned[*state as usize]).sum();
            let come = if states.contains(&to) { total } else { 0 };
            // One of the two is zero, so readers see the counter go straight to its new value.
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

    /// Takes all free pages of a range out of their buckets and returns how many there were.
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

    /// Gives pages that were taken out of their buckets, and are Free by their state, to the buckets they belong to
    /// now.
    pub(super) fn free_again(&mut self, range: FrameRange) {
        let mut from = range.start();
        while let Some(run) = FrameRange::between(from, range.end())
            .and_then(|rest| self.run_that(rest, &|state| state == PageState::Free))
        {
            from = run.end();
            self.free_all(run);
        }
    }

    /// Gives pages back to one bucket.
    pub(super) fn free(&mut self, bucket: u32, range: FrameRange, zeroed: bool) {
        self.buckets[bucket as usize].give(&self.counters, range, zeroed);
    }

    /// Gives pages that are Free by their state to their buckets, pages that are alike in one step.
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
