//! IOMMUs: what there is, and why a mapping is refused.

mod refused;
mod show;
mod why;

pub use refused::{IommuRefused, RefusalNote};
pub use show::{Group, IommuShow, ReservedShown, UnitShown};
pub use why::IommuWhy;
