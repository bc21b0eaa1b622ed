//! Drivers that program hardware to follow a [`pmem_core`] model.
//!
//! Each driver has four parts: the registers, a pure algorithm, a port, through which alone it reaches hardware,
//! and the driver itself. The drivers do not depend on each other.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod iommu;
pub mod mtrr;
pub mod par;
pub mod pci;
