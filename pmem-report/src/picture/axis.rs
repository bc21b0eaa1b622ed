//! The address axis that all columns of a panel share.
//!
//! The axis is cut at every edge of a piece. Between two cuts, its height grows with the logarithm of the size, so that
//! a page and a terabyte are both visible. A range that no column covers is drawn as a break.

use super::Panel;
use std::collections::BTreeMap;

/// A range of addresses between two neighbouring cuts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    /// The first address.
    pub(super) start: u128,
    /// The end address, exclusive.
    pub(super) end: u128,
    /// Whether some column has a piece there.
    pub(super) is_covered: bool,
    /// Whether no column has a piece there and the row is drawn shorter than its size.
    pub(super) is_break: bool,
    /// The vertical position of its start, in pixels.
    pub(super) y: f64,
    /// Its height in pixels.
    pub(super) height: f64,
}

/// An address axis.
#[derive(Clone, Debug, Default)]
pub(super) struct Axis {
    pub(super) rows: Vec<Row>,
    pub(super) height: f64,
}

/// The height of a line of text, in pixels.
pub(super) const LINE: f64 = 12.0;
/// The height of a break, in pixels.
const BREAK: f64 = 18.0;
/// The height of a page, and what each doubling of the size adds, in pixels.
const PAGE: (f64, f64) = (3.0, 2.2);
/// Up to this number of pieces, every piece gets room for its name.
const NAMED: usize = 1500;
/// The most breaks that are labelled with their size; the largest ones are.
const BREAKS: usize = 40;
/// The height limit of a panel in pixels: the larger of a fixed height and a height per row.
const HIGHEST: (f64, f64) = (3600.0, 0.4);

impl Axis {
    /// Lays out the axis of a panel.
    pub(super) fn of(panel: &Panel) -> Self {
        let pieces = || panel.columns.iter().flat_map(|column| &column.pieces).map(|piece| piece.range);
        // The number of pieces that start at an address minus the number that end there. The running sum is the depth
        // of cover.
        let mut edges: BTreeMap<u128, i64> = BTreeMap::from([(0, 0)]);
        for range in pieces() {
            *edges.entry(u128::from(range.start.0)).or_default() += 1;
            *edges.entry(range.end.0).or_default() -= 1;
        }
        let mut depth = 0;
        let cuts: Vec<(u128, i64)> = edges.into_iter().collect();
        let mut rows: Vec<Row> = cuts
            .windows(2)
            .map(|pair| {
                depth += pair[0].1;
                row(pair[0].0, pair[1].0, depth > 0)
            })
            .collect();
        let wanted: f64 = rows.iter().map(|row| row.height).sum();
        // Shrink a panel that would become too high.
        let most = HIGHEST.0.max(HIGHEST.1 * rows.len() as f64);
        let scale = (most / wanted.max(1.0)).min(1.0);
        let mut gaps: Vec<u128> =
            rows.iter().filter(|row| row.is_break).map(|row| row.end - row.start).collect();
        gaps.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(least) = gaps.get(BREAKS) {
            rows.iter_mut().for_each(|row| row.is_break &= row.end - row.start > *least);
        }
        // Scale everything except the breaks, which need a full line for their label.
        rows.iter_mut().filter(|row| !row.is_break).for_each(|row| row.height *= scale);
        let mut axis = Self { rows, height: 0.0 };
        if pieces().count() <= NAMED {
            pieces().for_each(|range| axis.make_room(u128::from(range.start.0), range.end.0));
        }
        for row in &mut axis.rows {
            row.y = axis.height;
            axis.height += row.height;
        }
        axis
    }

    /// Stretches the rows of a range until a line of text fits.
    fn make_room(&mut self, start: u128, end: u128) {
        let (first, last) = (self.index(start), self.index(end));
        let rows = &mut self.rows[first..last];
        let missing = LINE - rows.iter().map(|row| row.height).sum::<f64>();
        let share = missing / rows.len().max(1) as f64;
        rows.iter_mut().filter(|_| missing > 0.0).for_each(|row| row.height += share);
    }

    /// Returns the index of the row that starts at an address, or the number of rows.
    fn index(&self, at: u128) -> usize {
        self.rows.partition_point(|row| row.start < at)
    }

    /// Returns the vertical position of an address. Within a row it is proportional.
    pub(super) fn y(&self, at: u128) -> f64 {
        let before = self.rows.partition_point(|row| row.start <= at);
        let Some(row) = before.checked_sub(1).map(|i| self.rows[i]) else { return 0.0 };
        let part = (at - row.start) as f64 / (row.end - row.start) as f64;
        row.y + row.height * part.min(1.0)
    }
}

fn row(start: u128, end: u128, is_covered: bool) -> Row {
    let pages = ((end - start) as f64 / 4096.0).log2().max(0.0);
    let height = PAGE.0 + PAGE.1 * pages;
    let is_break = !is_covered && height > BREAK;
    Row { start, end, is_covered, is_break, y: 0.0, height: if is_break { BREAK } else { height } }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Kind, Piece, extent};
    use super::*;
    use proptest::prelude::*;

    fn panel(pieces: &[(u64, u64)]) -> Panel {
        let piece = |(start, bytes): &(u64, u64)| Piece {
            range: extent(*start, *bytes).unwrap(),
            kind: Kind::Memory,
            label: String::new(),
            facts: Vec::new(),
        };
        let column = Column { title: String::new(), pieces: pieces.iter().map(piece).collect() };
        Panel { columns: vec![column], ..Panel::default() }
    }

    #[test]
    fn what_nobody_has_is_broken_out_and_small_gaps_are_not() {
        let axis = Axis::of(&panel(&[(0x1000, 0x1000), (0x3000, 0x1000), (1 << 40, 1 << 30)]));
        let breaks: Vec<(u128, u128)> =
            axis.rows.iter().filter(|row| row.is_break).map(|row| (row.start, row.end)).collect();
        assert_eq!(breaks, [(0x4000, 1 << 40)]);
    }

    proptest! {
        #[test]
        fn later_addresses_are_lower_and_each_piece_has_its_line(
            pieces in prop::collection::vec((any::<u64>(), 1u64..=u64::MAX), 1..50),
            mut asked in prop::collection::vec(any::<u64>(), 2..20),
        ) {
            let axis = Axis::of(&panel(&pieces));
            asked.sort_unstable();
            for pair in asked.windows(2) {
                prop_assert!(axis.y(pair[0].into()) <= axis.y(pair[1].into()) + 1e-9);
            }
            for (start, bytes) in pieces {
                let range = extent(start, bytes).unwrap();
                let (top, bottom) = (axis.y(start.into()), axis.y(range.end.0));
                prop_assert!(bottom - top >= LINE - 1e-6, "{top} {bottom}");
            }
            for pair in axis.rows.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
                prop_assert!((pair[0].y + pair[0].height - pair[1].y).abs() < 1e-6);
            }
        }
    }
}
