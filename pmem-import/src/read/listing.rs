//! `/proc/iomem` and `/proc/ioports`: nested, named ranges.

use super::reader::{LineReader, Verdict};
use crate::facts::{Facts, Finding, Listed, Listing, SourceLine, SourceSummary};
use crate::number::hex;
use crate::text::Line;
use pmem_core::AddrRange;

/// The address space that a listing describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Memory,
    Ports,
}

/// Reads listings of resources.
#[derive(Default)]
pub(super) struct Reader {
    /// The space of this source's listings, if the source's name tells it.
    known: Option<Space>,
    /// The space of the next listing, from a prompt or heading before it.
    announced: Option<Space>,
    memory: Builder,
    ports: Builder,
}

/// A listing in progress.
#[derive(Default)]
struct Builder {
    listing: Listing,
    /// Enclosing lines: indentation and index of each.
    open: Vec<(usize, usize)>,
    /// Start of the last outermost line.
    top: Option<u64>,
    zeros: usize,
    lists: usize,
}

impl Reader {
    /// Creates a reader for a file that is known to be a listing.
    pub(super) fn of(space: Space) -> Self {
        Self { known: Some(space), ..Self::default() }
    }
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let Some(parts) = split(&line.text) else { return self.other(line) };
        let space = self.known.or(self.announced).unwrap_or(if parts.digits < 8 {
            Space::Ports
        } else {
            Space::Memory
        });
        let (builder, record) = match space {
            Space::Memory => (&mut self.memory, "memory resource"),
            Space::Ports => (&mut self.ports, "I/O resource"),
        };
        match parse(&parts) {
            Ok((range, name)) => {
                if builder.begins_anew(range, parts.indent) {
                    builder.finish(space, facts, heard);
                }
                builder.add(range, name, parts.indent, line, facts);
                heard.count(record);
                Verdict::Took
            }
            Err(UnreadLine::Zeros) => {
                builder.zeros += 1;
                builder.listing.source = line.source.clone();
                Verdict::Took
            }
            Err(UnreadLine::Wrong(why)) => Verdict::Odd(record, why),
        }
    }

    fn end(&mut self, facts: &mut Facts, heard: &mut SourceSummary) {
        self.memory.finish(Space::Memory, facts, heard);
        self.ports.finish(Space::Ports, facts, heard);
        let lists = self.memory.lists;
        if lists > 1 {
            heard.notes.push(format!("{lists} lists of memory resources: the last complete one is taken"));
        }
    }
}

impl Reader {
    /// Handles a line that is not part of a listing; it may announce one.
    fn other(&mut self, line: &Line<'_>) -> Verdict {
        let words = line.words();
        if words.len() < 80 {
            if words.contains("iomem") {
                self.announced = Some(Space::Memory);
            } else if words.contains("ioports") {
                self.announced = Some(Space::Ports);
            }
        }
        match self.known {
            Some(_) if !words.is_empty() => {
                Verdict::Odd("resource", "no \" : \" between range and name".to_owned())
            }
            _ => Verdict::Pass,
        }
    }
}

/// The parts of a line that looks like part of a listing.
struct Parts<'t> {
    indent: usize,
    start: &'t str,
    last: &'t str,
    /// The text after the colon; `None` if a mailer wrapped the line.
    name: Option<&'t str>,
    digits: usize,
}

/// Splits `  fec00000-fec003ff : IOAPIC 0`: hexadecimal digits without `0x` on both sides of a minus, then a colon,
/// or nothing if a mailer wrapped the line.
fn split(text: &str) -> Option<Parts<'_>> {
    let body = text.trim_start();
    let indent = text.len() - body.len();
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_hexdigit).count();
    let first = digits(body);
    let (start, rest) = body.split_at(first);
    let rest = rest.strip_prefix('-')?;
    let second = digits(rest);
    let (last, rest) = rest.split_at(second);
    if first < 4 || second < 4 && !(first >= 8 && rest.contains(" : ")) {
        return None;
    }
    // A malformed end still makes a line of a listing, so that the error is reported.
    let (last, rest) = match rest.split_once(" : ") {
        Some((end, _)) if second < 4 => {
            (&body[first + 1..first + 1 + second + end.len()], &rest[end.len()..])
        }
        _ => (last, rest),
    };
    let name = rest.trim_start().strip_prefix(':');
    // Other records also list ranges, but continue with other words.
    if name.is_none() && !rest.trim().is_empty() || rest.starts_with(':') {
        return None;
    }
    Some(Parts { indent, start, last, name: name.map(str::trim), digits: first.min(second) })
}

