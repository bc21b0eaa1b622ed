//! Decoding nets (Achermann, Humbel, Cock, Roscoe: "Formalizing memory accesses and interrupts", MARS 2017).

use crate::error::ImportError;
use crate::facts::{Finding, Nodes, join};
use crate::machine::{Inventory, Machine, Net, UNMEASURED};
use crate::names::Names;
use crate::number::parse_addr;
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Direction, Manager, Mapping, Props, Prot, RegionId, Request, Usage,
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    limits: Option<String>,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: i64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    accept: Vec<Vec<Word>>,
    #[serde(default)]
    map: Vec<Map>,
    #[serde(default)]
    overlay: Option<i64>,
    /// Unknown keys, which may be misspelled; each becomes a finding.
    #[serde(flatten)]
    other: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Map {
    src: [Word; 2],
    dst: i64,
    base: Word,
}

/// An address, as a number or as text; or a label.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Word {
    Number(u64),
    Text(String),
}

impl Word {
    fn addr(&self) -> Result<u64, String> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(text) => parse_addr(text),
        }
    }
}

/// A node with its numbers parsed.
struct Parsed {
    id: i64,
    name: String,
    accept: Vec<(AddrRange, Option<String>)>,
    map: Vec<(AddrRange, i64, u64)>,
    overlay: Option<i64>,
}

/// Reads a decoding net, a JSON file, into a model. `-` reads standard input.
///
/// A node becomes an arena. A node becomes several arenas if it maps one address more than once, maps
/// an address that it also accepts, or leads to itself. An entry arena in front of these passes every
/// address on to all of them.
///
/// ```json
/// { "limits": "inclusive",
///   "nodes": [
///     { "id": 1, "name": "CPU", "map": [ { "src": ["0x80000000", "0xbfffffff"], "dst": 2, "base": "0x0" } ] },
///     { "id": 2, "name": "DRAM", "accept": [ ["0x0", "0x3fffffff", "dimm0"] ] } ] }
/// ```
///
/// `limits` says whether the second address of `src` and `accept` is the last one (`inclusive`, the
/// default) or the one after it (`exclusive`). `overlay` names the node that gets every address that a
/// node neither accepts nor maps.
///
/// # Errors
/// [`ImportError::Read`] if the file cannot be read. [`ImportError::Parse`] if the JSON is broken, with its line;
/// if `limits` is unknown, if there are no nodes, or if two nodes have one id. [`ImportError::Model`] if the model
/// refuses a node. Broken numbers and unknown keys become findings.
pub fn read_net(path: &Path) -> Result<Machine, ImportError> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        fs::read_to_string(path)
    };
    let text = text.map_err(|error| ImportError::Read { path: path.to_owned(), error })?;
    let parse = |line, what: String| ImportError::Parse { path: path.to_owned(), line, what };
    let file: File = serde_json::from_str(&text).map_err(|error| parse(error.line(), error.to_string()))?;
    let inclusive = match file.limits.as_deref() {
        None | Some("inclusive") => true,
        Some("exclusive") => false,
        Some(other) => {
            return Err(parse(0, format!("limits is {other:?}: expected \"inclusive\" or \"exclusive\"")));
        }
    };
    let mut broken: Vec<String> = Vec::new();
    let mut nodes: Vec<Parsed> =
        file.nodes.into_iter().map(|node| parsed(node, inclusive, &mut broken)).collect();
    if nodes.is_empty() {
        return Err(parse(0, "no nodes".to_owned()));
    }
    add_missing(&mut nodes, &mut broken).map_err(|what| parse(0, what))?;
    let source = path.display().to_string();
    let findings = broken.into_iter().map(|text| Finding::whole(source.as_str(), text)).collect();
    build(&nodes, findings)
        .map_err(|(node, error)| ImportError::Model { what: format!("node {node}"), error: Box::new(error) })
}

