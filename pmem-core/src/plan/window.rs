//! Floating windows: opening one over a new alias, and shrinking it to what still goes through.

use super::Plan;
use super::connect::unlent;
use crate::error::{Error, Holder};
use crate::id::ArenaId;
use crate::mapping::{Admits, Mapping, Window};
use crate::model::{Edit, Leg, SpanState};
use pmem_space::AddrRange;

impl Plan<'_> {
    /// Makes the window of `leg` cover `range`, together with what goes through it already.
    ///
    /// # Errors
    /// [`Error::WindowBlocked`] names what it would have to cover but may not.
    pub(super) fn cover(&mut self, leg: Leg, range: AddrRange) -> Result<(), Error> {
        let (arena, window) = self.window_of(leg)?;
        let Leg { link, way, piece } = leg;
        let old = self.state().window(link, way, piece);
        if old.is_some_and(|old| old.covers(range)) {
            return Ok(());
        }
        let wanted = range.rounded(window.granule_of());
        let new = self.state().hull(link, way, piece).map_or(wanted, |hull| hull.hull(wanted));
        let blocked = |by| Err(Error::WindowBlocked { link, way, piece, window: new, by });
        if !window.limit_of().covers(new) {
            return blocked(Holder::Limit(link, window.limit_of()));
        }
        let gained = old.map_or([Some(new), None], |old| new.minus(old));
        for part in gained.into_iter().flatten() {
            if let Some(by) = self.in_the_way(arena, part, &window)? {
                return blocked(by);
            }
        }
        self.push(Edit::Window { link, way, piece, old, new: Some(new) });
        gained.into_iter().flatten().try_for_each(|part| self.lend(arena, part))
    }

    /// Sets the window of `leg` to what its floor and the aliases through it ask for.
    pub(super) fn shrink(&mut self, leg: Leg) -> Result<(), Error> {
        let Ok((arena, _)) = self.window_of(leg) else { return Ok(()) };
        let Leg { link, way, piece } = leg;
        let (old, new) = (self.state().window(link, way, piece), self.state().hull(link, way, piece));
        if old == new {
            return Ok(());
        }
        self.push(Edit::Window { link, way, piece, old, new });
        let Some(old) = old else { return Ok(()) };
        let lost = new.map_or([Some(old), None], |new| old.minus(new));
        lost.into_iter().flatten().try_for_each(|part| self.set_spans(arena, part, unlent))
    }

    /// The floating or fixed window of `leg`, and the arena that it is in.
    fn window_of(&self, leg: Leg) -> Result<(ArenaId, Window), Error> {
        let link = self.link(leg.link)?;
        let mapping = &link.direction(leg.way).mapping;
        let window = match mapping {
            Mapping::Windows(windows) if !windows.yields() => windows.pieces().get(usize::from(leg.piece)),
            _ => None,
        };
        Ok((link.near(leg.way), *window.ok_or(Error::NoLink(leg.link))?))
    }

    /// What keeps a window from covering `part`.
    fn in_the_way(&self, arena: ArenaId, part: AddrRange, window: &Window) -> Result<Option<Holder>, Error> {
        let here = self.arena(arena)?;
        if let Some((at, record)) = here.regions_in(part).next() {
            return Ok(Some(Holder::Region(record.id, at)));
        }
        if let Some((at, legs)) = here.windows_in(part).next() {
            return Ok(Some(Holder::Link(legs[0].link, at)));
        }
        let prefetch_only =
            |attrs: crate::attrs::Attrs| attrs.props().contains(crate::attrs::Props::PREFETCH);
        Ok(here.spans_in(part).find_map(|(range, span)| match span.state {
            SpanState::Sealed => Some(Holder::Sealed(range)),
            // What is not prefetchable must not be carried through prefetchable space.
            _ if prefetch_only(span.attrs) && window.admits_of() == Admits::Anything => {
                Some(Holder::Unfit(range))
            }
            _ => None,
        }))
    }
}
