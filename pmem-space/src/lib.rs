//! Address ranges, their attributes, and an ordered index of ranges that also indexes the free space between them.
//!
//! [`Attrs`] says what memory or device registers are used for, which accesses they allow, and how those accesses are
//! carried out. [`FirmwareMemory`] is the kind of memory that a firmware memory map reports.
//!
//! [`Space`] covers a whole 64-bit address space. Every address lies in a *hole* (there is nothing here to allocate),
//! in *sealed* space (nothing more can be allocated), in a *taken* range (somebody inserted it), or in a *gap*: free
//! space, which [`Space::find`] searches. [`Fit`] describes a request: a window, a length, an alignment and a boundary
//! as they are seen from elsewhere (shifted by a *phase*), and a [`Policy`].
//!
//! ```
//! use pmem_space::{AddrRange, Fit, Space};
//!
//! let mut mmio: Space<&str> = Space::new();
//! mmio.open(AddrRange::new(0xc000_0000, 0x1_0000_0000)?);
//! let bar = mmio.find(&Fit::new(0x4000)?.align(0x4000)?).ok_or("no space left")?;
//! mmio.insert(bar, "nic bar 0")?;
//! assert_eq!(bar.to_string(), "0xc0000000..0xc0004000");
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

/// The package's README, included so that its example runs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
