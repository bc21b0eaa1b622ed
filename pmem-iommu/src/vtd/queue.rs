//! Descriptors of the queue of invalidations (6.5.2), of 16 bytes.

use crate::RequesterId;
use crate::bits::{bit, bits};

/// Of how much something is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// Of everything.
    Global,
    /// Of a domain.
    Domain,
    /// Of a device of a domain, or of pages.
    Selective,
}

impl Granularity {
    const fn encode(self) -> u64 {
        match self {
            Self::Global => 1,
            Self::Domain => 2,
            Self::Selective => 3,
        }
    }

    const fn decode(field: u64) -> Option<Self> {
        match field {
            1 => Some(Self::Global),
            2 => Some(Self::Domain),
            3 => Some(Self::Selective),
            _ => None,
        }
    }
}

/// What the unit is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Descriptor {
    /// To forget contexts.
    Context {
        /// Of how much.
        of: Granularity,
        /// The domain.
        domain: u16,
        /// The device.
        source: RequesterId,
    },
    /// To forget translations, after reads and writes that wait.
    Translations {
        /// Of how much.
        of: Granularity,
        /// The domain.
        domain: u16,
        /// The first of the pages.
        address: u64,
        /// How many, as a power of two.
        order: u8,
        /// What is kept of tables stays.
        leaves_alone: bool,
    },
    /// To forget what it remembers of interrupts.
    Interrupts,
    /// To write a word when all before it is done.
    Wait {
        /// Where.
        address: u64,
        /// What.
        value: u32,
    },
}

impl Descriptor {
    /// Its two words, the lower first.
    #[must_use]
    pub const fn encode(self) -> [u64; 2] {
        match self {
            Self::Context { of, domain, source } => {
                [1 | of.encode() << 4 | (domain as u64) << 16 | (source.0 as u64) << 32, 0]
            }
            Self::Translations { of, domain, address, order, leaves_alone } => [
                2 | of.encode() << 4 | 3 << 6 | (domain as u64) << 16,
                address & !0xfff | (leaves_alone as u64) << 6 | (order as u64 & 0x3f),
            ],
            Self::Interrupts => [4, 0],
            Self::Wait { address, value } => [5 | 1 << 5 | (value as u64) << 32, address & !3],
        }
    }

    /// Reads it; `None` if it is something else.
    #[must_use]
    pub const fn decode([low, high]: [u64; 2]) -> Option<Self> {
        let domain = bits(low, 31, 16) as u16;
        let Some(of) = Granularity::decode(bits(low, 5, 4)) else {
            return match bits(low, 3, 0) {
                4 => Some(Self::Interrupts),
                _ => None,
            };
        };
        match bits(low, 3, 0) {
            1 => Some(Self::Context { of, domain, source: RequesterId(bits(low, 47, 32) as u16) }),
            2 => Some(Self::Translations {
                of,
                domain,
                address: high & !0xfff,
                order: bits(high, 5, 0) as u8,
                leaves_alone: bit(high, 6),
            }),
            5 if bit(low, 5) => Some(Self::Wait { address: high & !3, value: bits(low, 63, 32) as u32 }),
            _ => None,
        }
    }
}
