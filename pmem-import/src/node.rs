//! NUMA nodes, their memory, CPUs, distances and measured access.

use crate::error::Warning;
use crate::number::{hex, parse_list, parse_mask};
use crate::root::Root;
use pmem_core::{AddrRange, Performance};
use std::collections::BTreeMap;

const NODES: &str = "sys/devices/system/node";
const BLOCKS: &str = "sys/devices/system/memory";

/// One node of `/sys/devices/system/node`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its number; numbers may have gaps.
    pub id: u32,
    /// Its CPUs; `None` if no source says.
    pub cpus: Option<Vec<u32>>,
    /// Its memory in bytes, less what firmware and kernel keep; `None` if no source says.
    pub bytes: Option<u64>,
    /// Its online memory blocks, joined, in order of address. A block may have holes.
    pub blocks: Vec<AddrRange>,
    /// Those that are not online.
    pub offline: Vec<AddrRange>,
    /// From where it is reached best: of all initiators (access0), and of those with CPUs (access1).
    pub access: [Option<Access>; 2],
}

/// The initiators that reach a node best, and how well.
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
}

impl Distances {
    /// From one node to another.
    pub fn get(&self, from: u32, to: u32) -> Option<u32> {
        let column = self.columns.iter().position(|id| *id == to)?;
        self.rows.get(&from)?.get(column).copied()
    }
}

/// All nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// In order of their numbers.
    pub all: Vec<Node>,
    /// Between them.
    pub distances: Distances,
    /// The size of a memory block in bytes (`block_size_bytes`); `None` if no source says.
    pub block_size: Option<u64>,
}

impl Node {
    /// All of its memory blocks, joined.
    pub fn memory(&self) -> Vec<AddrRange> {
        join(self.blocks.iter().chain(&self.offline).copied().collect())
    }
}

impl Nodes {
    /// Reads `/sys/devices/system/node` and `/sys/devices/system/memory`.
    pub fn read(root: &Root, warnings: &mut Vec<Warning>) -> Self {
        let mut ids: Vec<u32> = root.names(NODES).iter().filter_map(|name| numbered(name, "node")).collect();
        ids.sort_unstable();
        let block_size = block_size(root, warnings);
        let all: Vec<Node> = ids.iter().map(|id| read_node(root, *id, block_size, warnings)).collect();
        let distances = read_distances(root, &ids, warnings);
        Self { all, distances, block_size }
    }

    /// The node of that number.
    pub fn get(&self, id: u32) -> Option<&Node> {
        self.all.iter().find(|node| node.id == id)
    }
}

/// The number behind a prefix, if there is nothing else.
fn numbered(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    // One name a number: not 00, not +1.
    digits.parse().ok().filter(|number: &u32| number.to_string() == digits)
}

fn read_node(root: &Root, id: u32, block_size: Option<u64>, warnings: &mut Vec<Warning>) -> Node {
    let dir = format!("{NODES}/node{id}");
    let [blocks, offline] =
        block_size.map_or([const { Vec::new() }; 2], |size| read_blocks(root, &dir, size, warnings));
    Node {
        id,
        cpus: read_cpus(root, &dir, warnings),
        bytes: read_total(root, &dir, warnings),
        blocks,
        offline,
        access: [0, 1].map(|class| read_access(root, &format!("{dir}/access{class}/initiators"), warnings)),
    }
}

fn read_cpus(root: &Root, dir: &str, warnings: &mut Vec<Warning>) -> Option<Vec<u32>> {
    type Reader = fn(&str) -> Option<Vec<u32>>;
    for (file, read) in [("cpulist", parse_list as Reader), ("cpumap", parse_mask as Reader)] {
        let path = format!("{dir}/{file}");
        let Some(text) = root.text(&path, warnings) else { continue };
        match read(&text) {
            Some(cpus) => return Some(cpus),
            None => warnings.push(Warning::line(&path, 1, format!("no list of CPUs: {:?}", brief(&text)))),
        }
    }
    None
}

fn read_total(root: &Root, dir: &str, warnings: &mut Vec<Warning>) -> Option<u64> {
    let path = format!("{dir}/meminfo");
    let text = root.text(&path, warnings)?;
    let total = text.lines().zip(1..).find_map(|(line, number)| {
        let (_, rest) = line.split_once("MemTotal:")?;
        Some((number, rest.trim().strip_suffix("kB").and_then(|kb| kb.trim().parse::<u64>().ok())))
    });
    match total {
        Some((_, Some(kb))) if kb.checked_mul(1024).is_some() => Some(kb * 1024),
        Some((line, _)) => {
            warnings.push(Warning::line(&path, line, "MemTotal is no number of kB"));
            None
        }
        None => {
            warnings.push(Warning::new(path, "no MemTotal"));
            None
        }
    }
}

fn block_size(root: &Root, warnings: &mut Vec<Warning>) -> Option<u64> {
    let path = format!("{BLOCKS}/block_size_bytes");
    let text = root.text(&path, warnings)?;
    let size = hex(text.trim()).filter(|size| size.is_power_of_two());
    if size.is_none() {
        warnings.push(Warning::line(&path, 1, format!("no block size: {:?}", brief(&text))));
    }
    size
}

