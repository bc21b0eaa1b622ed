//! The kind of memory at each address: from the names in listings, from tables, and from how fast it is.

use super::memory::{MemoryKind, RamPiece};
use crate::facts::{Facts, Listing, Nodes, NumaNode, join, without};
use pmem_core::{AddrRange, Performance};
use std::collections::BTreeMap;

/// The kind of memory that a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeKind {
    /// The kind.
    pub kind: MemoryKind,
    /// No source says so; it follows from how fast the memory is.
    pub inferred: bool,
}

/// Refines pieces that are only known to be RAM with what tables say about their addresses: CXL windows lead to CXL
/// memory, and SRAT marks persistent memory.
pub(super) fn of_pieces(facts: &Facts, pieces: Vec<RamPiece>) -> Vec<RamPiece> {
    // A window's restrictions (CXL 3.1, table 9-22): bit 2 volatile, bit 3 persistent memory.
    let windows = facts.cxl.windows.iter().filter_map(|said| {
        let kind = if said.value.restrictions & 0xc == 8 { MemoryKind::Persistent } else { MemoryKind::Cxl };
        Some((AddrRange::sized(said.value.base, said.value.size).ok()?, kind))
    });
    let kept = facts
        .tables
        .memory
        .iter()
        .map(|said| &said.value)
        .filter(|found| found.enabled && found.is_persistent);
    let kept = kept
        .filter_map(|found| Some((AddrRange::sized(found.base, found.length).ok()?, MemoryKind::Persistent)));
    let mut out = pieces;
    for kind in [MemoryKind::Cxl, MemoryKind::Persistent] {
        let said = windows.clone().chain(kept.clone()).filter(|(_, own)| *own == kind);
        let there = join(said.map(|(range, _)| range).collect());
        if !there.is_empty() {
            out = out.into_iter().flat_map(|piece| split(piece, &there, kind)).collect();
        }
    }
    out
}

/// Splits a piece where the ranges of a kind begin and end.
fn split(piece: RamPiece, there: &[AddrRange], kind: MemoryKind) -> Vec<RamPiece> {
    if piece.kind != MemoryKind::Dram {
        return vec![piece];
    }
    let own = [piece.range];
    let inside = there.iter().filter_map(|range| range.intersect(piece.range)).map(|range| (range, kind));
    let outside = without(&own, there).into_iter().map(|range| (range, piece.kind));
    let mut parts: Vec<(AddrRange, MemoryKind)> = inside.chain(outside).collect();
    parts.sort_unstable_by_key(|(range, _)| range.start());
    parts.into_iter().map(|(range, kind)| RamPiece { range, kind, ..piece.clone() }).collect()
}

/// Decides which kind of memory each node has.
pub(super) fn of_nodes(
    numa: &Nodes,
    listing: &Listing,
    ram: &[RamPiece],
    dax: &BTreeMap<String, u32>,
) -> BTreeMap<u32, NodeKind> {
    let best =
        |node: &NumaNode| node.access.iter().flatten().filter_map(|a| a.performance.read_bandwidth).max();
    let has_cpus = |node: &NumaNode| node.cpus.as_ref().is_some_and(|cpus| !cpus.is_empty());
    let usual = numa.all.iter().filter(|node| has_cpus(node)).filter_map(best).max();
    let slowest_tier = numa.all.iter().filter(|node| has_cpus(node)).filter_map(|node| node.tier).max();
    let lists = |begin: &str| listing.lines.iter().any(|line| line.name.starts_with(begin));
    let mut out = BTreeMap::new();
    for node in numa.all.iter().filter(|node| node.bytes != Some(0)) {
        let mut said: Vec<MemoryKind> =
            ram.iter().filter(|piece| piece.node == Some(node.id)).map(|piece| piece.kind).collect();
        said.dedup();
        let of_dax = dax.iter().any(|(_, id)| *id == node.id) && lists("CXL Window");
        let inferred = || {
            if has_cpus(node) {
                return Some(MemoryKind::Dram);
            }
            // For memory without CPUs: HBM is faster than the CPUs' own memory, memory behind a link is slower.
            let (own, usual) = (best(node)?, usual?);
            let slower = node.tier.zip(slowest_tier).is_some_and(|(tier, usual)| tier > usual) || own < usual;
            match (own > usual + usual / 2, slower) {
                (true, _) => Some(MemoryKind::Hbm),
                (false, true) if lists("CXL Window") => Some(MemoryKind::Cxl),
                (false, true) if lists("Persistent Memory") => Some(MemoryKind::Persistent),
                _ => None,
            }
        };
        let kind = match (&said[..], of_dax) {
            ([kind], _) if *kind != MemoryKind::Dram || has_cpus(node) => {
                Some(NodeKind { kind: *kind, inferred: false })
            }
            (_, true) => Some(NodeKind { kind: MemoryKind::Cxl, inferred: false }),
            _ => inferred().map(|kind| NodeKind { kind, inferred: !has_cpus(node) }),
        };
        if let Some(kind) = kind {
            out.insert(node.id, kind);
        }
    }
    out
}

/// Linux's scale for memory: a tier spans 128 units, and DRAM is in the middle of tier 4
/// (`include/linux/memory-tiers.h`).
const TIER: u64 = 128;
const DRAM: u64 = 4 * TIER + TIER / 2;

