//! What was found of several machines together.

use super::finding::{LintFinding, LintReport, Severity, Unchecked};
use crate::format::SCHEMA;
use schemars::JsonSchema;
use serde::Serialize;

/// The last line of `pmem lint --json`: counts, and what could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LintSummary {
    /// The number of the JSON format.
    pub schema: u32,
    /// Machines that were looked at.
    pub machines: usize,
    /// Findings that are errors.
    pub error: usize,
    /// Findings that are warnings.
    pub warn: usize,
    /// Findings that are worth a line.
    pub info: usize,
    /// Rules that could not be tried, by machine.
    pub unchecked: Vec<Unchecked>,
    /// What was read of each machine's sources.
    pub read: Vec<MachineRead>,
    /// Machines of which nothing could be read.
    pub failed: Vec<MachineFailed>,
}

/// What was read of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MachineRead {
    /// The machine: as its sources are called.
    pub machine: String,
    /// A line for each source.
    pub sources: Vec<String>,
}

/// A machine of which nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MachineFailed {
    /// The machine: as its sources are called.
    pub machine: String,
    /// Why not.
    pub why: String,
}

/// A line of `pmem lint --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LintLine {
    /// A finding.
    Finding(LintFinding),
    /// The last line.
    Summary(LintSummary),
}

impl Default for LintSummary {
    fn default() -> Self {
        let (unchecked, read, failed) = (Vec::new(), Vec::new(), Vec::new());
        Self { schema: SCHEMA, machines: 0, error: 0, warn: 0, info: 0, unchecked, read, failed }
    }
}

impl LintSummary {
    /// Adds a machine.
    pub fn add(&mut self, report: LintReport) {
        self.machines += 1;
        self.error += report.count(Severity::Error);
        self.warn += report.count(Severity::Warn);
        self.info += report.count(Severity::Info);
        self.unchecked.extend(report.unchecked);
        self.read.push(MachineRead { machine: report.machine, sources: report.read });
    }

    /// Adds a machine of which nothing could be read.
    pub fn fail(&mut self, machine: String, why: String) {
        self.failed.push(MachineFailed { machine, why });
    }

    /// Whether a script should stop: an error, a warning, or a machine that could not be read.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.error + self.warn + self.failed.len() > 0
    }
}
