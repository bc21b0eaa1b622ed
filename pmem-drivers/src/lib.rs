//! Drivers over [`pmem_core`]: what programs hardware to follow the model.
//!
//! Each has registers and a pure algorithm, a port, which is its only door to hardware, and the driver itself. Drivers do
//! not know one another.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod iommu;
pub mod mtrr;
pub mod par;
pub mod pci;
