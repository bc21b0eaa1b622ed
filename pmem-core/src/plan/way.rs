//! The cheapest path by which an arena can see a region: a search from the region backward, each place once.

use super::seat::Entry;
use super::{Constraints, Plan};
use crate::error::Error;
use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::mapping::{Admits, Mapping};
use crate::metric::Metric;
use crate::model::WindowId;
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;
use pmem_space::AddrRange;

/// A hop of a path across one interconnect, through one of its windows. For a table, also where the entry may lie.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    pub(super) leg: WindowId,
    pub(super) entry: Option<Entry>,
}

/// Where an alias lies, or may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stand {
    /// At this start address.
    At(u64),
    /// Anywhere between the first and the second address, inclusive. Adding the third gives an address of a table's
    /// input.
    Within(u64, u64, u64),
}

impl Stand {
    /// Returns the part of this that is seen through a mapping that adds `offset` to addresses of `input`, for
    /// something whose last byte is `span` bytes after its first.
    fn through(self, input: AddrRange, offset: u64, span: u64) -> Option<Self> {
        match self {
            Self::At(addr) => {
                let at = addr.wrapping_sub(offset);
                let last = at.checked_add(span)?;
                (input.contains(at) && input.contains(last)).then_some(Self::At(at))
            }
            Self::Within(start, last, more) => {
                let part = input.shifted(offset)?.intersect(AddrRange::inclusive(start, last).ok()?)?;
                let part = part.shifted(0u64.wrapping_sub(offset))?;
                Some(Self::Within(part.start(), part.last(), more.wrapping_add(offset)))
            }
        }
    }
}

/// A node of the search: an alias that exists, or that could be made.
#[derive(Clone, Copy)]
struct Node {
    arena: ArenaId,
    spot: Stand,
    cost: Metric,
    hops: usize,
    /// The node it leads to, and the leg to it. `None` for the region itself.
    by: Option<(usize, WindowId)>,
    /// What exists there already: the region, or an alias of it.
    there: Option<RegionId>,
}

/// What is to be made visible, where, and at what cost.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'w> {
    pub(super) region: RegionId,
    pub(super) from: ArenaId,
    pub(super) max: Metric,
    /// Where the viewer wants to see it.
    pub(super) spot: Option<&'w Constraints>,
}

/// A path, starting at the viewer, and where its aliases would lie.
type Found = (Vec<Hop>, Vec<Stand>);

/// A hop: the leg, where it starts, and where it leads.
type Step = (WindowId, Stand, Stand);

/// The hops found to be blocked, and the last reason.
#[derive(Default)]
struct Blocked {
    hops: BTreeSet<Step>,
    why: Option<Error>,
}

