//! The examples are programs of their own: `cargo run -p pmem-examples --example numa_pci`.

/// The guide for drivers: its example is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/driver.md")]
mod driver_guide {}

/// The page for VMMs: its example is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/vmm.md")]
mod vmm_page {}

/// The README: its example is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
