//! Planning: verbs become edits. Each verb is all or nothing; a plan may hold many.

mod alloc_far;
mod alloc_region;
mod attrs;
mod connect;
mod create;
mod lend;
mod map;
mod prime;
mod refs;
mod request;
mod reseat;
mod seat;
mod spot;
mod way;
mod window;

pub use request::Request;
pub use spot::Constraints;

use crate::error::{Error, Holder};
use crate::id::{ArenaId, LinkId, RegionId};
use crate::model::{
    Arena, Edit, Ids, Link, MAX_REFS, Memory, Placement, PrimedSpan, RegionRecord, SpanState, State, Working,
};
use alloc::vec::Vec;
use pmem_space::AddrRange;

/// A change in the making: its verbs see what earlier ones did.
///
/// Got from [`Manager::transaction`](crate::Manager::transaction) or [`Manager::plan`](crate::Manager::plan);
/// drivers have not been asked yet.
pub struct Plan<'m> {
    working: Working<'m>,
    edits: Vec<Edit>,
}

/// A plan that is left half-way, by a panic in its caller's code, leaves no trace.
impl Drop for Plan<'_> {
    fn drop(&mut self) {
        self.undo_to(0);
    }
}

impl<'m> Plan<'m> {
    /// Begins a plan that puts its edits into `edits`, which is empty.
    pub(crate) fn new(
        state: &'m mut State,
        ids: &'m mut Ids,
        memory: &'m mut Memory,
        edits: Vec<Edit>,
    ) -> Self {
        Self { working: Working { state, ids, memory }, edits }
    }

    /// The state as the plan would leave it.
    pub fn state(&self) -> &State {
        self.working.state
    }

    /// The edits so far, in the order in which they were planned.
    pub(crate) fn into_edits(mut self) -> Vec<Edit> {
        core::mem::take(&mut self.edits)
    }

    /// Where a region is, and what it is.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn placement(&self, region: RegionId) -> Result<Placement, Error> {
        self.working.ids.placement(self.working.state, region).ok_or(Error::NoRegion(region))
    }

    /// The addresses of a region in its own arena.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsParked`].
    pub fn range(&self, region: RegionId) -> Result<AddrRange, Error> {
        self.placement(region)?.seat.range().ok_or(Error::IsParked(region))
    }

    /// The former name of [`Self::range`].
    #[deprecated(note = "`range`")]
    pub fn range_of(&self, region: RegionId) -> Result<AddrRange, Error> {
        self.range(region)
    }

    /// How many references a region has, those of its aliases included.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn refs(&self, region: RegionId) -> Result<u32, Error> {
        match self.working.ids.count(region) {
            Some(count) => Ok(count),
            None => Err(Error::NoRegion(region)),
        }
    }

    /// The aliases of a region.
    pub fn aliases(&self, region: RegionId) -> &[RegionId] {
        self.working.ids.aliases(region)
    }

    /// Has memory ready for one more edit, so that none is carried out and not noted.
    fn reserve(&mut self) {
        if self.edits.capacity() == 0 {
            // Most changes are one edit.
            self.edits.reserve_exact(1);
        } else {
            self.edits.reserve(1);
        }
    }

    fn push(&mut self, edit: Edit) {
        self.reserve();
        self.working.apply(&edit);
        self.edits.push(edit);
    }

    /// Takes a region out, and tells what it was.
    fn take_out(&mut self, region: RegionId) -> Result<Placement, Error> {
        self.reserve();
        let Some(old) = self.working.lift(region) else { return Err(Error::NoRegion(region)) };
        self.edits.push(Edit::Region { region, old: Some(old), new: None });
        Ok(old)
    }

    /// Puts a region that is nowhere to its place.
    fn put_in(&mut self, new: Placement) {
        let region = new.record.id;
        self.reserve();
        self.working.place(&new);
        self.edits.push(Edit::Region { region, old: None, new: Some(new) });
    }

    /// Carries out `verb` whole or not at all.
    fn atomically<T>(&mut self, verb: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let before = self.edits.len();
        let result = verb(self);
        if result.is_err() {
            self.undo_to(before);
        }
        result
    }

    /// Takes back the edits after the first `keep`.
    pub(crate) fn undo_to(&mut self, keep: usize) {
        while self.edits.len() > keep {
            let Some(edit) = self.edits.pop() else { break };
            self.working.apply(&edit.inverse());
            self.working.retire(&edit.inverse());
        }
    }

    fn arena(&self, arena: ArenaId) -> Result<&Arena, Error> {
        match self.state().arena(arena) {
            Some(arena) => Ok(arena),
            None => Err(Error::NoArena(arena)),
        }
    }

    fn link(&self, link: LinkId) -> Result<&Link, Error> {
        self.state().link(link).ok_or(Error::NoLink(link))
    }

    /// Sets a region's place and record.
    fn replace(&mut self, region: RegionId, new: Option<Placement>) {
        let old = self.working.ids.placement(self.working.state, region);
        self.push(Edit::Region { region, old, new });
    }

    fn set_count(&mut self, region: RegionId, new: u32) {
        let old = self.working.ids.regions.get(region).map_or(0, |entry| entry.count);
        self.push(Edit::Count { region, old, new });
    }

    fn count_up(&mut self, region: RegionId) -> Result<(), Error> {
        let new = self.refs(region)?.saturating_add(1);
        if new > MAX_REFS {
            return Err(Error::TooManyRefs(region));
        }
        self.set_count(region, new);
        Ok(())
    }

    /// Rewrites the spans inside `range`, each cut to it.
    fn set_spans(
        &mut self,
        arena: ArenaId,
        range: AddrRange,
        new: impl Fn(PrimedSpan) -> Option<PrimedSpan>,
    ) -> Result<(), Error> {
        let old: Vec<(AddrRange, PrimedSpan)> = self.arena(arena)?.spans_in(range).collect();
        for (range, span) in old {
            let new = new(span);
            if new != Some(span) {
                self.push(Edit::Span { arena, range, old: Some(span), new });
            }
        }
        Ok(())
    }

    /// Checks that a region with this record may lie at `range`: open space that admits it, of the same defaults, all free.
    fn check_free(&self, arena: ArenaId, range: AddrRange, record: &RegionRecord) -> Result<(), Error> {
        let here = self.arena(arena)?;
        let occupied = |by| Err(Error::Occupied { arena, range, by });
        if let Some((at, holder)) = here.regions_in(range).next() {
            return occupied(Holder::Region(holder.id, at));
        }
        if let Some((window, legs)) = here.windows_in(range).next() {
            return occupied(Holder::Link(legs[0].link, window));
        }
        let mut next = Some(range.start());
        let mut first = None;
        for (part, span) in here.spans_in(range) {
            if next.is_some_and(|next| next < part.start()) {
                break;
            }
            if *first.get_or_insert(span.attrs) != span.attrs {
                return occupied(Holder::Border(part));
            }
            match span.state {
                SpanState::Open if span.admits(record.attrs) => {}
                SpanState::Open => return occupied(Holder::Unfit(part)),
                SpanState::Sealed | SpanState::Lent => return occupied(Holder::Sealed(part)),
            }
            next = part.end();
        }
        match next.filter(|next| *next <= range.last()) {
            Some(next) => {
                let bare = AddrRange::inclusive(next, range.last())?;
                let end = here.spans_in(bare).next().map_or(range.last(), |(span, _)| span.start() - 1);
                occupied(Holder::Unprimed(AddrRange::inclusive(next, end)?))
            }
            None => Ok(()),
        }
    }
}
