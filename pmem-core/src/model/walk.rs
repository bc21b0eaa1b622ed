//! The search over single addresses. Expands each address of each arena once, cheapest first.

use super::arena::{Arena, SpanState};
use super::place::{DeadEnd, Hop, Place};
use super::record::WindowId;
use super::state::State;
use crate::id::{ArenaId, LinkId, Way};
use crate::mapping::{Interleave, Mapping};
use crate::metric::Metric;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use hashbrown::HashTable;
use slotmap::Key;

/// The number of hops after which an address that never had a choice is handed to the full search, which finds loops.
const STRAIGHT: usize = 32;
/// How often a path may pass the same arena, each time at another address. Two windows that each shift by a page
/// could lead round for 2^52 hops; past this limit they count as a loop.
pub(super) const PASSES: usize = 256;
/// The number of addresses for which [`Walk::new`] sets memory aside.
const ROOM: usize = 64;

/// Memory for resolving addresses, to be reused from one address to the next. [`State::resolve_in`] allocates only if
/// the paths of one address visit more addresses than ever before.
///
/// # Examples
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Walk};
///
/// let mut pmem = Manager::new();
/// let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
/// pmem.prime(ram, AddrRange::new(0, 0x1_0000)?, Attrs::ram())?;
///
/// let mut walk = Walk::new();
/// let decoded = |addr| pmem.state().resolve_in(&mut walk, ram, addr).accepted().is_some();
/// assert_eq!([0, 0xffff, 0x1_0000].map(decoded), [true, true, false]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// The path of the answer.
    path: Vec<Hop>,
    accepted: Vec<Place>,
    visits: Vec<Visit>,
    /// Indices of visits, by arena and address.
    index: HashTable<u32>,
    open: BinaryHeap<Reverse<Open>>,
}

/// What a search found out about an address.
pub(super) enum Answer {
    Accept(Place),
    Fault(ArenaId, u64, DeadEnd),
    Ambiguous,
    Loop,
}

/// An entry of the queue: cost, then hops, then the arena (oldest first), then the address, and the visit's index.
type Open = (Metric, u32, ArenaId, u64, u32);

/// An address of an arena that a path leads to.
#[derive(Clone, Copy, Debug)]
struct Visit {
    arena: ArenaId,
    addr: u64,
    cost: Metric,
    hops: u32,
    /// The visit it was reached from at that cost, and the crossing.
    by: Option<(u32, LinkId, Way)>,
    state: Met,
}

/// What was found at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// Not expanded yet.
    Open,
    /// The arena's own address.
    Own,
    /// Claimed by one mapping; leads to this visit alone.
    Claimed(u32),
    /// Undecoded. It may lead on through mappings that yield, or nowhere.
    Stuck(DeadEnd),
    /// On a path of claiming mappings that is known to end.
    Ends,
}