enum UnreadLine {
    Zeros,
    Wrong(String),
}

fn parse<'t>(parts: &Parts<'t>) -> Result<(AddrRange, &'t str), UnreadLine> {
    let number = |text: &str, which: &str| {
        hex(text).ok_or_else(|| {
            UnreadLine::Wrong(format!("the {which} is not read: expected a hexadecimal number of 64 bits"))
        })
    };
    let name = parts.name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| UnreadLine::Wrong("no name behind the range".to_owned()))?;
    let (start, last) = (number(parts.start, "start")?, number(parts.last, "end")?);
    if (start, last) == (0, 0) {
        return Err(UnreadLine::Zeros);
    }
    let range = AddrRange::inclusive(start, last).map_err(|error| UnreadLine::Wrong(error.to_string()))?;
    Ok((range, name))
}

impl Builder {
    /// Whether a line starts a new listing: outermost lines are in order of address.
    fn begins_anew(&self, range: AddrRange, indent: usize) -> bool {
        let outermost = self.open.first().is_none_or(|(first, _)| indent <= *first);
        outermost && self.top.is_some_and(|top| range.start() < top)
    }

    fn add(&mut self, range: AddrRange, name: &str, indent: usize, line: &Line<'_>, facts: &mut Facts) {
        let lines = &mut self.listing.lines;
        // Siblings never nest. If they seem to, a web page has lost the indentation: nest by address instead.
        while let Some((deep, index)) = self.open.last()
            && (*deep > indent || *deep == indent && !lines[*index].range.covers(range))
        {
            self.open.pop();
        }
        let parent = self.open.last().map(|(_, index)| *index);
        if let Some(outer) = parent.map(|p| &lines[p]).filter(|outer| !outer.range.covers(range)) {
            let text = format!("{range} {name:?} is not inside {} {:?}", outer.range, outer.name);
            facts.find(Finding::between(&line.place(), &SourceLine::line(&line.source, outer.line), text));
        }
        self.open.push((indent, lines.len()));
        let depth = self.open.len() - 1;
        if depth == 0 {
            self.top = Some(range.start());
        }
        lines.push(Listed { range, name: name.to_owned(), depth, parent, line: line.number });
        self.listing.source = line.source.clone();
    }

