//! hwloc's XML (`lstopo x.xml`, versions 1 and 2): nodes, CPUs, distances and the PCI hierarchy. It has
//! no addresses.

use super::node_log::node;
use crate::facts::{Facts, Finding, PciSource, SourceLine, SourceSummary};
use pmem_pci::{Address, Class};
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Reads an hwloc document. Returns whether the text is one.
pub(super) fn read(name: &Arc<str>, text: &str, facts: &mut Facts, heard: &mut SourceSummary) -> bool {
    let begin = text.trim_start_matches('\u{feff}').trim_start();
    if !begin.starts_with('<') || !text.contains("<topology") {
        return false;
    }
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = match Document::parse_with_options(begin, options) {
        Ok(document) => document,
        Err(error) => {
            // XML that does not parse to its end is useless.
            let at = SourceLine::line(name, error.pos().row);
            facts.find(Finding::at(&at, format!("hwloc's XML is broken: {error}")));
            return true;
        }
    };
    let topology = document.root_element();
    if !topology.has_tag_name("topology") {
        return false;
    }
    let ends = begin.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let mut reader = Reader { name, nodes: Vec::new(), cpus: BTreeSet::new(), ends, facts, heard };
    topology.children().filter(|child| child.has_tag_name("object")).for_each(|object| {
        reader.object(object, None, None, 0);
    });
    let ids: Vec<u32> = reader.nodes.iter().map(|found| found.id).collect();
    reader.settle_nodes();
    topology
        .descendants()
        .filter(|child| child.has_tag_name("distances2"))
        .for_each(|table| reader.distances(table));
    topology
        .descendants()
        .filter(|child| child.has_tag_name("distances"))
        .for_each(|table| reader.old_distances(table, &ids));
    true
}

/// Limit on numbers of nodes and CPUs.
const MOST: u32 = 1 << 16;

/// Limit on nested objects; machines have about ten levels.
const DEEPEST: usize = 200;

/// A node, and the CPUs that the document puts near it.
struct Found {
    id: u32,
    cpus: Option<Vec<u32>>,
    bytes: Option<u64>,
    line: u32,
}

struct Reader<'r> {
    name: &'r Arc<str>,
    nodes: Vec<Found>,
    /// All CPUs.
    cpus: BTreeSet<u32>,
    /// Offsets of the line ends.
    ends: Vec<usize>,
    facts: &'r mut Facts,
    heard: &'r mut SourceSummary,
}

