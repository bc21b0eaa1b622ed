//! Device trees (Devicetree Specification 0.4): a blob, from a file or the kernel's `/sys/firmware/fdt`, or the
//! folder that the kernel makes of one, `/proc/device-tree`.

mod node;
mod way;

use super::node_log::node as numa_node;
use crate::capture::Tree;
use crate::facts::{
    Aperture, BusId, Facts, Finding, Listed, Listing, NodeRange, NodeRangeKind, SourceLine, SourceSummary,
    Sourced,
};
use dtoolkit::fdt::Fdt;
use node::{Node, joined, of_blob, of_folder};
use pmem_core::AddrRange;
use std::collections::{BTreeMap, BTreeSet};
use way::{Translation, Way};

/// The blob, which only root can read. The folder holds the same and is not gathered.
pub(super) const FILES: &[&str] = &["sys/firmware/fdt"];
const FOLDERS: [&str; 2] = ["sys/firmware/devicetree/base", "proc/device-tree"];

pub(super) fn read(tree: &Tree, facts: &mut Facts, heard: &mut SourceSummary) {
    if let Some(bytes) = tree.is_file(FILES[0]).then(|| tree.bytes(FILES[0], &mut facts.findings)).flatten() {
        blob(&bytes, &SourceLine::whole(tree.place(FILES[0])), facts, heard);
        return;
    }
    if let Some(folder) = FOLDERS.into_iter().find(|folder| tree.is_file(&format!("{folder}/compatible"))) {
        let mut count = 0;
        let root = of_folder(tree, folder, "", 0, &mut count, facts);
        Reader::new(SourceLine::whole(tree.place(folder)), facts, heard).whole(&root);
    }
}

/// Reads a blob. Returns whether the bytes are one.
pub(super) fn blob(bytes: &[u8], at: &SourceLine, facts: &mut Facts, heard: &mut SourceSummary) -> bool {
    if !bytes.starts_with(&[0xd0, 0x0d, 0xfe, 0xed]) {
        return false;
    }
    match Fdt::new(bytes) {
        Ok(tree) => {
            let mut count = 0;
            let root = of_blob(tree.root(), 0, &mut count);
            Reader::new(at.clone(), facts, heard).whole(&root);
        }
        Err(error) => facts.find(Finding::at(at, format!("the device tree is broken: {error}"))),
    }
    true
}

struct Reader<'r> {
    at: SourceLine,
    facts: &'r mut Facts,
    heard: &'r mut SourceSummary,
    /// Ranges found so far, with their names.
    found: Vec<(AddrRange, String)>,
    /// Reserved ranges, with their names.
    reserved: Vec<(AddrRange, String)>,
    /// Number of CPUs so far.
    cpus: u32,
    /// PCI segments that are taken.
    segments: BTreeSet<u32>,
}

impl<'r> Reader<'r> {
    fn new(at: SourceLine, facts: &'r mut Facts, heard: &'r mut SourceSummary) -> Self {
        let (found, reserved, segments) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { at, facts, heard, found, reserved, cpus: 0, segments }
    }

    fn whole(mut self, root: &Node) {
        let (address, size) = root.widths();
        for child in &root.children {
            self.node(child, (address, size), &Way::default());
        }
        self.list();
    }

    fn odd(&mut self, node: &Node, why: &str) {
        self.facts.find(Finding::at(&self.at, format!("device tree's node {}: {why}", node.name)));
    }

    /// Returns the ranges of `reg` as CPUs see them; none if no `ranges` leads to the bus.
    fn reg(&mut self, node: &Node, (address, size): (usize, usize), way: &Way) -> Vec<AddrRange> {
        let cells = node.cells("reg");
        if cells.is_empty() {
            return Vec::new();
        }
        if address == 0 || size == 0 || address > 4 || size > 4 || !cells.len().is_multiple_of(address + size)
        {
            // Without size cells, `reg` holds no addresses but unit numbers: of CPUs, or of I2C devices.
            if size != 0 {
                self.odd(
                    node,
                    &format!("reg has {} cells, no multiple of {address} and {size}", cells.len()),
                );
            }
            return Vec::new();
        }
        let range = |pair: &[u32]| {
            let (at, bytes) = (joined(&pair[..address])?, joined(&pair[address..])?);
            AddrRange::sized(way.to_cpu(at, bytes)?, bytes).ok()
        };
        cells.chunks_exact(address + size).filter_map(range).collect()
    }

