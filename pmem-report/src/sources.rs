//! What every report says of its sources: what was read, what is wrong with it, what could not be seen.

use pmem_import::{Finding, Machine, SourceSummary};
use schemars::JsonSchema;
use serde::Serialize;

/// What was read, and how far it can be relied on.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Sources {
    /// What of each source was read.
    pub read: Vec<Read>,
    /// What is broken, missing, or at odds.
    pub warnings: Vec<Warning>,
    /// What could not be seen, and why.
    pub unseen: Vec<String>,
}

/// What of one source was read.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Read {
    /// The source.
    pub source: String,
    /// In a line.
    pub summary: String,
    /// Records by what they are.
    pub records: std::collections::BTreeMap<String, usize>,
    /// Lines that look like records and were not understood.
    pub not_understood: Vec<NotUnderstood>,
    /// Which of several tables or boots was taken, and other choices.
    pub notes: Vec<String>,
}

/// A line that looks like a record.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NotUnderstood {
    /// The line, from 1.
    pub line: u32,
    /// What it looks like.
    pub record: String,
    /// What is wrong with it.
    pub why: String,
}

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Warning {
    /// Sources and lines; of two that disagree, both.
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
    /// What a machine's sources said.
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
