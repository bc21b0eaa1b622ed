//! Allocation in other arenas: a search from the requesting arena over what mappings can show, each place once.

use super::seat::Entry;
use super::way::Hop;
use super::{Plan, Request};
use crate::error::Error;
use crate::id::{ArenaId, LinkId, RegionId, Way};
use crate::mapping::{Admits, Mapping};
use crate::metric::Metric;
use crate::model::WindowId;
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;
use pmem_space::{AddrRange, Policy};

/// Addresses of an arena that the requesting arena can be made to see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    arena: ArenaId,
    /// The addresses in that arena.
    pub(super) range: AddrRange,
    /// Added to an address here, modulo 2^64, to give the address as seen; `None` past a table, which can put it
    /// anywhere.
    pub(super) back: Option<u64>,
    /// Past a table, the size of its pages. Adding `phase` to an address here, modulo 2^64, gives a multiple of it.
    pub(super) page: u64,
    pub(super) phase: u64,
    /// The last table on the path, the part of its input where the entry may lie, and that input's own `back`.
    table: Option<(LinkId, AddrRange, Option<u64>)>,
    /// Whether a window on the path carries only prefetchable regions.
    prefetchable: bool,
    cost: Metric,
    hops: u32,
    /// The lane it was reached from, and the leg crossed.
    by: Option<(usize, WindowId)>,
}

impl Lane {
    fn kind(&self) -> Kind {
        let table = self.table.map(|(link, entry, back)| {
            (link, entry.start(), entry.last(), back, self.phase & (self.page - 1))
        });
        (self.arena, self.back, table, self.prefetchable)
    }

    /// Returns the lane of the requesting arena itself.
    pub(super) const fn start(arena: ArenaId, range: AddrRange) -> Self {
        Self {
            arena,
            range,
            back: Some(0),
            page: 1,
            phase: 0,
            table: None,
            prefetchable: false,
            cost: Metric::ZERO,
            hops: 0,
            by: None,
        }
    }
}

/// An entry of the queue: cost, then hops, then the arena (oldest first), then the address as seen (from the top for
/// last fit), and the lane's index.
type Open = (Metric, u32, ArenaId, u64, usize);

/// What distinguishes lanes apart from their addresses: the arena, the offset, the last table and how it is seen, and
/// whether only prefetchable regions pass.
type Kind = (ArenaId, Option<u64>, Option<(LinkId, u64, u64, Option<u64>, u64)>, bool);

/// The lanes of a request, cheapest first.
struct Lanes<'r> {
    request: &'r Request,
    /// Whether lanes contain only addresses that are open all along the path.
    exact: bool,
    lanes: Vec<Lane>,
    open: BinaryHeap<Reverse<Open>>,
    /// For each kind, the expanded lanes that lie in no other lane: from their first address to their last, both
    /// inclusive.
    known: BTreeMap<Kind, BTreeMap<u64, u64>>,
}

impl<'r> Lanes<'r> {
    fn new(request: &'r Request, exact: bool, first: Lane) -> Self {
        let mut new =
            Self { request, exact, lanes: Vec::new(), open: BinaryHeap::new(), known: BTreeMap::new() };
        new.add(first);
        new
    }

    fn get(&self, index: usize) -> Option<&Lane> {
        self.lanes.get(index)
    }

    fn add(&mut self, lane: Lane) {
        let back = lane.back.unwrap_or_default();
        let seen = match self.request.spot.policy {
            Policy::LastFit => u64::MAX - lane.range.last().wrapping_add(back),
            _ => lane.range.start().wrapping_add(back),
        };
        if !self.is_known(&lane) {
            self.open.push(Reverse((lane.cost, lane.hops, lane.arena, seen, self.lanes.len())));
            self.lanes.push(lane);
        }
    }

    /// Whether one earlier lane, which costs no more, covers all of `lane`. A lane covered only by two together still
    /// counts as new, because a region could straddle them.
    fn is_known(&self, lane: &Lane) -> bool {
        let known = self.known.get(&lane.kind());
        let before = known.and_then(|known| known.range(..=lane.range.start()).next_back());
        before.is_some_and(|(_, last)| *last >= lane.range.last())
    }

