//! `/proc/iomem` and `/proc/ioports`: nested, named ranges.

use crate::error::Warning;
use crate::number::hex;
use pmem_core::AddrRange;

/// One line: a named range, and how deep it is nested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its addresses.
    pub range: AddrRange,
    /// What the kernel calls it.
    pub name: String,
    /// How many ranges it lies inside.
    pub depth: usize,
    /// The line in the file, from 1.
    pub line: usize,
    /// The line's place in the list of its parent.
    pub parent: Option<usize>,
}

/// The lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// In the order of the file; a parent stands before its children.
    pub all: Vec<Resource>,
    /// The kernel gave zeros for addresses, as it does to those without `CAP_SYS_ADMIN`.
    pub hidden: bool,
}

/// Complaints about one file that are worth reading.
const COMPLAINTS: usize = 20;

impl Resources {
    /// Reads a file's text; `source` names it in warnings. Lines that are broken are left out, with a warning.
    pub fn parse(text: &str, source: &str, warnings: &mut Vec<Warning>) -> Self {
        let mut out = Self::default();
        let mut open: Vec<(usize, usize)> = Vec::new();
        let (mut zeros, mut bad) = (0, 0);
        for (line, raw) in (1..).zip(text.lines()).filter(|(_, raw)| !raw.trim().is_empty()) {
            let indent = raw.len() - raw.trim_start().len();
            match parse_line(raw.trim()) {
                Ok((0, 0, _)) => zeros += 1,
                Ok((start, last, name)) => match AddrRange::inclusive(start, last) {
                    Ok(range) => {
                        while open.last().is_some_and(|(deep, _)| *deep >= indent) {
                            open.pop();
                        }
                        let parent = open.last().map(|(_, index)| *index);
                        if let Some(outer) = parent.map(|p| &out.all[p]).filter(|p| !p.range.covers(range)) {
                            let text =
                                format!("{range} {name:?} is not inside {} {:?}", outer.range, outer.name);
                            complain(&mut bad, warnings, source, line, &text);
                        }
                        open.push((indent, out.all.len()));
                        let depth = open.len() - 1;
                        out.all.push(Resource { range, name: name.to_owned(), depth, line, parent });
                    }
                    Err(error) => complain(&mut bad, warnings, source, line, &error.to_string()),
                },
                Err(what) => complain(&mut bad, warnings, source, line, what),
            }
        }
        if bad > COMPLAINTS {
            warnings.push(Warning::new(source, format!("{} more lines are broken", bad - COMPLAINTS)));
        }
        out.hidden = zeros > 1 && out.all.is_empty();
        out
    }

    /// The lines directly inside one, or the outermost ones.
    pub fn children(&self, parent: Option<usize>) -> impl Iterator<Item = (usize, &Resource)> {
        self.all.iter().enumerate().filter(move |(_, r)| r.parent == parent)
    }

    /// The lines around one, innermost first.
    pub fn around(&self, index: usize) -> impl Iterator<Item = &Resource> {
        std::iter::successors(self.all.get(index).and_then(|r| r.parent), |i| self.all.get(*i)?.parent)
            .filter_map(|i| self.all.get(i))
    }
}

fn complain(bad: &mut usize, warnings: &mut Vec<Warning>, source: &str, line: usize, what: &str) {
    *bad += 1;
    if *bad <= COMPLAINTS {
        warnings.push(Warning::line(source, line, what));
    }
}

fn parse_line(line: &str) -> Result<(u64, u64, &str), &'static str> {
    let (range, name) = line.split_once(" : ").ok_or("no \" : \" between range and name")?;
    let (start, last) = range.split_once('-').ok_or("no \"-\" in the range")?;
    let start = hex(start.trim()).ok_or("the start is no hexadecimal number of 64 bits")?;
    let last = hex(last.trim()).ok_or("the end is no hexadecimal number of 64 bits")?;
    Ok((start, last, name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> (Resources, Vec<String>) {
        let mut warnings = Vec::new();
        let resources = Resources::parse(text, "iomem", &mut warnings);
        (resources, warnings.iter().map(Warning::to_string).collect())
    }

    #[test]
    fn nesting_is_by_indentation() {
        let (resources, warnings) =
            parse("0000-0fff : a\n  0010-001f : b\n    0010-0011 : c\n  0020-002f : d\n1000-1fff : e\n");
        let depths: Vec<_> = resources.all.iter().map(|r| (r.name.as_str(), r.depth, r.parent)).collect();
        assert_eq!(
            depths,
            [("a", 0, None), ("b", 1, Some(0)), ("c", 2, Some(1)), ("d", 1, Some(0)), ("e", 0, None)]
        );
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(resources.around(2).map(|r| r.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn zeros_are_hidden_addresses() {
        let (resources, warnings) =
            parse("00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n");
        assert!(resources.hidden && resources.all.is_empty() && warnings.is_empty());
    }

    #[test]
    fn broken_lines_are_named_and_left_out() {
        let (resources, warnings) =
            parse("2000-1000 : reversed\nrubbish\n0-fffffffffffffffff : past\n1000-1fff : good\n");
        assert_eq!(resources.all.len(), 1);
        assert_eq!(
            warnings,
            [
                "iomem:1: range [0x2000, 0x1001) is empty or reversed",
                "iomem:2: no \" : \" between range and name",
                "iomem:3: the end is no hexadecimal number of 64 bits",
            ]
        );
    }

    #[test]
    fn a_child_outside_its_parent_is_named_with_it() {
        let (_, warnings) = parse("1000-1fff : outer\n  3000-3fff : inner\n");
        assert_eq!(
            warnings,
            ["iomem:2: [0x3000, 0x4000) \"inner\" is not inside [0x1000, 0x2000) \"outer\""]
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            parse(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn arbitrary_lines_never_panic(lines in prop::collection::vec("[ ]{0,4}[0-9a-f]{0,17}-?[0-9a-f]{0,17} :? ?[a-z]{0,3}", 0..30)) {
            parse(&lines.join("\n"));
        }
    }
}
