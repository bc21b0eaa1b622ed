//! NUMA nodes in a kernel's log, and as `numactl -H` prints them.

use super::reader::{LineReader, Verdict};
use crate::facts::{Facts, Heard, Node, NodeRange, NodeRangeKind, Said};
use crate::text::{Line, Scan};
use pmem_core::AddrRange;

const RECORD: &str = "node range";

/// Reads ranges of nodes, and what `numactl` says of them.
#[derive(Default)]
pub(super) struct Reader {
    /// Rows of distances follow.
    distances: bool,
    /// The columns of the rows.
    columns: Vec<u32>,
    /// Ranges of page frames follow.
    frames: bool,
    /// The node whose CPUs the last line listed.
    cpus: Option<u32>,
    /// The line in which the present boot began, as long as nothing has been said in it.
    begins: Option<u32>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut Heard) -> Verdict {
        let words = line.words();
        if words.starts_with("Linux version ") || words.starts_with("Booting Linux") {
            // Another boot: what was said before is history, should it be said again.
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
            return self.note(line, NodeRangeKind::Srat, srat(rest), facts, heard);
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
        if self.distances {
            return self.row(words, facts, heard);
        }
        Verdict::Pass
    }
}

impl Reader {
    fn note(
        &mut self,
        line: &Line<'_>,
        kind: NodeRangeKind,
        read: Result<Vec<(u32, AddrRange)>, String>,
        facts: &mut Facts,
        heard: &mut Heard,
    ) -> Verdict {
        let (verdict, found) = Verdict::of(RECORD, read);
        if let Some(begins) = self.begins.take() {
            facts.numa.ranges.retain(|said| said.at.source != line.source || said.at.line > begins);
        }
        for (node, range) in found.into_iter().flatten() {
            facts.numa.ranges.push(Said::new(NodeRange { node, range, kind }, line.place()));
            heard.count(RECORD);
        }
        verdict
    }

    /// `node 0 cpus: 0 1 2`, `node 0 size: 32056 MB`, `node distances:`.
    fn numactl(
        &mut self,
        line: &Line<'_>,
        words: &str,
        facts: &mut Facts,
        heard: &mut Heard,
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

    /// A list of CPUs that was wrapped goes on in a line of numbers alone.
    fn more_cpus(&mut self, id: u32, words: &str, facts: &mut Facts) -> Option<Verdict> {
        let more: Option<Vec<u32>> = words.split_whitespace().map(|word| word.parse().ok()).collect();
        let more = more.filter(|more| !more.is_empty())?;
        node(facts, id).cpus.get_or_insert_default().extend(more);
        self.cpus = Some(id);
        Some(Verdict::Took)
    }

    /// `node   0   1`, then `  0:  10  21`.
    fn row(&mut self, words: &str, facts: &mut Facts, heard: &mut Heard) -> Verdict {
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
        node(facts, id);
        heard.count("row of distance");
        Verdict::Took
    }
}

/// The node of a number; made if it was not there.
pub(super) fn node(facts: &mut Facts, id: u32) -> &mut Node {
    let nodes = &mut facts.numa.all;
    let at = nodes.binary_search_by_key(&id, |node| node.id).unwrap_or_else(|at| {
        nodes.insert(at, Node { id, ..Node::default() });
        at
    });
    &mut nodes[at]
}

/// `Node 0 PXM 0 [mem 0x…-0x…] hotplug`, or `Node 0 PXM 0 0-a0000`, the end exclusive.
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
        // Xen's, the last address included.
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

/// `0 [mem 0x…-0x…] + [mem 0x…-0x…] -> [mem 0x…-0x…]`: what was joined, not the hole between.
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

/// `  0: [mem 0x…-0x…]`.
fn kernel(rest: &str) -> Result<Vec<(u32, AddrRange)>, String> {
    let mut scan = Scan::new(rest);
    let found = (|| {
        let node = u32::try_from(scan.decimal()?).ok()?;
        scan.lit(":")?;
        Some((node, scan.resource()?.range?))
    })();
    found.map(|found| vec![found]).ok_or_else(|| "no node and range".to_owned())
}

/// `    0: 0x00000001 -> 0x0000009f`: page frames of 4 KiB, the end exclusive.
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
                "1 [0x100000000, 0x208000000) Srat",
                "0 [0x0, 0xa0000) Srat",
                "3 [0x90000000, 0xa0000000) Srat",
                "3 [0xb0000000, 0xc0000000) Srat",
                "2 [0x480000000, 0x880000000) Srat",
                "0 [0x1000, 0xa0000) Kernel",
                "0 [0x100000, 0x200000) Kernel"
            ]
        );
        assert_eq!(facts.heard[0].odd[0].line, 9);
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
