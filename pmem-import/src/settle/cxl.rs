//! Which CXL device answers at an address, and at which of its own.

use crate::acpi::{Cfmws, Cxims};
use crate::facts::{Cxl, CxlRegionRecord, Facts, SourceLine, Sourced};
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
    /// Where it is said.
    pub at: SourceLine,
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
    /// Where it is said.
    pub at: SourceLine,
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
    /// Bits that are taken together: the lowest of each becomes their parity before pieces are dealt (CXL 3.1, 9.18.1.5 and table 9-22).
    pub maps: Vec<u64>,
    /// The bits that are taken together are not known.
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

    /// The address with bits that are taken together put into the lowest of them; the same leads back.
    fn mixed(&self, at: u64) -> u64 {
        self.maps.iter().fold(at, |at, map| {
            let lowest = map & map.wrapping_neg();
            if (at & map).count_ones() % 2 == 1 { at | lowest } else { at & !lowest }
        })
    }

    /// Which one has an address of a range, and at which place of its share.
    #[must_use]
    pub fn place(&self, range: AddrRange, at: u64) -> Option<(u8, u64)> {
        if self.is_unknown || !range.contains(at) {
            return None;
        }
        let dealt = self.mixed(at);
        (0..self.ways).find_map(|position| {
            let share = Interleave::new(range, self.ways, self.granularity, position, 0).ok()?;
            Some((position, share.translate(dealt)?))
        })
    }

    /// The address of a range that is at a place of one's share.
    #[must_use]
    pub fn back(&self, range: AddrRange, position: u8, own: u64) -> Option<u64> {
        if self.is_unknown {
            return None;
        }
        let share = Interleave::new(range, self.ways, self.granularity, position, 0).ok()?;
        Some(self.mixed(share.invert(own)?)).filter(|at| range.contains(*at))
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
    // Of multiples of three one bit less is taken together for each two: what is left is divided. A table may have more maps than a
    // window takes.
    let bits = ways.trailing_zeros() as usize;
    if window.is_xor && bits > 0 {
        let own = maps.iter().find(|maps| maps.granularity == Some(granularity));
        sharing.maps = own.map(|maps| maps.maps.iter().copied().take(bits).collect()).unwrap_or_default();
        // Each map has a bit of its own, the lowest; maps that are not there, or are others, tell nothing.
        let low = granularity.trailing_zeros();
        let lowest = |n: u32| 1u64 << (low + n);
        let all = (0..bits as u32).fold(0, |all, n| all | lowest(n));
        let is_own = |(n, map): (u32, &u64)| map & (all | (lowest(0) - 1)) == lowest(n);
        sharing.is_unknown = sharing.maps.len() != bits || !(0..).zip(&sharing.maps).all(is_own);
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
            let mut sharing = of_window(&said.value, &maps);
            // Remainders are those of the address itself: where the base has one of its own, which device is the first is not known.
            if let Some(sharing) = sharing.as_mut().filter(|sharing| sharing.ways.is_multiple_of(3)) {
                let low = sharing.granularity.trailing_zeros() + sharing.ways.trailing_zeros();
                sharing.is_unknown |= !(range.start() >> low).is_multiple_of(3);
            }
            Some(CxlWindow { at: said.at.clone(), range, sharing, bridges: said.value.targets.clone() })
        })
        .collect();
    let regions = cxl.regions.iter().filter_map(|said| region(cxl, &windows, said)).collect();
    CxlMemory { regions, windows }
}

