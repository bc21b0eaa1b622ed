//! What one arena sees, by ranges.

use super::arena::{Arena, SpanState};
use super::record::{Leg, Record};
use super::state::State;
use crate::attrs::{Attrs, Prot};
use crate::id::{ArenaId, LinkId, RegionId};
use crate::mapping::Mapping;
use crate::metric::Metric;
use alloc::vec::Vec;
use pmem_space::{AddrRange, Occupant};

/// Interconnects that a view looks through.
const HOP_BUDGET: u32 = 256;
/// Looks after which nothing is looked through again for a lower cost: in a mesh there may be exponentially many paths.
const COST_PATIENCE: usize = 1 << 12;
/// Looks in one view: past it, what is left counts as passed on for ever.
const LOOK_BUDGET: usize = 1 << 13;

/// A range of a view, alike all through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The addresses, as seen.
    pub seen: AddrRange,
    /// What they are.
    pub what: What,
    /// What it costs to get there.
    pub cost: Metric,
    /// The interconnects crossed.
    pub hops: u32,
}

/// What a range of a view is. What nothing decodes is no piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An arena's own addresses.
    Local {
        /// The arena.
        arena: ArenaId,
        /// The first address there.
        start: u64,
        /// The region there; `None` for primed space that is free.
        region: Option<RegionId>,
        /// Attributes, as seen: `prot` narrowed by what the interconnects on the way let through.
        attrs: Attrs,
        /// Whether more of it may be handed out.
        state: SpanState,
    },
    /// A table's input; its entries are the aliases there.
    Table {
        /// The interconnect.
        link: LinkId,
        /// The arena whose addresses are translated.
        arena: ArenaId,
        /// The first address there.
        start: u64,
    },
    /// An interleaved range; its chunks go round these interconnects, by position.
    Interleave {
        /// The interconnects.
        links: Vec<LinkId>,
        /// The arena in which the range lies.
        arena: ArenaId,
        /// The first address there.
        start: u64,
    },
    /// More than one place accepts it.
    Ambiguous(Vec<ArenaId>),
    /// It is passed round in a circle, or on for ever.
    Loop,
}

impl What {
    /// The same, with no more let through than `prot`.
    pub(super) fn narrowed(mut self, prot: Prot) -> Self {
        if let Self::Local { attrs, .. } = &mut self {
            *attrs = attrs.with_prot(attrs.prot() & prot);
        }
        self
    }

    /// The same, `by` bytes further on.
    fn advanced(&self, by: u64) -> Self {
        let mut what = self.clone();
        match &mut what {
            Self::Local { start, .. } | Self::Table { start, .. } | Self::Interleave { start, .. } => {
                *start = start.wrapping_add(by);
            }
            Self::Ambiguous(_) | Self::Loop => {}
        }
        what
    }
}

impl Piece {
    /// The part of it inside `range`.
    pub fn cut(&self, range: AddrRange) -> Option<Self> {
        let seen = self.seen.intersect(range)?;
        let what = self.what.advanced(seen.start() - self.seen.start());
        Some(Self { seen, what, ..*self })
    }
}

/// A span of one arena that a viewer sees, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// The arena.
    pub(crate) arena: ArenaId,
    /// Addresses of its own.
    range: AddrRange,
    /// Added to an address there, modulo 2^64, to give the address as seen.
    back: u64,
    /// What the interconnects on the way let through.
    prot: Prot,
}

impl Sight {
    /// The part of it in `range`, as seen.
    pub(crate) fn seen(&self, range: AddrRange) -> Option<AddrRange> {
        self.range.intersect(range)?.shifted(self.back)
    }
}

/// Where a view has got to.
#[derive(Clone, Copy)]
struct At {
    arena: ArenaId,
    /// Added to an address here, modulo 2^64, to give the address as seen.
    back: u64,
    /// Whether it was handed on between arenas that may hand it back.
    mutual: bool,
    cost: Metric,
    prot: Prot,
    hops: u32,
}

impl At {
    /// The arena that looks.
    fn start(arena: ArenaId) -> Self {
        Self { arena, back: 0, mutual: false, cost: Metric::ZERO, prot: Prot::RWX, hops: 0 }
    }
}

