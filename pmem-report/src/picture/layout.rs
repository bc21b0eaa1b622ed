//! Computes where everything goes. One pass serves all output formats.

use super::axis::{Axis, LINE};
use super::{Card, Column, Kind, Matrix, Panel, Picture, Piece, Ribbon};
use crate::units::{Addr, Extent, size};

/// A picture with positions, in pixels of 1/96 inch.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) title: String,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) cards: Vec<PlacedCard>,
    pub(super) matrix: Option<(f64, f64, Matrix)>,
    /// The entries of the legend with their positions.
    pub(super) legend: Vec<(f64, f64, Kind, &'static str)>,
    pub(super) panels: Vec<PlacedPanel>,
    pub(super) notes: Vec<(f64, String)>,
}

#[derive(Clone, Debug)]
pub(super) struct PlacedCard {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) height: f64,
    pub(super) card: Card,
}

#[derive(Clone, Debug)]
pub(super) struct PlacedPanel {
    pub(super) title: String,
    /// The vertical position of the axis's start.
    pub(super) top: f64,
    pub(super) height: f64,
    /// The addresses that are printed along the axis.
    pub(super) ticks: Vec<(f64, Addr)>,
    /// The breaks: the middle of each, and the size that it skips.
    pub(super) breaks: Vec<(f64, String)>,
    pub(super) columns: Vec<PlacedColumn>,
    pub(super) ribbons: Vec<PlacedRibbon>,
}

#[derive(Clone, Debug)]
pub(super) struct PlacedColumn {
    pub(super) x: f64,
    pub(super) width: f64,
    pub(super) title: String,
    pub(super) boxes: Vec<PlacedBox>,
    /// Joint labels for runs of boxes that are each too low for a label.
    pub(super) groups: Vec<(f64, f64, String)>,
}

#[derive(Clone, Debug)]
pub(super) struct PlacedBox {
    pub(super) y: f64,
    pub(super) height: f64,
    pub(super) piece: Piece,
}

#[derive(Clone, Debug)]
pub(super) struct PlacedRibbon {
    /// The edge on the left: x, top and bottom.
    pub(super) left: (f64, f64, f64),
    /// The edge on the right: x, top and bottom.
    pub(super) right: (f64, f64, f64),
    /// The thickness of its spine, which stands for bandwidth; `None` if that is not known.
    pub(super) thick: Option<f64>,
    pub(super) label: Option<String>,
    pub(super) facts: Vec<String>,
}

pub(super) const MARGIN: f64 = 16.0;
/// The width reserved for the axis's addresses.
pub(super) const ADDRESSES: f64 = 118.0;
/// The gap between columns.
const GUTTER: f64 = 34.0;
/// The minimum width of a picture.
const WIDTH: f64 = 1280.0;
/// The minimum width of a column.
const COLUMN: f64 = 132.0;
pub(super) const CARD: f64 = 148.0;
pub(super) const CELL: (f64, f64) = (30.0, 14.0);
/// The width of a character in a label.
const CHARACTER: f64 = 6.1;
/// The width of a legend entry.
const ENTRY: f64 = 206.0;

