//! The map that registers make: which addresses go where.

use super::register::{Attributes, Register, Target, Value};
use core::fmt;
use core::ops::RangeInclusive;
use rangemap::RangeInclusiveMap;

/// The last address that registers can cover, just below 1 GiB.
pub(super) const LAST: u32 = (1 << 30) - 1;

/// A map of the processor's memory addresses and I/O ports to their values. Where no register applies, SDRAM begins
/// at 0 and the PCI bus follows it.
///
/// # Examples
///
/// ```
/// use pmem_drivers::par::{Attributes, Map, Target, Value};
///
/// // 16 MiB of SDRAM, and a boot flash below 1 GiB that nobody may write.
/// let mut map = Map::new(16 << 20);
/// let flash = Value::memory(Target::BootCs, Attributes::NO_WRITE);
/// map.set(0x3fe0_0000, 0x3fff_ffff, flash)?;
/// assert_eq!(map.at(0x3fe0_0000), Some(flash));
/// assert_eq!(map.at(0x0100_0000).map(|value| value.target), Some(Target::Pci));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Map {
    values: RangeInclusiveMap<u32, Value>,
    ports: RangeInclusiveMap<u32, Value>,
    sdram: u32,
}

/// The reason why a map cannot give a range a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The range (first, last) ends before it begins, or beyond what registers can cover.
    Range(u32, u32),
    /// The range (first, last) does not consist of whole 4 KiB pages.
    Pages(u32, u32),
    /// The target has no attributes.
    Attributes(Target),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |last: &u32| u64::from(*last) + 1;
        match self {
            Self::Range(first, last) => {
                write!(f, "{first:#x}..{:#x} is outside the addresses that registers can cover", end(last))
            }
            Self::Pages(first, last) => {
                write!(f, "{first:#x}..{:#x} does not consist of whole 4 KiB pages", end(last))
            }
            Self::Attributes(target) => {
                write!(f, "{target} cannot have attributes: only SDRAM, ROM and flash can")
            }
        }
    }
}

impl core::error::Error for MapError {}

impl Map {
    /// Creates the map without registers, for a machine with `sdram` bytes of SDRAM.
    #[must_use]
    pub fn new(sdram: u32) -> Self {
        Self { values: RangeInclusiveMap::new(), ports: RangeInclusiveMap::new(), sdram: sdram.min(LAST + 1) }
    }

    /// Creates the map that registers make. Where several cover an address, the first one counts.
    #[must_use]
    pub fn of(sdram: u32, registers: &[Option<Register>]) -> Self {
        let mut map = Self::new(sdram);
        for register in registers.iter().rev().flatten() {
            let values = if register.is_memory() { &mut map.values } else { &mut map.ports };
            values.insert(register.first..=register.last, register.value);
        }
        map
    }

    /// Returns the size of SDRAM in bytes.
    #[must_use]
    pub const fn sdram(&self) -> u32 {
        self.sdram
    }

    /// Sets the value of a range, both ends inclusive. It replaces earlier values there.
    ///
    /// # Errors
    /// Returns a [`MapError`] if registers cannot cover the range, or cannot forbid accesses to the target.
    pub fn set(&mut self, first: u32, last: u32, value: Value) -> Result<(), MapError> {
        if !value.attributes.is_empty() && !value.target.has_attributes() {
            return Err(MapError::Attributes(value.target));
        }
        if let Target::GpIo(_) = value.target {
            if last < first || last > 0xffff {
                return Err(MapError::Range(first, last));
            }
            self.ports.insert(first..=last, value);
            return Ok(());
        }
        if last < first || last > LAST {
            return Err(MapError::Range(first, last));
        }
        if first & 0xfff != 0 || last & 0xfff != 0xfff {
            return Err(MapError::Pages(first, last));
        }
        self.values.insert(first..=last, value);
        Ok(())
    }

    /// Returns the value of an address that no register covers.
    pub(super) fn default_at(&self, at: u32) -> Value {
        let target = if at < self.sdram { Target::Sdram } else { Target::Pci };
        Value { target, attributes: Attributes::empty() }
    }

    /// Returns the value of an address; `None` beyond what registers can cover.
    #[must_use]
    pub fn at(&self, at: u32) -> Option<Value> {
        (at <= LAST).then(|| self.values.get(&at).copied().unwrap_or_else(|| self.default_at(at)))
    }

    /// Returns the value of a port; `None` if no register covers it.
    #[must_use]
    pub fn port(&self, at: u32) -> Option<Value> {
        self.ports.get(&at).copied()
    }

    /// Returns all memory addresses as ranges in ascending order, with their values. Adjacent ranges differ.
    pub fn parts(&self) -> impl Iterator<Item = (RangeInclusive<u32>, Value)> + '_ {
        let mut all: RangeInclusiveMap<u32, Value> = RangeInclusiveMap::new();
        if self.sdram > 0 {
            all.insert(0..=self.sdram - 1, self.default_at(0));
        }
        if self.sdram <= LAST {
            all.insert(self.sdram..=LAST, self.default_at(LAST));
        }
        self.values.iter().for_each(|(range, value)| all.insert(range.clone(), *value));
        all.into_iter()
    }

    /// Returns whether another map has the same value for every address and every port, however it was built.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.parts().eq(other.parts()) && self.port_parts().eq(other.port_parts())
    }

    /// Returns the ranges of ports that have a value, in ascending order.
    pub fn port_parts(&self) -> impl Iterator<Item = (RangeInclusive<u32>, Value)> + '_ {
        self.ports.iter().map(|(range, value)| (range.clone(), *value))
    }
}
