//! A picture as text for terminals and serial consoles: the same layout, one line for every twelve pixels.

use super::axis::LINE;
use super::layout::{Layout, PlacedBox, PlacedColumn, PlacedPanel};
use std::io::{self, Write};

/// Writes a picture as text. `width` is the number of characters in a line.
///
/// # Errors
/// Returns the errors of `out`.
pub fn map(layout: &Layout, width: usize, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", layout.title)?;
    for placed in &layout.cards {
        writeln!(out, "  {}: {}", placed.card.title, placed.card.lines.join(", "))?;
    }
    for panel in layout.panels.iter().filter(|panel| !panel.columns.is_empty()) {
        writeln!(out)?;
        print(panel, width, out)?;
    }
    if !layout.notes.is_empty() {
        writeln!(out)?;
    }
    layout.notes.iter().try_for_each(|(_, note)| writeln!(out, "{note}"))
}

fn print(panel: &PlacedPanel, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let line = |y: f64| ((y - panel.top) / LINE).round().max(0.0) as usize;
    let count = line(panel.top + panel.height).max(1);
    let addresses = panel.ticks.iter().map(|(_, addr)| addr.to_string().len()).max().unwrap_or(0);
    let cell = (width.saturating_sub(addresses) / panel.columns.len()).saturating_sub(1).max(10);
    let mut addrs = vec![String::new(); count];
    for (y, addr) in &panel.ticks {
        if let Some(at) = addrs.get_mut(line(*y)).filter(|at| at.is_empty()) {
            *at = addr.to_string();
        }
    }
    let mut breaks = vec![None; count];
    for (y, bytes) in &panel.breaks {
        if let Some(at) = breaks.get_mut(line(*y - LINE / 2.0)) {
            *at = Some(bytes);
        }
    }
    let columns: Vec<Vec<String>> = panel.columns.iter().map(|column| cells(column, count, line)).collect();
    let titles: Vec<String> = panel.columns.iter().map(|column| padded(&column.title, cell)).collect();
    writeln!(out, "{}", panel.title)?;
    writeln!(out, "{}", format!("{:addresses$} {}", "", titles.join(" ")).trim_end())?;
    let mut has_gone_on = false;
    for (at, addr) in addrs.iter().enumerate() {
        let is_blank = columns.iter().all(|lines| lines[at].is_empty());
        let says_nothing =
            addr.is_empty() && columns.iter().all(|lines| matches!(lines[at].as_str(), "" | "|"));
        // Of consecutive lines without news, print only one.
        let broken = breaks[at].filter(|_| is_blank);
        if says_nothing && has_gone_on && broken.is_none() {
            continue;
        }
        has_gone_on = says_nothing;
        let texts: Vec<String> = columns.iter().map(|lines| padded(&lines[at], cell)).collect();
        let texts = match broken {
            Some(bytes) => format!("~~ {bytes} of nothing ~~"),
            None => texts.join(" "),
        };
        writeln!(out, "{}", format!("{addr:>addresses$} {texts}").trim_end())?;
    }
    Ok(())
}

/// Returns the text in each line of a column: a label where a box starts, a bar where it continues.
fn cells(column: &PlacedColumn, count: usize, line: impl Fn(f64) -> usize) -> Vec<String> {
    let mut lines = vec![String::new(); count];
    let mut put = |first: usize, end: usize, label: &str| {
        for (at, cell) in lines.iter_mut().enumerate().take(end.min(count)).skip(first) {
            if at == first {
                *cell = format!("|{label}");
            } else if cell.is_empty() {
                "|".clone_into(cell);
            }
        }
    };
    let is_named = |placed: &&PlacedBox| placed.height + 0.01 >= LINE;
    for placed in column.boxes.iter().filter(is_named) {
        put(line(placed.y), line(placed.y + placed.height), &placed.piece.label);
    }
    for (y, height, label) in &column.groups {
        put(line(*y), line(y + height), label);
    }
    // A box too low for a label, in no labelled group, still gets a line if nothing else is on it.
    for placed in column.boxes.iter().filter(|placed| !is_named(placed)) {
        let at = line(placed.y).min(count - 1);
        if lines[at].is_empty() {
            lines[at] = format!("|{}", placed.piece.label);
        }
    }
    lines
}

fn padded(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return format!("{text}{}", " ".repeat(width - length));
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{kept}…")
}
