//! The C interface. The headers under `include/` document what each function does; the crates that the functions call
//! document the details.
//!
//! Every function that takes a pointer is `unsafe` to call from Rust. The headers say what the pointer must point to.

pub mod area;
mod failure;
mod host;
pub mod hotplug;
mod memory;
pub mod page;
#[cfg(feature = "physseg")]
pub mod physseg;
pub mod pmem;
#[cfg(feature = "sample")]
pub mod sample;

pub use failure::pmem_error;
