//! The explanation of one number in a text.

use crate::outcome::Outcome;
use crate::resolve::Resolved;
use crate::units::Addr;
use serde::Serialize;

/// The explanation of one number in a text.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Note {
    /// The line in the text, counted from 1.
    pub line: u32,
    /// The number as the text means it, such as `0xfee00000` or `page 0x12345`.
    pub number: String,
    /// The explanation, in words.
    pub text: String,
    /// In an IOMMU fault: the requester of the address; null otherwise.
    pub requester: Option<String>,
    /// The full answer for the address.
    #[serde(flatten)]
    pub answer: Resolved,
}

/// Sums up an answer in one line.
pub(super) fn explain(answer: &Resolved) -> String {
    match answer.result {
        Outcome::Accept | Outcome::Architecture => {
            let arena = answer.arena.as_deref().filter(|_| answer.function.is_some());
            arena.map_or_else(|| answer.what.clone(), |arena| format!("{}, {arena}", answer.what))
        }
        _ => answer.reason.clone().unwrap_or_else(|| answer.what.clone()),
    }
}

impl Note {
    /// Returns the address as it is printed before the explanation: the number, and the address in parentheses if it
    /// differs.
    #[must_use]
    pub fn shown(&self) -> String {
        let plain = Addr(self.answer.asked.0).to_string();
        if self.number == plain { plain } else { format!("{} ({plain})", self.number) }
    }
}
