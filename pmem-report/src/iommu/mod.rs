//! IOMMUs: what there is, and why a mapping is refused.

mod show;
mod why;

pub use show::{Group, IommuShow, ReservedShown, UnitShown};
pub use why::IommuWhy;
