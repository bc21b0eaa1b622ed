//! Where an alias may lie, and what opens for it.

use super::{Constraints, Plan};
use crate::error::{Error, Holder};
use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::mapping::{Admits, Mapping, Table, Window};
use crate::model::{Kept, WindowId};
use alloc::vec::Vec;
use pmem_space::{AddrRange, Fit, Policy, Space};

/// Where a table's entry may be, for a viewer that sees the table's input through other mappings.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Addresses of the table's input, in order.
    pub(super) windows: Vec<AddrRange>,
    /// Added to them, modulo 2^64, to give the addresses as seen; `None` if another table puts them anywhere.
    pub(super) back: Option<u64>,
}

/// What part of a range means to an arena.
#[derive(PartialEq, Eq)]
struct Meaning {
    /// Its first and last byte in the range.
    first: u64,
    last: u64,
    /// Where it leads; nowhere in particular if to several places, or in a circle.
    place: Option<(ArenaId, u64)>,
}

impl Meaning {
    /// Whether the next part goes on where this one leads to.
    fn goes_on_as(&self, next: &Self) -> bool {
        let place = self.place.map(|(arena, at)| (arena, at.wrapping_add(next.first - self.first)));
        self.last.checked_add(1) == Some(next.first) && place.is_some() && place == next.place
    }
}