struct Viewer<'s> {
    state: &'s State,
    /// The ranges being looked through, outermost first.
    stack: Vec<(At, AddrRange)>,
    /// What has been looked through: looked at again at no lower cost, it has no news for the view as a whole.
    known: Vec<(At, AddrRange)>,
    /// The arenas' own spans that have been looked at.
    sights: Vec<Sight>,
}

impl State {
    /// The sights of which all that `viewer` sees is made up; none if something is seen twice, or through a table, or if
    /// addresses go round in a circle.
    pub(crate) fn sights(&self, viewer: ArenaId) -> Option<Vec<Sight>> {
        let mut looking = Viewer::of(self);
        let pieces = looking.look(At::start(viewer), AddrRange::ALL);
        let plain = |piece: &Piece| matches!(piece.what, What::Local { .. } | What::Interleave { .. });
        let all = looking.sights.iter().filter_map(|sight| sight.seen(AddrRange::ALL));
        let mut seen: Vec<AddrRange> = all.collect();
        seen.sort_unstable_by_key(|range| range.start());
        let twice = seen.windows(2).any(|pair| pair[0].overlaps(pair[1]));
        (pieces.iter().all(plain) && !twice).then_some(looking.sights)
    }

    /// What a sight shows of `range`: addresses as seen, attributes as seen, and whether a region is there.
    pub(crate) fn in_sight(
        &self,
        sight: &Sight,
        range: AddrRange,
    ) -> impl Iterator<Item = (AddrRange, Attrs, bool)> {
        let at = At { back: sight.back, prot: sight.prot, ..At::start(sight.arena) };
        let part = sight.range.intersect(range).zip(self.arena(sight.arena));
        let pieces = part.map(|(part, arena)| own(arena, at, part)).unwrap_or_default();
        pieces.into_iter().filter_map(|piece| match piece.what {
            What::Local { attrs, region, .. } => Some((piece.seen, attrs, region.is_some())),
            _ => None,
        })
    }

    /// What `arena` sees, in order of address.
    pub fn view(&self, arena: ArenaId) -> Vec<Piece> {
        self.view_in(arena, AddrRange::ALL)
    }

    /// What `arena` sees inside `window`, cut to it, in order of address.
    pub fn view_in(&self, arena: ArenaId, window: AddrRange) -> Vec<Piece> {
        let mut pieces = Viewer::of(self).look(At::start(arena), window);
        pieces.sort_by_key(|piece| piece.seen.start());
        pieces
    }
}

impl<'s> Viewer<'s> {
    fn of(state: &'s State) -> Self {
        Self { state, stack: Vec::new(), known: Vec::new(), sights: Vec::new() }
    }

    /// What `range` (addresses of `at.arena`) is. Pieces are disjoint, in no order.
    fn look(&mut self, at: At, range: AddrRange) -> Vec<Piece> {
        let Some(arena) = self.state.arena(at.arena) else { return Vec::new() };
        if at.hops > HOP_BUDGET || self.known.len() >= LOOK_BUDGET {
            return Vec::from_iter(piece(at, range, What::Loop));
        }
        let known = |(been, whole): &(At, AddrRange)| {
            (been.arena, been.back) == (at.arena, at.back)
                && (been.cost <= at.cost || self.known.len() >= COST_PATIENCE)
                && whole.covers(range)
        };
        if self.known.iter().any(known) {
            return Vec::new();
        }
        let circle = self.stack.iter().enumerate().find_map(|(i, (outer, been))| {
            let again = (outer.arena, outer.back) == (at.arena, at.back);
            Some((i, been.intersect(range).filter(|_| again)?))
        });
        if let Some((first, circle)) = circle {
            // Whoever takes what is only handed on has been asked already: that circle is no answer.
            let mutual = at.mutual || self.stack[first + 1..].iter().any(|(at, _)| at.mutual);
            let mut out = Vec::from_iter(piece(at, circle, What::Loop).filter(|_| !mutual));
            for rest in range.minus(circle).into_iter().flatten() {
                out.extend(self.look(at, rest));
            }
            return out;
        }
        self.stack.push((at, range));
        let spans = arena.spans_in(range).filter(|(_, span)| span.state != SpanState::Lent);
        let sight = |(range, _)| Sight { arena: at.arena, range, back: at.back, prot: at.prot };
        self.sights.extend(spans.map(sight));
        let mut out = own(arena, at, range);
        for (part, legs) in arena.windows_in(range) {
            out.extend(self.through(at, part, legs));
        }
        for rest in undecoded(arena, range) {
            out.extend(self.fall_back(at, rest, arena.fallbacks()));
        }
        self.known.extend(self.stack.pop());
        out
    }