impl Reader<'_> {
    /// Returns the line number of an offset in the text.
    fn line(&self, at: usize) -> u32 {
        u32::try_from(self.ends.partition_point(|end| *end < at) + 1).unwrap_or(u32::MAX)
    }

    /// Checks that the number of a node or CPU is plausible.
    fn numbered(&mut self, number: Option<u32>, at: usize) -> Option<u32> {
        if let Some(number) = number.filter(|number| *number >= MOST) {
            let at = SourceLine::line(self.name, self.line(at));
            self.facts
                .find(Finding::at(&at, format!("number {number} is beyond what machines have: left out")));
        }
        number.filter(|number| *number < MOST)
    }

    /// Reads an object and its children. `parent` is the enclosing bridge, `near` the node of the enclosing CPUs.
    fn object(&mut self, object: Node<'_, '_>, parent: Option<Address>, near: Option<u32>, depth: usize) {
        let says = |name: &str| object.attribute(name);
        let number = |name: &str| says(name).and_then(|text| text.parse::<u32>().ok());
        let at = object.range().start;
        let (mut parent, mut near) = (parent, near);
        match says("type") {
            Some("NUMANode") => {
                if let Some(id) = self.numbered(number("os_index"), at) {
                    // Version 1 nests what is near a node inside the node.
                    near = Some(id);
                    let bytes = says("local_memory").and_then(|text| text.parse().ok());
                    self.nodes.push(Found {
                        id,
                        cpus: says("cpuset").and_then(mask),
                        bytes,
                        line: self.line(at),
                    });
                }
            }
            Some("PU") => {
                let cpu = self.numbered(number("os_index"), at);
                self.cpus.extend(cpu);
            }
            Some("Bridge" | "PCIDev") => {
                if let Some(address) = says("pci_busid").and_then(|text| text.parse().ok()) {
                    self.function(object, address, parent, near);
                    parent = Some(address);
                }
            }
            Some("OSDev") => {
                if let (Some(address), Some(name)) = (parent, says("name")) {
                    let at = SourceLine::line(self.name, self.line(at));
                    let names = &mut self.facts.pci.function(PciSource::Listing, address, &at).names;
                    if !names.iter().any(|had| had == name) {
                        names.push(name.to_owned());
                    }
                }
            }
            // An object of one node's CPUs is near that node; the machine object belongs to all nodes.
            Some("Machine" | "System") | None => {}
            Some(_) => {
                let nodes = says("nodeset").and_then(mask);
                near = nodes.filter(|nodes| nodes.len() == 1).map(|nodes| nodes[0]).or(near);
            }
        }
        for child in object.children().filter(|child| child.has_tag_name("object")) {
            if depth == DEEPEST {
                let at = SourceLine::line(self.name, self.line(at));
                self.facts
                    .find(Finding::at(&at, format!("objects {DEEPEST} deep: what is in them is left out")));
                break;
            }
            self.object(child, parent, near, depth + 1);
        }
    }

    fn function(
        &mut self,
        object: Node<'_, '_>,
        address: Address,
        parent: Option<Address>,
        near: Option<u32>,
    ) {
        let at = SourceLine::line(self.name, self.line(object.range().start));
        let function = self.facts.pci.function(PciSource::Listing, address, &at);
        function.parent = parent;
        function.numa = function.numa.or(near);
        // `0200 [8086:1572] [8086:0000] 02`: class, vendor and device, subsystem ids, revision.
        let kind = object.attribute("pci_type").unwrap_or_default();
        let hex = |text: &str| u16::from_str_radix(text, 16).ok();
        function.class = kind.get(..4).and_then(hex).map(|class| Class(u32::from(class) << 8));
        let ids = kind.split(['[', ']']).nth(1).and_then(|pair| pair.split_once(':'));
        function.id = ids.and_then(|(vendor, device)| Some((hex(vendor)?, hex(device)?)));
        // `0000:[03-05]`: the buses below a bridge.
        let buses = object.attribute("bridge_pci").and_then(|text| text.split(['[', ']']).nth(1));
        let bus = |text: &str| u8::from_str_radix(text, 16).ok();
        let buses = buses.and_then(|pair| pair.split_once('-'));
        function.below = buses.and_then(|(first, last)| Some((bus(first)?, bus(last)?)));
        let names = |key: &str| {
            let of = object
                .children()
                .filter(|child| child.has_tag_name("info") && child.attribute("name") == Some(key));
            of.filter_map(|info| info.attribute("value")).next().map(str::to_owned)
        };
        function.title =
            names("PCIVendor").zip(names("PCIDevice")).map(|(vendor, device)| format!("{vendor} {device}"));
        self.heard.count("PCI function");
    }

    /// Decides which CPUs belong to which node. Nodes without CPUs list those of nodes nearby, so a CPU's owner is
    /// only certain if one node alone lists it.
    fn settle_nodes(&mut self) {
        let mut owners: BTreeMap<u32, Vec<(usize, u32)>> = BTreeMap::new();
        for found in &self.nodes {
            let cpus = found.cpus.iter().flatten();
            for cpu in cpus.filter(|cpu| self.cpus.is_empty() || self.cpus.contains(cpu)) {
                owners.entry(*cpu).or_default().push((found.cpus.as_ref().map_or(0, Vec::len), found.id));
            }
        }
        let mut own: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut unsure = Vec::new();
        for (cpu, mut all) in owners {
            all.sort_unstable();
            match all[..] {
                [(_, id)] => own.entry(id).or_default().push(cpu),
                // Of several nodes that list a CPU, the one with the fewest CPUs is the nearest.
                [(least, id), (next, _), ..] if least < next => own.entry(id).or_default().push(cpu),
                _ => unsure.extend(all.into_iter().map(|(_, id)| id)),
            }
        }
        for found in std::mem::take(&mut self.nodes) {
            let cpus = own.remove(&found.id);
            let is_known = !unsure.contains(&found.id);
            let node = node(self.facts, found.id);
            node.at = Some(SourceLine::line(self.name, found.line));
            node.bytes = found.bytes.or(node.bytes);
            if is_known {
                node.cpus = Some(cpus.unwrap_or_default());
            }
            self.heard.count("node");
        }
    }

    /// Reads version 2's `<distances2 type="NUMANode" nbobjs="2" kind="5" indexing="os">`, with indexes and values.
    fn distances(&mut self, table: Node<'_, '_>) {
        // Only latencies, not bandwidths (`HWLOC_DISTANCES_KIND_MEANS_LATENCY` is bit 2).
        let kind = table.attribute("kind").and_then(|kind| kind.parse::<u32>().ok()).unwrap_or(0);
        if table.attribute("type") != Some("NUMANode")
            || table.attribute("indexing") != Some("os")
            || kind & 4 == 0
        {
            return;
        }
        let numbers = |name: &str| -> Vec<u32> {
            let lists = table.children().filter(|child| child.has_tag_name(name));
            lists
                .filter_map(|list| list.text())
                .flat_map(str::split_whitespace)
                .filter_map(|word| word.parse().ok())
                .collect()
        };
        self.matrix(&numbers("indexes"), &numbers("u64values"), table);
    }

    /// Reads version 1's `<distances relative_depth="1" latency_base="10.0">`, with a value for each pair of
    /// objects, in the order in which the objects came.
    fn old_distances(&mut self, table: Node<'_, '_>, ids: &[u32]) {
        let number = |name: &str| table.attribute(name).and_then(|text| text.parse::<f64>().ok());
        let is_node = |object: &Node<'_, '_>| object.attribute("type") == Some("NUMANode");
        let owner = table.parent();
        let depth = |object: Node<'_, '_>| {
            object.ancestors().take_while(|outer| Some(*outer) != owner).count() as f64
        };
        let level = owner.and_then(|owner| owner.descendants().find(is_node)).map(depth);
        // There are also tables of sockets and of cores.
        if number("relative_depth").is_some() && number("relative_depth") != level {
            return;
        }
        let base = number("latency_base").unwrap_or(1.0);
        let value =
            |child: Node<'_, '_>| child.attribute("value").and_then(|value| value.parse::<f64>().ok());
        let values: Option<Vec<f64>> =
            table.children().filter(|child| child.has_tag_name("latency")).map(value).collect();
        // A single value that is no number makes every position uncertain.
        let values: Vec<u32> = values
            .unwrap_or_default()
            .iter()
            .map(|value| (value * base).round().clamp(0.0, 1e6) as u32)
            .collect();
        self.matrix(ids, &values, table);
    }

    fn matrix(&mut self, ids: &[u32], values: &[u32], table: Node<'_, '_>) {
        let at = SourceLine::line(self.name, self.line(table.range().start));
        if ids.is_empty() || ids.len().checked_mul(ids.len()) != Some(values.len()) {
            let text = format!("{} distances of {} nodes: left out", values.len(), ids.len());
            self.facts.find(Finding::at(&at, text));
            return;
        }
        let distances = &mut self.facts.numa.distances;
        distances.columns = ids.to_vec();
        distances.rows = ids.iter().copied().zip(values.chunks(ids.len()).map(<[u32]>::to_vec)).collect();
        distances.at = Some(at);
        self.heard.count("table of distances");
    }
}

