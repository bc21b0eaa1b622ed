//! Who asks: the 16 bits of bus, device and function that come with a request.

use core::fmt;

/// A requester id (PCI Express 6.0, 2.2.4.2): bus, device and function, of which devices with more than eight functions make bus and function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequesterId(pub u16);

impl RequesterId {
    /// Of its parts; what a device and a function have no bits for is left out.
    #[must_use]
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self((bus as u16) << 8 | (device as u16 & 31) << 3 | (function as u16 & 7))
    }

    /// The bus.
    #[must_use]
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The device.
    #[must_use]
    pub const fn device(self) -> u8 {
        (self.0 >> 3) as u8 & 31
    }

    /// The function.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.0 as u8 & 7
    }

    /// Device and function together.
    #[must_use]
    pub const fn devfn(self) -> u8 {
        self.0 as u8
    }
}

impl fmt::Display for RequesterId {
    /// `3b:00.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.function())
    }
}