    fn finish(&mut self, space: Space, facts: &mut Facts, heard: &mut SourceSummary) {
        let zeros = std::mem::take(&mut self.zeros);
        self.open.clear();
        self.top = None;
        let mut listing = std::mem::take(&mut self.listing);
        // Only a listing of nothing but zeros is hidden.
        listing.hidden = zeros > 0 && listing.lines.is_empty();
        if listing.hidden {
            *heard.counts.entry("hidden resource").or_default() += zeros;
            let text = "addresses are hidden (all zeros): read as root to see them";
            facts.find(Finding::whole(listing.source.clone(), text));
        }
        if zeros > 0 && !listing.hidden {
            let text = format!("0-0, which is in {zeros} of the lines, is no range: left out");
            facts.find(Finding::whole(listing.source.clone(), text));
        }
        if listing.lines.is_empty() && !listing.hidden {
            return;
        }
        self.lists += 1;
        match space {
            Space::Memory => facts.memory.push(listing),
            Space::Ports => facts.ports.push(listing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;
    use super::*;
    use proptest::prelude::*;

    fn shape(listing: &Listing) -> Vec<(&str, usize, Option<usize>)> {
        listing.lines.iter().map(|line| (line.name.as_str(), line.depth, line.parent)).collect()
    }

    #[test]
    fn nesting_is_by_indentation_wherever_it_begins() {
        for shift in ["", "  ", "> "] {
            let text: String = [
                "00000000-00000fff : a",
                "  00000010-0000001f : b",
                "    00000010-00000011 : c",
                "  00000020-0000002f : d",
                "00001000-00001fff : e",
            ]
            .map(|line| format!("{shift}{line}\n"))
            .concat();
            let facts = read(&text);
            assert_eq!(
                shape(&facts.memory[0]),
                [("a", 0, None), ("b", 1, Some(0)), ("c", 2, Some(1)), ("d", 1, Some(0)), ("e", 0, None)]
            );
            let around: Vec<&str> = facts.memory[0].around(2).map(|line| line.name.as_str()).collect();
            assert_eq!(around, ["b", "a"]);
        }
    }

    #[test]
    fn what_no_inner_line_has_is_a_lines_own() {
        let facts = read("00001000-00001fff : a\n  00001100-000011ff : b\n  00001800-00001fff : c\n");
        let leaves: Vec<Vec<String>> = facts.memory[0]
            .leaves()
            .iter()
            .map(|all| all.iter().map(AddrRange::to_string).collect())
            .collect();
        assert_eq!(leaves[0], ["0x1000..0x1100", "0x1200..0x1800"]);
        assert_eq!(leaves[1], ["0x1100..0x1200"]);
    }

    #[test]
    fn two_lists_in_one_paste_are_two_lists_and_ports_are_told_from_memory() {
        let facts = read(
            "# cat /proc/ioports\n0000-0cf7 : PCI Bus 0000:00\n  0000-001f : dma1\n# cat /proc/iomem\n\
             00001000-0009ffff : System RAM\n00100000-7fffffff : System RAM\n\nand after the change:\n\
             00001000-0009ffff : System RAM\n00100000-3fffffff : System RAM\n",
        );
        assert_eq!((facts.memory.len(), facts.ports.len()), (2, 1));
        assert_eq!(facts.memory[1].lines[1].range.last(), 0x3fff_ffff);
        assert!(facts.heard[0].to_string().contains("2 lists of memory resources"), "{}", facts.heard[0]);
    }

    #[test]
    fn broken_lines_are_named_and_wrapped_ones_joined() {
        let facts =
            read("00002000-00001000 : reversed\n00003000-00003fff :\nwrapped\n00004000-00004fff : good\n");
        assert_eq!(shape(&facts.memory[0]), [("wrapped", 0, None), ("good", 0, None)]);
        assert_eq!(facts.heard[0].odd.iter().map(|odd| odd.line).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn zeros_are_hidden_addresses() {
        let facts = read("00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n");
        assert!(facts.memory[0].hidden && facts.memory[0].lines.is_empty());
        // The kernel prints ports with four digits.
        let facts = read("0000-0000 : PCI Bus 0000:00\n  0000-0000 : dma1\n");
        assert!(facts.ports[0].hidden && facts.ports[0].lines.is_empty());
        let facts = read("0000-0000 : dma1\n0020-0021 : pic1\n");
        assert_eq!((facts.ports[0].hidden, shape(&facts.ports[0])), (false, vec![("pic1", 0, None)]));
        assert!(facts.findings.all[0].to_string().contains("is no range"), "{}", facts.findings.all[0]);
    }

    #[test]
    fn lines_that_lost_their_indentation_nest_by_what_they_cover() {
        let facts = read(
            "80000000-dfffffff : PCI Bus 0000:00\nd0000000-d1ffffff : PCI Bus 0000:01\nd0000000-d0ffffff : 0000:01:00.0\n\
             e0000000-efffffff : PCI ECAM\n",
        );
        assert_eq!(
            shape(&facts.memory[0]),
            [
                ("PCI Bus 0000:00", 0, None),
                ("PCI Bus 0000:01", 1, Some(0)),
                ("0000:01:00.0", 2, Some(1)),
                ("PCI ECAM", 0, None)
            ]
        );
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(lines in prop::collection::vec("[ ]{0,4}[0-9a-f]{0,17}-?[0-9a-f]{0,17} :? ?[a-z]{0,3}", 0..30)) {
            let facts = read(&lines.join("\n"));
            for listing in &facts.memory {
                let _ = listing.leaves();
            }
        }
    }
}