    /// Returns the next lane, and queues what lies beyond it.
    fn next(&mut self, plan: &Plan<'_>) -> Option<usize> {
        loop {
            let Reverse((.., index)) = self.open.pop()?;
            let Some(lane) = self.get(index).copied().filter(|lane| !self.is_known(lane)) else { continue };
            let known = self.known.entry(lane.kind()).or_default();
            let inside =
                // Drop lanes that the new one covers, so that one look at the nearest start below decides `is_known`.
                known.range(lane.range.start()..).take_while(|(_, last)| **last <= lane.range.last());
            let inside: Vec<u64> = inside.map(|(start, _)| *start).collect();
            known.retain(|start, _| !inside.contains(start));
            known.insert(lane.range.start(), lane.range.last());
            for (link, way) in plan.state().crossings_out(lane.arena) {
                self.cross(plan, index, (link, way));
            }
            return Some(index);
        }
    }

    /// Takes a lane across one direction of an interconnect.
    fn cross(&mut self, plan: &Plan<'_>, index: usize, (link, way): (LinkId, Way)) {
        let (Some(lane), Ok(joined)) = (self.get(index).copied(), plan.link(link)) else { return };
        let direction = joined.direction(way);
        let cost = lane.cost + direction.metric;
        if !cost.within(self.request.max_metric) {
            return;
        }
        let beyond = |leg, range, back| Lane {
            arena: joined.far(way),
            range,
            back,
            cost,
            hops: lane.hops + 1,
            by: Some((index, leg)),
            ..lane
        };
        let leg = |piece| WindowId { link, way, piece };
        let mut inputs: Vec<(WindowId, AddrRange, u64, bool)> = Vec::new();
        match &direction.mapping {
            Mapping::Closed => {}
            Mapping::Identity => inputs.push((leg(0), lane.range, 0, false)),
            Mapping::Windows(windows) => {
                for (piece, window) in (0..).zip(windows.pieces()) {
                    let carries =
                        self.request.props.is_none_or(|props| windows.yields() || window.carries(props));
                    let part = window.limit().intersect(lane.range).filter(|_| carries);
                    let only = !windows.yields() && window.admits() == Admits::Prefetchable;
                    inputs.extend(part.map(|part| (leg(piece), part, window.offset_of(), only)));
                }
            }
            Mapping::Interleave(share) if share.ways() == 1 => {
                let offset = share.output().start().wrapping_sub(share.input().start());
                inputs.extend(share.input().intersect(lane.range).map(|part| (leg(0), part, offset, false)));
            }
            Mapping::Interleave(_) => {}
            Mapping::Table(table) => {
                let entry = table.input().intersect(lane.range);
                if let Some(entry) = entry.filter(|_| !self.passes(index, leg(0))) {
                    let page = lane.page.max(table.page());
                    let start = self.request.spot.start.zip(lane.back);
                    let past_one = if lane.table.is_some() { lane.phase } else { 0 };
                    let phase = start.map_or(past_one, |(start, back)| back.wrapping_sub(start));
                    let table = Some((link, entry, lane.back));
                    self.add(Lane { page, phase, table, ..beyond(leg(0), AddrRange::ALL, None) });
                }
            }
        }
        for (leg, part, offset, only) in inputs {
            let parts = if self.exact { plan.open_to(leg, part) } else { Vec::from([part]) };
            for range in parts.into_iter().filter_map(|part| part.shifted(offset)) {
                let back = lane.back.map(|back| back.wrapping_sub(offset));
                let phase = lane.phase.wrapping_sub(offset);
                let prefetchable = lane.prefetchable || only;
                self.add(Lane { phase, prefetchable, ..beyond(leg, range, back) });
            }
        }
    }

    /// Whether the path to a lane goes through a leg.
    fn passes(&self, index: usize, leg: WindowId) -> bool {
        let before = |lane: &&Lane| self.get(lane.by?.0);
        let mut way = core::iter::successors(self.get(index), before);
        way.any(|lane| lane.by.is_some_and(|(_, by)| by == leg))
    }