    fn node(&mut self, node: &Node, widths: (usize, usize), way: &Way) {
        match node.name.split('@').next().unwrap_or_default() {
            "cpus" => return self.cpus(node),
            "distance-map" => return self.distances(node),
            "reserved-memory" => return self.reserved(node, way),
            _ => {}
        }
        if !node.is_there() {
            return;
        }
        if node.is("device_type", "memory") {
            return self.memory(node, widths, way);
        }
        let own = self.reg(node, widths, way);
        if node.is("device_type", "pci") {
            return self.host_bridge(node, widths.0, way, &own);
        }
        if !own.is_empty() {
            let kind = node
                .words("compatible")
                .into_iter()
                .next()
                .map_or(String::new(), |kind| format!(" ({kind})"));
            self.found.extend(own.into_iter().map(|range| (range, format!("{}{kind}", node.name))));
            self.heard.count("device");
        }
        let mut way = way.clone();
        way.down.push(self.ranges(node, widths.0, "ranges"));
        way.up.push(self.ranges(node, widths.0, "dma-ranges").unwrap_or_default());
        let inner = node.widths();
        node.children.iter().for_each(|child| self.node(child, inner, &way));
    }

    /// Parses what a bus's `ranges` or `dma-ranges` forwards; `None` if the bus has no such property.
    fn ranges(&mut self, node: &Node, outer: usize, property: &str) -> Option<Vec<Translation>> {
        node.properties.get(property)?;
        let ((inner, size), cells) = (node.widths(), node.cells(property));
        let width = inner + outer + size;
        if width == 0 || inner > 4 || size > 4 || !cells.len().is_multiple_of(width) {
            self.odd(
                node,
                &format!("{property} has {} cells, no multiple of {inner}, {outer} and {size}", cells.len()),
            );
            return None;
        }
        let one = |cells: &[u32]| {
            let (at, bytes) = (&cells[inner..inner + outer], joined(&cells[inner + outer..])?);
            Some(Translation { inner: joined(&cells[..inner])?, outer: joined(at)?, bytes })
        };
        Some(cells.chunks_exact(width).filter_map(one).collect())
    }

    fn memory(&mut self, node: &Node, widths: (usize, usize), way: &Way) {
        let id = node.number("numa-node-id");
        for range in self.reg(node, widths, way) {
            self.found.push((range, "System RAM".to_owned()));
            self.heard.count("memory range");
            if let Some(id) = id {
                let found = NodeRange { node: id, range, kind: NodeRangeKind::Srat };
                self.facts.numa.ranges.push(Sourced::new(found, self.at.clone()));
                self.numa(id);
            }
        }
    }

    fn numa(&mut self, id: u32) {
        let at = self.at.clone();
        numa_node(self.facts, id).at.get_or_insert(at);
    }

    fn reserved(&mut self, node: &Node, way: &Way) {
        let widths = node.widths();
        // `reusable` memory is ordinary RAM while its owner does not need it.
        for child in node
            .children
            .iter()
            .filter(|child| child.is_there() && !child.properties.contains_key("reusable"))
        {
            let name = format!("reserved ({})", child.name);
            let own = self.reg(child, widths, way);
            self.reserved.extend(own.into_iter().map(|range| (range, name.clone())));
            self.heard.count("reserved range");
        }
    }

    /// Linux numbers CPUs in the tree's order.
    fn cpus(&mut self, node: &Node) {
        let is_cpu = |child: &&Node| child.is("device_type", "cpu") && child.is_there();
        for child in node.children.iter().filter(is_cpu) {
            let number = self.cpus;
            self.cpus += 1;
            if let Some(id) = child.number("numa-node-id") {
                self.numa(id);
                numa_node(self.facts, id).cpus.get_or_insert_default().push(number);
            }
            self.heard.count("processor");
        }
    }

    /// Reads `numa-distance-map-v1`: triples of from, to, distance.
    fn distances(&mut self, node: &Node) {
        let cells = node.cells("distance-matrix");
        if !cells.len().is_multiple_of(3) {
            return self.odd(node, &format!("distance-matrix has {} cells, no multiple of 3", cells.len()));
        }
        let mut said: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        for triple in cells.chunks_exact(3) {
            said.insert((triple[0], triple[1]), triple[2]);
        }
        let ids: BTreeSet<u32> = said.keys().flat_map(|(from, to)| [*from, *to]).collect();
        if ids.len() > 1024 {
            return self.odd(node, &format!("distances of {} nodes", ids.len()));
        }
        // A distance in one direction counts for both; a node's distance to itself is 10 (Linux,
        // `of_numa_parse_distance_map_v1`).
        let distance = |from: u32, to: u32| {
            let usual = if from == to { 10 } else { 255 };
            said.get(&(from, to)).or_else(|| said.get(&(to, from))).copied().unwrap_or(usual)
        };
        let distances = &mut self.facts.numa.distances;
        distances.columns = ids.iter().copied().collect();
        distances.rows =
            ids.iter().map(|from| (*from, ids.iter().map(|to| distance(*from, *to)).collect())).collect();
        distances.at = Some(self.at.clone());
        self.heard.count("table of distances");
    }

