//! What sources say about NUMA nodes: memory, CPUs, distances and measured access.

use super::{SourceLine, Sourced};
use pmem_core::{AddrRange, Performance};
use std::collections::BTreeMap;

/// A NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumaNode {
    /// Its number. Numbers may have gaps.
    pub id: u32,
    /// Where it is described.
    pub at: Option<SourceLine>,
    /// Its CPUs; `None` if no source says.
    pub cpus: Option<Vec<u32>>,
    /// Its memory in bytes, less what firmware and kernel keep; `None` if no source says.
    pub bytes: Option<u64>,
    /// Its online memory blocks, joined, in order of address. A block may contain holes.
    pub blocks: Vec<AddrRange>,
    /// Its memory blocks that are not online, joined, in order of address.
    pub offline: Vec<AddrRange>,
    /// Access from the best initiators: of any kind (`access0`), and among nodes with CPUs (`access1`).
    pub access: [Option<Access>; 2],
    /// Sizes of its memory-side caches in bytes, innermost first.
    pub caches: Vec<u64>,
    /// Linux's memory tier; lower is faster. `None` if no source says.
    pub tier: Option<u32>,
}

/// Nodes from which a node's memory is reached best.
pub type Initiators = Vec<u32>;

/// How a node's memory is reached (ACPI HMAT, `Documentation/admin-guide/mm/numaperf.rst`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The initiators that get this performance.
    pub initiators: Initiators,
    /// Latencies and bandwidths.
    pub performance: Performance,
}

/// Distances between nodes, from firmware or as measured. They are relative, and do not add up along a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distances {
    /// The node of each column.
    pub columns: Vec<u32>,
    /// By node of the row; 10 is local, 255 unreachable.
    pub rows: BTreeMap<u32, Vec<u32>>,
    /// Where the first row is.
    pub at: Option<SourceLine>,
}

impl Distances {
    /// Returns the distance from one node to another; `None` if it is unknown.
    #[must_use]
    pub fn get(&self, from: u32, to: u32) -> Option<u32> {
        // Fast path: without gaps in the numbers, node n is column n.
        let own = usize::try_from(to).ok().filter(|own| self.columns.get(*own) == Some(&to));
        let column = own.or_else(|| self.columns.iter().position(|id| *id == to))?;
        self.rows.get(&from)?.get(column).copied()
    }

    /// Whether no usable distance is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.values().flatten().all(|distance| *distance >= 255)
    }

    /// Returns the largest known distance below 255. Memory at an unknown distance is assumed to be that far.
    #[must_use]
    pub fn farthest(&self) -> Option<u32> {
        self.rows.values().flatten().copied().filter(|d| *d < 255).max()
    }
}

/// Where a node's addresses come from, in increasing order of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeRangeKind {
    /// ACPI's SRAT, which may cover more than is present, or a device tree's memory nodes.
    Srat,
    /// What the kernel's page allocator was given.
    Kernel,
}

/// Addresses of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRange {
    /// The node.
    pub node: u32,
    /// Its addresses.
    pub range: AddrRange,
    /// Where this comes from.
    pub kind: NodeRangeKind,
}

/// What sources say about NUMA nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// The nodes, in order of number.
    pub all: Vec<NumaNode>,
    /// Distances between them.
    pub distances: Distances,
    /// Size of a memory block in bytes; `None` if no source says.
    pub block_size: Option<u64>,
    /// Addresses of nodes from sources other than memory blocks.
    pub ranges: Vec<Sourced<NodeRange>>,
    /// The machine's total memory in bytes.
    pub total: Option<Sourced<u64>>,
    /// All of the machine's CPUs.
    pub cpus: Option<Sourced<Vec<u32>>>,
    /// Where memory blocks are listed without their size.
    pub blocks_unplaced: Option<SourceLine>,
}

