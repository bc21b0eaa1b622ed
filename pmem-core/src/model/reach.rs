//! From where an address is visible, and what two initiators see differently.

use super::state::State;
use super::view::{Piece, What};
use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::mapping::{Interleave, Mapping};
use crate::metric::Metric;
use alloc::vec::Vec;
use pmem_space::AddrRange;

/// Chunks of an interleaved range that are listed.
const CHUNKS: usize = 4096;
/// Tables that lead to tables which are followed.
const TABLE_BUDGET: u32 = 64;

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

/// What of an arena's own addresses two viewers do not see alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The arena.
    pub arena: ArenaId,
    /// Its addresses.
    pub range: AddrRange,
    /// The region there.
    pub region: Option<RegionId>,
    /// Where the first viewer sees them, if it does.
    pub left: Option<u64>,
    /// Where the second viewer sees them, if it does.
    pub right: Option<u64>,
}

/// A stretch of an arena's own addresses, and where they are seen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stretch {
    arena: ArenaId,
    range: AddrRange,
    region: Option<RegionId>,
    seen: u64,
}

impl State {
    /// What `viewer` reaches inside `window`: its view, with what the entries of tables lead to in their place.
    pub(crate) fn reached(&self, viewer: ArenaId, window: AddrRange) -> Vec<Piece> {
        let mut out = Vec::new();
        self.follow_entries(self.view_in(viewer, window), TABLE_BUDGET, &mut out);
        out
    }

    fn follow_entries(&self, pieces: Vec<Piece>, tables: u32, out: &mut Vec<Piece>) {
        for piece in pieces {
            let What::Table { link: id, arena, start } = piece.what else {
                out.push(piece);
                continue;
            };
            let Ok(input) = AddrRange::inclusive(start, start + span(piece.seen)) else { continue };
            let (Some(here), Some(link)) = (self.arena(arena), self.link(id)) else { continue };
            for (entry, record) in here.regions_in(input) {
                let (Some(alias), Some(part)) = (record.alias(), entry.intersect(input)) else { continue };
                let moved = alias.to.wrapping_sub(entry.start());
                let Some(there) = part.shifted(moved).filter(|_| tables > 0 && alias.link == id) else {
                    continue;
                };
                let far = link.far(alias.way);
                // From there to here, and from here to where the viewer sees it.
                let back = piece.seen.start().wrapping_sub(start).wrapping_sub(moved);
                let mut beyond = Vec::new();
                self.follow_entries(self.view_in(far, there), tables - 1, &mut beyond);
                out.extend(beyond.into_iter().filter_map(|further| {
                    let what = further.what.narrowed(record.attrs.prot() & self.leg_prot(alias.leg()));
                    let metric = link.direction(alias.way).metric;
                    Some(Piece {
                        seen: further.seen.shifted(back)?,
                        what,
                        cost: piece.cost + metric + further.cost,
                        hops: piece.hops + 1 + further.hops,
                    })
                }));
            }
        }
    }

    /// The shares of an interleaved piece, each with what its output reaches, at the cost from the piece's viewer.
    fn beyond_interleave(&self, piece: &Piece) -> Vec<(Interleave, Vec<Piece>)> {
        let What::Interleave { links, arena, .. } = &piece.what else { return Vec::new() };
        let share = |id: &LinkId| {
            let link = self.link(*id)?;
            let way = if link.left == *arena { Way::ToRight } else { Way::ToLeft };
            let direction = link.direction(way);
            let Mapping::Interleave(share) = direction.mapping else { return None };
            let mut beyond = self.reached(link.far(way), share.output());
            for far in &mut beyond {
                far.cost = piece.cost + direction.metric + far.cost;
                far.hops += piece.hops + 1;
            }
            Some((share, beyond))
        };
        links.iter().filter_map(share).collect()
    }

    /// Where `range` of `arena` is visible: every viewer, nearest first; through an interleave chunk by chunk, of large
    /// ranges the first 4,096 chunks.
    pub fn reverse(&self, arena: ArenaId, range: AddrRange) -> Vec<Image> {
        let mut out = Vec::new();
        for (viewer, ..) in self.arenas() {
            let reached = self.reached(viewer, AddrRange::ALL);
            for piece in &reached {
                out.extend(image(viewer, piece, arena, range));
                for (share, beyond) in self.beyond_interleave(piece) {
                    for far in beyond.iter().filter_map(|far| image(viewer, far, arena, range)) {
                        out.extend(chunks(piece, &share, far));
                    }
                }
            }
        }
        out.sort_by_key(|i| (i.cost, i.hops, i.viewer, i.seen.start()));
        out
    }

