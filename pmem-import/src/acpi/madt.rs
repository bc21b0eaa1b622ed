//! MADT: processors and interrupt controllers (ACPI 6.5, 5.2.12).

use super::table::{AcpiTable, Form};

/// An interrupt controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its number.
    pub id: u8,
    /// Where its registers are.
    pub address: u32,
    /// The first interrupt of the system that is its own.
    pub first: u32,
    /// Where it begins in the table.
    pub offset: usize,
}

/// The table, as far as it is about I/O APICs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Madt {
    /// Interrupt controllers.
    pub io_apics: Vec<IoApic>,
}

impl Madt {
    /// Reads it; what is wrong is noted at the table.
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
