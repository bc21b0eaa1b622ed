//! What a unit says went wrong (2.5): events of 16 bytes.

use crate::RequesterId;
use crate::bits::{bit, bits};
use core::fmt;

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// What it is.
    pub code: Code,
    /// Who asked; of some codes it means nothing.
    pub source: RequesterId,
    /// The domain, or the PASID.
    pub domain: u32,
    /// More of it.
    pub flags: Flags,
    /// The address, to the byte. What it is the code says: see [`Code::address`].
    pub address: u64,
}

impl Event {
    /// Its two words, the lower first.
    #[must_use]
    pub const fn encode(self) -> [u64; 2] {
        let domain = (self.domain as u64 & 0xffff) << 32 | (self.domain as u64 >> 16 & 0xf) << 16;
        let low = self.source.0 as u64
            | domain
            | (self.flags.0 as u64 & 0xfff) << 48
            | (self.code.0 as u64 & 0xf) << 60;
        [low, self.address]
    }

    /// Reads it; `None` if nothing was written there.
    #[must_use]
    pub const fn decode([low, high]: [u64; 2]) -> Option<Self> {
        let code = Code(bits(low, 63, 60) as u8);
        if code.0 == 0 {
            return None;
        }
        Some(Self {
            code,
            source: RequesterId(bits(low, 15, 0) as u16),
            domain: (bits(low, 19, 16) << 16 | bits(low, 47, 32)) as u32,
            flags: Flags(bits(low, 59, 48) as u16),
            address: high,
        })
    }
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u8);

/// What an event's address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressOf {
    /// The device's: what it asked for.
    Device,
    /// The device's, and innocent: the entry of the device table is what is wrong.
    Innocent,
    /// The unit's own: where in memory it read, or the command is.
    Unit,
    /// There is none.
    None,
}

impl Code {
    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            1 => "ILLEGAL_DEV_TABLE_ENTRY",
            2 => "IO_PAGE_FAULT",
            3 => "DEV_TAB_HARDWARE_ERROR",
            4 => "PAGE_TAB_HARDWARE_ERROR",
            5 => "ILLEGAL_COMMAND_ERROR",
            6 => "COMMAND_HARDWARE_ERROR",
            7 => "IOTLB_INV_TIMEOUT",
            8 => "INVALID_DEVICE_REQUEST",
            9 => "INVALID_PPR_REQUEST",
            0xd => "RMP_PAGE_FAULT",
            0xe => "RMP_HW_ERROR",
            _ => "UNKNOWN",
        }
    }

    /// The code of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        (1..16).map(Self).find(|code| code.name() == name && name != "UNKNOWN")
    }

    /// What the address is.
    #[must_use]
    pub const fn address(self) -> AddressOf {
        match self.0 {
            1 => AddressOf::Innocent,
            2 | 8 | 9 | 0xd => AddressOf::Device,
            3..=7 | 0xe => AddressOf::Unit,
            _ => AddressOf::None,
        }
    }
}

/// What an event says more (2.5.3, table 45).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flags(pub u16);

impl Flags {
    /// The request was an interrupt's.
    #[must_use]
    pub const fn is_interrupt(self) -> bool {
        self.0 & 0x008 != 0
    }

    /// The page was present.
    #[must_use]
    pub const fn was_present(self) -> bool {
        self.0 & 0x010 != 0
    }

    /// It was a write.
    #[must_use]
    pub const fn is_write(self) -> bool {
        self.0 & 0x020 != 0
    }

    /// It was not permitted.
    #[must_use]
    pub const fn was_forbidden(self) -> bool {
        self.0 & 0x040 != 0
    }

    /// A reserved bit was set in an entry.
    #[must_use]
    pub const fn was_reserved(self) -> bool {
        self.0 & 0x080 != 0
    }

    /// The device asked for a translation.
    #[must_use]
    pub const fn is_translation(self) -> bool {
        self.0 & 0x100 != 0
    }

    /// Of an invalid request: its type.
    #[must_use]
    pub const fn kind(self) -> u8 {
        (self.0 >> 9) as u8 & 7
    }
}

impl fmt::Display for Flags {
    /// `0x0020 RW`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)?;
        let names = ["GN", "NX", "US", "I", "PR", "RW", "PE", "RZ", "TR"];
        (0..)
            .zip(names)
            .filter(|(n, _)| bit(self.0 as u64, *n))
            .try_for_each(|(_, name)| write!(f, " {name}"))
    }
}
