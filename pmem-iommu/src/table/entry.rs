//! Entries of translation tables, decoded.

/// What a device is allowed to do with a page. The default permits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Access {
    /// The device can read.
    pub read: bool,
    /// The device can write.
    pub write: bool,
}

impl Access {
    /// Read only.
    pub const READ: Self = Self { read: true, write: false };
    /// Write only.
    pub const WRITE: Self = Self { read: false, write: true };
    /// Read and write.
    pub const BOTH: Self = Self { read: true, write: true };

    /// Returns whether neither reads nor writes are permitted.
    #[must_use]
    pub const fn is_none(self) -> bool {
        !self.read && !self.write
    }

    /// Returns what both permit: the access along a path through several entries.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { read: self.read && other.read, write: self.write && other.write }
    }
}

/// A decoded table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Maps nothing.
    Absent,
    /// Maps addresses: a page, or a large page in an upper level.
    Leaf(Leaf),
    /// Points to a table of a lower level.
    Table {
        /// The address of that table.
        at: u64,
        /// The level of that table: at least one below the entry's, and more where levels are skipped.
        level: u8,
        /// What this entry permits for all addresses below it.
        access: Access,
    },
    /// Invalid: the entry has reserved bits set, is misaligned, or holds an address too wide for the hardware.
    Malformed,
}

/// The translation of one page of 2^`shift` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// The output address of the page's first byte.
    pub target: u64,
    /// The page size, as a power of two.
    pub shift: u32,
    /// What devices can do with the page.
    pub access: Access,
}

/// The number of address bits within the smallest page, 4 KiB.
pub const PAGE_SHIFT: u32 = 12;
/// Entries of a table below the root, as a power of two.
pub(super) const INDEX_BITS: u32 = 9;

/// Returns how many address bits lie below an entry of `level`, where level 1 is the lowest: 12 for level 1, 21 for
/// level 2, and so on.
#[must_use]
pub const fn shift_of(level: u8) -> u32 {
    PAGE_SHIFT + INDEX_BITS * (level as u32).saturating_sub(1)
}