    /// What lies behind claimed addresses.
    fn through(&mut self, at: At, part: AddrRange, legs: &[Leg]) -> Vec<Piece> {
        let Some(leg) = legs.first() else { return Vec::new() };
        let Some(link) = self.state.link(leg.link) else { return Vec::new() };
        match &link.direction(leg.way).mapping {
            Mapping::Windows(windows) => match windows.pieces().get(usize::from(leg.piece)) {
                Some(window) => self.cross(at, *leg, part, window.offset_of()),
                None => Vec::new(),
            },
            Mapping::Interleave(share) if share.ways() == 1 => {
                let offset = share.output().start().wrapping_sub(share.input().start());
                self.cross(at, *leg, part, offset)
            }
            Mapping::Interleave(_) => {
                let links = legs.iter().map(|leg| leg.link).collect();
                Vec::from_iter(piece(
                    at,
                    part,
                    What::Interleave { links, arena: at.arena, start: part.start() },
                ))
            }
            Mapping::Table(_) => {
                let what = What::Table { link: leg.link, arena: at.arena, start: part.start() };
                Vec::from_iter(piece(at, part, what))
            }
            Mapping::Closed | Mapping::Identity => Vec::new(),
        }
    }

    /// What undecoded addresses are handed on to.
    fn fall_back(&mut self, at: At, rest: AddrRange, legs: &[Leg]) -> Vec<Piece> {
        let mut all = Vec::new();
        for leg in legs {
            let Some(link) = self.state.link(leg.link) else { continue };
            match &link.direction(leg.way).mapping {
                Mapping::Identity => all.push(self.cross(at, *leg, rest, 0)),
                mapping => {
                    let mut taken = Vec::new();
                    for (window, piece) in mapping.pieces().iter().zip(0..) {
                        let Some(part) = window.limit_of().intersect(rest) else { continue };
                        taken.extend(self.cross(at, Leg { piece, ..*leg }, part, window.offset_of()));
                    }
                    all.push(taken);
                }
            }
        }
        if all.len() == 1 { all.pop().unwrap_or_default() } else { merge(&all) }
    }

    /// What `part` is beyond a leg; aliases that narrow what may be done with it apart.
    fn cross(&mut self, at: At, leg: Leg, part: AddrRange, offset: u64) -> Vec<Piece> {
        let Some(link) = self.state.link(leg.link) else { return Vec::new() };
        let next = At {
            arena: link.far(leg.way),
            back: at.back.wrapping_sub(offset),
            mutual: link.is_mutual(leg.way),
            cost: at.cost + link.direction(leg.way).metric,
            prot: at.prot & self.state.leg_prot(leg),
            hops: at.hops + 1,
        };
        let mut out = Vec::new();
        let mut rest = Some(part);
        for (range, prot) in narrowing(self.state, at.arena, part, leg) {
            let (Some(bare), Some(here)) = (rest, range.intersect(part)) else { break };
            let [below, above] = bare.minus(here);
            out.extend(below.and_then(|below| below.shifted(offset)).map(|below| self.look(next, below)));
            let narrowed = At { prot: next.prot & prot, ..next };
            out.extend(here.shifted(offset).map(|here| self.look(narrowed, here)));
            rest = above;
        }
        out.extend(rest.and_then(|rest| rest.shifted(offset)).map(|rest| self.look(next, rest)));
        out.concat()
    }
}

fn piece(at: At, range: AddrRange, what: What) -> Option<Piece> {
    Some(Piece { seen: range.shifted(at.back)?, what, cost: at.cost, hops: at.hops })
}

