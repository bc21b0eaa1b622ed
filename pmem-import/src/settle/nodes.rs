//! Decides which node each piece of memory belongs to, and reports what is odd about nodes.

use super::memory::RamPiece;
use crate::facts::{
    Facts, Finding, Listing, NodeRangeKind, Nodes, NumaNode, SourceLine, crossing, join, without,
};
use crate::number::show_list;
use pmem_core::AddrRange;
use rangemap::RangeInclusiveMap;
use std::collections::BTreeMap;

/// Settles nodes, and assigns each piece of memory to its node.
pub(super) fn settle(facts: &mut Facts, listing: &Listing, ram: &mut Vec<RamPiece>) -> Nodes {
    let mut numa = std::mem::take(&mut facts.numa);
    alone(&mut numa);
    check_cpus(facts, &numa);
    if let Some(place) = &numa.blocks_unplaced {
        let text = "not read, so memory blocks have no addresses: capture block_size_bytes too";
        facts.find(Finding::at(place, text));
    }
    let owners = owners(facts, listing, &numa);
    *ram = ram.iter().flat_map(|piece| split(piece, &owners)).collect();
    let only: Vec<u32> = numa.all.iter().filter(|node| node.bytes != Some(0)).map(|node| node.id).collect();
    if let ([only], true) = (&only[..], owners.iter().next().is_none()) {
        ram.iter_mut().for_each(|piece| piece.node = Some(*only));
    }
    note_strays(facts, &numa, ram);
    numa
}

/// A machine without nodes becomes node 0 with all CPUs and memory. A single node without CPUs or size
/// gets the machine's.
fn alone(numa: &mut Nodes) {
    if numa.all.is_empty() && (numa.total.is_some() || numa.cpus.is_some()) {
        numa.all.push(NumaNode::default());
    }
    if let [only] = &mut numa.all[..] {
        only.bytes = only.bytes.or(numa.total.as_ref().map(|total| total.value));
        only.cpus = only.cpus.take().or_else(|| numa.cpus.as_ref().map(|cpus| cpus.value.clone()));
    }
    // A log may name nodes only by their memory.
    let named: Vec<u32> = numa.ranges.iter().map(|said| said.value.node).collect();
    for id in named {
        if let Err(at) = numa.all.binary_search_by_key(&id, |node| node.id) {
            numa.all.insert(at, NumaNode { id, ..NumaNode::default() });
        }
    }
}

fn check_cpus(facts: &mut Facts, numa: &Nodes) {
    let mut owners: BTreeMap<u32, u32> = BTreeMap::new();
    let mut twice: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
    for node in &numa.all {
        for cpu in node.cpus.iter().flatten() {
            if let Some(other) = owners.insert(*cpu, node.id).filter(|other| *other != node.id) {
                twice.entry((other, node.id)).or_default().push(*cpu);
            }
        }
    }
    for ((a, b), cpus) in twice {
        let place =
            |id: u32| numa.get(id).map_or_else(|| SourceLine::whole(format!("node {id}")), NumaNode::place);
        let text = format!("CPUs {} are claimed by nodes {a} and {b}", show_list(&cpus));
        facts.find(Finding::between(&place(a), &place(b), text));
    }
}

/// By address: the node that owns it, from the most trusted source that covers it. `None` if two nodes claim it.
fn owners(facts: &mut Facts, listing: &Listing, numa: &Nodes) -> RangeInclusiveMap<u64, Option<u32>> {
    let mut owners: RangeInclusiveMap<u64, Option<u32>> = RangeInclusiveMap::new();
    // From least to most trusted: later claims replace earlier ones.
    for kind in [NodeRangeKind::Srat, NodeRangeKind::Kernel] {
        let said = numa.ranges.iter().filter(|said| said.value.kind == kind);
        let said: Vec<Claim> =
            said.map(|said| (said.value.node, said.value.range, said.at.clone())).collect();
        lay(facts, &mut owners, &said);
    }
    let of = |node: &NumaNode| {
        let (id, at) = (node.id, node.place());
        node.memory().into_iter().map(move |range| (id, range, at.clone()))
    };
    let blocks: Vec<Claim> = numa.all.iter().flat_map(of).collect();
    lay(facts, &mut owners, &blocks);
    for line in &listing.lines {
        if let Some(node) = facts.dax.get(&line.name).filter(|id| numa.get(**id).is_some()) {
            owners.insert(line.range.start()..=line.range.last(), Some(*node));
        }
    }
    owners
}

