//! Each example is a program of its own: `cargo run -p pmem-examples --example numa_pci`.

/// Runs the example in the guide for drivers as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../docs/driver.md")]
mod driver_guide {}

/// Runs the example on the page for VMMs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../docs/vmm.md")]
mod vmm_page {}

/// Runs the example in the README as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
