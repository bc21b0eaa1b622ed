//! Comparisons of viewers as tables.

use super::style::{Styles, lines, section, styled, table};
use crate::diff::{Diff, Difference};
use crate::units::{Addr, size};
use std::io::{self, Write};

/// Writes the differences. `left` and `right` are the viewers as the user named them.
///
/// # Errors
/// Returns the errors of `out`.
pub fn diff(report: &Diff, left: &str, right: &str, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    if report.differences.is_empty() && report.unknown.is_empty() {
        writeln!(out, "{left} and {right} reach the same, at the same addresses.")?;
    }
    let sections = [
        (format!("Only {left} reaches"), true, false),
        (format!("Only {right} reaches"), false, true),
        ("Both reach, at different addresses".to_owned(), true, true),
    ];
    for (title, in_left, in_right) in sections {
        let of = |d: &&Difference| d.left.is_some() == in_left && d.right.is_some() == in_right;
        let of: Vec<&Difference> = report.differences.iter().filter(of).collect();
        if of.is_empty() {
            continue;
        }
        let mut rows = table(&["what", "size", left, right], &[1]);
        for d in of {
            let at = |addr: Option<Addr>| addr.map_or(String::new(), |addr| addr.to_string());
            rows.add_row([d.what.clone(), size(d.range.len()), at(d.left), at(d.right)]);
        }
        writeln!(out, "{}", styled(styles.heading, &title))?;
        write!(out, "{}", lines(&rows))?;
    }
    let unknown = report.unknown.iter().map(|arena| {
        format!("what devices on {arena} see of memory: no source has the inbound translation (dma-ranges)")
    });
    section("Not seen", report.sources.unseen.iter().cloned().chain(unknown), styles, out)
}