fn region(cxl: &Cxl, windows: &[CxlWindow], said: &Sourced<CxlRegionRecord>) -> Option<CxlRegion> {
    let found = &said.value;
    // Of a region of which nothing is said the decoders of its addresses tell.
    let own = || {
        cxl.decoders.iter().map(|said| &said.value).filter(|decoder| {
            decoder.region.as_ref() == Some(&found.name) || decoder.addresses() == Some(found.range)
        })
    };
    let end = || own().filter(|decoder| decoder.level == Some(crate::facts::DecoderLevel::Endpoint));
    let ways = found.ways.or_else(|| end().find_map(|decoder| decoder.ways))?;
    let granularity = found.granularity.or_else(|| end().find_map(|decoder| decoder.granularity));
    let ways = u8::try_from(ways).ok()?;
    let granularity = granularity.or((ways == 1).then_some(256))?;
    let mut sharing = Sharing::modulo(ways, granularity);
    let window = windows.iter().find(|window| window.range.covers(found.range));
    if let Some(of_window) =
        window.and_then(|window| window.sharing.as_ref()).filter(|of| !of.maps.is_empty() || of.is_unknown)
    {
        // What a window takes together is so before anybody below it shares out.
        sharing.maps.clone_from(&of_window.maps);
        sharing.is_unknown = of_window.is_unknown;
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
    Some(CxlRegion { name: found.name.clone(), at: said.at.clone(), range: found.range, sharing, targets })
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
                        let first = decoded(base, ways.into(), step).1;
                        assert_eq!((select as u8, own - first), expected, "{ways} {granularity} {at:#x}");
                    }
                }
                let last = range.last();
                let (position, own) = sharing.place(range, last).unwrap();
                assert_eq!((u64::from(position), own), (u64::from(ways) - 1, 256 * MIB - 1));
                assert_eq!(sharing.place(range, last + 1), None);
            }
        }
    }

    /// Maps that have each a bit of their own and any above those of all.
    fn maps(bits: u32, granularity: u32, high: &[u64], size: u64) -> Vec<u64> {
        let above = |n: u32| {
            high[n as usize] & !((1 << (granularity + bits)) - 1) & (size.next_power_of_two() / 2 - 1)
        };
        (0..bits).map(|n| 1 << (granularity + n) | above(n)).collect()
    }

    #[test]
    fn a_window_takes_as_many_maps_as_it_has_bits_and_only_what_it_understands() {
        let window = |ways, xormaps: &[u64]| {
            let cxims = Cxims { granularity: Some(256), maps: xormaps.to_vec() };
            let window = Cfmws {
                offset: 0,
                base: 0,
                size: 256 * MIB * u64::from(ways),
                ways: Some(ways),
                is_xor: true,
                granularity: Some(256),
                restrictions: 0,
                qos: 0,
                targets: Vec::new(),
            };
            of_window(&window, &[&cxims]).unwrap()
        };
        let all = [0x1_0100, 0x2_0200, 0x4_0400, 0x8_0800];
        assert_eq!(window(2, &all).maps, all[..1]);
        assert_eq!((window(12, &all).maps.len(), window(12, &all).is_unknown), (2, false));
        assert_eq!((window(3, &[]).maps.len(), window(3, &[]).is_unknown), (0, false), "three need none");
        assert!(window(4, &all[..1]).is_unknown, "one is missing");
        assert!(window(2, &all[1..]).is_unknown, "its lowest bit is not the piece's");
        assert!(window(4, &[0x1_0300, 0x2_0200]).is_unknown, "one has another's bit");
    }

    #[test]
    fn a_window_of_three_whose_base_leaves_a_remainder_says_nothing() {
        let at = |base: u64, ways: u8| {
            let window = Cfmws {
                base,
                size: 256 * MIB * u64::from(ways),
                ways: Some(ways),
                granularity: Some(256),
                is_xor: false,
                restrictions: 0,
                qos: 0,
                targets: (0..ways.into()).collect(),
                offset: 0,
            };
            let mut facts = Facts::default();
            facts.cxl.windows.push(Sourced::new(window, SourceLine::whole("CEDT")));
            settle(&facts).bridge(base).and_then(|(_, bridge)| bridge)
        };
        assert_eq!(at(3 * 256 * MIB, 3), Some(0));
        assert_eq!(at(0x1_9000_0000, 3), None);
        assert_eq!(at(0x1_9000_0000, 4), Some(0));
    }

    proptest! {
        /// Bits that are taken together, as the specification counts targets: a parity for each bit, a remainder for what is above. Each
        /// device has as much, each place is somebody's, and the way back leads there.
        #[test]
        fn bits_that_are_taken_together_lead_there_and_back(
            ways in prop::sample::select(vec![1u8, 2, 3, 4, 6, 8, 12, 16]), granularity in 8..=14u32, high in any::<[u64; 4]>(), at in any::<u64>()
        ) {
            let size = 256 * MIB * u64::from(ways);
            let range = AddrRange::sized(size * 4, size).unwrap();
            let bits = ways.trailing_zeros();
            let maps = maps(bits, granularity, &high, size);
            let sharing = Sharing { maps: maps.clone(), ..Sharing::modulo(ways, 1 << granularity) };
            let at = range.start() + at % size;
            let (position, own) = sharing.place(range, at).unwrap();
            for (n, map) in maps.iter().enumerate() {
                let parity = (0..64).filter(|bit| at >> bit & 1 == 1 && map >> bit & 1 == 1).count() % 2;
                prop_assert_eq!(usize::from(position >> n & 1), parity);
            }
            let (above, divisor) = (at >> (granularity + bits), if ways.is_multiple_of(3) { 3 } else { 1 });
            prop_assert_eq!(u64::from(position >> bits), above % divisor);
            prop_assert_eq!(own >> granularity, above / divisor - (range.start() >> (granularity + bits)) / divisor);
            prop_assert_eq!(own & ((1 << granularity) - 1), at & ((1 << granularity) - 1));
            prop_assert_eq!(sharing.back(range, position, own), Some(at));
            // The others have the pieces beside it at the same place.
            let group = u64::from(ways) << granularity;
            let first = range.start() + (at - range.start()) / group * group + (at & ((1 << granularity) - 1));
            let all: std::collections::BTreeSet<(u8, u64)> =
                (0..u64::from(ways)).map(|n| sharing.place(range, first + (n << granularity)).unwrap()).collect();
            prop_assert_eq!(all.len(), usize::from(ways));
            prop_assert!(all.iter().all(|(_, place)| *place == own));
        }
    }
}
