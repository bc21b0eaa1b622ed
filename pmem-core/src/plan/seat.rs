//! Where an alias may lie, and what must open for it.

use super::{Constraints, Plan};
use crate::error::{Error, Holder};
use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::mapping::{Admits, Mapping, Table, Window};
use crate::model::{Kept, WindowId};
use alloc::vec::Vec;
use pmem_space::{AddrRange, Fit, Policy, Space};

/// Where a translation table's entry may lie, for a viewer that sees the table's input through other mappings.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Ranges of the table's input, in order of address.
    pub(super) windows: Vec<AddrRange>,
    /// Added to an input address, modulo 2^64, to give the address as the viewer sees it; `None` if another table
    /// lies between, which can put it anywhere.
    pub(super) back: Option<u64>,
}

/// What part of a range means to an arena.
#[derive(PartialEq, Eq)]
struct Meaning {
    /// The first byte of the part, as an offset into the range. `last` is the last byte, inclusive.
    first: u64,
    last: u64,
    /// Where the part leads; `None` if it is ambiguous or a loop.
    place: Option<(ArenaId, u64)>,
}

impl Meaning {
    /// Whether `next` directly follows this part, and leads to what follows this part's target.
    fn goes_on_as(&self, next: &Self) -> bool {
        let place = self.place.map(|(arena, at)| (arena, at.wrapping_add(next.first - self.first)));
        self.last.checked_add(1) == Some(next.first) && place.is_some() && place == next.place
    }
}

impl Plan<'_> {
    /// Returns the translation table that a leg goes through; `None` if its mapping is another kind.
    pub(super) fn table(&self, leg: WindowId) -> Option<&Table> {
        match self.link(leg.link).map(|link| &link.direction(leg.way).mapping) {
            Ok(Mapping::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// Returns the offset that a leg adds to an address; `None` if it has no single offset: a table, a closed
    /// direction, or a share of an interleave over several targets.
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

    /// Returns the addresses that a leg translates into `range`, whether or not they are free; `None` if the leg has
    /// no single offset.
    pub(super) fn before_leg(&self, leg: WindowId, range: AddrRange) -> Option<AddrRange> {
        range.shifted(0u64.wrapping_sub(self.offset(leg)?))
    }

    /// Returns the legs of a direction that may lead to `range`. Those that carry only prefetchable regions come
    /// first.
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

    /// Checks that an alias of `target` may lie at `seat` through `leg`, which must not be a table.
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

    /// Makes room for an alias of `target`, which lies at `range`, at `seat` through `leg`, opening a window if
    /// needed. Through a mapping that yields, the addresses must lead to the target and nowhere else.
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

    /// Returns what each part of a range means to an arena. Ranges that nothing decodes are left out.
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

    /// Returns the parts of `range` that mean the same to both ends of a leg that yields, or nothing to either.
    fn alike(&self, leg: WindowId, range: AddrRange) -> Vec<AddrRange> {
        let (Ok(joined), Some(offset)) = (self.link(leg.link), self.offset(leg)) else { return Vec::new() };
        let Some(beyond) = range.shifted(offset) else { return Vec::new() };
        let here = self.meaning(joined.near(leg.way), range);
        let there = self.meaning(joined.far(leg.way), beyond);
        let mut cuts: Vec<u64> = Vec::from([0]);
        // Between two cuts the meaning is uniform on both sides, so one comparison per stretch is enough.
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

    /// Returns the parts of `range` at which a new alias through `leg` may lie, in order of address. For a table
    /// these are all parts that it translates.
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

    /// Returns where a window is, or could grow to.
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

    /// Checks that a place meets the constraints.
    pub(super) fn check_asked(&self, arena: ArenaId, at: AddrRange, spot: &Constraints) -> Result<(), Error> {
        let fit = spot.fit(at.len(), spot.place(at.len())?, 0)?;
        if fit.admits(at) { Ok(()) } else { Err(spot.no_space(arena, at.len(), 0)) }
    }

    /// Finds free input space of a table for an entry that leads to `range`. The entry takes whole pages, so that no
    /// other alias shares one with it. The alias, which need not fill them, lies where `wanted` asks, and keeps the
    /// address `before` if possible.
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
        // Past another table the viewer's addresses are not determined by ours, so its constraints do not apply here.
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
        // Pages are page-aligned in the input; the alias within them is aligned as the viewer sees it.
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
            // Prefer the old address, if its pages are free and it is as far into a page as the target.
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
        // If only one place was acceptable, name what occupies it.
        let is_exact = spot.start.is_some() || spot.exactly.is_some();
        let exact = (is_exact && seen.start() & (page - 1) == within).then_some(seen.rounded(page));
        let holder = exact.and_then(|pages| self.arena(arena).ok()?.regions_in(pages).next());
        Err(match holder {
            Some((at, record)) => Error::Occupied { arena, range: seen, by: Holder::Region(record.id, at) },
            None => nothing(largest),
        })
    }

    /// Checks that no region is in `range`.
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

/// Finds free pages such that the entry `within` them meets `asked`. Pages already satisfy everything but a boundary.
fn find_entry(space: &Space<Kept>, fit: &Fit, within: u64, asked: &Fit) -> Option<AddrRange> {
    let mut fit = *fit;
    loop {
        let pages = space.find(&fit)?;
        let entry = AddrRange::sized(pages.start().checked_add(within)?, asked.len()).ok()?;
        if asked.admits(entry) {
            return Some(entry);
        }
        let boundary = asked.boundary_of()?;
        // Skip past the multiple of the boundary that this place crosses, and search on from there.
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

/// Returns the whole pages inside which `len` bytes, starting `within` bytes into a page, can lie in `window`.
fn pages_for(window: AddrRange, len: u64, within: u64, page: u64) -> Option<AddrRange> {
    let low = window.start().saturating_sub(within).checked_next_multiple_of(page)?;
    let high = window.last().checked_sub(len - 1)?.checked_sub(within)? & !(page - 1);
    AddrRange::inclusive(low, high.checked_add((within + (len - 1)) | (page - 1))?).ok()
}

/// Returns the parts of `whole` that are in none of `parts`, which must be in order of address.
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
