//! A table as a whole: its header, and the structures behind it.

use std::fmt;

/// Bytes of the header of every table (ACPI 6.5, 5.2.6).
const HEADER: usize = 36;

/// What is wrong with a table, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFault {
    /// In bytes from the table's begin.
    pub offset: usize,
    /// What.
    pub what: String,
}

impl fmt::Display for TableFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {:#x}: {}", self.offset, self.what)
    }
}

/// A table that was found, with what is wrong so far.
#[derive(Clone, Debug)]
pub struct AcpiTable<'t> {
    /// What it is: `SRAT`.
    pub signature: [u8; 4],
    /// Its revision.
    pub revision: u8,
    /// Where it begins in what was given.
    pub at: usize,
    /// All of it that is there.
    pub bytes: &'t [u8],
    /// What is wrong with it.
    pub faults: Vec<TableFault>,
}

/// The tables of a file, one behind the other, as the kernel and `acpidump -b` give them; none if the file begins otherwise.
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
    /// Opens one at the begin of some bytes; `None` if none begins there. One that is cut is read as far as it goes.
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
        // A text may begin with four capitals as well, and says no such length.
        if length < HEADER || (length > bytes.len() && length > 1 << 24) {
            return None;
        }
        let there = bytes.get(..length).unwrap_or(bytes);
        if there.len() < length {
            let what = format!("it is cut: {} of {length} bytes are there", there.len());
            faults.push(TableFault { offset: 4, what });
        } else if there.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
            faults.push(TableFault {
                offset: 9,
                what: "its bytes do not add up to 0: the checksum is wrong".into(),
            });
        }
        Some(Self { signature, revision, at: 0, bytes: there, faults })
    }

    /// Notes a fault.
    pub(super) fn fault(&mut self, offset: usize, what: impl Into<String>) {
        self.faults.push(TableFault { offset, what: what.into() });
    }

    /// A number of so many bytes, 8 at most, at an offset.
    pub(super) fn number(&self, offset: usize, bytes: usize) -> Option<u64> {
        number(self.bytes, offset, bytes)
    }

    /// The structures from an offset on, each with the number that says what it is, and where it begins; what cannot be is noted, and ends it.
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
                self.fault(at, format!("{} bytes are no structure", self.bytes.len() - at));
                break;
            };
            let there = usize::try_from(length).ok().filter(|length| *length >= head);
            let Some(bytes) =
                there.and_then(|length| at.checked_add(length)).and_then(|end| self.bytes.get(at..end))
            else {
                let left = self.bytes.len() - at;
                self.fault(
                    at,
                    format!("a structure says that it is {length} bytes long, and {left} are left"),
                );
                break;
            };
            found.push((kind, Part { at, bytes }));
            at += bytes.len();
        }
        found
    }
}

/// How structures say what they are, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// A byte each (SRAT, MADT).
    Short,
    /// A byte, and two bytes at offset 2 (CEDT, CDAT).
    Word,
    /// Two bytes, and four at offset 4 (HMAT).
    Long,
}

/// A structure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'t> {
    /// Where it begins in its table.
    pub(super) at: usize,
    bytes: &'t [u8],
}

impl Part<'_> {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A number of so many bytes; 0 where the structure is shorter, which [`Part::has`] tells.
    pub(super) fn number(&self, offset: usize, bytes: usize) -> u64 {
        number(self.bytes, offset, bytes).unwrap_or(0)
    }

    pub(super) fn word(&self, offset: usize) -> u32 {
        self.number(offset, 4) as u32
    }

    /// Whether it is at least so long; else that is noted.
    pub(super) fn has(&self, length: usize, table: &mut AcpiTable<'_>) -> bool {
        if self.len() < length {
            table.fault(self.at, format!("a structure of {} bytes, which has {length} or more", self.len()));
        }
        self.len() >= length
    }
}

pub(super) fn number(bytes: &[u8], offset: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset.checked_add(width)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