impl Layout {
    /// Lays out a picture.
    ///
    /// # Examples
    ///
    /// Draw a view as SVG:
    ///
    /// ```
    /// use pmem_import::{Machine, Sources};
    /// use pmem_report::View;
    /// use pmem_report::picture::{Draw, Layout, svg};
    ///
    /// let mut iomem: &[u8] = b"\
    /// 00100000-7fffffff : System RAM
    /// 80000000-febfffff : PCI Bus 0000:00
    ///   e0000000-efffffff : 0000:00:02.0
    ///     e0000000-e07fffff : efifb
    /// ";
    /// let mut sources = Sources::default();
    /// sources.add_stream("iomem", &mut iomem)?;
    /// let machine = Machine::read(&mut sources)?;
    ///
    /// let picture = View::of(&machine, machine.system).picture().ok_or("nothing to draw")?;
    /// let mut out = Vec::new();
    /// svg(&Layout::of(picture), &mut out)?;
    /// assert!(String::from_utf8(out)?.contains("As seen from system"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of(mut picture: Picture) -> Self {
        let columns = picture.panels.iter().map(|panel| panel.columns.len()).max().unwrap_or(0).max(1) as f64;
        let room = WIDTH - 2.0 * MARGIN - ADDRESSES - GUTTER * (columns - 1.0);
        let column = (room / columns).max(COLUMN).floor();
        let width = WIDTH.max(2.0 * MARGIN + ADDRESSES + columns * column + GUTTER * (columns - 1.0));
        let mut y = MARGIN + 22.0;
        let cards = cards(std::mem::take(&mut picture.cards), width, &mut y);
        let matrix = picture.matrix.take().map(|matrix| {
            let at = (MARGIN, y, matrix);
            y += CELL.1 * (at.2.rows.len() as f64 + 2.0) + 10.0;
            at
        });
        let legend = legend(&picture, width, &mut y);
        let panels = picture.panels.into_iter().map(|panel| place(panel, column, &mut y)).collect();
        let notes = picture.notes.into_iter().map(|note| {
            y += 14.0;
            (y, fitted(&note, width - 2.0 * MARGIN))
        });
        let notes = notes.collect();
        Self { title: picture.title, width, height: y + MARGIN, cards, matrix, legend, panels, notes }
    }
}

fn cards(cards: Vec<Card>, width: f64, y: &mut f64) -> Vec<PlacedCard> {
    let (mut x, mut highest) = (MARGIN, 0.0f64);
    let mut placed = Vec::new();
    for card in cards {
        if x + CARD > width - MARGIN {
            x = MARGIN;
            *y += highest + 8.0;
            highest = 0.0;
        }
        let height = 18.0 + LINE * card.lines.len() as f64;
        highest = highest.max(height);
        placed.push(PlacedCard { x, y: *y, height, card });
        x += CARD + 8.0;
    }
    if !placed.is_empty() {
        *y += highest + 12.0;
    }
    placed
}

fn legend(picture: &Picture, width: f64, y: &mut f64) -> Vec<(f64, f64, Kind, &'static str)> {
    let pieces = || picture.panels.iter().flat_map(|panel| &panel.columns).flat_map(|column| &column.pieces);
    let mut x = MARGIN;
    let mut legend = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| pieces().any(|piece| piece.kind == *kind)) {
        if x + ENTRY > width - MARGIN {
            x = MARGIN;
            *y += 16.0;
        }
        legend.push((x, *y, kind, picture.legend.get(&kind).copied().unwrap_or(kind.words())));
        x += ENTRY;
    }
    *y += 26.0;
    legend
}

fn place(panel: Panel, width: f64, y: &mut f64) -> PlacedPanel {
    let axis = Axis::of(&panel);
    let top = *y + 34.0;
    *y = top + axis.height + 30.0;
    let at = |i: usize| MARGIN + ADDRESSES + i as f64 * (width + GUTTER);
    let ribbons = panel.ribbons.into_iter().map(|found| ribbon(found, &axis, top, width, at)).collect();
    let columns = panel.columns.into_iter().enumerate();
    let columns = columns.map(|(i, found)| column(found, &axis, top, at(i), width)).collect();
    let breaks = axis.rows.iter().filter(|row| row.is_break).map(|row| {
        let bytes = u64::try_from(row.end - row.start).unwrap_or(u64::MAX);
        (top + row.y + row.height / 2.0, size(bytes))
    });
    PlacedPanel {
        title: panel.title,
        top,
        height: axis.height,
        ticks: ticks(&axis, top),
        breaks: breaks.collect(),
        columns,
        ribbons,
    }
}

/// Picks as many addresses as fit. The start of a piece takes precedence over an end where nothing follows.
fn ticks(axis: &Axis, top: f64) -> Vec<(f64, Addr)> {
    // Tolerate rounding errors, so that they do not cost a line its address.
    let fits = |y: f64, next: f64| y + 0.01 >= next;
    let mut next = f64::NEG_INFINITY;
    let mut ticks = Vec::new();
    for row in &axis.rows {
        let (y, Ok(addr)) = (top + row.y, u64::try_from(row.start)) else { continue };
        let leaves_room = row.is_covered || row.height + 0.01 >= LINE;
        if fits(y, next) && leaves_room {
            ticks.push((y, Addr(addr)));
            next = y + LINE;
        }
    }
    ticks
}

