//! Memory hot-plug explanations as text.

use super::style::{Styles, styled};
use crate::plug::PlugReport;
use std::io::{self, Write};

/// Writes the explanations.
///
/// # Errors
/// Returns the errors of `out`.
pub fn plug(report: &PlugReport, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    for note in &report.notes {
        writeln!(out, "{}", styled(styles.heading, &format!("line {}: {}", note.line, note.what)))?;
        note.says.iter().try_for_each(|says| writeln!(out, "  {says}"))?;
    }
    if report.notes.is_empty() {
        writeln!(out, "The texts contain nothing about memory hot-plug that pmem knows.")?;
    }
    Ok(())
}
