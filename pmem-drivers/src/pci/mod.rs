//! PCI hierarchies: base address registers, bridges' windows and bus numbers follow a model.
//!
//! The model has an arena for each bus, an interconnect with floating windows for each bridge, and a region for each base address register
//! ([`model()`]); a [`Binding`] says which is which. [`Pci`] programs what changes through a [`Port`], in the order of
//! [`pmem_pci::steps`], each write read back. [`transact`] has model and hardware take a placement of [`pmem_pci::plan`], a hot-plugged card's
//! for example, as one transaction. A dry run is the same driver over a [`Recording`] port.

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
