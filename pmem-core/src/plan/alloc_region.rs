//! Allocation: in the requesting arena, or in another arena from which the region can be made visible.

use super::alloc_far::Lane;
use super::{Plan, Request};
use crate::error::Error;
use crate::id::{ArenaId, RegionId};
use crate::metric::Metric;
use crate::model::{Location, Placement, RegionRecord, Role, SpanState};
use pmem_space::{AddrRange, Attrs, Fit, Policy};

impl Plan<'_> {
    /// Allocates a region that meets the request, with one reference (`pmem_alloc`).
    ///
    /// If the request's maximum metric is above zero, it also tries arenas whose regions can be made visible in
    /// `arena` at no more than that cost, nearest first. The result is always visible in `arena`: a region of it, or
    /// an alias, which then holds the only reference on its target.
    ///
    /// # Errors
    /// [`Error::NoArena`], [`Error::Fit`], [`Error::Range`], [`Error::Caching`]; [`Error::Prot`] if the interconnects allow
    /// less access than asked; [`Error::NoSpace`] gives the largest gap; for an exact range [`Error::Occupied`] names what is there. If several arenas were tried, the error is from the one that
    /// came closest.
    pub fn alloc(&mut self, arena: ArenaId, request: &Request) -> Result<RegionId, Error> {
        self.arena(arena)?;
        let place = request.place()?;
        request.fit(place, 0)?;
        if !request.spot.window.covers(place) {
            return Err(self.no_space(arena, request, 0));
        }
        let near = if self.suits(arena, request) {
            self.atomically(|plan| plan.alloc_here(arena, request, Lane::start(arena, place)))
        } else {
            Err(self.no_space(arena, request, 0))
        };
        match near {
            Err(near) if request.max_metric != Metric::ZERO => self.alloc_elsewhere(arena, request, near),
            near => near,
        }
    }

    /// Whether the request accepts space of an arena.
    pub(super) fn suits(&self, arena: ArenaId, request: &Request) -> bool {
        let is_it = request.arena.is_none_or(|only| only == arena);
        let info = self.state().info(arena);
        is_it && (request.kind.is_empty() || info.is_some_and(|info| info.kind.contains(request.kind)))
    }

    /// Allocates a region without an address: parked, with the request's length, attributes and owner, and one
    /// reference. [`unpark`](Self::unpark) gives it a place later. Use it for something that wants an address and has
    /// none, such as a BAR that did not fit.
    ///
    /// Attributes that the request does not give are empty: there is no space yet whose defaults could be taken.
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::Range`] for a length of 0; [`Error::Caching`].
    pub fn alloc_parked(&mut self, arena: ArenaId, request: &Request) -> Result<RegionId, Error> {
        self.arena(arena)?;
        let len = AddrRange::sized(0, request.len)?.len();
        let attrs = request.attrs(Attrs::default())?;
        let id = self.working.ids.regions.insert(1);
        let record =
            RegionRecord { id, attrs, owner: request.owner, role: Role::Own, pin: request.pin, align: 0 };
        self.put_in(Placement { arena, seat: Location::Parked(len), record });
        Ok(id)
    }

    /// Allocates in `arena`, at addresses of `lane`.
    pub(super) fn alloc_here(
        &mut self,
        arena: ArenaId,
        request: &Request,
        lane: Lane,
    ) -> Result<RegionId, Error> {
        let fit = match lane.back {
            Some(back) => request.fit(lane.range, back)?,
            None => {
                // Past a table the alias can be anywhere, so only its offset within a page matters: page-aligned, or
                // as far into a page as the request asks.
                let fit = Fit::new(request.len)?.window(lane.range).align(lane.page)?;
                let fit = fit.phase(lane.phase);
                fit.policy(request.spot.policy).visits(request.spot.visits)
            }
        };
        // An exact range is checked, not searched for, so that the error can name what is in the way.
        let exact = request.spot.start.filter(|_| lane.back == Some(0)).map(|_| lane.range);
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
        let record = attrs.map(|attrs| RegionRecord {
            id,
            attrs,
            owner: request.owner,
            role: Role::Own,
            pin: request.pin,
            align: 0,
        });
        let check = |record: &RegionRecord| match exact {
            Some(range) => self.check_free(arena, range, record),
            None => Ok(()),
        };
        match record.and_then(|record| check(&record).map(|()| record)) {
            Ok(record) => {
                self.put_in(Placement { arena, seat: Location::At(range), record });
                Ok(id)
            }
            Err(error) => {
                self.working.ids.regions.remove(id);
                Err(error)
            }
        }
    }

    /// Finds a place in space that admits the request, and the defaults there. A place never straddles spans with
    /// different defaults.
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
            // Spans come in order of address: the first match is the lowest, the last the highest.
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

    pub(super) fn largest(&self, arena: ArenaId, request: &Request, window: AddrRange) -> u64 {
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
        request.spot.no_space(arena, request.len, largest)
    }
}
