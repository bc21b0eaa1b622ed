//! Overlays what is seen along several paths.

use super::piece::{ViewPiece, ViewTarget};
use crate::id::ArenaId;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use pmem_space::AddrRange;

/// Makes pieces found along different paths disjoint, and orders them by address. Where several overlap the addresses
/// are ambiguous, or a loop if one of the pieces is a loop. A piece that continues its predecessor is joined to it.
pub(super) fn overlay(mut found: Vec<ViewPiece>) -> Vec<ViewPiece> {
    found.sort_unstable_by_key(|piece| (piece.seen.start(), piece.seen.last()));
    let apart = found.windows(2).all(|pair| !pair[0].seen.overlaps(pair[1].seen));
    joined(if apart { found } else { swept(&found) })
}

/// Sweeps the addresses from border to border.
fn swept(found: &[ViewPiece]) -> Vec<ViewPiece> {
    let mut out = Vec::new();
    // The pieces that cover the current address, ordered by where they end.
    let mut here: BTreeSet<(u64, usize)> = BTreeSet::new();
    let mut next = 0;
    let mut at = 0;
    loop {
        if here.is_empty() {
            let Some(piece) = found.get(next) else { return out };
            at = piece.seen.start();
        }
        while let Some(piece) = found.get(next).filter(|piece| piece.seen.start() == at) {
            here.insert((piece.seen.last(), next));
            next += 1;
        }
        let end = here.first().map_or(u64::MAX, |(last, _)| *last);
        // Nothing begins or ends before the next border, so the stretch up to it is uniform.
        let last = found.get(next).map_or(end, |piece| end.min(piece.seen.start() - 1));
        if let Ok(range) = AddrRange::inclusive(at, last) {
            let pieces: Vec<&ViewPiece> = here.iter().filter_map(|(_, i)| found.get(*i)).collect();
            out.extend(laid(&pieces, range));
        }
        here.retain(|(end, _)| *end > last);
        let Some(above) = last.checked_add(1) else { return out };
        at = above;
    }
}

/// Merges several pieces over a range that all of them cover.
fn laid(pieces: &[&ViewPiece], range: AddrRange) -> Option<ViewPiece> {
    let cheapest = pieces.iter().min_by_key(|piece| (piece.cost, piece.hops))?;
    if let [piece] = pieces {
        return piece.cut(range);
    }
    Some(ViewPiece { seen: range, what: ambiguous(pieces), cost: cheapest.cost, hops: cheapest.hops })
}

fn ambiguous(pieces: &[&ViewPiece]) -> ViewTarget {
    if pieces.iter().any(|piece| piece.what == ViewTarget::Loop) {
        return ViewTarget::Loop;
    }
    let mut arenas: Vec<ArenaId> =
        pieces.iter().filter_map(|piece| piece.what.place().map(|(a, _)| a)).collect();
    arenas.sort_unstable();
    ViewTarget::Ambiguous(arenas)
}

fn joined(pieces: Vec<ViewPiece>) -> Vec<ViewPiece> {
    let mut out: Vec<ViewPiece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match out.last_mut() {
            Some(last) if goes_on(last, &piece) => last.seen = last.seen.hull(piece.seen),
            _ => out.push(piece),
        }
    }
    out
}

/// Whether `second` is exactly what `first` would be if it were longer.
fn goes_on(first: &ViewPiece, second: &ViewPiece) -> bool {
    first.seen.end() == Some(second.seen.start())
        && (first.cost, first.hops) == (second.cost, second.hops)
        && first.what.advanced(second.seen.start() - first.seen.start()) == second.what
}
