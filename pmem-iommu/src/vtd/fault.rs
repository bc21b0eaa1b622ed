//! Faults: the status register (11.4.9), the records (11.4.14) and the reasons (chapter 7.1.3).

use crate::RequesterId;
use crate::bits::{bit, bits};
use core::fmt;

/// The value of the fault status register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

impl Status {
    /// Returns whether faults were lost because all records were in use.
    #[must_use]
    pub const fn overflowed(self) -> bool {
        self.0 & 1 != 0
    }

    /// Returns the index of the oldest pending record; `None` if none is pending.
    #[must_use]
    pub const fn first(self) -> Option<u32> {
        if self.0 & 2 != 0 { Some(self.0 >> 8 & 0xff) } else { None }
    }

    /// Returns the record index in the register, whether or not a record is pending.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    /// Returns three errors of the invalidation queue: a bad descriptor, a bad answer from a device, a missing
    /// answer from a device.
    #[must_use]
    pub const fn queue(self) -> (bool, bool, bool) {
        (self.0 & 1 << 4 != 0, self.0 & 1 << 5 != 0, self.0 & 1 << 6 != 0)
    }
}

/// A fault record.
///
/// # Examples
///
/// ```
/// use pmem_iommu::RequesterId;
/// use pmem_iommu::vtd::Fault;
///
/// // The NIC at 3b:00.1 reads an address that has no mapping.
/// let fault = Fault::decode([0x8765_4000, 0xc000_0006_0000_3b01]).ok_or("empty record")?;
/// assert_eq!((fault.source, fault.address), (RequesterId::new(0x3b, 0, 1), 0x8765_4000));
/// assert!(fault.read);
/// assert_eq!(fault.reason.to_string(), "0x06: nothing is mapped there, or it may not be read");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// The requester.
    pub source: RequesterId,
    /// The reason why the unit refused the request.
    pub reason: Reason,
    /// Whether the request was a read.
    pub read: bool,
    /// The address type: 0 for untranslated, 1 for a translation request, 2 for translated.
    pub address_type: u8,
    /// The address, without its low 12 bits. For an interrupt, see [`Fault::index`] instead.
    pub address: u64,
    /// The PASID; `None` if the request had none.
    pub pasid: Option<u32>,
}

impl Fault {
    /// Encodes the record as two words, lower first.
    #[must_use]
    pub const fn encode(self) -> [u64; 2] {
        let pasid = match self.pasid {
            Some(pasid) => 1 << 31 | (pasid as u64 & 0xf_ffff) << 40,
            None => 0,
        };
        let high = self.source.0 as u64
            | (self.reason.0 as u64) << 32
            | (self.address_type as u64 & 3) << 60
            | (self.read as u64) << 62
            | 1 << 63
            | pasid;
        [self.address & !0xfff, high]
    }

    /// Decodes a record. Returns `None` if it is empty.
    #[must_use]
    pub const fn decode([low, high]: [u64; 2]) -> Option<Self> {
        if !bit(high, 63) {
            return None;
        }
        Some(Self {
            source: RequesterId(bits(high, 15, 0) as u16),
            reason: Reason(bits(high, 39, 32) as u8),
            read: bit(high, 62),
            address_type: bits(high, 61, 60) as u8,
            address: low & !0xfff,
            pasid: if bit(high, 31) { Some(bits(high, 59, 40) as u32) } else { None },
        })
    }

    /// Returns the index of the interrupt remapping entry; `None` if the fault is not about an interrupt.
    #[must_use]
    pub const fn index(self) -> Option<u16> {
        if self.reason.is_of_interrupts() { Some(bits(self.address, 63, 48) as u16) } else { None }
    }
}

/// The reason why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reason(pub u8);

/// The subject of a [`Reason`], which tells you where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasonKind {
    /// The bus has no entry in the root table. The address does not matter.
    Bus,
    /// The requester has no usable context entry. The address does not matter.
    Requester,
    /// The address has more bits than the unit translates.
    Width,
    /// The address is unmapped, or its mapping does not permit the access. The unit does not tell which.
    Address,
    /// A table or an entry of it is wrong, independent of the address.
    Table,
    /// An interrupt, not an access to memory.
    Interrupt,
    /// This kind of request is not allowed.
    Request,
    /// An unknown reason.
    Unknown,
}

impl Reason {
    /// Returns whether the reason is about an interrupt, not an access to memory.
    #[must_use]
    pub const fn is_of_interrupts(self) -> bool {
        0x20 <= self.0 && self.0 <= 0x2f
    }

    /// Returns whether only units in scalable mode report this reason.
    #[must_use]
    pub const fn is_scalable(self) -> bool {
        self.0 >= 0x30
    }

    /// Returns the subject of the reason.
    #[must_use]
    pub const fn about(self) -> ReasonKind {
        match self.0 {
            1 | 0x38..=0x3a => ReasonKind::Bus,
            2 | 3 | 0x40..=0x4f | 0x50..=0x5d => ReasonKind::Requester,
            4 | 0x80 | 0x83 | 0x84 => ReasonKind::Width,
            5 | 6 | 0x71 | 0x79 | 0x85 | 0x86 => ReasonKind::Address,
            7..=0xc | 0x30..=0x32 | 0x70 | 0x72..=0x78 | 0x7a..=0x7c | 0x90 => ReasonKind::Table,
            0x20..=0x2f | 0x87 => ReasonKind::Interrupt,
            0xd => ReasonKind::Request,
            _ => ReasonKind::Unknown,
        }
    }

    /// Describes the reason in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self.0 {
            1 => "the bus has no entry in the root table",
            2 => "the requester has no context entry",
            3 => "the requester's context entry is invalid",
            4 => "the address is beyond the width that the unit translates",
            5 => "nothing is mapped there, or it may not be written",
            6 => "nothing is mapped there, or it may not be read",
            7 => "a table on the way could not be read",
            8 => "the root table could not be read",
            9 => "the context table could not be read",
            0xa => "a reserved bit is set in the root entry",
            0xb => "a reserved bit is set in the context entry",
            0xc => "a reserved bit is set in a page table's entry",
            0xd => "the device may not ask for translations",
            0x20 => "a reserved field is set in the interrupt request",
            0x21 => "the interrupt's index is beyond the table",
            0x22 => "the interrupt has no entry",
            0x23 => "the table of interrupts could not be read",
            0x24 => "a reserved field is set in the interrupt's entry",
            0x25 => "a compatibility-format interrupt, which the unit blocks",
            0x26 => "the interrupt is another requester's",
            0x30..=0x32 => "the root table's address or mode is wrong",
            0x38..=0x3a => "the bus has no valid entry in the root table",
            0x40..=0x4f => "the requester has no valid context entry",
            0x50..=0x52 => "the PASID has no valid entry in the directory",
            0x58..=0x5d => "the PASID has no valid entry, or may not do that",
            0x70 => "a table of the first level could not be read",
            0x71 => "nothing is mapped in the first level",
            0x72 => "a reserved bit is set in an entry of the first level",
            0x73..=0x77 => "a table of the first level could not be translated",
            0x78 => "a table of the second level could not be read",
            0x79 => "nothing is mapped in the second level, or not for this",
            0x7a..=0x7c => "an entry of the second level is wrong",
            0x80 => "the address is not canonical",
            0x83 | 0x84 => "the address is beyond the width that is translated",
            0x85 => "nothing may be written there",
            0x86 => "nothing may be read there",
            0x87 => "the address is in the interrupt range",
            0x90 => "an accessed or dirty bit could not be set",
            _ => "an unknown reason",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}: {}", self.0, self.text())
    }
}
