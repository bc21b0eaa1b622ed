//! Tables, colours, and what all reports end with.

use crate::sources::{Sources, Warning};
use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table};
use std::io::{self, Write};

/// Styles, or none where the output is no terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Styles {
    /// What a section is about.
    pub heading: Style,
    /// What is free.
    pub free: Style,
    /// What is wrong.
    pub warning: Style,
}

impl Styles {
    /// For a terminal.
    pub fn colour() -> Self {
        Self {
            heading: Style::new().bold(),
            free: AnsiColor::Green.on_default(),
            warning: AnsiColor::Yellow.on_default(),
        }
    }
}

/// A text in a style.
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A table without lines; the columns named in `right` are aligned right.
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

/// A table of rows; columns that are empty throughout are left out, but for the first.
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

/// A table as text, without trailing blanks.
pub(super) fn plain(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A table as text, every line indented and without trailing blanks.
pub(super) fn lines(table: &Table) -> String {
    styled_lines(table, &[])
}

/// The same, with a style for each row. The table measures what it shows: styles come after it.
pub(super) fn styled_lines(table: &Table, rows: &[Style]) -> String {
    let header = std::iter::once(Style::new());
    let styles = header.chain(rows.iter().copied()).chain(std::iter::repeat(Style::new()));
    table.lines().zip(styles).map(|(line, style)| format!("  {}\n", styled(style, line.trim_end()))).collect()
}

/// What is wrong, under a heading of its own; nothing if there is nothing.
pub(super) fn warnings(warnings: &[Warning], styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    section("Warnings", warnings.iter().map(ToString::to_string), styles, out)
}

/// Lines under a heading, wrapped; nothing if there are none.
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

/// What could not be seen, and what was read.
pub(super) fn seen(sources: &Sources, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    section("Not seen", sources.unseen.iter().cloned(), styles, out)?;
    read(&sources.read, styles, out)
}

/// What was read.
pub(super) fn read(read: &[crate::Read], styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    section("Read", read.iter().map(|read| read.summary.clone()), styles, out)
}
