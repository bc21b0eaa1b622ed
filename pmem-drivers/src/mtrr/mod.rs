//! Memory types: programs MTRRs to follow the CPU's view of the system bus.
//!
//! The driver keeps three things: the setting that the firmware left (the *baseline*), the addresses whose type the
//! model has changed since then (the *overrides*), and the setting that it last read or wrote (the *image*).
//! Addresses without an override keep the type that the baseline gives them. So attaching the driver writes
//! nothing, and undoing every change restores the baseline.

mod demand;
mod driver;
#[cfg(feature = "fake")]
mod fake;
#[cfg(all(feature = "std", unix))]
mod linux;
mod port;
pub mod strategies;

pub use demand::{Unmapped, wish};
pub use driver::{Mtrr, Policy};
#[cfg(feature = "fake")]
pub use fake::{FakeCpus, Written};
#[cfg(all(feature = "std", unix))]
pub use linux::{DevMsr, ProcMtrr, parse_proc_mtrr};
pub use pmem_mtrr::*;
pub use port::{CHANGED, Port};
