//! Ranges that CXL interleaves, and the memory of CXL devices.

use crate::attrs::Speed;
use crate::units::Extent;
use pmem_import::{CxlPart, Machine};
use serde::Serialize;

/// A CXL window or region with its interleave.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CxlShare {
    /// The region's name; null for a window.
    pub region: Option<String>,
    /// The range.
    #[serde(flatten)]
    pub range: Extent,
    /// The number of ways; null if not known.
    pub ways: Option<u8>,
    /// The interleave granularity in bytes; null if not known.
    pub granularity: Option<u32>,
    /// The targets in order of position: host bridges by UID for a window, devices for a region; `?` for one that no
    /// source names.
    pub targets: Vec<String>,
}

/// Lists the windows, then the regions.
pub(super) fn all(machine: &Machine) -> Vec<CxlShare> {
    let windows = machine.cxl.windows.iter().map(|window| CxlShare {
        region: None,
        range: window.range.into(),
        ways: window.sharing.as_ref().map(|sharing| sharing.ways),
        granularity: window.sharing.as_ref().map(|sharing| sharing.granularity),
        targets: window.bridges.iter().map(|id| format!("host bridge {id}")).collect(),
    });
    let regions = machine.cxl.regions.iter().map(|region| CxlShare {
        region: Some(region.name.clone()),
        range: region.range.into(),
        ways: Some(region.sharing.ways),
        granularity: Some(region.sharing.granularity),
        targets: region
            .targets
            .iter()
            .map(|target| target.as_ref().map_or("?".to_owned(), |target| target.device.clone()))
            .collect(),
    });
    windows.chain(regions).collect()
}

/// A part of a CXL device's own memory, as the device describes it (CDAT): latency and bandwidth count from the device's
/// port on, without the way there.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CxlMemoryPart {
    /// The memory device, such as `mem0`; the endpoint's name if no source says which device is behind it.
    pub device: String,
    /// The range, in the device's own addresses.
    #[serde(flatten)]
    pub range: Extent,
    /// Whether it keeps its content without power.
    pub persistent: bool,
    /// Latency and bandwidth.
    #[serde(flatten)]
    pub speed: Speed,
}

pub(super) fn parts(machine: &Machine) -> Vec<CxlMemoryPart> {
    let part = |part: &CxlPart| CxlMemoryPart {
        device: part.device.clone(),
        range: part.own.into(),
        persistent: part.is_persistent,
        speed: part.performance.into(),
    };
    machine.cxl.parts.iter().map(part).collect()
}
