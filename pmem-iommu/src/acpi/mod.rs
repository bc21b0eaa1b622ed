//! The ACPI tables in which firmware describes IOMMUs: DMAR for Intel's, IVRS for AMD's.

pub mod dmar;
mod header;
pub mod ivrs;

pub use dmar::Dmar;
pub use header::{AcpiError, Header};
pub use ivrs::Ivrs;