/// A node, the range that it claims, and where the source says so.
type Claim = (u32, AddrRange, SourceLine);

/// Lays one source's claims over what is known.
fn lay(facts: &mut Facts, owners: &mut RangeInclusiveMap<u64, Option<u32>>, said: &[Claim]) {
    // By address: the claim that holds; `None` where two nodes claim it.
    let mut here: RangeInclusiveMap<u64, Option<usize>> = RangeInclusiveMap::new();
    for (n, (node, range, at)) in said.iter().enumerate() {
        let range = range.start()..=range.last();
        let others: Vec<_> = here
            .overlapping(&range)
            .map(|(part, other)| (*part.start().max(range.start())..=*part.end().min(range.end()), *other))
            .filter(|(_, other)| other.is_none_or(|other| said[other].0 != *node))
            .collect();
        // The claim takes its whole range first; disputed parts are cleared after that.
        here.insert(range, Some(n));
        for (part, other) in others {
            let other = other.map(|other| &said[other]);
            if let (Some((other, _, there)), Ok(shown)) =
                (other, AddrRange::inclusive(*part.start(), *part.end()))
            {
                let text = format!(
                    "{shown} is claimed by both node {node} and node {other}: it is assigned to neither"
                );
                facts.find(Finding::between(at, there, text));
            }
            here.insert(part, None);
        }
    }
    for (range, claim) in here.iter() {
        owners.insert(range.clone(), claim.map(|claim| said[claim].0));
    }
}

/// Splits a piece of memory where its owner changes.
fn split(piece: &RamPiece, owners: &RangeInclusiveMap<u64, Option<u32>>) -> Vec<RamPiece> {
    let whole = piece.range.start()..=piece.range.last();
    let mut parts: Vec<(AddrRange, Option<u32>)> = Vec::new();
    let mut push = |start: u64, last: u64, node| {
        parts.extend(AddrRange::inclusive(start, last).ok().map(|range| (range, node)));
    };
    let mut at = Some(piece.range.start());
    for (range, node) in owners.overlapping(&whole) {
        let (start, last) = (*range.start().max(whole.start()), *range.end().min(whole.end()));
        if let Some(begin) = at.filter(|begin| *begin < start) {
            push(begin, start - 1, None);
        }
        push(start, last, *node);
        at = last.checked_add(1);
    }
    if let Some(begin) = at.filter(|begin| *begin <= piece.range.last()) {
        push(begin, piece.range.last(), None);
    }
    parts.into_iter().map(|(range, node)| RamPiece { range, node, ..piece.clone() }).collect()
}

/// Reports RAM without a node on machines with nodes, and memory blocks that hold no listed RAM.
fn note_strays(facts: &mut Facts, numa: &Nodes, ram: &[RamPiece]) {
    let stray: Vec<&RamPiece> =
        ram.iter().filter(|piece| piece.node.is_none() && piece.kind.is_ram()).collect();
    if let (Some(first), false) = (stray.first(), numa.all.is_empty()) {
        let ranges = join(stray.iter().map(|piece| piece.range).collect());
        facts.find(Finding::at(
            &first.at,
            format!(
                "no source says which NUMA node memory {} belongs to: add lsmem -o +NODE output or /sys",
                brief(&ranges)
            ),
        ));
    }
    let all = join(ram.iter().map(|piece| piece.range).collect());
    for node in &numa.all {
        let memory = node.memory();
        if !memory.is_empty() && !all.is_empty() && crossing(&memory, &all).is_empty() {
            let text = format!(
                "node {}: memory blocks at {} contain no RAM according to the resource listing",
                node.id,
                brief(&without(&memory, &all))
            );
            facts.find(Finding::at(&node.place(), text));
        }
    }
}

/// The first few ranges, for a message.
fn brief(ranges: &[AddrRange]) -> String {
    let mut text: Vec<String> = ranges.iter().take(4).map(AddrRange::to_string).collect();
    if ranges.len() > 4 {
        text.push(format!("and {} more", ranges.len() - 4));
    }
    text.join(", ")
}
