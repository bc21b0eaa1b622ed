//! MCFG: where configuration space is in memory (PCI Firmware 3.3, 4.1.2).

use super::table::AcpiTable;

/// Configuration space of some buses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecam {
    /// Where bus 0 would be, whatever the first bus is.
    pub base: u64,
    /// The segment.
    pub segment: u16,
    /// The first bus.
    pub first: u8,
    /// The last.
    pub last: u8,
    /// Where it begins in the table.
    pub offset: usize,
}

impl Ecam {
    /// The addresses, from the first bus's on; `None` if they are none.
    #[must_use]
    pub fn addresses(&self) -> Option<(u64, u64)> {
        let at = |bus: u64| self.base.checked_add(bus << 20);
        (self.first <= self.last).then_some(())?;
        Some((at(self.first.into())?, at(u64::from(self.last) + 1)?.checked_sub(1)?))
    }
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mcfg {
    /// Its entries.
    pub entries: Vec<Ecam>,
}

impl Mcfg {
    /// Reads it; what is wrong is noted at the table.
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
                table.fault(at, format!("{} bytes are no entry", table.bytes.len() - at));
                break;
            };
            let (segment, first, last) = (segment as u16, first as u8, last as u8);
            out.entries.push(Ecam { base, segment, first, last, offset: at });
            at += 16;
        }
        out
    }
}
