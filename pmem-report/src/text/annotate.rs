//! A text with its explanations below each line.

use super::style::{Styles, styled};
use crate::annotate::{ASKED, Annotated};
use std::io::{self, Write};

/// Writes a text and its explanations.
///
/// # Errors
/// What the output says.
pub fn annotated(report: &Annotated, text: &[u8], styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    for about in &report.about {
        writeln!(out, "{}", styled(styles.warning, &format!("note: {about}")))?;
    }
    for unseen in &report.sources.unseen {
        writeln!(out, "{}", styled(styles.warning, &format!("note: not seen: {unseen}")))?;
    }
    let mut notes = report.notes.iter().peekable();
    let mut faults = report.faults.iter().peekable();
    for (line, raw) in (1u32..).zip(pmem_import::decode(text).lines()) {
        writeln!(out, "{}", raw.trim_end_matches('\r'))?;
        let mut has_place = false;
        while let Some(note) = notes.next_if(|note| note.line == line) {
            writeln!(out, "    {}: {}", note.shown(), note.text)?;
            has_place |= note.requester.is_some();
        }
        // A fault's lines end before it is explained.
        while let Some(fault) = faults.next_if(|fault| fault.last_line == line) {
            // The line before has said who asked.
            let said = |says: &&String| !(has_place && says.starts_with(ASKED));
            fault.says.iter().filter(said).try_for_each(|says| writeln!(out, "    {says}"))?;
        }
    }
    Ok(())
}
