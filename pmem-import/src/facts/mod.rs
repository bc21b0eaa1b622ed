//! What each source says, with its place. Nothing is decided here.

mod cxl;
mod firmware;
mod flat_view;
mod heard;
mod iommu;
mod listing;
mod mtrr;
mod numa;
mod pci;
mod remark;
mod said;
mod tables;

pub use cxl::{Cxl, CxlRegionRecord, Decoder, DecoderLevel, PortTree, RegionRequest};
pub use firmware::{Firmware, MapEntry, MapKind, MapUpdate, MemoryMap};
pub use flat_view::{FlatKind, FlatRange, FlatView};
pub use heard::{SourceSummary, UnreadLine};
pub use iommu::{
    Iommu, IommuUnit, RequesterAlias, ReservedKind, ReservedRange, SpecialDevice, StreamMap, Translation,
};
pub use listing::{Listed, Listing};
pub use mtrr::{Complaint, Entry, Mtrr, RegisterTable, TableKind};
pub use numa::{
    Access, Distances, Initiators, NodeRange, NodeRangeKind, Nodes, NumaNode, crossing, join, without,
};
pub use pci::{
    Aperture, BusId, Conflict, Function, MissingWindow, Pci, PciResource, PciSource, ResourceKind, Unplaced,
    show_bus,
};
pub use remark::Remark;
pub use said::{Finding, Findings, SourceLine, Sourced};
pub use tables::Tables;

use std::collections::BTreeMap;

/// The machine's identity, as far as sources give it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Maker and model (DMI).
    pub hardware: Option<Sourced<String>>,
    /// The kernel's version line.
    pub kernel: Option<Sourced<String>>,
    /// It is an x86 machine: a source has something that only x86 has.
    pub is_x86: bool,
    /// The kernel is locked down: user space cannot write registers.
    pub locked_down: bool,
}

/// Everything that the sources say, before conflicts between them are settled.
///
/// [`Facts::read`] reads it from [`Sources`](crate::Sources).
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What was read from each source.
    pub heard: Vec<SourceSummary>,
    /// Listings of memory resources, in the order of the sources.
    pub memory: Vec<Listing>,
    /// Listings of I/O ports, in the order of the sources.
    pub ports: Vec<Listing>,
    /// Memory maps.
    pub firmware: Firmware,
    /// NUMA nodes.
    pub numa: Nodes,
    /// PCI functions and buses.
    pub pci: Pci,
    /// Memory types.
    pub mtrr: Mtrr,
    /// IOMMUs.
    pub iommu: Iommu,
    /// Contents of ACPI tables, not yet interpreted.
    pub tables: Tables,
    /// CXL.
    pub cxl: Cxl,
    /// Address spaces of an emulator.
    pub views: Vec<FlatView>,
    /// Kernel messages that bear on addresses.
    pub remarks: Vec<Sourced<Remark>>,
    /// The machine's identity.
    pub identity: Identity,
    /// By device of persistent or CXL memory (`dax0.0`): the NUMA node that its memory belongs to.
    pub dax: BTreeMap<String, u32>,
    /// Problems within single sources.
    pub findings: Findings,
}

impl Facts {
    /// Adds a finding.
    pub fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}
