//! Text for people: sizes, tables, colour.

use crate::args::Color;
use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table};
use pmem_core::{AddrRange, Attrs};
use pmem_import::Warning;
use std::io::IsTerminal;

/// Styles, or none where the output is no terminal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Styles {
    /// What a section is about.
    pub(crate) heading: Style,
    /// What is free.
    pub(crate) free: Style,
    /// What is wrong.
    pub(crate) warning: Style,
}

impl Styles {
    pub(crate) fn new(color: Color) -> Self {
        let on = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        };
        if !on {
            return Self::default();
        }
        Self {
            heading: Style::new().bold(),
            free: AnsiColor::Green.on_default(),
            warning: AnsiColor::Yellow.on_default(),
        }
    }
}

/// A text in a style.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A size in binary units: exact, or to one decimal.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // The whole space counts as 2^64 - 1 bytes.
    let bytes = if bytes == u64::MAX { 1u128 << 64 } else { u128::from(bytes) };
    let unit = (0..UNITS.len()).rev().find(|i| bytes >= 1 << (10 * i)).unwrap_or(0);
    let one = 1u128 << (10 * unit);
    if bytes % one == 0 {
        format!("{} {}", bytes / one, UNITS[unit])
    } else {
        format!("{}.{} {}", bytes / one, bytes % one * 10 / one, UNITS[unit])
    }
}

/// A range in plain hexadecimal, half-open.
pub(crate) fn range(range: AddrRange) -> String {
    match range.end() {
        Some(end) => format!("{:#x}..{end:#x}", range.start()),
        None => format!("{:#x}..2^64", range.start()),
    }
}

/// Attributes, what is not stated left out.
pub(crate) fn attrs(attrs: Attrs) -> String {
    let words = [
        attrs.usage().words().to_string(),
        attrs.prot().words().to_string(),
        attrs.props().words().to_string(),
    ];
    let stated: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "-").collect();
    stated.join(" ")
}

/// A table without lines; the columns named in `right` are aligned right.
pub(crate) fn table(header: &[&str], right: &[usize]) -> Table {
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

/// What was not read, or contradicts itself, under a heading of its own; nothing if there is nothing.
pub(crate) fn warnings(warnings: &[Warning], styles: &Styles) -> String {
    let lines =
        warnings.iter().map(|warning| format!("  {}\n", styled(styles.warning, &warning.to_string())));
    let heading = (!warnings.is_empty()).then(|| format!("{}\n", styled(styles.heading, "Warnings")));
    heading.into_iter().chain(lines).collect()
}

/// A table as text, every line indented and without trailing blanks.
pub(crate) fn lines(table: &Table) -> String {
    styled_lines(table, &[])
}

/// The same, with a style for each row. The table measures what it shows: styles come after it.
pub(crate) fn styled_lines(table: &Table, rows: &[Style]) -> String {
    let header = std::iter::once(Style::new());
    let styles = header.chain(rows.iter().copied()).chain(std::iter::repeat(Style::new()));
    table.lines().zip(styles).map(|(line, style)| format!("  {}\n", styled(style, line.trim_end()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_or_to_one_decimal() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(4096), "4 KiB");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "16 EiB");
    }
}
