//! Contents of firmware's tables about nodes, memory performance and buses, not yet interpreted.

use super::{SourceLine, Sourced};
use crate::acpi::{Affinity, Cdat, Hmat, Initiator, Slit};

/// Contents of ACPI tables, from the tables themselves and from logs that print them.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Memory of proximity domains (SRAT).
    pub memory: Vec<Sourced<Affinity>>,
    /// Processors and other initiators (SRAT).
    pub initiators: Vec<Sourced<Initiator>>,
    /// Lines of old logs that print each node's extent so far instead of the entries, so that the
    /// entries are unknown.
    pub extents: Vec<SourceLine>,
    /// Distances (SLIT).
    pub distances: Vec<Sourced<Slit>>,
    /// Latencies and bandwidths (HMAT).
    pub access: Vec<Sourced<Hmat>>,
    /// What CXL devices report about their own memory (CDAT), by endpoint.
    pub devices: Vec<(String, Sourced<Cdat>)>,
    /// Ids of I/O APICs (MADT).
    pub io_apics: Vec<Sourced<u32>>,
    /// Memory-mapped configuration space (MCFG).
    pub ecam: Vec<Sourced<crate::acpi::Ecam>>,
    /// Number of packages that a text lists memory modules for.
    pub packages: Option<Sourced<u32>>,
}
