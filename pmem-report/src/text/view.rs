//! Address maps as tables.

use super::style::{Styles, seen, styled, styled_lines, table};
use crate::units::size;
use crate::view::View;
use std::io::{self, Write};

/// Writes a view.
///
/// # Errors
/// Returns the errors of `out`.
pub fn view(report: &View, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", styled(styles.heading, &format!("As seen from {}", report.from)))?;
    let mut rows = table(&["range", "size", "what", "attributes", "cost"], &[1, 4]);
    for line in &report.view {
        rows.add_row([
            line.range.to_string(),
            size(line.range.len()),
            line.what.clone(),
            line.attrs.as_ref().map(ToString::to_string).unwrap_or_default(),
            line.cost.map(|cost| cost.to_string()).unwrap_or_default(),
        ]);
    }
    let each = report.view.iter().map(|line| match line.kind.as_str() {
        "free" => styles.free,
        "bad" | "ambiguous" | "loop" => styles.warning,
        _ => anstyle::Style::new(),
    });
    write!(out, "{}", styled_lines(&rows, &each.collect::<Vec<_>>()))?;
    if report.view.is_empty() {
        writeln!(out, "  nothing")?;
    }
    if let Some(unknown) = &report.unknown {
        writeln!(out, "  {}", styled(styles.warning, unknown))?;
    }
    seen(&report.sources, styles, out)
}
