//! NUMA nodes, their memory, CPUs, distances and measured access.

use super::{SourceLine, Sourced};
use pmem_core::{AddrRange, Performance};
use std::collections::BTreeMap;

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumaNode {
    /// Its number; numbers may have gaps.
    pub id: u32,
    /// Who describes it.
    pub at: Option<SourceLine>,
    /// Its CPUs; `None` if no source says.
    pub cpus: Option<Vec<u32>>,
    /// Its memory in bytes, less what firmware and kernel keep; `None` if no source says.
    pub bytes: Option<u64>,
    /// Its memory blocks that are online, joined, in order of address. A block may have holes.
    pub blocks: Vec<AddrRange>,
    /// Those that are not online.
    pub offline: Vec<AddrRange>,
    /// From where it is reached best: of all initiators (access0), and of those with CPUs (access1).
    pub access: [Option<Access>; 2],
    /// Caches on the memory's side, in bytes, the innermost first.
    pub caches: Vec<u64>,
    /// Linux's memory tier: the lower, the faster.
    pub tier: Option<u32>,
}

/// The initiators that reach a node best.
pub type Initiators = Vec<u32>;

/// How a node's memory is reached (ACPI HMAT, `Documentation/admin-guide/mm/numaperf.rst`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// From these nodes.
    pub initiators: Initiators,
    /// As well as this.
    pub performance: Performance,
}

/// Distances between nodes, as measured or as firmware says; not additive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distances {
    /// The nodes that the columns stand for.
    pub columns: Vec<u32>,
    /// By the node of the row; 10 is local, 255 unreachable.
    pub rows: BTreeMap<u32, Vec<u32>>,
    /// Where the first row is said.
    pub at: Option<SourceLine>,
}

impl Distances {
    /// From one node to another.
    pub fn get(&self, from: u32, to: u32) -> Option<u32> {
        // Numbers without gaps are their own columns.
        let own = usize::try_from(to).ok().filter(|own| self.columns.get(*own) == Some(&to));
        let column = own.or_else(|| self.columns.iter().position(|id| *id == to))?;
        self.rows.get(&from)?.get(column).copied()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.rows.values().flatten().all(|distance| *distance >= 255)
    }

    /// The largest there is: no memory of which nobody knows the distance is nearer.
    pub fn farthest(&self) -> Option<u32> {
        self.rows.values().flatten().copied().filter(|d| *d < 255).max()
    }
}

/// Who says that addresses are a node's, the surer last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeRangeKind {
    /// ACPI's SRAT, as the kernel logs it, which may reach beyond what is there; or a device tree's memory.
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
    /// Who says so.
    pub kind: NodeRangeKind,
}

/// What sources say of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// In order of their numbers.
    pub all: Vec<NumaNode>,
    /// Between them.
    pub distances: Distances,
    /// The size of a memory block in bytes; `None` if no source says.
    pub block_size: Option<u64>,
    /// Addresses of nodes, where memory blocks do not say.
    pub ranges: Vec<Sourced<NodeRange>>,
    /// The machine's memory as a whole, in bytes.
    pub total: Option<Sourced<u64>>,
    /// The machine's CPUs as a whole.
    pub cpus: Option<Sourced<Vec<u32>>>,
    /// Memory blocks are listed, but not how large they are.
    pub blocks_unplaced: Option<SourceLine>,
}

impl NumaNode {
    /// Who describes it, for findings.
    pub(crate) fn place(&self) -> SourceLine {
        self.at.clone().unwrap_or_else(|| SourceLine::whole(format!("node {}", self.id)))
    }

    /// All of its memory blocks, joined.
    pub fn memory(&self) -> Vec<AddrRange> {
        join(self.blocks.iter().chain(&self.offline).copied().collect())
    }
}

impl Nodes {
    /// The node of that number.
    pub fn get(&self, id: u32) -> Option<&NumaNode> {
        self.all.binary_search_by_key(&id, |node| node.id).ok().and_then(|i| self.all.get(i))
    }
}

/// Sorts ranges, and joins those that touch or overlap.
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

/// What of `a` is not in `b`. Both are in order and disjoint, as [`join`] leaves them.
pub fn without(a: &[AddrRange], b: &[AddrRange]) -> Vec<AddrRange> {
    let mut out = Vec::new();
    let mut next = 0;
    for range in a {
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

/// What of `a` is in `b` too. Both are in order and disjoint, as [`join`] leaves them.
pub fn crossing(a: &[AddrRange], b: &[AddrRange]) -> Vec<AddrRange> {
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while let (Some(left), Some(right)) = (a.get(i), b.get(j)) {
        out.extend(left.intersect(*right));
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
