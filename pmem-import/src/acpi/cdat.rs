//! CDAT: what a CXL device says of its own memory (Coherent Device Attribute Table 1.03).

use super::hmat::Quantity;
use super::table::{AcpiTable, Form, TableFault, number};

/// A part of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its number in the table.
    pub handle: u8,
    /// The first address, in the device's own.
    pub base: u64,
    /// How many bytes.
    pub length: u64,
    /// It keeps what it has without power.
    pub is_persistent: bool,
    /// How fast it is: in picoseconds or MB/s, from the device's port on.
    pub values: [Option<AreaValue>; 6],
}

/// How fast a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AreaValue {
    /// What is measured.
    pub quantity: Quantity,
    /// In picoseconds or MB/s.
    pub value: u64,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cdat {
    /// Parts.
    pub areas: Vec<Area>,
}

impl Cdat {
    /// Reads one, of a device's own (it has no signature); `None` if it is too short to be one. What is wrong is returned beside it.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, Vec<TableFault>)> {
        let length = usize::try_from(number(bytes, 0, 4)?).ok().filter(|length| *length >= 16)?;
        let revision = *bytes.get(4)?;
        let there = bytes.get(..length).unwrap_or(bytes);
        let mut table = AcpiTable { signature: *b"CDAT", revision, at: 0, bytes: there, faults: Vec::new() };
        if there.len() < length {
            table.fault(0, format!("it is cut: {} of {length} bytes are there", there.len()));
        } else if there.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
            table.fault(5, "its bytes do not add up to 0: the checksum is wrong");
        }
        let mut out = Self::default();
        let parts = table.structures(16, Form::Word);
        for (_, part) in parts.iter().filter(|(kind, _)| *kind == 0) {
            if part.has(24, &mut table) {
                out.areas.push(Area {
                    handle: part.number(4, 1) as u8,
                    base: part.number(8, 8),
                    length: part.number(16, 8),
                    is_persistent: part.number(5, 1) & 4 != 0,
                    values: [None; 6],
                });
            }
        }
        for (_, part) in parts.iter().filter(|(kind, _)| *kind == 1) {
            // Of memory itself, not of a cache.
            if !part.has(24, &mut table) || part.number(5, 1) & 0xf != 0 {
                continue;
            }
            let (handle, entry) = (part.number(4, 1) as u8, part.number(16, 2));
            let value = Some(entry).filter(|entry| *entry != 0 && *entry != 0xffff);
            let value = value.and_then(|entry| entry.checked_mul(part.number(8, 8)));
            let value = Quantity::of(part.number(6, 1)).zip(value);
            for area in out.areas.iter_mut().filter(|area| area.handle == handle) {
                if let Some((quantity, value)) = value {
                    area.values[quantity as usize] = Some(AreaValue { quantity, value });
                }
            }
        }
        Some((out, table.faults))
    }
}
