//! CDAT: a CXL device's report about its own memory (Coherent Device Attribute Table 1.03).

use super::hmat::Quantity;
use super::table::{AcpiTable, Form, TableFault, number};

/// A part of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its handle, which other entries of the table refer to.
    pub handle: u8,
    /// First device physical address.
    pub base: u64,
    /// Length in bytes.
    pub length: u64,
    /// The memory keeps its content without power.
    pub is_persistent: bool,
    /// Latencies in picoseconds and bandwidths in MB/s, from the device's port on, indexed by [`Quantity`]; `None`
    /// where the device reports none.
    pub values: [Option<AreaValue>; 6],
}

/// A latency or bandwidth of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AreaValue {
    /// What is measured.
    pub quantity: Quantity,
    /// The value, in picoseconds or MB/s.
    pub value: u64,
}

/// The decoded table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cdat {
    /// The parts of the device's memory.
    pub areas: Vec<Area>,
}

impl Cdat {
    /// Decodes a device's CDAT, which has no signature. Returns the table and what is wrong with it; `None` if it
    /// is too short to be one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, Vec<TableFault>)> {
        let length = usize::try_from(number(bytes, 0, 4)?).ok().filter(|length| *length >= 16)?;
        let revision = *bytes.get(4)?;
        let there = bytes.get(..length).unwrap_or(bytes);
        let mut table = AcpiTable { signature: *b"CDAT", revision, at: 0, bytes: there, faults: Vec::new() };
        if there.len() < length {
            table.fault(0, format!("the table is truncated: it has {} of {length} bytes", there.len()));
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
            // Only entries about the memory itself (type 0), not about its caches.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with these structures, its length and checksum right.
    fn table(structures: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0u8; 16];
        bytes[4] = 1;
        structures.iter().for_each(|part| bytes.extend_from_slice(part));
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[5] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
        bytes
    }

    /// A device scoped memory affinity structure.
    fn memory(handle: u8, flags: u8, base: u64, length: u64) -> Vec<u8> {
        [&[0, 0, 24, 0, handle, flags, 0, 0][..], &base.to_le_bytes(), &length.to_le_bytes()].concat()
    }

    /// A device scoped latency and bandwidth information structure.
    fn speed(handle: u8, flags: u8, kind: u8, unit: u64, entry: u16) -> Vec<u8> {
        let begin = [1, 0, 24, 0, handle, flags, kind, 0];
        [&begin[..], &unit.to_le_bytes(), &entry.to_le_bytes(), &[0; 6]].concat()
    }

    #[test]
    fn parts_of_memory_have_their_own_speeds() {
        let bytes = table(&[
            &memory(1, 0, 0, 1 << 30),
            &memory(2, 4, 1 << 30, 2 << 30),
            &speed(2, 0, 1, 1000, 150),
            &speed(2, 0, 4, 1, 0xffff),
            // About a cache, and about a handle that nothing has.
            &speed(1, 1, 1, 1000, 7),
            &speed(9, 0, 1, 1000, 8),
        ]);
        let (cdat, faults) = Cdat::decode(&bytes).unwrap();
        assert_eq!(faults, []);
        let areas: Vec<_> =
            cdat.areas.iter().map(|area| (area.handle, area.base, area.length, area.is_persistent)).collect();
        assert_eq!(areas, [(1, 0, 1 << 30, false), (2, 1 << 30, 2 << 30, true)]);
        let known = |n: usize| cdat.areas[n].values.iter().flatten().copied().collect::<Vec<_>>();
        let quantity = Quantity::of(1).unwrap();
        assert_eq!((known(0), known(1)), (vec![], vec![AreaValue { quantity, value: 150_000 }]));
    }

    #[test]
    fn what_is_broken_is_told_with_its_offset() {
        let whole = table(&[&memory(1, 0, 0, 1 << 30)]);
        let mut wrong = whole.clone();
        wrong[20] ^= 1;
        let fault = |bytes: &[u8]| Cdat::decode(bytes).map(|(_, faults)| faults[0].to_string());
        assert!(fault(&wrong).unwrap().contains("checksum"));
        assert!(fault(&whole[..30]).unwrap().contains("truncated"));
        assert_eq!(fault(&whole[..3]), None);
    }
}