impl Plan<'_> {
    /// Makes a region visible by the cheapest path that works. The returned alias has one more reference.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if no mapping leads there; [`Error::NoRoute`] if every path is blocked. Nothing is
    /// changed in either case.
    pub(super) fn show(&mut self, wanted: &Wanted<'_>) -> Result<RegionId, Error> {
        let mut blocked = Blocked::default();
        let target = Stand::At(self.range(wanted.region)?.start());
        // The search knows only what is cheap to check. Building the aliases may still fail at one hop: exclude that
        // hop and search again. Each round blocks a new hop, so this ends.
        while let Some((way, spots)) = self.way(wanted, &mut blocked)? {
            let before = self.edits.len();
            match self.chain(&way, wanted.region, wanted.spot) {
                Ok(seen) => return Ok(seen),
                Err((hop, error)) => {
                    self.undo_to(before);
                    blocked.why = Some(error);
                    let to = spots.get(hop + 1).copied().unwrap_or(target);
                    let step = way.get(hop).zip(spots.get(hop)).map(|(hop, from)| (hop.leg, *from, to));
                    if !step.is_some_and(|step| blocked.hops.insert(step)) {
                        break;
                    }
                }
            }
        }
        let (region, from) = (wanted.region, wanted.from);
        Err(match blocked.why {
            Some(why) => Error::NoRoute { region, from, tried: blocked.hops.len(), why: Box::new(why) },
            None => Error::Unreachable { from, to: self.placement(region)?.arena },
        })
    }

    /// Finds the cheapest path that contains no hop known to be blocked. The path starts at the viewer.
    fn way(&self, wanted: &Wanted<'_>, blocked: &mut Blocked) -> Result<Option<Found>, Error> {
        let (range, start) = (self.range(wanted.region)?, self.placement(wanted.region)?.arena);
        // A* from the region to the viewer. The estimate, the distance from the viewer, never exceeds the true
        // remaining cost, because it ignores what mappings let through.
        let rest = |arena| self.state().distance(wanted.from, arena);
        let first = Node {
            arena: start,
            spot: Stand::At(range.start()),
            cost: Metric::ZERO,
            hops: 0,
            by: None,
            there: Some(wanted.region),
        };
        let mut nodes = Vec::from([first]);
        let mut open = BinaryHeap::from([Reverse((rest(start), 0, None, 0))]);
        let mut done: BTreeSet<(ArenaId, Stand)> = BTreeSet::new();
        while let Some(Reverse((.., index))) = open.pop() {
            let Some(node) =
                nodes.get(index).copied().filter(|node| !done.contains(&(node.arena, node.spot)))
            else {
                continue;
            };
            if let Some((to, leg)) = node.by
                && let Err(error) = self.check_hop(&node, leg, range, wanted)
            {
                blocked.hops.extend(nodes.get(to).map(|to| (leg, node.spot, to.spot)));
                blocked.why = Some(error);
                continue;
            }
            if node.arena == wanted.from && node.by.is_some() {
                match self.check_wanted(&node, range, wanted) {
                    Ok(()) => return Ok(Some(self.laid(&nodes, index))),
                    // The path may go on, and come back to this arena at another place.
                    Err(error) => blocked.why = Some(error),
                }
            }
            done.insert((node.arena, node.spot));
            for (link, way) in self.state().crossings_into(node.arena) {
                let joined = self.link(link)?;
                let near = joined.near(way);
                let cost = node.cost + joined.direction(way).metric;
                let least = cost + rest(near);
                if !least.within(wanted.max) {
                    continue;
                }
                let before = self.before(&node, (link, way), near, range, wanted);
                if before.is_empty() && blocked.why.is_none() {
                    blocked.why = Some(Error::NotPassed { link, way, region: wanted.region, range });
                }
                for (leg, rank, spot, there) in before {
                    if !blocked.hops.contains(&(leg, spot, node.spot)) && !done.contains(&(near, spot)) {
                        open.push(Reverse((least, node.hops + 1, Some((rank, leg)), nodes.len())));
                        let (hops, by) = (node.hops + 1, Some((index, leg)));
                        nodes.push(Node { arena: near, spot, cost, hops, by, there });
                    }
                }
            }
        }
        Ok(None)
    }

    /// Returns where a direction that leads to a node may be entered: the leg, its rank (lower is preferred), the
    /// place, and the alias that is already there.
    fn before(
        &self,
        node: &Node,
        (link, way): (LinkId, Way),
        near: ArenaId,
        range: AddrRange,
        wanted: &Wanted<'_>,
    ) -> Vec<(WindowId, u8, Stand, Option<RegionId>)> {
        let spot = wanted.spot.filter(|_| near == wanted.from);
        let there = node.there.and_then(|there| self.alias_through(there, (link, way), spot));
        if let Some((alias, leg, at)) = there {
            return Vec::from([(leg, 0, Stand::At(at.start()), Some(alias))]);
        }
        let Ok(joined) = self.link(link) else { return Vec::new() };
        let span = range.last() - range.start();
        let leg = |piece| WindowId { link, way, piece };
        // A range of possible entries is cut down to its open parts here. A single place is checked when its node is
        // expanded.
        let open = |leg: WindowId, rank: u8, stand: Stand| -> Vec<(WindowId, u8, Stand, Option<RegionId>)> {
            let Stand::Within(start, last, more) = stand else {
                return Vec::from([(leg, rank, stand, None)]);
            };
            let parts = AddrRange::inclusive(start, last).map(|range| self.open_to(leg, range));
            let within = |part: AddrRange| (leg, rank, Stand::Within(part.start(), part.last(), more), None);
            parts.unwrap_or_default().into_iter().map(within).collect()
        };
        match &joined.direction(way).mapping {
            Mapping::Closed => Vec::new(),
            Mapping::Identity => open(leg(0), 0, node.spot),
            Mapping::Windows(windows) => {
                let output = match node.spot {
                    Stand::At(addr) => AddrRange::inclusive(addr, addr.saturating_add(span)),
                    Stand::Within(start, last, _) => AddrRange::inclusive(start, last),
                };
                let before =
                    windows.pieces_onto(output.unwrap_or(AddrRange::ALL)).flat_map(|(piece, window)| {
                        let stand = node.spot.through(window.limit(), window.offset_of(), span);
                        let rank = u8::from(window.admits() != Admits::Prefetchable);
                        stand.map_or_else(Vec::new, |stand| open(leg(piece), rank, stand))
                    });
                before.collect()
            }
            Mapping::Interleave(share) if share.ways() == 1 => {
                let offset = share.output().start().wrapping_sub(share.input().start());
                let stand = node.spot.through(share.input(), offset, span);
                stand.map_or_else(Vec::new, |stand| open(leg(0), 0, stand))
            }
            Mapping::Interleave(_) => Vec::new(),
            Mapping::Table(table) => {
                let (start, last) = (table.input().start(), table.input().last());
                Vec::from([(leg(0), 0, Stand::Within(start, last, 0), None)])
            }
        }
    }

    /// Checks that an alias exists at a node, or may be made there.
    fn check_hop(
        &self,
        node: &Node,
        leg: WindowId,
        range: AddrRange,
        wanted: &Wanted<'_>,
    ) -> Result<(), Error> {
        let Stand::At(start) = node.spot else { return Ok(()) };
        let seat = AddrRange::inclusive(start, start.saturating_add(range.last() - range.start()))?;
        if node.there.is_some() { Ok(()) } else { self.check_seat(leg, seat, wanted.region) }
    }

    /// Checks that an alias at a node is where the viewer wants it. Entries of tables are placed there later.
    fn check_wanted(&self, node: &Node, range: AddrRange, wanted: &Wanted<'_>) -> Result<(), Error> {
        let (Stand::At(start), Some(spot)) = (node.spot, wanted.spot) else { return Ok(()) };
        let seat = AddrRange::inclusive(start, start.saturating_add(range.last() - range.start()))?;
        self.check_asked(node.arena, seat, spot)
    }

    /// Returns the path from a node to the region, and the places of its aliases.
    fn laid(&self, nodes: &[Node], from: usize) -> Found {
        let (mut hops, mut spots): (Vec<Hop>, Vec<Stand>) = (Vec::new(), Vec::new());
        // Where the viewer, or the last table, sees the input of the next table.
        let mut seen: Option<Stand> = None;
        let mut at = nodes.get(from);
        while let Some(Node { spot, by: Some((next, leg)), .. }) = at {
            let seen_at = *seen.get_or_insert(*spot);
            let is_table = self.table(*leg).is_some();
            let entry = match seen_at {
                Stand::Within(start, last, more) if is_table => {
                    let window = AddrRange::inclusive(start, last).ok().and_then(|seen| seen.shifted(more));
                    // Past another table the entry is seen at no particular address.
                    let back = hops.iter().all(|hop: &Hop| self.table(hop.leg).is_none());
                    let back = back.then(|| 0u64.wrapping_sub(more));
                    Some(Entry { windows: window.into_iter().collect(), back })
                }
                // Not a table, or the entry exists already.
                _ => None,
            };
            if is_table {
                seen = None;
            }
            hops.push(Hop { leg: *leg, entry });
            spots.push(*spot);
            at = nodes.get(*next);
        }
        (hops, spots)
    }
}
