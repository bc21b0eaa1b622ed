//! Decodes CXL addresses: which device holds a host physical address, and at which of its own addresses.

use super::tables::{performance, quantities};
use crate::acpi::{Cdat, Cfmws, Cxims};
use crate::facts::{Cxl, CxlRegionRecord, Decoder, Facts, SourceLine, Sourced};
use pmem_core::{AddrRange, Interleave, Performance};
use pmem_pci::Address;

/// CXL memory, as far as sources describe its interleaving.
#[derive(Clone, Debug, Default)]
pub struct CxlMemory {
    /// Regions.
    pub regions: Vec<CxlRegion>,
    /// Windows, and the host bridges that they lead to.
    pub windows: Vec<CxlWindow>,
    /// Parts of devices' own memory, as the devices describe them.
    pub parts: Vec<CxlPart>,
}

/// A part of a device's own memory, as the device describes it (CDAT 1.03).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CxlPart {
    /// The memory device: `mem0`; the endpoint's name if no source says which device is behind it.
    pub device: String,
    /// Where the device's table was read.
    pub at: SourceLine,
    /// Its device physical addresses.
    pub own: AddrRange,
    /// Whether it keeps its content without power.
    pub is_persistent: bool,
    /// Latency and bandwidth from the device's port on: the way there comes on top.
    pub performance: Performance,
}

/// A region: addresses that CXL devices interleave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CxlRegion {
    /// Its name: `region0`.
    pub name: String,
    /// Where the source describes it.
    pub at: SourceLine,
    /// Its host physical addresses.
    pub range: AddrRange,
    /// How it is interleaved.
    pub sharing: Sharing,
    /// The target at each position; `None` if no source names it.
    pub targets: Vec<Option<CxlTarget>>,
}

/// A CXL fixed memory window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CxlWindow {
    /// Where the source describes it.
    pub at: SourceLine,
    /// Its host physical addresses.
    pub range: AddrRange,
    /// How it is interleaved over host bridges; `None` if its encoding is reserved.
    pub sharing: Option<Sharing>,
    /// By position: the unique id of the host bridge.
    pub bridges: Vec<u32>,
}

/// A device in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CxlTarget {
    /// The memory device: `mem0`.
    pub device: String,
    /// Its decoder: `decoder5.0`.
    pub decoder: String,
    /// Its PCI function; `None` if no source names it.
    pub function: Option<Address>,
    /// Its device physical addresses in the region; `None` if no source gives them.
    pub own: Option<AddrRange>,
}

/// How addresses are interleaved over targets (CXL 3.1, 8.2.4.20.13 and 9.18.1.4).
///
/// # Examples
///
/// Two devices that take turns every 256 bytes:
///
/// ```
/// use pmem_core::AddrRange;
/// use pmem_import::Sharing;
///
/// let window = AddrRange::sized(0x10_0000_0000, 1 << 30)?;
/// let sharing = Sharing::modulo(2, 256);
/// // The second piece belongs to the second device, and is the first of that device's own.
/// assert_eq!(sharing.place(window, 0x10_0000_0100), Some((1, 0)));
/// assert_eq!(sharing.back(window, 1, 0), Some(0x10_0000_0100));
/// # Ok::<(), pmem_core::RangeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Interleave ways: the number of targets.
    pub ways: u8,
    /// Interleave granularity in bytes.
    pub granularity: u32,
    /// XOR maps. Before addresses are distributed, the lowest bit of each map is replaced by the parity of the
    /// map's bits (CXL 3.1, 9.18.1.5 and table 9-22).
    pub maps: Vec<u64>,
    /// The interleaving uses XOR maps that are unknown.
    pub is_unknown: bool,
}

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CxlPlace<'m> {
    /// The region that contains it.
    pub region: &'m CxlRegion,
    /// The position of its target in the region; `None` if it is unknown.
    pub position: Option<u8>,
    /// The target; `None` if it is unknown.
    pub target: Option<&'m CxlTarget>,
    /// The device physical address; `None` if it is unknown.
    pub own: Option<u64>,
}

impl Sharing {
    /// Creates a plain interleaving without XOR: targets take turns.
    #[must_use]
    pub const fn modulo(ways: u8, granularity: u32) -> Self {
        Self { ways, granularity, maps: Vec::new(), is_unknown: false }
    }

    /// Applies the XOR maps. Each map only replaces its own lowest bit, so applying them twice gives the
    /// address back.
    fn mixed(&self, at: u64) -> u64 {
        self.maps.iter().fold(at, |at, map| {
            let lowest = map & map.wrapping_neg();
            if (at & map).count_ones() % 2 == 1 { at | lowest } else { at & !lowest }
        })
    }

    /// Returns the position that holds an address of a range, and the offset in that position's share. `None` if
    /// the address is outside the range, or the interleaving is unknown.
    #[must_use]
    pub fn place(&self, range: AddrRange, at: u64) -> Option<(u8, u64)> {
        if self.is_unknown || !range.contains(at) {
            return None;
        }
        let dealt = self.mixed(at);
        // A position's share translates only its own addresses, so the first success is the answer.
        (0..self.ways).find_map(|position| {
            let share = Interleave::new(range, self.ways, self.granularity, position, 0).ok()?;
            Some((position, share.translate(dealt)?))
        })
    }

