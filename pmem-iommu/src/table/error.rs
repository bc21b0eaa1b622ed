//! Errors of changing tables.

use super::memory::Short;
use core::fmt;

/// The reason why tables could not be changed or read. No translation has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableError {
    /// The last address of the span is below its first.
    Reversed {
        /// The first address.
        first: u64,
        /// The last address.
        last: u64,
    },
    /// The span does not consist of whole pages, or the output address is not that of a page.
    Unaligned {
        /// The address that is no multiple of 4096: the span's first address, the one after its last, or the output
        /// address.
        at: u64,
    },
    /// An address has more bits than the format supports.
    TooWide {
        /// The address.
        at: u64,
        /// The number of bits that the format supports.
        width: u32,
    },
    /// The format cannot encode exactly this access.
    Access,
    /// The span is partly mapped already.
    Taken {
        /// The first mapped address in the span.
        at: u64,
    },
    /// The span is partly unmapped.
    Absent {
        /// The first unmapped address in the span.
        at: u64,
    },
    /// The span covers only part of a large page, which this hardware cannot split while devices use it.
    Whole {
        /// The first address of the large page.
        at: u64,
        /// The size of the large page, as a power of two.
        shift: u32,
    },
    /// An entry of a table is invalid.
    Malformed {
        /// The address of the table.
        table: u64,
        /// The index of the entry.
        index: u64,
        /// The raw entry.
        entry: u64,
    },
    /// A table lies outside the memory that can be read.
    Unreadable {
        /// The address of the table.
        table: u64,
    },
    /// There is not enough memory for the tables that the change needs.
    Short(Short),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reversed { first, last } => {
                write!(f, "the span ends at {last:#x}, below its start {first:#x}")
            }
            Self::Unaligned { at } => write!(f, "{at:#x} is not a multiple of 4096"),
            Self::TooWide { at, width } => {
                write!(f, "{at:#x} is beyond the {width} bits that are translated")
            }
            Self::Access => f.write_str("this format cannot encode exactly this access"),
            Self::Taken { at } => write!(f, "{at:#x} is mapped already"),
            Self::Absent { at } => write!(f, "{at:#x} is not mapped"),
            Self::Whole { at, shift } => {
                write!(f, "the page of 2^{shift} bytes at {at:#x} can only be changed as a whole")
            }
            Self::Malformed { table, index, entry } => {
                write!(f, "entry {index} of the table at {table:#x} is invalid: it holds {entry:#x}")
            }
            Self::Unreadable { table } => write!(f, "the table at {table:#x} cannot be read"),
            Self::Short(Short { wanted, left }) => {
                write!(f, "{wanted} tables are needed, but there is memory for only {left}")
            }
        }
    }
}

impl core::error::Error for TableError {}
