//! One node's pages: counted, and some of them kept back.

use super::{Bucket, Reserves, Uvm};
use crate::page::PageState;
use crate::segment::Zone;
use alloc::vec::Vec;

/// The pages of one node (`/sys/devices/system/node/nodeN/meminfo`, `vm_page_numa`), each counter exact while no processor is about to change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeCounters {
    /// Pages that are there: those that are managed, and the reserved, the retired and the offline.
    pub physmem: u64,
    /// Pages that are managed: free, held back, or handed out.
    pub npages: u64,
    /// Pages to be handed out, those in caches included.
    pub free: u64,
    /// Of these, pages that are known to be zeroed.
    pub zeropages: u64,
    /// Of the free pages, those that a processor's cache has.
    pub cached: u64,
    /// Of the free pages, those that are only for movable ones.
    pub movable: u64,
    /// Pages that are there and not ours to hand out.
    pub reserved: u64,
    /// Bad pages.
    pub retired: u64,
    /// Pages that are there and not in use.
    pub offline: u64,
    /// What is kept back on it, and when its page daemon is woken.
    pub reserves: Reserves,
}

/// What is kept back on nodes, of those that keep anything back.
#[derive(Default)]
pub(super) struct NodeReserves(Vec<(u32, Reserves)>);

impl NodeReserves {
    /// Whether nothing is kept back on any node.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is kept back on a node, if anything is on any.
    #[inline]
    pub(super) fn of(&self, node: u32) -> Option<Reserves> {
        if self.is_empty() {
            return None;
        }
        let at = self.0.binary_search_by_key(&node, |(other, _)| *other);
        at.ok().map(|at| self.0[at].1)
    }

    fn set(&mut self, node: u32, reserves: Reserves) {
        let at = self.0.binary_search_by_key(&node, |(other, _)| *other);
        match (at, reserves == Reserves::default()) {
            (Ok(at), true) => drop(self.0.remove(at)),
            (Ok(at), false) => self.0[at].1 = reserves,
            (Err(_), true) => {}
            (Err(at), false) => self.0.insert(at, (node, reserves)),
        }
    }

    /// The lowest node from one on that keeps anything back.
    fn at_or_after(&self, node: u32) -> Option<u32> {
        self.0.get(self.0.partition_point(|(other, _)| *other < node)).map(|(node, _)| *node)
    }
}

impl Uvm {
    /// Sets how many pages of one node are kept back, beside those of [`Self::set_reserves`], and when the page daemon is woken for it
    /// ([`Host::wake_pagedaemon_of`](super::Host::wake_pagedaemon_of)). A request goes on to the next node when a node has no more than
    /// that; lists leave both reserves. What is in caches goes back. Takes memory.
    pub fn set_node_reserves(&mut self, node: u32, reserves: Reserves) {
        self.node_reserves.set(node, reserves);
        self.drain_caches();
    }

    /// The pages of a node; `None` if it never had any.
    pub fn node_counters(&self, node: u32) -> Option<NodeCounters> {
        let mut buckets = self.orders.of_node(node).map(|at| &self.buckets[at as usize]).peekable();
        buckets.peek()?;
        let reserves = self.node_reserves.of(node).unwrap_or_default();
        let mut counters = NodeCounters { reserves, ..NodeCounters::default() };
        for bucket in buckets {
            let free = bucket.map.free();
            let [reserved, retired, offline] = [PageState::Reserved, PageState::Retired, PageState::Offline]
                .map(|state| bucket.idle.of(state));
            counters.physmem += bucket.map.held();
            counters.npages += bucket.map.held() - reserved - retired - offline;
            counters.free += free;
            counters.zeropages += bucket.map.zeroed();
            counters.movable += if bucket.zone == Zone::Movable { free } else { 0 };
            counters.reserved += reserved;
            counters.retired += retired;
            counters.offline += offline;
        }
        let mine = self.caches.iter().filter(|cache| cache.node() == node);
        counters.cached = mine.map(|cache| cache.len() as u64).sum();
        counters.free += counters.cached;
        Some(counters)
    }

    /// Wakes the page daemon for the node of a page if pages are scarce there.
    #[inline]
    pub(super) fn check_scarce_by(&mut self, frame: u64) {
        if self.node_reserves.is_empty() {
            return;
        }
        let node = self.find(frame).map(|(segment, _)| segment.node());
        self.check_scarce_on(node);
    }

    /// Wakes the page daemon for a node if pages are scarce there; for each one if it may be any.
    pub(super) fn check_scarce_on(&mut self, node: Option<u32>) {
        let mut next = self.node_reserves.at_or_after(node.unwrap_or(0));
        while let Some(at) = next.filter(|at| node.is_none_or(|node| node == *at)) {
            let counters = self.node_counters(at).unwrap_or_default();
            if counters.free < counters.reserves.freemin {
                self.wake_for(at, &counters);
            }
            next = at.checked_add(1).and_then(|from| self.node_reserves.at_or_after(from));
        }
    }

    /// Wakes the page daemon for a node that could not serve a request that is strict on it.
    pub(super) fn wake_node(&mut self, node: u32) {
        if self.node_reserves.of(node).is_some() {
            let counters = self.node_counters(node).unwrap_or_default();
            self.wake_for(node, &counters);
        }
    }

    fn wake_for(&mut self, node: u32, counters: &NodeCounters) {
        self.host.wake_pagedaemon_of(node, counters);
    }
}

/// How many pages of a node are free for what can be moved, or for what cannot, those in caches left out.
pub(super) fn free_on(buckets: &[Bucket], of_node: impl Iterator<Item = u32>, movable: bool) -> u64 {
    let here = of_node.map(|at| &buckets[at as usize]);
    here.filter(|bucket| movable || bucket.zone == Zone::Normal).map(|bucket| bucket.map.free()).sum()
}
