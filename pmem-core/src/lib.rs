//! A machine-independent manager of physical address space.
//!
//! Physical address space is divided into [*arenas*](State::arenas): RAM, ROM, a PCI bus. *Interconnects* (bus
//! bridges, IOMMUs, HyperTransport links) join arenas in pairs; each direction has a [`Mapping`] and a [`Metric`].
//! *Regions* inside an arena are reference-counted and carry [`Attrs`]. A [`Driver`] programs hardware to follow the
//! model: it can refuse a change before anything is touched, and it is notified once the change is committed. The
//! design follows David Young's proposal to NetBSD's tech-kern list (docs/proposal.md).
//!
//! # Where to start
//!
//! | you want to | use |
//! |---|---|
//! | build and change a model from one thread, with or without `std` | [`Manager`] |
//! | share a model between threads | `Pmem` (feature `std`) |
//! | describe an allocation | [`Request`], [`Constraints`] |
//! | describe a bridge, an interleave set or an IOMMU | [`Mapping`], [`Window`], [`Interleave`], [`Table`] |
//! | find out what an address means, or what an arena sees | [`State::resolve`], [`State::view`], [`State::reverse`] |
//! | choose memory by cost | [`State::distances`], [`State::nearest_free`], [`State::route`] |
//! | make several changes succeed or fail together | [`Manager::transaction`] |
//! | keep hardware in step with the model | [`Driver`], or [`Mirror`] over a [`Hardware`] |
//! | save a model and load it again | `Saved` (feature `serde`) |
//!
//! # Examples
//! The system bus sees RAM through a window at 2 GiB. An allocation on the bus finds its space in RAM:
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
//! Data flows one way through this crate: addresses, attributes and mappings → the model ([`State`]) → a plan
//! ([`Plan`], which turns verbs into [`Edit`]s) → drivers → the [`Manager`], which commits → the shared handle `Pmem`
//! (feature `std`), whose readers never wait.
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

/// The package's README, included so that its example runs with the doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
