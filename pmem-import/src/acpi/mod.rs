//! Tables in which firmware describes memory, nodes, buses and CXL, decoded from their bytes and nothing else.
//!
//! What is broken in a table is said with its offset, and the rest of it is read.

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
