//! Pictures of reports: columns of addresses side by side on one axis, and the windows that connect them.
//!
//! A report describes what there is to draw ([`Draw`]) as a [`Picture`], which knows nothing of pixels. [`Layout`]
//! computes all positions once. [`svg()`], [`html()`] and [`map()`] write what it placed. [`dot()`] writes the graph of
//! arenas alone, without addresses.

mod axis;
mod dot;
mod html;
mod lanes;
mod layout;
mod map;
mod of;
mod svg;

pub use dot::dot;
pub use html::html;
pub use layout::Layout;
pub use map::map;
pub use svg::svg;

use crate::units::{Addr, End, Extent};
use std::collections::BTreeMap;

/// A report that can be drawn.
pub trait Draw {
    /// Returns the picture, or `None` if the report has no address to draw.
    fn picture(&self) -> Option<Picture>;
}

/// What there is to draw.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// The title.
    pub title: String,
    /// Things drawn as cards because they have no single address, such as nodes.
    pub cards: Vec<Card>,
    /// The distances between nodes.
    pub matrix: Option<Matrix>,
    /// The address spaces, each with an axis of its own.
    pub panels: Vec<Panel>,
    /// Meanings of kinds that differ from [`Kind::words`].
    pub legend: BTreeMap<Kind, &'static str>,
    /// Remarks printed below the drawing.
    pub notes: Vec<String>,
}

/// A box of text that is not on an axis.
#[derive(Clone, Debug)]
pub struct Card {
    /// The name.
    pub title: String,
    /// The lines of text.
    pub lines: Vec<String>,
    /// The style.
    pub kind: Kind,
}

/// A table of numbers.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// What the numbers mean.
    pub title: String,
    /// The names of the rows.
    pub rows: Vec<String>,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The numbers, row by row.
    pub cells: Vec<Vec<u32>>,
}

/// An address space with its axis.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// What kind of addresses it has.
    pub title: String,
    /// The columns, from left to right.
    pub columns: Vec<Column>,
    /// The ribbons between columns.
    pub ribbons: Vec<Ribbon>,
}

/// A column of arenas or viewers that do not overlap.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// Whose addresses these are.
    pub title: String,
    /// The pieces, in order of address. They do not overlap.
    pub pieces: Vec<Piece>,
}

/// A range of addresses with one meaning.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The range.
    pub range: Extent,
    /// The style.
    pub kind: Kind,
    /// The name.
    pub label: String,
    /// More facts, shown under the pointer.
    pub facts: Vec<String>,
}

/// A window or mapping, drawn as a band from addresses in one column to addresses in another.
#[derive(Clone, Debug)]
pub struct Ribbon {
    /// The index of the column where it starts, and its first address there.
    pub left: (usize, u64),
    /// The index of the column where it ends, and its first address there.
    pub right: (usize, u64),
    /// The size in bytes.
    pub bytes: u64,
    /// What crossing costs: a latency or a distance.
    pub label: Option<String>,
    /// The bandwidth in MiB/s.
    pub bandwidth: Option<u32>,
    /// Its name and more facts, shown under the pointer.
    pub facts: Vec<String>,
}

/// The style of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Memory.
    Memory,
    /// Memory in use.
    Used,
    /// Device registers.
    Device,
    /// Device memory that can be prefetched: reads have no side effects.
    Prefetchable,
    /// Firmware, ROMs and tables.
    Firmware,
    /// Reserved, for whatever purpose.
    Reserved,
    /// Leads to another column.
    Window,
    /// Free space that can be allocated.
    Free,
    /// No source says what it is.
    Unknown,
    /// Wrong or changed.
    Marked,
}

impl Kind {
    /// All kinds, in the order of the legend.
    pub const ALL: [Self; 10] = [
        Self::Memory,
        Self::Used,
        Self::Device,
        Self::Prefetchable,
        Self::Firmware,
        Self::Reserved,
        Self::Window,
        Self::Free,
        Self::Unknown,
        Self::Marked,
    ];

    /// The CSS class.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Used => "used",
            Self::Device => "device",
            Self::Prefetchable => "prefetchable",
            Self::Firmware => "firmware",
            Self::Reserved => "reserved",
            Self::Window => "window",
            Self::Free => "free",
            Self::Unknown => "unknown",
            Self::Marked => "marked",
        }
    }

    /// The text in the legend.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Used => "memory in use",
            Self::Device => "registers of devices",
            Self::Prefetchable => "prefetchable memory of devices",
            Self::Firmware => "firmware",
            Self::Reserved => "reserved",
            Self::Window => "window",
            Self::Free => "free",
            Self::Unknown => "not known",
            Self::Marked => "wrong or changed",
        }
    }
}

/// Returns the range of `bytes` bytes from `start` on; `None` if `bytes` is zero.
fn extent(start: u64, bytes: u64) -> Option<Extent> {
    (bytes > 0).then(|| Extent {
        start: Addr(start),
        end: End((u128::from(start) + u128::from(bytes)).min(1 << 64)),
    })
}

/// Returns the size of the largest naturally aligned block of a power of two that fits into a range.
fn largest_block(range: Extent) -> u64 {
    let (start, end) = (u128::from(range.start.0), range.end.0);
    let fits = |order: u32| start.next_multiple_of(1 << order) + (1 << order) <= end;
    (0..64).rev().find(|order| fits(*order)).map_or(0, |order| 1 << order)
}

/// Makes the piece for a hole, labelled with what fits into it.
fn hole(range: Extent) -> Piece {
    use crate::units::size;
    let (bytes, block) = (range.len(), largest_block(range));
    let label = if bytes == block {
        format!("free {}", size(bytes))
    } else {
        format!("free {}, largest block {}", size(bytes), size(block))
    };
    Piece { range, kind: Kind::Free, label, facts: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_block_is_aligned_to_itself() {
        let block = |start, end| largest_block(Extent { start: Addr(start), end: End(end) });
        assert_eq!(block(0, 1 << 64), 1 << 63);
        assert_eq!(block(0x1000, 0x3000), 0x1000);
        assert_eq!(block(0x1800, 0x1900), 0x100);
        assert_eq!(block(0x9000_0000, 0xb800_0000), 0x1000_0000);
    }
}
