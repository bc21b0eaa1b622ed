//! Where the addresses of an arena lead. One step of every search over ranges.

use super::arena::{Arena, PrimedSpan, SpanState};
use super::record::{RegionRecord, WindowId};
use super::state::State;
use crate::id::ArenaId;
use crate::mapping::{Interleave, Mapping};
use alloc::vec::Vec;
use pmem_space::{AddrRange, Prot};

/// What a search follows. What it does not follow is reported as a table or an interleave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Follow {
    /// Whether to follow the entries of translation tables.
    pub(super) tables: bool,
    /// Whether to follow the chunks of interleaved ranges. Only for small ranges: every chunk is a hop of its own.
    pub(super) interleaves: bool,
}

/// Where some addresses lead.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exit<'s> {
    /// Nowhere else: they are the arena's own.
    Own(PrimedSpan),
    /// Across an interconnect.
    Hop(Crossed),
    /// Into a translation table that is not followed.
    Table(WindowId),
    /// Into the shares of an interleaved range that is not followed.
    Interleave(&'s [WindowId]),
}

/// A crossing of an interconnect by a range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crossed {
    pub(super) leg: WindowId,
    /// The offset added to an address, modulo 2^64.
    pub(super) offset: u64,
    /// The accesses let through by the interconnect, and by an alias in that range.
    pub(super) prot: Prot,
    /// Whether nothing else may take the addresses.
    pub(super) claimed: bool,
}

impl State {
    /// Calls `visit` for every part of `range` that leads somewhere. A part that several mappings take is visited
    /// once for each.
    pub(super) fn exits<'s>(
        &'s self,
        arena: &'s Arena,
        range: AddrRange,
        follow: Follow,
        visit: &mut impl FnMut(AddrRange, Exit<'s>),
    ) {
        for (part, span) in arena.spans_in(range).filter(|(_, span)| span.state != SpanState::Lent) {
            visit(part, Exit::Own(span));
        }
        for (part, legs) in arena.windows_in(range) {
            self.claimed_exits(arena, part, legs, follow, visit);
        }
        if !arena.fallbacks().is_empty() {
            for part in undecoded(arena, range) {
                self.yielding_exits(arena, part, visit);
            }
        }
    }

    /// Visits what lies behind claimed addresses.
    fn claimed_exits<'s>(
        &'s self,
        arena: &'s Arena,
        part: AddrRange,
        legs: &'s [WindowId],
        follow: Follow,
        visit: &mut impl FnMut(AddrRange, Exit<'s>),
    ) {
        let Some(leg) = legs.first().copied() else { return };
        let Some(link) = self.link(leg.link) else { return };
        match &link.direction(leg.way).mapping {
            Mapping::Windows(windows) => {
                if let Some(window) = windows.pieces().get(leg.piece as usize) {
                    self.narrowed_exits(arena, part, leg, window.offset_of(), visit);
                }
            }
            Mapping::Interleave(share) if share.ways() == 1 => {
                let offset = share.output().start().wrapping_sub(share.input().start());
                self.narrowed_exits(arena, part, leg, offset, visit);
            }
            // An incomplete interleave set decodes nothing: the missing share's chunks would leave holes in it.
            Mapping::Interleave(share) if legs.len() < usize::from(share.ways()) => {}
            Mapping::Interleave(_) if follow.interleaves => {
                for leg in legs {
                    let Some(Mapping::Interleave(share)) =
                        self.link(leg.link).map(|link| &link.direction(leg.way).mapping)
                    else {
                        continue;
                    };
                    for (chunk, offset) in chunks(share, part) {
                        let crossed = Crossed { leg: *leg, offset, prot: Prot::RWX, claimed: true };
                        visit(chunk, Exit::Hop(crossed));
                    }
                }
            }
            Mapping::Interleave(_) => visit(part, Exit::Interleave(legs)),
            Mapping::Table(table) if follow.tables => {
                for (entry, record) in arena.regions_in(part) {
                    let Some(alias) = record.alias().filter(|alias| alias.link == leg.link) else { continue };
                    let Some(here) = entry.intersect(part) else { continue };
                    let (offset, prot) = (alias.to.wrapping_sub(entry.start()), record.attrs.prot());
                    let prot = prot & table.prot_of();
                    visit(here, Exit::Hop(Crossed { leg, offset, prot, claimed: true }));
                }
            }
            Mapping::Table(_) => visit(part, Exit::Table(leg)),
            Mapping::Closed | Mapping::Identity => {}
        }
    }

