//! What became of an address.

use schemars::JsonSchema;
use serde::Serialize;

/// What became of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Something decodes it.
    Accept,
    /// Nothing that a source names decodes it, but by architecture something always does.
    Architecture,
    /// It leads nowhere.
    Fault,
    /// Several places decode it.
    Ambiguous,
    /// It is passed round in a circle.
    Loop,
    /// No source says what is seen from there.
    Unknown,
    /// It is a resource's that has no address.
    Unplaced,
}

impl Outcome {
    /// Whether it says what is there.
    pub const fn is_found(self) -> bool {
        matches!(self, Self::Accept | Self::Architecture)
    }
}
