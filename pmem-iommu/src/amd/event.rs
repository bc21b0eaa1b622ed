//! Events that a unit logs (2.5), 16 bytes each.

use crate::RequesterId;
use crate::bits::{bit, bits};
use core::fmt;

/// A logged event.
///
/// # Examples
///
/// ```
/// use pmem_iommu::amd::Event;
///
/// let event = Event::decode([0x2050_005e_0000_4200, 0xffff_c000]).ok_or("no event")?;
/// assert_eq!((event.code.name(), event.domain), ("IO_PAGE_FAULT", 0x5e));
/// assert_eq!(event.source.to_string(), "42:00.0");
/// // The page is present, but the device must not read it.
/// assert_eq!(event.flags.to_string(), "0x0050 PR PE");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// The kind of event.
    pub code: Code,
    /// The requester. It has no meaning for some codes.
    pub source: RequesterId,
    /// The domain, or the PASID.
    pub domain: u32,
    /// Details of the request.
    pub flags: Flags,
    /// The address, with byte precision. [`Code::address`] tells what it refers to.
    pub address: u64,
}

impl Event {
    /// Encodes the event as two words, lower first.
    #[must_use]
    pub const fn encode(self) -> [u64; 2] {
        let domain = (self.domain as u64 & 0xffff) << 32 | (self.domain as u64 >> 16 & 0xf) << 16;
        let low = self.source.0 as u64
            | domain
            | (self.flags.0 as u64 & 0xfff) << 48
            | (self.code.0 as u64 & 0xf) << 60;
        [low, self.address]
    }

    /// Decodes an event. Returns `None` if the unit has not written one there.
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

/// The code of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u8);

/// What the address of an event refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressOf {
    /// The address that the device accessed.
    Device,
    /// The address that the device accessed, which is not at fault: its device table entry is wrong.
    Innocent,
    /// An address that the unit itself read, or the address of the command.
    Unit,
    /// The event has no address.
    None,
}

impl Code {
    /// Returns the specification's name for the event.
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

    /// Returns the code that has this name; `None` if there is no such code.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        (1..16).map(Self).find(|code| code.name() == name && name != "UNKNOWN")
    }

    /// Returns what the address of the event refers to.
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

/// The flags of an event (2.5.3, table 45).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flags(pub u16);

impl Flags {
    /// Returns whether the request was an interrupt.
    #[must_use]
    pub const fn is_interrupt(self) -> bool {
        self.0 & 0x008 != 0
    }

    /// Returns whether the page was present.
    #[must_use]
    pub const fn was_present(self) -> bool {
        self.0 & 0x010 != 0
    }

    /// Returns whether the request was a write.
    #[must_use]
    pub const fn is_write(self) -> bool {
        self.0 & 0x020 != 0
    }

    /// Returns whether the page does not permit the request.
    #[must_use]
    pub const fn was_forbidden(self) -> bool {
        self.0 & 0x040 != 0
    }

    /// Returns whether an entry has a reserved bit set.
    #[must_use]
    pub const fn was_reserved(self) -> bool {
        self.0 & 0x080 != 0
    }

    /// Returns whether the device requested a translation.
    #[must_use]
    pub const fn is_translation(self) -> bool {
        self.0 & 0x100 != 0
    }

    /// Returns the type of an invalid request.
    #[must_use]
    pub const fn kind(self) -> u8 {
        (self.0 >> 9) as u8 & 7
    }
}

impl fmt::Display for Flags {
    /// Writes the value and the names of its flags: `0x0020 RW`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)?;
        let names = ["GN", "NX", "US", "I", "PR", "RW", "PE", "RZ", "TR"];
        (0..)
            .zip(names)
            .filter(|(n, _)| bit(u64::from(self.0), *n))
            .try_for_each(|(_, name)| write!(f, " {name}"))
    }
}