/// Parses a mask, highest 32 bits first: `0x00000001,0x00000003`. `None` for an infinite one (`0xf...f`).
fn mask(text: &str) -> Option<Vec<u32>> {
    let words: Option<Vec<u32>> = text
        .split(',')
        .map(|word| {
            let word = word.strip_prefix("0x").unwrap_or(word);
            if word.is_empty() { Some(0) } else { u32::from_str_radix(word, 16).ok() }
        })
        .collect();
    let words = words.filter(|words| words.len() <= 1024)?;
    let bits =
        words.iter().rev().zip(0u32..).flat_map(|(word, n)| {
            (0..32).filter(move |bit| word & (1 << bit) != 0).map(move |bit| 32 * n + bit)
        });
    Some(bits.collect())
}

#[cfg(test)]
mod tests {
    use super::super::facts_of;
    use super::mask;
    use proptest::prelude::*;

    const TWO: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc2.dtd">
<topology version="2.0">
 <object type="Machine" os_index="0" cpuset="0x0000000f" nodeset="0x00000007">
  <object type="NUMANode" os_index="2" cpuset="0x0000000f" nodeset="0x00000004" local_memory="4096"/>
  <object type="Package" cpuset="0x00000003" nodeset="0x00000001">
   <object type="NUMANode" os_index="0" cpuset="0x00000003" nodeset="0x00000001" local_memory="1048576"/>
   <object type="PU" os_index="0" cpuset="0x00000001"/><object type="PU" os_index="1" cpuset="0x00000002"/>
   <object type="Bridge" bridge_type="0-1" bridge_pci="0000:[00-01]">
    <object type="Bridge" bridge_type="1-1" bridge_pci="0000:[01-01]" pci_busid="0000:00:1c.0" pci_type="0604 [8086:8c10] [0000:0000] d5">
     <object type="PCIDev" pci_busid="0000:01:00.0" pci_type="0200 [10ec:8168] [0000:0000] 0c"><object type="OSDev" name="eth0"/></object>
    </object>
   </object>
  </object>
  <object type="Package" cpuset="0x0000000c" nodeset="0x00000002">
   <object type="NUMANode" os_index="1" cpuset="0x0000000c" nodeset="0x00000002" local_memory="2097152"/>
   <object type="PU" os_index="2" cpuset="0x00000004"/><object type="PU" os_index="3" cpuset="0x00000008"/>
  </object>
 </object>
 <distances2 type="NUMANode" nbobjs="3" kind="5" name="NUMALatency" indexing="os">
  <indexes length="6">0 1 2 </indexes><u64values length="9">10 21 17 </u64values><u64values length="18">21 10 28 17 28 10 </u64values>
 </distances2>
</topology>"#;