    /// Reads what a host bridge forwards (PCI Bus Binding to Open Firmware 2.1, 2.2.1.1: bits 25 and 24 of the
    /// first cell are the space).
    fn host_bridge(&mut self, node: &Node, outer: usize, way: &Way, own: &[AddrRange]) {
        let first_free = (0..).find(|segment| !self.segments.contains(segment)).unwrap_or(0);
        let segment = node.number("linux,pci-domain").unwrap_or(first_free);
        self.segments.insert(segment);
        let buses = node.cells("bus-range");
        let bus =
            |at: usize, usual: u8| buses.get(at).and_then(|bus| u8::try_from(*bus).ok()).unwrap_or(usual);
        let (first, last) = (bus(0, 0), bus(1, 255));
        let root = (segment, first);
        self.heard.count("host bridge");
        if node.words("compatible").iter().any(|kind| kind.contains("ecam")) {
            self.facts
                .pci
                .ecam
                .extend(own.first().map(|range| Sourced::new((segment, *range), self.at.clone())));
        }
        self.found.extend(own.iter().map(|range| (*range, node.name.clone())));
        self.facts.pci.ranges.insert(root, (first, last));
        if let Some(id) = node.number("numa-node-id") {
            self.facts.pci.nodes.insert(root, id);
        }
        self.inward(node, outer, way, root);
        let cells = node.cells("ranges");
        let width = 3 + outer + 2;
        if !cells.len().is_multiple_of(width) {
            return self.odd(node, &format!("ranges has {} cells, no multiple of {width}", cells.len()));
        }
        for one in cells.chunks_exact(width) {
            // I/O is skipped: Linux decides at boot which port numbers it gets.
            if (one[0] >> 24) & 3 < 2 {
                continue;
            }
            let bytes = joined(&one[3 + outer..]).unwrap_or(0);
            let range = joined(&one[3..3 + outer])
                .and_then(|at| way.to_cpu(at, bytes))
                .and_then(|at| AddrRange::sized(at, bytes).ok());
            match range.zip(joined(&one[1..3])) {
                Some((range, bus_start)) => {
                    let aperture = Aperture { range, bus_start, io: false };
                    self.facts
                        .pci
                        .roots
                        .entry(root)
                        .or_default()
                        .push(Sourced::new(aperture, self.at.clone()));
                }
                None => self.odd(node, "a range of its ranges leads nowhere"),
            }
        }
    }

    /// Reads what a host bridge's devices reach: `dma-ranges`, of the same form. An empty property is an
    /// identity mapping.
    fn inward(&mut self, node: &Node, outer: usize, way: &Way, root: BusId) {
        let cells = node.cells("dma-ranges");
        let width = 3 + outer + 2;
        if !cells.len().is_multiple_of(width) {
            return self.odd(node, &format!("dma-ranges has {} cells, no multiple of {width}", cells.len()));
        }
        let one = |cells: &[u32]| {
            let bytes = joined(&cells[3 + outer..])?;
            let to = way.device_to_cpu(joined(&cells[3..3 + outer])?, bytes)?;
            AddrRange::sized(joined(&cells[1..3])?, bytes).ok().map(|range| (range, to))
        };
        let all: Vec<Option<(AddrRange, u64)>> = match node.properties.get("dma-ranges") {
            Some(value) if value.is_empty() => vec![Some((AddrRange::ALL, 0))],
            _ => cells.chunks_exact(width).map(one).collect(),
        };
        if all.contains(&None) {
            self.odd(node, "an entry of its dma-ranges leads nowhere");
        }
        let inward: Vec<(AddrRange, u64)> = all.into_iter().flatten().collect();
        if !inward.is_empty() {
            self.facts.pci.inward.insert(root, inward);
        }
        // An IOMMU decides where these accesses go.
        if node.properties.contains_key("iommu-map") || node.properties.contains_key("iommus") {
            self.facts.iommu.translated.insert(root, self.at.clone());
        }
    }

