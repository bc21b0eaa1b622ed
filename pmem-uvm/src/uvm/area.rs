//! Areas that are set aside for long runs, and lent to movable pages until a run is claimed (Linux's contiguous
//! memory allocator, mm/cma.c).

use super::bucket::Bucket;
use super::capture::Migrate;
use super::{MoveError, PageList, Taken, Uvm};
use crate::error::UvmError;
use crate::frame::FrameRange;
use crate::page::{Page, PageState};
use crate::request::PageListRequest;
use crate::segment::Zone;
use core::cell::Cell;

impl Uvm {
    /// Sets an area aside for long runs and lends it to movable pages meanwhile. Only movable pages are placed in it
    /// from now on ([`Zone::Movable`]), so that [`Self::claim`] gets long runs out of it whenever they are needed.
    /// Its reserved pages become free. Allocates memory.
    ///
    /// # Errors
    /// [`UvmError::NotPlugged`]; [`UvmError::Lent`] if it overlaps another area; [`UvmError::Page`] names a page that
    /// is handed out, held back or offline, that follows a block online and offline, or that is in movable-only
    /// memory already.
    ///
    /// # Examples
    /// ```
    /// use pmem_uvm::{FrameRange, PageListRequest, PageOwner, PageRequest, Plug, Uvm};
    ///
    /// let mut uvm = Uvm::default();
    /// uvm.plug(&Plug::new(FrameRange::new(0x100, 0x100)?))?;
    /// let area = FrameRange::new(0x180, 0x40)?;
    /// uvm.lend(area)?;
    ///
    /// let movable = PageRequest::new().owner(PageOwner::Object { key: 1, offset: 0 });
    /// let page = uvm.pagealloc(&movable)?;
    /// assert!(area.contains(page), "movable pages use the area first");
    ///
    /// // A camera needs it all: the page moves out of the way.
    /// let frames = uvm.claim(&PageListRequest::new(0x40)?, &mut |_from, _to| Ok(()))?;
    /// assert!(uvm.runs(&frames).eq([area]));
    /// uvm.pglistfree(frames);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lend(&mut self, area: FrameRange) -> Result<(), UvmError> {
        self.check_not_lent(area)?;
        let may = |state| matches!(state, PageState::Free | PageState::Reserved | PageState::Retired);
        self.check_drained(area, "free or reserved", |info, page| may(info.state) && !page.is_own())?;
        let movable = |bucket: u32| self.buckets[bucket as usize].zone == Zone::Movable;
        if let Some((part, ..)) = self.parts_in(area).find(|(_, bucket, _)| movable(*bucket)) {
            let (frame, (_, page)) = (part.start(), self.known(part.start())?);
            return Err(UvmError::Page { frame, info: page.info(), wanted: "outside movable-only memory" });
        }
        self.set_zone(area, Zone::Movable);
        self.turn(area, PageState::Free, |state| state == PageState::Reserved);
        let at = self.areas.partition_point(|other| other.start() < area.start());
        self.areas.insert(at, area);
        Ok(())
    }

    /// The areas that are set aside, in ascending order.
    #[must_use]
    pub fn areas(&self) -> &[FrameRange] {
        &self.areas
    }

    /// Claims one run out of the areas in the request's window, within its alignment and boundary. If a run of free
    /// pages is long enough, it takes that; otherwise it takes the lowest place from which everything that was lent
    /// can be moved away. Give the run back with [`Self::pglistfree`]; it is then lent again. Reserves and the
    /// request's number of runs do not matter.
    ///
    /// # Errors
    /// [`UvmError::Nowhere`] if no area is in the window; [`UvmError::Unmovable`] names the last page that was in the
    /// way; [`UvmError::NoFit`] if there is no place; [`UvmError::Cancelled`] if `migrate` was interrupted. Pages
    /// that were moved stay moved.
    pub fn claim(&mut self, request: &PageListRequest, migrate: Migrate<'_>) -> Result<PageList, UvmError> {
        let result = self.claim_run(request, migrate);
        match &result {
            Ok(list) => self.on_the_way(Taken::List(list.as_it_is()), |uvm| {
                uvm.check_scarce();
                uvm.check_scarce_on(None);
            }),
            Err(_) => self.note_failed(),
        }
        result
    }

    fn claim_run(&mut self, request: &PageListRequest, migrate: Migrate<'_>) -> Result<PageList, UvmError> {
        self.end_move();
        let window = request.window;
        let part = |uvm: &Self, at: usize| uvm.areas.get(at)?.intersect(window);
        // A run that is free already costs no move, so try all areas for one first.
        let free = (0..self.areas.len()).find_map(|at| self.free_run_in(request, part(self, at)?));
        let run = match free {
            Some(run) => run,
            None => {
                let mut cleared = Err(UvmError::Nowhere(window));
                for at in 0..self.areas.len() {
                    let Some(part) = part(self, at) else { continue };
                    cleared = self.clear_run_in(request, part, migrate);
                    if matches!(cleared, Ok(_) | Err(UvmError::Cancelled)) {
                        break;
                    }
                }
                cleared?
            }
        };
        self.turn(run, PageState::Allocated, |_| true);
        Ok(self.list_of(run))
    }

    /// Finds a place in an area that is all free, and holds it back.
    fn free_run_in(&mut self, request: &PageListRequest, area: FrameRange) -> Option<FrameRange> {
        let fit = request.window(area).fit(request.count)?;
        let may = |bucket: &&mut Bucket| {
            bucket.zone == Zone::Movable
                && request.may_be_on(bucket.node, bucket.free_list)
                && bucket.map.free() >= fit.len()
        };
        let places = self.buckets.iter_mut().filter(may).filter_map(|bucket| bucket.map.search(&fit));
        let run = places.min_by_key(|place| place.start())?;
        self.hold_more(run);
        Some(run)
    }

    /// Finds the lowest place in an area that can be cleared, clears it, and holds all of it back.
    fn clear_run_in(
        &mut self,
        request: &PageListRequest,
        area: FrameRange,
        migrate: Migrate<'_>,
    ) -> Result<FrameRange, UvmError> {
        let (mut from, mut in_the_way) = (area.start(), None);
        let stopped = Cell::new(false);
        let mut tried = |from: u64, to: u64| {
            let moved = migrate(from, to);
            stopped.set(moved == Err(MoveError::Interrupted));
            moved
        };
        // Try places from the lowest up. Whatever blocks one place blocks every later place that contains it too, so
        // the search goes on right behind the obstacle, and each page is an obstacle at most once.
        while let Some(run) = request.lowest_in(from, area) {
            if let Some(end) = self.end_of_others(request, run) {
                from = end;
                continue;
            }
            // Look for pages that can never go before any page is moved in vain. The last of them allows the longest
            // step.
            let stuck = self.pages_in(run).filter(|(_, page)| !page.can_go()).last();
            let stuck = match stuck {
                Some((frame, page)) => UvmError::Unmovable { frame, info: page.info() },
                None => match self.isolate(run, &mut tried) {
                    Ok(()) => return Ok(run),
                    Err(error) => error,
                },
            };
            if stopped.get() {
                return Err(UvmError::Cancelled);
            }
            // Only an error that names a page says where to go on.
            let (UvmError::Unmovable { frame, .. } | UvmError::Page { frame, .. }) = stuck else {
                return Err(stuck);
            };
            from = frame + 1;
            in_the_way = Some(stuck);
        }
        let free = self.runs_in(area).map(FrameRange::count).sum();
        let longest = self.runs_in(area).map(FrameRange::count).max().unwrap_or(0);
        Err(in_the_way.unwrap_or(UvmError::NoFit { asked: request.count, free, longest }))
    }

    /// Returns where the last part of a run ends that is not of the node and the free list that the request asks for;
    /// `None` if all of it is.
    fn end_of_others(&self, request: &PageListRequest, run: FrameRange) -> Option<u64> {
        let is_other = |bucket: u32| {
            let bucket = &self.buckets[bucket as usize];
            !request.may_be_on(bucket.node, bucket.free_list)
        };
        self.parts_in(run).filter(|(_, bucket, _)| is_other(*bucket)).map(|(part, ..)| part.end()).last()
    }

    /// Iterates over the free runs in a range.
    fn runs_in(&self, range: FrameRange) -> impl Iterator<Item = FrameRange> + '_ {
        self.buckets.iter().flat_map(move |bucket| bucket.map.runs(range))
    }

    /// Takes an area back: moves everything out that was lent of it, and reserves all its pages except bad ones.
    ///
    /// # Errors
    /// [`UvmError::NoArea`] if no area has exactly this range; [`UvmError::Unmovable`] names a page that is claimed
    /// or cannot be moved.
    pub fn take_back(&mut self, area: FrameRange, migrate: Migrate<'_>) -> Result<(), UvmError> {
        let at = self.areas.iter().position(|other| *other == area).ok_or(UvmError::NoArea(area))?;
        let idle = |page: Page<'_>| matches!(page.state(), PageState::Retired | PageState::Reserved);
        self.isolate_beside(area, idle, migrate)?;
        self.turn(area, PageState::Reserved, |state| state == PageState::Isolated);
        self.set_zone(area, Zone::Normal);
        self.areas.remove(at);
        Ok(())
    }

    /// Checks that a range overlaps no area.
    pub(crate) fn check_not_lent(&self, range: FrameRange) -> Result<(), UvmError> {
        match self.areas.iter().find(|area| area.overlaps(range)) {
            Some(area) => Err(UvmError::Lent { range, area: *area }),
            None => Ok(()),
        }
    }
}
