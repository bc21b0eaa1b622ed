//! What of a source was read, and what was not understood.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A line that begins like a record and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadLine {
    /// The line, from 1.
    pub line: u32,
    /// What it begins like.
    pub record: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// What was read of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSummary {
    /// The source.
    pub source: Arc<str>,
    /// Records by what they are, and how many.
    pub counts: BTreeMap<&'static str, usize>,
    /// Lines that begin like records and were not understood.
    pub odd: Vec<UnreadLine>,
    /// Which of several tables or boots was taken, and other choices.
    pub notes: Vec<String>,
}

impl SourceSummary {
    /// Whether nothing was recognised.
    pub fn is_nothing(&self) -> bool {
        self.counts.is_empty() && self.odd.is_empty() && self.notes.is_empty()
    }

    /// Nothing yet, of a source.
    pub fn new(source: Arc<str>) -> Self {
        Self { source, ..Self::default() }
    }

    /// Counts a record.
    pub fn count(&mut self, record: &'static str) {
        *self.counts.entry(record).or_default() += 1;
    }

    /// Whether nothing was found in it.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.odd.is_empty()
    }

    /// By what they look like: the lines that were not understood.
    pub fn misunderstood(&self) -> BTreeMap<&'static str, Vec<u32>> {
        let mut all: BTreeMap<&'static str, Vec<u32>> = BTreeMap::new();
        for odd in &self.odd {
            all.entry(odd.record).or_default().push(odd.line);
        }
        all
    }
}

/// Lines that are named one by one.
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
        for line in [7, 9, 12] {
            heard.odd.push(UnreadLine { line, record: "register", why: String::new() });
        }
        assert_eq!(
            heard.to_string(),
            "dmesg.txt: 10 MTRR registers, 1 e820 range; 3 lines look like registers and were not understood: 7, 9, 12"
        );
        assert_eq!(SourceSummary::new("x".into()).to_string(), "x: nothing that pmem reads");
    }
}
