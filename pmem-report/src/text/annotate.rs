//! A text with explanations below its lines.

use super::style::{Styles, styled};
use crate::annotate::{ASKED, Annotated};
use std::io::{self, Write};

/// Writes a text unchanged, with explanations below each line. `before` is the number of lines that were written
/// earlier.
///
/// # Errors
/// Returns the errors of `out`.
pub fn annotated(
    report: &Annotated,
    text: &[u8],
    before: u32,
    styles: &Styles,
    out: &mut dyn Write,
) -> io::Result<()> {
    for about in &report.about {
        writeln!(out, "{}", styled(styles.warning, &format!("note: {about}")))?;
    }
    for unseen in &report.sources.unseen {
        writeln!(out, "{}", styled(styles.warning, &format!("note: not seen: {unseen}")))?;
    }
    let mut notes = report.notes.iter().peekable();
    let mut faults = report.faults.iter().peekable();
    // Explanations are UTF-8, so a text in UTF-16 is written as UTF-8 as well.
    let decoded = pmem_import::is_wide(text).then(|| pmem_import::decode(text));
    let text = decoded.as_ref().map_or(text, |text| text.as_bytes());
    for (line, raw) in (before + 1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        out.write_all(raw)?;
        let mut is_ended = raw.ends_with(b"\n");
        let mut say = |out: &mut dyn Write, what: std::fmt::Arguments<'_>| {
            let end = if std::mem::replace(&mut is_ended, true) { "" } else { "\n" };
            writeln!(out, "{end}    {what}")
        };
        let mut has_place = false;
        while let Some(note) = notes.next_if(|note| note.line == line) {
            say(out, format_args!("{}: {}", note.shown(), note.text))?;
            has_place |= note.requester.is_some();
        }
        // A fault is explained below the last of its lines.
        while let Some(fault) = faults.next_if(|fault| fault.last_line == line) {
            // The line above has already named the requester.
            let said = |says: &&String| !(has_place && says.starts_with(ASKED));
            fault.says.iter().filter(said).try_for_each(|says| say(out, format_args!("{says}")))?;
        }
    }
    Ok(())
}
