//! NUMA nodes in a kernel's log, and as `numactl -H` prints them.

use super::reader::{LineReader, Verdict};
use crate::acpi::{Affinity, Attached, Hmat, Initiator, InitiatorKind, Locality, Quantity};
use crate::facts::{Facts, NodeRange, NodeRangeKind, NumaNode, SourceSummary, Sourced};
use crate::text::{Line, Scan};
use pmem_core::AddrRange;

const RECORD: &str = "node range";

/// Reads ranges of nodes, and the output of `numactl`.
#[derive(Default)]
pub(super) struct Reader {
    /// Rows of distances follow.
    distances: bool,
    /// The nodes of the rows' columns.
    columns: Vec<u32>,
    /// Ranges of page frames follow.
    frames: bool,
    /// The node whose CPUs the last line listed.
    cpus: Option<u32>,
    /// First line of the current boot, until the boot says something about nodes.
    begins: Option<u32>,
    /// Cells of the HMAT matrix that is being printed: initiator, target, value.
    cells: Vec<(u32, u32, Option<u64>)>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        if words.starts_with("Linux version ") || words.starts_with("Booting Linux") {
            // Another boot: statements of the last one are dropped once this boot repeats them.
            self.begins = Some(line.number);
            return Verdict::Pass;
        }
        if let Some(verdict) = self.cpus.take().and_then(|id| self.more_cpus(id, words, facts)) {
            return verdict;
        }
        if words.contains("active PFN ranges") {
            self.frames = true;
            return Verdict::Took;
        }
        if let Some(rest) = words.strip_prefix("ACPI: SRAT: ").or_else(|| words.strip_prefix("SRAT: "))
            && rest.starts_with("Node ")
        {
            self.affinity(rest, line, facts);
            return self.note(line, NodeRangeKind::Srat, srat(rest), facts, heard);
        }
        if let Some(verdict) = self.hmat(words, line, facts, heard) {
            return verdict;
        }
        if let Some(found) = initiator(words) {
            facts.tables.initiators.push(Sourced::new(found, line.place()));
            heard.count("SRAT initiator");
            return Verdict::Took;
        }
        if let Some(rest) = words.strip_prefix("NUMA: Node ")
            && rest.contains("] + [mem ")
        {
            return self.note(line, NodeRangeKind::Srat, joined(rest), facts, heard);
        }
        if words.starts_with("node ")
            && let Some(verdict) = self.numactl(line, words, facts, heard)
        {
            return verdict;
        }
        if let Some(rest) = words.strip_prefix("node ")
            && rest.contains(": [mem ")
        {
            return self.note(line, NodeRangeKind::Kernel, kernel(rest), facts, heard);
        }
        if self.frames {
            match frames(words) {
                Some(found) => return self.note(line, NodeRangeKind::Kernel, Ok(vec![found]), facts, heard),
                None => self.frames = false,
            }
        }
        // A matrix without its heading begins with its column numbers.
        let is_header = |rest: &str| {
            rest.split_whitespace().count() > 1
                && rest.split_whitespace().all(|word| word.parse::<u32>().is_ok())
        };
        self.distances |= words.strip_prefix("node ").is_some_and(is_header);
        if self.distances {
            return self.row(line, facts, heard);
        }
        Verdict::Pass
    }
}

impl Reader {
    /// Reads an SRAT entry as the kernel prints it. Old kernels print the node's extent so far instead.
    fn affinity(&self, rest: &str, line: &Line<'_>, facts: &mut Facts) {
        let mut scan = Scan::new(rest);
        let found = (|| {
            scan.lit("Node ")?;
            scan.decimal()?;
            scan.lit("PXM ")?;
            let domain = u32::try_from(scan.decimal()?).ok()?;
            let range = if scan.0.starts_with("[mem") { Some(scan.resource()?.range?) } else { None };
            Some((domain, range))
        })();
        match found {
            Some((domain, Some(range))) => {
                let (base, length) = (range.start(), range.len());
                let hot_plug = scan.0.contains("hotplug");
                let is_persistent = scan.0.contains("non-volatile");
                let found =
                    Affinity { domain, base, length, enabled: true, hot_plug, is_persistent, offset: 0 };
                facts.tables.memory.push(Sourced::new(found, line.place()));
            }
            Some((_, None)) if !line.xen => facts.tables.extents.push(line.place()),
            _ => {}
        }
    }