/// The memory blocks of a node that are online, and those that are not, neighbours joined.
fn read_blocks(root: &Root, dir: &str, size: u64, warnings: &mut Vec<Warning>) -> [Vec<AddrRange>; 2] {
    let mut blocks: [Vec<AddrRange>; 2] = Default::default();
    for number in root.names(dir).iter().filter_map(|name| numbered(name, "memory")) {
        let block = format!("{BLOCKS}/memory{number}");
        let state = root.text(&format!("{block}/state"), warnings);
        let offline = state.is_some_and(|state| state.trim() != "online");
        let index = root.text(&format!("{block}/phys_index"), warnings).and_then(|text| hex(text.trim()));
        let start = index.unwrap_or(u64::from(number)).checked_mul(size);
        match start.and_then(|start| AddrRange::sized(start, size).ok()) {
            Some(range) => blocks[usize::from(offline)].push(range),
            None => warnings.push(Warning::new(block, "the block ends past 2^64")),
        }
    }
    blocks.map(join)
}

/// Sorts ranges, and joins those that touch or overlap.
pub(crate) fn join(mut ranges: Vec<AddrRange>) -> Vec<AddrRange> {
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

fn read_access(root: &Root, dir: &str, warnings: &mut Vec<Warning>) -> Option<Access> {
    let initiators: Vec<u32> = root.names(dir).iter().filter_map(|name| numbered(name, "node")).collect();
    let mut value = |file: &str| {
        let path = format!("{dir}/{file}");
        let text = root.text(&path, warnings)?;
        match text.trim().parse::<u32>() {
            // The kernel prints 0 for what firmware did not say.
            Ok(0) => None,
            Ok(value) => Some(value),
            Err(_) => {
                warnings.push(Warning::line(&path, 1, format!("no number: {:?}", brief(&text))));
                None
            }
        }
    };
    let performance = Performance {
        read_latency: value("read_latency"),
        write_latency: value("write_latency"),
        read_bandwidth: value("read_bandwidth"),
        write_bandwidth: value("write_bandwidth"),
    };
    (!initiators.is_empty() || performance != Performance::default())
        .then_some(Access { initiators, performance })
}

fn read_distances(root: &Root, ids: &[u32], warnings: &mut Vec<Warning>) -> Distances {
    let mut rows: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for id in ids {
        let path = format!("{NODES}/node{id}/distance");
        let Some(text) = root.text(&path, warnings) else { continue };
        let row: Result<Vec<u32>, _> = text.split_whitespace().map(str::parse).collect();
        match row {
            Ok(row) => drop(rows.insert(*id, row)),
            Err(_) => warnings.push(Warning::line(&path, 1, format!("no distances: {:?}", brief(&text)))),
        }
    }
    let mut list = |file: &str| {
        let text = root.text(&format!("{NODES}/{file}"), warnings)?;
        parse_list(&text)
    };
    // Rows are as wide as there are nodes online; some kernels print the possible ones.
    let candidates = [Some(ids.to_vec()), list("online"), list("possible")];
    let width = rows.values().map(Vec::len).max().unwrap_or(0);
    let columns = candidates.into_iter().flatten().find(|columns| columns.len() == width).unwrap_or_default();
    for (id, row) in rows.iter().filter(|(_, row)| row.len() != columns.len()) {
        let text = format!("{} distances, but nodes {ids:?}: left out", row.len());
        warnings.push(Warning::line(&format!("{NODES}/node{id}/distance"), 1, text));
    }
    rows.retain(|_, row| row.len() == columns.len());
    Distances { columns, rows }
}

/// The beginning of a text, for a message.
fn brief(text: &str) -> String {
    text.trim().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_row_of_the_wrong_width_is_left_out_with_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        for (id, row) in [(0, "10 20"), (3, "20 10 30")] {
            let node = dir.path().join(format!("{NODES}/node{id}"));
            fs::create_dir_all(&node).unwrap();
            fs::write(node.join("distance"), row).unwrap();
        }
        let mut warnings = Vec::new();
        let nodes = Nodes::read(&Root::open(dir.path()).unwrap(), &mut warnings);
        assert_eq!(nodes.all.iter().map(|n| n.id).collect::<Vec<_>>(), [0, 3]);
        assert!(nodes.distances.rows.is_empty(), "no width fits both rows: {:?}", nodes.distances);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }

    #[test]
    fn blocks_are_joined_and_offline_ones_kept_apart() {
        let dir = tempfile::tempdir().unwrap();
        let node = dir.path().join(format!("{NODES}/node0"));
        fs::create_dir_all(&node).unwrap();
        for (block, state) in [(0, "online"), (1, "online"), (2, "offline"), (4, "online")] {
            let memory = dir.path().join(format!("{BLOCKS}/memory{block}"));
            fs::create_dir_all(&memory).unwrap();
            fs::write(memory.join("state"), state).unwrap();
            fs::create_dir(node.join(format!("memory{block}"))).unwrap();
        }
        fs::write(dir.path().join(format!("{BLOCKS}/block_size_bytes")), "8000000\n").unwrap();
        let nodes = Nodes::read(&Root::open(dir.path()).unwrap(), &mut Vec::new());
        let show = |blocks: &[AddrRange]| blocks.iter().map(AddrRange::to_string).collect::<Vec<_>>();
        assert_eq!(show(&nodes.all[0].blocks), ["[0x0, 0x10000000)", "[0x20000000, 0x28000000)"]);
        assert_eq!(show(&nodes.all[0].offline), ["[0x10000000, 0x18000000)"]);
        assert_eq!(show(&nodes.all[0].memory()), ["[0x0, 0x18000000)", "[0x20000000, 0x28000000)"]);
    }
}
