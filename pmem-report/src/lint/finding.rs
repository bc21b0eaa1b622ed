//! Findings of the linter.

use crate::sources::Warning;
use crate::units::Addr;
use pmem_core::AddrRange;
use pmem_import::SourceLine;
use serde::Serialize;

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Two sources disagree, and something may break.
    Warn,
    /// Something is lost or broken now.
    Error,
}

impl Severity {
    /// Returns `error`, `warn` or `info`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One source's part in a contradiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Side {
    /// The source.
    pub source: String,
    /// The line in the source, counted from 1; null if it is about the source as a whole.
    pub line: Option<u32>,
    /// The first address, in hexadecimal; null if the statement is not about addresses.
    pub start: Option<Addr>,
    /// The last address, inclusive, in hexadecimal; null if the statement is not about addresses.
    pub end: Option<Addr>,
    /// What the source says.
    pub says: String,
}

impl Side {
    /// Records what a source says, and about which addresses.
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

/// A contradiction, or something else that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LintFinding {
    /// The machine, named after its sources.
    pub machine: String,
    /// The rule, such as `N1`.
    pub rule: &'static str,
    /// How serious it is.
    pub severity: Severity,
    /// The statements that contradict each other, with their sources.
    pub sides: Vec<Side>,
    /// What it means for the machine's owner.
    pub means: String,
    /// What helps.
    pub helps: String,
}

/// A rule that could not be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unchecked {
    /// The machine, named after its sources.
    pub machine: String,
    /// The rule, such as `N1`.
    pub rule: &'static str,
    /// The kind of source that the rule needs.
    pub wants: &'static str,
}

/// Everything the linter found about one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LintReport {
    /// The machine, named after its sources.
    pub machine: String,
    /// Whether the sources hold nothing that pmem reads.
    pub is_nothing: bool,
    /// What was read of each source, in one line each.
    pub read: Vec<String>,
    /// What is broken or hidden in the sources, so that rules could miss something.
    pub warnings: Vec<Warning>,
    /// If an archive is damaged: where it ends. Nothing behind that was checked.
    pub damage: Option<String>,
    /// The findings, the most serious first.
    pub findings: Vec<LintFinding>,
    /// The rules that could not be checked.
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
