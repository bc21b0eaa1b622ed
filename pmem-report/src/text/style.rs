//! Tables, colours, and the closing sections that all reports share.

use crate::sources::{Sources, Warning};
use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table};
use std::io::{self, Write};

/// Text styles; the default is no styling, for output that is not a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Styles {
    /// For headings.
    pub heading: Style,
    /// For free space.
    pub free: Style,
    /// For what is wrong.
    pub warning: Style,
}

impl Styles {
    /// Returns the styles for a terminal.
    #[must_use]
    pub fn colour() -> Self {
        Self {
            heading: Style::new().bold(),
            free: AnsiColor::Green.on_default(),
            warning: AnsiColor::Yellow.on_default(),
        }
    }
}

/// Applies a style to a text.
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Makes a table without lines. The columns whose indices are in `right` are right-aligned.
pub(super) fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Makes a table of rows. Columns without content are left out, except the first.
pub(super) fn compact(header: &[&str], right: &[usize], rows: &[Vec<String>]) -> Table {
    let used: Vec<usize> = (0..header.len())
        .filter(|i| *i == 0 || rows.iter().any(|row| row.get(*i).is_some_and(|cell| !cell.is_empty())))
        .collect();
    let kept: Vec<&str> = used.iter().map(|i| header[*i]).collect();
    let right: Vec<usize> =
        used.iter().enumerate().filter(|(_, i)| right.contains(i)).map(|(at, _)| at).collect();
    let mut table = table(&kept, &right);
    for row in rows {
        table.add_row(used.iter().map(|i| row.get(*i).cloned().unwrap_or_default()));
    }
    table
}

/// Formats a table without trailing blanks.
pub(super) fn plain(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Formats a table, indented and without trailing blanks.
pub(super) fn lines(table: &Table) -> String {
    styled_lines(table, &[])
}

/// Formats a table with a style for each row. Styles are applied last, because the table would count their escape
/// sequences as width.
pub(super) fn styled_lines(table: &Table, rows: &[Style]) -> String {
    let header = std::iter::once(Style::new());
    let styles = header.chain(rows.iter().copied()).chain(std::iter::repeat(Style::new()));
    table.lines().zip(styles).map(|(line, style)| format!("  {}\n", styled(style, line.trim_end()))).collect()
}

/// Writes the warnings under a heading, or nothing if there are none.
pub(super) fn warnings(warnings: &[Warning], styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    section("Warnings", warnings.iter().map(ToString::to_string), styles, out)
}

/// Writes lines under a heading, or nothing if there are none.
pub(super) fn section(
    heading: &str,
    texts: impl IntoIterator<Item = String>,
    styles: &Styles,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut texts = texts.into_iter().peekable();
    if texts.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "{}", styled(styles.heading, heading))?;
    let style =
        if heading == "Warnings" || heading == "What is wrong" { styles.warning } else { Style::new() };
    texts.try_for_each(|text| writeln!(out, "  {}", styled(style, &text)))
}

/// Writes what could not be seen, and what was read.
pub(super) fn seen(sources: &Sources, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    section("Not seen", sources.unseen.iter().cloned(), styles, out)?;
    read(&sources.read, styles, out)
}

/// Writes what was read.
pub(super) fn read(read: &[crate::Read], styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    section("Read", read.iter().map(|read| read.summary.clone()), styles, out)
}
