//! What a reader is.

use crate::capture::Tree;
use crate::facts::{Facts, Finding, SourceLine, SourceSummary, UnreadLine};
use crate::text::{Line, lines};
use std::sync::Arc;

/// What a reader makes of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is not one of its own.
    Pass,
    /// It is, and was taken.
    Took,
    /// It begins like one of its own, and is none: what it looks like, and what is wrong. Nothing was noted.
    Odd(&'static str, String),
}

impl Verdict {
    /// A record that was read, or what is wrong with it.
    pub(super) fn of<T>(record: &'static str, read: Result<T, String>) -> (Self, Option<T>) {
        match read {
            Ok(value) => (Self::Took, Some(value)),
            Err(why) => (Self::Odd(record, why), None),
        }
    }
}

/// A reader of lines.
pub(crate) trait LineReader {
    /// Looks at a line.
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict;

    /// Is told that the text has ended.
    fn end(&mut self, _facts: &mut Facts, _heard: &mut SourceSummary) {}
}

/// A reader of files.
pub(crate) struct FileReader {
    /// The files, as patterns: see [`crate::gather()`].
    pub(crate) files: &'static [&'static str],
    /// Reads them.
    pub(super) read: fn(&Tree, &mut Facts, &mut SourceSummary),
}

/// Reads a file of a tree as lines, by one reader.
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
