//! What sources say about CXL: windows, decoders, regions and devices.

use super::Sourced;
use crate::acpi::{Cfmws, Chbs, Cxims};
use pmem_core::AddrRange;
use pmem_pci::Address;
use std::collections::BTreeMap;

/// Where in the hierarchy a decoder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecoderLevel {
    /// At the root: a CXL window.
    Root,
    /// In a host bridge.
    Bridge,
    /// In a switch.
    Switch,
    /// In a device.
    Endpoint,
}

/// An HDM decoder (CXL 3.1, 8.2.4.20), as far as sources describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoder {
    /// Its name, as in `decoder2.0`; a text without names gets a made-up one.
    pub name: String,
    /// Its level; `None` if no source says.
    pub level: Option<DecoderLevel>,
    /// The port that holds it: `root0`, `port1`, `endpoint5`. Empty if no source says.
    pub port: String,
    /// The memory device behind it, for an endpoint's decoder: `mem0`.
    pub device: Option<String>,
    /// First host physical address and length in bytes.
    pub range: Option<(u64, u64)>,
    /// Interleave ways: how many targets share the addresses.
    pub ways: Option<u32>,
    /// Interleave granularity in bytes.
    pub granularity: Option<u32>,
    /// Whether it is committed; `None` if no source says.
    pub committed: Option<bool>,
    /// Ids of its targets, in interleave order.
    pub targets: Vec<String>,
    /// The region that it belongs to.
    pub region: Option<String>,
    /// The device physical addresses behind it: first address and length in bytes.
    pub own: Option<(u64, u64)>,
}

/// A region that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CxlRegionRecord {
    /// Its name: `region0`.
    pub name: String,
    /// Its host physical addresses.
    pub range: AddrRange,
    /// Interleave ways; `None` if no source says.
    pub ways: Option<u32>,
    /// Interleave granularity in bytes; `None` if no source says.
    pub granularity: Option<u32>,
    /// By position in the interleave set: the endpoint decoder's name.
    pub targets: BTreeMap<u32, String>,
}

impl Decoder {
    /// Creates a decoder with a name; everything else is unknown.
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

    /// Returns its host physical addresses; `None` if they are unknown or empty.
    #[must_use]
    pub fn addresses(&self) -> Option<AddrRange> {
        let (first, bytes) = self.range?;
        AddrRange::sized(first, bytes).ok()
    }
}

/// A region that somebody asked for, with `cxl create-region`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionRequest {
    /// The root decoder to create it in.
    pub decoder: Option<String>,
    /// Interleave ways.
    pub ways: Option<u32>,
    /// Interleave granularity in bytes.
    pub granularity: Option<u32>,
    /// Its memory devices, in interleave order.
    pub devices: Vec<String>,
}

/// The tree of ports below one window, as a text describes it level by level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortTree {
    /// Number of host bridges.
    pub bridges: u32,
    /// Number of switches below all bridges together; 0 if devices hang directly below bridges.
    pub switches: u32,
    /// Number of devices below each of the lowest ports.
    pub endpoints: u32,
}

/// What sources say about CXL.
#[derive(Clone, Debug, Default)]
pub struct Cxl {
    /// CXL fixed memory windows (CFMWS).
    pub windows: Vec<Sourced<Cfmws>>,
    /// Host bridges (CHBS).
    pub bridges: Vec<Sourced<Chbs>>,
    /// XOR interleave math (CXIMS).
    pub maps: Vec<Sourced<Cxims>>,
    /// HDM decoders.
    pub decoders: Vec<Sourced<Decoder>>,
    /// Regions that exist.
    pub regions: Vec<Sourced<CxlRegionRecord>>,
    /// By memory device (`mem0`): its PCI function.
    pub devices: BTreeMap<String, Address>,
    /// By root decoder: the memory devices below it.
    pub below: BTreeMap<String, Vec<String>>,
    /// Regions that somebody asked for.
    pub wishes: Vec<Sourced<RegionRequest>>,
    /// The tree of ports; `None` if no source describes it.
    pub shape: Option<Sourced<PortTree>>,
    /// Where RAM below 4 GiB ends and the low memory hole for devices begins.
    pub hole: Option<Sourced<u64>>,
    /// Endpoint decoders with normalized addresses, each with the system physical addresses that firmware
    /// translates them to.
    pub normalized: Vec<Sourced<(String, AddrRange)>>,
}
