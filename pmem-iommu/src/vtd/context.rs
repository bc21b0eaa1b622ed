//! Root and context entries (9.1, 9.3), which select a requester's page tables.

use crate::RequesterId;
use crate::bits::{bit, bits};

/// An entry of the root table, which points to the context table of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root {
    /// The address of the context table; `None` if the bus has none.
    pub contexts: Option<u64>,
}

impl Root {
    /// Returns the address of the entry for a requester's bus in the root table at `table`.
    #[must_use]
    pub const fn at(table: u64, id: RequesterId) -> u64 {
        table + 16 * id.bus() as u64
    }

    /// Encodes the entry as two words, lower first.
    #[must_use]
    pub const fn encode(self) -> [u64; 2] {
        match self.contexts {
            Some(table) => [table & !0xfff | 1, 0],
            None => [0, 0],
        }
    }

    /// Decodes an entry.
    #[must_use]
    pub const fn decode([low, _]: [u64; 2]) -> Self {
        Self { contexts: if bit(low, 0) { Some(low & !0xfff) } else { None } }
    }
}

/// How a requester's requests are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// They are translated by page tables.
    Translated {
        /// The address of the root page table.
        table: u64,
        /// The number of levels, 3 to 5.
        levels: u8,
        /// Whether the device can request translations (ATS).
        ats: bool,
    },
    /// They pass untranslated.
    Passed,
    /// An unknown translation type.
    Other(u8),
}

/// An entry of a context table.
///
/// # Examples
///
/// ```
/// use pmem_iommu::RequesterId;
/// use pmem_iommu::vtd::{Context, Kind};
///
/// // Give the NIC at 3b:00.1 the page tables of domain 7.
/// let kind = Kind::Translated { table: 0x5000, levels: 4, ats: false };
/// let context = Context { kind, domain: 7, silent: false };
/// assert_eq!(Context::at(0x2000, RequesterId::new(0x3b, 0, 1)), 0x2010);
/// assert_eq!(context.encode(4), [0x5001, 0x702]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context {
    /// How requests are handled.
    pub kind: Kind,
    /// The domain, which tags cached translations.
    pub domain: u16,
    /// Whether faults are not recorded.
    pub silent: bool,
}

impl Context {
    /// Returns the address of a requester's entry in its bus's context table at `table`.
    #[must_use]
    pub const fn at(table: u64, id: RequesterId) -> u64 {
        table + 16 * id.devfn() as u64
    }

    /// Encodes the entry as two words, lower first. Write the higher word first: it has no effect while the lower
    /// is 0. `width` is the number of levels to encode for an entry without page tables.
    #[must_use]
    pub const fn encode(self, width: u8) -> [u64; 2] {
        let (kind, table, levels) = match self.kind {
            Kind::Translated { table, levels, ats } => (ats as u64, table & !0xfff, levels),
            Kind::Passed => (2, 0, width),
            Kind::Other(kind) => (kind as u64 & 3, 0, width),
        };
        let silent = (self.silent as u64) << 1;
        [table | kind << 2 | silent | 1, (levels.saturating_sub(2) as u64 & 7) | (self.domain as u64) << 8]
    }

    /// Decodes an entry. Returns `None` if it is not present.
    #[must_use]
    pub const fn decode([low, high]: [u64; 2]) -> Option<Self> {
        if !bit(low, 0) {
            return None;
        }
        let levels = bits(high, 2, 0) as u8 + 2;
        let kind = match bits(low, 3, 2) as u8 {
            kind @ 0..=1 => Kind::Translated { table: low & !0xfff, levels, ats: kind == 1 },
            2 => Kind::Passed,
            other => Kind::Other(other),
        };
        Some(Self { kind, domain: bits(high, 23, 8) as u16, silent: bit(low, 1) })
    }
}
