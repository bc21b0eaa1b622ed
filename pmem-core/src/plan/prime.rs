//! Giving an arena space, and taking it away: prime, seal, unseal, unprime.

use super::Plan;
use crate::error::{Error, Holder};
use crate::id::{ArenaId, RegionId};
use crate::model::{Edit, PrimedSpan, SpanState};
use alloc::vec::Vec;
use pmem_space::{AddrRange, Attrs, Usage};

impl Plan<'_> {
    /// Gives an arena `range` to allocate from, with default attributes (`pmem_arena_prime`).
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Occupied`] names the primed space, window or alias that is there.
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

    /// Hands out nothing more of `range`; regions that are there stay.
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Occupied`] names what of it is not primed or is lent to a window.
    pub fn seal(&mut self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        self.check_primed(arena, range)?;
        self.set_spans(arena, range, |span| Some(PrimedSpan { state: SpanState::Sealed, ..span }))
    }

    /// Hands out `range` again.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn unseal(&mut self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        self.check_primed(arena, range)?;
        self.set_spans(arena, range, |span| Some(PrimedSpan { state: SpanState::Open, ..span }))
    }

    /// Says that `range` is bad: it is never handed out again, nor when what is there now is released. Gives the regions that are there,
    /// whose holders are to leave: to whoever is told of changes of the arena's space the bad part is an edit with
    /// [`Usage::BROKEN`].
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

    /// Takes `range` away from an arena. To empty it first: seal, drain, unprime.
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Occupied`] names what of it is not primed, is lent, or the region that is there.
    pub fn unprime(&mut self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        self.check_primed(arena, range)?;
        if let Some((at, record)) = self.arena(arena)?.regions_in(range).next() {
            return Err(Error::Occupied { arena, range, by: Holder::Region(record.id, at) });
        }
        self.set_spans(arena, range, |_| None)
    }

    /// Checks that all of `range` is primed, and none of it lent.
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