    #[test]
    fn nodes_functions_and_distances_are_read() {
        let facts = facts_of(TWO);
        let nodes: Vec<_> =
            facts.numa.all.iter().map(|node| (node.id, node.cpus.clone(), node.bytes)).collect();
        let wanted = [(0, vec![0, 1], 1 << 20), (1, vec![2, 3], 2 << 20), (2, vec![], 4096)];
        assert_eq!(nodes, wanted.map(|(id, cpus, bytes)| (id, Some(cpus), Some(bytes))));
        assert_eq!(facts.numa.distances.get(0, 2), Some(17));
        assert_eq!(facts.numa.distances.get(1, 0), Some(21));
        let functions: Vec<_> = facts.pci.functions.values().collect();
        assert_eq!(functions.len(), 2);
        let card = functions.iter().find(|f| f.id == Some((0x10ec, 0x8168))).unwrap();
        assert_eq!((card.numa, card.parent), (Some(0), Some("0000:00:1c.0".parse().unwrap())));
        assert_eq!((card.names.clone(), card.class.unwrap().0), (vec!["eth0".to_owned()], 0x02_0000));
        let bridge = functions.iter().find(|f| f.below.is_some()).unwrap();
        assert_eq!(bridge.below, Some((1, 1)));
    }

    #[test]
    fn whose_cpus_are_near_two_nodes_alike_is_not_known() {
        let alike = TWO.replace(
            "cpuset=\"0x0000000f\" nodeset=\"0x00000004\"",
            "cpuset=\"0x00000003\" nodeset=\"0x00000004\"",
        );
        let facts = facts_of(&alike);
        let cpus = |id: u32| facts.numa.all.iter().find(|node| node.id == id).unwrap().cpus.clone();
        assert_eq!((cpus(0), cpus(1), cpus(2)), (None, Some(vec![2, 3]), None));
    }

