//! A picture as SVG: a single file with its own style sheet, dark or light as the reader prefers.

use super::layout::{ADDRESSES, CARD, CELL, Layout, MARGIN, PlacedPanel, PlacedRibbon, fitted};
use crate::xml::escaped;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Tints of a palette that colour-blind readers can tell apart (Okabe and Ito, "Color universal design", 2008).
const STYLE: &str = include_str!("style.css");

/// Writes a picture as an SVG file.
///
/// # Errors
/// Returns the errors of `out`.
pub fn svg(layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    out.write_all(element(layout).as_bytes())
}

/// Returns the picture as an `<svg>` element.
pub(super) fn element(layout: &Layout) -> String {
    let mut out = String::new();
    let (width, height) = (layout.width, layout.height.ceil());
    line(
        &mut out,
        format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">"#
        ),
    );
    line(&mut out, format_args!("<title>{}</title>", escaped(&layout.title)));
    line(&mut out, format_args!("<style>{STYLE}</style>"));
    out.push_str(PATTERNS);
    line(&mut out, format_args!(r#"<rect class="page" width="{width}" height="{height}"/>"#));
    text(&mut out, "title", MARGIN, MARGIN + 12.0, &layout.title);
    for placed in &layout.cards {
        let (x, y) = (placed.x, placed.y);
        line(
            &mut out,
            format_args!(
                r#"<g class="piece {}"><rect x="{x}" y="{y}" width="{CARD}" height="{}"/>"#,
                placed.card.kind.class(),
                placed.height
            ),
        );
        text(&mut out, "strong", x + 6.0, y + 13.0, &placed.card.title);
        for (i, said) in placed.card.lines.iter().enumerate() {
            text(&mut out, "label", x + 6.0, y + 26.0 + 12.0 * i as f64, &fitted(said, CARD - 8.0));
        }
        line(&mut out, format_args!("</g>"));
    }
    matrix(layout, &mut out);
    for (x, y, kind, words) in &layout.legend {
        let class = kind.class();
        line(
            &mut out,
            format_args!(r#"<g class="piece {class}"><rect x="{x}" y="{y}" width="16" height="11"/></g>"#),
        );
        text(&mut out, "label", x + 22.0, y + 9.0, words);
    }
    layout.panels.iter().for_each(|panel| self::panel(panel, layout.width, &mut out));
    for (y, note) in &layout.notes {
        text(&mut out, "note", MARGIN, *y, note);
    }
    out.push_str("</svg>\n");
    out
}

/// Hatching for pieces that are unknown or wrong.
const PATTERNS: &str = r#"<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="ground" width="6" height="6"/><line class="stroke" x1="0" y1="0" x2="0" y2="6"/></pattern><pattern id="cross" width="7" height="7" patternUnits="userSpaceOnUse"><rect class="alarm" width="7" height="7"/><path class="stroke" d="M0 0L7 7M7 0L0 7"/></pattern></defs>
"#;

fn matrix(layout: &Layout, out: &mut String) {
    let Some((x, y, matrix)) = &layout.matrix else { return };
    text(out, "label", *x, y + 10.0, &matrix.title);
    let place = |row: usize, column: usize| {
        (x + 44.0 + CELL.0 * column as f64, y + CELL.1 * (row as f64 + 2.0) - 3.0)
    };
    for (i, name) in matrix.columns.iter().enumerate() {
        text(out, "number", place(0, i).0 + CELL.0 - 4.0, place(0, i).1, name);
    }
    for (row, (name, cells)) in matrix.rows.iter().zip(&matrix.cells).enumerate() {
        text(out, "label", *x, place(row + 1, 0).1, name);
        for (column, cell) in cells.iter().enumerate() {
            let (x, y) = place(row + 1, column);
            text(out, "number", x + CELL.0 - 4.0, y, &cell.to_string());
        }
    }
}

fn panel(panel: &PlacedPanel, width: f64, out: &mut String) {
    text(out, "strong", MARGIN, panel.top - 20.0, &panel.title);
    panel.ribbons.iter().for_each(|found| ribbon(found, out));
    for (y, addr) in &panel.ticks {
        let x = MARGIN + ADDRESSES;
        text(out, "address", x - 8.0, y + 9.0, &addr.to_string());
        line(out, format_args!(r#"<line class="tick" x1="{}" y1="{y:.1}" x2="{x}" y2="{y:.1}"/>"#, x - 5.0));
    }
    for (y, bytes) in &panel.breaks {
        let said = format!("{bytes} of nothing");
        let (start, length) = (MARGIN + ADDRESSES, 6.4 * said.len() as f64);
        text(out, "break", start + 4.0, y + 3.5, &said);
        zigzag(start + length + 8.0, width - MARGIN, *y, out);
    }
    for column in &panel.columns {
        text(out, "strong", column.x, panel.top - 6.0, &column.title);
        for placed in &column.boxes {
            let (class, title) = (placed.piece.kind.class(), escaped(&placed.piece.label));
            let facts = escaped(&placed.piece.facts.join("\n"));
            // Keep boxes visible that are lower than a screen line.
            line(
                out,
                format_args!(
                    r#"<g class="piece {class}"><title>{title}{}{facts}</title><rect x="{}" y="{:.1}" width="{}" height="{:.1}"/>"#,
                    "\n",
                    column.x,
                    placed.y,
                    column.width,
                    placed.height.max(0.6)
                ),
            );
            let lines = placed.lines(column.width);
            // Centre a single line; put two at the top.
            let first = if lines.len() == 1 { (placed.height / 2.0 + 3.8).min(15.0) } else { 11.5 };
            for (i, said) in lines.iter().enumerate() {
                text(out, "label", column.x + 4.0, placed.y + first + 12.0 * i as f64, said);
            }
            line(out, format_args!("</g>"));
        }
        for (y, height, label) in &column.groups {
            text(out, "label", column.x + 4.0, y + height / 2.0 + 3.5, &fitted(label, column.width - 8.0));
        }
    }
}

fn ribbon(ribbon: &PlacedRibbon, out: &mut String) {
    let (x1, top1, bottom1) = ribbon.left;
    let (x2, top2, bottom2) = ribbon.right;
    let middle = (x1 + x2) / 2.0;
    line(
        out,
        format_args!(
            r#"<g class="ribbon"><title>{}</title><path class="band" d="M{x1} {top1:.1}C{middle} {top1:.1} {middle} {top2:.1} {x2} {top2:.1}V{bottom2:.1}C{middle} {bottom2:.1} {middle} {bottom1:.1} {x1} {bottom1:.1}Z"/>"#,
            escaped(&ribbon.facts.join("\n"))
        ),
    );
    let (y1, y2) = ((top1 + bottom1) / 2.0, (top2 + bottom2) / 2.0);
    if let Some(thick) = ribbon.thick {
        line(
            out,
            format_args!(
                r#"<path class="spine" stroke-width="{thick:.1}" d="M{x1} {y1:.1}C{middle} {y1:.1} {middle} {y2:.1} {x2} {y2:.1}"/>"#
            ),
        );
    }
    if let Some(label) = &ribbon.label {
        // Labels of thin ribbons would pile up on each other.
        if bottom1 - top1 >= 9.0 {
            text(out, "cost", middle, (y1 + y2) / 2.0 - 2.0, label);
        }
    }
    line(out, format_args!("</g>"));
}

fn zigzag(x1: f64, x2: f64, y: f64, out: &mut String) {
    let mut path = format!("M{x1} {y:.1}");
    let steps = ((x2 - x1) / 8.0) as usize;
    for step in 0..steps {
        let _ = write!(
            path,
            "l4 {} 4 {}",
            if step % 2 == 0 { -3 } else { 3 },
            if step % 2 == 0 { 3 } else { -3 }
        );
    }
    line(out, format_args!(r#"<path class="zigzag" d="{path}"/>"#));
}

fn text(out: &mut String, class: &str, x: f64, y: f64, said: &str) {
    line(out, format_args!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{}</text>"#, escaped(said)));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}");
}
