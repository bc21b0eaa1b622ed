//! Why tables cannot be changed.

use super::memory::Short;
use core::fmt;

/// Why nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableError {
    /// It is no whole number of pages, or does not begin with one.
    Unaligned {
        /// The address, or the length.
        at: u64,
    },
    /// The format has no bits for it.
    TooWide {
        /// The address.
        at: u64,
        /// Bits that there are.
        width: u32,
    },
    /// The format cannot permit just that.
    Access,
    /// Something is mapped there.
    Taken {
        /// The first address of which that is so.
        at: u64,
    },
    /// Nothing is mapped there.
    Absent {
        /// The first address of which that is so.
        at: u64,
    },
    /// Part of a large page is meant, which this hardware does not exchange for small ones while it is used.
    Whole {
        /// The page.
        at: u64,
        /// Its size as a power of two.
        shift: u32,
    },
    /// An entry is none.
    Malformed {
        /// The table.
        table: u64,
        /// Which of its entries.
        index: u64,
        /// What it holds.
        entry: u64,
    },
    /// A table lies where no table can be read.
    Unreadable {
        /// The table.
        table: u64,
    },
    /// There is no memory for tables.
    Short(Short),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unaligned { at } => write!(f, "{at:#x} is no multiple of 4096"),
            Self::TooWide { at, width } => {
                write!(f, "{at:#x} is beyond the {width} bits that are translated")
            }
            Self::Access => f.write_str("this format cannot permit just that"),
            Self::Taken { at } => write!(f, "{at:#x} is mapped already"),
            Self::Absent { at } => write!(f, "{at:#x} is not mapped"),
            Self::Whole { at, shift } => {
                write!(
                    f,
                    "{at:#x} is the begin of one page of 2^{shift} bytes, of which no part can be changed"
                )
            }
            Self::Malformed { table, index, entry } => {
                write!(f, "entry {index} of the table at {table:#x} holds {entry:#x}, which is no entry")
            }
            Self::Unreadable { table } => write!(f, "there is no table to be read at {table:#x}"),
            Self::Short(Short { wanted, left }) => {
                write!(f, "{wanted} tables are wanted, and there is memory for {left}")
            }
        }
    }
}

impl core::error::Error for TableError {}
