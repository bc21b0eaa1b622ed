//! Events of an SMMU of version 3 (Arm IHI 0070, 7.3), of 32 bytes.

use crate::bits::{bit, bits};

/// An event: four words, the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event(pub [u64; 4]);

/// At what an access was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// At a context descriptor.
    Context,
    /// At a table of the translation.
    Table,
    /// At the address that came in.
    Input,
    /// Reserved.
    Reserved,
}

impl Event {
    /// What it is.
    #[must_use]
    pub const fn id(self) -> u8 {
        self.0[0] as u8
    }

    /// Which stream asked.
    #[must_use]
    pub const fn stream(self) -> u32 {
        bits(self.0[0], 63, 32) as u32
    }

    /// Which of the stream's parts (PASID), if that is said.
    #[must_use]
    pub const fn substream(self) -> Option<u32> {
        if bit(self.0[0], 11) { Some(bits(self.0[0], 31, 12) as u32) } else { None }
    }

    /// Whether the event has an address: 2 to 4 and 8 to 10 tell of the stream and its descriptors.
    #[must_use]
    pub const fn has_address(self) -> bool {
        matches!(self.id(), 0x01 | 0x07 | 0x0b | 0x10..=0x13 | 0x20 | 0x24)
    }

    /// The address that came in.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0[2]
    }

    /// The intermediate address; many units repeat the address here.
    #[must_use]
    pub const fn intermediate(self) -> u64 {
        self.0[3] & 0xf_ffff_ffff_f000
    }

    /// It was a read.
    #[must_use]
    pub const fn is_read(self) -> bool {
        bit(self.0[1], 35)
    }

    /// It was privileged.
    #[must_use]
    pub const fn is_privileged(self) -> bool {
        bit(self.0[1], 33)
    }

    /// An instruction was fetched.
    #[must_use]
    pub const fn is_instruction(self) -> bool {
        bit(self.0[1], 34)
    }

    /// It was refused by the second stage.
    #[must_use]
    pub const fn is_stage_2(self) -> bool {
        bit(self.0[1], 39)
    }

    /// The device waits for an answer.
    #[must_use]
    pub const fn is_stalled(self) -> bool {
        bit(self.0[1], 31)
    }

    /// At what it was refused.
    #[must_use]
    pub const fn class(self) -> Class {
        match bits(self.0[1], 41, 40) {
            0 => Class::Context,
            1 => Class::Table,
            2 => Class::Input,
            _ => Class::Reserved,
        }
    }

    /// What it is called.
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
            _ => "an event that is not known here",
        }
    }

    /// What that means, in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self.id() {
            0x01 => "a transaction that is not supported",
            0x02 => "the stream is not in the stream table",
            0x03 => "the stream's entry could not be read",
            0x04 => "the stream's entry is wrong",
            0x05 => "the device asked for a translation that it may not ask for",
            0x06 => "the stream may do nothing without a substream",
            0x07 => "the device came with an address that was translated before, and may not",
            0x08 => "the substream is not in the context table",
            0x09 => "the context descriptor could not be read",
            0x0a => "the context descriptor is wrong",
            0x0b => "a table on the way could not be read",
            0x10 => "nothing is mapped there",
            0x11 => "the address is beyond the width that is translated",
            0x12 => "the page's access flag is not set",
            0x13 => "that is not permitted there",
            0x20 | 0x21 => "two remembered entries contradict each other",
            0x24 => "the device asks for the page",
            _ => "what it means is not known here",
        }
    }
}

/// The offset, in a page of an interrupt controller of Arm's (GICv3's ITS, `GITS_TRANSLATER`), that interrupts are written to.
pub const TRANSLATER: u64 = 0x040;

/// Which requester ids lead to a stream, by an entry of the device tree's `iommu-map` or of the IORT: `first` of `count` ids lead to `out` and
/// what follows, after `mask` was laid over them.
#[must_use]
pub fn requesters(stream: u32, first: u32, count: u32, out: u32, mask: u32) -> alloc::vec::Vec<u16> {
    let leads = |id: u32| {
        let masked = id & mask;
        masked >= first && masked - first < count && masked - first + out == stream
    };
    (0..=0xffffu32).filter(|id| leads(*id)).map(|id| id as u16).collect()
}
