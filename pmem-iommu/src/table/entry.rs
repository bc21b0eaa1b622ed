//! What an entry of a translation table says.

/// What a device may do there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Access {
    /// It may read.
    pub read: bool,
    /// It may write.
    pub write: bool,
}

impl Access {
    /// Reads alone.
    pub const READ: Self = Self { read: true, write: false };
    /// Writes alone.
    pub const WRITE: Self = Self { read: false, write: true };
    /// Both.
    pub const BOTH: Self = Self { read: true, write: true };

    /// Whether nothing may be done.
    #[must_use]
    pub const fn is_none(self) -> bool {
        !self.read && !self.write
    }

    /// What both permit.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { read: self.read && other.read, write: self.write && other.write }
    }
}

/// An entry, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Nothing is mapped.
    Absent,
    /// It maps addresses.
    Leaf(Leaf),
    /// It leads on.
    Table {
        /// Where the table is.
        at: u64,
        /// Its level: below that of the entry, by more than one where levels are skipped.
        level: u8,
        /// What the entry itself permits of what is below.
        access: Access,
    },
    /// Bits are set that no hardware takes, or addresses that it cannot have.
    Malformed,
}

/// What maps addresses: 2^`shift` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// Where the first of them leads.
    pub target: u64,
    /// The size as a power of two.
    pub shift: u32,
    /// What may be done there.
    pub access: Access,
}

/// Bits of an address within a page of the least size.
pub const PAGE_SHIFT: u32 = 12;
/// Entries of a table, as a power of two.
pub(super) const INDEX_BITS: u32 = 9;

/// Bits of an address below an entry of a level; 1 is the lowest.
#[must_use]
pub const fn shift_of(level: u8) -> u32 {
    PAGE_SHIFT + INDEX_BITS * (level as u32).saturating_sub(1)
}
