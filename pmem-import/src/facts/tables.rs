//! What firmware's tables say of nodes, memory's speed and buses, before anything is made of it.

use super::{SourceLine, Sourced};
use crate::acpi::{Affinity, Cdat, Hmat, Initiator, Slit};

/// Of tables, and of logs that print them.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Memory of proximity domains (SRAT).
    pub memory: Vec<Sourced<Affinity>>,
    /// Processors and others that read memory (SRAT).
    pub initiators: Vec<Sourced<Initiator>>,
    /// Where a log prints no entries, but how far each node reaches so far: its entries cannot be told.
    pub extents: Vec<SourceLine>,
    /// Distances (SLIT).
    pub distances: Vec<Sourced<Slit>>,
    /// How fast memory is (HMAT).
    pub access: Vec<Sourced<Hmat>>,
    /// What CXL devices say of their own memory (CDAT), by the device.
    pub devices: Vec<(String, Sourced<Cdat>)>,
    /// Ids of I/O APICs (MADT).
    pub io_apics: Vec<Sourced<u32>>,
    /// Configuration space (MCFG).
    pub ecam: Vec<Sourced<crate::acpi::Ecam>>,
    /// Memory modules are listed, on so many packages.
    pub packages: Option<Sourced<u32>>,
}
