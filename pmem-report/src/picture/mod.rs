//! Pictures of reports: columns of addresses side by side on one axis, and the windows that join them.
//!
//! A report says what there is to draw ([`Draw`]), as a [`Picture`] that knows nothing of pixels; [`Layout`] places it once; [`svg()`],
//! [`html()`] and [`map()`] print what was placed. The graph of arenas alone, without addresses, is [`dot()`].

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

/// A report of which there is a picture.
pub trait Draw {
    /// The picture; none if the report has no address to draw.
    fn picture(&self) -> Option<Picture>;
}

/// What is to be drawn.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// What it is of.
    pub title: String,
    /// What has no address, or more than its address: nodes.
    pub cards: Vec<Card>,
    /// How far the nodes are from each other.
    pub matrix: Option<Matrix>,
    /// Address spaces, each with an axis of its own.
    pub panels: Vec<Panel>,
    /// What kinds mean, where it is something else than [`Kind::words`].
    pub legend: BTreeMap<Kind, &'static str>,
    /// What is to be read below.
    pub notes: Vec<String>,
}

/// A thing without an axis.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its name.
    pub title: String,
    /// What is said of it.
    pub lines: Vec<String>,
    /// What it looks like.
    pub kind: Kind,
}

/// A table of numbers.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// What the numbers are.
    pub title: String,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The numbers, row by row.
    pub cells: Vec<Vec<u32>>,
}

/// An address space.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// What its addresses are.
    pub title: String,
    /// From left to right.
    pub columns: Vec<Column>,
    /// Between columns.
    pub ribbons: Vec<Ribbon>,
}

/// Arenas, or viewers, that have no address in common.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// Whose addresses.
    pub title: String,
    /// In order of address; none overlaps another.
    pub pieces: Vec<Piece>,
}

/// Addresses that have one meaning.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its addresses.
    pub range: Extent,
    /// What it looks like.
    pub kind: Kind,
    /// What it is called.
    pub label: String,
    /// What more is known.
    pub facts: Vec<String>,
}

/// A window or a mapping: addresses of one column that lead to addresses of another.
#[derive(Clone, Debug)]
pub struct Ribbon {
    /// The column that it leads from, and its first address there.
    pub left: (usize, u64),
    /// The column that it leads to, and its first address there.
    pub right: (usize, u64),
    /// How many bytes.
    pub bytes: u64,
    /// What it costs: a latency or a distance.
    pub label: Option<String>,
    /// In MiB/s.
    pub bandwidth: Option<u32>,
    /// What it is called, and what more is known.
    pub facts: Vec<String>,
}

/// What something looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Memory.
    Memory,
    /// Memory that is in use.
    Used,
    /// Registers of a device.
    Device,
    /// A device's memory: reads have no side effects.
    Prefetchable,
    /// Firmware, ROMs, tables.
    Firmware,
    /// Set aside, whatever it is for.
    Reserved,
    /// Leads to another column.
    Window,
    /// Nothing, and can be had.
    Free,
    /// Nobody says what it is.
    Unknown,
    /// Wrong, or changed.
    Marked,
}

impl Kind {
    /// All, as a legend lists them.
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

    /// Its name in a style sheet.
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

    /// What a legend says.
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

/// The range of so many bytes from an address on; none if there is no byte.
fn extent(start: u64, bytes: u64) -> Option<Extent> {
    (bytes > 0).then(|| Extent {
        start: Addr(start),
        end: End((u128::from(start) + u128::from(bytes)).min(1 << 64)),
    })
}

/// Of a hole, the largest block that can be placed there: a power of two at a multiple of itself.
fn largest_block(range: Extent) -> u64 {
    let (start, end) = (u128::from(range.start.0), range.end.0);
    let fits = |order: u32| start.next_multiple_of(1 << order) + (1 << order) <= end;
    (0..64).rev().find(|order| fits(*order)).map_or(0, |order| 1 << order)
}

/// A hole, named with what fits into it.
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
