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
    /// Its line number in the source, counted from 1.
    pub(crate) number: u32,
    /// The line without what logs and mailers put in front. Leading blanks are kept, since indentation may matter.
    pub(crate) text: Cow<'t, str>,
    /// A time stamp, level or facility of a log stood in front.
    pub(crate) logged: bool,
    /// A hypervisor wrote it.
    pub(crate) xen: bool,
    /// The source's name.
    pub(crate) source: Arc<str>,
}

impl Line<'_> {
    /// Returns the line's place.
    pub(crate) fn place(&self) -> SourceLine {
        SourceLine::line(&self.source, self.number)
    }

    /// Returns the line without blanks at its ends.
    pub(crate) fn words(&self) -> &str {
        self.text.trim()
    }

    /// Joins the line with the next one, to undo a mailer's line wrap.
    pub(crate) fn joined(&self, next: &Self) -> Line<'static> {
        let (before, after) = (self.text.trim_end(), next.text.trim_start());
        // Mailers break lines at blanks, which they drop, and after hyphens.
        let blank = if before.ends_with('-') { "" } else { " " };
        let joined = format!("{before}{blank}{after}");
        Line { text: Cow::Owned(joined), source: self.source.clone(), ..*self }
    }
}
