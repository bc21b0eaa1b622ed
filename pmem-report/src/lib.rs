//! Typed reports about a machine's physical address space, and their renderers.
//!
//! Each question about a [`Machine`](pmem_import::Machine) is answered by one report: a plain value that holds
//! everything known about the answer. [`text`] and [`json`] render reports and decide nothing. [`SCHEMA`] is the version
//! of the JSON format.
//!
//! # Features
//! - `schema`: `schemas` derives a JSON schema for each report with schemars. Off by default, because it makes the crate
//!   slow to build; the schemas are also in the package, under `schemas/`.
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
#[cfg(feature = "schema")]
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
#[cfg(feature = "schema")]
pub use schema::schemas;
pub use sources::{NotUnderstood, Read, Sources, Warning};
pub use topo::{
    Access, AddressSpace, ArenaSummary, Bar, BusSummary, CxlMemoryPart, CxlShare, FunctionSummary,
    Interconnect, NodeSummary, RegionSummary, Topo, Way,
};
pub use units::{Addr, End, Extent, bandwidth, size};
pub use view::{View, ViewLine};

/// The package's README, so that its example runs with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
