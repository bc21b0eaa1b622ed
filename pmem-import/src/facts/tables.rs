//! What firmware's tables say of nodes, memory's speed and buses, before anything is made of it.

use super::{Place, Said};
use crate::acpi::{Affinity, Cdat, Hmat, Initiator, Slit};

/// Of tables, and of logs that print them.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Memory of proximity domains (SRAT).
    pub memory: Vec<Said<Affinity>>,
    /// Processors and others that read memory (SRAT).
    pub initiators: Vec<Said<Initiator>>,
    /// Where a log prints no entries, but how far each node reaches so far: its entries cannot be told.
    pub extents: Vec<Place>,
    /// Distances (SLIT).
    pub distances: Vec<Said<Slit>>,
    /// How fast memory is (HMAT).
    pub access: Vec<Said<Hmat>>,
    /// What CXL devices say of their own memory (CDAT), by the device.
    pub devices: Vec<(String, Said<Cdat>)>,
    /// Ids of I/O APICs (MADT).
    pub io_apics: Vec<Said<u32>>,
    /// Configuration space (MCFG).
    pub ecam: Vec<Said<crate::acpi::Ecam>>,
    /// Memory modules are listed, on so many packages.
    pub packages: Option<Said<u32>>,
}
