//! The header that every ACPI table begins with.

use crate::bytes::u32_at;
use core::fmt;

/// The header of an ACPI table (ACPI 6.5, 5.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The four letters that identify the table, such as `DMAR`.
    pub signature: [u8; 4],
    /// The length of the whole table in bytes, including the header.
    pub length: u32,
    /// The revision of the table.
    pub revision: u8,
    /// Whether all bytes of the table add up to 0, as they should. A wrong sum does not stop decoding.
    pub checksum_is_right: bool,
    /// The OEM id: the name of the vendor.
    pub oem: [u8; 6],
    /// The OEM table id: the vendor's name for the table.
    pub oem_table: [u8; 8],
}

/// The length of the header in bytes.
pub(super) const HEADER: usize = 36;

/// The reason why bytes cannot be decoded as a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AcpiError {
    /// The table is truncated.
    Short {
        /// The number of bytes that the table needs.
        length: usize,
        /// The number of bytes that are there.
        bytes: usize,
    },
    /// The bytes begin with the signature of another table.
    Signature([u8; 4]),
    /// A structure in the table has an impossible length.
    Structure {
        /// The offset of the structure from the start of the table, in bytes.
        offset: usize,
        /// The length that the structure claims, in bytes.
        length: usize,
    },
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { length, bytes } => {
                write!(f, "the table is truncated: it has {bytes} of {length} bytes")
            }
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
    /// Decodes the header of a table with the signature `expected`. Returns it with the bytes of the whole table,
    /// header included; these are at least `least` bytes.
    ///
    /// # Errors
    /// Returns [`AcpiError::Short`] if there are fewer bytes than the header claims, or fewer than `least`, and
    /// [`AcpiError::Signature`] for another table.
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
