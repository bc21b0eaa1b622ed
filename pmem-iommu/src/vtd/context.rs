//! Root and context entries (9.1, 9.3): which table a requester has.

use crate::RequesterId;
use crate::bits::{bit, bits};

/// An entry of the root table: the context table of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root {
    /// Where the context table is; `None` if the bus has none.
    pub contexts: Option<u64>,
}

impl Root {
    /// Where the entry of a requester's bus is.
    #[must_use]
    pub const fn at(table: u64, id: RequesterId) -> u64 {
        table + 16 * id.bus() as u64
    }

    /// The two words of the entry, the lower first.
    #[must_use]
    pub const fn encode(self) -> [u64; 2] {
        match self.contexts {
            Some(table) => [table & !0xfff | 1, 0],
            None => [0, 0],
        }
    }

    /// Reads it.
    #[must_use]
    pub const fn decode([low, _]: [u64; 2]) -> Self {
        Self { contexts: if bit(low, 0) { Some(low & !0xfff) } else { None } }
    }
}

/// What becomes of a requester's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// They are translated by a table of so many levels.
    Translated {
        /// The table.
        table: u64,
        /// Its levels: 3 to 5.
        levels: u8,
        /// The device may ask for translations.
        ats: bool,
    },
    /// They are let through as they are.
    Passed,
    /// Something that this does not know: the entry's type.
    Other(u8),
}

/// An entry of a context table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context {
    /// What becomes of requests.
    pub kind: Kind,
    /// The domain, by which translations are told apart when they are remembered.
    pub domain: u16,
    /// Faults are not recorded.
    pub silent: bool,
}

impl Context {
    /// Where the entry of a requester is in its bus's table.
    #[must_use]
    pub const fn at(table: u64, id: RequesterId) -> u64 {
        table + 16 * id.devfn() as u64
    }

    /// The two words of the entry, the lower first. The higher is to be written first: it says nothing while the lower is 0.
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

    /// Reads it; `None` if there is none.
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
