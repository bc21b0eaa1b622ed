//! What is to be where.

use super::register::{Attributes, Register, Target, Value};
use core::fmt;
use core::ops::RangeInclusive;
use rangemap::RangeInclusiveMap;

/// The last address that registers reach: 1 GiB.
pub(super) const LAST: u32 = (1 << 30) - 1;

/// Which value each address has. Without registers SDRAM is where it begins, at 0, and beyond it is the PCI bus.
#[derive(Clone, Debug)]
pub struct Map {
    values: RangeInclusiveMap<u32, Value>,
    ports: RangeInclusiveMap<u32, Value>,
    sdram: u32,
}

/// Why an address cannot have a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// It ends before it begins, or beyond what registers reach.
    Range(u32, u32),
    /// It is no whole number of pages of 4 KiB.
    Pages(u32, u32),
    /// Attributes mean nothing there.
    Attributes(Target),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(first, last) => write!(f, "[{first:#x}, {last:#x}] is no range that registers reach"),
            Self::Pages(first, last) => {
                write!(f, "[{first:#x}, {last:#x}] is no whole number of pages of 4 KiB")
            }
            Self::Attributes(target) => write!(f, "{target} has no attributes: only memory has"),
        }
    }
}

impl core::error::Error for MapError {}

impl Map {
    /// One without registers, of a machine with so many bytes of SDRAM.
    #[must_use]
    pub fn new(sdram: u32) -> Self {
        Self { values: RangeInclusiveMap::new(), ports: RangeInclusiveMap::new(), sdram: sdram.min(LAST + 1) }
    }

    /// What registers say, the first that has an address.
    #[must_use]
    pub fn of(sdram: u32, registers: &[Option<Register>]) -> Self {
        let mut map = Self::new(sdram);
        for register in registers.iter().rev().flatten() {
            let values = if register.is_memory() { &mut map.values } else { &mut map.ports };
            values.insert(register.first..=register.last, register.value);
        }
        map
    }

    /// How much SDRAM there is.
    #[must_use]
    pub const fn sdram(&self) -> u32 {
        self.sdram
    }

    /// Says what is to be somewhere, over what was said before.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn set(&mut self, first: u32, last: u32, value: Value) -> Result<(), MapError> {
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

    /// What is where no register is.
    pub(super) fn default_at(&self, at: u32) -> Value {
        let target = if at < self.sdram { Target::Sdram } else { Target::Pci };
        Value { target, attributes: Attributes::empty() }
    }

    /// What is at an address; `None` beyond what registers reach.
    #[must_use]
    pub fn at(&self, at: u32) -> Option<Value> {
        (at <= LAST).then(|| self.values.get(&at).copied().unwrap_or_else(|| self.default_at(at)))
    }

    /// What is at a port, if registers say so.
    #[must_use]
    pub fn port(&self, at: u32) -> Option<Value> {
        self.ports.get(&at).copied()
    }

    /// All of memory in parts, in order; neighbours differ.
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

    /// Whether every address and port has the same in another, however it was said.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.parts().eq(other.parts()) && self.port_parts().eq(other.port_parts())
    }

    /// All ports that are said, in order.
    pub fn port_parts(&self) -> impl Iterator<Item = (RangeInclusive<u32>, Value)> + '_ {
        self.ports.iter().map(|(range, value)| (range.clone(), *value))
    }
}
