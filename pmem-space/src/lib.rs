//! Ranges of addresses, what is said of them, and an ordered index of ranges that is also the index of the free space between them.
//!
//! [`Attrs`] is what memory and devices' registers are used for, what accesses they let through, and how those are carried out;
//! [`FirmwareMemory`] what firmware says that memory is.
//!
//! [`Space`] covers the whole of a 64-bit address space. Every address lies in a *hole* (nothing may be put
//! there), in *sealed* space (nothing more may be put there), in an entry that somebody *took*, or in a
//! *gap*: what [`Space::find`] may hand out. [`Fit`] says what is looked for: a window, a length, an
//! alignment and a boundary as they are seen from elsewhere (a *phase*), and a [`Policy`].
//!
//! ```
//! use pmem_space::{AddrRange, Fit, Space};
//!
//! let mut mmio: Space<&str> = Space::new();
//! mmio.open(AddrRange::new(0xc000_0000, 0x1_0000_0000)?);
//! let bar = mmio.find(&Fit::new(0x4000)?.align(0x4000)?).expect("the space is empty");
//! mmio.insert(bar, "nic bar 0").expect("what was found is free");
//! assert_eq!(bar.to_string(), "[0xc0000000, 0xc0004000)");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod attrs;
mod entry;
mod firmware;
mod fit;
mod range;
mod space;
mod tree;

pub use attrs::{ArenaType, Attrs, CachingConflict, Props, Prot, Usage};
pub use entry::{Entry, Occupant};
pub use firmware::FirmwareMemory;
pub use fit::{Fit, FitError, Policy};
pub use range::{AddrRange, RangeError};
pub use space::{Conflict, Entries, Found, Pooled, Space, TakenIn};
pub use tree::Pool;

/// The package's README: its example is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
