//! NUMA nodes from firmware's tables, where no other source describes them.

use crate::acpi::{Hmat, InitiatorKind, Locality, Quantity};
use crate::facts::{Access, Facts, NodeRange, NodeRangeKind, NumaNode, Sourced};
use pmem_core::{AddrRange, Performance};
use std::collections::{BTreeMap, BTreeSet};

/// Fills in nodes from SRAT, distances from SLIT, and speeds from HMAT. What other sources say is kept.
pub(super) fn nodes(facts: &mut Facts) {
    let nodes = numbers(facts);
    let tables = &facts.tables;
    // Offset 0 marks entries that a log printed; the log's reader has recorded their ranges already.
    for said in tables.memory.iter().filter(|said| said.value.offset != 0 && said.value.enabled) {
        let Some(node) = nodes.get(&said.value.domain).copied() else { continue };
        let Ok(range) = AddrRange::sized(said.value.base, said.value.length) else { continue };
        let found = NodeRange { node, range, kind: NodeRangeKind::Srat };
        facts.numa.ranges.push(Sourced::new(found, said.at.clone()));
    }
    let mut cpus: BTreeMap<u32, u32> = BTreeMap::new();
    for said in tables.initiators.iter().filter(|said| said.value.enabled && said.value.offset != 0) {
        let Some(node) = nodes.get(&said.value.domain) else { continue };
        let count = cpus.entry(*node).or_default();
        *count += u32::from(matches!(said.value.what, InitiatorKind::Processor(_)));
    }
    let known = !facts.numa.all.is_empty();
    for (node, at) in
        nodes.values().map(|node| (*node, tables.initiators.first().map(|said| said.at.clone())))
    {
        // A source that lists nodes knows better which exist.
        if known || facts.tables.initiators.iter().all(|said| said.value.offset == 0) {
            break;
        }
        if let Err(place) = facts.numa.all.binary_search_by_key(&node, |node| node.id) {
            facts.numa.all.insert(place, NumaNode { id: node, at, ..NumaNode::default() });
        }
    }
    if facts.numa.distances.is_empty()
        && let Some(said) = facts.tables.distances.last()
    {
        // Without SRAT, localities are numbered like nodes.
        let domains: BTreeMap<u32, u32> = if nodes.is_empty() {
            (0..said.value.rows.len() as u32).map(|n| (n, n)).collect()
        } else {
            nodes.clone()
        };
        let columns: Vec<(u32, u32)> = domains
            .iter()
            .map(|(domain, node)| (*node, *domain))
            .filter(|(_, domain)| (*domain as usize) < said.value.rows.len())
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect();
        facts.numa.distances.columns = columns.iter().map(|(node, _)| *node).collect();
        for (node, domain) in &columns {
            let row = &said.value.rows[*domain as usize];
            let row = columns.iter().map(|(_, to)| u32::from(row[*to as usize])).collect();
            facts.numa.distances.rows.insert(*node, row);
        }
    }
    speeds(facts, &nodes);
}

/// Numbers proximity domains like Linux (`acpi_numa_init`): those with initiators first, then those with memory.
fn numbers(facts: &Facts) -> BTreeMap<u32, u32> {
    let tables = &facts.tables;
    let with = tables.initiators.iter().filter(|said| said.value.enabled).map(|said| said.value.domain);
    let memory = tables.memory.iter().filter(|said| said.value.enabled && said.value.length != 0);
    let mut nodes = BTreeMap::new();
    for domain in with.chain(memory.map(|said| said.value.domain)) {
        let next = nodes.len() as u32;
        nodes.entry(domain).or_insert(next);
    }
    nodes
}

/// Finds each memory's best initiators and their performance, as Linux does (`drivers/acpi/numa/hmat.c`).
fn speeds(facts: &mut Facts, nodes: &BTreeMap<u32, u32>) {
    let Some(said) = facts.tables.access.iter().rfind(|said| !said.value.localities.is_empty()) else {
        return;
    };
    let targets: BTreeSet<u32> =
        said.value.localities.iter().flat_map(|locality| locality.targets.iter().copied()).collect();
    let mut found = Vec::new();
    for target in targets {
        let Some(node) = nodes.get(&target).copied() else { continue };
        if let Some(access) = best(&said.value, target, nodes) {
            found.push((node, access));
        }
    }
    for (node, access) in found {
        if let Ok(at) = facts.numa.all.binary_search_by_key(&node, |node| node.id) {
            facts.numa.all[at].access[0].get_or_insert(access);
        }
    }
}

fn best(hmat: &Hmat, target: u32, nodes: &BTreeMap<u32, u32>) -> Option<Access> {
    let of = |initiator: u32| {
        quantities(|quantity| {
            let own = |locality: &&Locality| locality.level == 0 && locality.quantity == quantity;
            hmat.localities.iter().filter(own).find_map(|locality| locality.get(initiator, target))
        })
    };
    let all: BTreeSet<u32> =
        hmat.localities.iter().flat_map(|locality| locality.initiators.iter().copied()).collect();
    let all: Vec<(u32, [Option<u64>; 4])> =
        all.into_iter().map(|initiator| (initiator, of(initiator))).collect();
    // Lower read latency first, then lower write latency, then higher bandwidths.
    let rank = |values: &[Option<u64>; 4]| {
        let low = |n: usize| values[n].unwrap_or(u64::MAX);
        let high = |n: usize| u64::MAX - values[n].unwrap_or(0);
        (low(0), low(1), high(2), high(3))
    };
    let given = all.iter().filter(|(_, values)| values.iter().any(Option::is_some));
    let (_, values) = given.clone().min_by_key(|(_, values)| rank(values))?;
    let initiators = given.filter(|(_, other)| rank(other) == rank(values));
    let initiators = initiators.filter_map(|(domain, _)| nodes.get(domain).copied()).collect();
    Some(Access { initiators, performance: performance(values) })
}

/// Returns read latency, write latency, read bandwidth and write bandwidth, each as the figure for reads and writes
/// alike if there is none of its own.
pub(super) fn quantities(value: impl Fn(Quantity) -> Option<u64>) -> [Option<u64>; 4] {
    [
        value(Quantity::ReadLatency).or_else(|| value(Quantity::AccessLatency)),
        value(Quantity::WriteLatency).or_else(|| value(Quantity::AccessLatency)),
        value(Quantity::ReadBandwidth).or_else(|| value(Quantity::AccessBandwidth)),
        value(Quantity::WriteBandwidth).or_else(|| value(Quantity::AccessBandwidth)),
    ]
}

/// Converts picoseconds and MB/s, in the order of [`quantities`].
pub(super) fn performance(values: &[Option<u64>; 4]) -> Performance {
    let small = |n: usize, unit: u64| values[n].and_then(|value| u32::try_from(value / unit).ok());
    Performance {
        read_latency: small(0, 1000),
        write_latency: small(1, 1000),
        read_bandwidth: small(2, 1),
        write_bandwidth: small(3, 1),
    }
}