/// What of `range` is the arena's own.
fn own(arena: &Arena, at: At, range: AddrRange) -> Vec<Piece> {
    let mut out = Vec::new();
    for (part, span) in arena.spans_in(range).filter(|(_, span)| span.state != SpanState::Lent) {
        for entry in arena.space().entries_in(part) {
            let Some(here) = entry.range.intersect(part) else { continue };
            let (region, attrs) = match entry.occupant {
                Occupant::Taken(kept) => (Some(kept.id), kept.attrs),
                _ => (None, span.attrs),
            };
            let attrs = attrs.with_prot(attrs.prot() & at.prot);
            let what = What::Local { arena: at.arena, start: here.start(), region, attrs, state: span.state };
            out.extend(piece(at, here, what));
        }
    }
    out
}

/// The aliases through a leg that let through less than it does, in order of address.
fn narrowing(state: &State, arena: ArenaId, range: AddrRange, leg: Leg) -> Vec<(AddrRange, Prot)> {
    let through = |record: &Record| {
        record.attrs.prot() != Prot::RWX
            && record.alias().is_some_and(|a| (a.link, a.way) == (leg.link, leg.way))
    };
    let aliases = state.arena(arena).into_iter().flat_map(|here| here.regions_in(range));
    aliases.filter(|(_, record)| through(record)).map(|(at, record)| (at, record.attrs.prot())).collect()
}

/// What of `range` is neither the arena's own nor claimed.
fn undecoded(arena: &Arena, range: AddrRange) -> Vec<AddrRange> {
    let mut decoded: Vec<AddrRange> = arena
        .spans_in(range)
        .filter(|(_, span)| span.state != SpanState::Lent)
        .map(|(part, _)| part)
        .chain(arena.windows_in(range).map(|(part, _)| part))
        .collect();
    decoded.sort_unstable_by_key(|part| part.start());
    let mut out = Vec::new();
    let mut rest = Some(range);
    for part in decoded {
        let Some(here) = rest else { break };
        let [below, above] = here.minus(part);
        out.extend(below);
        rest = above;
    }
    out.extend(rest);
    out
}

/// Lays several views of the same addresses over one another.
fn merge(all: &[Vec<Piece>]) -> Vec<Piece> {
    let mut cuts: Vec<u64> = Vec::new();
    for piece in all.iter().flatten() {
        cuts.push(piece.seen.start());
        cuts.extend(piece.seen.end());
    }
    cuts.sort_unstable();
    cuts.dedup();
    let mut out = Vec::new();
    for (i, start) in cuts.iter().enumerate() {
        let last = cuts.get(i + 1).map_or(u64::MAX, |next| next - 1);
        let Ok(range) = AddrRange::inclusive(*start, last) else { continue };
        let mut here: Vec<Piece> = all.iter().flatten().filter_map(|piece| piece.cut(range)).collect();
        here.sort_by_key(|piece| piece.cost);
        here.dedup_by(|a, b| same_place(&a.what, &b.what));
        match &mut here[..] {
            [] => {}
            [_] => out.append(&mut here),
            [first, ..] => {
                let cost = first.cost;
                let hops = first.hops;
                out.push(Piece { seen: range, what: ambiguous(&here), cost, hops });
            }
        }
    }
    out
}

fn ambiguous(pieces: &[Piece]) -> What {
    if pieces.iter().any(|piece| piece.what == What::Loop) {
        return What::Loop;
    }
    let mut arenas: Vec<ArenaId> = pieces
        .iter()
        .flat_map(|piece| match &piece.what {
            What::Local { arena, .. } | What::Table { arena, .. } | What::Interleave { arena, .. } => {
                core::slice::from_ref(arena)
            }
            What::Ambiguous(arenas) => &arenas[..],
            What::Loop => &[],
        })
        .copied()
        .collect();
    arenas.sort_unstable();
    What::Ambiguous(arenas)
}

fn same_place(a: &What, b: &What) -> bool {
    match (a, b) {
        (What::Local { arena: a, start: s, .. }, What::Local { arena: b, start: t, .. }) => (a, s) == (b, t),
        _ => a == b,
    }
}
