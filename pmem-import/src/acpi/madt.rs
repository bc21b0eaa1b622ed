//! MADT: processors and interrupt controllers (ACPI 6.5, 5.2.12).

use super::table::{AcpiTable, Form};

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its APIC id.
    pub id: u8,
    /// Base address of its registers.
    pub address: u32,
    /// Its first global system interrupt.
    pub first: u32,
    /// Offset of the structure in the table, in bytes.
    pub offset: usize,
}

/// The decoded table; only its I/O APICs are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Madt {
    /// I/O APICs.
    pub io_apics: Vec<IoApic>,
}

impl Madt {
    /// Decodes a table; what is wrong is added to the table's faults.
    #[must_use]
    pub fn decode(table: &mut AcpiTable<'_>) -> Self {
        let mut out = Self::default();
        for (kind, part) in table.structures(44, Form::Short) {
            if kind == 1 && part.has(12, table) {
                let (id, address, first) = (part.number(2, 1) as u8, part.word(4), part.word(8));
                out.io_apics.push(IoApic { id, address, first, offset: part.at });
            }
        }
        out
    }
}
