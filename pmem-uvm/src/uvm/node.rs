//! The counters and reserves of one node.

use super::bucket::Bucket;
use crate::counters::Reserves;
use crate::segment::Zone;
use alloc::vec::Vec;

/// The counters of one node (`/sys/devices/system/node/nodeN/meminfo`, `vm_page_numa`), in pages. Each is exact while
/// no processor is changing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeCounters {
    /// All plugged pages: the managed, the reserved, the retired and the offline ones.
    pub physmem: u64,
    /// Managed pages: free, held back, or handed out.
    pub npages: u64,
    /// Free pages, including those in caches.
    pub free: u64,
    /// Free pages outside caches that are known to be zeroed.
    pub zeropages: u64,
    /// Free pages that lie in processors' caches.
    pub cached: u64,
    /// Free pages of movable-only memory.
    pub movable: u64,
    /// Pages that are there but belong to firmware or the host.
    pub reserved: u64,
    /// Bad pages.
    pub retired: u64,
    /// Pages that are there but not in use.
    pub offline: u64,
    /// The node's reserves, and when its page daemon is woken.
    pub reserves: Reserves,
}

/// The reserves of the nodes that have any, in ascending order of node.
#[derive(Default)]
pub(super) struct NodeReserves(Vec<(u32, Reserves)>);

impl NodeReserves {
    /// Whether no node has reserves of its own.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the reserves of a node; `None` if it has none of its own.
    pub(super) fn of(&self, node: u32) -> Option<Reserves> {
        let at = self.0.binary_search_by_key(&node, |(other, _)| *other);
        at.ok().map(|at| self.0[at].1)
    }

    pub(super) fn set(&mut self, node: u32, reserves: Reserves) {
        let at = self.0.binary_search_by_key(&node, |(other, _)| *other);
        match (at, reserves == Reserves::default()) {
            (Ok(at), true) => drop(self.0.remove(at)),
            (Ok(at), false) => self.0[at].1 = reserves,
            (Err(_), true) => {}
            (Err(at), false) => self.0.insert(at, (node, reserves)),
        }
    }

    /// Returns the lowest node at or above `node` that has reserves of its own.
    pub(super) fn at_or_after(&self, node: u32) -> Option<u32> {
        self.0.get(self.0.partition_point(|(other, _)| *other < node)).map(|(node, _)| *node)
    }
}

/// The number of a node's free pages that a request may use, whether it is for movable pages or not. Pages in caches
/// are not counted.
pub(super) fn free_on(buckets: &[Bucket], of_node: impl Iterator<Item = u32>, movable: bool) -> u64 {
    let here = of_node.map(|at| &buckets[at as usize]);
    here.filter(|bucket| movable || bucket.zone == Zone::Normal).map(|bucket| bucket.map.free()).sum()
}