    /// Reads `HMAT: Locality: Flags:00 Type:Access Latency Initiator Domains:1 Target Domains:2 Base:1000000`, and
    /// the lines below it. Later kernels begin each line with `acpi/hmat:`, and the newest leave out `HMAT:`.
    fn hmat(
        &mut self,
        words: &str,
        line: &Line<'_>,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Option<Verdict> {
        let number = |text: &str, word: &str| -> Option<u32> {
            let rest = text.split_once(word)?.1;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let source = line.source.clone();
        let table = |facts: &mut Facts| -> usize {
            // One table per source. Binary tables have line 0 and are left alone.
            let own = |said: &Sourced<Hmat>| said.at.source == source && said.at.line != 0;
            facts.tables.access.iter().position(own).unwrap_or_else(|| {
                facts.tables.access.push(Sourced::new(Hmat::default(), line.place()));
                facts.tables.access.len() - 1
            })
        };
        let words = match words.strip_prefix("acpi/hmat:") {
            Some(rest) => rest.trim_start().trim_start_matches("HMAT: "),
            None => {
                words.strip_prefix("HMAT: ").or(words.starts_with("Initiator-Target[").then_some(words))?
            }
        };
        // Tables of revision 1 also say where the memory is: `Memory (0x0 length 0x80000000) Flags:0003 …`.
        if let Some((_, rest)) = words.strip_prefix("Memory ").and_then(|rest| rest.split_once("Flags:")) {
            let flags = crate::number::hex(rest.split_whitespace().next()?)?;
            let memory = number(rest, "Memory Domain:")?;
            let initiator = number(rest, "Processor Domain:").filter(|_| flags & 1 != 0);
            let at = table(facts);
            facts.tables.access[at].value.attached.push(Attached { initiator, memory, offset: 0 });
            heard.count("HMAT line");
            return Some(Verdict::Took);
        }
        if let Some(rest) = words.strip_prefix("Locality:") {
            let kind = rest.split_once("Type:")?.1.split(" Initiator").next()?.trim();
            let quantity = match kind {
                "Access Latency" => Quantity::AccessLatency,
                "Read Latency" => Quantity::ReadLatency,
                "Write Latency" => Quantity::WriteLatency,
                "Access Bandwidth" => Quantity::AccessBandwidth,
                "Read Bandwidth" => Quantity::ReadBandwidth,
                "Write Bandwidth" => Quantity::WriteBandwidth,
                _ => return Some(Verdict::Odd("HMAT line", format!("{kind:?} is no quantity"))),
            };
            let at = table(facts);
            let flags = rest.split_once("Flags:").and_then(|(_, rest)| crate::number::hex(rest.get(..2)?));
            facts.tables.access[at].value.localities.push(Locality {
                quantity,
                level: (flags.unwrap_or(0) & 0xf) as u8,
                initiators: Vec::new(),
                targets: Vec::new(),
                values: Vec::new(),
                offset: 0,
            });
            self.cells.clear();
            heard.count("HMAT line");
            return Some(Verdict::Took);
        }
        let rest = words.strip_prefix("Initiator-Target[")?;
        let (pair, value) = rest.split_once("]:")?;
        let (initiator, target) = pair.split_once('-')?;
        let (initiator, target): (u32, u32) = (initiator.parse().ok()?, target.parse().ok()?);
        let mut value = value.split_whitespace();
        let number: u64 = value.next()?.parse().ok()?;
        let scale = if value.next() == Some("nsec") { 1000 } else { 1 };
        self.cells.push((initiator, target, (number != 0).then(|| number.checked_mul(scale)).flatten()));
        let at = table(facts);
        let locality = facts.tables.access[at].value.localities.last_mut()?;
        // The matrix is rebuilt with every cell: its size is only known at the end.
        let all = |pick: fn(&(u32, u32, Option<u64>)) -> u32| {
            let all: std::collections::BTreeSet<u32> = self.cells.iter().map(pick).collect();
            all.into_iter().collect::<Vec<u32>>()
        };
        (locality.initiators, locality.targets) = (all(|cell| cell.0), all(|cell| cell.1));
        let value = |initiator: u32, target: u32| {
            let own = |cell: &&(u32, u32, Option<u64>)| (cell.0, cell.1) == (initiator, target);
            self.cells.iter().find(own).and_then(|cell| cell.2)
        };
        let values = locality
            .initiators
            .iter()
            .flat_map(|initiator| locality.targets.iter().map(move |target| value(*initiator, *target)));
        locality.values = values.collect();
        heard.count("HMAT line");
        Some(Verdict::Took)
    }

    fn note(
        &mut self,
        line: &Line<'_>,
        kind: NodeRangeKind,
        read: Result<Vec<(u32, AddrRange)>, String>,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Verdict {
        let (verdict, found) = Verdict::of(RECORD, read);
        // The first statement of a new boot replaces what this text said about earlier boots.
        if let Some(begins) = self.begins.take() {
            facts.numa.ranges.retain(|said| said.at.source != line.source || said.at.line > begins);
        }
        for (node, range) in found.into_iter().flatten() {
            facts.numa.ranges.push(Sourced::new(NodeRange { node, range, kind }, line.place()));
            heard.count(RECORD);
        }
        verdict
    }

    /// Reads `node 0 cpus: 0 1 2`, `node 0 size: 32056 MB` or `node distances:`.
    fn numactl(
        &mut self,
        line: &Line<'_>,
        words: &str,
        facts: &mut Facts,
        heard: &mut SourceSummary,
    ) -> Option<Verdict> {
        let mut scan = Scan::new(words);
        scan.lit("node ")?;
        if scan.lit("distances:").is_some() {
            self.distances = true;
            return Some(Verdict::Took);
        }
        let id = u32::try_from(scan.decimal()?).ok()?;
        if scan.lit("cpus:").is_some() {
            let cpus: Result<Vec<u32>, _> = scan.0.split_whitespace().map(str::parse).collect();
            let (verdict, cpus) = Verdict::of("node", cpus.map_err(|_| "the CPUs are no numbers".to_owned()));
            if let Some(cpus) = cpus {
                let node = node(facts, id);
                node.at.get_or_insert_with(|| line.place());
                node.cpus = Some(cpus);
                self.cpus = Some(id);
                heard.count("node");
            }
            return Some(verdict);
        }
        if scan.lit("size:").is_some() {
            let bytes =
                scan.decimal().filter(|_| scan.0.trim() == "MB").and_then(|mb| mb.checked_mul(1 << 20));
            let (verdict, bytes) =
                Verdict::of("node", bytes.ok_or_else(|| "the size is no number of MB".to_owned()));
            if bytes.is_some() {
                node(facts, id).bytes = bytes;
            }
            return Some(verdict);
        }
        scan.lit("free:").map(|()| Verdict::Took)
    }

    /// Reads the rest of a wrapped list of CPUs: a line of numbers alone.
    fn more_cpus(&mut self, id: u32, words: &str, facts: &mut Facts) -> Option<Verdict> {
        let more: Option<Vec<u32>> = words.split_whitespace().map(|word| word.parse().ok()).collect();
        let more = more.filter(|more| !more.is_empty())?;
        node(facts, id).cpus.get_or_insert_default().extend(more);
        self.cpus = Some(id);
        Some(Verdict::Took)
    }

    /// Reads `node   0   1`, then `  0:  10  21`.
    fn row(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        let numbers = |text: &str| {
            text.split_whitespace().map(|word| word.parse::<u32>().ok()).collect::<Option<Vec<u32>>>()
        };
        if let Some(columns) = words.strip_prefix("node").and_then(numbers) {
            self.columns = columns;
            return Verdict::Took;
        }
        let row =
            words.split_once(':').and_then(|(id, row)| Some((id.trim().parse::<u32>().ok()?, numbers(row)?)));
        let Some((id, row)) = row.filter(|(_, row)| row.len() == self.columns.len()) else {
            self.distances = false;
            return Verdict::Pass;
        };
        let distances = &mut facts.numa.distances;
        distances.columns = self.columns.clone();
        distances.rows.insert(id, row);
        distances.at.get_or_insert_with(|| line.place());
        node(facts, id);
        heard.count("row of distance");
        Verdict::Took
    }
}

/// Returns the node with a number; creates it if necessary.
pub(super) fn node(facts: &mut Facts, id: u32) -> &mut NumaNode {
    let nodes = &mut facts.numa.all;
    let at = nodes.binary_search_by_key(&id, |node| node.id).unwrap_or_else(|at| {
        nodes.insert(at, NumaNode { id, ..NumaNode::default() });
        at
    });
    &mut nodes[at]
}

/// Parses `SRAT: PXM 0 -> APIC 0x00 -> Node 0`.
fn initiator(words: &str) -> Option<Initiator> {
    let rest = words.strip_prefix("ACPI: ").unwrap_or(words).strip_prefix("SRAT: PXM ")?;
    let (domain, rest) = rest.split_once(" -> ")?;
    let (who, _) = rest.split_once(" -> ")?;
    let number = who.split_whitespace().next_back()?;
    let number = number
        .strip_prefix("0x")
        .map_or_else(|| number.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
    let what = number.map_or(InitiatorKind::Other, InitiatorKind::Processor);
    Some(Initiator { domain: domain.trim().parse().ok()?, what, enabled: true, offset: 0 })
}

/// Parses `Node 0 PXM 0 [mem 0x…-0x…] hotplug`, or `Node 0 PXM 0 0-a0000`, whose end is exclusive.
fn srat(rest: &str) -> Result<Vec<(u32, AddrRange)>, String> {
    let mut scan = Scan::new(rest);
    let parts = (|| {
        scan.lit("Node ")?;
        let node = u32::try_from(scan.decimal()?).ok()?;
        scan.lit("PXM ")?;
        scan.decimal()?;
        if scan.0.starts_with("[mem") {
            return Some((node, scan.resource()?.range?));
        }
        // Xen prints the last address.
        if scan.lit("[").is_some() {
            let start = scan.hex()?;
            scan.lit(",")?;
            let range = AddrRange::inclusive(start, scan.hex()?).ok()?;
            return scan.lit("]").map(|()| (node, range));
        }
        let start = scan.hex()?;
        scan.lit("-")?;
        Some((node, AddrRange::new(start, scan.hex()?).ok()?))
    })();
    parts.map(|found| vec![found]).ok_or_else(|| "no node, proximity domain and range".to_owned())
}

/// Parses `0 [mem 0x…-0x…] + [mem 0x…-0x…] -> [mem 0x…-0x…]`: the two ranges that were joined, not the
/// hole between them.
fn joined(rest: &str) -> Result<Vec<(u32, AddrRange)>, String> {
    let mut scan = Scan::new(rest);
    let found = (|| {
        let node = u32::try_from(scan.decimal()?).ok()?;
        let first = scan.resource()?.range?;
        scan.lit("+")?;
        Some(vec![(node, first), (node, scan.resource()?.range?)])
    })();
    found.ok_or_else(|| "no node and two ranges".to_owned())
}

/// Parses `  0: [mem 0x…-0x…]`.
fn kernel(rest: &str) -> Result<Vec<(u32, AddrRange)>, String> {
    let mut scan = Scan::new(rest);
    let found = (|| {
        let node = u32::try_from(scan.decimal()?).ok()?;
        scan.lit(":")?;
        Some((node, scan.resource()?.range?))
    })();
    found.map(|found| vec![found]).ok_or_else(|| "no node and range".to_owned())
}

/// Parses `    0: 0x00000001 -> 0x0000009f`: page frames of 4 KiB, end exclusive.
fn frames(words: &str) -> Option<(u32, AddrRange)> {
    let mut scan = Scan::new(words);
    let node = u32::try_from(scan.decimal()?).ok()?;
    scan.lit(":")?;
    let start = scan.hex()?;
    scan.lit("->")?;
    let end = scan.hex()?;
    Some((node, AddrRange::new(start.checked_mul(4096)?, end.checked_mul(4096)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;

    #[test]
    fn ranges_of_nodes_are_read_from_a_log() {
        let facts = read(
            "ACPI: SRAT: Node 1 PXM 1 [mem 0x100000000-0x207ffffff] hotplug\nSRAT: Node 0 PXM 0 0-a0000\n\
             NUMA: Node 3 [mem 0x90000000-0x9fffffff] + [mem 0xb0000000-0xbfffffff] -> [mem 0x90000000-0xbfffffff]\n\
             (XEN) SRAT: Node 2 PXM 2 [0000000480000000, 000000087fffffff]\n\
             Early memory node ranges\n  node   0: [mem 0x0000000000001000-0x000000000009ffff]\n\
             early_node_map[2] active PFN ranges\n    0: 0x00000100 -> 0x00000200\nSRAT: Node x\n",
        );
        let shown: Vec<String> = facts
            .numa
            .ranges
            .iter()
            .map(|said| format!("{} {} {:?}", said.value.node, said.value.range, said.value.kind))
            .collect();
        assert_eq!(
            shown,
            [
                "1 0x100000000..0x208000000 Srat",
                "0 0x0..0xa0000 Srat",
                "3 0x90000000..0xa0000000 Srat",
                "3 0xb0000000..0xc0000000 Srat",
                "2 0x480000000..0x880000000 Srat",
                "0 0x1000..0xa0000 Kernel",
                "0 0x100000..0x200000 Kernel"
            ]
        );
        assert_eq!(facts.heard[0].odd[0].line, 9);
    }

    /// As drivers/acpi/numa/hmat.c has printed it over the years. Bit 0 of the flags says that the processor
    /// domain is valid.
    #[test]
    fn hmat_is_read_in_the_words_of_each_kernel() {
        for (prefix, inner) in
            [("HMAT: ", "  "), ("acpi/hmat: HMAT: ", "acpi/hmat:   "), ("acpi/hmat: ", "acpi/hmat:   ")]
        {
            let facts = read(&format!(
                "[    8.544245] {prefix}Memory Flags:0001 Processor Domain:3 Memory Domain:5\n\
                 [    8.544248] {prefix}Memory Flags:0000 Processor Domain:3 Memory Domain:6\n\
                 [    8.544250] {prefix}Memory (0x0 length 0x1000) Flags:0002 Processor Domain:3 Memory Domain:7\n\
                 [    8.544252] {prefix}Locality: Flags:00 Type:Read Latency Initiator Domains:1 Target Domains:2 Base:100\n\
                 [    8.544254] {inner}Initiator-Target[3-5]:91 nsec\n\
                 [    8.544255] {inner}Initiator-Target[3-6]:170 nsec\n",
            ));
            let table = &facts.tables.access[0].value;
            let said: Vec<_> = table.attached.iter().map(|said| (said.memory, said.initiator)).collect();
            assert_eq!(said, [(5, Some(3)), (6, None), (7, None)], "{prefix}");
            let locality = &table.localities[0];
            assert_eq!((locality.get(3, 5), locality.get(3, 6)), (Some(91_000), Some(170_000)), "{prefix}");
        }
    }

    #[test]
    fn numactl_is_read() {
        let facts = read(
            "available: 2 nodes (0-1)\nnode 0 cpus: 0\n1\nnode 0 size: 1024 MB\nnode 0 free: 12 MB\nnode 1 cpus:\n\
             node 1 size: 2048 MB\nnode distances:\nnode   0   1\n  0:  10  21\n  1:  21  10\n",
        );
        assert_eq!(facts.numa.all[0].cpus.as_deref(), Some(&[0, 1][..]));
        assert_eq!(facts.numa.all.len(), 2);
        assert_eq!(
            (facts.numa.all[1].cpus.as_deref(), facts.numa.all[1].bytes),
            (Some(&[][..]), Some(2 << 30))
        );
        assert_eq!(facts.numa.distances.get(1, 0), Some(21));
    }
}
