//! A single diagnosis.

use super::remedy::Remedy;
use crate::pci::plan::PlacementPlan;
use serde::Serialize;

/// Something that failed, or could be better.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Diagnosis {
    /// The kind: `no-place` (a resource has no address), `given-up` (the kernel took its address away), `differs`
    /// (registers differ from the kernel's map), `illegal` (against the rules of the bus), `short` (a window is smaller
    /// than the kernel wanted), `buses` (bus numbers are short), `unsaid` (the sources cannot tell), `firmware`
    /// (firmware placed it where something else is), `optional` (the function works without it), or `small` (a BAR
    /// could be larger).
    pub kind: String,
    /// The function; null if several are concerned.
    pub function: Option<String>,
    /// The BAR; null if no single one is concerned.
    pub bar: Option<String>,
    /// The diagnosis in words.
    pub says: String,
    /// What helps; null if nothing does, or nothing is needed.
    pub remedy: Option<Remedy>,
    /// The plan of least cost for a resource without an address; null otherwise.
    pub plan: Option<PlacementPlan>,
}
