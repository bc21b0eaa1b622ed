//! What two initiators see differently.

use super::piece::{ViewPiece, ViewTarget};
use super::state::State;
use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::mapping::Mapping;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use pmem_space::AddrRange;

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

/// An arena's own addresses, and where one viewer sees them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    arena: ArenaId,
    /// First and last address.
    ends: (u64, u64),
    region: Option<RegionId>,
    /// Whether it is the first viewer.
    is_left: bool,
    /// Added to an address, modulo 2^64, to give the address as seen.
    back: u64,
}

impl State {
    /// What `left` and `right` do not see alike, by the arenas that own the addresses: each place at which only one of them
    /// sees them. Where each sees them at places of its own, these are told in pairs, lowest first. Free space counts like any other; what is
    /// interleaved counts as seen where the interleaved range starts.
    pub fn diff(&self, left: ArenaId, right: ArenaId) -> Vec<Difference> {
        let mut all: Vec<Seen> = Vec::new();
        for (viewer, is_left) in [(left, true), (right, false)] {
            for piece in self.reached(viewer, AddrRange::ALL) {
                all.extend(seen(&piece, is_left));
                all.extend(self.beyond_interleave(&piece).iter().filter_map(|far| seen(far, is_left)));
            }
        }
        all.sort_unstable();
        let mut out: Vec<Difference> = Vec::new();
        // Those that cover the present address, by where they end.
        let mut here: BTreeSet<(u64, usize)> = BTreeSet::new();
        let (mut next, mut at) = (0, 0);
        loop {
            let first = here.first().map_or(next, |(_, i)| *i);
            let Some(arena) = all.get(first).map(|seen| seen.arena) else { return out };
            if here.is_empty() {
                at = all.get(next).map_or(0, |seen| seen.ends.0);
            }
            while let Some(seen) = all.get(next).filter(|seen| (seen.arena, seen.ends.0) == (arena, at)) {
                here.insert((seen.ends.1, next));
                next += 1;
            }
            let end = here.first().map_or(u64::MAX, |(last, _)| *last);
            let border = all.get(next).filter(|seen| seen.arena == arena).map(|seen| seen.ends.0 - 1);
            let last = border.map_or(end, |border| end.min(border));
            if let Ok(range) = AddrRange::inclusive(at, last) {
                differences(here.iter().filter_map(|(_, i)| all.get(*i)), arena, range, &mut out);
            }
            here.retain(|(end, _)| *end > last);
            at = last.wrapping_add(1);
        }
    }

    /// What the shares of an interleaved piece reach, as if it were seen where the piece starts.
    fn beyond_interleave(&self, piece: &ViewPiece) -> Vec<ViewPiece> {
        let ViewTarget::Interleave { links, arena, .. } = &piece.what else { return Vec::new() };
        let share = |id: &LinkId| {
            let link = self.link(*id)?;
            let way = if link.left == *arena { Way::ToRight } else { Way::ToLeft };
            let Mapping::Interleave(share) = link.direction(way).mapping else { return None };
            Some(self.reached(link.far(way), share.output()))
        };
        let beyond = links.iter().filter_map(share).flatten();
        let from_start = beyond.filter_map(|far| {
            let len = far.seen.last() - far.seen.start();
            let seen = AddrRange::inclusive(piece.seen.start(), piece.seen.start().checked_add(len)?).ok()?;
            Some(ViewPiece { seen, ..far })
        });
        from_start.collect()
    }
}

fn seen(piece: &ViewPiece, is_left: bool) -> Option<Seen> {
    let ViewTarget::Local { arena, start, region, .. } = piece.what else { return None };
    let last = start.checked_add(piece.seen.last() - piece.seen.start())?;
    Some(Seen { arena, ends: (start, last), region, is_left, back: piece.seen.start().wrapping_sub(start) })
}

/// What of those who see `range` do not see alike.
fn differences<'s>(
    here: impl Iterator<Item = &'s Seen> + Clone,
    arena: ArenaId,
    range: AddrRange,
    out: &mut Vec<Difference>,
) {
    let places = |is_left| {
        let of_one = here.clone().filter(move |seen| seen.is_left == is_left);
        of_one.map(|seen| range.start().wrapping_add(seen.back)).collect::<BTreeSet<u64>>()
    };
    let (left, right) = (places(true), places(false));
    let region = here.clone().find_map(|seen| seen.region);
    let (mut lefts, mut rights) = (left.difference(&right), right.difference(&left));
    loop {
        let (left, right) = (lefts.next().copied(), rights.next().copied());
        if left.or(right).is_none() {
            return;
        }
        let new = Difference { arena, range, region, left, right };
        match out.iter_mut().rev().take(4).find(|last| goes_on(last, &new)) {
            Some(last) => last.range = last.range.hull(range),
            None => out.push(new),
        }
    }
}

/// Whether the second is what the first would be, if it were longer.
fn goes_on(first: &Difference, second: &Difference) -> bool {
    let by = second.range.start().wrapping_sub(first.range.start());
    let moved = |place: Option<u64>| place.map(|place| place.wrapping_add(by));
    (first.arena, first.region) == (second.arena, second.region)
        && first.range.end() == Some(second.range.start())
        && (moved(first.left), moved(first.right)) == (second.left, second.right)
}