impl Plan<'_> {
    /// The table that a leg goes by.
    pub(super) fn table(&self, leg: WindowId) -> Option<&Table> {
        match self.link(leg.link).map(|link| &link.direction(leg.way).mapping) {
            Ok(Mapping::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// What a leg adds to an address; `None` for a table, which may add anything.
    fn offset(&self, leg: WindowId) -> Option<u64> {
        match &self.link(leg.link).ok()?.direction(leg.way).mapping {
            Mapping::Identity => Some(0),
            Mapping::Windows(windows) => Some(windows.pieces().get(leg.piece as usize)?.offset_of()),
            Mapping::Interleave(share) if share.ways() == 1 => {
                Some(share.output().start().wrapping_sub(share.input().start()))
            }
            Mapping::Closed | Mapping::Interleave(_) | Mapping::Table(_) => None,
        }
    }

    /// The addresses from which a leg leads to `range`, whether or not they are free; `None` for a table.
    pub(super) fn before_leg(&self, leg: WindowId, range: AddrRange) -> Option<AddrRange> {
        range.shifted(0u64.wrapping_sub(self.offset(leg)?))
    }

    /// The legs of a direction that may lead to `range`, those that carry only prefetchable regions first.
    pub(super) fn legs_onto(&self, (link, way): (LinkId, Way), range: AddrRange) -> Vec<WindowId> {
        let leg = |piece| WindowId { link, way, piece };
        match self.link(link).map(|link| &link.direction(way).mapping) {
            Ok(Mapping::Windows(windows)) => {
                let mut pieces: Vec<(bool, u32)> = windows
                    .pieces_onto(range)
                    .map(|(piece, window)| (window.admits() != Admits::Prefetchable, piece))
                    .collect();
                pieces.sort_unstable();
                pieces.into_iter().map(|(_, piece)| leg(piece)).collect()
            }
            Ok(_) => Vec::from([leg(0)]),
            Err(_) => Vec::new(),
        }
    }

    /// Checks that an alias of `target` may lie at `seat` through `leg`, which is no table's.
    pub(super) fn check_seat(&self, leg: WindowId, seat: AddrRange, target: RegionId) -> Result<(), Error> {
        let WindowId { link, way, piece } = leg;
        let joined = self.link(link)?;
        let (arena, mapping) = (joined.near(way), &joined.direction(way).mapping);
        let offset = self.offset(leg).unwrap_or_default();
        let range = seat.shifted(offset).unwrap_or(seat);
        let refused = || Error::NotPassed { link, way, region: target, range };
        match mapping {
            Mapping::Closed | Mapping::Table(_) => Err(refused()),
            Mapping::Identity => self.check_undecoded(arena, seat),
            Mapping::Windows(windows) => {
                let window = windows.pieces().get(piece as usize);
                let window = window.filter(|window| window.limit().covers(seat)).ok_or_else(refused)?;
                if windows.yields() {
                    return self.check_undecoded(arena, seat);
                }
                if !window.carries(self.attrs(target)?.props()) {
                    return Err(refused());
                }
                self.check_vacant(arena, seat)?;
                self.widened(leg, seat).map(|_| ())
            }
            Mapping::Interleave(share) => {
                if share.ways() != 1 || !share.input().covers(seat) {
                    return Err(refused());
                }
                self.check_vacant(arena, seat)
            }
        }
    }

    /// Has an alias of `target`, which is at `range` now, lie at `seat` through `leg`: opens a window for it. What yields must lead nowhere
    /// else from there.
    pub(super) fn open_seat(
        &mut self,
        leg: WindowId,
        seat: AddrRange,
        target: RegionId,
        range: AddrRange,
    ) -> Result<(), Error> {
        self.check_seat(leg, seat, target)?;
        let WindowId { link, way, .. } = leg;
        let joined = self.link(link)?;
        match &joined.direction(way).mapping {
            Mapping::Windows(windows) if !windows.yields() => self.cover(leg, seat),
            Mapping::Identity | Mapping::Windows(_) => {
                let (here, there) =
                    (self.meaning(joined.near(way), seat), self.meaning(joined.far(way), range));
                let is_known = here.iter().all(|meaning| meaning.place.is_some());
                if here == there && !here.is_empty() && is_known {
                    return Ok(());
                }
                Err(Error::NotPassed { link, way, region: target, range })
            }
            Mapping::Closed | Mapping::Interleave(_) | Mapping::Table(_) => Ok(()),
        }
    }

    /// What each part of a range means to an arena.
    fn meaning(&self, arena: ArenaId, range: AddrRange) -> Vec<Meaning> {
        let mut out: Vec<Meaning> = Vec::new();
        for piece in self.state().reached(arena, range) {
            let (first, last) = (piece.seen.start() - range.start(), piece.seen.last() - range.start());
            let next = Meaning { first, last, place: piece.what.place() };
            match out.last_mut() {
                Some(so_far) if so_far.goes_on_as(&next) => so_far.last = last,
                _ => out.push(next),
            }
        }
        out
    }

    /// The parts of `range`, which a leg that yields takes, that mean to both arenas the same, or nothing yet.
    fn alike(&self, leg: WindowId, range: AddrRange) -> Vec<AddrRange> {
        let (Ok(joined), Some(offset)) = (self.link(leg.link), self.offset(leg)) else { return Vec::new() };
        let Some(beyond) = range.shifted(offset) else { return Vec::new() };
        let here = self.meaning(joined.near(leg.way), range);
        let there = self.meaning(joined.far(leg.way), beyond);
        let mut cuts: Vec<u64> = Vec::from([0]);
        for meaning in here.iter().chain(&there) {
            cuts.push(meaning.first);
            cuts.extend(meaning.last.checked_add(1));
        }
        cuts.sort_unstable();
        cuts.dedup();
        let span = range.last() - range.start();
        let at = |all: &[Meaning], cut: u64| {
            let after = all.partition_point(|meaning| meaning.first <= cut);
            let found = all.get(after.checked_sub(1)?).filter(|meaning| meaning.last >= cut)?;
            Some(found.place.map(|(arena, start)| (arena, start.wrapping_add(cut - found.first))))
        };
        let mut out: Vec<AddrRange> = Vec::new();
        for (i, first) in cuts.iter().enumerate().filter(|(_, first)| **first <= span) {
            let last = cuts.get(i + 1).map_or(span, |next| span.min(next - 1));
            let (here, there) = (at(&here, *first), at(&there, *first));
            let part = AddrRange::inclusive(range.start() + first, range.start() + last);
            if here != there || here == Some(None) {
                continue;
            }
            match (out.last_mut(), part) {
                (Some(last), Ok(part)) if last.end() == Some(part.start()) => *last = last.hull(part),
                (_, part) => out.extend(part),
            }
        }
        out
    }

    /// The parts of `range` at which a new alias through `leg` may lie, in order; of a table all that it translates.
    pub(super) fn open_to(&self, leg: WindowId, range: AddrRange) -> Vec<AddrRange> {
        let Ok(joined) = self.link(leg.link) else { return Vec::new() };
        let near = joined.near(leg.way);
        let Ok(arena) = self.arena(near) else { return Vec::new() };
        let undecoded = |range| {
            let parts = self.state().undecoded(near, range).into_iter();
            parts.flat_map(|part| self.alike(leg, part)).collect()
        };
        let parts = match &joined.direction(leg.way).mapping {
            Mapping::Closed => Vec::new(),
            Mapping::Identity => undecoded(range),
            Mapping::Windows(windows) => {
                let window = windows.pieces().get(leg.piece as usize);
                let Some((window, range)) = window.and_then(|w| Some((w, w.limit().intersect(range)?)))
                else {
                    return Vec::new();
                };
                if windows.yields() {
                    undecoded(range)
                } else {
                    self.room(leg, window).into_iter().filter_map(|part| part.intersect(range)).collect()
                }
            }
            Mapping::Interleave(share) => share.input().intersect(range).into_iter().collect(),
            Mapping::Table(table) => return table.parts_in(range).collect(),
        };
        let free = |part| without(part, arena.regions_in(part).map(|(at, _)| at));
        parts.into_iter().flat_map(free).collect()
    }

    /// Where a window is, or may come to be.
    fn room(&self, leg: WindowId, window: &Window) -> Vec<AddrRange> {
        let Ok(joined) = self.link(leg.link) else { return Vec::new() };
        let (arena, now) = (joined.near(leg.way), self.state().window(leg.link, leg.way, leg.piece));
        if window.is_fixed() {
            return now.into_iter().collect();
        }
        let outside = now.map_or([Some(window.limit()), None], |now| window.limit().minus(now));
        let mut blocked: Vec<AddrRange> = outside
            .into_iter()
            .flatten()
            .flat_map(|part| self.blockers(arena, part, window))
            .map(|part| part.rounded(window.granule()))
            .collect();
        blocked.sort_unstable_by_key(|part| part.start());
        let rooms = without(window.limit(), blocked.into_iter());
        rooms.into_iter().filter(|room| now.is_none_or(|now| room.covers(now))).collect()
    }

    /// Checks that a place is one that is asked for.
    pub(super) fn check_asked(&self, arena: ArenaId, at: AddrRange, spot: &Constraints) -> Result<(), Error> {
        let fit = spot.fit(at.len(), spot.place(at.len())?, 0)?;
        if fit.admits(at) { Ok(()) } else { Err(spot.no_space(arena, at.len(), 0)) }
    }

    /// Finds free input space of a table for an entry that leads to `range`: whole pages, so that no other alias has
    /// part of one. The alias itself, which need not fill them, is where the spot says; it keeps the address `before` where it
    /// can.
    pub(super) fn entry_seat(
        &self,
        leg: WindowId,
        range: AddrRange,
        entry: &Entry,
        wanted: Option<&Constraints>,
        before: Option<u64>,
    ) -> Result<AddrRange, Error> {
        let table = self.table(leg).ok_or(Error::NoLink(leg.link))?;
        let arena = self.link(leg.link)?.near(leg.way);
        let (page, len) = (table.page(), range.len());
        // Past another table it is seen nowhere in particular.
        let spot = wanted.filter(|_| entry.back.is_some()).copied().unwrap_or_default();
        let back = entry.back.unwrap_or_default();
        let asked = spot.place(len)?;
        let seen = asked.shifted(0u64.wrapping_sub(back)).unwrap_or(AddrRange::ALL);
        let pages = range.rounded(page);
        let within = range.start() - pages.start();
        let nothing = |largest| Error::NoSpace {
            arena,
            len: pages.len(),
            align: spot.align.max(page),
            window: asked.intersect(table.input()).unwrap_or(asked),
            largest,
        };
        // Pages start where pages do, and the alias, as seen, where the request says.
        let phase = within.wrapping_add(back);
        let fit = Fit::new(pages.len())?.policy(spot.policy);
        let fit = if spot.align > page { fit.align(spot.align)?.phase(phase) } else { fit.align(page)? };
        if phase & (spot.align.min(page) - 1) != 0 {
            return Err(nothing(0));
        }
        let space = self.arena(arena)?.space();
        let mut windows: Vec<AddrRange> =
            entry.windows.iter().flat_map(|window| table.parts_in(*window)).collect();
        if spot.policy == Policy::LastFit {
            windows.reverse();
        }
        let mut largest = 0;
        for window in windows.into_iter().filter_map(|window| window.intersect(seen)) {
            let Some(room) = pages_for(window, len, within, page) else { continue };
            let asked = spot.fit(len, window, back)?;
            let kept = before.and_then(|addr| AddrRange::sized(addr, len).ok());
            let kept = kept.filter(|kept| asked.admits(*kept) && kept.start() & (page - 1) == within);
            if let Some(kept) = kept
                && space.find(&fit.window(kept.rounded(page))).is_some()
            {
                return Ok(kept);
            }
            largest = largest.max(space.largest_gap(room).map_or(0, AddrRange::len));
            if let Some(found) = find_entry(space, &fit.window(room), within, &asked) {
                return Ok(found);
            }
        }
        // Where one place alone is asked for, whoever has it is told.
        let is_exact = spot.start.is_some() || spot.exactly.is_some();
        let exact = (is_exact && seen.start() & (page - 1) == within).then_some(seen.rounded(page));
        let holder = exact.and_then(|pages| self.arena(arena).ok()?.regions_in(pages).next());
        Err(match holder {
            Some((at, record)) => Error::Occupied { arena, range: seen, by: Holder::Region(record.id, at) },
            None => nothing(largest),
        })
    }

    /// Checks that nothing is taken in `range`.
    fn check_vacant(&self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        match self.arena(arena)?.regions_in(range).next() {
            Some((at, record)) => Err(Error::Occupied { arena, range, by: Holder::Region(record.id, at) }),
            None => Ok(()),
        }
    }

    /// Checks that nothing in the arena decodes `range`, so that a mapping that yields takes it.
    fn check_undecoded(&self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        self.check_vacant(arena, range)?;
        let here = self.arena(arena)?;
        let primed = here.spans_in(range).next().map(|(span, _)| Holder::Primed(span));
        let behind = || here.windows_in(range).next().map(|(r, legs)| Holder::Link(legs[0].link, r));
        primed.or_else(behind).map_or(Ok(()), |by| Err(Error::Occupied { arena, range, by }))
    }
}

/// Finds pages, and the place `within` them that is asked for: only a boundary can still be in its way.
fn find_entry(space: &Space<Kept>, fit: &Fit, within: u64, asked: &Fit) -> Option<AddrRange> {
    let mut fit = *fit;
    loop {
        let pages = space.find(&fit)?;
        let entry = AddrRange::sized(pages.start().checked_add(within)?, asked.len()).ok()?;
        if asked.admits(entry) {
            return Some(entry);
        }
        let boundary = asked.boundary_of()?;
        // The multiple that it crosses, in addresses here.
        let last = entry.last().wrapping_add(asked.phase_of());
        let multiple = entry.last().checked_sub(last & (boundary - 1))?;
        let window = fit.window_of();
        let rest = match fit.policy_of() {
            Policy::LastFit => AddrRange::inclusive(window.start(), multiple.checked_sub(1)?),
            _ => AddrRange::inclusive(
                multiple.checked_sub(within)?.max(pages.start().checked_add(1)?),
                window.last(),
            ),
        };
        fit = fit.window(rest.ok()?);
    }
}

/// The whole pages in which `len` bytes lie that start `within` a page and are inside `window`.
fn pages_for(window: AddrRange, len: u64, within: u64, page: u64) -> Option<AddrRange> {
    let low = window.start().saturating_sub(within).checked_next_multiple_of(page)?;
    let high = window.last().checked_sub(len - 1)?.checked_sub(within)? & !(page - 1);
    AddrRange::inclusive(low, high.checked_add((within + (len - 1)) | (page - 1))?).ok()
}

/// What of `whole` is in none of `parts`, which are in order of address.
fn without(whole: AddrRange, parts: impl Iterator<Item = AddrRange>) -> Vec<AddrRange> {
    let mut out = Vec::new();
    let mut rest = Some(whole);
    for part in parts {
        let Some(here) = rest else { break };
        if !part.overlaps(here) {
            continue;
        }
        let [below, above] = here.minus(part);
        out.extend(below);
        rest = above;
    }
    out.extend(rest);
    out
}
