//! What is wrong with one function.

use super::remedy::Remedy;
use crate::pci::plan::PlacementPlan;
use schemars::JsonSchema;
use serde::Serialize;

/// Something that failed, or could be better.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Diagnosis {
    /// `no-place`, `given-up` (the kernel took its place away), `differs` (registers and the kernel's map),
    /// `illegal` (against the rules of the bus), `short` (a window smaller than the kernel wanted it), `buses` (bus numbers are short), `unsaid`
    /// (the sources cannot tell), `firmware` (where firmware had put it something else is),
    /// `optional` (it works without),
    /// `small` (a BAR that could be larger).
    pub kind: String,
    /// The function; null where several are meant.
    pub function: Option<String>,
    /// The BAR; null where none is meant.
    pub bar: Option<String>,
    /// In words.
    pub says: String,
    /// What helps.
    pub remedy: Option<Remedy>,
    /// The least-cost plan, where something has no place.
    pub plan: Option<PlacementPlan>,
}
