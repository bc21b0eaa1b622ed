//! Texts as people have them: decoded, cleaned, and read line by line.

mod clean;
mod decode;
mod prefix;
mod scan;

pub(crate) use clean::{kind, lines};
pub use decode::{decode, is_wide};
pub(crate) use scan::{Bracketed, Scan};

use crate::facts::SourceLine;
use std::borrow::Cow;
use std::sync::Arc;

/// One line of a text.
#[derive(Clone, Debug)]
pub(crate) struct Line<'t> {
    /// Its number in the source, from 1.
    pub(crate) number: u32,
    /// What it says, without what logs and mailers put before it. Blanks at its beginning are kept, for they may mean something.
    pub(crate) text: Cow<'t, str>,
    /// A log's time, level or facility stood before it.
    pub(crate) logged: bool,
    /// It is a hypervisor's.
    pub(crate) xen: bool,
    /// The source.
    pub(crate) source: Arc<str>,
}

impl Line<'_> {
    /// Where it is.
    pub(crate) fn place(&self) -> SourceLine {
        SourceLine::line(&self.source, self.number)
    }

    /// What it says, without blanks at its ends.
    pub(crate) fn words(&self) -> &str {
        self.text.trim()
    }

    /// The line with the next one behind it, as it was before a mailer wrapped it.
    pub(crate) fn joined(&self, next: &Self) -> Line<'static> {
        let (before, after) = (self.text.trim_end(), next.text.trim_start());
        // Lines are broken at blanks, and behind hyphens.
        let blank = if before.ends_with('-') { "" } else { " " };
        let joined = format!("{before}{blank}{after}");
        Line { text: Cow::Owned(joined), source: self.source.clone(), ..*self }
    }
}
