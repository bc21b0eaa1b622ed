//! Decoders for the ACPI tables that describe memory, nodes, buses and CXL.
//!
//! They take bytes and need nothing else. What is broken in a table becomes a [`TableFault`] with its offset; the
//! rest of the table is still read.
//!
//! # Examples
//!
//! ```
//! use pmem_import::acpi::{Mcfg, tables};
//!
//! // An MCFG table, as `/sys/firmware/acpi/tables/MCFG` holds it: a header of 36 bytes, 8 reserved bytes, one entry.
//! let mut bytes = vec![0u8; 60];
//! bytes[..4].copy_from_slice(b"MCFG");
//! bytes[4] = 60; // length
//! bytes[44..52].copy_from_slice(&0xe000_0000_u64.to_le_bytes()); // base; segment 0, buses from 0
//! bytes[55] = 0xff; // last bus
//! bytes[9] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte)); // checksum
//!
//! let mut table = tables(&bytes).remove(0);
//! let mcfg = Mcfg::decode(&mut table);
//! assert_eq!(mcfg.entries[0].addresses(), Some((0xe000_0000, 0xefff_ffff)));
//! assert!(table.faults.is_empty());
//! ```

mod cdat;
mod cedt;
mod hmat;
mod madt;
mod mcfg;
mod slit;
mod srat;
mod table;

pub use cdat::{Area, AreaValue, Cdat};
pub use cedt::{Cedt, Cfmws, Chbs, Cxims, granularity, ways};
pub use hmat::{Attached, Hmat, Locality, Quantity, SideCache};
pub use madt::{IoApic, Madt};
pub use mcfg::{Ecam, Mcfg};
pub use slit::Slit;
pub use srat::{Affinity, Initiator, InitiatorKind, Srat};
pub use table::{AcpiTable, TableFault, tables};
