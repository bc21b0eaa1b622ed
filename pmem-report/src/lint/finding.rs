//! What is found.

use crate::units::Addr;
use pmem_core::AddrRange;
use pmem_import::SourceLine;
use schemars::JsonSchema;
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a line.
    Info,
    /// Two sources disagree, and something may break.
    Warn,
    /// Something is lost or broken now.
    Error,
}

impl Severity {
    /// `error`, `warn`, `info`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What one source says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Side {
    /// The source.
    pub source: String,
    /// The line, from 1; null if it is about the source as a whole.
    pub line: Option<u32>,
    /// The first address, if it is about some: hexadecimal.
    pub start: Option<Addr>,
    /// The last address.
    pub end: Option<Addr>,
    /// What it says.
    pub says: String,
}

impl Side {
    /// What a source says of addresses.
    pub(super) fn new(at: &SourceLine, range: impl Into<Option<AddrRange>>, says: impl Into<String>) -> Self {
        let range = range.into();
        Self {
            source: at.source.to_string(),
            line: (at.line != 0).then_some(at.line),
            start: range.map(|range| Addr(range.start())),
            end: range.map(|range| Addr(range.last())),
            says: says.into(),
        }
    }
}

/// A contradiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LintFinding {
    /// The machine: as its sources are called.
    pub machine: String,
    /// The rule: `N1`.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Who says what.
    pub sides: Vec<Side>,
    /// What it means for whoever has the machine.
    pub means: String,
    /// What helps.
    pub helps: String,
}

/// A rule that could not be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unchecked {
    /// The machine.
    pub machine: String,
    /// The rule.
    pub rule: &'static str,
    /// The source that it takes.
    pub wants: &'static str,
}

/// All that was found of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LintReport {
    /// The machine: as its sources are called.
    pub machine: String,
    /// Nothing was read.
    pub is_nothing: bool,
    /// What of each source was read, in a line.
    pub read: Vec<String>,
    /// Contradictions, the worst first.
    pub findings: Vec<LintFinding>,
    /// What could not be checked.
    pub unchecked: Vec<Unchecked>,
}

impl LintReport {
    pub(super) fn find(
        &mut self,
        rule: &'static str,
        severity: Severity,
        sides: impl IntoIterator<Item = Side>,
        means: impl Into<String>,
        helps: impl Into<String>,
    ) {
        let (sides, machine) = (sides.into_iter().collect(), self.machine.clone());
        let found = LintFinding { machine, rule, severity, sides, means: means.into(), helps: helps.into() };
        if !self.findings.contains(&found) {
            self.findings.push(found);
        }
    }

    pub(super) fn lacks(&mut self, rules: &[&'static str], wants: &'static str) {
        let machine = &self.machine;
        self.unchecked.extend(rules.iter().map(|rule| Unchecked { machine: machine.clone(), rule, wants }));
    }
}
