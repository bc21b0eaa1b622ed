//! MCFG: where PCI configuration space is in memory (PCI Firmware 3.3, 4.1.2).

use super::table::AcpiTable;

/// Memory-mapped configuration space (ECAM) of a range of buses.
///
/// # Examples
///
/// ```
/// use pmem_import::acpi::Ecam;
///
/// let ecam = Ecam { base: 0xe000_0000, segment: 0, first: 0, last: 0xff, offset: 44 };
/// assert_eq!(ecam.addresses(), Some((0xe000_0000, 0xefff_ffff)));
///
/// // The base belongs to bus 0, even if the range begins at a later bus.
/// let upper = Ecam { first: 0x80, ..ecam };
/// assert_eq!(upper.addresses(), Some((0xe800_0000, 0xefff_ffff)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecam {
    /// The address that bus 0 has or would have, whatever the first bus is.
    pub base: u64,
    /// The PCI segment.
    pub segment: u16,
    /// The first bus.
    pub first: u8,
    /// The last bus, inclusive.
    pub last: u8,
    /// Offset of the entry in the table, in bytes.
    pub offset: usize,
}

impl Ecam {
    /// Returns the first and last address, from the first bus on; `None` if the buses are reversed or
    /// the addresses wrap.
    #[must_use]
    pub fn addresses(&self) -> Option<(u64, u64)> {
        let at = |bus: u64| self.base.checked_add(bus << 20);
        (self.first <= self.last).then_some(())?;
        Some((at(self.first.into())?, at(u64::from(self.last) + 1)?.checked_sub(1)?))
    }
}

/// The decoded table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mcfg {
    /// Its entries.
    pub entries: Vec<Ecam>,
}

impl Mcfg {
    /// Decodes a table; what is wrong is added to the table's faults.
    #[must_use]
    pub fn decode(table: &mut AcpiTable<'_>) -> Self {
        let mut out = Self::default();
        let mut at = 44;
        while at < table.bytes.len() {
            let Some(((base, segment), (first, last))) = table
                .number(at, 8)
                .zip(table.number(at + 8, 2))
                .zip(table.number(at + 10, 1).zip(table.number(at + 11, 1)))
                .filter(|_| at + 16 <= table.bytes.len())
            else {
                table.fault(at, format!("{} bytes are left, too few for an entry", table.bytes.len() - at));
                break;
            };
            let (segment, first, last) = (segment as u16, first as u8, last as u8);
            out.entries.push(Ecam { base, segment, first, last, offset: at });
            at += 16;
        }
        out
    }
}
