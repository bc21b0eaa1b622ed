//! NUMA nodes with their CPUs and memory, distances and speeds.

use super::line::{Line, bytes};
use crate::emit::{EmitError, kinds};
use crate::topo::{NodeSummary, Topo};
use pmem_import::Machine;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Nodes as QEMU numbers them.
pub(super) struct Nodes<'t> {
    all: Vec<(&'t NodeSummary, u64)>,
    /// Maps a node's number to its number in QEMU.
    number: BTreeMap<u32, usize>,
    /// Maps a CPU's number to its number in QEMU.
    cpu: BTreeMap<u32, u32>,
    total: u64,
}

impl<'t> Nodes<'t> {
    pub(super) fn of(topo: &'t Topo, machine: &Machine) -> Result<Self, EmitError> {
        let mut all = Vec::new();
        for node in &topo.nodes {
            // Ranges lack the little that firmware keeps: in whole MiB, they are what is installed. Without ranges, the
            // kernel's figure has to do.
            all.push((node, whole(node.bytes.ok_or(EmitError::NoSize(node.id))?)));
        }
        // Persistent and special-purpose memory does not count as RAM.
        let kinds = kinds(machine);
        let is_ram = |name: &str| kinds.get(name).is_some_and(|kind| kind.is_ram());
        let placed = || topo.arenas.iter().filter(|arena| is_ram(&arena.name)).map(|arena| arena.own);
        let total = match all.iter().map(|(_, bytes)| *bytes).fold(0, u64::saturating_add) {
            0 => whole(placed().fold(0u64, u64::saturating_add)),
            total => total,
        };
        if total == 0 {
            return Err(EmitError::NoMemory);
        }
        let number = all.iter().enumerate().map(|(i, (node, _))| (node.id, i)).collect();
        let mut cpus: Vec<u32> =
            topo.nodes.iter().flat_map(|node| node.cpus.iter().flatten().copied()).collect();
        cpus.sort_unstable();
        let cpu = cpus.into_iter().zip(0..).collect();
        Ok(Self { all, number, cpu, total })
    }

    /// Returns a node's number in QEMU; `None` if the node is unknown, or if a single node need not be declared.
    pub(super) fn number_of(&self, id: u32) -> Option<usize> {
        self.number.get(&id).copied().filter(|_| self.all.len() > 1)
    }

    pub(super) fn options(&self, line: &mut Line) {
        line.option(&format!("-m {}", bytes(self.total)));
        let with_cpus = self.all.iter().filter(|(node, _)| has_cpus(node));
        let counts: Vec<usize> = with_cpus.map(|(node, _)| node.cpus.as_ref().map_or(0, Vec::len)).collect();
        let cpus = self.cpu.len().max(1);
        // A socket must not span nodes.
        let sockets = match counts.first() {
            Some(first) if counts.iter().all(|count| count == first) => counts.len(),
            _ => cpus,
        };
        line.option(&format!("-smp {cpus},sockets={sockets},cores={},threads=1", cpus / sockets));
        if self.all.len() < 2 && self.all.iter().all(|(node, _)| node.access.is_empty()) {
            return;
        }
        if self.number.iter().any(|(id, number)| *id as usize != *number) {
            let all: Vec<String> =
                self.number.iter().map(|(id, number)| format!("{id} is {number}")).collect();
            line.note(format!("nodes are numbered anew: {}", all.join(", ")));
        }
        if self.cpu.iter().any(|(id, number)| id != number) {
            line.note("CPUs are numbered anew, from 0 on".to_owned());
        }
        for (number, (node, size)) in self.all.iter().enumerate() {
            let mut option = format!("-numa node,nodeid={number}");
            if *size > 0 {
                line.option(&format!("-object memory-backend-ram,id=m{number},size={}", bytes(*size)));
                let _ = write!(option, ",memdev=m{number}");
            }
            for (first, last) in runs(node.cpus.iter().flatten().filter_map(|cpu| self.cpu.get(cpu).copied()))
            {
                let _ = if first == last {
                    write!(option, ",cpus={first}")
                } else {
                    write!(option, ",cpus={first}-{last}")
                };
            }
            if let Some(initiator) = self.initiator(node) {
                let _ = write!(option, ",initiator={initiator}");
            }
            line.option(&option);
        }
    }

