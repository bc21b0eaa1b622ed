//! What is known beside the records, and what is said of one.

use pmem_import::Machine;
use pmem_import::fault::Fault;
use schemars::JsonSchema;
use serde::Serialize;

/// How it begins what says whose a request is.
pub(crate) const ASKED: &str = "asked for by ";
/// A fault, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FaultNote {
    /// Its first line in the text, from 1.
    pub line: u32,
    /// Its last.
    pub last_line: u32,
    /// Who says it: `VT-d`, `AMD-Vi`, `SMMU`, `kernel`.
    pub unit: String,
    /// Who asked, as the record names it; null if it does not.
    pub requester: Option<String>,
    /// `read`, `write`, `interrupt`; null if it is not said.
    pub access: Option<String>,
    /// The address, or the page; null if there is none.
    pub address: Option<String>,
    /// The reason or the flags, by their number; null if there is none.
    pub reason: Option<String>,
    /// What that means, what else is known, and what is not.
    pub says: Vec<String>,
}

/// What is known beside the records.
pub(crate) struct Known<'m> {
    /// Who is there: the machine that the text names devices of, or that was asked for.
    pub(super) machine: &'m Machine,
    /// What is where: the machine that the text has a map of, or that was asked for.
    pub(super) map: &'m Machine,
    pub(super) faults: &'m [Fault],
}

impl<'m> Known<'m> {
    pub(crate) const fn new(machine: &'m Machine, map: &'m Machine, faults: &'m [Fault]) -> Self {
        Self { machine, map, faults }
    }
}