    /// Visits the exit through a window or an interleave of one way. Parts whose alias narrows the access are visited
    /// separately.
    fn narrowed_exits<'s>(
        &'s self,
        arena: &'s Arena,
        part: AddrRange,
        leg: WindowId,
        offset: u64,
        visit: &mut impl FnMut(AddrRange, Exit<'s>),
    ) {
        let prot = self.leg_prot(leg);
        let crossed = |prot| Exit::Hop(Crossed { leg, offset, prot, claimed: true });
        let narrows = |record: &RegionRecord| {
            record.attrs.prot() != Prot::RWX
                && record.alias().is_some_and(|a| (a.link, a.way) == (leg.link, leg.way))
        };
        let narrowing = arena.has_aliases().then(|| arena.regions_in(part));
        let narrowing = narrowing.into_iter().flatten().filter(|(_, record)| narrows(record));
        let mut rest = Some(part);
        for (range, record) in narrowing {
            let (Some(bare), Some(here)) = (rest, range.intersect(part)) else { break };
            let [below, above] = bare.minus(here);
            below.into_iter().for_each(|below| visit(below, crossed(prot)));
            visit(here, crossed(prot & record.attrs.prot()));
            rest = above;
        }
        rest.into_iter().for_each(|rest| visit(rest, crossed(prot)));
    }

    /// Visits the exits of undecoded addresses. Those of an alias go only where the alias leads; the others go
    /// through every mapping that yields.
    fn yielding_exits<'s>(
        &'s self,
        arena: &'s Arena,
        range: AddrRange,
        visit: &mut impl FnMut(AddrRange, Exit<'s>),
    ) {
        let mut rest = Some(range);
        let aliases = arena.has_aliases().then(|| arena.regions_in(range));
        for (at, record) in aliases.into_iter().flatten() {
            let (Some(alias), Some(here)) = (record.alias(), at.intersect(range)) else { continue };
            let Some(bare) = rest else { break };
            let [below, above] = bare.minus(here);
            below.into_iter().for_each(|below| self.every_yielding_exit(arena, below, visit));
            let (leg, offset) = (alias.leg(), alias.to.wrapping_sub(at.start()));
            let prot = self.leg_prot(leg) & record.attrs.prot();
            visit(here, Exit::Hop(Crossed { leg, offset, prot, claimed: true }));
            rest = above;
        }
        rest.into_iter().for_each(|rest| self.every_yielding_exit(arena, rest, visit));
    }

    fn every_yielding_exit<'s>(
        &'s self,
        arena: &'s Arena,
        range: AddrRange,
        visit: &mut impl FnMut(AddrRange, Exit<'s>),
    ) {
        for leg in arena.fallbacks() {
            let Some(link) = self.link(leg.link) else { continue };
            match &link.direction(leg.way).mapping {
                Mapping::Identity => {
                    let crossed = Crossed { leg: *leg, offset: 0, prot: Prot::RWX, claimed: false };
                    visit(range, Exit::Hop(crossed));
                }
                Mapping::Windows(windows) => {
                    for (piece, window) in windows.pieces_in(range) {
                        let Some(part) = window.limit().intersect(range) else { continue };
                        let (leg, prot) = (WindowId { piece, ..*leg }, window.prot_of());
                        let crossed = Crossed { leg, offset: window.offset_of(), prot, claimed: false };
                        visit(part, Exit::Hop(crossed));
                    }
                }
                _ => {}
            }
        }
    }

    /// Returns the arena that a leg leads to.
    pub(super) fn beyond(&self, leg: WindowId) -> Option<ArenaId> {
        self.link(leg.link).map(|link| link.far(leg.way))
    }
}

/// Returns the chunks of `part` that belong to one share, each with the offset added to an address there.
fn chunks(share: &Interleave, part: AddrRange) -> impl Iterator<Item = (AddrRange, u64)> {
    let granularity = u64::from(share.granularity());
    let first = part.start() - (part.start() - share.input().start()) % granularity;
    let chunk = move |start: u64| AddrRange::inclusive(start, start.checked_add(granularity - 1)?).ok();
    let starts = core::iter::successors(Some(first), move |start| start.checked_add(granularity));
    starts.map_while(chunk).take_while(move |chunk| chunk.start() <= part.last()).filter_map(move |chunk| {
        let offset = share.translate(chunk.start())?.wrapping_sub(chunk.start());
        Some((chunk.intersect(part)?, offset))
    })
}

/// Returns the parts of `range` that are neither the arena's own nor claimed by a mapping.
pub(super) fn undecoded(arena: &Arena, range: AddrRange) -> Vec<AddrRange> {
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
