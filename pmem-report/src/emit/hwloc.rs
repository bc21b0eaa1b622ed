//! Emits hwloc's XML (version 2), which lstopo and MPI launchers read.
//!
//! What hwloc cannot represent is left out, addresses above all. Nodes become groups, because no source says which
//! package they belong to.

use super::{EmitError, last_bus};
use crate::topo::{FunctionSummary, NodeSummary, Topo};
use crate::xml::escaped;
use std::fmt::Write;

/// The exclusive limit for CPU and node numbers. A mask has one bit for every number up to the highest, so a bogus
/// number would make it huge.
const MOST: u32 = 1 << 16;

/// Emits the topology as hwloc XML.
///
/// # Errors
/// Returns [`EmitError::Nothing`] if no source says which CPUs and nodes exist, and [`EmitError::Number`] if a CPU or
/// node number is implausibly large.
pub fn hwloc_xml(topo: &Topo) -> Result<String, EmitError> {
    let nodes: Vec<&NodeSummary> = topo.nodes.iter().collect();
    if nodes.iter().all(|node| node.cpus.as_ref().is_none_or(Vec::is_empty)) {
        return Err(EmitError::Nothing("CPUs and their nodes"));
    }
    let numbers = nodes.iter().flat_map(|node| node.cpus.iter().flatten().copied().chain([node.id]));
    if let Some(number) = numbers.into_iter().find(|number| *number >= MOST) {
        return Err(EmitError::Number(number));
    }
    let mut writer = Writer { out: String::new(), index: 0 };
    writer.out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n<topology version=\"2.0\">\n");
    let cpus = mask(nodes.iter().flat_map(|node| node.cpus.iter().flatten().copied()));
    let all = mask(nodes.iter().map(|node| node.id));
    writer.open(
        1,
        &format!(
            "type=\"Machine\" os_index=\"0\" {} allowed_cpuset=\"{cpus}\" allowed_nodeset=\"{all}\"",
            sets(&cpus, &all)
        ),
    );
    let roots = || topo.buses.iter().filter(|bus| bus.above.is_none());
    // A node without CPUs is attached to the machine itself.
    for node in nodes.iter().filter(|node| node.cpus.as_ref().is_none_or(Vec::is_empty)) {
        writer.node(2, node, &cpus);
    }
    for node in nodes.iter().filter(|node| node.cpus.as_ref().is_some_and(|cpus| !cpus.is_empty())) {
        let (cpus, own) = (mask(node.cpus.iter().flatten().copied()), mask([node.id]));
        writer.open(2, &format!("type=\"Group\" {} kind=\"0\" subkind=\"0\"", sets(&cpus, &own)));
        writer.node(3, node, &cpus);
        for cpu in node.cpus.iter().flatten() {
            writer.leaf(3, &format!("type=\"PU\" os_index=\"{cpu}\" {}", sets(&mask([*cpu]), &own)));
        }
        for bus in roots().filter(|bus| bus.node == Some(node.id)) {
            writer.host_bridge(topo, &bus.bus, 3);
        }
        writer.close(2);
    }
    let has_group = |id| {
        nodes.iter().any(|node| node.id == id && node.cpus.as_ref().is_some_and(|cpus| !cpus.is_empty()))
    };
    for bus in roots().filter(|bus| !bus.node.is_some_and(has_group)) {
        writer.host_bridge(topo, &bus.bus, 2);
    }
    writer.close(1);
    distances(topo, &nodes, &mut writer.out);
    writer.out.push_str("</topology>\n");
    Ok(writer.out)
}

struct Writer {
    out: String,
    index: u32,
}

impl Writer {
    fn tag(&mut self, depth: usize, attributes: &str, end: &str) {
        self.index += 1;
        let _ = writeln!(
            self.out,
            "{}<object {attributes} gp_index=\"{}\"{end}>",
            "  ".repeat(depth),
            self.index
        );
    }

    fn open(&mut self, depth: usize, attributes: &str) {
        self.tag(depth, attributes, "");
    }

    fn leaf(&mut self, depth: usize, attributes: &str) {
        self.tag(depth, attributes, "/");
    }

    fn close(&mut self, depth: usize) {
        let _ = writeln!(self.out, "{}</object>", "  ".repeat(depth));
    }

    fn node(&mut self, depth: usize, node: &NodeSummary, cpus: &str) {
        let subtype = node.kind.as_ref().filter(|kind| *kind != "DRAM");
        let subtype = subtype.map_or(String::new(), |kind| format!(" subtype=\"{}\"", escaped(kind)));
        self.leaf(
            depth,
            &format!(
                "type=\"NUMANode\"{subtype} os_index=\"{}\" {} local_memory=\"{}\"",
                node.id,
                sets(cpus, &mask([node.id])),
                node.managed_bytes.or(node.bytes).unwrap_or(0)
            ),
        );
    }

