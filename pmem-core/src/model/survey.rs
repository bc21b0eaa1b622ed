//! The search over ranges: what an arena sees. Expands each range of each arena once, cheapest first.

use super::arena::{Arena, PrimedSpan};
use super::exits::{Crossed, Exit, Follow};
use super::overlay::overlay;
use super::piece::{ViewPiece, ViewTarget};
use super::record::WindowId;
use super::state::State;
use super::walk::PASSES;
use crate::id::ArenaId;
use crate::metric::Metric;
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;
use pmem_space::{AddrRange, Occupant, Prot};
use rangemap::RangeInclusiveSet;

/// A range of an arena that a path leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// The arena.
    pub(crate) arena: ArenaId,
    /// Added to an address there, modulo 2^64, to give the address as the viewer sees it.
    pub(crate) back: u64,
    /// The addresses in that arena.
    pub(crate) range: AddrRange,
    cost: Metric,
    hops: u32,
    /// The accesses let through along the path.
    pub(crate) prot: Prot,
    /// The look it was reached from, and the leg crossed.
    by: Option<(u32, WindowId)>,
    /// Whether a claiming mapping led here, so that nothing else may take the addresses.
    claimed: bool,
}

/// A cost, then the number of hops, then the oldest interconnect.
type Price = (Metric, u32, Option<WindowId>);

impl Look {
    /// Returns the addresses as the viewer sees them; `None` if they would wrap.
    pub(crate) fn seen(&self) -> Option<AddrRange> {
        self.range.shifted(self.back)
    }

    fn price(&self) -> Price {
        (self.cost, self.hops, self.by.map(|(_, leg)| leg))
    }
}

/// An entry of the queue: the price, the arena (oldest first), the first address as seen, and the look's index.
type Open = (Price, ArenaId, u64, u32);

/// A survey in progress.
pub(super) struct Survey<'s> {
    state: &'s State,
    follow: Follow,
    looks: Vec<Look>,
    open: BinaryHeap<Reverse<Open>>,
    /// By arena and offset: the addresses already expanded, and the cheapest look in the queue.
    known: BTreeMap<(ArenaId, u64), Known>,
    found: Vec<ViewPiece>,
    /// Ranges already expanded that a claiming mapping led to again. They may lie on a loop.
    again: Vec<Look>,
    /// Whether a path was cut off because it passed an arena too often.
    endless: bool,
}

#[derive(Default)]
struct Known {
    seen: RangeInclusiveSet<u64>,
    open: Option<(Price, AddrRange)>,
}

impl State {
    /// Returns what `viewer` sees in `window`, as pieces in order of address, and the looks that were expanded for
    /// it.
    pub(super) fn survey(
        &self,
        viewer: ArenaId,
        window: AddrRange,
        follow: Follow,
    ) -> (Vec<ViewPiece>, Vec<Look>) {
        let mut survey = Survey::new(self, follow);
        survey.start(viewer, window, 0);
        let mut done = Vec::new();
        while let Some(Reverse((.., index))) = survey.open.pop() {
            survey.expand(index, &mut done);
        }
        survey.find_circles();
        (overlay(survey.found), done)
    }

    /// Returns everything reached from any of these ranges, at the addresses that each range's offset gives; `None`
    /// if a path goes on for ever.
    pub(super) fn survey_from(
        &self,
        starts: impl Iterator<Item = (ArenaId, AddrRange, u64)>,
        follow: Follow,
    ) -> Option<Vec<ViewPiece>> {
        let mut survey = Survey::new(self, follow);
        starts.for_each(|(arena, range, back)| survey.start(arena, range, back));
        let mut done = Vec::new();
        while let Some(Reverse((.., index))) = survey.open.pop() {
            survey.expand(index, &mut done);
            if survey.endless {
                return None;
            }
        }
        survey.find_circles();
        Some(survey.found)
    }
}

impl<'s> Survey<'s> {
    fn new(state: &'s State, follow: Follow) -> Self {
        Self {
            state,
            follow,
            looks: Vec::new(),
            open: BinaryHeap::new(),
            known: BTreeMap::new(),
            found: Vec::new(),
            again: Vec::new(),
            endless: false,
        }
    }

