//! Capturing given page frames, whoever has them.

use super::{PATIENCE, Taken, Uvm};
use crate::counters::add;
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::page::{Page, PageFlags, PageInfo, PageOwner, PageState};
use crate::request::{PageRequest, Strategy};

/// Why `migrate` did not move a page's contents and users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveError {
    /// The page can never be moved.
    Never,
    /// The page cannot be moved now, but it makes sense to try again.
    Again,
    /// The move was interrupted; everything that was begun stops.
    Interrupted,
}

/// A callback that moves a page's contents and users from one page frame to another. It is called as `migrate(from,
/// to)`; see [`Uvm::capture`].
pub type Migrate<'m> = &'m mut dyn FnMut(u64, u64) -> Result<(), MoveError>;

impl Uvm {
    /// Hands out the given page frames, as Linux's `alloc_contig_range` does. Free pages are taken. For each page
    /// that is handed out, `migrate(from, to)` copies the page to another page frame and redirects its users. You get
    /// the pages CLEAN and without owner, and free them one by one.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Page`] for a page that is not managed; [`UvmError::Unmovable`] for a
    /// page that is wired, lent or in a list, that `migrate` does not move, or for which there is no other page.
    /// Nothing is captured then, but pages that were moved stay moved.
    ///
    /// # Examples
    /// A device needs 16 particular page frames, and one of them is in use:
    ///
    /// ```
    /// use pmem_uvm::{FrameRange, PageOwner, PageRequest, Plug, Uvm};
    ///
    /// let mut uvm = Uvm::default();
    /// uvm.plug(&Plug::new(FrameRange::new(0x100, 64)?))?;
    /// let owner = PageOwner::Object { key: 7, offset: 0 };
    /// let page = uvm.pagealloc(&PageRequest::new().owner(owner))?;
    ///
    /// let mut moves = Vec::new();
    /// uvm.capture(FrameRange::new(page, 16)?, &mut |from, to| {
    ///     // Copy the page, and point the object's mappings at the copy.
    ///     moves.push((from, to));
    ///     Ok(())
    /// })?;
    /// let [(from, to)] = moves[..] else { return Err("one move".into()) };
    /// assert_eq!(from, page);
    /// assert_eq!(uvm.page(to).map(|page| page.info().owner), Some(owner));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn capture(&mut self, range: FrameRange, migrate: Migrate<'_>) -> Result<(), UvmError> {
        self.isolate(range, migrate)?;
        self.turn(range, PageState::Allocated, |_| true);
        self.pages_in(range).for_each(|(_, page)| page.set_flags(PageFlags::CLEAN, PageFlags::empty()));
        Ok(())
    }

    /// Retires pages, moving those that are handed out to other page frames first: see [`Self::capture`] and
    /// [`Self::retire`].
    ///
    /// # Errors
    /// As [`Self::capture`].
    pub fn retire_moving(&mut self, range: FrameRange, migrate: Migrate<'_>) -> Result<(), UvmError> {
        self.isolate(range, migrate)?;
        self.turn(range, PageState::Retired, |_| true);
        Ok(())
    }

    /// Takes pages offline, moving those that are handed out to other page frames first: see [`Self::capture`].
    ///
    /// # Errors
    /// As [`Self::capture`]; [`UvmError::Kept`] while memory must stay as it is; [`UvmError::Lent`] if the range
    /// overlaps an area.
    pub fn offline(&mut self, range: FrameRange, migrate: Migrate<'_>) -> Result<(), UvmError> {
        self.check_kept()?;
        self.check_not_lent(range)?;
        self.isolate(range, migrate)?;
        self.offline_isolated(range);
        Ok(())
    }

    /// Holds back all pages of a range and moves those that are handed out. Nobody gets one of these pages until they
    /// are let go.
    pub(super) fn isolate(&mut self, range: FrameRange, migrate: Migrate<'_>) -> Result<(), UvmError> {
        self.isolate_beside(range, |_| false, migrate)
    }

    /// As [`Self::isolate`], leaving alone the pages that `passed` accepts.
    pub(crate) fn isolate_beside(
        &mut self,
        range: FrameRange,
        passed: impl Fn(Page<'_>) -> bool,
        migrate: Migrate<'_>,
    ) -> Result<(), UvmError> {
        self.hold_free(range, passed)?;
        // From here on `migrate` runs, which may panic. The guard then lets go of the range.
        let moved = self.on_the_way(Taken::Held(range), |uvm| uvm.move_away(range, migrate));
        if moved.is_err() {
            self.unisolate(range);
        }
        moved
    }

    /// Holds back the free pages of a range. Every page must be managed, or accepted by `passed`.
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

    /// Holds back the pages of a range that are free by now.
    pub(crate) fn hold_more(&mut self, range: FrameRange) {
        // Empty the buckets first, so that no cache can be refilled from this range. The second pass takes what the
        // caches gave back.
        let held = self.take_free(range);
        self.drain_caches();
        let more = self.take_free(range);
        // What is Free by its state now is in no bucket any more. A page that a processor is just freeing into its
        // cache is still Cached, and `move_away` waits for it.
        self.pages_in(range)
            .filter(|(_, page)| page.state() == PageState::Free)
            .for_each(|(_, page)| page.reset(PageState::Isolated, page.flags() & PageFlags::ZERO));
        add(&self.counters.isolated, held + more);
    }

    /// Moves a page to another page frame of its colour, on its own node if possible. Returns the new page frame;
    /// `None` if there is none or `migrate` refuses.
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
        // Note the move before each call that may run the host's code: if that panics, `end_move` takes the move
        // back.
        self.moving = Some((frame, head, None));
        let Ok(to) = self.pagealloc(&request) else {
            self.moving = None;
            return None;
        };
        self.moving = Some((frame, head, Some(to)));
        let moved = migrate(frame, to);
        self.moving = None;
        if moved.is_err() {
            // This cannot fail: nobody else knows this page yet.
            let _ = self.pagefree(to);
            return None;
        }
        Some(to)
    }

    /// Takes back a move that did not end because `migrate` or the host panicked. The page stays with its owner,
    /// where it was.
    pub(crate) fn end_move(&mut self) {
        let Some((from, head, to)) = self.moving.take() else { return };
        if let Ok((_, page)) = self.known(from) {
            page.let_go(head);
        }
        if let Some(to) = to {
            let _ = self.pagefree(to);
        }
    }

    /// Moves the pages of a range that are handed out. Its free pages are already held back.
    pub(crate) fn move_away(&mut self, range: FrameRange, migrate: Migrate<'_>) -> Result<(), UvmError> {
        // Pages may have been freed since the range was held back.
        self.hold_more(range);
        let mut frames = range.frames();
        let mut next = frames.next();
        let mut patience = PATIENCE;
        while let Some(frame) = next {
            let (held, page) = self.known(frame)?;
            let info = page.info();
            // These never leave their state while the range is held back, so the scan need not come back to them.
            if matches!(info.state, PageState::Isolated | PageState::Retired | PageState::Offline)
                || page.is_own()
            {
                next = frames.next();
                continue;
            }
            let unmovable = UvmError::Unmovable { frame, info };
            let node = held.segment.node;
            // Isolate the page before it is copied: freeing it fails from now on, so its contents stay valid until
            // `migrate` is done.
            let Some(head) = page.hold() else {
                // A processor is just moving the page into or out of its cache. It does not need our lock for that,
                // so it will finish soon.
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
            // The page lives on at its new frame, with the owner and the flags it had. Its old frame is held back
            // like the rest.
            let (_, target) = self.known(to)?;
            target.become_like(from, head);
            from.reset(PageState::Isolated, PageFlags::empty());
            add(&self.counters.isolated, 1);
            next = frames.next();
        }
        Ok(())
    }
}
