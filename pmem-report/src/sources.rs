//! The part common to all reports: which sources were read, what is wrong with them, and what could not be seen.

use pmem_import::{Finding, Machine, SourceSummary};
use serde::Serialize;

/// The sources behind a report, and how far you can rely on them.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sources {
    /// What was read of each source.
    pub read: Vec<Read>,
    /// What is broken, missing or contradictory in the sources.
    pub warnings: Vec<Warning>,
    /// What could not be seen, and why.
    pub unseen: Vec<String>,
}

/// What was read of one source.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Read {
    /// The source's name: a path, or `-` for standard input.
    pub source: String,
    /// A one-line summary.
    pub summary: String,
    /// The number of records of each kind.
    pub records: std::collections::BTreeMap<String, usize>,
    /// Lines that look like records but were not understood.
    pub not_understood: Vec<NotUnderstood>,
    /// Choices that were made while reading, such as which of several tables or boots was taken.
    pub notes: Vec<String>,
}

/// A line that looks like a record but was not understood.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NotUnderstood {
    /// The line in the source, counted from 1.
    pub line: u32,
    /// The kind of record that the line looks like.
    pub record: String,
    /// What is wrong with the line.
    pub why: String,
}

/// Something wrong in the sources, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Warning {
    /// The sources and lines concerned; both if two sources disagree.
    pub places: Vec<String>,
    /// What is wrong.
    pub text: String,
}

impl From<&SourceSummary> for Read {
    fn from(heard: &SourceSummary) -> Self {
        let odd = |odd: &pmem_import::UnreadLine| NotUnderstood {
            line: odd.line,
            record: odd.record.to_owned(),
            why: odd.why.clone(),
        };
        Self {
            source: heard.source.to_string(),
            summary: heard.to_string(),
            records: heard.counts.iter().map(|(record, count)| ((*record).to_owned(), *count)).collect(),
            not_understood: heard.odd.iter().map(odd).collect(),
            notes: heard.notes.clone(),
        }
    }
}

impl From<&Finding> for Warning {
    fn from(finding: &Finding) -> Self {
        Self { places: finding.places.iter().map(ToString::to_string).collect(), text: finding.text.clone() }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.places.join(" and "), self.text)
    }
}

impl Sources {
    /// Collects what a machine's sources said.
    pub fn of(machine: &Machine) -> Self {
        let mut unseen = Vec::new();
        if machine.hidden {
            let what = "addresses of RAM and of devices: the kernel hides them from this user (read as root)";
            unseen.push(what.to_owned());
        }
        unseen.extend(machine.unplaced.iter().filter(|_| !machine.hidden).cloned());
        Self {
            read: machine.heard.iter().map(Read::from).collect(),
            warnings: machine.findings.iter().map(Warning::from).collect(),
            unseen,
        }
    }
}
