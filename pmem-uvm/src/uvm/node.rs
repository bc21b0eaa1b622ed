//! What is said of one node's pages, and what is kept back of them.

use super::bucket::Bucket;
use crate::counters::Reserves;
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

    /// What is kept back on a node, if anything is.
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

    /// The lowest node from one on that keeps anything back.
    pub(super) fn at_or_after(&self, node: u32) -> Option<u32> {
        self.0.get(self.0.partition_point(|(other, _)| *other < node)).map(|(node, _)| *node)
    }
}

/// How many pages of a node are free for what can be moved, or for what cannot, those in caches left out.
pub(super) fn free_on(buckets: &[Bucket], of_node: impl Iterator<Item = u32>, movable: bool) -> u64 {
    let here = of_node.map(|at| &buckets[at as usize]);
    here.filter(|bucket| movable || bucket.zone == Zone::Normal).map(|bucket| bucket.map.free()).sum()
}
