//! Descriptors of the invalidation queue (6.5.2), 16 bytes each.

use crate::RequesterId;
use crate::bits::{bit, bits};

/// The scope of an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// Everything.
    Global,
    /// One domain.
    Domain,
    /// One device of a domain, or some of its pages.
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

/// A descriptor: an invalidation, or a wait.
///
/// # Examples
///
/// ```
/// use pmem_iommu::vtd::{Descriptor, Granularity};
///
/// // Domain 7 forgets four pages at 0x40000, and cached tables too.
/// let of = Granularity::Selective;
/// let descriptor =
///     Descriptor::Translations { of, domain: 7, address: 0x4_0000, order: 2, leaves_alone: false };
/// let words = descriptor.encode();
/// assert_eq!(words[1], 0x4_0002);
/// assert_eq!(Descriptor::decode(words), Some(descriptor));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Descriptor {
    /// Invalidates cached context entries.
    Context {
        /// The scope.
        of: Granularity,
        /// The domain, unless the scope is global.
        domain: u16,
        /// The device, if the scope is selective.
        source: RequesterId,
    },
    /// Invalidates cached translations, after draining pending reads and writes.
    Translations {
        /// The scope.
        of: Granularity,
        /// The domain, unless the scope is global.
        domain: u16,
        /// The address of the first page, if the scope is selective.
        address: u64,
        /// The number of pages, as a power of two.
        order: u8,
        /// Whether cached tables stay valid and only leaves are invalidated.
        leaves_alone: bool,
    },
    /// Invalidates all cached interrupt entries.
    Interrupts,
    /// Writes a word to memory when all earlier descriptors are done.
    Wait {
        /// The address of the word, a multiple of 4.
        address: u64,
        /// The value to write.
        value: u32,
    },
}

impl Descriptor {
    /// Encodes the descriptor as two words, lower first.
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

    /// Decodes a descriptor. Returns `None` for any other descriptor.
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
