//! What file readers and line readers are.

use crate::capture::Tree;
use crate::facts::{Facts, Finding, SourceLine, SourceSummary, UnreadLine};
use crate::text::{Line, lines};
use std::sync::Arc;

/// What a reader makes of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The line is not of the reader's format.
    Pass,
    /// The line was read.
    Took,
    /// The line begins like a record of the reader's format but does not parse: the kind of record, and what is
    /// wrong. Nothing was recorded.
    Odd(&'static str, String),
}

impl Verdict {
    /// Splits a parse result into a verdict and the value.
    pub(super) fn of<T>(record: &'static str, read: Result<T, String>) -> (Self, Option<T>) {
        match read {
            Ok(value) => (Self::Took, Some(value)),
            Err(why) => (Self::Odd(record, why), None),
        }
    }
}

/// A reader of lines.
pub(crate) trait LineReader {
    /// Offers the reader a line.
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict;

    /// Tells the reader that the text has ended.
    fn end(&mut self, _facts: &mut Facts, _heard: &mut SourceSummary) {}
}

/// A reader of files.
pub(crate) struct FileReader {
    /// The files, as patterns: see [`crate::gather()`].
    pub(crate) files: &'static [&'static str],
    /// Reads them from a tree.
    pub(super) read: fn(&Tree, &mut Facts, &mut SourceSummary),
}

/// Reads one file of a tree line by line with one reader. Lines that do not parse become findings.
pub(super) fn read_file(
    tree: &Tree,
    path: &str,
    reader: &mut dyn LineReader,
    facts: &mut Facts,
    heard: &mut SourceSummary,
) -> bool {
    let Some(bytes) = tree.bytes(path, &mut facts.findings) else { return false };
    let name: Arc<str> = tree.place(path).into();
    let mut of_file = SourceSummary::new(name.clone());
    lines(&name, &bytes, |line| {
        if let Verdict::Odd(record, why) = reader.take(&line, facts, &mut of_file) {
            of_file.odd.push(UnreadLine { line: line.number, record, why });
        }
    });
    reader.end(facts, &mut of_file);
    for (record, count) in &of_file.counts {
        *heard.counts.entry(record).or_default() += count;
    }
    heard.notes.append(&mut of_file.notes);
    for odd in of_file.odd {
        let place = SourceLine::line(&name, odd.line);
        facts.find(Finding::at(&place, odd.why));
    }
    true
}
