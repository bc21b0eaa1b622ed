//! From where an address is visible, and what two initiators see differently.

use super::state::State;
use super::view::{Piece, What};
use crate::id::{ArenaId, RegionId};
use crate::metric::Metric;
use alloc::vec::Vec;
use pmem_space::AddrRange;

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
struct Reached {
    arena: ArenaId,
    range: AddrRange,
    region: Option<RegionId>,
    seen: u64,
}

impl State {
    /// Where `range` of `arena` is visible: every viewer, nearest first.
    pub fn reverse(&self, arena: ArenaId, range: AddrRange) -> Vec<Image> {
        let mut out = Vec::new();
        for (viewer, ..) in self.arenas() {
            for piece in self.view(viewer) {
                out.extend(image(viewer, &piece, arena, range));
            }
            out.extend(self.entries_to(viewer, arena, range));
        }
        out.sort_by_key(|i| (i.cost, i.hops, i.viewer, i.seen.start()));
        out
    }

    /// Aliases in tables of `viewer` that lead to `range` of `arena`.
    fn entries_to(&self, viewer: ArenaId, arena: ArenaId, range: AddrRange) -> Vec<Image> {
        let Some(inputs) = self.arena(viewer) else { return Vec::new() };
        let mut out = Vec::new();
        for (seen, record) in inputs.regions() {
            let Some(alias) = record.alias() else { continue };
            let Some(link) = self.link(alias.link) else { continue };
            if !matches!(link.direction(alias.way).mapping, crate::mapping::Mapping::Table(_)) {
                continue;
            }
            let Ok(there) = AddrRange::sized(alias.to, seen.len()) else { continue };
            let metric = link.direction(alias.way).metric;
            for piece in self.view_in(link.far(alias.way), there) {
                let Some(far) = image(viewer, &piece, arena, range) else { continue };
                let moved = seen.start().wrapping_sub(alias.to);
                let Some(seen) = far.seen.shifted(moved) else { continue };
                out.push(Image { seen, cost: metric + far.cost, hops: far.hops + 1, ..far });
            }
        }
        out
    }

    /// What `left` and `right` do not see alike, by the arenas that own the addresses: what only one of them
    /// reaches, and what both reach at different addresses. Free space counts like any other.
    pub fn diff(&self, left: ArenaId, right: ArenaId) -> Vec<Difference> {
        let (left, right) = (reached(&self.view(left)), reached(&self.view(right)));
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
            let here = |all: &[Reached]| {
                let covers = |r: &&Reached| r.arena == arena && r.range.covers(range);
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

fn image(viewer: ArenaId, piece: &Piece, wanted: ArenaId, range: AddrRange) -> Option<Image> {
    let What::Local { arena, start, .. } = piece.what else { return None };
    let local = AddrRange::sized(start, piece.seen.len()).ok().filter(|_| arena == wanted)?;
    let part = local.intersect(range)?;
    let seen = part.shifted(piece.seen.start().wrapping_sub(start))?;
    Some(Image { viewer, seen, start: part.start(), cost: piece.cost, hops: piece.hops })
}

/// By arena and address; where an address is seen twice, the first of them.
fn reached(view: &[Piece]) -> Vec<Reached> {
    let mut out: Vec<Reached> = Vec::new();
    for piece in view {
        let What::Local { arena, start, region, .. } = piece.what else { continue };
        if let Ok(range) =
            AddrRange::inclusive(start, start.saturating_add(piece.seen.last() - piece.seen.start()))
        {
            out.push(Reached { arena, range, region, seen: piece.seen.start() });
        }
    }
    out.sort_by_key(|r| (r.arena, r.range.start(), r.seen));
    out
}
