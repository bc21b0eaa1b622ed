//! The tree that `lspci -t` draws: which function is on which bus, and where bridges lead.

use super::reader::{LineReader, Verdict};
use crate::facts::{BusId, Facts, PciSource, SourceSummary};
use crate::number::hex;
use crate::text::Line;
use pmem_pci::Address;

/// Reads the drawing, line by line.
#[derive(Default)]
pub(super) struct Reader {
    /// By column of a branch: the bus whose functions stand there, and the bridge above it.
    branches: Vec<(usize, Branch)>,
}

#[derive(Clone, Copy, Debug)]
struct Branch {
    bus: BusId,
    bridge: Option<Address>,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let text = line.text.trim_end();
        let begin = text.trim_start_matches([' ', '|', '\t']);
        let is_root = begin.starts_with("-[") || begin.starts_with("+-[") || begin.starts_with("\\-[");
        let goes_on = begin.starts_with("+-") || begin.starts_with("\\-");
        if !(is_root || goes_on && !self.branches.is_empty()) {
            self.branches.clear();
            return Verdict::Pass;
        }
        let mut column = text.len() - begin.len();
        let mut branch = None;
        // A branch belongs to the bus whose own line continues in the branch's column.
        if goes_on && !is_root || begin.starts_with(['+', '\\']) {
            branch = self.branches.iter().rev().find(|(at, _)| *at == column).map(|(_, branch)| *branch);
        }
        self.branches.retain(|(at, _)| *at <= column);
        let mut took = false;
        let bytes = text.as_bytes();
        let mut last: Option<Address> = None;
        while let Some(byte) = bytes.get(column) {
            match byte {
                b'[' => {
                    let Some(end) = text[column..].find(']') else { break };
                    let inside = &text[column + 1..column + end];
                    let segment = branch.map_or(0, |branch| branch.bus.0);
                    let Some((bus, range)) = bus_of(inside, segment) else { break };
                    if let Some(bridge) = last {
                        facts.pci.function(PciSource::Lspci, bridge, &line.place()).below = Some(range);
                    }
                    if last.is_none() {
                        facts.pci.roots.entry(bus).or_default();
                    }
                    branch = Some(Branch { bus, bridge: last });
                    column += end + 1;
                    took = true;
                    // The bus's functions begin on this line; later ones branch off in the same column.
                    let dashes = text[column..].bytes().take_while(|b| *b == b'-').count();
                    let at = column + dashes;
                    if matches!(bytes.get(at), Some(b'+' | b'\\')) {
                        self.branches.push((at, Branch { bus, bridge: last }));
                    }
                    last = None;
                    column = at;
                    continue;
                }
                b'+' | b'\\' | b'-' | b'|' => column += 1,
                _ => {
                    let Some((device, function)) = text.get(column..column + 4).and_then(slot) else { break };
                    let Some(Branch { bus, bridge }) = branch else { break };
                    let address = Address { segment: bus.0, bus: bus.1, device, function };
                    let found = facts.pci.function(PciSource::Lspci, address, &line.place());
                    found.parent = bridge.or(found.parent);
                    heard.count("tree entry");
                    took = true;
                    last = Some(address);
                    column += 4;
                    // A name follows after blanks; a bus below follows directly.
                    if !text[column..].starts_with("-[") && !text[column..].starts_with("--") {
                        break;
                    }
                }
            }
        }
        if took { Verdict::Took } else { Verdict::Pass }
    }
}

/// Parses `0000:00`, `01-13` or `05`: the bus, and the buses below a bridge.
fn bus_of(inside: &str, segment: u32) -> Option<(BusId, (u8, u8))> {
    let (segment, buses) = match inside.split_once(':') {
        Some((segment, bus)) => (u32::try_from(hex(segment)?).ok()?, bus),
        None => (segment, inside),
    };
    let (first, last) = buses.split_once('-').unwrap_or((buses, buses));
    let number = |text: &str| u8::try_from(hex(text)?).ok();
    let (first, last) = (number(first)?, number(last)?);
    Some(((segment, first), (first, last)))
}

/// Parses `1f.2`.
fn slot(text: &str) -> Option<(u8, u8)> {
    let (device, function) = text.split_once('.')?;
    let device = u8::try_from(hex(device)?).ok().filter(|d| *d < 32 && device.len() == 2)?;
    let function = u8::try_from(hex(function)?).ok().filter(|f| *f < 8)?;
    Some((device, function))
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;

    #[test]
    fn a_tree_says_who_is_below_whom() {
        let text = "-[0000:00]-+-00.0  Intel Corporation Host Bridge\n\
                    \x20          +-01.0-[01-13]----00.0-[02-13]--+-01.0-[03]--+-00.0-[04]--\n\
                    \x20          |                               |            \\-01.0  A card\n\
                    \x20          |                               \\-02.0-[05]----00.0  Another\n\
                    \x20          \\-1f.3  Audio\n";
        let facts = read(text);
        let shown: Vec<String> = facts
            .pci
            .functions
            .values()
            .map(|f| format!("{} below {:?} to {:?}", f.bdf(), f.parent.map(|p| p.to_string()), f.below))
            .collect();
        assert_eq!(
            shown,
            [
                "0000:00:00.0 below None to None",
                "0000:00:01.0 below None to Some((1, 19))",
                "0000:00:1f.3 below None to None",
                "0000:01:00.0 below Some(\"0000:00:01.0\") to Some((2, 19))",
                "0000:02:01.0 below Some(\"0000:01:00.0\") to Some((3, 3))",
                "0000:02:02.0 below Some(\"0000:01:00.0\") to Some((5, 5))",
                "0000:03:00.0 below Some(\"0000:02:01.0\") to Some((4, 4))",
                "0000:03:01.0 below Some(\"0000:02:01.0\") to None",
                "0000:05:00.0 below Some(\"0000:02:02.0\") to None",
            ]
        );
    }
}
