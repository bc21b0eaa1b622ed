//! What is known besides the fault records, and the form of an explained fault.

use pmem_import::Machine;
use pmem_import::fault::Fault;
use serde::Serialize;

/// The beginning of the statement that names a request's origin.
pub(crate) const ASKED: &str = "asked for by ";
/// An IOMMU fault, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FaultNote {
    /// The record's first line in the text, counted from 1.
    pub line: u32,
    /// The record's last line in the text, inclusive.
    pub last_line: u32,
    /// The reporter: `VT-d`, `AMD-Vi`, `SMMU` or `kernel`; `IOMMU` for something that was refused.
    pub unit: String,
    /// The requester, as the record names it; null if it names none.
    pub requester: Option<String>,
    /// `read`, `write` or `interrupt`; null if the record does not say.
    pub access: Option<String>,
    /// The address, or the address of the page; null if the record has none.
    pub address: Option<String>,
    /// The fault reason or flags as a number; null if the record has none.
    pub reason: Option<String>,
    /// What the record means, what else is known, and what the record leaves open.
    pub says: Vec<String>,
}

/// What is known besides the fault records.
pub(crate) struct Known<'m> {
    /// The machine in which devices are looked up: the text's own if it names devices or has another memory map,
    /// otherwise the one asked for.
    pub(super) machine: &'m Machine,
    /// The machine in which addresses are looked up: the text's own if its memory map differs, otherwise the one asked
    /// for.
    pub(super) map: &'m Machine,
    pub(super) faults: &'m [Fault],
}

impl<'m> Known<'m> {
    pub(crate) const fn new(machine: &'m Machine, map: &'m Machine, faults: &'m [Fault]) -> Self {
        Self { machine, map, faults }
    }
}
