//! Faults of a context bank in an SMMU of version 1 or 2 (Arm IHI 0062, 16.5): `FSR`, `FSYNR0`, `CBFRSYNRA`.

use crate::bits::{bit, bits};

/// The registers that describe a fault.
///
/// # Examples
///
/// ```
/// use pmem_iommu::smmu::v2::Fault;
///
/// let fault = Fault { status: 0x402, syndrome: 0x7_0011, stream: 0x900 };
/// assert!(fault.is_translation() && fault.is_write());
/// assert_eq!((fault.bank(), fault.stream_id()), (7, 0x900));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// `FSR`: the kind of fault.
    pub status: u32,
    /// `FSYNR0`: the access that faulted.
    pub syndrome: u32,
    /// `CBFRSYNRA`: the stream that made the access.
    pub stream: u32,
}

impl Fault {
    /// Returns whether the address has no mapping.
    #[must_use]
    pub const fn is_translation(self) -> bool {
        self.status & 1 << 1 != 0
    }

    /// Describes the fault in words. If several bits of `FSR` are set, the lowest one that has a text decides.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self.status as u64 {
            status if bit(status, 1) => "nothing is mapped there",
            status if bit(status, 2) => "the page's access flag is not set",
            status if bit(status, 3) => "the access is not permitted there",
            status if bit(status, 4) => "a table on the way could not be read",
            status if bit(status, 5) || bit(status, 6) => "two cached entries conflict",
            status if bit(status, 8) => "the request is not supported",
            _ => "the meaning is unknown",
        }
    }

    /// Returns whether more faults occurred before this one was handled.
    #[must_use]
    pub const fn is_one_of_many(self) -> bool {
        bit(self.status as u64, 31)
    }

    /// Returns whether the access was a write.
    #[must_use]
    pub const fn is_write(self) -> bool {
        bit(self.syndrome as u64, 4)
    }

    /// Returns the number of the context bank.
    #[must_use]
    pub const fn bank(self) -> u8 {
        bits(self.syndrome as u64, 23, 16) as u8
    }

    /// Returns the id of the stream.
    #[must_use]
    pub const fn stream_id(self) -> u16 {
        self.stream as u16
    }
}
