//! Explains why something does not fit, in terms that a person can check: which places there are, what sits in
//! each and cannot move, and how many places are needed.

use crate::BusRange;
use crate::blocks::{Key, Thing, is_reached, walls};
use crate::check::{Side, of_resource};
use crate::plan::Goal;
use crate::span::align_up;
use crate::tree::{Index, Mobility, Space, Tree};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// An aligned place that a resource of the size in question could have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its bus addresses, aligned to the size.
    pub span: BusRange,
    /// The resources there that cannot move; empty if the place is free.
    pub blockers: Vec<Side>,
}

/// The argument that a [`Reason`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// There are fewer free places of one alignment than resources with that alignment or a larger one.
    TooFewPlaces,
    /// There are fewer free bytes than the resources need.
    TooFewBytes,
    /// Places and bytes would be enough, but no arrangement fits everything around the largest resource: all
    /// were tried.
    Exhausted,
}

/// Why something does not fit below one host bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The host bridge, as an index into [`Tree::roots`].
    pub root: usize,
    /// Whether I/O ports or memory are short.
    pub space: Space,
    /// The argument.
    pub ground: Ground,
    /// The bus addresses that can be used: the apertures without the ranges to avoid.
    pub room: Vec<BusRange>,
    /// The bytes of `room` that nothing immovable holds.
    pub free: u64,
    /// The resources aligned to `size` or more that need a place: the wanted ones, and those that could be moved.
    pub needs: Vec<Key>,
    /// The alignment that the argument is about, in bytes: the size of a BAR, or of a single virtual function's BAR.
    pub size: u64,
    /// The aligned places for `size`, from low to high addresses; at most 64.
    pub places: Vec<Place>,
    /// Whether there are more places than listed.
    pub more: bool,
}

/// The most places that a reason lists.
const MOST: usize = 64;

/// Explains why `keys` do not fit, even if everything that may move moves. Returns one reason for each host
/// bridge and space.
///
/// `keys` are those of [`Verdict::No`](crate::plan::Verdict::No).
#[must_use]
pub fn why(goal: &Goal, keys: &[Key]) -> Vec<Reason> {
    let tree = &goal.tree;
    let mut spaces: Vec<(usize, Space)> = keys
        .iter()
        .filter_map(|(index, slot)| {
            let function = tree.functions.get(*index)?;
            Some((function.root, function.resource(*slot)?.space))
        })
        .collect();
    spaces.sort_unstable();
    spaces.dedup();
    spaces.into_iter().filter_map(|(root, space)| reason(tree, root, space, keys)).collect()
}

fn reason(tree: &Tree, root: usize, space: Space, keys: &[Key]) -> Option<Reason> {
    let room = BusRange { first: 0, last: u64::MAX }.without(&walls(tree, root, space));
    let stays = staying(tree, root, space, &keys.iter().map(|(index, _)| *index).collect());
    let held: Vec<BusRange> = stays.iter().map(|side| side.span).collect();
    let free =
        room.iter().flat_map(|room| room.without(&held)).map(BusRange::len).fold(0, u64::saturating_add);
    // Everything that must be placed: the wanted resources, and those that could be moved out of the way.
    let mut all: Vec<(u64, u64, Key)> = Vec::new();
    let mut sum: u64 = 0;
    for (index, function) in tree.functions.iter().enumerate().filter(|(_, f)| f.root == root) {
        for resource in function.resources.iter().filter(|r| r.space == space) {
            let key = (index, resource.slot);
            let wanted = keys.contains(&key);
            let moves = resource.at.is_some()
                && !resource.fixed
                && function.mobility != Mobility::Pinned
                && is_reached(tree, function, Thing::of_resource(resource));
            if wanted || moves {
                sum = sum.saturating_add(resource.size);
                all.push((resource.align, resource.top, key));
            }
        }
    }
    let wanted: Vec<&(u64, u64, Key)> = all.iter().filter(|(.., key)| keys.contains(key)).collect();
    let mut sizes: Vec<u64> = wanted.iter().map(|(size, ..)| *size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let make = |ground, size: u64| {
        let needs = all.iter().filter(|(own, ..)| *own >= size).map(|(.., key)| *key).collect();
        let top =
            wanted.iter().filter(|(own, ..)| *own >= size).map(|(_, top, _)| *top).max().unwrap_or(u64::MAX);
        let (places, more) = places(&room, size, top, &stays);
        Reason { root, space, ground, room: room.clone(), free, needs, size, places, more }
    };
    // Largest size first: too few places for it is the shortest argument. A larger resource takes at least one
    // place of a smaller size, so it counts there too.
    for size in sizes.iter().rev() {
        let needs = all.iter().filter(|(own, ..)| own >= size).count() as u64;
        let top =
            wanted.iter().filter(|(own, ..)| own >= size).map(|(_, top, _)| *top).max().unwrap_or(u64::MAX);
        if count(&room, *size, top, &held) < needs {
            return Some(make(Ground::TooFewPlaces, *size));
        }
    }
    let largest = sizes.last().copied()?;
    Some(make(if sum > free { Ground::TooFewBytes } else { Ground::Exhausted }, largest))
}

/// Lists the resources that cannot move.
fn staying(tree: &Tree, root: usize, space: Space, asked: &BTreeSet<Index>) -> Vec<Side> {
    let functions = tree.functions.iter().enumerate().filter(|(_, f)| f.root == root);
    functions
        .flat_map(|(index, function)| {
            let pinned = function.mobility == Mobility::Pinned && !asked.contains(&index);
            let own = function.resources.iter().filter(move |r| r.space == space && (pinned || r.fixed));
            let reached = own.filter(|r| is_reached(tree, function, Thing::of_resource(r)));
            reached.filter_map(move |r| of_resource(index, function, r)).collect::<Vec<_>>()
        })
        .collect()
}

/// Counts the free aligned places of a size.
fn count(room: &[BusRange], size: u64, top: u64, held: &[BusRange]) -> u64 {
    let free = room.iter().flat_map(|room| room.without(held));
    free.filter_map(|free| {
        let first = align_up(free.first, size)?;
        let end = free.last.min(top).checked_add(1).map_or(!(size - 1), |end| end & !(size - 1));
        Some(end.checked_sub(first)? / size)
    })
    .fold(0, u64::saturating_add)
}

/// Lists the aligned places of a size with what cannot move in each, and whether there are more than [`MOST`].
fn places(room: &[BusRange], size: u64, top: u64, stays: &[Side]) -> (Vec<Place>, bool) {
    let mut out = Vec::new();
    for room in room {
        let mut next = align_up(room.first, size);
        while let Some(first) = next {
            let Some(span) = BusRange::sized(first, size).filter(|s| s.last <= room.last.min(top)) else {
                break;
            };
            if out.len() == MOST {
                return (out, true);
            }
            let blockers = stays.iter().filter(|side| side.span.overlaps(span)).copied().collect();
            out.push(Place { span, blockers });
            next = first.checked_add(size);
        }
    }
    (out, false)
}