fn column(column: Column, axis: &Axis, top: f64, x: f64, width: f64) -> PlacedColumn {
    let boxes = column.pieces.into_iter().map(|mut piece| {
        let y = axis.y(piece.range.start.0.into());
        let height = axis.y(piece.range.end.0) - y;
        let first = described(&piece);
        piece.facts.insert(0, first);
        PlacedBox { y: top + y, height, piece }
    });
    let boxes: Vec<PlacedBox> = boxes.collect();
    PlacedColumn { x, width, title: heading(&column.title, width), groups: groups(&boxes), boxes }
}

/// Labels neighbouring boxes jointly if each is too low for a label, but the label fits all of them together.
fn groups(boxes: &[PlacedBox]) -> Vec<(f64, f64, String)> {
    let is_low = |placed: &PlacedBox| placed.height + 0.01 < LINE;
    let mut groups = Vec::new();
    for run in boxes
        .chunk_by(|a, b| is_low(a) && is_low(b) && a.piece.range.end.0 == u128::from(b.piece.range.start.0))
        .filter(|run| is_low(&run[0]))
    {
        let (first, last) = (&run[0], &run[run.len() - 1]);
        let height = last.y + last.height - first.y;
        if height + 0.01 < LINE {
            continue;
        }
        let mut named =
            run.iter().filter(|placed| placed.piece.kind != Kind::Free).map(|placed| &placed.piece.label);
        let count = named.clone().count();
        let label = match (named.next(), named.next_back()) {
            (Some(one), Some(other)) => format!("{count}: {one} … {other}"),
            (Some(only), None) => only.clone(),
            (None, _) => first.piece.label.clone(),
        };
        groups.push((first.y, height, label));
    }
    groups
}

fn ribbon(ribbon: Ribbon, axis: &Axis, top: f64, width: f64, at: impl Fn(usize) -> f64) -> PlacedRibbon {
    let edge = |start: u64| {
        let end = u128::from(start) + u128::from(ribbon.bytes);
        (top + axis.y(start.into()), top + axis.y(end))
    };
    let (left, right) = (edge(ribbon.left.1), edge(ribbon.right.1));
    // A ribbon that leads back to the left leaves its column on the left.
    let is_back = ribbon.left.0 > ribbon.right.0;
    let from = at(ribbon.left.0) + if is_back { 0.0 } else { width };
    let to = at(ribbon.right.0) + if is_back { width } else { 0.0 };
    let thick = ribbon.bandwidth.map(|mib| (f64::from(mib.max(1)).log2() - 8.0).clamp(1.0, 12.0));
    PlacedRibbon {
        left: (from, left.0, left.1),
        right: (to, right.0, right.1),
        thick,
        label: ribbon.label,
        facts: ribbon.facts,
    }
}

/// Describes a piece's addresses and size.
fn described(piece: &Piece) -> String {
    let range: Extent = piece.range;
    format!("{range}, {}", size(range.len()))
}

impl PlacedBox {
    /// Returns the lines of text inside the box: the name, and the size if there is room. Empty if not even the name
    /// fits.
    pub(super) fn lines(&self, width: f64) -> Vec<String> {
        let mut lines = Vec::new();
        if self.height + 0.01 >= LINE {
            lines.push(fitted(&self.piece.label, width - 8.0));
        }
        if self.height >= 2.0 * LINE + 2.0 && self.piece.kind != Kind::Free {
            lines.push(fitted(&size(self.piece.range.len()), width - 8.0));
        }
        lines
    }
}

/// Shortens a heading to a width. Bold text is wider.
fn heading(text: &str, width: f64) -> String {
    fitted(text, (width - 4.0) * 0.85)
}

/// Shortens a text to a width, with an ellipsis.
pub(super) fn fitted(text: &str, width: f64) -> String {
    let most = (width / CHARACTER).max(2.0) as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{}…", kept.trim_end())
}
