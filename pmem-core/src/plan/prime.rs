//! Giving an arena space, and taking it away: prime, seal, unseal, retire, unprime.

use super::Plan;
use crate::error::{Error, Holder};
use crate::id::{ArenaId, RegionId};
use crate::model::{Edit, PrimedSpan, SpanState};
use alloc::vec::Vec;
use pmem_space::{AddrRange, Attrs, Usage};

impl Plan<'_> {
    /// Gives an arena `range` to allocate from, with default attributes for its regions (`pmem_arena_prime`).
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Occupied`] names the primed space, window or alias that is already there.
    pub fn prime(&mut self, arena: ArenaId, range: AddrRange, attrs: Attrs) -> Result<(), Error> {
        let here = self.arena(arena)?;
        let primed = here.spans_in(range).next().map(|(span, _)| Holder::Primed(span));
        let behind = || here.windows_in(range).next().map(|(r, legs)| Holder::Link(legs[0].link, r));
        let taken = || here.regions_in(range).next().map(|(r, record)| Holder::Region(record.id, r));
        if let Some(by) = primed.or_else(behind).or_else(taken) {
            return Err(Error::Occupied { arena, range, by });
        }
        let new = Some(PrimedSpan { attrs, state: SpanState::Open });
        self.push(Edit::Span { arena, range, old: None, new });
        Ok(())
    }

    /// Stops allocation from `range`. Regions already there stay.
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Occupied`] names the part that is not primed, or that is lent to a window.
    pub fn seal(&mut self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        self.check_primed(arena, range)?;
        self.set_spans(arena, range, |span| Some(PrimedSpan { state: SpanState::Sealed, ..span }))
    }

    /// Allows allocation from `range` again.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn unseal(&mut self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        self.check_primed(arena, range)?;
        self.set_spans(arena, range, |span| Some(PrimedSpan { state: SpanState::Open, ..span }))
    }

    /// Marks `range` as bad RAM. It is not allocated again, even when the regions that are there now are released.
    /// Returns those regions, so that you can ask their owners to leave. Drivers and observers of the arena's space
    /// see the bad part as an edit with [`Usage::BROKEN`].
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn retire(&mut self, arena: ArenaId, range: AddrRange) -> Result<Vec<RegionId>, Error> {
        self.check_primed(arena, range)?;
        let broken = |span: PrimedSpan| {
            let attrs = span.attrs.with_usage(span.attrs.usage() | Usage::BROKEN);
            Some(PrimedSpan { attrs, ..span })
        };
        self.set_spans(arena, range, broken)?;
        Ok(self.arena(arena)?.regions_in(range).map(|(_, record)| record.id).collect())
    }

    /// Takes `range` away from an arena. To empty a range first: seal it, wait until its regions are released, then
    /// unprime it.
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Occupied`] names the part that is not primed, the part that is lent, or a region
    /// that is there.
    pub fn unprime(&mut self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        self.check_primed(arena, range)?;
        if let Some((at, record)) = self.arena(arena)?.regions_in(range).next() {
            return Err(Error::Occupied { arena, range, by: Holder::Region(record.id, at) });
        }
        self.set_spans(arena, range, |_| None)
    }

    /// Checks that all of `range` is primed and none of it is lent.
    fn check_primed(&self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        let here = self.arena(arena)?;
        let occupied = |by| Err(Error::Occupied { arena, range, by });
        let mut rest = Some(range);
        for (part, span) in here.spans_in(range) {
            let Some([below, above]) = rest.map(|rest| rest.minus(part)) else { break };
            if let Some(bare) = below {
                return occupied(Holder::Unprimed(bare));
            }
            if span.state == SpanState::Lent {
                let link = here.windows_in(part).next().map(|(r, legs)| Holder::Link(legs[0].link, r));
                return occupied(link.unwrap_or(Holder::Primed(part)));
            }
            rest = above;
        }
        rest.map_or(Ok(()), |bare| occupied(Holder::Unprimed(bare)))
    }
}
