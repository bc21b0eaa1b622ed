//! One register: its bits, and what they say.

use core::fmt;

/// Where accesses go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// SDRAM.
    Sdram,
    /// The ROM or flash that the processor boots from.
    BootCs,
    /// ROM or flash 1.
    RomCs1,
    /// ROM or flash 2.
    RomCs2,
    /// The PCI bus.
    Pci,
    /// Memory on the general-purpose bus, by a chip select, 0 to 7.
    GpMemory(u8),
    /// Ports on the general-purpose bus, by a chip select.
    GpIo(u8),
}

impl Target {
    /// What [`fmt::Display`] says, read back.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let select = |text: &str| text.parse().ok().filter(|select| *select < 8);
        match name {
            "sdram" => Some(Self::Sdram),
            "bootcs" => Some(Self::BootCs),
            "romcs1" => Some(Self::RomCs1),
            "romcs2" => Some(Self::RomCs2),
            "pci" => Some(Self::Pci),
            name => match (name.strip_prefix("gpmem"), name.strip_prefix("gpio")) {
                (Some(text), _) => select(text).map(Self::GpMemory),
                (_, Some(text)) => select(text).map(Self::GpIo),
                _ => None,
            },
        }
    }

    /// Whether attributes mean something there: of memory, not of buses.
    #[must_use]
    pub const fn has_attributes(self) -> bool {
        matches!(self, Self::Sdram | Self::BootCs | Self::RomCs1 | Self::RomCs2)
    }

    const fn bits(self) -> (u32, u32) {
        match self {
            Self::GpIo(select) => (1, select as u32),
            Self::GpMemory(select) => (2, select as u32),
            Self::Pci => (3, 0),
            Self::BootCs => (4, 0),
            Self::RomCs1 => (5, 0),
            Self::RomCs2 => (6, 0),
            Self::Sdram => (7, 0),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sdram => f.write_str("sdram"),
            Self::BootCs => f.write_str("bootcs"),
            Self::RomCs1 => f.write_str("romcs1"),
            Self::RomCs2 => f.write_str("romcs2"),
            Self::Pci => f.write_str("pci"),
            Self::GpMemory(select) => write!(f, "gpmem{select}"),
            Self::GpIo(select) => write!(f, "gpio{select}"),
        }
    }
}

bitflags::bitflags! {
    /// What may not be done, bits 28:26.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Attributes: u8 {
        /// It is not written.
        const NO_WRITE = 1;
        /// It is not cached.
        const NO_CACHE = 2;
        /// No code is fetched from it.
        const NO_EXECUTE = 4;
    }
}

impl fmt::Display for Attributes {
    /// `no-write,no-cache`; nothing if all may be done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            [(Self::NO_WRITE, "no-write"), (Self::NO_CACHE, "no-cache"), (Self::NO_EXECUTE, "no-execute")];
        let mut separator = "";
        for (_, name) in names.into_iter().filter(|(bit, _)| self.contains(*bit)) {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
        Ok(())
    }
}

/// Where an address goes, and what may be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// Where.
    pub target: Target,
    /// What not; empty for targets that have none.
    pub attributes: Attributes,
}

impl Value {
    /// A target with what may not be done.
    #[must_use]
    pub const fn memory(target: Target, attributes: Attributes) -> Self {
        Self { target, attributes: if target.has_attributes() { attributes } else { Attributes::empty() } }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comma = if self.attributes.is_empty() { "" } else { " " };
        write!(f, "{}{comma}{}", self.target, self.attributes)
    }
}

/// A register that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register {
    /// The first address, or port.
    pub first: u32,
    /// The last.
    pub last: u32,
    /// What is there.
    pub value: Value,
}

/// The most pages of 4 KiB, and of 64 KiB; and the most ports.
pub(super) const SMALL: u32 = 128;
pub(super) const LARGE: u32 = 2048;
const PORTS: u32 = 512;

impl Register {
    /// The 32 bits; `None` if no register holds this: pages of 4 KiB, 128 at most, or of 64 KiB, 2048 at most, below 1 GiB; ports, 512 at most.
    #[must_use]
    pub const fn encode(self) -> Option<u32> {
        if self.last < self.first {
            return None;
        }
        let (first, last) = (self.first, self.last);
        let (target, select) = self.value.target.bits();
        let attributes =
            if self.value.target.has_attributes() { self.value.attributes.bits() as u32 } else { select };
        let head = target << 29 | (attributes & 7) << 26;
        if let Target::GpIo(_) = self.value.target {
            let more = last - first;
            return if last > 0xffff || more >= PORTS { None } else { Some(head | more << 16 | first) };
        }
        if last >= 1 << 30 || first & 0xfff != 0 || last & 0xfff != 0xfff {
            return None;
        }
        let more = (last >> 12) - (first >> 12);
        if more < SMALL {
            return Some(head | more << 18 | first >> 12);
        }
        let more = (last >> 16) - (first >> 16);
        if first & 0xffff == 0 && last & 0xffff == 0xffff && more < LARGE {
            return Some(head | 1 << 25 | more << 14 | first >> 16);
        }
        None
    }

    /// Reads them; `None` if it is off. What it says beyond 1 GiB is cut.
    #[must_use]
    pub const fn decode(bits: u32) -> Option<Self> {
        let attributes = Attributes::from_bits_truncate((bits >> 26) as u8 & 7);
        let select = (bits >> 26) as u8 & 7;
        let target = match bits >> 29 {
            0 => return None,
            1 => Target::GpIo(select),
            2 => Target::GpMemory(select),
            3 => Target::Pci,
            4 => Target::BootCs,
            5 => Target::RomCs1,
            6 => Target::RomCs2,
            _ => Target::Sdram,
        };
        let value = Value::memory(target, attributes);
        let (first, more, unit) = if bits >> 29 == 1 {
            (bits & 0xffff, bits >> 16 & 0x1ff, 0)
        } else if bits & 1 << 25 == 0 {
            ((bits & 0x3_ffff) << 12, bits >> 18 & 0x7f, 12)
        } else {
            ((bits & 0x3fff) << 16, bits >> 14 & 0x7ff, 16)
        };
        let last = first + ((more + 1) << unit) - 1;
        let end = if unit == 0 { 0xffff } else { (1 << 30) - 1 };
        Some(Self { first, last: if last < end { last } else { end }, value })
    }

    /// Whether it is about memory, not ports.
    #[must_use]
    pub const fn is_memory(self) -> bool {
        !matches!(self.value.target, Target::GpIo(_))
    }
}
