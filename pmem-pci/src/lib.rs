//! PCI functions as their configuration space describes them: read, and written.
//!
//! No heap, no dependencies, no `unsafe`, and no path that panics: for firmware, hypervisors and kernels as for programs. There
//! is no model and no I/O here; whoever reaches configuration space hands its bytes over.
//!
//! * [`Address`] is where a function is: segment, bus, device, function.
//! * [`Header`] is the configuration header of a device, a PCI bridge or a CardBus bridge; it decodes and encodes all of its
//!   64 bytes, so that what was read can be written back.
//! * [`Bar`] is what a base address register decodes; [`IoWindow`], [`MemoryWindow`] and [`PrefetchableWindow`] are what a
//!   bridge forwards, each with its granule.
//! * [`capabilities`] and [`extended_capabilities`] walk the lists of capabilities; [`Sriov`] reads one of them.
//!
//! ```
//! use pmem_pci::{Address, Header, Layout};
//!
//! let mut config = [0u8; 64];
//! config[0x00..0x04].copy_from_slice(&[0x36, 0x1b, 0x0c, 0x00]);
//! config[0x04] = 0x07; // decodes I/O and memory
//! config[0x0e] = 0x01; // a PCI bridge
//! config[0x20..0x24].copy_from_slice(&[0x40, 0xfe, 0x90, 0xfe]);
//! let header = Header::decode(&config)?;
//! let Layout::Bridge(bridge) = &header.layout else { unreachable!() };
//! assert_eq!(bridge.memory.range(), Some((0xfe40_0000, 0xfe9f_ffff)));
//! assert_eq!(header.encode(), config);
//! assert_eq!("3b:00.1".parse::<Address>().map(|a| a.to_string()).as_deref(), Ok("0000:3b:00.1"));
//! # Ok::<(), pmem_pci::HeaderError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod bar;
mod blocks;
pub mod buses;
mod bytes;
mod capability;
pub mod certificate;
pub mod check;
mod class;
pub mod cost;
mod cut;
mod header;
pub mod hole;
mod layout;
pub mod linux;
pub mod phases;
pub mod plan;
mod registers;
mod search;
mod span;
pub mod steps;
mod sweep;
pub mod tree;
mod window;

pub use address::{Address, BadAddress};
pub use bar::{Bar, bars};
pub use capability::{
    Capability, ResizableBar, Sriov, capabilities, extended_capabilities, has_hot_plug_slot, id,
};
pub use class::Class;
pub use header::{Bridge, CardBus, Command, Common, Device, Header, HeaderError, Layout};
pub use span::BusRange;
pub use sweep::Budget;
pub use window::{IoWindow, MemoryWindow, PrefetchableWindow};

/// The package's README: its example is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
