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

/// The most chunks of an interleaved range that are listed.
const CHUNKS: usize = 4096;

/// A range of one arena as another arena sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// The arena that sees the range.
    pub viewer: ArenaId,
    /// The addresses at which it sees the range.
    pub seen: AddrRange,
    /// The first address in the range's own arena.
    pub start: u64,
    /// The cost of the path from viewer to range.
    pub cost: Metric,
    /// The number of interconnects crossed.
    pub hops: u32,
}

/// A range that may lead to the wanted addresses.
#[derive(Clone, Copy)]
struct Source {
    arena: ArenaId,
    range: AddrRange,
    /// Added to an address there, modulo 2^64, to give the wanted address.
    offset: u64,
    /// The index of the source that this one leads to; `None` for the wanted addresses themselves.
    by: Option<usize>,
    /// How many hops away the wanted addresses are.
    hops: usize,
}

/// A hop between sources, followed backward.
struct Back {
    from: ArenaId,
    /// The addresses that the hop leads to.
    onto: AddrRange,
    /// What the hop adds to an address, modulo 2^64.
    offset: u64,
    metric: Metric,
    /// The highest address that this hop or any before it in order leads to.
    up_to: u64,
}

/// An entry of the queue: cost, hops, viewer, the viewer's offset, and the first and last address seen.
type Reached = (Metric, u32, ArenaId, u64, (u64, u64));

const FOLLOW: Follow = Follow { tables: true, interleaves: true };

impl State {
    /// Returns every place at which `range` of `arena` is visible, nearest viewer first. Interleaved ranges are
    /// listed chunk by chunk; of large ones only the first 4,096 chunks of each step.
    ///
    /// # Examples
    /// Which CPU address does a driver use for a device's BAR?
    /// ```
    /// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Mapping, Metric, Request};
    ///
    /// let mut pmem = Manager::new();
    /// let cpu = pmem.create_arena("CPU", ArenaType::VIEW)?;
    /// let pci = pmem.create_arena("PCI 0001:00", ArenaType::PCI)?;
    /// pmem.prime(pci, AddrRange::new(0x4000_0000, 0x8000_0000)?, Attrs::device())?;
    /// // The host bridge translates: bus address 0x4000_0000 is CPU address 0x60_0000_0000.
    /// let aperture = AddrRange::sized(0x60_0000_0000, 0x4000_0000)?;
    /// pmem.connect(cpu, pci, Mapping::window(aperture, 0x4000_0000)?, Metric::new(1))?;
    /// let bar = pmem.alloc(pci, &Request::new(0x1000))?;
    ///
    /// let images = pmem.state().reverse(pci, pmem.range(bar)?);
    /// let at = images.iter().find(|image| image.viewer == cpu).map(|image| image.seen.start());
    /// assert_eq!(at, Some(0x60_0000_0000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
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

    /// Returns the images if the sources reach nothing but the wanted addresses; `None` otherwise. In that case no
    /// hop can be shadowed by another target, so following the hops backward once, cheapest first, finds every image.
    fn images_of(&self, arena: ArenaId, sources: &[Source]) -> Option<Vec<Image>> {
        // If a path was cut off, the sources are incomplete, and only surveying each of them tells.
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
        // Adjacent regions make one range.
        let own: RangeInclusiveSet<u64> = found.iter().map(|p| p.seen.start()..=p.seen.last()).collect();
        let own =
            own.iter().map(|range| Reverse((Metric::ZERO, 0, arena, 0, (*range.start(), *range.end()))));
        let mut open: BinaryHeap<Reverse<Reached>> = own.collect();
        // From the wanted addresses outward: what is popped first is reached at its least cost.
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

    /// Returns the hops out of the sources, by the arena they lead to and that arena's offset to the wanted
    /// addresses.
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

    /// Returns the images by surveying each source by itself: something else may take its addresses as well, or
    /// instead.
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

    /// Returns the addresses that may lead to `range` of `arena`, each once, by following every mapping backward.
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

    /// Returns the addresses that a direction may translate into `output`, each range with the offset it adds.
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

/// Returns the hops that may lead onto `range`. `ways` is ordered by address.
fn onto(ways: &[Back], range: AddrRange) -> impl Iterator<Item = &Back> {
    let below = ways.partition_point(|way| way.onto.start() <= range.last());
    // From the highest start down; once the running maximum `up_to` is below `range`, no earlier hop reaches it.
    ways[..below].iter().rev().take_while(move |way| way.up_to >= range.start())
}

/// Returns the first and the last address, both inclusive.
fn ends(range: AddrRange) -> (u64, u64) {
    (range.start(), range.last())
}

/// Whether the path from a source has passed the source's arena too often.
fn goes_on_for_ever(sources: &[Source], index: usize) -> bool {
    let Some(here) = sources.get(index) else { return false };
    let before = |source: &&Source| sources.get(source.by?);
    here.hops >= PASSES
        && here.hops.is_multiple_of(PASSES)
        && core::iter::successors(Some(here), before).filter(|source| source.arena == here.arena).count()
            >= PASSES
}

/// Returns the chunks that a share translates into `output`, each with the offset it adds.
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
