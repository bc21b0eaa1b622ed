//! The examples are programs of their own: `cargo run -p pmem-examples --example numa_pci`.