    fn host_bridge(&mut self, topo: &Topo, bus: &str, depth: usize) {
        let functions: Vec<&FunctionSummary> =
            topo.functions.iter().filter(|f| f.bus == format!("pci {bus}")).collect();
        if functions.is_empty() {
            return;
        }
        let (segment, first) = bus.split_once(':').unwrap_or(("0000", bus));
        let last = last_bus(topo, bus);
        self.open(depth, &format!(
            "type=\"Bridge\" bridge_type=\"0-1\" depth=\"0\" bridge_pci=\"{segment}:[{first}-{last:02x}]\""
        ));
        functions.iter().for_each(|function| self.function(topo, function, depth + 1, 1));
        self.close(depth);
    }

    fn function(&mut self, topo: &Topo, function: &FunctionSummary, depth: usize, bridges: usize) {
        let number = |said: &Option<String>| {
            said.as_ref().map_or("0000".to_owned(), |word| word.trim_start_matches("0x").to_owned())
        };
        let class = function
            .class
            .as_ref()
            .map_or("0000".to_owned(), |class| class.trim_start_matches("0x").chars().take(4).collect());
        let bus_id = &function.address;
        let kind =
            format!("{class} [{}:{}] [0000:0000] 00", number(&function.vendor), number(&function.device));
        let Some(below) = &function.below else {
            self.leaf(
                depth,
                &format!(
                    "type=\"PCIDev\" pci_busid=\"{bus_id}\" pci_type=\"{kind}\" pci_link_speed=\"0.000000\""
                ),
            );
            return;
        };
        let (segment, first) = below.split_once(':').unwrap_or(("0000", below));
        let last = last_bus(topo, below);
        self.open(depth, &format!(
            "type=\"Bridge\" bridge_type=\"1-1\" depth=\"{}\" bridge_pci=\"{segment}:[{first}-{last:02x}]\" pci_busid=\"{bus_id}\" pci_type=\"{kind}\" pci_link_speed=\"0.000000\"",
            bridges
        ));
        let behind = format!("pci {below}");
        topo.functions
            .iter()
            .filter(|f| f.bus == behind)
            .for_each(|f| self.function(topo, f, depth + 1, bridges + 1));
        self.close(depth);
    }
}

fn sets(cpus: &str, nodes: &str) -> String {
    format!("cpuset=\"{cpus}\" complete_cpuset=\"{cpus}\" nodeset=\"{nodes}\" complete_nodeset=\"{nodes}\"")
}

/// Formats a bit mask as hwloc does: words of 32 bits, the highest first. A zero word is empty, except for the last.
/// Otherwise a machine with tens of thousands of CPUs would take hundreds of megabytes.
fn mask(bits: impl IntoIterator<Item = u32>) -> String {
    let mut words: Vec<u32> = vec![0];
    for bit in bits {
        let at = (bit / 32) as usize;
        if at >= words.len() {
            words.resize(at + 1, 0);
        }
        words[at] |= 1 << (bit % 32);
    }
    let word = |(at, word): (usize, &u32)| match (at, word) {
        (0, 0) => "0x0".to_owned(),
        (_, 0) => String::new(),
        (_, word) => format!("0x{word:08x}"),
    };
    words.iter().enumerate().rev().map(word).collect::<Vec<_>>().join(",")
}

/// Writes the distance matrix, if every pair of nodes has a distance.
fn distances(topo: &Topo, nodes: &[&NodeSummary], out: &mut String) {
    let table = &topo.distances;
    let ids: Vec<u32> = nodes.iter().map(|node| node.id).collect();
    if ids.len() < 2
        || table.nodes != ids
        || table.columns != ids
        || table.matrix.iter().any(|row| row.len() != ids.len())
    {
        return;
    }
    let list = |numbers: &[u32]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let _ = writeln!(
        out,
        "  <distances2 type=\"NUMANode\" nbobjs=\"{}\" kind=\"5\" name=\"NUMALatency\" indexing=\"os\">",
        ids.len()
    );
    let line = |name: &str, text: String, out: &mut String| {
        let text = text + " ";
        let _ = writeln!(out, "    <{name} length=\"{}\">{text}</{name}>", text.len());
    };
    line("indexes", list(&ids), out);
    for row in &table.matrix {
        line("u64values", list(row), out);
    }
    out.push_str("  </distances2>\n");
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn masks_have_32_bits_each() {
        assert_eq!(mask([0, 1, 31]), "0x80000003");
        assert_eq!(mask([32, 64]), "0x00000001,0x00000001,0x0");
        assert_eq!(mask([5, 100]), "0x00000010,,,0x00000020");
        assert_eq!(mask([]), "0x0");
    }
}
