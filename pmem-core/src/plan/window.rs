//! Floating windows: opening one over a new alias, and shrinking it to what still goes through.

use super::Plan;
use super::lend::{may_show, unlent};
use crate::error::{Error, Holder};
use crate::id::{ArenaId, LinkId, Way};
use crate::mapping::{Mapping, Window};
use crate::model::{Edit, SpanState, WindowId};
use alloc::vec::Vec;
use pmem_space::AddrRange;

impl Plan<'_> {
    /// Makes the window of `leg` cover `range` and everything that goes through it already.
    ///
    /// # Errors
    /// [`Error::WindowBlocked`] names what it would have to cover but may not.
    pub(super) fn cover(&mut self, leg: WindowId, range: AddrRange) -> Result<(), Error> {
        let (arena, _) = self.window_of(leg)?;
        let WindowId { link, way, piece } = leg;
        let old = self.state().window(link, way, piece);
        let new = self.widened(leg, range)?;
        if old == Some(new) {
            return Ok(());
        }
        self.push(Edit::Window { link, way, piece, old, new: Some(new) });
        let gained = old.map_or([Some(new), None], |old| new.minus(old));
        gained.into_iter().flatten().try_for_each(|part| self.lend(arena, part))
    }

    /// Returns the addresses that the window of `leg` must cover to cover `range` as well.
    ///
    /// # Errors
    /// [`Error::WindowBlocked`].
    pub(super) fn widened(&self, leg: WindowId, range: AddrRange) -> Result<AddrRange, Error> {
        let (arena, window) = self.window_of(leg)?;
        let WindowId { link, way, piece } = leg;
        let old = self.state().window(link, way, piece);
        if let Some(old) = old.filter(|old| old.covers(range)) {
            return Ok(old);
        }
        let wanted = range.rounded(window.granule());
        let new = old.map_or(wanted, |old| old.hull(wanted));
        let blocked = |by| Err(Error::WindowBlocked { link, way, piece, window: new, by });
        if !window.limit().covers(new) {
            return blocked(Holder::Limit(link, window.limit()));
        }
        let gained = old.map_or([Some(new), None], |old| new.minus(old));
        for part in gained.into_iter().flatten() {
            if let Some(by) = self.in_the_way(arena, part, &window)? {
                return blocked(by);
            }
        }
        Ok(new)
    }

    /// Shrinks the window of `leg` to its floor and the aliases that still go through it.
    pub(super) fn shrink(&mut self, leg: WindowId) -> Result<(), Error> {
        let Ok((arena, window)) = self.window_of(leg) else { return Ok(()) };
        let WindowId { link, way, piece } = leg;
        let Some(old) = self.state().window(link, way, piece).filter(|_| !window.is_fixed()) else {
            return Ok(());
        };
        let new = {
            // Only aliases through the window lie in it, so the first and the last of them bound what it must cover.
            let mut through = self.arena(arena)?.regions_in(old).map(|(at, _)| at);
            let ends = [through.next(), through.next_back()].into_iter().flatten();
            ends.map(|at| at.rounded(window.granule())).chain(window.floor_of()).reduce(AddrRange::hull)
        };
        if Some(old) == new {
            return Ok(());
        }
        self.push(Edit::Window { link, way, piece, old: Some(old), new });
        let lost = new.map_or([Some(old), None], |new| old.minus(new));
        lost.into_iter().flatten().try_for_each(|part| self.set_spans(arena, part, unlent))
    }

    /// Sets what a floating window covers even when nothing goes through it, like a bridge whose base and limit
    /// registers were programmed by someone else. `None` lets the window close as far as no alias needs it. The
    /// window may open over free primed space, which is lent to it.
    ///
    /// # Errors
    /// [`Error::NoLink`], [`Error::NoWindow`], [`Error::FixedWindow`]; [`Error::Mapping`] for a floor that leaves the
    /// window's limit or is not a multiple of its granule; [`Error::WindowBlocked`] names what the window would have
    /// to cover but may not.
    pub fn set_floor(
        &mut self,
        link: LinkId,
        way: Way,
        piece: u32,
        floor: Option<AddrRange>,
    ) -> Result<(), Error> {
        let leg = WindowId { link, way, piece };
        let (_, window) = self.window_of(leg)?;
        if window.is_fixed() {
            return Err(Error::FixedWindow { link, way, piece });
        }
        let new = floor.map_or_else(|| Ok(window.without_floor()), |floor| window.floor(floor))?;
        self.atomically(|plan| {
            plan.edit_link(link, |link| {
                let mapping = &mut link.direction_mut(way).mapping;
                if let Mapping::Windows(windows) = mapping {
                    *windows = windows.with_piece(piece, new);
                }
            })?;
            floor.map_or(Ok(()), |floor| plan.cover(leg, floor))?;
            plan.shrink(leg)
        })
    }

    /// Returns the claiming window of `leg`, and the arena it is in.
    fn window_of(&self, leg: WindowId) -> Result<(ArenaId, Window), Error> {
        let link = self.link(leg.link)?;
        let mapping = &link.direction(leg.way).mapping;
        let window = match mapping {
            Mapping::Windows(windows) if !windows.yields() => windows.pieces().get(leg.piece as usize),
            _ => None,
        };
        let WindowId { link: id, way, piece } = leg;
        Ok((link.near(way), *window.ok_or(Error::NoWindow { link: id, way, piece })?))
    }

    /// Returns what keeps a window from covering `part`; `None` if nothing does.
    fn in_the_way(&self, arena: ArenaId, part: AddrRange, window: &Window) -> Result<Option<Holder>, Error> {
        let here = self.arena(arena)?;
        if let Some((at, record)) = here.regions_in(part).next() {
            return Ok(Some(Holder::Region(record.id, at)));
        }
        if let Some((at, legs)) = here.windows_in(part).next() {
            return Ok(Some(Holder::Link(legs[0].link, at)));
        }
        Ok(here.spans_in(part).find_map(|(range, span)| match span.state {
            SpanState::Sealed => Some(Holder::Sealed(range)),
            _ if !may_show(window, span.attrs) => Some(Holder::Unfit(range)),
            _ => None,
        }))
    }

    /// Returns everything in `part` that keeps a window from covering it.
    pub(super) fn blockers(&self, arena: ArenaId, part: AddrRange, window: &Window) -> Vec<AddrRange> {
        let Ok(here) = self.arena(arena) else { return Vec::new() };
        let spans = here
            .spans_in(part)
            .filter(|(_, span)| span.state == SpanState::Sealed || !may_show(window, span.attrs));
        let regions = here.regions_in(part).map(|(at, _)| at);
        let windows = here.windows_in(part).map(|(at, _)| at);
        regions.chain(windows).chain(spans.map(|(at, _)| at)).collect()
    }
}
