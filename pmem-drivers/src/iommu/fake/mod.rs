//! Simulated units. They cache whatever hardware may cache, and simulated devices try to access them between any
//! two writes.

mod amd;
mod cache;
mod chip;
mod unit;
mod vtd;

pub use amd::AmdChip;
pub use chip::Chip;
pub use unit::{Fake, FakeMemory};
pub use vtd::VtdChip;

/// A simulated VT-d unit.
pub type FakeVtd = Fake<VtdChip>;
/// A simulated AMD-Vi unit.
pub type FakeAmd = Fake<AmdChip>;
