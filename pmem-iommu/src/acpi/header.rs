//! What every table of ACPI begins with.

use crate::bytes::u32_at;
use core::fmt;

/// The header of a table (ACPI 6.5, 5.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the table is.
    pub signature: [u8; 4],
    /// Its length in bytes.
    pub length: u32,
    /// Its revision.
    pub revision: u8,
    /// All bytes add up to 0.
    pub checksum_is_right: bool,
    /// Who made it.
    pub oem: [u8; 6],
    /// What they call it.
    pub oem_table: [u8; 8],
}

/// Bytes of the header.
pub(super) const HEADER: usize = 36;

/// Why a table is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AcpiError {
    /// It is cut: so many bytes are said to be there, and so many are.
    Short {
        /// What is needed.
        length: usize,
        /// What there is.
        bytes: usize,
    },
    /// It is another table.
    Signature([u8; 4]),
    /// A structure in it has a length that cannot be.
    Structure {
        /// Where it begins, in bytes from the table's begin.
        offset: usize,
        /// The length that it says.
        length: usize,
    },
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { length, bytes } => write!(f, "it is cut: {bytes} of {length} bytes are there"),
            Self::Signature(signature) => {
                write!(f, "it is another table: it begins with {}", signature.escape_ascii())
            }
            Self::Structure { offset, length } => {
                write!(f, "the structure at byte {offset:#x} cannot be {length} bytes long")
            }
        }
    }
}

impl core::error::Error for AcpiError {}

impl Header {
    /// Reads it, and hands over the bytes of the table that follow.
    ///
    /// # Errors
    /// [`AcpiError::Short`] or [`AcpiError::Signature`].
    pub fn decode<'t>(
        bytes: &'t [u8],
        expected: &[u8; 4],
        least: usize,
    ) -> Result<(Self, &'t [u8]), AcpiError> {
        let short = |length| AcpiError::Short { length, bytes: bytes.len() };
        let head = bytes.get(..least.max(HEADER)).ok_or_else(|| short(least.max(HEADER)))?;
        let array = |from: usize, out: &mut [u8]| {
            out.iter_mut().zip(head.iter().skip(from)).for_each(|(out, byte)| *out = *byte);
        };
        let (mut signature, mut oem, mut oem_table) = ([0; 4], [0; 6], [0; 8]);
        array(0, &mut signature);
        array(10, &mut oem);
        array(16, &mut oem_table);
        if signature != *expected {
            return Err(AcpiError::Signature(signature));
        }
        let length = u32_at(head, 4).unwrap_or(0);
        let table = bytes.get(..length as usize).filter(|table| table.len() >= least);
        let table = table.ok_or_else(|| short((length as usize).max(least)))?;
        let checksum_is_right = table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0;
        let revision = head.get(8).copied().unwrap_or(0);
        Ok((Self { signature, length, revision, checksum_is_right, oem, oem_table }, table))
    }
}
