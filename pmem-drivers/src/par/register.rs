//! A register, encoded and decoded.

use core::fmt;

/// Where a register routes accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// SDRAM.
    Sdram,
    /// The boot ROM or boot flash (chip select `BOOTCS`).
    BootCs,
    /// ROM or flash 1.
    RomCs1,
    /// ROM or flash 2.
    RomCs2,
    /// The PCI bus.
    Pci,
    /// Memory on the general-purpose bus, with its chip select, 0 to 7.
    GpMemory(u8),
    /// I/O ports on the general-purpose bus, with their chip select, 0 to 7.
    GpIo(u8),
}

impl Target {
    /// Parses a target as [`fmt::Display`] writes it; `None` for any other text.
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

    /// Returns whether the target has attributes: SDRAM, ROM and flash do, buses do not.
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
    /// The accesses that a register forbids (bits 28:26).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Attributes: u8 {
        /// Writes are forbidden.
        const NO_WRITE = 1;
        /// Caching is forbidden.
        const NO_CACHE = 2;
        /// Instruction fetches are forbidden.
        const NO_EXECUTE = 4;
    }
}

impl fmt::Display for Attributes {
    /// Writes the names, such as `no-write,no-cache`, or nothing if all accesses are allowed.
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

/// A target, with the accesses that are forbidden there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// The target.
    pub target: Target,
    /// The forbidden accesses; empty for targets that have no attributes.
    pub attributes: Attributes,
}

impl Value {
    /// Creates a value. Drops the attributes if the target has none.
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

/// An enabled register.
///
/// # Examples
///
/// ```
/// use pmem_drivers::par::{Attributes, Register, Target, Value};
///
/// // The first 128 MiB are SDRAM, as U-Boot sets it up.
/// let value = Value::memory(Target::Sdram, Attributes::empty());
/// let register = Register { first: 0, last: (128 << 20) - 1, value };
/// assert_eq!(register.encode(), Some(0xe3ff_c000));
/// assert_eq!(Register::decode(0xe3ff_c000), Some(register));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register {
    /// The first address or port.
    pub first: u32,
    /// The last address or port, inclusive.
    pub last: u32,
    /// The value of the range.
    pub value: Value,
}

/// The largest number of 4 KiB pages, of 64 KiB pages, and of ports that a register can cover.
pub(super) const SMALL: u32 = 128;
pub(super) const LARGE: u32 = 2048;
const PORTS: u32 = 512;

impl Register {
    /// Encodes the register in its 32 bits. Returns `None` if no register can hold this: at most 128 pages of 4 KiB
    /// or 2048 pages of 64 KiB, below 1 GiB; or at most 512 ports.
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

    /// Decodes a register. Returns `None` if it is disabled. A range that extends beyond 1 GiB is cut there.
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

    /// Returns whether the register covers memory, rather than ports.
    #[must_use]
    pub const fn is_memory(self) -> bool {
        !matches!(self.value.target, Target::GpIo(_))
    }
}
