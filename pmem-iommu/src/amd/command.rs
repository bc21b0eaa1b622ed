//! Commands to a unit (2.4), 16 bytes each.

use crate::RequesterId;
use crate::bits::{bit, bits};

/// A command that invalidates something, or waits.
///
/// # Examples
///
/// ```
/// use pmem_iommu::amd::Command;
///
/// // Domain 5 forgets 16 KiB at 0x40000, and cached tables too.
/// let command = Command::Pages { domain: 5, first: 0x4_0000, shift: 14, tables: true };
/// let [low, high] = command.encode();
/// assert_eq!((low, high), (3 << 60 | 5 << 32, 0x4_1003));
/// assert_eq!(Command::decode([low, high]), Some(command));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Writes a word to memory when all earlier commands are done (2.4.1).
    Wait {
        /// The address of the word, a multiple of 8.
        address: u64,
        /// The value to write.
        value: u64,
    },
    /// Invalidates a requester's device table entry (2.4.2).
    Device(RequesterId),
    /// Invalidates translations of a domain (2.4.3).
    Pages {
        /// The domain.
        domain: u16,
        /// The first address, a multiple of 2^`shift`.
        first: u64,
        /// The size as a power of two in bytes: at least 12. 64 means all addresses.
        shift: u32,
        /// Whether cached tables are invalidated as well as pages.
        tables: bool,
    },
    /// Makes a device invalidate translations that it requested (2.4.4).
    DevicePages {
        /// The device.
        id: RequesterId,
        /// The first address, a multiple of 2^`shift`.
        first: u64,
        /// The size as a power of two, as in [`Command::Pages`].
        shift: u32,
    },
    /// Invalidates a requester's interrupt table (2.4.5).
    Interrupts(RequesterId),
    /// Invalidates everything (2.4.8).
    All,
}

/// Encodes an address and a size in one word: from bit 12 up, all bits below the size's highest bit are set.
const fn sized(first: u64, shift: u32) -> u64 {
    match shift {
        0..=12 => first & !0xfff,
        13..=63 => first & !((1 << shift) - 1) | ((1 << (shift - 1)) - 1) & !0xfff | 1,
        // All addresses: every bit below the highest is set.
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
    /// Encodes the command as two words, lower first.
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

    /// Decodes a command. Returns `None` for any other command.
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
