//! HMAT: how fast memory is, from where (ACPI 6.5, 5.2.28).

use super::table::{AcpiTable, Form, Part};

/// Which initiator a memory is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The initiator's domain, where it says one.
    pub initiator: Option<u32>,
    /// The memory's.
    pub memory: u32,
    /// Where it begins in the table.
    pub offset: usize,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quantity {
    /// Latency of reads and writes, in picoseconds.
    AccessLatency,
    /// Of reads.
    ReadLatency,
    /// Of writes.
    WriteLatency,
    /// Bandwidth of both, in MB/s.
    AccessBandwidth,
    /// Of reads.
    ReadBandwidth,
    /// Of writes.
    WriteBandwidth,
}

impl Quantity {
    pub(super) fn of(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::AccessLatency,
            1 => Self::ReadLatency,
            2 => Self::WriteLatency,
            3 => Self::AccessBandwidth,
            4 => Self::ReadBandwidth,
            5 => Self::WriteBandwidth,
            _ => return None,
        })
    }

    /// It is a latency.
    #[must_use]
    pub const fn is_latency(self) -> bool {
        matches!(self, Self::AccessLatency | Self::ReadLatency | Self::WriteLatency)
    }
}

/// A matrix: one quantity between initiators and targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locality {
    /// What is measured.
    pub quantity: Quantity,
    /// Of memory itself (0), or a cache of so many levels on its side.
    pub level: u8,
    /// Domains of the rows.
    pub initiators: Vec<u32>,
    /// Domains of the columns.
    pub targets: Vec<u32>,
    /// Row by row, in picoseconds or MB/s; `None` where none is given (0 and 0xffff).
    pub values: Vec<Option<u64>>,
    /// Where it begins in the table.
    pub offset: usize,
}

impl Locality {
    /// The value from an initiator to a target, if it is given.
    #[must_use]
    pub fn get(&self, initiator: u32, target: u32) -> Option<u64> {
        let row = self.initiators.iter().position(|domain| *domain == initiator)?;
        let column = self.targets.iter().position(|domain| *domain == target)?;
        self.values.get(row * self.targets.len() + column).copied().flatten()
    }
}

/// A cache on the memory's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideCache {
    /// Of which memory.
    pub memory: u32,
    /// Bytes.
    pub size: u64,
    /// Of how many levels it is which.
    pub level: u8,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hmat {
    /// What is attached to what.
    pub attached: Vec<Attached>,
    /// Matrices.
    pub localities: Vec<Locality>,
    /// Caches.
    pub caches: Vec<SideCache>,
}

impl Hmat {
    /// Reads it; what is wrong is noted at the table.
    #[must_use]
    pub fn decode(table: &mut AcpiTable<'_>) -> Self {
        let mut out = Self::default();
        for (kind, part) in table.structures(40, Form::Long) {
            match kind {
                0 if part.has(40, table) => {
                    let initiator = (part.number(8, 2) & 1 != 0).then(|| part.word(12));
                    out.attached.push(Attached { initiator, memory: part.word(16), offset: part.at });
                }
                1 if part.has(32, table) => out.localities.extend(locality(&part, table)),
                2 if part.has(32, table) => {
                    let level = (part.word(24) >> 4 & 0xf) as u8;
                    out.caches.push(SideCache { memory: part.word(8), size: part.number(16, 8), level });
                }
                _ => {}
            }
        }
        out
    }
}

fn locality(part: &Part<'_>, table: &mut AcpiTable<'_>) -> Option<Locality> {
    let number = part.number(9, 1);
    let Some(quantity) = Quantity::of(number) else {
        table.fault(part.at, format!("a matrix of what nobody knows: type {number}"));
        return None;
    };
    let (rows, columns) = (part.number(12, 4), part.number(16, 4));
    let needed = rows.checked_mul(columns).and_then(|cells| {
        let bytes = cells.checked_mul(2)?.checked_add(rows.checked_add(columns)?.checked_mul(4)?)?;
        usize::try_from(bytes.checked_add(32)?).ok()
    });
    let Some(_) = needed.filter(|needed| part.len() >= *needed) else {
        table.fault(
            part.at,
            format!("a matrix of {rows} by {columns} in a structure of {} bytes", part.len()),
        );
        return None;
    };
    let (rows, columns) = (rows as usize, columns as usize);
    let list = |from: usize, count: usize| (0..count).map(|n| part.word(from + 4 * n)).collect::<Vec<u32>>();
    let base = part.number(24, 8);
    let value = |entry: u64| {
        // Neither is a value (kernel: hmat_normalize).
        let raw = (entry != 0 && entry != 0xffff).then(|| entry.checked_mul(base))??;
        // The first revision counts tenths of nanoseconds; later ones picoseconds.
        let tenths = quantity.is_latency() && table.revision == 1;
        if tenths { raw.checked_mul(100) } else { Some(raw) }
    };
    let cells = 32 + 4 * (rows + columns);
    let values = (0..rows * columns).map(|n| value(part.number(cells + 2 * n, 2))).collect();
    Some(Locality {
        quantity,
        level: (part.number(8, 1) & 0xf) as u8,
        initiators: list(32, rows),
        targets: list(32 + 4 * rows, columns),
        values,
        offset: part.at,
    })
}
