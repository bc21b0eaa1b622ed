//! Better places than the first that were found: beside what is there.
//!
//! A resource that lies free on both sides can be pushed to one of them without harm, so that the places worth trying are those that begin
//! after an edge of something, or end before it, up to alignment.

use crate::BusRange;
use crate::blocks::{Blocks, Key};
use crate::layout::{Block, BlockId, Leaf};
use crate::span::align_up;
use crate::tree::Tree;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Combinations of two resources' places that are all tried.
const PAIRS: usize = 1024;
/// How often all resources are tried in turn.
const ROUNDS: usize = 3;
/// Resources that are worth trying elsewhere one by one.
const FEW: usize = 16;
/// Placements that are tried at most: of many resources at once the first that was found is as good as any.
const MOST: usize = 1500;

/// What a placement is worth, the less the better, and what it leads to; `None` if it is not legal.
pub(crate) type Rate<'r, R, T> = dyn FnMut(&BTreeMap<Key, u64>) -> Option<(R, T)> + 'r;

/// Tries places for what is to be placed, from a placement on: whatever `rate` says is best, of what it finds legal.
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
        let beside = free.iter().filter(|(_, other, _)| other != key).filter_map(|(_, other, leaf)| {
            let span = BusRange::sized(*at.get(other)?, leaf.size)?;
            Some([Some(span.first), span.last.checked_add(1)])
        });
        let mut edges = edges.get(key).cloned().unwrap_or_default();
        edges.extend(beside.flatten().flatten());
        let mut places = around(leaf, &edges);
        // Where it is now.
        places.extend(tree.functions.get(key.0).and_then(|function| function.resource(key.1)?.at));
        places
    };
    if let [(_, a, first), (_, b, second)] = free.as_slice() {
        let ours = places(a, first, &at);
        let mut tried = 0;
        'all: for place in &ours {
            let mut with = at.clone();
            with.insert(*a, *place);
            for other in places(b, second, &with) {
                tried += 1;
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

/// The group that each block is in.
fn parents(blocks: &Blocks) -> BTreeMap<BlockId, BlockId> {
    let mut out = BTreeMap::new();
    for (id, block) in blocks.layout.blocks.iter().enumerate() {
        if let Block::Group(group) = block {
            out.extend(group.blocks.iter().map(|inner| (*inner, id)));
        }
    }
    out
}

/// Edges of what lies beside a block, and beside the windows it is in, and of what those windows were.
fn edges(blocks: &Blocks, tree: &Tree, parents: &BTreeMap<BlockId, BlockId>, id: BlockId) -> BTreeSet<u64> {
    let mut out = BTreeSet::new();
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

/// What is there of a block.
fn there(blocks: &Blocks, id: BlockId) -> Option<BusRange> {
    match blocks.layout.blocks.get(id)? {
        Block::Leaf(leaf) => BusRange::sized(leaf.at?, leaf.size),
        Block::Group(group) => {
            let inside = group.blocks.iter().filter_map(|id| there(blocks, *id)).reduce(BusRange::hull);
            group.hard.or(inside.map(|hull| hull.rounded(group.granule)))
        }
    }
}

/// Places that begin after an edge, or end before it.
fn around(leaf: &Leaf, edges: &BTreeSet<u64>) -> BTreeSet<u64> {
    let before = |edge: u64| edge.checked_sub(leaf.size).map(|at| at & !(leaf.align - 1));
    let all = edges.iter().flat_map(|edge| [align_up(*edge, leaf.align), before(*edge)]).flatten();
    all.filter(|at| *at >= leaf.floor && at.checked_add(leaf.size - 1).is_some_and(|last| last <= leaf.top))
        .collect()
}
