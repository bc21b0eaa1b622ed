//! The tables in which firmware says which units there are: DMAR of Intel's, IVRS of AMD's.

pub mod dmar;
mod header;
pub mod ivrs;

pub use dmar::Dmar;
pub use header::{AcpiError, Header};
pub use ivrs::Ivrs;
