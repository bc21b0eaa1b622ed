//! Reads a machine's physical address space into a [`pmem_core`] model, from whatever describes it.
//!
//! Data flows one way: [`Sources`] (this machine, folders, archives, texts) → readers, one source a file → facts (what each source
//! says, with its place) → settled facts (one answer for each question; where sources disagree, a [`Finding`] names
//! both) → the model → [`Machine`]. What a source does not say stays unknown. Decoding nets in JSON are read by [`read_net`].
#![forbid(unsafe_code)]

pub mod bad;
mod capture;
mod error;
mod facts;
pub mod fault;
mod gather;
mod machine;
mod model;
mod names;
mod net;
mod number;
mod open;
pub mod plug;
mod read;
pub mod refused;
mod settle;
mod text;

pub use capture::{Sources, Text, Tree};
pub use error::ImportError;
pub use facts::{
    Access, Aperture, BusId, Complaint, Conflict, Distances, Entry, Finding, Function, Heard, Initiators,
    Iommu, IommuUnit, Listed, Listing, Node, Nodes, Odd, PciResource, PciSource, Place, RequesterAlias,
    ReservedKind, ReservedRange, ResourceKind, Said, SpecialDevice, StreamMap, TableKind, Translation,
    Unplaced, show_bus,
};
pub use gather::{Gathered, gather};
pub use machine::{Bus, Inventory, Machine, Memory, Net, NodeArenas};
pub use names::Names;
pub use net::read_net;
pub use number::{parse_addr, show_list};
pub use pmem_pci::Address;
pub use read::PciIds;
pub use settle::{Default as DefaultType, MemoryKind, MtrrFacts, NodeKind, PciTree, WellKnown};
pub use text::decode;