    /// Returns the path from the requesting arena to a lane.
    fn way(&self, plan: &Plan<'_>, index: usize) -> Vec<Hop> {
        let mut hops = Vec::new();
        let mut at = self.get(index);
        while let Some((from, leg)) = at.and_then(|lane| lane.by) {
            let near = self.get(from);
            // The entry may lie anywhere in the part of the table's input that the lane covers.
            let entry = plan.table(leg).zip(near).and_then(|(table, near)| {
                Some(Entry { windows: Vec::from([table.input().intersect(near.range)?]), back: near.back })
            });
            hops.push(Hop { leg, entry });
            at = near;
        }
        hops.reverse();
        hops
    }
}

impl Plan<'_> {
    /// Allocates in another arena a region that `arena` can see. `near` is why `arena` itself has none.
    pub(super) fn alloc_elsewhere(
        &mut self,
        arena: ArenaId,
        request: &Request,
        near: Error,
    ) -> Result<RegionId, Error> {
        let mut best: Option<Error> = None;
        let first = Lane::start(arena, request.place()?);
        // Optimistic first: assume that nothing is in the way. If something is, start over with only what is open.
        let mut lanes = Lanes::new(request, false, first);
        while let Some(index) = lanes.next(self) {
            let Some(lane) = lanes.get(index).copied() else { continue };
            if lane.arena == arena || !self.suits(lane.arena, request) {
                continue;
            }
            match self.alloc_in_lane(request, lane, &lanes.way(self, index)) {
                Ok(seen) => return Ok(seen),
                Err((blocked, error)) => {
                    best = Some(match best {
                        Some(best) => nearer(best, error),
                        None => error,
                    });
                    if blocked && !lanes.exact {
                        lanes = Lanes::new(request, true, first);
                    }
                }
            }
        }
        Err(match best {
            Some(best) => nearer(best, near),
            None => near,
        })
    }

    /// Allocates in a lane, and makes the region visible in the requesting arena.
    ///
    /// # Errors
    /// Whether space was found but could not be made visible, and why.
    fn alloc_in_lane(
        &mut self,
        request: &Request,
        lane: Lane,
        way: &[Hop],
    ) -> Result<RegionId, (bool, Error)> {
        let before = self.edits.len();
        let region = self.alloc_here(lane.arena, request, lane).map_err(|error| (false, error))?;
        let seen = self.chain(way, region, Some(&request.spot)).map_err(|(_, error)| error);
        let done = seen.and_then(|seen| {
            self.check_let_through(seen, request)?;
            let target = self.root_of(seen)?;
            self.drop_extra(target)?;
            Ok(seen)
        });
        done.map_err(|error| {
            self.undo_to(before);
            (true, error)
        })
    }

    /// Returns the region at the end of a chain of aliases.
    fn root_of(&self, region: RegionId) -> Result<RegionId, Error> {
        let mut at = region;
        while let Some(alias) = self.placement(at)?.record.alias() {
            at = alias.target;
        }
        Ok(at)
    }

    /// Checks that the interconnects on the path let through the accesses that the request needs.
    fn check_let_through(&self, region: RegionId, request: &Request) -> Result<(), Error> {
        let (asked, allowed) = (request.prot.unwrap_or_default(), self.attrs(region)?.prot());
        if allowed.contains(asked) { Ok(()) } else { Err(Error::Prot { region, asked, allowed }) }
    }

    /// Gives up the reference that allocation added: the alias holds one of its own.
    fn drop_extra(&mut self, region: RegionId) -> Result<(), Error> {
        let refs = self.refs(region)?;
        self.set_count(region, refs.saturating_sub(1));
        Ok(())
    }
}

/// Returns the error of the attempt that came closer: space that could not be made visible, else the larger gap.
fn nearer(one: Error, other: Error) -> Error {
    match (&one, &other) {
        (Error::NoSpace { largest: a, .. }, Error::NoSpace { largest: b, .. }) if b > a => other,
        (Error::NoSpace { .. }, Error::NoSpace { .. }) => one,
        (Error::NoSpace { .. }, _) => other,
        _ => one,
    }
}