    /// Turns what was found into a listing, with reserved ranges inside memory. The kernel's own listing, if there
    /// is one, knows more and is kept.
    fn list(self) {
        if self.facts.memory.iter().any(|listing| !listing.hidden) || self.found.is_empty() {
            return;
        }
        let mut all = self.found;
        all.extend(self.reserved);
        all.sort_by_key(|(range, _)| (range.start(), u64::MAX - range.last()));
        let mut lines: Vec<Listed> = Vec::new();
        let mut around: Vec<usize> = Vec::new();
        for (range, name) in all {
            while around.last().is_some_and(|at| lines[*at].range.last() < range.start()) {
                around.pop();
            }
            let parent = around.last().copied();
            if parent.is_some_and(|at| lines[at].range.last() < range.last()) {
                let text = format!("device tree: {name} at {range} partly overlaps another range: left out");
                self.facts.find(Finding::at(&self.at, text));
                continue;
            }
            around.push(lines.len());
            lines.push(Listed { range, name, depth: around.len() - 1, parent, line: 0 });
        }
        self.facts.memory.push(Listing { lines, hidden: false, source: self.at.source.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_text;
    use crate::capture::Text;
    use crate::facts::Facts;
    use proptest::prelude::*;

    /// A tree by hand (Devicetree Specification 0.4, chapter 5).
    #[derive(Default)]
    struct Blob {
        structure: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Blob {
        fn word(&mut self, number: u32) {
            self.structure.extend(number.to_be_bytes());
        }

        fn padded(&mut self, bytes: &[u8]) {
            self.structure.extend(bytes);
            self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        }

        fn open(&mut self, name: &str) -> &mut Self {
            self.word(1);
            self.padded(&[name.as_bytes(), &[0]].concat());
            self
        }

        fn close(&mut self) -> &mut Self {
            self.word(2);
            self
        }

        fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
            self.word(3);
            self.word(value.len() as u32);
            self.word(self.strings.len() as u32);
            self.padded(value);
            self.strings.extend(name.as_bytes());
            self.strings.push(0);
            self
        }

        fn cells(&mut self, name: &str, cells: &[u32]) -> &mut Self {
            let value: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
            self.bytes(name, &value)
        }

        fn text(&mut self, name: &str, text: &str) -> &mut Self {
            self.bytes(name, &[text.as_bytes(), &[0]].concat())
        }

        fn done(&mut self) -> Vec<u8> {
            self.word(9);
            let (structure, strings) = (self.structure.len() as u32, self.strings.len() as u32);
            let header = [
                0xd00d_feed,
                56 + structure + strings,
                56,
                56 + structure,
                40,
                17,
                16,
                0,
                strings,
                structure,
            ];
            let mut blob: Vec<u8> = header.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
            blob.extend([0; 16]);
            blob.extend(&self.structure);
            blob.extend(&self.strings);
            blob
        }
    }

    /// A system on a chip whose devices are on a bus of 32 bits, with memory on two nodes and a host bridge.
    fn chip() -> Vec<u8> {
        chip_with(&[0x0200_0000, 4, 0, 0, 0, 2, 0])
    }

    /// The same, with another way in.
    fn chip_with(inward: &[u32]) -> Vec<u8> {
        let mut blob = Blob::default();
        blob.open("").cells("#address-cells", &[2]).cells("#size-cells", &[2]);
        blob.open("memory@40000000").text("device_type", "memory").cells("numa-node-id", &[0]);
        blob.cells("reg", &[0, 0x4000_0000, 0, 0x4000_0000, 1, 0, 1, 0]).close();
        blob.open("memory@800000000").text("device_type", "memory").cells("numa-node-id", &[1]);
        blob.cells("reg", &[8, 0, 1, 0]).close();
        blob.open("reserved-memory")
            .cells("#address-cells", &[2])
            .cells("#size-cells", &[2])
            .bytes("ranges", &[]);
        blob.open("secure@40000000").cells("reg", &[0, 0x4000_0000, 0, 0x20_0000]).close();
        blob.open("cma@50000000")
            .cells("reg", &[0, 0x5000_0000, 0, 0x20_0000])
            .bytes("reusable", &[])
            .close()
            .close();
        blob.open("cpus").cells("#address-cells", &[1]).cells("#size-cells", &[0]);
        for (cpu, node) in [(0, 0), (0x100, 1), (0x101, 1)] {
            blob.open(&format!("cpu@{cpu:x}")).text("device_type", "cpu").cells("reg", &[cpu]);
            blob.cells("numa-node-id", &[node]).close();
        }
        blob.close().open("distance-map").cells("distance-matrix", &[0, 0, 10, 0, 1, 24, 1, 1, 10]).close();
        blob.open("soc").cells("#address-cells", &[1]).cells("#size-cells", &[1]);
        blob.cells("ranges", &[0x7e00_0000, 0, 0xfe00_0000, 0x180_0000]);
        blob.open("serial@7e201000")
            .text("compatible", "arm,pl011")
            .cells("reg", &[0x7e20_1000, 0x200])
            .close();
        blob.open("off@7e300000").text("status", "disabled").cells("reg", &[0x7e30_0000, 0x200]).close();
        blob.open("beyond@10").cells("reg", &[0x10, 0x10]).close().close();
        blob.open("pcie@fd500000").text("device_type", "pci").text("compatible", "pci-host-ecam-generic");
        blob.cells("reg", &[0, 0xf000_0000, 0, 0x10_0000]).cells("bus-range", &[16, 16]);
        blob.cells("#address-cells", &[3]).cells("#size-cells", &[2]).cells("linux,pci-domain", &[2]);
        blob.cells("dma-ranges", inward);
        let io = [0x0100_0000, 0, 0, 5, 0, 0, 0x1_0000];
        blob.cells("ranges", &[&[0x0200_0000, 0, 0xf800_0000, 6, 0, 0, 0x400_0000][..], &io[..]].concat());
        blob.close().close().done()
    }

    fn read(bytes: Vec<u8>) -> Facts {
        let mut facts = Facts::default();
        read_text(&Text { name: "t.dtb".into(), bytes }, &mut facts);
        facts
    }

    #[test]
    fn a_trees_memory_devices_and_bridges_are_read_as_cpus_see_them() {
        let facts = read(chip());
        let lines: Vec<String> = facts.memory[0]
            .lines
            .iter()
            .map(|line| format!("{} {} {}", line.depth, line.range, line.name))
            .collect();
        assert_eq!(
            lines,
            [
                "0 0x40000000..0x80000000 System RAM",
                "1 0x40000000..0x40200000 reserved (secure@40000000)",
                "0 0xf0000000..0xf0100000 pcie@fd500000",
                "0 0xfe201000..0xfe201200 serial@7e201000 (arm,pl011)",
                "0 0x100000000..0x200000000 System RAM",
                "0 0x800000000..0x900000000 System RAM",
            ],
            "what its bus does not hand on, and what is off, has no address"
        );
        let apertures = &facts.pci.roots[&(2, 16)];
        assert_eq!(apertures.len(), 1, "where its ports are among Linux's is not in the tree");
        let aperture = &apertures[0].value;
        assert_eq!(
            (aperture.range.to_string(), aperture.bus_start),
            ("0x600000000..0x604000000".to_owned(), 0xf800_0000)
        );
        assert_eq!(facts.pci.ecam[0].value.0, 2);
        let (range, to) = facts.pci.inward[&(2, 16)][0];
        assert_eq!((range.to_string(), to), ("0x400000000..0x600000000".to_owned(), 0));
    }

    #[test]
    fn nodes_have_their_cpus_memory_and_distances() {
        let facts = read(chip());
        let cpus: Vec<_> = facts.numa.all.iter().map(|node| (node.id, node.cpus.clone().unwrap())).collect();
        assert_eq!(cpus, [(0, vec![0]), (1, vec![1, 2])], "numbered in the tree's order");
        assert_eq!(facts.numa.distances.get(1, 0), Some(24), "one way counts for both");
        assert_eq!(facts.numa.ranges.len(), 3);
    }

    fn machine(inward: &[u32]) -> crate::Machine {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &chip_with(inward)).unwrap();
        crate::Machine::open(&[file.path().to_owned()]).unwrap()
    }

    /// Where an address of the PCI bus leads.
    fn seen(machine: &mut crate::Machine, addr: u64) -> Option<(String, u64)> {
        let bus = machine.viewer("pci 0002:10").unwrap();
        match machine.state().resolve(bus, addr) {
            pmem_core::OwnedResolution::Accept { place, .. } => {
                Some((machine.arena_name(place.arena), place.addr))
            }
            _ => None,
        }
    }

    #[test]
    fn a_device_sees_memory_where_its_bus_has_it() {
        let mut machine = machine(&[0x0200_0000, 4, 0, 0, 0, 2, 0]);
        assert_eq!(seen(&mut machine, 0x4_4000_0010), Some(("node0 RAM".to_owned(), 0x4000_0010)));
        assert_eq!(seen(&mut machine, 0x4000_0010), None, "CPUs have it there, its devices do not");
        assert_eq!(seen(&mut machine, 0xf800_0000), Some(("pci 0002:10".to_owned(), 0xf800_0000)));
        assert!(machine.unknown_ways.is_empty());
    }

    /// A bridge below a bus whose `ranges` have no memory and whose `dma-ranges` do, as on Raspberry Pis.
    fn board(outer: Option<&[u32]>) -> Facts {
        let mut blob = Blob::default();
        blob.open("").cells("#address-cells", &[2]).cells("#size-cells", &[2]);
        blob.open("memory@0").text("device_type", "memory").cells("reg", &[0, 0, 2, 0]).close();
        blob.open("scb").cells("#address-cells", &[2]).cells("#size-cells", &[2]);
        blob.cells("ranges", &[6, 0, 6, 0, 0, 0x4000_0000]);
        if let Some(outer) = outer {
            blob.cells("dma-ranges", outer);
        }
        blob.open("pcie@7d500000").text("device_type", "pci");
        blob.cells("#address-cells", &[3]).cells("#size-cells", &[2]);
        blob.cells("ranges", &[0x0200_0000, 0, 0xc000_0000, 6, 0, 0, 0x4000_0000]);
        blob.cells("dma-ranges", &[0x0200_0000, 0, 0, 0, 0, 0, 0xc000_0000]);
        read(blob.close().close().close().done())
    }

    #[test]
    fn devices_accesses_go_by_dma_ranges_all_the_way() {
        let whole = (pmem_core::AddrRange::sized(0, 0xc000_0000).unwrap(), 0);
        assert_eq!(board(Some(&[0, 0, 0, 0, 4, 0])).pci.inward[&(0, 0)], [whole]);
        assert_eq!(board(None).pci.inward[&(0, 0)], [whole], "a bus that says nothing hands on what it gets");
        assert_eq!(board(Some(&[0, 0, 1, 0, 4, 0])).pci.inward[&(0, 0)], [(whole.0, 1 << 32)]);
        let nowhere = board(Some(&[9, 0, 0, 0, 4, 0]));
        assert!(nowhere.pci.inward.is_empty());
        assert!(
            nowhere.findings.all.iter().any(|found| found.to_string().contains("dma-ranges leads nowhere"))
        );
    }

    #[test]
    fn an_empty_way_in_is_all_as_it_is_and_one_that_contradicts_itself_is_none() {
        let mut whole = machine(&[]);
        assert_eq!(seen(&mut whole, 0x4000_0010), Some(("node0 RAM".to_owned(), 0x4000_0010)));
        assert_eq!(seen(&mut whole, 0xf800_0000), Some(("pci 0002:10".to_owned(), 0xf800_0000)));
        // The same addresses of the bus, to two places.
        let twice = [0x0200_0000, 4, 0, 0, 0, 2, 0, 0x0200_0000, 4, 0, 8, 0, 2, 0];
        let mut twice = machine(&twice);
        assert_eq!(seen(&mut twice, 0x4_4000_0010), None);
        assert_eq!(twice.unknown_ways.len(), 1);
    }

    #[test]
    fn what_is_broken_is_said() {
        let found =
            |bytes: Vec<u8>| read(bytes).findings.all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let whole = chip();
        let cut = found(whole[..whole.len() / 2].to_vec());
        assert!(cut.iter().any(|text| text.contains("the device tree is broken")), "{cut:?}");
        let mut blob = Blob::default();
        blob.open("").cells("#address-cells", &[2]).cells("#size-cells", &[2]);
        blob.open("memory@0").text("device_type", "memory").cells("reg", &[0, 0, 1]).close();
        let odd = found(blob.close().done());
        assert!(odd[0].contains("memory@0: reg has 3 cells"), "{odd:?}");
        // No end of nodes in each other.
        let mut deep = Blob::default();
        for _ in 0..300 {
            deep.open("n");
        }
        for _ in 0..300 {
            deep.close();
        }
        read(deep.done());
    }

    proptest! {
        #[test]
        fn whatever_a_blob_says_nothing_panics(changes in prop::collection::vec((0usize..2000, any::<u8>()), 1..20), end in 0usize..2000) {
            let mut blob = chip();
            for (at, byte) in changes {
                let len = blob.len();
                blob[at % len] = byte;
            }
            blob.truncate(end.max(4));
            read(blob);
        }
    }
}
