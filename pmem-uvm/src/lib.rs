//! Physical segments, pages, page lists and memory hot-plug.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod cache;
mod counters;
mod early;
mod error;
mod feed;
mod frame;
mod free;
mod hotplug;
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
pub use counters::Uvmexp;
pub use early::{DirectMap, Early, EarlyError, Kind};
pub use error::UvmError;
pub use feed::{Access, Feed, Mover};
pub use frame::{FRAMES, FrameRange, FrameRangeError};
pub use hotplug::{
    Answer, Block, BlockState, Callback, Event, Hotplug, HotplugError, MemoryAction, Migrate, NodeAction,
    NotifierKey,
};
pub use layout::{Layout, Ram};
pub use map::FrameMap;
pub use page::{COUNT_MAX, Page, PageFlags, PageInfo, PageOwner, PageState, PageWords};
pub use request::{Caller, PageListRequest, PageRequest, PgaFlags, Strategy};
pub use segment::{Arrival, Plug, Segment, SegmentId, Zone};
pub use settings::Settings;
#[cfg(feature = "std")]
pub use shared::{Cancel, OnlineMems, Processor, SharedUvm, Wait};
pub use snapshot::Snapshot;
pub use uvm::{Again, Host, PageList, Reserves, Shortage, Unmoved, Uvm};
