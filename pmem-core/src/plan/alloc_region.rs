//! Allocation: in the arena itself, or in another from which the region can be made visible.

use super::route::{Crossing, Lane, lanes, routes};
use super::{Plan, Request};
use crate::attrs::Attrs;
use crate::error::Error;
use crate::id::{ArenaId, RegionId};
use crate::metric::Metric;
use crate::model::{Placement, Record, Role, Seat, SpanState};
use pmem_space::{AddrRange, Fit, Policy};

/// Places in one arena that are tried before the next way: each may be blocked further up.
pub(super) const PLACES: usize = 256;

impl Plan<'_> {
    /// Reserves a region that meets the request, with one reference (`pmem_alloc`).
    ///
    /// With a maximal metric above zero, arenas whose regions can be made visible in `arena` at no more than this cost
    /// are tried as well, nearest first. What is returned is always seen in `arena`: a region of it, or an alias,
    /// which then holds the only reference on its target.
    ///
    /// # Errors
    /// [`Error::NoArena`], [`Error::Fit`], [`Error::Caching`]; [`Error::NoSpace`] gives the largest gap; for an exact range
    /// [`Error::Occupied`] names what is there; of several arenas the last one's error is returned.
    pub fn alloc(&mut self, arena: ArenaId, request: &Request) -> Result<RegionId, Error> {
        self.arena(arena)?;
        let place = request.place()?;
        request.fit(place, 0)?;
        if !request.window.covers(place) {
            return Err(self.no_space(arena, request, 0));
        }
        let suits = |plan: &Self, arena| {
            request.kind.is_empty()
                || plan.state().info(arena).is_some_and(|info| info.kind.contains(request.kind))
        };
        let near = if suits(self, arena) {
            self.atomically(|plan| plan.alloc_here(arena, request, Lane::start(place)))
        } else {
            Err(self.no_space(arena, request, 0))
        };
        if near.is_ok() || request.max_metric == Metric::ZERO {
            return near;
        }
        let mut last = near;
        for candidate in self.state().distances(arena).to_vec() {
            let within = candidate.metric.within(request.max_metric);
            if candidate.arena == arena || !within || !suits(self, candidate.arena) {
                continue;
            }
            for route in routes(self.state(), arena, candidate.arena, request.max_metric) {
                last = self.atomically(|plan| plan.alloc_there(candidate.arena, request, &route));
                if last.is_ok() {
                    return last;
                }
            }
        }
        last
    }

    /// Reserves a region that claims no address yet: parked, with the request's length, attributes and owner, and one reference.
    /// [`unpark`](Self::unpark) gives it a place. It stands for what wants an address and has none, as a BAR that did not fit.
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Range`] of no bytes; [`Error::Caching`].
    pub fn alloc_parked(&mut self, arena: ArenaId, request: &Request) -> Result<RegionId, Error> {
        self.arena(arena)?;
        let len = AddrRange::sized(0, request.len)?.len();
        let attrs = request.attrs(Attrs::default())?;
        let id = self.working.ids.regions.insert(1);
        let record = Record { id, attrs, owner: request.owner, role: Role::Own, pin: request.pin };
        self.put_in(Placement { arena, seat: Seat::Parked(len), record });
        Ok(id)
    }

    /// Allocates in the arena at the end of `route`, and makes it visible at its start.
    fn alloc_there(
        &mut self,
        arena: ArenaId,
        request: &Request,
        route: &[Crossing],
    ) -> Result<RegionId, Error> {
        let mut last = self.no_space(arena, request, 0);
        let mut request = *request;
        for mut lane in lanes(self.state(), request.place()?, route) {
            for tried in 0..PLACES {
                let before = self.edits.len();
                let region = match self.alloc_here(arena, &request, lane) {
                    Ok(region) => region,
                    Err(error) => {
                        // Where places were found but blocked, what blocked the last one says more.
                        if tried == 0 {
                            last = error;
                        }
                        break;
                    }
                };
                let place = self.range_of(region)?;
                let seen = self.chain(route, region, Some(&request));
                let seen = seen.and_then(|seen| self.check_let_through(seen, &request).map(|()| seen));
                match seen.and_then(|seen| self.drop_extra(region).map(|()| seen)) {
                    Ok(seen) => return Ok(seen),
                    Err(error) => last = error,
                }
                self.undo_to(before);
                if matches!(request.policy, Policy::InstantFit | Policy::GoodFit) {
                    // Their places are in no order: what else there is, first fit tells.
                    request.policy = Policy::FirstFit;
                    continue;
                }
                match past(lane.range, place, &request) {
                    Some(range) => lane.range = range,
                    None => break,
                }
            }
        }
        Err(last)
    }

    /// Checks that the interconnects on the way let through what the request needs.
    fn check_let_through(&self, region: RegionId, request: &Request) -> Result<(), Error> {
        let (asked, allowed) = (request.prot.unwrap_or_default(), self.attrs(region)?.prot());
        if allowed.contains(asked) { Ok(()) } else { Err(Error::Prot { region, asked, allowed }) }
    }

    /// Gives up the reference that the alias of a region holds as well.
    fn drop_extra(&mut self, region: RegionId) -> Result<(), Error> {
        let refs = self.refs(region)?;
        self.set_count(region, refs.saturating_sub(1));
        Ok(())
    }

    /// Allocates in `arena`, at addresses of `lane`.
    fn alloc_here(&mut self, arena: ArenaId, request: &Request, lane: Lane) -> Result<RegionId, Error> {
        let fit = match lane.back {
            Some(back) => request.fit(lane.range, back)?,
            None => {
                let fit = Fit::new(request.len)?.window(lane.range).align(lane.align)?;
                fit.policy(request.policy).visits(request.visits)
            }
        };
        // An exact range is not looked for: what is in its way is named.
        let exact = request.start.filter(|_| lane.back == Some(0)).map(|_| lane.range);
        let exact = exact.filter(|range| fit.admits(*range));
        let (range, defaults) = match exact {
            Some(range) => {
                let span = self.arena(arena)?.span_at(range.start());
                (range, span.map(|(_, span)| span.attrs).unwrap_or_default())
            }
            None => self.find(arena, request, &fit)?.ok_or_else(|| {
                let largest = self.largest(arena, request, lane.range);
                self.no_space(arena, request, largest)
            })?,
        };
        let id = self.working.ids.regions.insert(1);
        let attrs = request.attrs(defaults);
        let record =
            attrs.map(|attrs| Record { id, attrs, owner: request.owner, role: Role::Own, pin: request.pin });
        let check = |record: &Record| match exact {
            Some(range) => self.check_free(arena, range, record),
            None => Ok(()),
        };
        match record.and_then(|record| check(&record).map(|()| record)) {
            Ok(record) => {
                self.put_in(Placement { arena, seat: Seat::At(range), record });
                Ok(id)
            }
            Err(error) => {
                self.working.ids.regions.remove(id);
                Err(error)
            }
        }
    }

    /// Finds a place in space that admits the request, and the defaults there. No region straddles spans of different
    /// defaults.
    pub(super) fn find(
        &self,
        arena: ArenaId,
        request: &Request,
        fit: &Fit,
    ) -> Result<Option<(AddrRange, Attrs)>, Error> {
        let here = self.arena(arena)?;
        let mut found: Option<(u64, (AddrRange, Attrs))> = None;
        for (part, span) in here.spans_in(fit.window_of()) {
            if span.state != SpanState::Open || !span.admits(request.attrs(span.attrs)?) {
                continue;
            }
            let Some(place) = here.space().find(&fit.window(part)) else { continue };
            match fit.policy_of() {
                Policy::LastFit => found = Some((0, (place, span.attrs))),
                Policy::GoodFit => {
                    let gap = here.space().at(place.start()).range.intersect(part).map_or(0, AddrRange::len);
                    if found.is_none_or(|(best, _)| gap < best) {
                        found = Some((gap, (place, span.attrs)));
                    }
                }
                _ => return Ok(Some((place, span.attrs))),
            }
        }
        Ok(found.map(|(_, found)| found))
    }

    fn largest(&self, arena: ArenaId, request: &Request, window: AddrRange) -> u64 {
        let Ok(here) = self.arena(arena) else { return 0 };
        here.spans_in(window)
            .filter(|(_, span)| span.state == SpanState::Open)
            .filter(|(_, span)| request.attrs(span.attrs).is_ok_and(|attrs| span.admits(attrs)))
            .filter_map(|(part, _)| here.space().largest_gap(part))
            .map(AddrRange::len)
            .max()
            .unwrap_or(0)
    }

    pub(super) fn no_space(&self, arena: ArenaId, request: &Request, largest: u64) -> Error {
        let Request { len, align, .. } = *request;
        let window = request.place().unwrap_or(request.window);
        Error::NoSpace { arena, len, align, window, largest }
    }
}

/// What of a window is left when `place` and what lies before it, in the order of the policy, will not do.
fn past(window: AddrRange, place: AddrRange, request: &Request) -> Option<AddrRange> {
    let step = request.align.max(request.len / 8).max(1);
    match request.policy {
        Policy::LastFit => {
            let last = place.last().checked_sub(step)?;
            AddrRange::inclusive(window.start(), last).ok()
        }
        _ => {
            let start = place.start().checked_add(step)?;
            AddrRange::inclusive(start, window.last()).ok()
        }
    }
}