impl NumaNode {
    /// Where the node is described, for findings.
    pub(crate) fn place(&self) -> SourceLine {
        self.at.clone().unwrap_or_else(|| SourceLine::whole(format!("node {}", self.id)))
    }

    /// Returns all of its memory blocks, online or not, joined.
    #[must_use]
    pub fn memory(&self) -> Vec<AddrRange> {
        join(self.blocks.iter().chain(&self.offline).copied().collect())
    }
}

impl Nodes {
    /// Returns the node with a number.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&NumaNode> {
        self.all.binary_search_by_key(&id, |node| node.id).ok().and_then(|i| self.all.get(i))
    }
}

/// Sorts ranges, and joins those that touch or overlap.
///
/// # Examples
///
/// ```
/// use pmem_core::AddrRange;
/// use pmem_import::{join, without};
///
/// let dimms = [AddrRange::new(0x4000, 0x8000)?, AddrRange::new(0x0, 0x4000)?];
/// let ram = join(dimms.to_vec());
/// assert_eq!(ram, [AddrRange::new(0x0, 0x8000)?]);
///
/// let stolen = [AddrRange::new(0x7000, 0x8000)?];
/// assert_eq!(without(&ram, &stolen), [AddrRange::new(0x0, 0x7000)?]);
/// # Ok::<(), pmem_core::RangeError>(())
/// ```
#[must_use]
pub fn join(mut ranges: Vec<AddrRange>) -> Vec<AddrRange> {
    ranges.sort_unstable_by_key(|range| range.start());
    let mut out: Vec<AddrRange> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if last.end().is_none_or(|end| range.start() <= end) => *last = last.hull(range),
            _ => out.push(range),
        }
    }
    out
}

/// Returns what is in `a` but not in `b`. Both must be sorted and disjoint, as [`join`] returns them.
#[must_use]
pub fn without(a: &[AddrRange], b: &[AddrRange]) -> Vec<AddrRange> {
    let mut out = Vec::new();
    let mut next = 0;
    for range in a {
        // Both lists are sorted, so what ends before this range can never matter again.
        while b.get(next).is_some_and(|gone| gone.last() < range.start()) {
            next += 1;
        }
        let mut rest = Some(*range);
        for gone in b[next..].iter().take_while(|gone| gone.start() <= range.last()) {
            let Some(now) = rest else { break };
            if !now.overlaps(*gone) {
                continue;
            }
            if gone.start() > now.start() {
                out.extend(AddrRange::inclusive(now.start(), gone.start() - 1));
            }
            rest = gone.end().and_then(|end| AddrRange::inclusive(end, now.last()).ok());
        }
        out.extend(rest);
    }
    out
}

/// Returns what is in both `a` and `b`. Both must be sorted and disjoint, as [`join`] returns them.
#[must_use]
pub fn crossing(a: &[AddrRange], b: &[AddrRange]) -> Vec<AddrRange> {
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while let (Some(left), Some(right)) = (a.get(i), b.get(j)) {
        out.extend(left.intersect(*right));
        // The range that ends first cannot cross anything further on.
        if left.last() < right.last() { i += 1 } else { j += 1 }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against one address at a time.
        #[test]
        fn sets_of_ranges_are_what_their_addresses_say(
            a in prop::collection::vec((0u64..60, 0u64..9), 0..8),
            b in prop::collection::vec((0u64..60, 0u64..9), 0..8),
        ) {
            let set = |all: &[(u64, u64)]| {
                join(all.iter().map(|(start, more)| AddrRange::inclusive(*start, start + more).unwrap()).collect())
            };
            let (a, b) = (set(&a), set(&b));
            let has = |set: &[AddrRange], addr| set.iter().any(|range| range.contains(addr));
            for addr in 0..70 {
                prop_assert_eq!(has(&without(&a, &b), addr), has(&a, addr) && !has(&b, addr));
                prop_assert_eq!(has(&crossing(&a, &b), addr), has(&a, addr) && has(&b, addr));
            }
        }
    }
}
