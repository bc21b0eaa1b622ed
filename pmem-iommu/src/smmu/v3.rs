//! Event records of an SMMU of version 3 (Arm IHI 0070, 7.3), 32 bytes each.

use crate::bits::{bit, bits};

/// An event record as four 64-bit words, lowest first.
///
/// # Examples
///
/// ```
/// use pmem_iommu::smmu::v3::{Class, Event};
///
/// // A write of stream 0x180 to an address without a mapping.
/// let event = Event([0x180_0000_0010, 0x201_0000_0000, 0xffff_e040, 0]);
/// assert_eq!((event.name(), event.class()), ("F_TRANSLATION", Class::Input));
/// assert_eq!((event.stream(), event.address()), (0x180, 0xffff_e040));
/// assert!(!event.is_read());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event(pub [u64; 4]);

/// The stage of processing at which an access was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// While fetching a context descriptor.
    Context,
    /// While walking a translation table.
    Table,
    /// While translating the input address.
    Input,
    /// A reserved value.
    Reserved,
}

impl Event {
    /// Returns the number of the event.
    #[must_use]
    pub const fn id(self) -> u8 {
        self.0[0] as u8
    }

    /// Returns the stream that made the access.
    #[must_use]
    pub const fn stream(self) -> u32 {
        bits(self.0[0], 63, 32) as u32
    }

    /// Returns the substream (PASID); `None` if the record has none.
    #[must_use]
    pub const fn substream(self) -> Option<u32> {
        if bit(self.0[0], 11) { Some(bits(self.0[0], 31, 12) as u32) } else { None }
    }

    /// Returns whether the event has an address. Events 2 to 4 and 8 to 10 concern the stream and its descriptors
    /// instead.
    #[must_use]
    pub const fn has_address(self) -> bool {
        matches!(self.id(), 0x01 | 0x07 | 0x0b | 0x10..=0x13 | 0x20 | 0x24)
    }

    /// Returns the input address.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0[2]
    }

    /// Returns the intermediate physical address, page-aligned. Many SMMUs repeat the input address here.
    #[must_use]
    pub const fn intermediate(self) -> u64 {
        self.0[3] & 0xf_ffff_ffff_f000
    }

    /// Returns whether the access was a read.
    #[must_use]
    pub const fn is_read(self) -> bool {
        bit(self.0[1], 35)
    }

    /// Returns whether the access was privileged.
    #[must_use]
    pub const fn is_privileged(self) -> bool {
        bit(self.0[1], 33)
    }

    /// Returns whether the access fetched an instruction.
    #[must_use]
    pub const fn is_instruction(self) -> bool {
        bit(self.0[1], 34)
    }

    /// Returns whether stage 2 refused the access.
    #[must_use]
    pub const fn is_stage_2(self) -> bool {
        bit(self.0[1], 39)
    }

    /// Returns whether the access is stalled: the device waits for an answer.
    #[must_use]
    pub const fn is_stalled(self) -> bool {
        bit(self.0[1], 31)
    }

    /// Returns the stage of processing at which the access was refused.
    #[must_use]
    pub const fn class(self) -> Class {
        match bits(self.0[1], 41, 40) {
            0 => Class::Context,
            1 => Class::Table,
            2 => Class::Input,
            _ => Class::Reserved,
        }
    }

    /// Returns the specification's name for the event.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.id() {
            0x01 => "F_UUT",
            0x02 => "C_BAD_STREAMID",
            0x03 => "F_STE_FETCH",
            0x04 => "C_BAD_STE",
            0x05 => "F_BAD_ATS_TREQ",
            0x06 => "F_STREAM_DISABLED",
            0x07 => "F_TRANSL_FORBIDDEN",
            0x08 => "C_BAD_SUBSTREAMID",
            0x09 => "F_CD_FETCH",
            0x0a => "C_BAD_CD",
            0x0b => "F_WALK_EABT",
            0x10 => "F_TRANSLATION",
            0x11 => "F_ADDR_SIZE",
            0x12 => "F_ACCESS",
            0x13 => "F_PERMISSION",
            0x20 => "F_TLB_CONFLICT",
            0x21 => "F_CFG_CONFLICT",
            0x24 => "E_PAGE_REQUEST",
            _ => "an unknown event",
        }
    }

    /// Describes the event in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self.id() {
            0x01 => "a transaction that is not supported",
            0x02 => "the stream is not in the stream table",
            0x03 => "the stream's entry could not be read",
            0x04 => "the stream's entry is wrong",
            0x05 => "the device requested a translation, which it may not do",
            0x06 => "the stream may not make requests without a substream",
            0x07 => "the device sent a translated address, which it may not do",
            0x08 => "the substream is not in the context table",
            0x09 => "the context descriptor could not be read",
            0x0a => "the context descriptor is wrong",
            0x0b => "a table on the way could not be read",
            0x10 => "nothing is mapped there",
            0x11 => "the address is beyond the width that is translated",
            0x12 => "the page's access flag is not set",
            0x13 => "the access is not permitted there",
            0x20 | 0x21 => "two cached entries conflict",
            0x24 => "the device asks for the page",
            _ => "the meaning is unknown",
        }
    }
}

/// The offset of `GITS_TRANSLATER` in its page of Arm's GICv3 ITS. Devices write interrupts there.
pub const TRANSLATER: u64 = 0x040;

/// Returns the requester ids that map to a stream, according to an entry of the device tree's `iommu-map` or of the
/// IORT. The entry applies `mask` to an id, and then maps the `count` ids from `first` on to the streams from `out`
/// on.
#[must_use]
pub fn requesters(stream: u32, first: u32, count: u32, out: u32, mask: u32) -> alloc::vec::Vec<u16> {
    let leads = |id: u32| {
        let masked = id & mask;
        masked >= first && masked - first < count && masked - first + out == stream
    };
    (0..=0xffffu32).filter(|id| leads(*id)).map(|id| id as u16).collect()
}
