//! Getting hold of given page frames, whoever has them.

use super::{PATIENCE, Taken, Uvm};
use crate::counters::add;
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::page::{Page, PageFlags, PageInfo, PageOwner, PageState};
use crate::request::{PageRequest, Strategy};

/// Why a page's content and its users were not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveError {
    /// It cannot be.
    Never,
    /// Not now; it may be tried again.
    Again,
    /// Whoever moves pages was called off.
    Interrupted,
}

/// Moves a page's content and users, from one page frame to another: see [`Uvm::capture`].
pub type Migrate<'m> = &'m mut dyn FnMut(u64, u64) -> Result<(), MoveError>;

impl Uvm {
    /// Hands out given page frames (what Linux calls `alloc_contig_range`): free ones are taken, those that are handed out
    /// are moved to others by `migrate(from, to)`, which copies the page and tells its users. They are handed out as
    /// CLEAN, to nobody, and go back page by page.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] for one that is not managed; [`UvmError::Unmovable`] for one that is wired,
    /// lent or in a list, that `migrate` does not move, or for which there is no other. Nothing is captured then; what
    /// was moved stays moved.
    pub fn capture(&mut self, range: FrameRange, migrate: Migrate<'_>) -> Result<(), UvmError> {
        self.isolate(range, migrate)?;
        self.turn(range, PageState::Allocated, |_| true);
        self.pages_in(range).for_each(|(_, page)| page.set_flags(PageFlags::CLEAN, PageFlags::empty()));
        Ok(())
    }

    /// Retires pages, moving those that are handed out: see [`Self::capture`] and [`Self::retire`].
    ///
    /// # Errors
    /// As [`Self::capture`].
    pub fn retire_moving(&mut self, range: FrameRange, migrate: Migrate<'_>) -> Result<(), UvmError> {
        self.isolate(range, migrate)?;
        self.turn(range, PageState::Retired, |_| true);
        Ok(())
    }

    /// Takes pages out of use: those that are handed out are moved. See [`Self::capture`].
    ///
    /// # Errors
    /// As [`Self::capture`].
    pub fn offline(&mut self, range: FrameRange, migrate: Migrate<'_>) -> Result<(), UvmError> {
        self.check_kept()?;
        self.check_not_lent(range)?;
        self.isolate(range, migrate)?;
        self.offline_isolated(range);
        Ok(())
    }

    /// Holds pages back, moving those that are handed out: nobody gets one of them until they are let go of again.
    pub(super) fn isolate(&mut self, range: FrameRange, migrate: Migrate<'_>) -> Result<(), UvmError> {
        self.isolate_beside(range, |_| false, migrate)
    }

    /// As [`Self::isolate`], passing over some pages.
    pub(crate) fn isolate_beside(
        &mut self,
        range: FrameRange,
        passed: impl Fn(Page<'_>) -> bool,
        migrate: Migrate<'_>,
    ) -> Result<(), UvmError> {
        self.hold_free(range, passed)?;
        let moved = self.on_the_way(Taken::Held(range), |uvm| uvm.move_away(range, migrate));
        if moved.is_err() {
            self.unisolate(range);
        }
        moved
    }

    /// Holds back the free pages of a range, all of whose pages have to be managed, or such as are passed over.
    pub(crate) fn hold_free(
        &mut self,
        range: FrameRange,
        passed: impl Fn(Page<'_>) -> bool,
    ) -> Result<(), UvmError> {
        let managed = |info: PageInfo, page: Page<'_>| {
            matches!(info.state, PageState::Free | PageState::Cached | PageState::Allocated) || passed(page)
        };
        self.end_move();
        self.check_pages(range, "managed", managed)?;
        self.hold_more(range);
        Ok(())
    }

    /// Holds back what is free in a range by now.
    pub(crate) fn hold_more(&mut self, range: FrameRange) {
        // From the buckets first: what a cache has is then not replaced by more of the same.
        let held = self.take_free(range);
        self.drain_caches();
        let more = self.take_free(range);
        self.pages_in(range)
            .filter(|(_, page)| page.state() == PageState::Free)
            .for_each(|(_, page)| page.reset(PageState::Isolated, page.flags() & PageFlags::ZERO));
        add(&self.counters.isolated, held + more);
    }

    /// Has a page moved to another of its colour, on its node if there is one; where to.
    fn move_one(
        &mut self,
        (frame, head): (u64, u64),
        node: u32,
        owner: PageOwner,
        migrate: Migrate<'_>,
    ) -> Option<u64> {
        let colour = frame & u64::from(self.settings.colours_of() - 1);
        let request =
            PageRequest::new().node(node).strategy(Strategy::Numa).owner(owner).colour(colour as u32);
        self.moving = Some((frame, head, None));
        let Ok(to) = self.pagealloc(&request) else {
            self.moving = None;
            return None;
        };
        self.moving = Some((frame, head, Some(to)));
        let moved = migrate(frame, to);
        self.moving = None;
        if moved.is_err() {
            // It is ours: nobody else knows of it.
            let _ = self.pagefree(to);
            return None;
        }
        Some(to)
    }

    /// Takes back a move that never ended, since who moves pages, or the host, panicked: the page is its owner's, where it was.
    pub(crate) fn end_move(&mut self) {
        let Some((from, head, to)) = self.moving.take() else { return };
        if let Ok((_, page)) = self.known(from) {
            page.let_go(head);
        }
        if let Some(to) = to {
            let _ = self.pagefree(to);
        }
    }

    /// Moves the pages of a range that are handed out, whose free pages are held back.
    pub(crate) fn move_away(&mut self, range: FrameRange, migrate: Migrate<'_>) -> Result<(), UvmError> {
        // What was handed out may have been freed since.
        self.hold_more(range);
        let mut frames = range.frames();
        let mut next = frames.next();
        let mut patience = PATIENCE;
        while let Some(frame) = next {
            let (held, page) = self.known(frame)?;
            let info = page.info();
            if matches!(info.state, PageState::Isolated | PageState::Retired | PageState::Offline)
                || page.is_own()
            {
                next = frames.next();
                continue;
            }
            let unmovable = UvmError::Unmovable { frame, info };
            let node = held.segment.node;
            let Some(head) = page.hold() else {
                // On its way into or out of a processor's cache.
                if info.state == PageState::Cached && patience > 0 {
                    patience -= 1;
                    core::hint::spin_loop();
                    self.hold_more(range);
                    continue;
                }
                return Err(unmovable);
            };
            let moved = self.move_one((frame, head), node, info.owner, migrate);
            let (_, from) = self.known(frame)?;
            let Some(to) = moved else {
                from.let_go(head);
                return Err(unmovable);
            };
            let (_, target) = self.known(to)?;
            target.become_like(from, head);
            from.reset(PageState::Isolated, PageFlags::empty());
            add(&self.counters.isolated, 1);
            next = frames.next();
        }
        Ok(())
    }
}
