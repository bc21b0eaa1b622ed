//! Making a region of one arena visible in another: a chain of aliases, one per arena crossed.

use super::alloc_region::PLACES;
use super::route::{Crossing, routes};
use super::{Plan, Request};
use crate::attrs::{Attrs, Props, Prot, Usage};
use crate::error::{Error, Holder};
use crate::id::{ArenaId, RegionId};
use crate::mapping::{Admits, Mapping, Table, Window};
use crate::metric::Metric;
use crate::model::{Alias, Leg, Piece, Pin, Placement, Record, Role, Seat, What};
use alloc::boxed::Box;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Fit, Policy};

/// Where an alias goes: its addresses, and the window it goes through.
pub(super) type AliasSeat = (AddrRange, u16);

impl Plan<'_> {
    /// Makes a region visible in `arena` (`pmem_map`): the region itself, if it is there; else an alias, shared with
    /// whoever has mapped it before. Either way with one reference more.
    ///
    /// Bridges' windows are widened as needed; a translation table takes free input space. Of several ways the
    /// cheapest that lets the region through is taken.
    ///
    /// # Errors
    /// [`Error::NoArena`], [`Error::NoRegion`], [`Error::IsParked`], [`Error::Condemned`]; [`Error::Unreachable`] if the arenas are
    /// not joined; [`Error::NoRoute`] says what the last way met.
    pub fn map(&mut self, arena: ArenaId, region: RegionId) -> Result<RegionId, Error> {
        self.arena(arena)?;
        let placement = self.placement(region)?;
        if placement.arena == arena {
            self.incref(region)?;
            return Ok(region);
        }
        if self.refs(region)? == 0 {
            return Err(Error::Condemned(region));
        }
        self.range_of(region)?;
        let mut why = None;
        let ways = routes(self.state(), arena, placement.arena, Metric::FARTHEST);
        for way in &ways {
            match self.atomically(|plan| plan.chain(way, region, None)) {
                Ok(alias) => return Ok(alias),
                Err(error) => why = Some(Box::new(error)),
            }
        }
        Err(match why {
            Some(why) => Error::NoRoute { region, from: arena, tried: ways.len(), why },
            None => Error::Unreachable { from: arena, to: placement.arena },
        })
    }

    /// Builds the aliases of `target` along `route`, from its end to its start; the last must satisfy `wanted`.
    pub(super) fn chain(
        &mut self,
        route: &[Crossing],
        target: RegionId,
        wanted: Option<&Request>,
    ) -> Result<RegionId, Error> {
        // A new alias comes with the reference of whoever wanted it.
        let (mut seen, mut is_new) = (target, false);
        for (i, crossing) in route.iter().enumerate().rev() {
            (seen, is_new) = match self.alias_through(seen, *crossing) {
                Some(alias) if self.refs(alias)? == 0 => return Err(Error::Condemned(alias)),
                Some(alias) => (alias, false),
                None => (self.add_alias(seen, is_new, *crossing, wanted.filter(|_| i == 0))?, true),
            };
        }
        if !is_new {
            self.count_up(seen)?;
        }
        Ok(seen)
    }

    /// The alias of `target` that there already is.
    fn alias_through(&self, target: RegionId, crossing: Crossing) -> Option<RegionId> {
        self.aliases(target).iter().copied().find(|alias| {
            let placement = self.placement(*alias).ok();
            let through = placement.and_then(|p| p.record.alias()).map(|a| (a.link, a.way));
            through == Some(crossing) && placement.is_some_and(|p| p.seat.range().is_some())
        })
    }

    /// Makes an alias of `target` with one reference; it holds one on the target, which may be counted already.
    fn add_alias(
        &mut self,
        target: RegionId,
        is_counted: bool,
        crossing: Crossing,
        wanted: Option<&Request>,
    ) -> Result<RegionId, Error> {
        let (link, way) = crossing;
        let to = self.range_of(target)?;
        let owner = self.placement(target)?.record.owner;
        let (range, piece) = self.alias_seat(target, crossing, wanted, None)?;
        let id = self.working.ids.regions.insert(1);
        let attrs = Attrs::new(Usage::empty(), Prot::RWX, Props::empty())?;
        let role = Role::Alias(Alias { target, link, way, piece, to: to.start() });
        let record = Record { id, attrs, owner, role, pin: Pin::Movable };
        let arena = self.link(link)?.near(way);
        self.put_in(Placement { arena, seat: Seat::At(range), record });
        if !is_counted {
            self.count_up(target)?;
        }
        self.check_meaning(target, crossing, range)?;
        Ok(id)
    }

    /// Checks that `seen` means `target` and nothing else: another mapping of the arena may take some of it as well, or
    /// lead it round in a circle.
    pub(super) fn check_meaning(
        &self,
        target: RegionId,
        (link, way): Crossing,
        seen: AddrRange,
    ) -> Result<(), Error> {
        let (to, joined) = (self.range_of(target)?, self.link(link)?);
        let meaning = |arena, range: AddrRange| {
            let mut pieces = self.state().reached(arena, range);
            pieces.sort_unstable_by_key(|piece| piece.seen.start());
            let known = |what| match what {
                What::Local { arena, start, .. } | What::Interleave { arena, start, .. } => {
                    Some((arena, start))
                }
                What::Table { arena, start, .. } => Some((arena, start)),
                What::Ambiguous(_) | What::Loop => None,
            };
            let place = |piece: Piece| (piece.seen.start() - range.start(), known(piece.what));
            pieces.into_iter().map(place).collect::<Vec<_>>()
        };
        let (here, there) = (meaning(joined.near(way), seen), meaning(joined.far(way), to));
        if here == there && !here.is_empty() && here.iter().all(|(_, known)| known.is_some()) {
            return Ok(());
        }
        Err(Error::NotPassed { link, way, region: target, range: to })
    }

    /// Finds where the alias of `target` goes, and opens the window for it. A table's alias keeps the address
    /// `before`, where it can.
    pub(super) fn alias_seat(
        &mut self,
        target: RegionId,
        (link, way): Crossing,
        wanted: Option<&Request>,
        before: Option<u64>,
    ) -> Result<AliasSeat, Error> {
        let range = self.range_of(target)?;
        let refused = Error::NotPassed { link, way, region: target, range };
        let joined = self.link(link)?;
        let arena = joined.near(way);
        let leg = |piece| Leg { link, way, piece };
        let (at, piece) = match joined.direction(way).mapping.clone() {
            Mapping::Closed => return Err(refused),
            Mapping::Identity => (self.undecoded(arena, range)?, 0),
            Mapping::Windows(windows) if windows.yields() => {
                let passes = |(piece, w): (u16, &Window)| {
                    unshifted(range, w).filter(|at| w.limit_of().covers(*at)).map(|at| (at, piece))
                };
                let (at, piece) = (0..).zip(windows.pieces()).find_map(passes).ok_or(refused)?;
                (self.undecoded(arena, at)?, piece)
            }
            Mapping::Windows(windows) => {
                let props = self.attrs(target)?.props();
                let mut fitting: Vec<(AddrRange, u16, Admits)> = (0..)
                    .zip(windows.pieces())
                    .filter(|(_, w)| w.carries(props))
                    .filter_map(|(piece, w)| Some((unshifted(range, w)?, piece, w)))
                    .filter(|(at, _, w)| w.limit_of().covers(*at))
                    .map(|(at, piece, w)| (at, piece, w.admits_of()))
                    .collect();
                fitting.sort_by_key(|(.., admits)| *admits != Admits::Prefetchable);
                let mut result = Err(refused);
                for (at, piece, _) in fitting {
                    result = self
                        .vacant(arena, at)
                        .and_then(|()| self.cover(leg(piece), at))
                        .map(|()| (at, piece));
                    if result.is_ok() {
                        break;
                    }
                }
                result?
            }
            Mapping::Interleave(share) => {
                let at =
                    share.invert(range.start()).filter(|_| share.ways() == 1 && share.output().covers(range));
                let at = AddrRange::sized(at.ok_or(refused)?, range.len())?;
                self.vacant(arena, at)?;
                (at, 0)
            }
            Mapping::Table(table) => (self.entry_seat(arena, &table, range, wanted, before)?, 0),
        };
        match wanted {
            Some(wanted) if !wanted.fit(wanted.place()?, 0)?.admits(at) => {
                Err(self.no_space(arena, wanted, 0))
            }
            _ => Ok((at, piece)),
        }
    }

    /// Finds free input space of a table for entries that lead to `range`: whole pages, so that no other alias has
    /// part of one. The alias itself, which need not fill them, is where the request wants it.
    fn entry_seat(
        &self,
        arena: ArenaId,
        table: &Table,
        range: AddrRange,
        wanted: Option<&Request>,
        before: Option<u64>,
    ) -> Result<AddrRange, Error> {
        let page = table.page();
        let pages = range.rounded(page);
        let within = range.start() - pages.start();
        let request = Request { len: range.len(), ..wanted.copied().unwrap_or(Request::new(range.len())) };
        let place = request.place()?;
        let asked = request.fit(place, 0)?;
        let space = self.arena(arena)?.space();
        let window = pages_for(place, range.len(), within, page).and_then(|w| w.intersect(table.input()));
        let largest = || space.largest_gap(window.unwrap_or(place)).map_or(0, AddrRange::len);
        let nothing = || Error::NoSpace {
            arena,
            len: pages.len(),
            align: request.align.max(page),
            window: place.intersect(table.input()).unwrap_or(place),
            largest: largest(),
        };
        let mut fit = Fit::new(pages.len())?
            .window(window.ok_or_else(nothing)?)
            .align(request.align.max(page))?
            .policy(request.policy);
        if within & (request.align - 1) != 0 || (within != 0 && request.align > page) {
            return Err(nothing());
        }
        let entry = |place: AddrRange| AddrRange::sized(place.start() + within, range.len()).ok();
        let kept =
            before.and_then(|addr| AddrRange::sized(addr.checked_sub(within)?, pages.len()).ok()).filter(
                |place| space.find(&fit.window(*place)) == Some(*place) && fit.window_of().covers(*place),
            );
        if let Some(entry) = kept.and_then(entry) {
            return Ok(entry);
        }
        // Only the boundary can still be in the way: a place that crosses one of its multiples is passed over.
        for _ in 0..PLACES {
            let place = space.find(&fit).ok_or_else(nothing)?;
            let entry = entry(place).ok_or_else(nothing)?;
            if asked.admits(entry) {
                return Ok(entry);
            }
            let multiple = entry.last() & !(request.boundary.unwrap_or(1) - 1);
            let rest = match request.policy {
                Policy::LastFit => {
                    multiple.min(place.last()).checked_sub(1).map(|last| (fit.window_of().start(), last))
                }
                _ => place
                    .start()
                    .checked_add(1)
                    .map(|above| (above.max(multiple & !(page - 1)), fit.window_of().last())),
            };
            let rest = rest.and_then(|(start, last)| AddrRange::inclusive(start, last).ok());
            fit = fit.window(rest.ok_or_else(nothing)?);
        }
        Err(nothing())
    }

    /// Checks that nothing is taken in `range`.
    fn vacant(&self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        match self.arena(arena)?.regions_in(range).next() {
            Some((at, record)) => Err(Error::Occupied { arena, range, by: Holder::Region(record.id, at) }),
            None => Ok(()),
        }
    }

    /// Checks that nothing in the arena decodes `range`, so that a mapping that yields takes it.
    fn undecoded(&self, arena: ArenaId, range: AddrRange) -> Result<AddrRange, Error> {
        self.vacant(arena, range)?;
        let here = self.arena(arena)?;
        let primed = here.spans_in(range).next().map(|(span, _)| Holder::Primed(span));
        let behind = || here.windows_in(range).next().map(|(r, legs)| Holder::Link(legs[0].link, r));
        primed.or_else(behind).map_or(Ok(range), |by| Err(Error::Occupied { arena, range, by }))
    }
}

/// The whole pages in which `len` bytes lie that start `within` a page and are inside `window`.
fn pages_for(window: AddrRange, len: u64, within: u64, page: u64) -> Option<AddrRange> {
    let low = window.start().saturating_sub(within).checked_next_multiple_of(page)?;
    let high = window.last().checked_sub(len - 1)?.checked_sub(within)? & !(page - 1);
    AddrRange::inclusive(low, high.checked_add((within + (len - 1)) | (page - 1))?).ok()
}

/// The input of `window` that leads to `range`.
fn unshifted(range: AddrRange, window: &Window) -> Option<AddrRange> {
    range.shifted(0u64.wrapping_sub(window.offset_of()))
}
