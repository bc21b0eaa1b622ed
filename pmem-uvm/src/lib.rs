//! Physical segments, pages, page lists and memory hot-plug.
//!
//! With the feature `model`, which is on by default, [`Feed`] is a driver over a pmem-core model that plugs what is primed in its RAM. Without it
//! pages stand alone: a host plugs them by hand or from an [`EarlyAllocator`] map. With the feature `std` there is a handle that threads share.
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
