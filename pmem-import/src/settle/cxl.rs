//! Which CXL device answers at an address, and at which of its own.

use crate::acpi::{Cfmws, Cxims};
use crate::facts::{Cxl, Facts, Region};
use pmem_core::{AddrRange, Interleave};
use pmem_pci::Address;

/// CXL's memory, as far as sources say how it is shared out.
#[derive(Clone, Debug, Default)]
pub struct CxlMemory {
    /// Regions.
    pub regions: Vec<CxlRegion>,
    /// Windows, with the host bridges that they lead to.
    pub windows: Vec<CxlWindow>,
}

/// Addresses that devices share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CxlRegion {
    /// What it is called.
    pub name: String,
    /// Its addresses.
    pub range: AddrRange,
    /// How it is shared out.
    pub sharing: Sharing,
    /// By position: who answers; `None` if no source says.
    pub targets: Vec<Option<CxlTarget>>,
}

/// A window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CxlWindow {
    /// Its addresses.
    pub range: AddrRange,
    /// How it is shared out; `None` if it is coded as nobody knows.
    pub sharing: Option<Sharing>,
    /// By position: the number of the host bridge.
    pub bridges: Vec<u32>,
}

/// A device of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CxlTarget {
    /// The device: `mem0`.
    pub device: String,
    /// Its decoder.
    pub decoder: String,
    /// Its function.
    pub function: Option<Address>,
    /// Its own addresses in the region; `None` if no source says.
    pub own: Option<AddrRange>,
}

/// How addresses are shared out (CXL 3.1, 8.2.4.20.13 and 9.18.1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Among how many.
    pub ways: u8,
    /// By pieces of so many bytes.
    pub granularity: u32,
    /// Which one is told by bits that are taken together; by modulo if there are none.
    pub maps: Vec<u64>,
    /// Which one is told is not known: bits that are taken together at one level, with others below.
    pub is_unknown: bool,
}

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CxlPlace<'m> {
    /// The region.
    pub region: &'m CxlRegion,
    /// Which of its devices; `None` if that is not known.
    pub position: Option<u8>,
    /// The device.
    pub target: Option<&'m CxlTarget>,
    /// The address there.
    pub own: Option<u64>,
}

impl Sharing {
    /// Pieces that go round.
    #[must_use]
    pub const fn modulo(ways: u8, granularity: u32) -> Self {
        Self { ways, granularity, maps: Vec::new(), is_unknown: false }
    }

    /// Which one has an address of a range, and at which place of its share.
    #[must_use]
    pub fn place(&self, range: AddrRange, at: u64) -> Option<(u8, u64)> {
        if self.is_unknown || !range.contains(at) {
            return None;
        }
        let share = |position| Interleave::new(range, self.ways, self.granularity, position, 0).ok();
        let (own, position) =
            (0..self.ways).find_map(|position| Some((share(position)?.translate(at)?, position)))?;
        if self.maps.is_empty() {
            return Some((position, own));
        }
        // The bits that are left out are the same; who has the piece is told by others as well.
        let position = self
            .maps
            .iter()
            .enumerate()
            .fold(0, |position, (n, map)| position | ((at & map).count_ones() as u8 & 1) << n);
        Some((position, own))
    }

    /// The address of a range that is at a place of one's share.
    #[must_use]
    pub fn back(&self, range: AddrRange, position: u8, own: u64) -> Option<u64> {
        if self.is_unknown {
            return None;
        }
        let share = |position| Interleave::new(range, self.ways, self.granularity, position, 0).ok();
        if self.maps.is_empty() {
            return share(position)?.invert(own);
        }
        // One of the pieces that differ only in the bits that are left out.
        (0..self.ways)
            .filter_map(|n| share(n)?.invert(own))
            .find(|at| self.place(range, *at).is_some_and(|(found, _)| found == position))
    }
}

