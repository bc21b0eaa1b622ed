//! What was read from each source, and which lines were not understood.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A line that begins like a record but does not parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadLine {
    /// The line, counted from 1.
    pub line: u32,
    /// The kind of record that it looks like.
    pub record: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// What was read from one source.
///
/// `Display` gives the line that pmem prints for the source: what it held, and which lines were not understood.
///
/// # Examples
///
/// ```
/// use pmem_import::{SourceSummary, UnreadLine};
///
/// let mut summary = SourceSummary::new("dmesg.txt".into());
/// summary.count("e820 range");
/// summary.count("e820 range");
/// summary.odd.push(UnreadLine { line: 7, record: "e820 range", why: "the end is before the start".into() });
/// assert_eq!(
///     summary.to_string(),
///     "dmesg.txt: 2 e820 ranges; 1 line looks like e820 ranges and was not understood: 7"
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSummary {
    /// The source's name.
    pub source: Arc<str>,
    /// By kind of record: how many were read.
    pub counts: BTreeMap<&'static str, usize>,
    /// Lines that look like records but were not understood.
    pub odd: Vec<UnreadLine>,
    /// Choices that were made: which of several tables or boots was used, and the like.
    pub notes: Vec<String>,
}

impl SourceSummary {
    /// Whether the source held nothing that pmem recognizes: no record, no broken record, no note.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.counts.is_empty() && self.odd.is_empty() && self.notes.is_empty()
    }

    /// Creates an empty summary of a source.
    #[must_use]
    pub fn new(source: Arc<str>) -> Self {
        Self { source, ..Self::default() }
    }

    /// Counts one record.
    pub fn count(&mut self, record: &'static str) {
        *self.counts.entry(record).or_default() += 1;
    }

    /// Whether no record was found, whole or broken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.odd.is_empty()
    }

    /// Returns the numbers of the lines that were not understood, by the kind of record that they look like.
    #[must_use]
    pub fn misunderstood(&self) -> BTreeMap<&'static str, Vec<u32>> {
        let mut all: BTreeMap<&'static str, Vec<u32>> = BTreeMap::new();
        for odd in &self.odd {
            all.entry(odd.record).or_default().push(odd.line);
        }
        all
    }
}

/// How many lines are listed by number before the rest becomes an ellipsis.
const NAMED: usize = 12;

impl fmt::Display for SourceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.source)?;
        for (i, (record, count)) in self.counts.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let record = if *count == 1 { record.to_string() } else { plural(record) };
            write!(f, "{comma}{count} {record}")?;
        }
        if self.counts.is_empty() {
            f.write_str("nothing that pmem reads")?;
        }
        for (record, lines) in self.misunderstood() {
            let many = lines.len();
            let (line, look, were) =
                if many == 1 { ("line", "looks", "was") } else { ("lines", "look", "were") };
            write!(f, "; {many} {line} {look} like {} and {were} not understood: ", plural(record))?;
            let shown: Vec<String> = lines.iter().take(NAMED).map(u32::to_string).collect();
            f.write_str(&shown.join(", "))?;
            if many > NAMED {
                f.write_str(", …")?;
            }
        }
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

fn plural(record: &str) -> String {
    if let Some((head, rest)) = record.split_once(" of ") {
        return format!("{} of {rest}", plural(head));
    }
    if record.ends_with('s') {
        return record.to_owned();
    }
    match record.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{stem}ies"),
        _ => format!("{record}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_summed_up_in_a_line() {
        let mut heard = SourceSummary::new("dmesg.txt".into());
        (0..10).for_each(|_| heard.count("MTRR register"));
        heard.count("e820 range");
        ["range of memory blocks", "entry"]
            .into_iter()
            .cycle()
            .take(4)
            .for_each(|record| heard.count(record));
        for line in [7, 9, 12] {
            heard.odd.push(UnreadLine { line, record: "register", why: String::new() });
        }
        assert_eq!(
            heard.to_string(),
            "dmesg.txt: 10 MTRR registers, 1 e820 range, 2 entries, 2 ranges of memory blocks; 3 lines look like registers and were not understood: 7, 9, 12"
        );
        assert_eq!(SourceSummary::new("x".into()).to_string(), "x: nothing that pmem reads");
    }
}
