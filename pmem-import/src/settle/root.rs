//! A root bus.

use crate::facts::{Aperture, BusId, Function, Sourced};
use pmem_core::AddrRange;
use pmem_pci::Address;
use std::collections::BTreeMap;

/// A root bus.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) bus: BusId,
    /// What it is given, as the CPU sees it, and where that is on the bus; disjoint.
    pub(crate) apertures: Vec<Sourced<Aperture>>,
    /// No source says what it is given: of memory, and of ports. Its apertures are what its functions show.
    pub(crate) guessed: [bool; 2],
    /// Addresses are others on the bus, so that the way in is no inverse of the way out.
    pub(crate) shifted: bool,
    /// The NUMA node that it is attached to.
    pub(crate) node: Option<u32>,
    /// What its devices reach of the system's addresses, where a source says so: by the bus's addresses.
    pub(crate) inward: Option<Vec<(AddrRange, u64)>>,
}

impl Root {
    /// Where an address is on the bus.
    pub(crate) fn to_bus(&self, range: AddrRange, io: bool) -> Option<AddrRange> {
        let mut own = self.apertures.iter().map(|said| &said.value).filter(|a| a.io == io);
        let offset = own
            .clone()
            .find(|aperture| aperture.range.contains(range.start()))
            .or_else(|| {
                own.find(|aperture| aperture.bus_start != aperture.range.start())
                    .filter(|_| self.shifted && !io)
            })
            .map_or(0, |aperture| aperture.bus_start.wrapping_sub(aperture.range.start()));
        range.shifted(offset)
    }
}

/// The root bus above a function.
pub(super) fn root_of(functions: &BTreeMap<Address, Function>, function: &Function) -> BusId {
    let mut at = function;
    for _ in 0..256 {
        match at.parent.and_then(|parent| functions.get(&parent)) {
            Some(parent) => at = parent,
            None => break,
        }
    }
    at.root.unwrap_or((at.bdf().segment, at.bdf().bus))
}
