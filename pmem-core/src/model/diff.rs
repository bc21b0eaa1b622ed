//! What two viewers see differently.

use super::piece::{ViewPiece, ViewTarget};
use super::state::State;
use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::mapping::Mapping;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use pmem_space::AddrRange;

/// A range of an arena's own addresses that two viewers do not see alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The arena.
    pub arena: ArenaId,
    /// The addresses, in that arena.
    pub range: AddrRange,
    /// The region there; `None` if the space is free.
    pub region: Option<RegionId>,
    /// The first address at which the first viewer sees the range; `None` if it does not.
    pub left: Option<u64>,
    /// The first address at which the second viewer sees the range; `None` if it does not.
    pub right: Option<u64>,
}

/// A range of an arena's own addresses, and where one viewer sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    arena: ArenaId,
    /// The first and the last address, both inclusive.
    ends: (u64, u64),
    region: Option<RegionId>,
    /// Whether this is the first viewer's.
    is_left: bool,
    /// Added to an address there, modulo 2^64, to give the address as seen.
    back: u64,
}

impl State {
    /// Returns what `left` and `right` do not see alike, ordered by the arena that owns the addresses: every place at
    /// which only one of them sees the addresses. Where both see them, but at different places, the places are
    /// paired, lowest first. Free space counts like any other. Interleaved addresses count as seen at the start of
    /// the interleaved range.
    ///
    /// # Examples
    /// The CPU sees all of RAM. A 32-bit device sees only what its window shows:
    /// ```
    /// use pmem_core::{AddrRange, ArenaType, Attrs, Direction, Manager, Mapping, Metric};
    ///
    /// let mut pmem = Manager::new();
    /// let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
    /// pmem.prime(ram, AddrRange::new(0, 0x2_0000_0000)?, Attrs::ram())?;
    /// for (name, end) in [("CPU", 0x2_0000_0000), ("32-bit device", 0x1_0000_0000)] {
    ///     let viewer = pmem.create_arena(name, ArenaType::VIEW)?;
    ///     let window = Direction::new(Mapping::window(AddrRange::new(0, end)?, 0)?, Metric::new(1));
    ///     pmem.connect_asymmetric(viewer, ram, window, Direction::closed())?;
    /// }
    /// let named = |name| pmem.state().arena_named(name).ok_or("no such arena");
    /// let differences = pmem.state().diff(named("CPU")?, named("32-bit device")?);
    /// assert_eq!(differences.len(), 1);
    /// assert_eq!(differences[0].range, AddrRange::new(0x1_0000_0000, 0x2_0000_0000)?);
    /// assert_eq!((differences[0].left, differences[0].right), (Some(0x1_0000_0000), None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
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
        // The ranges that cover the current address, ordered by where they end.
        let mut here: BTreeSet<(u64, usize)> = BTreeSet::new();
        let (mut next, mut at) = (0, 0);
        // Sorted by arena, then start: sweep the addresses of one arena after another, from border to border.
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

    /// Returns what the shares of an interleaved piece reach, as if it were all seen at the start of the piece.
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

/// Adds what the viewers of `range` do not see alike.
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

/// Whether `second` is exactly what `first` would be if it were longer.
fn goes_on(first: &Difference, second: &Difference) -> bool {
    let by = second.range.start().wrapping_sub(first.range.start());
    let moved = |place: Option<u64>| place.map(|place| place.wrapping_add(by));
    (first.arena, first.region) == (second.arena, second.region)
        && first.range.end() == Some(second.range.start())
        && (moved(first.left), moved(first.right)) == (second.left, second.right)
}
