//! SRAT: which processors and memory are near each other (ACPI 6.5, 5.2.16).

use super::table::{AcpiTable, Form};

/// What a proximity domain has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitiatorKind {
    /// A processor, by its number among its kind.
    Processor(u32),
    /// Something that is no processor and reads memory: an accelerator, a port behind which some may come.
    Other,
}

/// Somebody who reads memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initiator {
    /// Its proximity domain.
    pub domain: u32,
    /// Who.
    pub what: InitiatorKind,
    /// The entry is in use.
    pub enabled: bool,
    /// Where it begins in the table.
    pub offset: usize,
}

/// Addresses of a proximity domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// The domain.
    pub domain: u32,
    /// The first address.
    pub base: u64,
    /// How many bytes; 0 says nothing.
    pub length: u64,
    /// The entry is in use.
    pub enabled: bool,
    /// Memory may come and go there.
    pub hot_plug: bool,
    /// It keeps what it has without power.
    pub is_persistent: bool,
    /// Where it begins in the table.
    pub offset: usize,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Srat {
    /// Who reads memory.
    pub initiators: Vec<Initiator>,
    /// Memory.
    pub memory: Vec<Affinity>,
}

impl Srat {
    /// Reads it; what is wrong is noted at the table.
    #[must_use]
    pub fn decode(table: &mut AcpiTable<'_>) -> Self {
        let mut out = Self::default();
        // The first revision has domains of one byte.
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
