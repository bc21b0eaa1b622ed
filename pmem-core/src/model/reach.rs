//! From where an address is visible.

use super::exits::{Crossed, Exit, Follow};
use super::piece::{ViewPiece, ViewTarget};
use super::state::State;
use super::walk::PASSES;
use crate::id::{ArenaId, LinkId, Way};
use crate::mapping::{Interleave, Mapping};
use crate::metric::Metric;
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;
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

/// A hop into a source, followed back.
struct Back {
    from: ArenaId,
    /// Addresses where it leads.
    onto: AddrRange,
    /// Added to an address by it.
    offset: u64,
    metric: Metric,
    /// The last address where any leads of those before it in order, itself included.
    up_to: u64,
}

/// At what cost and by how many hops, which arena, what is added there, and its first and last address.
type Reached = (Metric, u32, ArenaId, u64, (u64, u64));

const FOLLOW: Follow = Follow { tables: true, interleaves: true };

impl State {
    /// Where `range` of `arena` is visible: every viewer, nearest first; through an interleave chunk by chunk, of large
    /// ranges the first 4,096 chunks of each step.
    pub fn reverse(&self, arena: ArenaId, range: AddrRange) -> Vec<Image> {
        let sources = self.sources(arena, range);
        let mut out =
            self.images_of(arena, &sources).unwrap_or_else(|| self.images_by_looking(arena, &sources));
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

    /// The images, if nothing but these addresses of the arena is seen from any of the sources: then what leads there is all that matters, and
    /// is followed back once, cheapest first.
    fn images_of(&self, arena: ArenaId, sources: &[Source]) -> Option<Vec<Image>> {
        if (0..sources.len()).any(|index| goes_on_for_ever(sources, index)) {
            return None;
        }
        let found = self.survey_from(sources.iter().map(|s| (s.arena, s.range, s.offset)), FOLLOW)?;
        let is_it = |piece: &ViewPiece| match piece.what {
            ViewTarget::Local { arena: found, start, .. } => (found, start) == (arena, piece.seen.start()),
            _ => false,
        };
        if !found.iter().all(is_it) {
            return None;
        }
        let ways = self.ways_between(sources);
        let mut out = Vec::new();
        let mut known: BTreeMap<(ArenaId, u64), RangeInclusiveSet<u64>> = BTreeMap::new();
        // Region beside region is one range.
        let own: RangeInclusiveSet<u64> = found.iter().map(|p| p.seen.start()..=p.seen.last()).collect();
        let own =
            own.iter().map(|range| Reverse((Metric::ZERO, 0, arena, 0, (*range.start(), *range.end()))));
        let mut open: BinaryHeap<Reverse<Reached>> = own.collect();
        while let Some(Reverse((cost, hops, viewer, offset, range))) = open.pop() {
            let Ok(range) = AddrRange::inclusive(range.0, range.1) else { continue };
            let been = known.entry((viewer, offset)).or_default();
            let inclusive = range.start()..=range.last();
            let fresh: Vec<AddrRange> = been
                .gaps(&inclusive)
                .filter_map(|gap| AddrRange::inclusive(*gap.start(), *gap.end()).ok()?.intersect(range))
                .collect();
            been.insert(inclusive);
            for seen in fresh {
                out.push(Image { viewer, seen, start: seen.start().wrapping_add(offset), cost, hops });
                let ways = ways.get(&(viewer, offset)).map_or(&[][..], |ways| ways);
                for way in onto(ways, seen) {
                    let part =
                        way.onto.intersect(seen).and_then(|part| part.shifted(0u64.wrapping_sub(way.offset)));
                    let further = |part| {
                        Reverse((
                            cost + way.metric,
                            hops + 1,
                            way.from,
                            offset.wrapping_add(way.offset),
                            ends(part),
                        ))
                    };
                    open.extend(part.map(further));
                }
            }
        }
        Some(out)
    }

    /// The hops out of sources, by where they lead: an arena, and what is added to an address there to give the one wanted.
    fn ways_between(&self, sources: &[Source]) -> BTreeMap<(ArenaId, u64), Vec<Back>> {
        let mut ways: BTreeMap<(ArenaId, u64), Vec<Back>> = BTreeMap::new();
        for source in sources {
            let Some(here) = self.arena(source.arena) else { continue };
            self.exits(here, source.range, FOLLOW, &mut |part, exit| {
                let Exit::Hop(Crossed { leg, offset, .. }) = exit else { return };
                let (Some(link), Some(onto)) = (self.link(leg.link), part.shifted(offset)) else { return };
                let metric = link.direction(leg.way).metric;
                let to = (link.far(leg.way), source.offset.wrapping_sub(offset));
                ways.entry(to).or_default().push(Back { from: source.arena, onto, offset, metric, up_to: 0 });
            });
        }
        for ways in ways.values_mut() {
            ways.sort_by_key(|way| way.onto.start());
            let mut up_to = 0;
            for way in ways {
                up_to = way.onto.last().max(up_to);
                way.up_to = up_to;
            }
        }
        ways
    }

    /// The images, each source by itself: what may lead there does, unless something else takes it as well, or instead.
    fn images_by_looking(&self, arena: ArenaId, sources: &[Source]) -> Vec<Image> {
        let mut out = Vec::new();
        for source in sources {
            for piece in self.survey(source.arena, source.range, FOLLOW).0 {
                let ViewTarget::Local { arena: found, start, .. } = piece.what else { continue };
                let offset = start.wrapping_sub(piece.seen.start());
                if (found, offset) == (arena, source.offset) {
                    let (viewer, seen) = (source.arena, piece.seen);
                    out.push(Image { viewer, seen, start, cost: piece.cost, hops: piece.hops });
                }
            }
        }
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
                let input = |(entry, record): (AddrRange, super::record::RegionRecord)| {
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

/// Those ways, which are in order of address, that may lead onto a range.
fn onto(ways: &[Back], range: AddrRange) -> impl Iterator<Item = &Back> {
    let below = ways.partition_point(|way| way.onto.start() <= range.last());
    ways[..below].iter().rev().take_while(move |way| way.up_to >= range.start())
}

/// The first and the last address.
fn ends(range: AddrRange) -> (u64, u64) {
    (range.start(), range.last())
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
