//! SRAT: which processors and memory belong to which proximity domain (ACPI 6.5, 5.2.16).

use super::table::{AcpiTable, Form};

/// What kind of initiator an entry describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitiatorKind {
    /// A processor, by its number among its kind: APIC id, x2APIC id or ACPI processor UID.
    Processor(u32),
    /// An initiator that is not a processor: an accelerator, or a port that initiators may be plugged into.
    Other,
}

/// An initiator: something that accesses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initiator {
    /// Its proximity domain.
    pub domain: u32,
    /// What it is.
    pub what: InitiatorKind,
    /// The entry is enabled.
    pub enabled: bool,
    /// Offset of the structure in the table, in bytes.
    pub offset: usize,
}

/// A range of memory in a proximity domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Its proximity domain.
    pub domain: u32,
    /// First address.
    pub base: u64,
    /// Length in bytes; an entry of length 0 describes nothing.
    pub length: u64,
    /// The entry is enabled.
    pub enabled: bool,
    /// The memory can be hot-plugged.
    pub hot_plug: bool,
    /// The memory keeps its content without power.
    pub is_persistent: bool,
    /// Offset of the structure in the table, in bytes.
    pub offset: usize,
}

/// The decoded table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Srat {
    /// Processors and other initiators.
    pub initiators: Vec<Initiator>,
    /// Ranges of memory.
    pub memory: Vec<Affinity>,
}

impl Srat {
    /// Decodes a table; what is wrong is added to the table's faults.
    #[must_use]
    pub fn decode(table: &mut AcpiTable<'_>) -> Self {
        let mut out = Self::default();
        // Revision 1 has proximity domains of one byte; the other bytes are reserved.
        let domain =
            |number: u64, revision: u8| if revision < 2 { number as u32 & 0xff } else { number as u32 };
        let revision = table.revision;
        for (kind, part) in table.structures(48, Form::Short) {
            let mut initiator = |domain: u32, what: InitiatorKind, flags: u32| {
                out.initiators.push(Initiator { domain, what, enabled: flags & 1 != 0, offset: part.at });
            };
            match kind {
                0 if part.has(16, table) => {
                    let number = part.number(2, 1) | part.number(9, 3) << 8;
                    initiator(
                        domain(number, revision),
                        InitiatorKind::Processor(part.number(3, 1) as u32),
                        part.word(4),
                    );
                }
                1 if part.has(40, table) => {
                    let flags = part.word(28);
                    out.memory.push(Affinity {
                        domain: domain(part.number(2, 4), revision),
                        base: part.number(8, 8),
                        length: part.number(16, 8),
                        enabled: flags & 1 != 0,
                        hot_plug: flags & 2 != 0,
                        is_persistent: flags & 4 != 0,
                        offset: part.at,
                    });
                }
                2 if part.has(24, table) => {
                    initiator(part.word(4), InitiatorKind::Processor(part.word(8)), part.word(12));
                }
                3 if part.has(18, table) => {
                    initiator(part.word(2), InitiatorKind::Processor(part.word(6)), part.word(10));
                }
                5 | 6 if part.has(32, table) => initiator(part.word(4), InitiatorKind::Other, part.word(24)),
                7 if part.has(20, table) => {
                    initiator(part.word(4), InitiatorKind::Processor(part.word(8)), part.word(12));
                }
                _ => {}
            }
        }
        out
    }
}
