//! Commands (2.4), of 16 bytes.

use crate::RequesterId;
use crate::bits::{bit, bits};

/// What the unit is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// To write a word when all before it is done (2.4.1).
    Wait {
        /// Where, a multiple of 8.
        address: u64,
        /// What.
        value: u64,
    },
    /// To forget a requester's entry of the device table (2.4.2).
    Device(RequesterId),
    /// To forget a domain's pages (2.4.3).
    Pages {
        /// The domain.
        domain: u16,
        /// The first address.
        first: u64,
        /// How many addresses, as a power of two, of which `first` is a multiple: 12 at least; 64 of all.
        shift: u32,
        /// What is kept of tables goes as well.
        tables: bool,
    },
    /// To have a device forget pages that it asked for (2.4.4).
    DevicePages {
        /// Which.
        id: RequesterId,
        /// The first address.
        first: u64,
        /// As above.
        shift: u32,
    },
    /// To forget a requester's table of interrupts (2.4.5).
    Interrupts(RequesterId),
    /// To forget everything (2.4.8).
    All,
}

/// An address with the size that follows it: bit 12 and up are set below the size's highest bit.
const fn sized(first: u64, shift: u32) -> u64 {
    match shift {
        0..=12 => first & !0xfff,
        13..=63 => first & !((1 << shift) - 1) | ((1 << (shift - 1)) - 1) & !0xfff | 1,
        // All: every bit but the highest.
        _ => 0x7fff_ffff_ffff_f000 | 1,
    }
}

const fn size_of(word: u64) -> (u64, u32) {
    if !bit(word, 0) {
        return (word & !0xfff, 12);
    }
    let shift = (!word >> 12).trailing_zeros() + 13;
    if shift >= 64 { (0, 64) } else { (word & !((1 << shift) - 1), shift) }
}

impl Command {
    /// Its two words, the lower first.
    #[must_use]
    pub const fn encode(self) -> [u64; 2] {
        match self {
            Self::Wait { address, value } => [1 << 60 | address & 0xf_ffff_ffff_fff8 | 1, value],
            Self::Device(id) => [2 << 60 | id.0 as u64, 0],
            Self::Pages { domain, first, shift, tables } => {
                [3 << 60 | (domain as u64) << 32, sized(first, shift) | (tables as u64) << 1]
            }
            Self::DevicePages { id, first, shift } => [4 << 60 | (id.0 as u64), sized(first, shift)],
            Self::Interrupts(id) => [5 << 60 | id.0 as u64, 0],
            Self::All => [8 << 60, 0],
        }
    }

    /// Reads it; `None` if it is something else.
    #[must_use]
    pub const fn decode([low, high]: [u64; 2]) -> Option<Self> {
        let id = RequesterId(bits(low, 15, 0) as u16);
        let (first, shift) = size_of(high);
        match bits(low, 63, 60) {
            1 if bit(low, 0) => Some(Self::Wait { address: low & 0xf_ffff_ffff_fff8, value: high }),
            2 => Some(Self::Device(id)),
            3 => Some(Self::Pages { domain: bits(low, 47, 32) as u16, first, shift, tables: bit(high, 1) }),
            4 => Some(Self::DevicePages { id, first, shift }),
            5 => Some(Self::Interrupts(id)),
            8 => Some(Self::All),
            _ => None,
        }
    }
}