/// Parses a node's numbers. Broken entries are left out and described in `broken`.
fn parsed(node: Node, inclusive: bool, broken: &mut Vec<String>) -> Parsed {
    let id = node.id;
    let range = |start: &Word, end: &Word| -> Result<AddrRange, String> {
        let (start, end) = (start.addr()?, end.addr()?);
        let range = if inclusive { AddrRange::inclusive(start, end) } else { AddrRange::new(start, end) };
        range.map_err(|_| format!("range {start:#x} to {end:#x} is empty or reversed"))
    };
    let accepted = |words: &Vec<Word>| -> Result<(AddrRange, Option<String>), String> {
        let [start, end, label @ ..] = &words[..] else {
            return Err(format!("{} values: expected a start, an end and an optional label", words.len()));
        };
        let label = label.first().map(|label| match label {
            Word::Number(number) => number.to_string(),
            Word::Text(text) => text.clone(),
        });
        Ok((range(start, end)?, label))
    };
    let mapped = |entry: &Map| -> Result<(AddrRange, i64, u64), String> {
        let (src, base) = (range(&entry.src[0], &entry.src[1])?, entry.base.addr()?);
        match base.checked_add(src.last() - src.start()) {
            Some(_) => Ok((src, entry.dst, base)),
            None => Err(format!("{src} to {base:#x} ends past 2^64")),
        }
    };
    for key in node.other.keys() {
        broken.push(format!("node {id}: unknown key {key:?}: left out"));
    }
    let mut note = |what: &str, error: String| broken.push(format!("node {id}, {what}: {error}: left out"));
    let accept =
        node.accept.iter().filter_map(|words| accepted(words).map_err(|e| note("accept", e)).ok()).collect();
    let map = node.map.iter().filter_map(|entry| mapped(entry).map_err(|e| note("map", e)).ok()).collect();
    Parsed { id, name: node.name, accept, map, overlay: node.overlay }
}

/// Adds a node that accepts nothing for each id that a node leads to and the net does not describe.
fn add_missing(nodes: &mut Vec<Parsed>, broken: &mut Vec<String>) -> Result<(), String> {
    let mut known = BTreeSet::new();
    for node in nodes.iter() {
        if !known.insert(node.id) {
            return Err(format!("two nodes have the id {}", node.id));
        }
    }
    let leads = nodes.iter().flat_map(|node| {
        node.map.iter().map(|(_, dst, _)| *dst).chain(node.overlay).map(|target| (node.id, target))
    });
    let mut missing: Vec<Parsed> = Vec::new();
    for (from, id) in leads {
        if known.insert(id) {
            broken.push(format!(
                "node {from} leads to node {id}, which the net does not define: add it, or it accepts nothing"
            ));
            let name = format!("node {id}, not described");
            missing.push(Parsed { id, name, accept: Vec::new(), map: Vec::new(), overlay: None });
        }
    }
    nodes.extend(missing);
    Ok(())
}

/// Maps of one node that do not overlap each other.
type Layer<'p> = Vec<&'p (AddrRange, i64, u64)>;

fn build(nodes: &[Parsed], findings: Vec<Finding>) -> Result<Machine, (i64, pmem_core::Error)> {
    let mut manager = Manager::new();
    manager.set_journal_limit(0);
    let mut net = Net::default();
    let mut labels: BTreeMap<RegionId, String> = BTreeMap::new();
    for node in nodes {
        let at = |error| (node.id, error);
        let name = called(node);
        let kind = if node.accept.is_empty() { ArenaType::VIEW } else { ArenaType::empty() };
        let arena = manager.create_arena(name, kind).map_err(at)?;
        net.entry.insert(node.id, arena);
        net.node.insert(arena, node.id);
    }
    // All entry arenas exist before any is connected: nodes may refer to each other in any order.
    for node in nodes {
        let at = |error| (node.id, error);
        let entry = net.entry[&node.id];
        let (layers, simple) = layers(node);
        let mut homes = vec![entry];
        if !simple {
            // One arena per layer, and one for what the node accepts. The entry passes every address on
            // to all of them.
            homes.clear();
            for _ in 0..=layers.len() {
                let name = called(node);
                let home = manager.create_arena(name, ArenaType::VIEW).map_err(at)?;
                net.node.insert(home, node.id);
                let all = Direction::new(Mapping::Identity, pmem_core::Metric::ZERO);
                manager.connect_asymmetric(entry, home, all, Direction::closed()).map_err(at)?;
                homes.push(home);
            }
        }
        let accepting = *homes.last().unwrap_or(&entry);
        accept(&mut manager, accepting, node, &mut labels).map_err(at)?;
        for (layer, home) in layers.iter().zip(&homes) {
            lead(&mut manager, *home, layer, &net.entry).map_err(at)?;
        }
        if let Some(overlay) = node.overlay {
            let rest = rest(node);
            let windows = Mapping::windows(rest.into_iter().map(|range| (range, range.start())));
            let through = Direction::new(windows.map_err(|e| at(e.into()))?, UNMEASURED);
            let home = if simple { entry } else { homes[0] };
            manager
                .connect_asymmetric(home, net.entry[&overlay], through, Direction::closed())
                .map_err(at)?;
        }
    }
    manager.set_journal_limit(256);
    let system = net.entry.values().next().copied().unwrap_or_default();
    Ok(Machine {
        manager,
        system,
        system_io: None,
        nodes: BTreeMap::new(),
        memory: BTreeMap::new(),
        numa: Nodes::default(),
        kinds: BTreeMap::new(),
        tiers: BTreeMap::new(),
        buses: BTreeMap::new(),
        bridges: BTreeMap::new(),
        root_of: BTreeMap::new(),
        functions: Inventory::default(),
        pci: crate::settle::PciTree::default(),
        iommu: crate::facts::Iommu::default(),
        cxl: crate::settle::CxlMemory::default(),
        firmware: Vec::new(),
        kernel: None,
        labels,
        link_names: BTreeMap::new(),
        measured: BTreeSet::new(),
        bars: BTreeMap::new(),
        holders: BTreeMap::new(),
        parked: BTreeMap::new(),
        disputed: Vec::new(),
        unknown_ways: BTreeSet::new(),
        spaces: Vec::new(),
        offsets: BTreeMap::new(),
        names: Names::default(),
        net: Some(net),
        hidden: false,
        unplaced: None,
        heard: Vec::new(),
        findings,
        joined: BTreeSet::new(),
    })
}

