//! A machine-independent manager of physical address space.
//!
//! Address space is carved into [*arenas*](State::arenas) (RAM, ROM, a PCI bus), which *interconnects* (bus
//! bridges, IOMMUs, HyperTransport links) join, each with a [`Mapping`] and a [`Metric`] per direction. Inside an
//! arena lie *regions*, counted and with [`Attrs`]. A [`Driver`] that programs the hardware is asked before, and
//! told when, something changes. After David Young's proposal to NetBSD's tech-kern (docs/proposal.md).
//!
//! ```
//! use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Mapping, Metric, Request};
//!
//! let mut pmem = Manager::new();
//! let bus = pmem.create_arena("system bus", ArenaType::VIEW)?;
//! let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
//! pmem.prime(ram, AddrRange::new(0, 0x1000_0000)?, Attrs::ram())?;
//! let window = Mapping::window(AddrRange::new(0x8000_0000, 0x9000_0000)?, 0)?;
//! pmem.connect(bus, ram, window, Metric::new(1))?;
//!
//! let buffer = pmem.alloc(bus, &Request::new(0x1000).align(0x1000).max_metric(Metric::new(1)))?;
//! assert_eq!(pmem.range(buffer)?.start(), 0x8000_0000);
//! let seen = pmem.state().resolve(bus, 0x8000_0010);
//! assert_eq!(seen.accepted().map(|place| (place.arena, place.addr)), Some((ram, 0x10)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In this crate data flows one way: addresses, attributes and mappings → the model ([`State`]) → a plan
//! ([`Plan`], which turns verbs into [`Edit`]s) → drivers → the [`Manager`] that commits → the shared handle
//! `Pmem` (feature `std`), whose readers never wait.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod called;
mod driver;
mod error;
mod id;
mod manager;
mod mapping;
mod metric;
mod model;
mod plan;
mod protocol;
#[cfg(feature = "serde")]
mod save;
#[cfg(feature = "std")]
mod shared;

pub use called::Named;
#[cfg(feature = "test-util")]
pub use driver::test_util;
pub use driver::{
    Change, Concern, Delta, Driver, Effective, Fault, Figures, Hardware, Interest, Kinds, Mirror, Mismatch,
    Phase, Scope, Step, Subscription, Veto,
};
pub use error::{Error, Holder};
pub use id::{ArenaId, DriverId, LinkId, Owner, RegionId, Way};
pub use manager::{Committed, Journal, Manager, Released};
pub use mapping::{Admits, Interleave, Mapping, MappingError, Table, Window, Windows};
pub use metric::{Metric, Performance};
pub use model::{
    Alias, Arena, ArenaInfo, Broken, DeadEnd, Difference, Direction, Distance, Dot, Edit, Hop, Image, Link,
    Location, Nearest, OwnedResolution, Pin, Place, Placement, PrimedSpan, RegionRecord, Resolution, Role,
    Route, SpanState, State, ViewPiece, ViewTarget, Walk, WindowId,
};
pub use plan::{Constraints, Plan, Request};
pub use pmem_space::{
    AddrRange, ArenaType, Attrs, CachingConflict, FirmwareMemory, FitError, Policy, Props, Prot, RangeError,
    Usage,
};
#[cfg(feature = "serde")]
pub use save::{LoadError, SAVED_VERSION, Saved};
#[cfg(all(feature = "std", not(loom)))]
pub use shared::Reader;
#[cfg(feature = "std")]
pub use shared::{Event, ObserverId, Pending, Pmem, Region, Reserved, Transaction};

/// The package's README: its example is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
