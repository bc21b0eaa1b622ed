//! HMAT: memory latency and bandwidth by initiator (ACPI 6.5, 5.2.28).

use super::table::{AcpiTable, Form, Part};

/// The initiator that a memory is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The initiator's proximity domain; `None` if the entry gives none.
    pub initiator: Option<u32>,
    /// The memory's proximity domain.
    pub memory: u32,
    /// Offset of the structure in the table, in bytes.
    pub offset: usize,
}

/// What a matrix measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quantity {
    /// Latency of reads and writes, in picoseconds.
    AccessLatency,
    /// Latency of reads, in picoseconds.
    ReadLatency,
    /// Latency of writes, in picoseconds.
    WriteLatency,
    /// Bandwidth of reads and writes, in MB/s.
    AccessBandwidth,
    /// Bandwidth of reads, in MB/s.
    ReadBandwidth,
    /// Bandwidth of writes, in MB/s.
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

    /// Whether it is a latency rather than a bandwidth.
    #[must_use]
    pub const fn is_latency(self) -> bool {
        matches!(self, Self::AccessLatency | Self::ReadLatency | Self::WriteLatency)
    }
}

/// A matrix of one quantity, from initiators to targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locality {
    /// What is measured.
    pub quantity: Quantity,
    /// 0 for the memory itself; otherwise the level of a memory-side cache.
    pub level: u8,
    /// Initiator proximity domains, one per row.
    pub initiators: Vec<u32>,
    /// Target proximity domains, one per column.
    pub targets: Vec<u32>,
    /// The values row by row, in picoseconds or MB/s; `None` where the table gives none (0 or 0xffff).
    pub values: Vec<Option<u64>>,
    /// Offset of the structure in the table, in bytes.
    pub offset: usize,
}

impl Locality {
    /// Returns the value from an initiator to a target; `None` if the matrix does not give it.
    #[must_use]
    pub fn get(&self, initiator: u32, target: u32) -> Option<u64> {
        let row = self.initiators.iter().position(|domain| *domain == initiator)?;
        let column = self.targets.iter().position(|domain| *domain == target)?;
        self.values.get(row * self.targets.len() + column).copied().flatten()
    }
}

/// A memory-side cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideCache {
    /// The memory's proximity domain.
    pub memory: u32,
    /// Size in bytes.
    pub size: u64,
    /// Level of the cache.
    pub level: u8,
}

/// The decoded table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hmat {
    /// Which memory is attached to which initiator.
    pub attached: Vec<Attached>,
    /// Matrices of latencies and bandwidths.
    pub localities: Vec<Locality>,
    /// Memory-side caches.
    pub caches: Vec<SideCache>,
}

impl Hmat {
    /// Decodes a table; what is wrong is added to the table's faults.
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
        table.fault(part.at, format!("a latency or bandwidth matrix of unknown type {number}"));
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
            format!("a matrix of {rows} by {columns} does not fit in a structure of {} bytes", part.len()),
        );
        return None;
    };
    let (rows, columns) = (rows as usize, columns as usize);
    let list = |from: usize, count: usize| (0..count).map(|n| part.word(from + 4 * n)).collect::<Vec<u32>>();
    let base = part.number(24, 8);
    let value = |entry: u64| {
        // 0 means not provided, and 0xffff unreachable (kernel: `hmat_normalize`).
        let raw = (entry != 0 && entry != 0xffff).then(|| entry.checked_mul(base))??;
        // Revision 1 counts tenths of nanoseconds, later revisions picoseconds.
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
