//! What a unit says of faults: the status register (11.4.9), records (11.4.14), reasons (chapter 7.1.3).

use crate::RequesterId;
use crate::bits::{bit, bits};
use core::fmt;

/// The fault status register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

impl Status {
    /// Faults were lost, for all records were taken.
    #[must_use]
    pub const fn overflowed(self) -> bool {
        self.0 & 1 != 0
    }

    /// The first record that waits, if one does.
    #[must_use]
    pub const fn first(self) -> Option<u32> {
        if self.0 & 2 != 0 { Some(self.0 >> 8 & 0xff) } else { None }
    }

    /// The index that it holds, whether a record waits there or not.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    /// The queue of invalidations: a descriptor is wrong, a device's answer is, or none came in time.
    #[must_use]
    pub const fn queue(self) -> (bool, bool, bool) {
        (self.0 & 1 << 4 != 0, self.0 & 1 << 5 != 0, self.0 & 1 << 6 != 0)
    }
}

/// A fault's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Who asked.
    pub source: RequesterId,
    /// Why it was refused.
    pub reason: Reason,
    /// It was a read.
    pub read: bool,
    /// The address type: 0 untranslated, 1 a translation request, 2 translated.
    pub address_type: u8,
    /// The address, of which the last 12 bits are not kept; of an interrupt see [`Fault::index`].
    pub address: u64,
    /// The PASID, if the request had one.
    pub pasid: Option<u32>,
}

impl Fault {
    /// The two words of the record, the lower first.
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

    /// Reads it; `None` if the record is empty.
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

    /// Which entry of the table of interrupts was asked for, if the reason is one of interrupts.
    #[must_use]
    pub const fn index(self) -> Option<u16> {
        if self.reason.is_of_interrupts() { Some(bits(self.address, 63, 48) as u16) } else { None }
    }
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reason(pub u8);

/// What a reason is about: what is to be looked at, and what not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasonKind {
    /// The bus has no entry in the root table: the address says nothing.
    Bus,
    /// The requester has no entry, or none that can be used: the address says nothing.
    Requester,
    /// The address has more bits than are translated.
    Width,
    /// Nothing is mapped there, or not for this access: which of the two is not said.
    Address,
    /// A table or an entry in it is wrong, whatever the address is.
    Table,
    /// An interrupt: no memory is meant.
    Interrupt,
    /// The kind of request.
    Request,
    /// This does not know.
    Unknown,
}

impl Reason {
    /// Whether it is of an interrupt, and not of an access to memory.
    #[must_use]
    pub const fn is_of_interrupts(self) -> bool {
        0x20 <= self.0 && self.0 <= 0x2f
    }

    /// Whether only units in scalable mode give it.
    #[must_use]
    pub const fn is_scalable(self) -> bool {
        self.0 >= 0x30
    }

    /// What it is about.
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

    /// What it says, in words.
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
            0x25 => "an interrupt of the old format, which is not let through",
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
            0x87 => "the address is one of interrupts",
            0x90 => "an accessed or dirty bit could not be set",
            _ => "a reason that is not known here",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}: {}", self.0, self.text())
    }
}
