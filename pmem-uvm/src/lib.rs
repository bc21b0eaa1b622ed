//! Physical segments, pages, page lists and memory hot-plug, after NetBSD's uvm(9) and Linux's memory hot-plug.
//!
//! [`Uvm`] manages the page frames that you plug. It hands out single pages ([`PageRequest`]) and contiguous runs
//! ([`PageListRequest`]), and it can capture page frames that are in use by moving their pages elsewhere
//! ([`Uvm::capture`]). [`Hotplug`] adds, onlines, offlines and removes memory in blocks. [`EarlyAllocator`] serves a
//! kernel that has no heap yet, and becomes a [`Uvm`] once there is one.
//!
//! With the feature `model`, which is on by default, [`Feed`] is a pmem-core driver that plugs the RAM primed in a
//! model. Without it, you plug pages by hand or from an [`EarlyAllocator`]. The feature `std` adds `SharedUvm`, a
//! handle that threads share.
//!
//! # Examples
//! Plug 128 MiB of RAM and take a page and a DMA buffer from it:
//!
//! ```
//! use pmem_uvm::{FrameRange, PageListRequest, PageRequest, Plug, Uvm};
//!
//! let mut uvm = Uvm::default();
//! uvm.plug(&Plug::new(FrameRange::new(0x100, 0x8000)?))?;
//! let page = uvm.pagealloc(&PageRequest::new())?;
//! // 64 KiB in one run, aligned to its size.
//! let buffer = uvm.pglistalloc(&PageListRequest::new(16)?.align(16)?.runs(1)?)?;
//! assert_eq!(uvm.uvmexp().free, 0x8000 - 1 - 16);
//! uvm.pglistfree(buffer);
//! uvm.pagefree(page)?;
//! assert_eq!(uvm.uvmexp().free, 0x8000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod cache;
mod counters;
mod early;
mod error;
#[cfg(feature = "model")]
mod feed;
mod frame;
mod free;
mod hotplug;
#[cfg(feature = "model")]
mod layout;
mod map;
mod page;
mod request;
mod segment;
mod settings;
#[cfg(feature = "std")]
mod shared;
mod snapshot;
mod uvm;

pub use cache::PageCache;
pub use counters::{Reserves, Uvmexp};
pub use early::{DirectMap, EarlyAllocator, EarlyError, Kind};
pub use error::UvmError;
#[cfg(feature = "model")]
pub use feed::{Access, Feed, Mover};
pub use frame::{FRAMES, FrameRange, FrameRangeError};
pub use hotplug::{
    Added, Answer, AutoOnline, Block, BlockState, Callback, Event, Hotplug, HotplugError, MemoryAction,
    NodeAction, NotifierKey,
};
#[cfg(feature = "model")]
pub use layout::{Layout, Ram};
pub use map::FrameMap;
pub use page::{COUNT_MAX, Page, PageFlags, PageInfo, PageOwner, PageState, PageWords};
pub use pmem_space::{Attrs, FirmwareMemory};
pub use request::{Caller, PageListRequest, PageRequest, PgaFlags, Strategy};
pub use segment::{Arrival, Plug, Segment, SegmentId, Zone};
pub use settings::Settings;
#[cfg(feature = "std")]
pub use shared::{Cancel, OnlineMems, Processor, SharedUvm, Wait};
pub use snapshot::Snapshot;
pub use uvm::{Host, Migrate, MoveError, NodeCounters, PageList, Shortage, ShortageAction, Uvm};
