//! NUMA nodes and memory blocks: `/sys/devices/system/node` and `/sys/devices/system/memory`.

use super::node_log::node;
use crate::capture::Tree;
use crate::facts::{Access, Distances, Facts, Finding, Findings, NumaNode, SourceLine, SourceSummary, join};
use crate::number::{hex, parse_list, parse_mask, trim};
use pmem_core::{AddrRange, Performance};
use std::collections::BTreeMap;

const NODES: &str = "sys/devices/system/node";
const BLOCKS: &str = "sys/devices/system/memory";

/// The files. Names that end in `@` are links; only their names matter.
pub(super) const FILES: &[&str] = &[
    "sys/devices/system/node/online",
    "sys/devices/system/node/possible",
    "sys/devices/system/node/has_cpu",
    "sys/devices/system/node/has_memory",
    "sys/devices/system/node/has_generic_initiator",
    "sys/devices/system/node/node*/cpulist",
    "sys/devices/system/node/node*/cpumap",
    "sys/devices/system/node/node*/distance",
    "sys/devices/system/node/node*/meminfo",
    "sys/devices/system/node/node*/memory*@",
    "sys/devices/system/node/node*/access*/initiators/read_latency",
    "sys/devices/system/node/node*/access*/initiators/write_latency",
    "sys/devices/system/node/node*/access*/initiators/read_bandwidth",
    "sys/devices/system/node/node*/access*/initiators/write_bandwidth",
    "sys/devices/system/node/node*/access*/initiators/node*@",
    "sys/devices/system/node/node*/memory_side_cache/index*/size",
    "sys/devices/system/memory/block_size_bytes",
    "sys/devices/system/memory/memory*/phys_index",
    "sys/devices/system/memory/memory*/state",
];

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    let mut ids: Vec<u32> = tree.names(NODES).iter().filter_map(|name| numbered(name, "node")).collect();
    ids.sort_unstable();
    let block_size = block_size(tree, &mut facts.findings);
    facts.numa.block_size = block_size.or(facts.numa.block_size);
    for id in &ids {
        let read = read_node(tree, *id, block_size, facts);
        *node(facts, *id) = read;
        heard.count("node");
    }
    let distances = read_distances(tree, &ids, &mut facts.findings);
    if !distances.rows.is_empty() {
        facts.numa.distances = distances;
    }
}

/// Parses the number after a prefix, if nothing else follows.
pub(super) fn numbered(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    // Only the canonical form, so that `node00` or `node+1` is no second name for a node.
    digits.parse().ok().filter(|number: &u32| number.to_string() == digits)
}

fn read_node(tree: &Tree, id: u32, block_size: Option<u64>, facts: &mut Facts) -> NumaNode {
    let dir = format!("{NODES}/node{id}");
    let names = tree.names(&dir);
    let numbers: Vec<u32> = names.iter().filter_map(|name| numbered(name, "memory")).collect();
    let [blocks, offline] = match block_size {
        Some(size) => read_blocks(tree, &numbers, size, &mut facts.findings),
        None => {
            if !numbers.is_empty() && facts.numa.blocks_unplaced.is_none() {
                facts.numa.blocks_unplaced =
                    Some(SourceLine::whole(tree.place(&format!("{BLOCKS}/block_size_bytes"))));
            }
            Default::default()
        }
    };
    let findings = &mut facts.findings;
    NumaNode {
        id,
        at: Some(SourceLine::whole(tree.place(&dir))),
        cpus: read_cpus(tree, &dir, findings),
        bytes: read_total(tree, &dir, findings),
        blocks,
        offline,
        access: [0, 1].map(|class| read_access(tree, &format!("{dir}/access{class}/initiators"), findings)),
        caches: match names.iter().any(|name| name == "memory_side_cache") {
            true => read_caches(tree, &format!("{dir}/memory_side_cache"), findings),
            false => Vec::new(),
        },
        tier: None,
    }
}

