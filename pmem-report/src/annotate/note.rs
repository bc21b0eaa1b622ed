//! An explanation of a number in a text.

use crate::outcome::Outcome;
use crate::resolve::Resolved;
use crate::units::Addr;
use schemars::JsonSchema;
use serde::Serialize;

/// An explanation of a number.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Note {
    /// The line of the text, from 1.
    pub line: u32,
    /// What the number is.
    pub number: String,
    /// In words.
    pub text: String,
    /// Who asked, of a fault's address.
    pub requester: Option<String>,
    /// What the address means.
    #[serde(flatten)]
    pub answer: Resolved,
}

/// An answer in a line.
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
    /// The address as it is shown before its explanation.
    pub fn shown(&self) -> String {
        let plain = Addr(self.answer.asked.0).to_string();
        if self.number == plain { plain } else { format!("{} ({plain})", self.number) }
    }
}
