//! One typed report a question, and what it looks like.
//!
//! A question about a [`Machine`](pmem_import::Machine) is answered by a report: a value that says everything that is known. [`text`] and
//! [`json`] render reports; they decide nothing. Each report's JSON has a schema ([`schemas`]), of which [`SCHEMA`] is
//! the number.
#![forbid(unsafe_code)]

pub mod annotate;
mod attrs;
pub mod bad;
mod diff;
pub mod emit;
mod evidence;
mod format;
pub mod iommu;
pub mod lint;
mod memory;
pub mod mtrr;
mod names;
mod outcome;
pub mod par;
pub mod pci;
pub mod picture;
pub mod plug;
mod resolve;
mod schema;
mod sources;
pub mod text;
mod topo;
mod units;
mod view;
mod xml;

pub use attrs::{AttrWords, Speed};
pub use diff::{Diff, Difference};
pub use evidence::{Evidence, Stance, Sureness, Topic};
pub use format::{SCHEMA, json};
pub use memory::{FrameRun, MemoryNode, MemoryReport, Segment, Unavailable};
pub use outcome::Outcome;
pub use resolve::{CxlAnswer, HopTaken, Resolve, Resolved, Seen, Space, unplaced};
pub use schema::schemas;
pub use sources::{NotUnderstood, Read, Sources, Warning};
pub use topo::{
    Access, AddressSpace, ArenaSummary, Bar, BusSummary, CxlShare, FunctionSummary, Interconnect,
    NodeSummary, RegionSummary, Topo, Way,
};
pub use units::{Addr, End, Extent, bandwidth, size};
pub use view::{View, ViewLine};

/// The package's README: its example is run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
