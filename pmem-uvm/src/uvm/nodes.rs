//! Counters, reserves and scarcity of single nodes.

use super::Uvm;
use super::node::NodeCounters;
use crate::counters::Reserves;
use crate::page::PageState;
use crate::segment::Zone;

impl Uvm {
    /// Sets the reserves of one node, in addition to those of [`Self::set_reserves`], and when the page daemon is
    /// woken for it ([`Host::wake_pagedaemon_of`](super::Host::wake_pagedaemon_of)). A page request moves on to the
    /// next node when a node has no more free pages than these. A list leaves the sum of the node's `pagedaemon` and
    /// `kernel` reserves free. Drains the caches. Allocates memory.
    pub fn set_node_reserves(&mut self, node: u32, reserves: Reserves) {
        self.node_reserves.set(node, reserves);
        self.drain_caches();
    }

    /// Reads the counters of a node; `None` if it never had memory.
    #[must_use]
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

    /// Wakes the page daemon for a node if pages are scarce there; for every such node if `node` is `None`.
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

    /// Wakes the page daemon for a node that could not serve a request that insists on it.
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
