//! Units that are not there: they remember whatever hardware may remember, and devices that are not there try them between any two writes.

mod amd;
mod cache;
mod chip;
mod unit;
mod vtd;

pub use amd::AmdChip;
pub use chip::Chip;
pub use unit::{Fake, FakeMemory};
pub use vtd::VtdChip;

/// One of VT-d.
pub type FakeVtd = Fake<VtdChip>;
/// One of AMD-Vi.
pub type FakeAmd = Fake<AmdChip>;
