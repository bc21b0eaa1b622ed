//! SLIT: distances between proximity domains (ACPI 6.5, 5.2.17).

use super::table::AcpiTable;

/// The decoded table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slit {
    /// Number of localities that the table claims.
    pub count: u64,
    /// Bytes after the last distance.
    pub extra: usize,
    /// Rows of distances, as far as they are present. Empty if the table claims no localities or more than 4096.
    pub rows: Vec<Vec<u8>>,
}

impl Slit {
    /// Decodes a table; what is wrong is added to the table's faults.
    #[must_use]
    pub fn decode(table: &mut AcpiTable<'_>) -> Self {
        let Some(count) = table.number(36, 8) else {
            table.fault(36, "it ends before the number of localities");
            return Self::default();
        };
        let n = usize::try_from(count).ok().filter(|n| (1..=4096).contains(n));
        let Some(n) = n else {
            table.fault(36, format!("it has {count} localities"));
            return Self { count, ..Self::default() };
        };
        let entries = table.bytes.get(44..).unwrap_or_default();
        if entries.len() < n * n {
            let what = format!("{n} localities have {} distances, and {} follow", n * n, entries.len());
            table.fault(44, what);
        }
        let extra = entries.len().saturating_sub(n * n);
        Self { count, extra, rows: entries.chunks_exact(n).take(n).map(<[u8]>::to_vec).collect() }
    }
}
