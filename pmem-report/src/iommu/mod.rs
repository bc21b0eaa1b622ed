//! IOMMUs: which units there are, what they reserve, and why a mapping is refused.

mod refused;
mod show;
mod why;

pub use refused::{IommuRefused, RefusalNote};
pub use show::{Group, IommuShow, ReservedShown, TableShown, TranslationShown, UnitShown};
pub use why::IommuWhy;