impl CxlMemory {
    /// Who answers at an address; `None` if no region has it.
    #[must_use]
    pub fn at(&self, at: u64) -> Option<CxlPlace<'_>> {
        let region = self.regions.iter().find(|region| region.range.contains(at))?;
        let place = region.sharing.place(region.range, at);
        let target = place.and_then(|(position, _)| region.targets.get(usize::from(position))?.as_ref());
        let own = place.zip(target.and_then(|target| target.own));
        let own = own.and_then(|((_, offset), own)| own.start().checked_add(offset));
        Some(CxlPlace { region, position: place.map(|(position, _)| position), target, own })
    }

    /// The host bridge that a window leads to from an address.
    #[must_use]
    pub fn bridge(&self, at: u64) -> Option<(&CxlWindow, Option<u32>)> {
        let window = self.windows.iter().find(|window| window.range.contains(at))?;
        let place = window.sharing.as_ref().and_then(|sharing| sharing.place(window.range, at));
        Some((window, place.and_then(|(position, _)| window.bridges.get(usize::from(position)).copied())))
    }

    /// The system's address at which a device's own address answers.
    #[must_use]
    pub fn back(&self, device: &str, own: u64) -> Option<u64> {
        self.regions.iter().find_map(|region| {
            region.targets.iter().zip(0..).find_map(|(target, position)| {
                let target = target.as_ref().filter(|target| target.device == device)?;
                let range = target.own.filter(|range| range.contains(own))?;
                region.sharing.back(region.range, position, own - range.start())
            })
        })
    }
}

/// How a window is shared out.
fn of_window(window: &Cfmws, maps: &[&Cxims]) -> Option<Sharing> {
    let (ways, granularity) = window.ways.zip(window.granularity)?;
    let mut sharing = Sharing::modulo(ways, granularity);
    if window.is_xor && ways > 1 {
        let own = maps.iter().find(|maps| maps.granularity == Some(granularity));
        sharing.maps = own.map(|maps| maps.maps.clone()).unwrap_or_default();
        // With multiples of three a remainder goes with the bits; and maps that are not there tell nothing.
        sharing.is_unknown = !ways.is_power_of_two() || sharing.maps.len() != ways.trailing_zeros() as usize;
    }
    Some(sharing)
}

/// Settles which device has which addresses.
pub(super) fn settle(facts: &Facts) -> CxlMemory {
    let cxl = &facts.cxl;
    let maps: Vec<&Cxims> = cxl.maps.iter().map(|said| &said.value).collect();
    let windows: Vec<CxlWindow> = cxl
        .windows
        .iter()
        .filter_map(|said| {
            let range = AddrRange::sized(said.value.base, said.value.size).ok()?;
            let sharing = of_window(&said.value, &maps);
            Some(CxlWindow { range, sharing, bridges: said.value.targets.clone() })
        })
        .collect();
    let regions = cxl.regions.iter().filter_map(|said| region(cxl, &windows, &said.value)).collect();
    CxlMemory { regions, windows }
}

