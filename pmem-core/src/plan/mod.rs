//! Planning: verbs become edits. Each verb is all or nothing; a plan can hold many verbs.

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

/// A change being planned. Each verb sees what the earlier ones did.
///
/// [`Manager::transaction`](crate::Manager::transaction), [`Manager::plan`](crate::Manager::plan) and
/// [`Manager::rehearse`](crate::Manager::rehearse) pass a plan to your closure. Drivers are asked, if at all, only
/// after the closure has returned.
///
/// # Examples
/// Find out what a change would do, without doing it:
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Edit, Manager, Request};
///
/// let mut pmem = Manager::new();
/// let pci = pmem.create_arena("PCI 0000:00", ArenaType::PCI)?;
/// pmem.prime(pci, AddrRange::new(0xe000_0000, 0xf000_0000)?, Attrs::device())?;
///
/// let (range, edits) = pmem.plan(|plan| {
///     let bar = plan.alloc(pci, &Request::new(0x4000).align(0x4000))?;
///     plan.name_region(bar, "NIC BAR 0")?;
///     plan.range(bar)
/// })?;
/// assert_eq!(range.start(), 0xe000_0000);
/// assert!(matches!(edits[..], [Edit::Region { .. }, Edit::Name { .. }]));
/// assert_eq!(pmem.regions().count(), 0, "nothing has changed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Plan<'m> {
    working: Working<'m>,
    edits: Vec<Edit>,
}

/// Undoes a plan that was not taken over, so that a panic in the caller's closure leaves no trace.
impl Drop for Plan<'_> {
    fn drop(&mut self) {
        self.undo_to(0);
    }
}

impl<'m> Plan<'m> {
    /// Begins a plan that collects its edits in `edits`, which must be empty.
    pub(crate) fn new(
        state: &'m mut State,
        ids: &'m mut Ids,
        memory: &'m mut Memory,
        edits: Vec<Edit>,
    ) -> Self {
        Self { working: Working { state, ids, memory }, edits }
    }

    /// Returns the state as the plan would leave it.
    #[must_use]
    pub fn state(&self) -> &State {
        self.working.state
    }

    /// Returns the edits so far, in the order in which they were planned. The plan is then no longer undone when it
    /// is dropped.
    pub(crate) fn into_edits(mut self) -> Vec<Edit> {
        core::mem::take(&mut self.edits)
    }

    /// Returns where a region is, and its record.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn placement(&self, region: RegionId) -> Result<Placement, Error> {
        self.working.ids.placement(self.working.state, region).ok_or(Error::NoRegion(region))
    }

    /// Returns the addresses of a region in its own arena.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsParked`].
    pub fn range(&self, region: RegionId) -> Result<AddrRange, Error> {
        self.placement(region)?.seat.range().ok_or(Error::IsParked(region))
    }

    /// The former name of [`Self::range`].
    ///
    /// # Errors
    /// Those of [`Self::range`].
    #[deprecated(note = "`range`")]
    pub fn range_of(&self, region: RegionId) -> Result<AddrRange, Error> {
        self.range(region)
    }

    /// Returns the number of references a region has, those of its aliases included.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn refs(&self, region: RegionId) -> Result<u32, Error> {
        match self.working.ids.count(region) {
            Some(count) => Ok(count),
            None => Err(Error::NoRegion(region)),
        }
    }

    /// Returns the aliases of a region, ordered by id.
    #[must_use]
    pub fn aliases(&self, region: RegionId) -> &[RegionId] {
        self.working.ids.aliases(region)
    }

    /// Reserves memory for one more edit, so that no edit takes effect without being recorded for undo.
    fn reserve(&mut self) {
        if self.edits.capacity() == 0 {
            // Most changes are a single edit.
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

    /// Takes a region out of its arena, and returns where it was.
    fn take_out(&mut self, region: RegionId) -> Result<Placement, Error> {
        self.reserve();
        let Some(old) = self.working.lift(region) else { return Err(Error::NoRegion(region)) };
        self.edits.push(Edit::Region { region, old: Some(old), new: None });
        Ok(old)
    }

    /// Puts a region that is in no arena in its place.
    fn put_in(&mut self, new: Placement) {
        let region = new.record.id;
        self.reserve();
        self.working.place(&new);
        self.edits.push(Edit::Region { region, old: None, new: Some(new) });
    }

    /// Runs `verb` so that an error undoes everything it did.
    fn atomically<T>(&mut self, verb: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let before = self.edits.len();
        let result = verb(self);
        if result.is_err() {
            self.undo_to(before);
        }
        result
    }

    /// Undoes all edits after the first `keep`, last first.
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

    /// Changes a region's place and record, or removes it.
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

    /// Checks that a region with this record may lie at `range`: all of it free, open, with equal defaults that admit
    /// the region.
    fn check_free(&self, arena: ArenaId, range: AddrRange, record: &RegionRecord) -> Result<(), Error> {
        let here = self.arena(arena)?;
        let occupied = |by| Err(Error::Occupied { arena, range, by });
        if let Some((at, holder)) = here.regions_in(range).next() {
            return occupied(Holder::Region(holder.id, at));
        }
        if let Some((window, legs)) = here.windows_in(range).next() {
            return occupied(Holder::Link(legs[0].link, window));
        }
        // `next` is the first address not yet known to be primed; `first` holds the defaults that all spans must
        // share.
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
