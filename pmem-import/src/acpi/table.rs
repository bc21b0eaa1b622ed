//! An ACPI table as a whole: its header, and the structures after it.

use std::fmt;

/// Length of every table's header in bytes (ACPI 6.5, 5.2.6).
const HEADER: usize = 36;

/// Something wrong with a table, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFault {
    /// Offset from the start of the table, in bytes.
    pub offset: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for TableFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {:#x}: {}", self.offset, self.what)
    }
}

/// A table, and the faults found in it so far.
#[derive(Clone, Debug)]
pub struct AcpiTable<'t> {
    /// Its signature: `SRAT`.
    pub signature: [u8; 4],
    /// Its revision.
    pub revision: u8,
    /// Offset of the table in the bytes that [`tables`] was given.
    pub at: usize,
    /// The table's bytes, header included, as far as they are present.
    pub bytes: &'t [u8],
    /// What is wrong with it.
    pub faults: Vec<TableFault>,
}

/// Returns the tables of a file, one after the other, as the kernel and `acpidump -b` write them. Empty if the file
/// does not begin with a table.
#[must_use]
pub fn tables(bytes: &[u8]) -> Vec<AcpiTable<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(table) = bytes.get(at..).and_then(AcpiTable::open) {
        let len = table.bytes.len();
        found.push(AcpiTable { at, ..table });
        at += len;
    }
    found
}

impl<'t> AcpiTable<'t> {
    /// Opens the table at the start of some bytes; `None` if none begins there. A truncated table is
    /// read as far as it goes.
    #[must_use]
    pub fn open(bytes: &'t [u8]) -> Option<Self> {
        let signature: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
        let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
        let length = usize::try_from(number(bytes, 4, 4)?).ok()?;
        let revision = *bytes.get(8)?;
        if bytes.len() < HEADER || !signature.iter().all(is_name) {
            return None;
        }
        let mut faults = Vec::new();
        // A text can also begin with four capitals; its "length" field is then absurd.
        if length < HEADER || (length > bytes.len() && length > 1 << 24) {
            return None;
        }
        let there = bytes.get(..length).unwrap_or(bytes);
        if there.len() < length {
            let what = format!("the table is truncated: it has {} of {length} bytes", there.len());
            faults.push(TableFault { offset: 4, what });
        } else if there.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
            faults.push(TableFault {
                offset: 9,
                what: "its bytes do not add up to 0: the checksum is wrong".into(),
            });
        }
        Some(Self { signature, revision, at: 0, bytes: there, faults })
    }

    /// Adds a fault.
    pub(super) fn fault(&mut self, offset: usize, what: impl Into<String>) {
        self.faults.push(TableFault { offset, what: what.into() });
    }

    /// Reads a little-endian number of 1 to 8 bytes; `None` if the table is too short.
    pub(super) fn number(&self, offset: usize, bytes: usize) -> Option<u64> {
        number(self.bytes, offset, bytes)
    }

    /// Splits the table into structures from an offset on, each with its type. A structure that cannot be is a
    /// fault, and ends the list.
    pub(super) fn structures(&mut self, from: usize, form: Form) -> Vec<(u64, Part<'t>)> {
        let mut found = Vec::new();
        let mut at = from;
        while at < self.bytes.len() {
            let (kind, length, head) = match form {
                Form::Short => (number(self.bytes, at, 1), number(self.bytes, at + 1, 1), 2),
                Form::Word => (number(self.bytes, at, 1), number(self.bytes, at + 2, 2), 4),
                Form::Long => (number(self.bytes, at, 2), number(self.bytes, at + 4, 4), 8),
            };
            let Some((kind, length)) = kind.zip(length) else {
                self.fault(at, format!("{} bytes are left, too few for a structure", self.bytes.len() - at));
                break;
            };
            let there = usize::try_from(length).ok().filter(|length| *length >= head);
            let Some(bytes) =
                there.and_then(|length| at.checked_add(length)).and_then(|end| self.bytes.get(at..end))
            else {
                let left = self.bytes.len() - at;
                self.fault(
                    at,
                    format!(
                        "a structure claims an impossible length of {length} bytes; {left} bytes are left"
                    ),
                );
                break;
            };
            found.push((kind, Part { at, bytes }));
            at += bytes.len();
        }
        found
    }
}

/// Widths of the type and length fields that begin a structure.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// One byte each (SRAT, MADT).
    Short,
    /// Type of one byte, length of two bytes at offset 2 (CEDT, CDAT).
    Word,
    /// Type of two bytes, length of four bytes at offset 4 (HMAT).
    Long,
}

/// A structure of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'t> {
    /// Offset in the table, in bytes.
    pub(super) at: usize,
    bytes: &'t [u8],
}

impl Part<'_> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Reads a little-endian number of 1 to 8 bytes; 0 if the structure is too short, which [`Part::has`] detects.
    pub(super) fn number(&self, offset: usize, bytes: usize) -> u64 {
        number(self.bytes, offset, bytes).unwrap_or(0)
    }

    pub(super) fn word(&self, offset: usize) -> u32 {
        self.number(offset, 4) as u32
    }

    /// Whether the structure has at least `length` bytes; if not, that becomes a fault of the table.
    pub(super) fn has(&self, length: usize, table: &mut AcpiTable<'_>) -> bool {
        if self.len() < length {
            table
                .fault(self.at, format!("a structure has {} bytes, but needs at least {length}", self.len()));
        }
        self.len() >= length
    }
}

pub(super) fn number(bytes: &[u8], offset: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset.checked_add(width)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
