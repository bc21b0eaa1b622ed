//! The C interface. What its functions do is said in the headers under `include/`, and in the crates they call.
//!
//! Every function that takes a pointer is `unsafe` to call from Rust: the headers say what they must point to.

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