/// Creates a finding about a file's first line.
fn wrong(tree: &Tree, path: &str, text: impl Into<String>) -> Finding {
    Finding::at(&SourceLine { source: tree.place(path).into(), line: 1 }, text)
}

fn read_cpus(tree: &Tree, dir: &str, findings: &mut Findings) -> Option<Vec<u32>> {
    type Reader = fn(&str) -> Option<Vec<u32>>;
    for (file, read) in [("cpulist", parse_list as Reader), ("cpumap", parse_mask as Reader)] {
        let path = format!("{dir}/{file}");
        let Some(text) = tree.text(&path, findings) else { continue };
        match read(&text) {
            Some(cpus) => return Some(cpus),
            None => findings.push(wrong(tree, &path, format!("no list of CPUs: {:?}", brief(&text)))),
        }
    }
    None
}

fn read_total(tree: &Tree, dir: &str, findings: &mut Findings) -> Option<u64> {
    let path = format!("{dir}/meminfo");
    let text = tree.text(&path, findings)?;
    let total = text.lines().zip(1..).find_map(|(line, number)| {
        let (_, rest) = line.split_once("MemTotal:")?;
        Some((number, trim(rest).strip_suffix("kB").and_then(|kb| kb.trim().parse::<u64>().ok())))
    });
    match total {
        Some((_, Some(kb))) if kb.checked_mul(1024).is_some() => Some(kb * 1024),
        Some((line, _)) => {
            let place = SourceLine { source: tree.place(&path).into(), line };
            findings.push(Finding::at(&place, "MemTotal is not a number of kB"));
            None
        }
        None => {
            findings.push(Finding::whole(tree.place(&path), "no MemTotal"));
            None
        }
    }
}

fn block_size(tree: &Tree, findings: &mut Findings) -> Option<u64> {
    let path = format!("{BLOCKS}/block_size_bytes");
    let text = tree.text(&path, findings)?;
    let size = hex(trim(&text)).filter(|size| size.is_power_of_two());
    if size.is_none() {
        findings.push(wrong(tree, &path, format!("no block size: {:?}", brief(&text))));
    }
    size
}

/// Reads memory blocks: those that are online, and those that are not; adjacent blocks are joined.
fn read_blocks(tree: &Tree, numbers: &[u32], size: u64, findings: &mut Findings) -> [Vec<AddrRange>; 2] {
    let mut blocks: [Vec<AddrRange>; 2] = Default::default();
    for number in numbers {
        let block = format!("{BLOCKS}/memory{number}");
        let state = tree.text(&format!("{block}/state"), findings);
        let offline = state.is_some_and(|state| trim(&state) != "online");
        let index = tree.text(&format!("{block}/phys_index"), findings).and_then(|text| hex(trim(&text)));
        // `phys_index` repeats the number in the folder's name; a capture may lack it.
        let start = index.unwrap_or(u64::from(*number)).checked_mul(size);
        match start.and_then(|start| AddrRange::sized(start, size).ok()) {
            Some(range) => blocks[usize::from(offline)].push(range),
            None => findings.push(Finding::whole(tree.place(&block), "the block ends past 2^64")),
        }
    }
    blocks.map(join)
}

