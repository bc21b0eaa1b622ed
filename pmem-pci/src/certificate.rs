//! Why something does not fit, so that a person can check it: the places that there are, what sits in each and must stay, and how many
//! are needed.

use crate::BusRange;
use crate::blocks::{Key, Thing, is_reached, walls};
use crate::check::{Side, of_resource};
use crate::plan::Goal;
use crate::span::align_up;
use crate::tree::{Index, Mobility, Space, Tree};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// A place that something of a size could have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its addresses on the bus, aligned.
    pub span: BusRange,
    /// What sits there and cannot be moved; none if it is free.
    pub blockers: Vec<Side>,
}

/// What a certificate rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// More of one size, or larger, are wanted than there are places that are free.
    TooFewPlaces,
    /// More bytes are wanted than are free.
    TooFewBytes,
    /// Every order was tried: places for the largest there are, but not for everything around it.
    Exhausted,
}

/// Why something does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The host bridge.
    pub root: usize,
    /// Ports or memory.
    pub space: Space,
    /// What this rests on.
    pub ground: Ground,
    /// What the host bridge forwards, and is not to be avoided: where it could be.
    pub room: Vec<BusRange>,
    /// Bytes of it that nothing holds that must stay.
    pub free: u64,
    /// What is wanted of this size, or larger.
    pub needs: Vec<Key>,
    /// The size in bytes.
    pub size: u64,
    /// Every aligned place for one of this size, or the first of them.
    pub places: Vec<Place>,
    /// There are more of them.
    pub more: bool,
}

/// Places that are listed.
const MOST: usize = 64;

/// Why what is wanted does not fit though everything that may be moved were.
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
    // All that must have a place: what is wanted, and what may be moved.
    let mut all: Vec<(u64, u64, Key)> = Vec::new();
    for (index, function) in tree.functions.iter().enumerate().filter(|(_, f)| f.root == root) {
        for resource in function.resources.iter().filter(|r| r.space == space) {
            let key = (index, resource.slot);
            let wanted = keys.contains(&key);
            let moves = resource.at.is_some()
                && !resource.fixed
                && function.mobility != Mobility::Pinned
                && is_reached(tree, function, Thing::of_resource(resource));
            if wanted || moves {
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
    for size in sizes.iter().rev() {
        let needs = all.iter().filter(|(own, ..)| own >= size).count() as u64;
        let top =
            wanted.iter().filter(|(own, ..)| own >= size).map(|(_, top, _)| *top).max().unwrap_or(u64::MAX);
        if count(&room, *size, top, &held) < needs {
            return Some(make(Ground::TooFewPlaces, *size));
        }
    }
    let sum = all.iter().map(|(size, ..)| *size).fold(0, u64::saturating_add);
    let largest = sizes.last().copied()?;
    Some(make(if sum > free { Ground::TooFewBytes } else { Ground::Exhausted }, largest))
}

/// What cannot be moved.
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

/// How many aligned places of a size are free.
fn count(room: &[BusRange], size: u64, top: u64, held: &[BusRange]) -> u64 {
    let free = room.iter().flat_map(|room| room.without(held));
    free.filter_map(|free| {
        let first = align_up(free.first, size)?;
        let end = free.last.min(top).checked_add(1).map_or(!(size - 1), |end| end & !(size - 1));
        Some(end.checked_sub(first)? / size)
    })
    .fold(0, u64::saturating_add)
}

/// The aligned places of a size, and what stays in each.
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
