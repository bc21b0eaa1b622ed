//! Addresses that CXL shares out.

use crate::units::Extent;
use pmem_import::Machine;
use schemars::JsonSchema;
use serde::Serialize;

/// Addresses that CXL shares out.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CxlShare {
    /// A region's name; null of a window.
    pub region: Option<String>,
    /// Its addresses.
    #[serde(flatten)]
    pub range: Extent,
    /// Among how many they are shared out; null if that is not known.
    pub ways: Option<u8>,
    /// By pieces of so many bytes.
    pub granularity: Option<u32>,
    /// To whom, by position: host bridges by their numbers, or devices; `?` of one that no source names.
    pub targets: Vec<String>,
}

/// Windows, then regions.
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
