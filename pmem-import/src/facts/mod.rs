//! What each source says, with its place; nothing is decided here.

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

/// Who the machine is, where sources say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The maker's name for it (DMI).
    pub hardware: Option<Sourced<String>>,
    /// The kernel.
    pub kernel: Option<Sourced<String>>,
    /// It is x86: a source has what only x86 has.
    pub is_x86: bool,
    /// The kernel is locked down: nobody writes registers from outside of it.
    pub locked_down: bool,
}

/// Everything that the sources say.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What of each source was read.
    pub heard: Vec<SourceSummary>,
    /// Lists of memory resources, in the order of the sources.
    pub memory: Vec<Listing>,
    /// Lists of I/O ports.
    pub ports: Vec<Listing>,
    /// Memory maps.
    pub firmware: Firmware,
    /// NUMA nodes.
    pub numa: Nodes,
    /// PCI.
    pub pci: Pci,
    /// Memory types.
    pub mtrr: Mtrr,
    /// IOMMUs.
    pub iommu: Iommu,
    /// What tables say before anything is made of it.
    pub tables: Tables,
    /// CXL.
    pub cxl: Cxl,
    /// Address spaces of an emulator.
    pub views: Vec<FlatView>,
    /// What kernels remark.
    pub remarks: Vec<Sourced<Remark>>,
    /// Who it is.
    pub identity: Identity,
    /// By device of persistent or CXL memory (`dax0.0`): the node that its memory is.
    pub dax: BTreeMap<String, u32>,
    /// What is wrong with single sources.
    pub findings: Findings,
}

impl Facts {
    /// Notes that something is wrong.
    pub fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}
