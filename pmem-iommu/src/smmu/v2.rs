//! Faults of a context bank of an SMMU of version 1 or 2 (Arm IHI 0062, 16.5): `FSR`, `FSYNR0`, `CBFRSYNRA`.

use crate::bits::{bit, bits};

/// What the registers of a fault hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// `FSR`: what kind.
    pub status: u32,
    /// `FSYNR0`: which access.
    pub syndrome: u32,
    /// `CBFRSYNRA`: who.
    pub stream: u32,
}

impl Fault {
    /// Nothing is mapped there.
    #[must_use]
    pub const fn is_translation(self) -> bool {
        self.status & 1 << 1 != 0
    }

    /// What is said first of it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self.status as u64 {
            status if bit(status, 1) => "nothing is mapped there",
            status if bit(status, 2) => "the page's access flag is not set",
            status if bit(status, 3) => "that is not permitted there",
            status if bit(status, 4) => "a table on the way could not be read",
            status if bit(status, 5) || bit(status, 6) => "two remembered entries contradict each other",
            status if bit(status, 8) => "the request is not supported",
            _ => "what it means is not known here",
        }
    }

    /// More than one fault came before this one was looked at.
    #[must_use]
    pub const fn is_one_of_many(self) -> bool {
        bit(self.status as u64, 31)
    }

    /// It was a write.
    #[must_use]
    pub const fn is_write(self) -> bool {
        bit(self.syndrome as u64, 4)
    }

    /// Which context bank.
    #[must_use]
    pub const fn bank(self) -> u8 {
        bits(self.syndrome as u64, 23, 16) as u8
    }

    /// Which stream.
    #[must_use]
    pub const fn stream_id(self) -> u16 {
        self.stream as u16
    }
}
