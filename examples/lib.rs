//! The examples are programs of their own: `cargo run -p pmem-examples --example numa_pci`.

/// The guide for drivers: its example is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/driver.md")]
mod driver_guide {}