    /// Queues a range to start from.
    fn start(&mut self, arena: ArenaId, range: AddrRange, back: u64) {
        let (cost, hops, prot) = (Metric::ZERO, 0, Prot::RWX);
        self.add(Look { arena, back, range, cost, hops, prot, by: None, claimed: false });
    }

    fn look(&self, index: u32) -> Option<&Look> {
        self.looks.get(index as usize)
    }

    /// Queues a look, unless its addresses have been expanded or a look that is no dearer covers them.
    fn add(&mut self, look: Look) {
        let Some(seen) = look.seen() else { return };
        // The offset is part of the key: addresses reached with another offset are seen at another place.
        let known = self.known.entry((look.arena, look.back)).or_default();
        if known.seen.gaps(&(look.range.start()..=look.range.last())).next().is_none() {
            self.again.extend(look.claimed.then_some(look));
            return;
        }
        if known.open.is_some_and(|(price, range)| price <= look.price() && range.covers(look.range)) {
            return;
        }
        if known.open.is_none_or(|(price, _)| look.price() < price) {
            known.open = Some((look.price(), look.range));
        }
        let index = self.looks.len() as u32;
        self.open.push(Reverse((look.price(), look.arena, seen.start(), index)));
        self.looks.push(look);
    }

    /// Expands the parts of a look's range that no earlier look has expanded.
    fn expand(&mut self, index: u32, done: &mut Vec<Look>) {
        let Some(look) = self.look(index).copied() else { return };
        let Some(arena) = self.state.arena(look.arena) else { return };
        let Some(known) = self.known.get_mut(&(look.arena, look.back)) else { return };
        if known.open == Some((look.price(), look.range)) {
            known.open = None;
        }
        let range = look.range.start()..=look.range.last();
        let part = |r: &core::ops::RangeInclusive<u64>| {
            AddrRange::inclusive(*r.start(), *r.end()).ok()?.intersect(look.range)
        };
        let been: Vec<AddrRange> = known.seen.overlapping(&range).filter_map(part).collect();
        let fresh: Vec<AddrRange> = known.seen.gaps(&range).filter_map(|gap| part(&gap)).collect();
        // The queue is ordered by price, so what was expanded before was reached at no greater cost.
        known.seen.insert(range);
        if look.claimed {
            self.again.extend(been.into_iter().map(|range| Look { range, ..look }));
        }
        if self.goes_on_for_ever(index) {
            self.endless = true;
            return;
        }
        for range in fresh {
            let look = Look { range, ..look };
            done.push(look);
            let mut exits = Vec::new();
            self.state.exits(arena, range, self.follow, &mut |part, exit| exits.push((part, exit)));
            for (part, exit) in exits {
                match exit {
                    Exit::Own(span) => own(arena, span, &Look { range: part, ..look }, &mut self.found),
                    Exit::Hop(crossed) => self.cross(index, look, part, crossed),
                    Exit::Table(leg) => self.leave(look, part, |arena, start| ViewTarget::Table {
                        link: leg.link,
                        arena,
                        start,
                    }),
                    Exit::Interleave(legs) => self.leave(look, part, |arena, start| ViewTarget::Interleave {
                        links: legs.iter().map(|leg| leg.link).collect(),
                        arena,
                        start,
                    }),
                }
            }
        }
    }

    fn cross(&mut self, from: u32, look: Look, part: AddrRange, crossed: Crossed) {
        let Crossed { leg, offset, prot, claimed } = crossed;
        let (Some(link), Some(range)) = (self.state.link(leg.link), part.shifted(offset)) else { return };
        self.add(Look {
            arena: link.far(leg.way),
            back: look.back.wrapping_sub(offset),
            range,
            cost: look.cost + link.direction(leg.way).metric,
            hops: look.hops + 1,
            prot: look.prot & prot,
            by: Some((from, leg)),
            claimed,
        });
    }

