//! The order in which a request searches the buckets.

use crate::free::room;
use crate::request::{PageRequest, Strategy};
use crate::segment::Zone;
use alloc::vec::Vec;

/// A bucket and its place in the search orders.
#[derive(Clone, Copy)]
struct Place {
    free_list: u8,
    node: u32,
    /// Movable-only buckets sort first: movable pages should leave other memory to those that need it.
    zone: Zone,
    bucket: u32,
}

impl Place {
    /// Its rank among the buckets of one node and free list.
    fn last(&self) -> bool {
        self.zone == Zone::Normal
    }
}

/// All buckets in their search orders, and the fallbacks of nodes.
#[derive(Default)]
pub(super) struct Orders {
    /// By free list, then by node.
    normal: Vec<Place>,
    /// By node, then by free list.
    local: Vec<Place>,
    /// By node: the nodes it falls back to before all others, nearest first, without itself.
    fallbacks: Vec<(u32, Vec<u32>)>,
}

impl Orders {
    /// Returns the bucket of a node, a free list and a zone.
    pub(super) fn find(&self, node: u32, free_list: u8, zone: Zone) -> Option<u32> {
        let wanted = (node, free_list, zone == Zone::Normal);
        let found = self.local.binary_search_by_key(&wanted, |p| (p.node, p.free_list, p.last()));
        found.ok().map(|at| self.local[at].bucket)
    }

    /// Reserves the memory that [`Self::add`] needs; returns whether there is enough.
    pub(super) fn make_room(&mut self) -> bool {
        room(&mut self.normal, 1) && room(&mut self.local, 1)
    }

    /// Adds a new bucket.
    pub(super) fn add(&mut self, node: u32, free_list: u8, zone: Zone, bucket: u32) {
        let place = Place { free_list, node, zone, bucket };
        let by_list = |p: &Place| (p.free_list, p.node, p.last());
        let by_node = |p: &Place| (p.node, p.free_list, p.last());
        let at = self.normal.partition_point(|other| by_list(other) < by_list(&place));
        self.normal.insert(at, place);
        let at = self.local.partition_point(|other| by_node(other) < by_node(&place));
        self.local.insert(at, place);
    }

    /// Sets which nodes a node falls back to first.
    pub(super) fn prefer(&mut self, node: u32, nearest: &[u32]) {
        let mut preferred: Vec<u32> = Vec::with_capacity(nearest.len());
        for other in nearest {
            if *other != node && !preferred.contains(other) {
                preferred.push(*other);
            }
        }
        match self.fallbacks.binary_search_by_key(&node, |(other, _)| *other) {
            Ok(at) => self.fallbacks[at].1 = preferred,
            Err(at) => self.fallbacks.insert(at, (node, preferred)),
        }
    }

    /// The nodes that have buckets, in ascending order.
    pub(super) fn nodes(&self) -> Vec<u32> {
        let mut nodes: Vec<u32> = self.local.iter().map(|place| place.node).collect();
        nodes.dedup();
        nodes
    }

    /// The buckets of a node.
    pub(super) fn of_node(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        of(&self.local, node).map(|place| place.bucket)
    }

    /// Calls `take` for the buckets in the request's order, and returns the first result.
    #[inline]
    pub(super) fn first<T>(
        &self,
        request: &PageRequest,
        mut take: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let near = match self.fallbacks.binary_search_by_key(&request.node, |(node, _)| *node) {
            Ok(at) => &*self.fallbacks[at].1,
            Err(_) => &[],
        };
        let mut look = |places: &[Place]| {
            let allowed = |place: &&Place| request.may_be_in(place.zone);
            let mine = of(places, request.node);
            let found = mine.filter(allowed).find_map(|place| take(place.bucket));
            if found.is_some() || request.strict {
                return found;
            }
            let nearer = near.iter().flat_map(|node| of(places, *node));
            let others =
                places.iter().filter(|place| place.node != request.node && !near.contains(&place.node));
            nearer.chain(others).filter(allowed).find_map(|place| take(place.bucket))
        };
        let by_list = |look: &mut dyn FnMut(&[Place]) -> Option<T>| {
            let mut rest = &self.normal[..];
            while let Some(Place { free_list, .. }) = rest.first() {
                let (these, others) = rest.split_at(of_lists_up_to(rest, *free_list));
                if let Some(found) = look(these) {
                    return Some(found);
                }
                rest = others;
            }
            None
        };
        match request.strategy {
            Strategy::Numa => look(&self.local),
            Strategy::Normal => by_list(&mut look),
            Strategy::Only(list) => look(self.of_list(list)),
            Strategy::Fallback(list) => look(self.of_list(list)).or_else(|| by_list(&mut look)),
        }
    }

    fn of_list(&self, list: u8) -> &[Place] {
        let from = self.normal.partition_point(|place| place.free_list < list);
        &self.normal[from..of_lists_up_to(&self.normal, list)]
    }
}

/// The number of places, sorted by free list, on free lists up to `list`.
fn of_lists_up_to(places: &[Place], list: u8) -> usize {
    places.partition_point(|place| place.free_list <= list)
}

/// The places of a node, in a slice sorted by node.
fn of(places: &[Place], node: u32) -> impl Iterator<Item = &Place> {
    let from = places.partition_point(|place| place.node < node);
    places[from..].iter().take_while(move |place| place.node == node)
}
