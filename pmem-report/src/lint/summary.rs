//! Results over several machines.

use super::finding::{LintFinding, LintReport, Severity, Unchecked};
use crate::format::SCHEMA;
use crate::sources::Warning;
use serde::Serialize;

/// The last line of `pmem lint --json`: counts, and what could not be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LintSummary {
    /// The version of the JSON format.
    pub schema: u32,
    /// The number of machines checked.
    pub machines: usize,
    /// The number of errors.
    pub error: usize,
    /// The number of warnings.
    pub warn: usize,
    /// The number of findings of severity `info`.
    pub info: usize,
    /// Rules that could not be checked, for each machine.
    pub unchecked: Vec<Unchecked>,
    /// What was read of each machine's sources.
    pub read: Vec<MachineRead>,
    /// Machines whose sources could not be read, or only up to where an archive is damaged.
    pub failed: Vec<MachineFailed>,
}

/// What was read of one machine's sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MachineRead {
    /// The machine, named after its sources.
    pub machine: String,
    /// One line for each source.
    pub sources: Vec<String>,
    /// What is broken or hidden in the sources, so that rules could miss something.
    pub warnings: Vec<Warning>,
}

/// A machine whose sources could not be read, or only in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MachineFailed {
    /// The machine, named after its sources.
    pub machine: String,
    /// Why they could not be read.
    pub why: String,
}

/// A line of the output of `pmem lint --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum LintLine {
    /// A finding.
    Finding(LintFinding),
    /// The summary, which is the last line.
    Summary(LintSummary),
}

impl Default for LintSummary {
    fn default() -> Self {
        let (unchecked, read, failed) = (Vec::new(), Vec::new(), Vec::new());
        Self { schema: SCHEMA, machines: 0, error: 0, warn: 0, info: 0, unchecked, read, failed }
    }
}

impl LintSummary {
    /// Adds a machine's report.
    pub fn add(&mut self, report: LintReport) {
        self.machines += 1;
        self.error += report.count(Severity::Error);
        self.warn += report.count(Severity::Warn);
        self.info += report.count(Severity::Info);
        self.unchecked.extend(report.unchecked);
        if let Some(why) = report.damage {
            self.fail(report.machine.clone(), why);
        }
        let (machine, sources, warnings) = (report.machine, report.read, report.warnings);
        self.read.push(MachineRead { machine, sources, warnings });
    }

    /// Adds a machine whose sources could not be read, or only in part.
    pub fn fail(&mut self, machine: String, why: String) {
        self.failed.push(MachineFailed { machine, why });
    }

    /// Whether a script should stop: there is an error, a warning, or a machine that could not be read.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.error + self.warn + self.failed.len() > 0
    }
}