    /// Returns the node that reaches this node's memory best. Only set where speeds are known, because QEMU needs it
    /// only there.
    fn initiator(&self, node: &NodeSummary) -> Option<usize> {
        let best = node.access.iter().flat_map(|access| &access.initiators);
        let with_cpus = |id: &&u32| self.all.iter().any(|(other, _)| other.id == **id && has_cpus(other));
        let own = [node.id];
        let candidates = if node.access.is_empty() { None } else { Some(own.iter().chain(best)) };
        candidates?.find(with_cpus).and_then(|id| self.number.get(id).copied())
    }
}

/// Rounds a size up to whole MiB.
fn whole(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(1 << 20).unwrap_or(u64::MAX << 20)
}

fn has_cpus(node: &NodeSummary) -> bool {
    node.cpus.as_ref().is_some_and(|cpus| !cpus.is_empty())
}

/// Merges numbers into runs of consecutive ones, given as (first, last).
fn runs(numbers: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(last) if last.1 + 1 == number => last.1 = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

pub(super) fn distances(topo: &Topo, nodes: &Nodes<'_>, line: &mut Line) {
    let table = &topo.distances;
    let mut options = Vec::new();
    for (from, row) in table.nodes.iter().zip(&table.matrix) {
        for (to, distance) in table.columns.iter().zip(row).filter(|(to, _)| *to != from) {
            let (Some(from), Some(to)) = (nodes.number.get(from), nodes.number.get(to)) else { continue };
            if !(11..=254).contains(distance) {
                line.note(format!("distances are left out: QEMU takes none of {distance}"));
                return;
            }
            options.push(format!("-numa dist,src={from},dst={to},val={distance}"));
        }
    }
    // QEMU wants a distance for every pair of nodes, or none at all.
    let said = |from: &u32, to: &u32| {
        let row = table.nodes.iter().position(|id| id == from).and_then(|row| table.matrix.get(row));
        row.zip(table.columns.iter().position(|id| id == to)).is_some_and(|(row, column)| column < row.len())
    };
    let ids = || nodes.number.keys();
    if let Some((a, b)) =
        ids().flat_map(|a| ids().map(move |b| (a, b))).find(|(a, b)| a != b && !said(a, b) && !said(b, a))
    {
        if !options.is_empty() {
            line.note(format!("distances are left out: none is said of nodes {a} and {b}"));
        }
        return;
    }
    options.iter().for_each(|option| line.option(option));
}

/// Returns latency and bandwidth of each node's memory, from each node that has CPUs.
pub(super) fn speeds(topo: &Topo, nodes: &Nodes<'_>) -> Vec<String> {
    let mut options = Vec::new();
    for (target, (node, _)) in nodes.all.iter().enumerate() {
        for (initiator, (from, _)) in nodes.all.iter().enumerate().filter(|(_, (from, _))| has_cpus(from)) {
            let link = topo.interconnects.iter().find(|link| {
                from.view.as_ref() == Some(&link.left) && node.ram.as_ref() == Some(&link.right)
            });
            let said = link.and_then(|link| link.to_right.performance).or_else(|| {
                let best = node.access.iter().find(|access| access.initiators.contains(&from.id));
                best.map(|access| access.speed)
            });
            let Some(speed) = said else { continue };
            let place = format!("-numa hmat-lb,initiator={initiator},target={target},hierarchy=memory");
            for (kind, value) in
                [("read-latency", speed.read_latency_ns), ("write-latency", speed.write_latency_ns)]
            {
                options.extend(value.map(|ns| format!("{place},data-type={kind},latency={ns}")));
            }
            for (kind, value) in [
                ("read-bandwidth", speed.read_bandwidth_mib_s),
                ("write-bandwidth", speed.write_bandwidth_mib_s),
            ] {
                options.extend(value.map(|rate| format!("{place},data-type={kind},bandwidth={rate}M")));
            }
        }
    }
    options
}
