//! The manager: it plans, asks the drivers, and commits.

mod drivers;
mod journal;
#[expect(clippy::module_inception, reason = "one noun a file")]
mod manager;
mod questions;
mod release;
mod verbs;

pub use journal::{Committed, Journal};
pub use manager::Manager;
#[cfg(feature = "std")]
pub(crate) use manager::Noted;
pub use release::Released;
