//! A root bus.

use crate::facts::{Aperture, BusId, Function, Sourced};
use pmem_core::AddrRange;
use pmem_pci::Address;
use std::collections::BTreeMap;

/// A root bus.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) bus: BusId,
    /// Its disjoint apertures, in CPU addresses, each with its bus address.
    pub(crate) apertures: Vec<Sourced<Aperture>>,
    /// No source gives its apertures, of memory and of ports; they are what its functions show.
    pub(crate) guessed: [bool; 2],
    /// Bus addresses differ from CPU addresses, so the way in is not the inverse of the way out.
    pub(crate) shifted: bool,
    /// The NUMA node that it is attached to.
    pub(crate) node: Option<u32>,
    /// The system addresses that its devices reach, as ranges of bus addresses; `None` if no source says.
    pub(crate) inward: Option<Vec<(AddrRange, u64)>>,
}

impl Root {
    /// Translates CPU addresses to bus addresses; `None` if the result wraps.
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

/// Returns the root bus above a function.
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
