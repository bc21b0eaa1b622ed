//! From where an address is visible.

use super::exits::Follow;
use super::piece::What;
use super::state::State;
use super::walk::PASSES;
use crate::id::{ArenaId, LinkId, Way};
use crate::mapping::{Interleave, Mapping};
use crate::metric::Metric;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use pmem_space::AddrRange;
use rangemap::RangeInclusiveSet;

/// Chunks of an interleaved range that are listed.
const CHUNKS: usize = 4096;

/// Addresses of one arena as another sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// The arena that sees them.
    pub viewer: ArenaId,
    /// Where it sees them.
    pub seen: AddrRange,
    /// The first address in their own arena.
    pub start: u64,
    /// What it costs to get there.
    pub cost: Metric,
    /// The interconnects crossed.
    pub hops: u32,
}

/// Addresses of an arena that may lead to those wanted.
#[derive(Clone, Copy)]
struct Source {
    arena: ArenaId,
    range: AddrRange,
    /// Added to an address there, modulo 2^64, to give the address wanted.
    offset: u64,
    /// From which source it leads there, and how many are passed on the way.
    by: Option<usize>,
    hops: usize,
}

impl State {
    /// Where `range` of `arena` is visible: every viewer, nearest first; through an interleave chunk by chunk, of large
    /// ranges the first 4,096 chunks of each step.
    pub fn reverse(&self, arena: ArenaId, range: AddrRange) -> Vec<Image> {
        let mut out: Vec<Image> = Vec::new();
        let follow = Follow { tables: true, interleaves: true };
        for source in self.sources(arena, range) {
            // What may lead there does, unless something else takes it as well, or instead.
            for piece in self.survey(source.arena, source.range, follow).0 {
                let What::Local { arena: found, start, .. } = piece.what else { continue };
                let offset = start.wrapping_sub(piece.seen.start());
                if (found, offset) == (arena, source.offset) {
                    let (viewer, seen) = (source.arena, piece.seen);
                    out.push(Image { viewer, seen, start, cost: piece.cost, hops: piece.hops });
                }
            }
        }
        out.sort_by_key(|i| (i.cost, i.hops, i.viewer, i.seen.start()));
        out.dedup_by(|next, last| {
            let goes_on = (last.viewer, last.cost, last.hops) == (next.viewer, next.cost, next.hops)
                && last.seen.end() == Some(next.seen.start())
                && next.start.wrapping_sub(last.start) == next.seen.start() - last.seen.start();
            if goes_on {
                last.seen = last.seen.hull(next.seen);
            }
            goes_on
        });
        out
    }

    /// The addresses that may lead to `range` of `arena`, each once: every mapping that ends there, followed back.
    fn sources(&self, arena: ArenaId, range: AddrRange) -> Vec<Source> {
        let mut out = Vec::from([Source { arena, range, offset: 0, by: None, hops: 0 }]);
        let mut known: BTreeMap<(ArenaId, u64), RangeInclusiveSet<u64>> = BTreeMap::new();
        known.entry((arena, 0)).or_default().insert(range.start()..=range.last());
        let mut done = 0;
        while let Some(at) = out.get(done).copied() {
            done += 1;
            if goes_on_for_ever(&out, done - 1) {
                continue;
            }
            for (link, way) in self.crossings_into(at.arena) {
                for (input, offset) in self.inputs(link, way, at.range) {
                    let Some(near) = self.link(link).map(|link| link.near(way)) else { continue };
                    let offset = at.offset.wrapping_add(offset);
                    let been = known.entry((near, offset)).or_default();
                    let range = input.start()..=input.last();
                    let fresh = been
                        .gaps(&range)
                        .filter_map(|gap| AddrRange::inclusive(*gap.start(), *gap.end()).ok());
                    let source =
                        |range| Source { arena: near, range, offset, by: Some(done - 1), hops: at.hops + 1 };
                    out.extend(fresh.map(source));
                    been.insert(range);
                }
            }
        }
        out
    }

    /// The addresses that a direction may turn into part of `output`, each with what it adds.
    fn inputs(&self, id: LinkId, way: Way, output: AddrRange) -> Vec<(AddrRange, u64)> {
        let Some(link) = self.link(id) else { return Vec::new() };
        match &link.direction(way).mapping {
            Mapping::Closed => Vec::new(),
            Mapping::Identity => Vec::from([(output, 0)]),
            Mapping::Windows(windows) => {
                let now = self.windows(id, way);
                let input = |(piece, window): (usize, &crate::mapping::Window)| {
                    let offset = window.offset_of();
                    let range = now.get(piece).copied().flatten()?.shifted(offset)?.intersect(output)?;
                    Some((range.shifted(0u64.wrapping_sub(offset))?, offset))
                };
                windows.pieces().iter().enumerate().filter_map(input).collect()
            }
            Mapping::Interleave(share) => chunks(share, output),
            Mapping::Table(table) => {
                let entries =
                    self.arena(link.near(way)).into_iter().flat_map(|near| near.regions_in(table.input()));
                let input = |(entry, record): (AddrRange, super::record::Record)| {
                    let alias = record.alias().filter(|alias| (alias.link, alias.way) == (id, way))?;
                    let offset = alias.to.wrapping_sub(entry.start());
                    let range = entry.shifted(offset)?.intersect(output)?;
                    Some((range.shifted(0u64.wrapping_sub(offset))?, offset))
                };
                entries.filter_map(input).collect()
            }
        }
    }
}

/// Whether the way from a source has passed its arena too often.
fn goes_on_for_ever(sources: &[Source], index: usize) -> bool {
    let Some(here) = sources.get(index) else { return false };
    let before = |source: &&Source| sources.get(source.by?);
    here.hops >= PASSES
        && here.hops.is_multiple_of(PASSES)
        && core::iter::successors(Some(here), before).filter(|source| source.arena == here.arena).count()
            >= PASSES
}

/// The chunks that a share turns into part of `output`, each with what it adds.
fn chunks(share: &Interleave, output: AddrRange) -> Vec<(AddrRange, u64)> {
    let mut out = Vec::new();
    let mut rest = share.output().intersect(output);
    while let Some(here) = rest.filter(|_| out.len() < CHUNKS) {
        let within = (here.start() - share.output().start()) % u64::from(share.granularity());
        let end = here.start() + (u64::from(share.granularity()) - 1 - within);
        let Ok(chunk) = AddrRange::inclusive(here.start(), end.min(here.last())) else { break };
        let Some(input) = share.invert(chunk.start()) else { break };
        let offset = chunk.start().wrapping_sub(input);
        out.extend(chunk.shifted(0u64.wrapping_sub(offset)).map(|input| (input, offset)));
        rest = here.minus(chunk)[1];
    }
    out
}
