//! IOMMUs: translation tables, registers, queues, faults, and the ACPI tables that describe the units.
//!
//! The crate has no dependencies, no `unsafe`, no I/O and no model. Hypervisors, firmware and kernels can use it as
//! well as programs.
//!
//! ```
//! use core::sync::atomic::AtomicU64;
//! use pmem_iommu::table::{Access, PageTable, Pool, VtdSecondStage};
//!
//! // Sixteen pages that the unit sees at 0x100000.
//! let words: Vec<AtomicU64> = (0..16 * 512).map(|_| AtomicU64::new(0)).collect();
//! let format = VtdSecondStage::new(4, 39, 1).ok_or("no such format")?;
//! let mut pool = Pool::new(words, 0x10_0000);
//! let mut table = PageTable::new(format, &mut pool)?;
//! table.on(&mut pool).map(0x20_0000, 0x3f_ffff, 0x8000_0000, Access::BOTH)?;
//! // One page of 2 MiB, which is split when you unmap a part of it.
//! let forget = table.on(&mut pool).unmap(0x20_0000, 0x20_0fff)?;
//! assert_eq!((forget.first, forget.last), (0x20_0000, 0x3f_ffff));
//! assert_eq!(table.lookup(&pool, 0x20_1000).map(|found| found.leaf.target), Some(0x8000_1000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod amd;
mod bits;
mod bytes;
mod requester;
pub mod smmu;
pub mod table;
pub mod vtd;

pub use requester::RequesterId;

/// The addresses that devices write to send interrupts on x86. Units of both vendors do not translate them (Intel
/// VT-d 3.15, AMD 48882 2.1.2).
pub const INTERRUPTS: core::ops::RangeInclusive<u64> = 0xfee0_0000..=0xfeef_ffff;

/// Compiles the README and runs its example with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