    /// Returns the address of a range at an offset in a position's share: the inverse of [`place`](Self::place).
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
    /// Finds the device that holds an address; `None` if no region contains it.
    #[must_use]
    pub fn at(&self, at: u64) -> Option<CxlPlace<'_>> {
        let region = self.regions.iter().find(|region| region.range.contains(at))?;
        let place = region.sharing.place(region.range, at);
        let target = place.and_then(|(position, _)| region.targets.get(usize::from(position))?.as_ref());
        let own = place.zip(target.and_then(|target| target.own));
        let own = own.and_then(|((_, offset), own)| own.start().checked_add(offset));
        Some(CxlPlace { region, position: place.map(|(position, _)| position), target, own })
    }

    /// Finds the window that contains an address, and the host bridge that it leads to; the bridge is
    /// `None` if it is unknown.
    #[must_use]
    pub fn bridge(&self, at: u64) -> Option<(&CxlWindow, Option<u32>)> {
        let window = self.windows.iter().find(|window| window.range.contains(at))?;
        let place = window.sharing.as_ref().and_then(|sharing| sharing.place(window.range, at));
        Some((window, place.and_then(|(position, _)| window.bridges.get(usize::from(position)).copied())))
    }

    /// Returns the host physical address of a device physical address; `None` if no region maps it.
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

/// How a window is interleaved; `None` if its encoding is reserved.
fn of_window(window: &Cfmws, maps: &[&Cxims]) -> Option<Sharing> {
    let (ways, granularity) = window.ways.zip(window.granularity)?;
    let mut sharing = Sharing::modulo(ways, granularity);
    // Each factor of two in the ways has a map; of 3, 6 or 12 ways, the factor of three is a division instead. A
    // table may list more maps than a window uses.
    let bits = ways.trailing_zeros() as usize;
    if window.is_xor && bits > 0 {
        let own = maps.iter().find(|maps| maps.granularity == Some(granularity));
        sharing.maps = own.map(|maps| maps.maps.iter().copied().take(bits).collect()).unwrap_or_default();
        // Each map has a lowest bit of its own, one for each bit of the position. If maps are missing or different,
        // the interleaving is unknown.
        let low = granularity.trailing_zeros();
        let lowest = |n: u32| 1u64 << (low + n);
        let all = (0..bits as u32).fold(0, |all, n| all | lowest(n));
        let is_own = |(n, map): (u32, &u64)| map & (all | (lowest(0) - 1)) == lowest(n);
        sharing.is_unknown = sharing.maps.len() != bits || !(0..).zip(&sharing.maps).all(is_own);
    }
    Some(sharing)
}

/// Settles which device holds which addresses.
pub(super) fn settle(facts: &Facts) -> CxlMemory {
    let cxl = &facts.cxl;
    let maps: Vec<&Cxims> = cxl.maps.iter().map(|said| &said.value).collect();
    let windows: Vec<CxlWindow> = cxl
        .windows
        .iter()
        .filter_map(|said| {
            let range = AddrRange::sized(said.value.base, said.value.size).ok()?;
            let mut sharing = of_window(&said.value, &maps);
            // The division by 3 starts from address 0. If the window's base leaves a remainder, its
            // first device is unknown.
            if let Some(sharing) = sharing.as_mut().filter(|sharing| sharing.ways.is_multiple_of(3)) {
                let low = sharing.granularity.trailing_zeros() + sharing.ways.trailing_zeros();
                sharing.is_unknown |= !(range.start() >> low).is_multiple_of(3);
            }
            Some(CxlWindow { at: said.at.clone(), range, sharing, bridges: said.value.targets.clone() })
        })
        .collect();
    let regions = cxl.regions.iter().filter_map(|said| region(cxl, &windows, said)).collect();
    CxlMemory { regions, windows, parts: parts(facts) }
}

fn parts(facts: &Facts) -> Vec<CxlPart> {
    let part = |(endpoint, said): &(String, Sourced<Cdat>)| -> Vec<CxlPart> {
        let own = |decoder: &&Sourced<Decoder>| decoder.value.port == *endpoint;
        let device = facts.cxl.decoders.iter().filter(own).find_map(|said| said.value.device.clone());
        let device = device.unwrap_or_else(|| endpoint.clone());
        let areas = said.value.areas.iter().filter_map(|area| {
            let value = |quantity| area.values.iter().flatten().find(|value| value.quantity == quantity);
            Some(CxlPart {
                device: device.clone(),
                at: said.at.clone(),
                own: AddrRange::sized(area.base, area.length).ok()?,
                is_persistent: area.is_persistent,
                performance: performance(&quantities(|quantity| value(quantity).map(|value| value.value))),
            })
        });
        areas.collect()
    };
    facts.tables.devices.iter().flat_map(part).collect()
}

fn region(cxl: &Cxl, windows: &[CxlWindow], said: &Sourced<CxlRegionRecord>) -> Option<CxlRegion> {
    let found = &said.value;
    // A region's decoders fill in what sources do not say about the region itself.
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
        // A window's XOR applies before anything below it distributes addresses.
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