/// Returns the tier that Linux would give each node from its speed relative to the CPUs' own memory
/// (`mm/memory-tiers.c`, `mt_perf_to_adistance`). Empty if a source gives any node a tier.
pub(super) fn tiers(numa: &Nodes) -> BTreeMap<u32, u32> {
    let mut out = BTreeMap::new();
    if numa.all.iter().any(|node| node.tier.is_some()) {
        return out;
    }
    let sums = |node: &NumaNode| {
        // Prefer access from CPUs (access1) over access from any initiator.
        let found = node.access.iter().rev().flatten().map(|access| access.performance);
        let mut sums = found.filter_map(
            |Performance { read_latency, write_latency, read_bandwidth, write_bandwidth }| {
                let sum = |a: Option<u32>, b: Option<u32>| {
                    Some(u64::from(a?) + u64::from(b?)).filter(|sum| *sum > 0)
                };
                sum(read_latency, write_latency).zip(sum(read_bandwidth, write_bandwidth))
            },
        );
        sums.next()
    };
    let has_memory =
        |node: &&NumaNode| node.bytes.is_some_and(|bytes| bytes > 0) || !node.memory().is_empty();
    let has_cpus = |node: &&NumaNode| node.cpus.as_ref().is_some_and(|cpus| !cpus.is_empty());
    let with_memory = || numa.all.iter().filter(has_memory);
    let Some((latency, bandwidth)) = with_memory().filter(has_cpus).find_map(sums) else { return out };
    for node in with_memory() {
        let distance = match sums(node) {
            _ if has_cpus(&node) => DRAM,
            // Rounds after each step, as Linux does.
            Some((own, much)) => {
                (u128::from(DRAM * own / latency) * u128::from(bandwidth) / u128::from(much)) as u64
            }
            None => continue,
        };
        out.insert(node.id, u32::try_from(distance / TIER).unwrap_or(u32::MAX));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::{Affinity, Cfmws};
    use crate::facts::{Access, SourceLine, Sourced};

    fn piece(start: u64, last: u64, kind: MemoryKind) -> RamPiece {
        RamPiece {
            range: AddrRange::inclusive(start, last).unwrap(),
            kind,
            node: None,
            at: SourceLine::whole("t"),
        }
    }

    #[test]
    fn what_lies_in_a_window_is_behind_cxl_and_what_keeps_its_content_is_persistent() {
        let window = |base, size, restrictions| {
            let window = Cfmws {
                base,
                size,
                ways: Some(1),
                granularity: Some(256),
                is_xor: false,
                restrictions,
                qos: 0,
                targets: vec![0],
                offset: 0,
            };
            Sourced::new(window, SourceLine::whole("CEDT"))
        };
        let mut facts = Facts::default();
        facts.cxl.windows =
            vec![window(0x1_0000_0000, 0x1_0000_0000, 0x6), window(0x4_0000_0000, 0x1000_0000, 0xa)];
        let kept = Affinity {
            domain: 0,
            base: 0x2000_0000,
            length: 0x1000_0000,
            enabled: true,
            hot_plug: false,
            is_persistent: true,
            offset: 1,
        };
        facts.tables.memory.push(Sourced::new(kept, SourceLine::whole("SRAT")));
        let ram = vec![
            piece(0, 0x7fff_ffff, MemoryKind::Dram),
            piece(0x8000_0000, 0x1_7fff_ffff, MemoryKind::Dram),
            piece(0x1_8000_0000, 0x1_ffff_ffff, MemoryKind::Special),
            piece(0x4_0000_0000, 0x4_0fff_ffff, MemoryKind::Dram),
        ];
        let found: Vec<(u64, u64, MemoryKind)> = of_pieces(&facts, ram)
            .iter()
            .map(|piece| (piece.range.start(), piece.range.last(), piece.kind))
            .collect();
        assert_eq!(
            found,
            [
                (0, 0x1fff_ffff, MemoryKind::Dram),
                (0x2000_0000, 0x2fff_ffff, MemoryKind::Persistent),
                (0x3000_0000, 0x7fff_ffff, MemoryKind::Dram),
                (0x8000_0000, 0xffff_ffff, MemoryKind::Dram),
                (0x1_0000_0000, 0x1_7fff_ffff, MemoryKind::Cxl),
                (0x1_8000_0000, 0x1_ffff_ffff, MemoryKind::Special),
                (0x4_0000_0000, 0x4_0fff_ffff, MemoryKind::Persistent),
            ]
        );
    }

    #[test]
    fn tiers_follow_from_speeds_as_linux_counts_them() {
        let node = |id, cpus: &[u32], latency: u32, bandwidth: u32| {
            let performance = Performance {
                read_latency: Some(latency),
                write_latency: Some(latency),
                read_bandwidth: Some(bandwidth),
                write_bandwidth: Some(bandwidth),
            };
            let access = Access { initiators: vec![0], performance };
            NumaNode {
                id,
                cpus: Some(cpus.to_vec()),
                bytes: Some(1 << 30),
                access: [Some(access), None],
                ..NumaNode::default()
            }
        };
        // Twice the latency at half the bandwidth is four times as far; HBM of thrice the bandwidth a third.
        let mut numa = Nodes {
            all: vec![node(0, &[0], 100, 90_000), node(1, &[], 200, 45_000), node(2, &[], 100, 270_000)],
            ..Nodes::default()
        };
        assert_eq!(tiers(&numa), [(0, 4), (1, 18), (2, 1)].into());
        // What an accelerator of its own reaches faster counts less than what CPUs do.
        numa.all[2].access = [numa.all[2].access[0].take(), numa.all[1].access[0].clone()];
        assert_eq!(tiers(&numa)[&2], 18);
        numa.all = vec![node(0, &[0], 1000, 90_000), node(1, &[], 1185, 60_000)];
        assert_eq!(tiers(&numa)[&1], 7, "682 of 576, then half as much again: 1023");
        numa.all[0].tier = Some(4);
        assert!(tiers(&numa).is_empty(), "Linux's own count");
        numa.all[0].tier = None;
        numa.all[0].access = [None, None];
        assert!(tiers(&numa).is_empty(), "nothing to measure by");
    }
}