    const OLD: &str = r#"<topology>
 <object type="Machine" os_index="0" cpuset="0x0000000f" nodeset="0x00000003">
  <distances nbobjs="2" relative_depth="1" latency_base="10.000000"><latency value="1.0"/><latency value="2.1"/><latency value="2.1"/><latency value="1.0"/></distances>
  <distances nbobjs="2" relative_depth="2" latency_base="1.000000"><latency value="7"/><latency value="8"/><latency value="9"/><latency value="7"/></distances>
  <object type="NUMANode" os_index="0" cpuset="0x00000003" nodeset="0x00000001" local_memory="4096">
   <object type="Socket" cpuset="0x00000003"><object type="PU" os_index="0" cpuset="0x00000001"/><object type="PU" os_index="1" cpuset="0x00000002"/></object>
   <object type="Bridge" bridge_type="0-1" bridge_pci="0000:[00-01]"><object type="PCIDev" pci_busid="0000:00:03.0" pci_type="0200 [8086:1572] [0000:0000] 01"/></object>
  </object>
  <object type="NUMANode" os_index="1" cpuset="0x0000000c" nodeset="0x00000002" local_memory="8192">
   <object type="Socket" cpuset="0x0000000c"><object type="PU" os_index="2" cpuset="0x00000004"/><object type="PU" os_index="3" cpuset="0x00000008"/></object>
   <object type="Bridge" bridge_type="0-1" bridge_pci="0000:[80-81]"><object type="PCIDev" pci_busid="0000:80:03.0" pci_type="0200 [8086:1572] [0000:0000] 01"/></object>
  </object>
 </object>
</topology>"#;

    #[test]
    fn version_1_has_devices_in_nodes_and_distances_by_level() {
        let facts = facts_of(OLD);
        assert_eq!(facts.numa.distances.get(0, 1), Some(21), "not those of the sockets");
        assert_eq!(facts.numa.all[1].cpus, Some(vec![2, 3]));
        let near: Vec<_> =
            facts.pci.functions.values().map(|function| (function.bdf().bus, function.numa)).collect();
        assert_eq!(near, [(0, Some(0)), (0x80, Some(1))]);
        let odd = facts_of(&OLD.replace("value=\"2.1\"", "value=\"far\""));
        assert!(odd.numa.distances.rows.is_empty(), "what is no number shifts no other");
    }

    #[test]
    fn numbers_have_an_end() {
        let facts = facts_of(&TWO.replace("os_index=\"2\"", "os_index=\"4294967295\""));
        assert!(
            facts.findings.all.iter().any(|found| found.to_string().starts_with("t:5: number 4294967295"))
        );
        assert!(facts.numa.all.iter().all(|node| node.id < 3));
    }

    #[test]
    fn what_is_broken_is_named_by_its_line() {
        let cut = &TWO[..TWO.len() / 2];
        let facts = facts_of(cut);
        let found =
            facts.findings.all.iter().map(ToString::to_string).find(|text| text.contains("broken")).unwrap();
        assert!(found.starts_with("t:"), "{found}");
        let short = TWO.replace("21 10 28 17 28 10 ", "21 10 28 ");
        let found = facts_of(&short).findings.all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(found.iter().any(|text| text.contains("6 distances of 3 nodes")), "{found:?}");
    }

    #[test]
    fn objects_have_an_end() {
        let deep = format!(
            "<topology>{}{}</topology>",
            "<object type=\"Group\">".repeat(900),
            "</object>".repeat(900)
        );
        let found: Vec<String> = facts_of(&deep).findings.all.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|text| text.contains("deep")), "{found:?}");
    }

    #[test]
    fn masks_are_read_from_the_right() {
        assert_eq!(mask("0x00000001,0x80000002"), Some(vec![1, 31, 32]));
        assert_eq!(mask("0x3,,0x1"), Some(vec![0, 64, 65]));
        assert_eq!(mask("0xf...f"), None);
    }

    proptest! {
        #[test]
        fn whatever_a_document_says_nothing_panics(text in "<topology>(<object( (type|os_index|cpuset|pci_busid|pci_type|bridge_pci)=\"[0-9a-zA-Z:,.\\[\\]-]{0,12}\"){0,4}/>){0,6}</topology>") {
            facts_of(&text);
        }
    }
}