fn read_access(tree: &Tree, dir: &str, findings: &mut Findings) -> Option<Access> {
    let names = tree.names(dir);
    if names.is_empty() {
        return None;
    }
    let initiators: Vec<u32> = names.iter().filter_map(|name| numbered(name, "node")).collect();
    let mut value = |file: &str| {
        let path = format!("{dir}/{file}");
        let text = tree.text(&path, findings)?;
        match trim(&text).parse::<u32>() {
            // The kernel prints 0 for what firmware does not give.
            Ok(0) => None,
            Ok(value) => Some(value),
            Err(_) => {
                findings.push(wrong(tree, &path, format!("no number: {:?}", brief(&text))));
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

fn read_caches(tree: &Tree, dir: &str, findings: &mut Findings) -> Vec<u64> {
    let mut levels: Vec<u32> = tree.names(dir).iter().filter_map(|name| numbered(name, "index")).collect();
    levels.sort_unstable();
    let size = |level: u32| {
        let path = format!("{dir}/index{level}/size");
        let text = tree.text(&path, findings)?;
        let bytes = trim(&text).parse().ok();
        if bytes.is_none() {
            findings.push(wrong(tree, &path, format!("no size in bytes: {:?}", brief(&text))));
        }
        bytes
    };
    levels.into_iter().filter_map(size).collect()
}

fn read_distances(tree: &Tree, ids: &[u32], findings: &mut Findings) -> Distances {
    let mut rows: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for id in ids {
        let path = format!("{NODES}/node{id}/distance");
        let Some(text) = tree.text(&path, findings) else { continue };
        let row: Result<Vec<u32>, _> = trim(&text).split_whitespace().map(str::parse).collect();
        match row {
            Ok(row) => drop(rows.insert(*id, row)),
            Err(_) => findings.push(wrong(tree, &path, format!("no distances: {:?}", brief(&text)))),
        }
    }
    let mut list = |file: &str| {
        let text = tree.text(&format!("{NODES}/{file}"), findings)?;
        parse_list(&text)
    };
    // Rows have a column for each online node; some kernels print one for each possible node.
    let candidates = [Some(ids.to_vec()), list("online"), list("possible")];
    let width = rows.values().map(Vec::len).max().unwrap_or(0);
    let columns = candidates.into_iter().flatten().find(|columns| columns.len() == width).unwrap_or_default();
    for (id, row) in rows.iter().filter(|(_, row)| row.len() != columns.len()) {
        let text = format!("{} distances, but nodes {}: left out", row.len(), crate::number::show_list(ids));
        findings.push(wrong(tree, &format!("{NODES}/node{id}/distance"), text));
    }
    rows.retain(|_, row| row.len() == columns.len());
    let at = ids
        .first()
        .map(|id| SourceLine::whole(tree.place(&format!("sys/devices/system/node/node{id}/distance"))));
    Distances { columns, rows, at }
}

/// The beginning of a text, for a message.
fn brief(text: &str) -> String {
    text.trim().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn nodes(dir: &std::path::Path) -> (Facts, Vec<Finding>) {
        let mut facts = Facts::default();
        read(&Tree::open(dir).unwrap(), &mut facts, &mut SourceSummary::default());
        let findings = std::mem::take(&mut facts.findings).finish();
        (facts, findings)
    }

    #[test]
    fn a_row_of_the_wrong_width_is_left_out_with_a_finding() {
        let dir = tempfile::tempdir().unwrap();
        for (id, row) in [(0, "10 20"), (3, "20 10 30")] {
            let node = dir.path().join(format!("{NODES}/node{id}"));
            fs::create_dir_all(&node).unwrap();
            fs::write(node.join("distance"), row).unwrap();
        }
        let (facts, findings) = nodes(dir.path());
        assert_eq!(facts.numa.all.iter().map(|n| n.id).collect::<Vec<_>>(), [0, 3]);
        assert!(facts.numa.distances.rows.is_empty(), "no width fits both rows");
        assert_eq!(findings.len(), 2, "{findings:?}");
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
        let (facts, _) = nodes(dir.path());
        let node = &facts.numa.all[0];
        let show = |blocks: &[AddrRange]| blocks.iter().map(AddrRange::to_string).collect::<Vec<_>>();
        assert_eq!(show(&node.blocks), ["0x0..0x10000000", "0x20000000..0x28000000"]);
        assert_eq!(show(&node.offline), ["0x10000000..0x18000000"]);
        assert_eq!(show(&node.memory()), ["0x0..0x18000000", "0x20000000..0x28000000"]);
    }
}
