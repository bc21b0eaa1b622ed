//! Ways from one arena to another, in order of cost.

use crate::id::ArenaId;
use crate::mapping::Mapping;
use crate::metric::Metric;
use crate::model::State;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use pmem_space::AddrRange;

use crate::id::{LinkId, Way};

/// One interconnect in one direction.
pub(super) type Crossing = (LinkId, Way);

/// Ways that are tried before giving up.
const ROUTE_LIMIT: usize = 64;
/// Unfinished ways that are looked at.
const SEARCH_LIMIT: usize = 1 << 14;

/// An unfinished way: ordered by what it will cost at least, then hops, then interconnects.
type Partial = Reverse<(Metric, usize, Vec<Crossing>, Metric, ArenaId)>;

/// Ways from `from` to `to` that cost no more than `max` and pass no arena twice: cheapest first, then fewest hops,
/// then the oldest interconnects.
pub(super) fn routes(state: &State, from: ArenaId, to: ArenaId, max: Metric) -> Vec<Vec<Crossing>> {
    let rest = |arena| state.distance_back(to, arena);
    let mut found = Vec::new();
    let mut open: BinaryHeap<Partial> = BinaryHeap::new();
    open.push(Reverse((rest(from), 0, Vec::new(), Metric::ZERO, from)));
    for _ in 0..SEARCH_LIMIT {
        let Some(Reverse((_, hops, path, cost, at))) = open.pop() else { break };
        if at == to {
            found.push(path);
            if found.len() == ROUTE_LIMIT {
                break;
            }
            continue;
        }
        for (link, way, metric, next) in state.neighbours(at) {
            let (cost, been) = (cost + metric, passes(state, from, &path, next));
            let least = cost + rest(next);
            if !been && least.within(max) {
                let mut path = path.clone();
                path.push((link, way));
                open.push(Reverse((least, hops + 1, path, cost, next)));
            }
        }
    }
    found
}

fn passes(state: &State, from: ArenaId, path: &[Crossing], arena: ArenaId) -> bool {
    arena == from || path.iter().any(|(link, way)| state.link(*link).is_some_and(|l| l.far(*way) == arena))
}

/// Addresses of an arena along a way, and how they are seen from its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    /// The addresses here.
    pub(super) range: AddrRange,
    /// Added to an address here, modulo 2^64, to give the address as seen; `None` past a table, which puts them anywhere.
    pub(super) back: Option<u64>,
    /// What the addresses must be aligned to here, for a table's pages.
    pub(super) align: u64,
}

impl Lane {
    /// The addresses of the arena that asks.
    pub(super) const fn start(range: AddrRange) -> Self {
        Self { range, back: Some(0), align: 1 }
    }
}

/// The addresses at the end of `route` that `window` at its start may lead to.
pub(super) fn lanes(state: &State, window: AddrRange, route: &[Crossing]) -> Vec<Lane> {
    route.iter().fold(Vec::from([Lane::start(window)]), |lanes, crossing| {
        lanes.iter().flat_map(|lane| cross(state, *lane, *crossing)).collect()
    })
}

fn cross(state: &State, lane: Lane, (link, way): Crossing) -> Vec<Lane> {
    let moved = |input: AddrRange, offset: u64| {
        let range = input.intersect(lane.range)?.shifted(offset)?;
        Some(Lane { range, back: lane.back.map(|back| back.wrapping_sub(offset)), ..lane })
    };
    match state.link(link).map(|l| &l.direction(way).mapping) {
        None | Some(Mapping::Closed) => Vec::new(),
        Some(Mapping::Identity) => Vec::from([lane]),
        Some(Mapping::Windows(windows)) => {
            windows.pieces().iter().filter_map(|w| moved(w.limit_of(), w.offset_of())).collect()
        }
        Some(Mapping::Interleave(share)) if share.ways() == 1 => {
            moved(share.input(), share.output().start().wrapping_sub(share.input().start()))
                .into_iter()
                .collect()
        }
        Some(Mapping::Interleave(_)) => Vec::new(),
        Some(Mapping::Table(table)) => {
            let reached = table.input().intersect(lane.range);
            let anywhere = Lane { range: AddrRange::ALL, back: None, align: lane.align.max(table.page()) };
            reached.map(|_| anywhere).into_iter().collect()
        }
    }
}
