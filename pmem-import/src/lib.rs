//! Reads a machine's physical address space, live or captured, into a [`pmem_core`] model.
//!
//! Data flows one way:
//!
//! - [`Sources`]: this machine, folders, archives, texts;
//! - readers, one source format per file;
//! - [`Facts`]: what each source says, with file and line;
//! - settled facts: one answer per question. Where sources disagree, a [`Finding`] names both;
//! - [`Machine`]: the model, with the names that the sources use.
//!
//! What no source says stays unknown. [`read_net`] reads decoding nets in JSON.
#![forbid(unsafe_code)]

pub mod acpi;
pub mod bad;
mod capture;
mod error;
mod facts;
pub mod fault;
mod gather;
mod machine;
mod model;
mod names;
mod near;
mod net;
mod number;
mod open;
pub mod plug;
mod read;
pub mod refused;
mod settle;
mod text;

pub use capture::{Sources, Text, Tree, decompressed};
pub use error::{ImportError, explain};
pub use facts::{
    Access, Aperture, BusId, Complaint, Conflict, Cxl, CxlRegionRecord, Decoder, DecoderLevel, Distances,
    Entry, Facts, Finding, Firmware, FlatKind, FlatRange, FlatView, Function, Initiators, Iommu, IommuUnit,
    Listed, Listing, MapEntry, MapKind, MemoryMap, NodeRange, NodeRangeKind, Nodes, NumaNode, Pci,
    PciResource, PciSource, PortTree, RegionRequest, Remark, RequesterAlias, ReservedKind, ReservedRange,
    ResourceKind, SourceLine, SourceSummary, Sourced, SpecialDevice, StreamMap, TableKind, Tables,
    Translation, Unplaced, UnreadLine, crossing, join, show_bus, without,
};
pub use gather::{Gathered, gather};
pub use machine::{AddressSpaces, Bus, Inventory, Machine, MemoryArena, Net, NodeArenas};
pub use names::Names;
pub use near::{did_you_mean, did_you_mean_function};
pub use net::read_net;
pub use number::{parse_addr, parse_range, parse_size, show_list};
pub use pmem_pci::Address;
pub use read::PciIds;
pub use settle::{CxlMemory, CxlPart, CxlPlace, CxlRegion, CxlTarget, CxlWindow, Sharing};
pub use settle::{Default as DefaultType, MemoryKind, MtrrFacts, NodeKind, PciTree, WellKnown};
pub use text::{decode, is_wide};

/// The package's README, included so that its example runs with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
