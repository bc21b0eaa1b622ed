//! Local search: improves on the first placement that was found, by moving resources next to what is there.
//!
//! A resource with free space on both sides can slide to either side without harm. So the only places worth
//! trying begin right after an edge of something, or end right before one, up to alignment.

use crate::BusRange;
use crate::blocks::{Blocks, Key};
use crate::layout::{Block, BlockId, Leaf};
use crate::span::align_up;
use crate::tree::Tree;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// With two resources to place, the number of combinations of their places to try.
const PAIRS: usize = 1024;
/// The number of times that all resources are tried in turn.
const ROUNDS: usize = 3;
/// The most resources for which moving one at a time is worth the time.
const FEW: usize = 16;
/// The most placements to try. With many resources, the first one found is about as good as any.
const MOST: usize = 1500;

/// Rates a placement: a rank, of which the lowest is best, and the tree it leads to; `None` if the placement is
/// not legal.
pub(crate) type Rate<'r, R, T> = dyn FnMut(&BTreeMap<Key, u64>) -> Option<(R, T)> + 'r;

/// Tries other places for what is to be placed, from `start` on, and returns the one that `rate` ranks best;
/// `None` if none is legal.
pub(crate) fn improve<R: Ord, T>(
    blocks: &Blocks,
    tree: &Tree,
    start: &BTreeMap<Key, u64>,
    rate: &mut Rate<'_, R, T>,
) -> Option<(R, T)> {
    let mut at = start.clone();
    let mut best = rate(&at);
    let free: Vec<(BlockId, Key, &Leaf)> = blocks
        .leaves
        .iter()
        .filter_map(|(id, key)| match blocks.layout.blocks.get(*id)? {
            Block::Leaf(leaf) if leaf.at.is_none() => Some((*id, *key, leaf)),
            _ => None,
        })
        .collect();
    let parents = parents(blocks);
    let edges: BTreeMap<Key, BTreeSet<u64>> =
        free.iter().map(|(id, key, _)| (*key, edges(blocks, tree, &parents, *id))).collect();
    let places = |key: &Key, leaf: &Leaf, at: &BTreeMap<Key, u64>| {
        // The other resources that move are neighbours too, at the places they have in this try.
        let beside = free.iter().filter(|(_, other, _)| other != key).filter_map(|(_, other, leaf)| {
            let span = BusRange::sized(*at.get(other)?, leaf.size)?;
            Some([Some(span.first), span.last.checked_add(1)])
        });
        let mut edges = edges.get(key).cloned().unwrap_or_default();
        edges.extend(beside.flatten().flatten());
        let mut places = around(leaf, &edges);
        // Staying where it is now costs least of all.
        places.extend(tree.functions.get(key.0).and_then(|function| function.resource(key.1)?.at));
        places
    };
    // Two resources can be in each other's way: moving one at a time gets stuck where a swap would help, so try
    // pairs.
    if let [(_, a, first), (_, b, second)] = free.as_slice() {
        let ours = places(a, first, &at);
        let mut tried = 0;
        'all: for place in &ours {
            let mut with = at.clone();
            with.insert(*a, *place);
            for other in places(b, second, &with) {
                tried += 1;
                // The number of pairs grows with the square of the edges, so it is capped.
                if tried > PAIRS {
                    break 'all;
                }
                with.insert(*b, other);
                if let Some(new) = rate(&with).filter(|new| best.as_ref().is_none_or(|best| new.0 < best.0)) {
                    best = Some(new);
                    at = with.clone();
                }
            }
        }
    }
    let mut tried = 0;
    // Move one resource at a time, and keep what is strictly better, until a whole round brings nothing.
    'rounds: for _ in 0..ROUNDS {
        let mut better = false;
        for (_, key, leaf) in &free {
            for place in places(key, leaf, &at) {
                tried += 1;
                if tried > MOST || free.len() > FEW {
                    break 'rounds;
                }
                let had = at.insert(*key, place);
                if let Some(new) = rate(&at).filter(|new| best.as_ref().is_none_or(|best| new.0 < best.0)) {
                    best = Some(new);
                    better = true;
                } else if let Some(had) = had {
                    at.insert(*key, had);
                }
            }
        }
        if !better {
            break;
        }
    }
    best
}

/// Maps each block to the group it is in.
fn parents(blocks: &Blocks) -> BTreeMap<BlockId, BlockId> {
    let mut out = BTreeMap::new();
    for (id, block) in blocks.layout.blocks.iter().enumerate() {
        if let Block::Group(group) = block {
            out.extend(group.blocks.iter().map(|inner| (*inner, id)));
        }
    }
    out
}

/// Collects the edges next to a block: those of what lies beside it, of what lies beside the windows around it,
/// and of those windows as they were.
fn edges(blocks: &Blocks, tree: &Tree, parents: &BTreeMap<BlockId, BlockId>, id: BlockId) -> BTreeSet<u64> {
    let mut out = BTreeSet::new();
    // An edge counts as it is, and rounded both ways to the granule of the windows that it must stay clear of.
    let mut add = |span: BusRange, granule: u64| {
        for edge in [Some(span.first), span.last.checked_add(1)].into_iter().flatten() {
            out.extend(
                [Some(edge), align_up(edge, granule), Some(edge & !(granule - 1))].into_iter().flatten(),
            );
        }
    };
    let mut at = Some(id);
    let mut granule = 1;
    while let Some(block) = at {
        let group = parents.get(&block).copied();
        let beside = match group.and_then(|group| blocks.layout.blocks.get(group)) {
            Some(Block::Group(group)) => &group.blocks,
            _ => &blocks.layout.outermost,
        };
        // Going outward through the windows: an edge beside an outer window limits what is inside as well.
        for other in beside.iter().filter(|other| **other != block) {
            if let Some(span) = there(blocks, *other) {
                add(span, granule);
            }
        }
        if let Some(key) = group.and_then(|group| blocks.windows.get(&group)) {
            let bridge = tree.functions.get(key.0).and_then(|f| f.bridge.as_ref());
            if let Some(window) = bridge.and_then(|bridge| bridge.windows.get(key.1)) {
                granule = granule.max(window.granule);
                if let Some(span) = window.span {
                    add(span, granule);
                }
            }
        }
        at = group;
    }
    out
}

/// Returns what is in place of a block; `None` if nothing is.
fn there(blocks: &Blocks, id: BlockId) -> Option<BusRange> {
    match blocks.layout.blocks.get(id)? {
        Block::Leaf(leaf) => BusRange::sized(leaf.at?, leaf.size),
        Block::Group(group) => {
            let inside = group.blocks.iter().filter_map(|id| there(blocks, *id)).reduce(BusRange::hull);
            group.hard.or(inside.map(|hull| hull.rounded(group.granule)))
        }
    }
}

/// Lists the aligned places that begin right after an edge or end right before one, within the leaf's bounds.
fn around(leaf: &Leaf, edges: &BTreeSet<u64>) -> BTreeSet<u64> {
    let before = |edge: u64| edge.checked_sub(leaf.size).map(|at| at & !(leaf.align - 1));
    let all = edges.iter().flat_map(|edge| [align_up(*edge, leaf.align), before(*edge)]).flatten();
    all.filter(|at| *at >= leaf.floor && at.checked_add(leaf.size - 1).is_some_and(|last| last <= leaf.top))
        .collect()
}