fn region(cxl: &Cxl, windows: &[CxlWindow], found: &Region) -> Option<CxlRegion> {
    // Of a region of which nothing is said the decoders of its addresses tell.
    let own = || {
        cxl.decoders.iter().map(|said| &said.value).filter(|decoder| {
            decoder.region.as_ref() == Some(&found.name) || decoder.addresses() == Some(found.range)
        })
    };
    let end = || own().filter(|decoder| decoder.level == Some(crate::facts::Level::Endpoint));
    let ways = found.ways.or_else(|| end().find_map(|decoder| decoder.ways))?;
    let granularity = found.granularity.or_else(|| end().find_map(|decoder| decoder.granularity));
    let ways = u8::try_from(ways).ok()?;
    let granularity = granularity.or((ways == 1).then_some(256))?;
    let mut sharing = Sharing::modulo(ways, granularity);
    let window = windows.iter().find(|window| window.range.covers(found.range));
    if let Some(of_window) =
        window.and_then(|window| window.sharing.as_ref()).filter(|of| !of.maps.is_empty() || of.is_unknown)
    {
        sharing.maps.clone_from(&of_window.maps);
        // Bridges share out what is left by other rules.
        sharing.is_unknown =
            of_window.is_unknown || of_window.ways != ways || of_window.granularity != granularity;
    }
    let target = |position: u32| {
        let named = found.targets.get(&position);
        let decoder = match named {
            Some(name) => cxl.decoders.iter().map(|said| &said.value).find(|decoder| decoder.name == *name),
            None if ways == 1 => end().next(),
            None => None,
        }?;
        let device = decoder.device.clone()?;
        let function = cxl.devices.get(&device).copied();
        let own = decoder.own.and_then(|(first, bytes)| AddrRange::sized(first, bytes).ok());
        Some(CxlTarget { device, decoder: decoder.name.clone(), function, own })
    };
    let targets = (0..u32::from(ways)).map(target).collect();
    Some(CxlRegion { name: found.name.clone(), range: found.range, sharing, targets })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    /// Who has each piece, by dealing pieces out one after another.
    fn dealt(ways: u64, pieces: u64) -> Vec<(u64, u64)> {
        let mut next = vec![0u64; ways as usize];
        (0..pieces)
            .map(|piece| {
                let one = (piece % ways) as usize;
                next[one] += 1;
                (one as u64, next[one] - 1)
            })
            .collect()
    }

    /// The decoder of the specification: bits are taken out of the address; for multiples of three what is above is divided.
    fn decoded(at: u64, ways: u64, granularity: u64) -> (u64, u64) {
        let low = granularity.trailing_zeros();
        let above = at >> low;
        let within = at & (granularity - 1);
        let bits = if ways.is_power_of_two() { ways.trailing_zeros() } else { (ways / 3).trailing_zeros() };
        let select = above & ((1 << bits) - 1);
        let rest = above >> bits;
        if ways.is_power_of_two() {
            (select, rest << low | within)
        } else {
            (((rest % 3) << bits) | select, ((rest / 3) << low) | within)
        }
    }

    #[test]
    fn every_way_and_granularity_is_shared_out_as_pieces_are_dealt() {
        for ways in [1u8, 2, 3, 4, 6, 8, 12, 16] {
            for granularity in (8..=14).map(|bits| 1u32 << bits) {
                let base = 256 * MIB * u64::from(ways) * 5;
                let range = AddrRange::sized(base, 256 * MIB * u64::from(ways)).unwrap();
                let sharing = Sharing::modulo(ways, granularity);
                let step = u64::from(granularity);
                for (piece, (one, place)) in (0..).zip(dealt(ways.into(), 4 * u64::from(ways) + 3)) {
                    for within in [0, 1, step - 1] {
                        let at = base + piece * step + within;
                        let expected = (one as u8, place * step + within);
                        assert_eq!(sharing.place(range, at), Some(expected), "{ways} {granularity} {at:#x}");
                        assert_eq!(sharing.back(range, expected.0, expected.1), Some(at));
                        let (select, own) = decoded(at, ways.into(), step);
                        // Bits and remainders number the devices otherwise, and take out the same.
                        let first = decoded(base, ways.into(), step).1;
                        assert_eq!(own - first, expected.1, "{ways} {granularity} {at:#x}");
                        assert!(select < u64::from(ways));
                    }
                }
                let last = range.last();
                let (position, own) = sharing.place(range, last).unwrap();
                assert_eq!((u64::from(position), own), (u64::from(ways) - 1, 256 * MIB - 1));
                assert_eq!(sharing.place(range, last + 1), None);
            }
        }
    }

    proptest! {
        /// Bits that are taken together: each device has as much, each place is somebody's, and the way back leads there.
        #[test]
        fn bits_that_are_taken_together_lead_there_and_back(
            log in 1..=4u32, granularity in 8..=14u32, high in any::<[u64; 4]>(), at in any::<u64>()
        ) {
            let ways = 1u8 << log;
            let size = 256 * MIB * u64::from(ways);
            let range = AddrRange::sized(size * 3, size).unwrap();
            // Each map has its own bit, and any above those of all.
            let maps: Vec<u64> = (0..log)
                .map(|n| 1 << (granularity + n) | high[n as usize] & !((1 << (granularity + log)) - 1) & (size - 1))
                .collect();
            let sharing = Sharing { maps: maps.clone(), ..Sharing::modulo(ways, 1 << granularity) };
            let at = range.start() + at % size;
            let (position, own) = sharing.place(range, at).unwrap();
            for (n, map) in maps.iter().enumerate() {
                let parity = (0..64).filter(|bit| at >> bit & 1 == 1 && map >> bit & 1 == 1).count() % 2;
                prop_assert_eq!(usize::from(position >> n & 1), parity);
            }
            prop_assert_eq!(sharing.back(range, position, own), Some(at));
            // The others have the pieces beside it at the same place.
            let piece = at & !((u64::from(ways) << granularity) - 1) | at & ((1 << granularity) - 1);
            let all: std::collections::BTreeSet<(u8, u64)> =
                (0..u64::from(ways)).map(|n| sharing.place(range, piece | n << granularity).unwrap()).collect();
            prop_assert_eq!(all.len(), usize::from(ways));
            prop_assert!(all.iter().all(|(_, place)| *place == own));
        }
    }
}
