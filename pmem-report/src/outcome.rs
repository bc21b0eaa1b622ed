//! How the resolution of an address ends.

use serde::Serialize;

/// How the resolution of an address ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Something decodes it.
    Accept,
    /// The architecture fixes what is there: no source names anything, or it is a device's write that raises an
    /// interrupt.
    Architecture,
    /// Nothing decodes it.
    Fault,
    /// Several places decode it.
    Ambiguous,
    /// A routing loop: no arena ever claims the address.
    Loop,
    /// No source says what is visible from there.
    Unknown,
    /// The question names a resource, such as a BAR, that has no address.
    Unplaced,
}

impl Outcome {
    /// Whether the outcome says what is at the address.
    #[must_use]
    pub const fn is_found(self) -> bool {
        matches!(self, Self::Accept | Self::Architecture)
    }
}
