//! CXL: windows, decoders, regions and devices.

use super::Sourced;
use crate::acpi::{Cfmws, Chbs, Cxims};
use pmem_core::AddrRange;
use pmem_pci::Address;
use std::collections::BTreeMap;

/// Where a decoder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecoderLevel {
    /// At the root: a window.
    Root,
    /// In a host bridge.
    Bridge,
    /// In a switch.
    Switch,
    /// In a device.
    Endpoint,
}

/// A decoder (CXL 3.1, 8.2.4.20), as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoder {
    /// What it is called: `decoder2.0`; empty where it has no name.
    pub name: String,
    /// Where it is; `None` if it is not said.
    pub level: Option<DecoderLevel>,
    /// The port that it is in: `root0`, `port1`, `endpoint5`.
    pub port: String,
    /// The device behind: `mem0`.
    pub device: Option<String>,
    /// The first address, and how many bytes.
    pub range: Option<(u64, u64)>,
    /// Among how many it shares out.
    pub ways: Option<u32>,
    /// By pieces of so many bytes.
    pub granularity: Option<u32>,
    /// It is in force; `None` if it is not said.
    pub committed: Option<bool>,
    /// Its targets' ids, in order.
    pub targets: Vec<String>,
    /// The region that it is of.
    pub region: Option<String>,
    /// The device's own addresses that it leads to: the first, and how many bytes.
    pub own: Option<(u64, u64)>,
}

/// A region that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CxlRegionRecord {
    /// What it is called.
    pub name: String,
    /// Its addresses.
    pub range: AddrRange,
    /// Among how many it is shared out.
    pub ways: Option<u32>,
    /// By pieces of so many bytes.
    pub granularity: Option<u32>,
    /// By position: the device's decoder.
    pub targets: BTreeMap<u32, String>,
}

impl Decoder {
    /// One of which nothing is known but its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            level: None,
            port: String::new(),
            device: None,
            range: None,
            ways: None,
            granularity: None,
            committed: None,
            targets: Vec::new(),
            region: None,
            own: None,
        }
    }

    /// Its addresses, if it has any.
    #[must_use]
    pub fn addresses(&self) -> Option<AddrRange> {
        let (first, bytes) = self.range?;
        AddrRange::sized(first, bytes).ok()
    }
}

/// A region that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionRequest {
    /// The root decoder.
    pub decoder: Option<String>,
    /// Among how many.
    pub ways: Option<u32>,
    /// By pieces of so many bytes.
    pub granularity: Option<u32>,
    /// The devices, in order.
    pub devices: Vec<String>,
}

/// A tree of ports below one window, level by level, as far as a text tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortTree {
    /// Host bridges.
    pub bridges: u32,
    /// Switches, of all bridges; 0 if devices are below bridges.
    pub switches: u32,
    /// Devices below each of the lowest ports.
    pub endpoints: u32,
}

/// What sources say of CXL.
#[derive(Clone, Debug, Default)]
pub struct Cxl {
    /// Windows (CFMWS).
    pub windows: Vec<Sourced<Cfmws>>,
    /// Host bridges (CHBS).
    pub bridges: Vec<Sourced<Chbs>>,
    /// Maps of bits (CXIMS).
    pub maps: Vec<Sourced<Cxims>>,
    /// Decoders.
    pub decoders: Vec<Sourced<Decoder>>,
    /// Regions that are there.
    pub regions: Vec<Sourced<CxlRegionRecord>>,
    /// By device: its function.
    pub devices: BTreeMap<String, Address>,
    /// By root decoder: the devices below it.
    pub below: BTreeMap<String, Vec<String>>,
    /// Regions that were asked for.
    pub wishes: Vec<Sourced<RegionRequest>>,
    /// The tree of ports.
    pub shape: Option<Sourced<PortTree>>,
    /// Where memory below 4 GiB ends and devices begin.
    pub hole: Option<Sourced<u64>>,
    /// Devices whose addresses are their own, with the range of the system's that firmware says they are.
    pub normalized: Vec<Sourced<(String, AddrRange)>>,
}
