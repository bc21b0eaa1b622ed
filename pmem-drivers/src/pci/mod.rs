//! PCI hierarchies: programs base address registers, bridge windows and bus numbers to follow a model.
//!
//! In the model, each bus is an arena, each bridge an interconnect with floating windows, and each base address
//! register a region ([`model()`]). A [`Binding`] records which is which. [`Pci`] programs changes through a
//! [`Port`] in the order that [`pmem_pci::steps`] gives, and reads each write back. [`transact`] applies a
//! placement of [`pmem_pci::plan`], for a hot-plugged card say, to model and hardware in one transaction. For a dry
//! run, use the same driver over a [`Recording`] port.

mod binding;
mod bus;
mod driver;
#[cfg(feature = "fake")]
mod fake;
mod model;
mod port;
mod registers;
#[cfg(all(feature = "std", unix))]
mod sysfs;

pub use binding::{Binding, Layout, WindowId};
pub use bus::Bus;
pub use driver::Pci;
#[cfg(feature = "fake")]
pub use fake::{FakeFunction, FakeSpace};
#[cfg(feature = "std")]
pub use model::transact;
pub use model::{apply, model};
pub use port::{Port, Recording, Written};
#[cfg(all(feature = "std", unix))]
pub use sysfs::SysfsConfig;
