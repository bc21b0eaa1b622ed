//! The search over ranges: what an arena sees, each range of each arena once, cheapest first.

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

/// A range of an arena that a way leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// The arena.
    pub(crate) arena: ArenaId,
    /// Added to an address there, modulo 2^64, to give the address as seen.
    pub(crate) back: u64,
    /// Addresses there.
    pub(crate) range: AddrRange,
    cost: Metric,
    hops: u32,
    /// What is let through on the way.
    pub(crate) prot: Prot,
    /// From which look it was reached, and by which leg.
    by: Option<(u32, WindowId)>,
    /// Whether nothing else may take the addresses that led here.
    claimed: bool,
}

/// A cost, then the hops, then the oldest interconnect.
type Price = (Metric, u32, Option<WindowId>);

impl Look {
    /// The addresses as seen.
    pub(crate) fn seen(&self) -> Option<AddrRange> {
        self.range.shifted(self.back)
    }

    fn price(&self) -> Price {
        (self.cost, self.hops, self.by.map(|(_, leg)| leg))
    }
}

/// An open look: by price, then the arena's age, then the address as seen.
type Open = (Price, ArenaId, u64, u32);

/// What is seen, in the making.
pub(super) struct Survey<'s> {
    state: &'s State,
    follow: Follow,
    looks: Vec<Look>,
    open: BinaryHeap<Reverse<Open>>,
    /// By arena and what is added there: what has been looked at, and the cheapest look that is open.
    known: BTreeMap<(ArenaId, u64), Known>,
    found: Vec<ViewPiece>,
    /// Ranges that a claimed way came back to.
    again: Vec<Look>,
    /// Whether a way was left for having passed its arena too often.
    endless: bool,
}

#[derive(Default)]
struct Known {
    seen: RangeInclusiveSet<u64>,
    open: Option<(Price, AddrRange)>,
}

impl State {
    /// What `viewer` sees in `window`: pieces in order of address, and the looks that it took.
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

    /// All that is found from any of these ranges, as seen from where `back` leads; `None` if a way goes on for ever.
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

    /// Has a range looked at from the start on.
    fn start(&mut self, arena: ArenaId, range: AddrRange, back: u64) {
        let (cost, hops, prot) = (Metric::ZERO, 0, Prot::RWX);
        self.add(Look { arena, back, range, cost, hops, prot, by: None, claimed: false });
    }

    fn look(&self, index: u32) -> Option<&Look> {
        self.looks.get(index as usize)
    }

    /// Takes note of a range to be looked at, unless it has been, or will be for no more.
    fn add(&mut self, look: Look) {
        let Some(seen) = look.seen() else { return };
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

    /// Looks at what of a range has not been looked at.
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

    /// Names a range that is not followed.
    fn leave(&mut self, look: Look, part: AddrRange, what: impl FnOnce(ArenaId, u64) -> ViewTarget) {
        self.found.extend(piece(&Look { range: part, ..look }, what(look.arena, part.start())));
    }

    /// Whether the way to a look has passed its arena too often. If each of the last round claims, that is a circle.
    fn goes_on_for_ever(&mut self, index: u32) -> bool {
        let Some(here) = self.look(index).copied() else { return false };
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

    /// A look, and those on the way to it, the last first.
    fn back(&self, index: u32) -> impl Iterator<Item = &Look> {
        let before = |look: &&Look| look.by.and_then(|(from, _)| self.look(from));
        core::iter::successors(self.look(index), before)
    }

    /// Of what a claimed way came back to: what is on a circle of claimed ways.
    fn find_circles(&mut self) {
        for look in core::mem::take(&mut self.again) {
            for range in self.circling(&look) {
                self.found.extend(piece(&Look { range, ..look }, ViewTarget::Loop));
            }
        }
    }

    /// The parts of a look's range that claimed ways lead back to themselves.
    fn circling(&self, look: &Look) -> Vec<AddrRange> {
        let mut out = Vec::new();
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

/// What of a look's range, in one span, is the arena's own: regions, and what is free.
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