    /// Reports a range as a table or interleave, without following it.
    fn leave(&mut self, look: Look, part: AddrRange, what: impl FnOnce(ArenaId, u64) -> ViewTarget) {
        self.found.extend(piece(&Look { range: part, ..look }, what(look.arena, part.start())));
    }

    /// Whether the path to a look has passed the look's arena too often. Reports a loop if every hop of the last
    /// round claims.
    fn goes_on_for_ever(&mut self, index: u32) -> bool {
        let Some(here) = self.look(index).copied() else { return false };
        // Checked once every `PASSES` hops only: walking back over the path costs as much as it is long.
        let is_due = here.hops as usize >= PASSES && (here.hops as usize).is_multiple_of(PASSES);
        if !is_due || self.back(index).filter(|look| look.arena == here.arena).count() < PASSES {
            return false;
        }
        let again = self.back(index).skip(1).position(|look| look.arena == here.arena);
        let round = self.back(index).take(again.map_or(0, |again| again + 1));
        if round.into_iter().all(|look| look.claimed) {
            self.found.extend(piece(&here, ViewTarget::Loop));
        }
        true
    }

    /// Iterates over a look and the looks on the path to it, last first.
    fn back(&self, index: u32) -> impl Iterator<Item = &Look> {
        let before = |look: &&Look| look.by.and_then(|(from, _)| self.look(from));
        core::iter::successors(self.look(index), before)
    }

    /// Reports loops: of the ranges that a claiming mapping led back to, those on a cycle of claiming mappings.
    fn find_circles(&mut self) {
        for look in core::mem::take(&mut self.again) {
            for range in self.circling(&look) {
                self.found.extend(piece(&Look { range, ..look }, ViewTarget::Loop));
            }
        }
    }

    /// Returns the parts of a look's range that a cycle of claiming mappings leads back to themselves.
    fn circling(&self, look: &Look) -> Vec<AddrRange> {
        let mut out = Vec::new();
        // Depth-first over paths of claiming hops. A path that is back in the arena with a total shift of 0 has
        // closed: it is at the very same addresses.
        let mut open = Vec::from([Vec::from([(look.arena, 0u64, look.range)])]);
        while let Some(path) = open.pop() {
            let Some((id, shift, range)) = path.last().copied() else { continue };
            let Some(arena) = self.state.arena(id) else { continue };
            self.state.exits(arena, range, self.follow, &mut |part, exit| {
                let Exit::Hop(Crossed { leg, offset, claimed: true, .. }) = exit else { return };
                let (Some(far), Some(there)) = (self.state.beyond(leg), part.shifted(offset)) else { return };
                let shift = shift.wrapping_add(offset);
                if (far, shift) == (look.arena, 0) {
                    out.push(there);
                    return;
                }
                // Back at a place that the path has already passed, or past the limit: nothing new.
                let same = path.iter().any(|(arena, other, _)| (*arena, *other) == (far, shift));
                let passes = path.iter().filter(|(arena, ..)| *arena == far).count();
                if !same && passes < PASSES {
                    let mut path = path.clone();
                    path.push((far, shift, there));
                    open.push(path);
                }
            });
        }
        out
    }
}

fn piece(look: &Look, what: ViewTarget) -> Option<ViewPiece> {
    Some(ViewPiece { seen: look.seen()?, what, cost: look.cost, hops: look.hops })
}

/// Reports the part of a look's range in one span of the arena's own: its regions and its free space.
fn own(arena: &Arena, span: PrimedSpan, look: &Look, out: &mut Vec<ViewPiece>) {
    for entry in arena.space().entries_in(look.range) {
        let Some(here) = entry.range.intersect(look.range) else { continue };
        let (region, attrs) = match entry.occupant {
            Occupant::Taken(kept) => (Some(kept.id), kept.attrs),
            _ => (None, span.attrs),
        };
        let attrs = attrs.with_prot(attrs.prot() & look.prot);
        let what =
            ViewTarget::Local { arena: look.arena, start: here.start(), region, attrs, state: span.state };
        out.extend(piece(&Look { range: here, ..*look }, what));
    }
}