    /// What `left` and `right` do not see alike, by the arenas that own the addresses: what only one of them
    /// reaches, and what both reach at different addresses. Free space counts like any other.
    pub fn diff(&self, left: ArenaId, right: ArenaId) -> Vec<Difference> {
        let all = |viewer| {
            let mut reached = self.reached(viewer, AddrRange::ALL);
            // What is interleaved counts as seen where the interleaved range starts.
            let behind: Vec<Piece> = reached
                .iter()
                .flat_map(|piece| {
                    let beyond = self.beyond_interleave(piece).into_iter().flat_map(|(_, beyond)| beyond);
                    beyond.map(|far| (piece.seen.start(), far)).collect::<Vec<_>>()
                })
                .filter_map(|(start, far)| {
                    let seen = AddrRange::inclusive(start, start.checked_add(span(far.seen))?).ok()?;
                    Some(Piece { seen, ..far })
                })
                .collect();
            reached.extend(behind);
            stretches(&reached)
        };
        let (left, right) = (all(left), all(right));
        let mut cuts: Vec<(ArenaId, u64)> = Vec::new();
        for stretch in left.iter().chain(&right) {
            cuts.push((stretch.arena, stretch.range.start()));
            cuts.extend(stretch.range.end().map(|end| (stretch.arena, end)));
        }
        cuts.sort_unstable();
        cuts.dedup();
        let mut out: Vec<Difference> = Vec::new();
        for (i, &(arena, start)) in cuts.iter().enumerate() {
            let last =
                cuts.get(i + 1).filter(|(next, _)| *next == arena).map_or(u64::MAX, |(_, end)| end - 1);
            let Ok(range) = AddrRange::inclusive(start, last) else { continue };
            let here = |all: &[Stretch]| {
                let covers = |r: &&Stretch| r.arena == arena && r.range.covers(range);
                all.iter().find(covers).map(|r| (r.region, r.seen + (start - r.range.start())))
            };
            let (l, r) = (here(&left), here(&right));
            let region = l.or(r).and_then(|(region, _)| region);
            let (l, r) = (l.map(|(_, seen)| seen), r.map(|(_, seen)| seen));
            if l != r {
                out.push(Difference { arena, range, region, left: l, right: r });
            }
        }
        out
    }
}

/// An image in a share's output, as the viewer of the interleaved piece sees it.
fn chunks(piece: &Piece, share: &Interleave, far: Image) -> Vec<Image> {
    let What::Interleave { start, .. } = piece.what else { return Vec::new() };
    let mut out = Vec::new();
    let mut rest = Some(far.seen);
    while let Some(here) = rest.filter(|_| out.len() < CHUNKS) {
        let within = (here.start() - share.output().start()) % u64::from(share.granularity());
        let end = here.start() + (u64::from(share.granularity()) - 1 - within);
        let Ok(chunk) = AddrRange::inclusive(here.start(), end.min(here.last())) else { break };
        let input = share.invert(chunk.start()).and_then(|input| AddrRange::sized(input, chunk.len()).ok());
        let seen = input.and_then(|input| input.shifted(piece.seen.start().wrapping_sub(start)));
        let start = far.start + (chunk.start() - far.seen.start());
        out.extend(seen.filter(|seen| piece.seen.covers(*seen)).map(|seen| Image { seen, start, ..far }));
        rest = here.minus(chunk)[1];
    }
    out
}

/// The length less one, which also of the whole space is a number.
fn span(range: AddrRange) -> u64 {
    range.last() - range.start()
}

fn image(viewer: ArenaId, piece: &Piece, wanted: ArenaId, range: AddrRange) -> Option<Image> {
    let What::Local { arena, start, .. } = piece.what else { return None };
    let local =
        AddrRange::inclusive(start, start.checked_add(span(piece.seen))?).ok().filter(|_| arena == wanted)?;
    let part = local.intersect(range)?;
    let seen = part.shifted(piece.seen.start().wrapping_sub(start))?;
    Some(Image { viewer, seen, start: part.start(), cost: piece.cost, hops: piece.hops })
}

/// By arena and address; where an address is seen twice, the first of them.
fn stretches(view: &[Piece]) -> Vec<Stretch> {
    let mut out: Vec<Stretch> = Vec::new();
    for piece in view {
        let What::Local { arena, start, region, .. } = piece.what else { continue };
        if let Ok(range) = AddrRange::inclusive(start, start.saturating_add(span(piece.seen))) {
            out.push(Stretch { arena, range, region, seen: piece.seen.start() });
        }
    }
    out.sort_by_key(|r| (r.arena, r.range.start(), r.seen));
    out
}