/// What an arena does with one of its addresses.
enum Step<'s> {
    Own,
    Claimed(&'s [WindowId]),
    /// In an interleaved range that lacks a share. The interconnect is one whose share is present.
    Incomplete(LinkId),
    /// In an alias of a mapping that yields. Nothing else takes it.
    Alias(WindowId),
    Yields(&'s [WindowId]),
}

impl Walk {
    /// Returns a walk with memory set aside for a few dozen addresses.
    #[must_use]
    pub fn new() -> Self {
        Self {
            path: Vec::with_capacity(ROOM),
            accepted: Vec::with_capacity(ROOM),
            visits: Vec::with_capacity(ROOM),
            index: HashTable::with_capacity(ROOM),
            open: BinaryHeap::with_capacity(2 * ROOM),
        }
    }

    /// Returns a walk without memory, for a single use.
    pub(super) fn empty() -> Self {
        Self::default()
    }

    pub(super) fn path(&self) -> &[Hop] {
        &self.path
    }

    pub(super) fn accepted(&self) -> &[Place] {
        &self.accepted
    }

    pub(super) fn into_path(self) -> Vec<Hop> {
        self.path
    }

    pub(super) fn into_accepted(self) -> Vec<Place> {
        self.accepted
    }

    fn clear(&mut self) {
        self.path.clear();
        self.accepted.clear();
        self.visits.clear();
        self.index.clear();
        self.open.clear();
    }

    fn visit(&self, index: u32) -> Option<&Visit> {
        self.visits.get(index as usize)
    }

    /// Records that a path leads to an address. Returns the address's visit.
    fn reach(
        &mut self,
        (arena, addr): (ArenaId, u64),
        (cost, hops): (Metric, u32),
        by: Option<(u32, LinkId, Way)>,
    ) -> u32 {
        let visits = &mut self.visits;
        let hash = |arena: ArenaId, addr: u64| {
            (addr ^ arena.data().as_ffi().rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26)
        };
        let same = |i: &u32| visits.get(*i as usize).is_some_and(|v| (v.arena, v.addr) == (arena, addr));
        let known = self.index.find(hash(arena, addr), same).copied();
        let index = known.unwrap_or(visits.len() as u32);
        // A visit that is still open can be improved. One that is expanded cannot: the queue is ordered by cost.
        match visits.get_mut(index as usize) {
            None => {
                visits.push(Visit { arena, addr, cost, hops, by, state: Met::Open });
                let rehash = |i: &u32| visits.get(*i as usize).map_or(0, |v| hash(v.arena, v.addr));
                self.index.insert_unique(hash(arena, addr), index, rehash);
            }
            Some(known) => {
                let older = |by: Option<(u32, LinkId, Way)>| by.map(|(_, link, way)| (link, way));
                let is_better = (cost, hops, older(by)) < (known.cost, known.hops, older(known.by));
                if known.state != Met::Open || !is_better {
                    return index;
                }
                let is_same_place_in_line = (cost, hops) == (known.cost, known.hops);
                (known.cost, known.hops, known.by) = (cost, hops, by);
                if is_same_place_in_line {
                    return index;
                }
            }
        }
        self.open.push(Reverse((cost, hops, arena, addr, index)));
        index
    }

    /// Whether the path to a visit has passed the visit's arena too often.
    fn goes_on_for_ever(&self, index: u32) -> bool {
        let Some(here) = self.visit(index) else { return false };
        here.hops as usize >= PASSES
            && (here.hops as usize).is_multiple_of(PASSES)
            && self.back(index).filter(|v| v.arena == here.arena).count() >= PASSES
    }

    /// Iterates over a visit and the visits on the path to it, last first.
    fn back(&self, index: u32) -> impl Iterator<Item = &Visit> {
        let before = |visit: &&Visit| visit.by.and_then(|(from, ..)| self.visit(from));
        core::iter::successors(self.visit(index), before)
    }

    /// Makes the path to a visit the path of the answer.
    fn set_path(&mut self, state: &State, index: u32) {
        let mut path = core::mem::take(&mut self.path);
        path.clear();
        path.extend(self.back(index).filter_map(|visit| {
            let (from, link, way) = visit.by?;
            let from = self.visit(from)?;
            Some(state.hop(from.arena, from.addr, link, way))
        }));
        path.reverse();
        self.path = path;
    }

    /// Finds a cycle of claimed addresses. Returns its cheapest visit, or `None` if there is no cycle.
    fn circle(&mut self) -> Option<u32> {
        for start in 0..self.visits.len() as u32 {
            let (mut at, mut steps) = (start, 0);
            while let Some(Visit { state: Met::Claimed(next), .. }) = self.visit(at) {
                (at, steps) = (*next, steps + 1);
                if steps > self.visits.len() {
                    return self.cheapest_in_circle(at);
                }
            }
            // This path ends. Mark it, so that each visit is followed once and the search stays linear.
            let mut at = start;
            while let Some(visit) = self.visits.get_mut(at as usize)
                && let Met::Claimed(next) = visit.state
            {
                visit.state = Met::Ends;
                at = next;
            }
        }
        None
    }

    fn cheapest_in_circle(&self, start: u32) -> Option<u32> {
        let next = |at: &u32| match self.visit(*at)?.state {
            Met::Claimed(next) if next != start => Some(next),
            _ => None,
        };
        let cost = |at: &u32| self.visit(*at).map(|v| (v.cost, v.hops, v.arena, v.addr));
        core::iter::successors(Some(start), next).min_by_key(cost)
    }
}

impl State {
    /// Finds out what an address means. Leaves the path, or the ambiguous places, in `walk`.
    pub(super) fn walk(&self, walk: &mut Walk, arena: ArenaId, addr: u64) -> Answer {
        walk.clear();
        if let Some(answer) = self.straight(walk, arena, addr) {
            return answer;
        }
        walk.clear();
        if self.search(walk, arena, addr, |hop| hop.cost) {
            return Answer::Loop;
        }
        match walk.accepted[..] {
            [place] => {
                let at = |v: &Visit| (v.arena, v.addr) == (place.arena, place.addr);
                let index = walk.visits.iter().position(at).unwrap_or_default();
                walk.set_path(self, index as u32);
                Answer::Accept(place)
            }
            [] => {
                // Search again at no cost per hop: the arena reported is the one most hops away, not the dearest.
                walk.clear();
                self.search(walk, arena, addr, |_| Metric::ZERO);
                self.stuck(walk, arena, addr)
            }
            _ => {
                walk.accepted.sort_unstable_by_key(|place| (place.cost, place.arena, place.addr));
                Answer::Ambiguous
            }
        }
    }

    /// Follows an address while it has no choice, which is the common case. `None` if it has one, or takes too many
    /// hops.
    fn straight(&self, walk: &mut Walk, start: ArenaId, addr: u64) -> Option<Answer> {
        let (mut id, mut at, mut cost) = (start, addr, Metric::ZERO);
        loop {
            let Some(arena) = self.arena(id) else { return Some(Answer::Fault(id, at, DeadEnd::NoArena)) };
            let legs = match self.step(arena, at) {
                Step::Own => return Some(Answer::Accept(own(arena, id, at, cost))),
                Step::Incomplete(link) => return Some(Answer::Fault(id, at, DeadEnd::Incomplete(link))),
                Step::Claimed(legs) => legs,
                Step::Alias(leg) => &[leg],
                Step::Yields(legs) => legs,
            };
            let mut taken = legs.iter().filter_map(|leg| Some((*leg, self.translate(id, at, *leg)?)));
            let (first, second) = (taken.next(), taken.next());
            let Some((leg, next)) = first else { return Some(Answer::Fault(id, at, self.why(legs))) };
            // A second leg that takes the address is a choice, and a long path may be a loop: leave both to the full
            // search.
            if second.is_some() || walk.path.len() == STRAIGHT {
                return None;
            }
            let hop = self.hop(id, at, leg.link, leg.way);
            walk.path.push(hop);
            cost = cost + hop.cost;
            (id, at) = (self.link(leg.link)?.far(leg.way), next);
        }
    }

    /// Expands every address that a path leads to, once, cheapest first. Returns whether the address is in a loop.
    fn search(&self, walk: &mut Walk, start: ArenaId, addr: u64, price: impl Fn(&Hop) -> Metric) -> bool {
        walk.reach((start, addr), (Metric::ZERO, 0), None);
        let mut has_circle = false;
        while let Some(Reverse((cost, hops, id, at, index))) = walk.open.pop() {
            if walk.visit(index).is_none_or(|v| v.state != Met::Open || (v.cost, v.hops) != (cost, hops)) {
                continue;
            }
            let Some(arena) = self.arena(id) else { continue };
            let (claimed, legs) = match self.step(arena, at) {
                Step::Own => {
                    walk.accepted.push(own(arena, id, at, cost));
                    set(walk, index, Met::Own);
                    continue;
                }
                Step::Incomplete(link) => {
                    set(walk, index, Met::Stuck(DeadEnd::Incomplete(link)));
                    continue;
                }
                Step::Claimed(legs) => (true, legs),
                Step::Alias(leg) => (true, &[leg][..]),
                Step::Yields(legs) => (false, legs),
            };
            // Overwritten below if the address is claimed; an address that only yields stays stuck.
            set(walk, index, Met::Stuck(self.why(legs)));
            // Past the limit it is a loop only if every hop of the last round claims; otherwise this path just ends
            // here.
            if walk.goes_on_for_ever(index) {
                let round = walk.back(index).skip(1).take_while(|v| v.arena != id);
                let is_claimed = |v: &Visit| matches!(v.state, Met::Claimed(_));
                if claimed && round.into_iter().all(is_claimed) {
                    walk.set_path(self, index);
                    return true;
                }
                continue;
            }
            for leg in legs {
                let Some(next) = self.translate(id, at, *leg) else { continue };
                let Some(link) = self.link(leg.link) else { continue };
                let cost = cost + price(&self.hop(id, at, leg.link, leg.way));
                let known = walk.visits.len();
                let to =
                    walk.reach((link.far(leg.way), next), (cost, hops + 1), Some((index, leg.link, leg.way)));
                if claimed {
                    set(walk, index, Met::Claimed(to));
                    has_circle |= (to as usize) < known;
                }
            }
        }
        // Every hop of a loop claims, so only a claimed hop to a visit already known can have closed one.
        if !has_circle {
            return false;
        }
        let Some(first) = walk.circle() else { return false };
        walk.set_path(self, first);
        let mut at = first;
        while let Some(Visit { arena, addr, state: Met::Claimed(next), .. }) = walk.visit(at).copied() {
            if let Some(hop) = self.claimed_hop(arena, addr) {
                walk.path.push(hop);
            }
            at = next;
            if at == first {
                break;
            }
        }
        true
    }

    /// Returns where an address that nothing accepts got stuck: the visit most hops away, then the oldest arena.
    fn stuck(&self, walk: &mut Walk, arena: ArenaId, addr: u64) -> Answer {
        let stuck = (0..).zip(&walk.visits).filter_map(|(i, v)| match v.state {
            Met::Stuck(why) => Some((v.hops, Reverse((v.arena, v.addr)), i, why)),
            _ => None,
        });
        let farthest = stuck.max_by_key(|(hops, place, ..)| (*hops, *place));
        match farthest {
            Some((_, Reverse((arena, addr)), index, why)) => {
                walk.set_path(self, index);
                Answer::Fault(arena, addr, why)
            }
            None => Answer::Fault(arena, addr, DeadEnd::Undecoded),
        }
    }

    fn step<'s>(&'s self, arena: &'s Arena, addr: u64) -> Step<'s> {
        if arena.span_at(addr).is_some_and(|(_, span)| span.state != SpanState::Lent) {
            return Step::Own;
        }
        let claimed = arena.behind(addr);
        if let [first, ..] = claimed {
            return match self.share(*first) {
                Some(share) if claimed.len() < usize::from(share.ways()) => Step::Incomplete(first.link),
                _ => Step::Claimed(claimed),
            };
        }
        let legs = arena.fallbacks();
        if legs.is_empty() || !arena.has_aliases() {
            return Step::Yields(legs);
        }
        let alias = arena.region_at(addr).and_then(|(_, record)| record.alias());
        alias.map_or(Step::Yields(legs), |alias| Step::Alias(alias.leg()))
    }

    /// Returns the interleave share that a leg is; `None` if its mapping is another kind.
    fn share(&self, leg: WindowId) -> Option<Interleave> {
        match self.link(leg.link).map(|link| &link.direction(leg.way).mapping) {
            Some(Mapping::Interleave(share)) => Some(*share),
            _ => None,
        }
    }

    /// Returns why an address with these legs leads nowhere.
    fn why(&self, legs: &[WindowId]) -> DeadEnd {
        let table = |leg: &&WindowId| {
            let mapping = self.link(leg.link).map(|link| &link.direction(leg.way).mapping);
            matches!(mapping, Some(Mapping::Table(_)))
        };
        legs.iter().find(table).map_or(DeadEnd::Undecoded, |leg| DeadEnd::NoEntry(leg.link))
    }

    fn hop(&self, from: ArenaId, addr: u64, link: LinkId, way: Way) -> Hop {
        let cost = self.link(link).map_or(Metric::UNREACHABLE, |l| l.direction(way).metric);
        Hop { from, addr, link, way, cost }
    }

    /// Returns the one hop that a claimed address takes.
    fn claimed_hop(&self, id: ArenaId, addr: u64) -> Option<Hop> {
        let legs = match self.step(self.arena(id)?, addr) {
            Step::Claimed(legs) => legs,
            Step::Alias(leg) => &[leg],
            Step::Own | Step::Incomplete(_) | Step::Yields(_) => return None,
        };
        let leg = legs.iter().find(|leg| self.translate(id, addr, **leg).is_some())?;
        Some(self.hop(id, addr, leg.link, leg.way))
    }
}

fn set(walk: &mut Walk, index: u32, state: Met) {
    if let Some(visit) = walk.visits.get_mut(index as usize) {
        visit.state = state;
    }
}

fn own(arena: &Arena, id: ArenaId, addr: u64, cost: Metric) -> Place {
    let region = arena.region_at(addr).map(|(_, record)| record.id);
    Place { arena: id, addr, region, cost }
}