fn called(node: &Parsed) -> String {
    if node.name.is_empty() { format!("node {}", node.id) } else { node.name.clone() }
}

/// Distributes a node's maps over layers without overlap. The flag says whether a single arena can hold everything.
fn layers(node: &Parsed) -> (Vec<Layer<'_>>, bool) {
    let mut layers: Vec<Layer<'_>> = vec![Vec::new()];
    for entry in &node.map {
        let free = layers.iter_mut().find(|layer| layer.iter().all(|other| !other.0.overlaps(entry.0)));
        match free {
            Some(layer) => layer.push(entry),
            None => layers.push(vec![entry]),
        }
    }
    let both = node.map.iter().any(|(src, ..)| node.accept.iter().any(|(accept, _)| accept.overlaps(*src)));
    // An interconnect joins two different arenas, so a node that leads to itself needs a layer in between.
    let to_itself = node.map.iter().any(|(_, dst, _)| *dst == node.id) || node.overlay == Some(node.id);
    let simple = layers.len() == 1 && !both && !to_itself;
    (layers, simple)
}

fn accept(
    manager: &mut Manager,
    arena: ArenaId,
    node: &Parsed,
    labels: &mut BTreeMap<RegionId, String>,
) -> Result<(), pmem_core::Error> {
    let attrs = Attrs::new(Usage::empty(), Prot::RWX, Props::empty())?;
    for range in join(node.accept.iter().map(|(range, _)| *range).collect()) {
        manager.prime(arena, range, attrs)?;
    }
    for (range, label) in &node.accept {
        // A label whose range overlaps an earlier one gets no region: the space is taken.
        if let Some(label) = label
            && let Ok(region) = manager.alloc(arena, &Request::exactly(*range).pinned())
        {
            labels.insert(region, label.clone());
        }
    }
    Ok(())
}

/// Connects an arena to each node that a layer leads to.
fn lead(
    manager: &mut Manager,
    home: ArenaId,
    layer: &Layer<'_>,
    entry: &BTreeMap<i64, ArenaId>,
) -> Result<(), pmem_core::Error> {
    let mut by_target: BTreeMap<i64, Vec<(AddrRange, u64)>> = BTreeMap::new();
    for (src, dst, base) in layer {
        by_target.entry(*dst).or_default().push((*src, *base));
    }
    for (target, pairs) in by_target {
        let through = Direction::new(Mapping::windows(pairs)?, UNMEASURED);
        manager.connect_asymmetric(home, entry[&target], through, Direction::closed())?;
    }
    Ok(())
}

/// What a node neither accepts nor maps.
fn rest(node: &Parsed) -> Vec<AddrRange> {
    let decoded =
        join(node.accept.iter().map(|(range, _)| *range).chain(node.map.iter().map(|m| m.0)).collect());
    decoded.into_iter().fold(vec![AddrRange::ALL], |rest, gone| {
        let cut = |r: AddrRange| if r.overlaps(gone) { r.minus(gone) } else { [Some(r), None] };
        rest.into_iter().flat_map(cut).flatten().collect()
    })
}
