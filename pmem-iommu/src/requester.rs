//! Requester ids: the bus, device and function that every request carries.

use core::fmt;

/// A requester id (PCI Express 6.0, 2.2.4.2): 8 bits of bus, 5 of device and 3 of function. A device with more than
/// eight functions (ARI) uses the device bits for its function number too.
///
/// # Examples
///
/// ```
/// use pmem_iommu::RequesterId;
///
/// // The second function of the NIC in slot 0 of bus 0x3b.
/// let nic = RequesterId::new(0x3b, 0, 1);
/// assert_eq!((nic.0, nic.devfn()), (0x3b01, 1));
/// assert_eq!(nic.to_string(), "3b:00.1");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequesterId(pub u16);

impl RequesterId {
    /// Builds the id from its parts. Device keeps its low 5 bits, function its low 3; higher bits are dropped.
    #[must_use]
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self((bus as u16) << 8 | (device as u16 & 31) << 3 | (function as u16 & 7))
    }

    /// Returns the bus number.
    #[must_use]
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Returns the device number, 0 to 31.
    #[must_use]
    pub const fn device(self) -> u8 {
        (self.0 >> 3) as u8 & 31
    }

    /// Returns the function number, 0 to 7.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.0 as u8 & 7
    }

    /// Returns device and function as one byte, which is the function number of an ARI device.
    #[must_use]
    pub const fn devfn(self) -> u8 {
        self.0 as u8
    }
}

impl fmt::Display for RequesterId {
    /// Writes the id as `lspci` does: `3b:00.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.function())
    }
}
