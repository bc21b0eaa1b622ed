//! Class codes.

/// A class code of 24 bits: base class, subclass, programming interface (PCI Code and ID Assignment 1.11,
/// section 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(pub u32);

impl Class {
    /// Returns the base class and subclass without the programming interface: 0x0604 for a PCI bridge.
    #[must_use]
    pub const fn subclass(self) -> u16 {
        (self.0 >> 8) as u16
    }

    /// Returns `true` for a PCI-to-PCI bridge (base class 06, subclass 04).
    #[must_use]
    pub const fn is_bridge(self) -> bool {
        self.subclass() == 0x0604
    }

    /// Returns `true` for a PCI bridge with subtractive decode: it forwards what nothing else on its bus claims
    /// (programming interface 01).
    #[must_use]
    pub const fn is_subtractive(self) -> bool {
        self.0 == 0x06_0401
    }

    /// Returns `true` for a display controller (base class 03).
    #[must_use]
    pub const fn is_display(self) -> bool {
        self.0 >> 16 == 3
    }

    /// Returns the class in a word or two, such as `NVMe`; `device` if it is not known.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.subclass() {
            0x0106 => "SATA",
            0x0108 => "NVMe",
            0x0100..=0x0105 | 0x0107 | 0x0109..=0x01ff => "storage",
            0x0200..=0x02ff => "network",
            0x0300..=0x03ff => "display",
            0x0403 => "audio",
            0x0400..=0x0402 | 0x0404..=0x04ff => "multimedia",
            0x0502 => "CXL memory",
            0x0500..=0x0501 | 0x0503..=0x05ff => "memory",
            0x0600 => "host bridge",
            0x0601 => "ISA bridge",
            0x0604 => "PCI bridge",
            0x0607 => "CardBus bridge",
            0x0602..=0x0603 | 0x0605..=0x0606 | 0x0608..=0x06ff => "bridge",
            0x0700..=0x07ff => "communication",
            0x0800..=0x08ff => "system",
            0x0c03 => "USB",
            0x0c05 => "SMBus",
            0x0c00..=0x0c02 | 0x0c04 | 0x0c06..=0x0cff => "serial bus",
            0x0b00..=0x0bff => "processor",
            0x1200..=0x12ff => "accelerator",
            _ => "device",
        }
    }
}
