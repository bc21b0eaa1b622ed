//! PCI bus space: configuration registers decoded and encoded, hierarchies checked, and resources placed.
//!
//! `no_std` + `alloc`, no dependencies, no `unsafe`: for firmware, hypervisors and kernels as well as for
//! programs. The crate does no I/O: you read configuration space and hand over its bytes, and you carry out the
//! writes that it returns. Decoding accepts any bytes and never panics.
//!
//! Registers:
//!
//! * [`Address`] names a function: segment, bus, device, function.
//! * [`Header`] is the configuration header of a device, a PCI bridge or a CardBus bridge. It decodes and
//!   encodes all 64 bytes, so that what you read can be written back unchanged.
//! * [`Bar`] is the value of a base address register. [`IoWindow`], [`MemoryWindow`] and [`PrefetchableWindow`]
//!   are the windows that a bridge forwards, each with its granule.
//! * [`capabilities`] and [`extended_capabilities`] walk the two capability lists. [`Sriov`] and
//!   [`ResizableBar`] decode two of the extended capabilities.
//!
//! Hierarchies:
//!
//! * [`tree::Tree`] models host bridges, bridges and functions with their addresses. [`check::check`] lists
//!   what is wrong with one.
//! * [`plan::plan`] finds the least-cost placement for new cards, larger BARs and virtual functions.
//!   [`certificate::why`] explains a refusal, and [`hole::smallest`] sizes the aperture that would be enough.
//! * [`steps::steps`] lists the register writes that lead from one placement to another, in a safe order.
//! * [`buses::give`] hands out bus numbers.
//! * [`linux::predict`] tells what Linux itself does after a hot-plug, a rescan, a boot or a BAR resize, by
//!   kernel version.
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

/// Runs the README's example as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
