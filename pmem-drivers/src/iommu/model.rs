//! Domains and devices as a model has them.

use super::binding::{Binding, Peers};
use alloc::string::String;
use alloc::vec::Vec;
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Constraints, Direction, Error, LinkId, Mapping, Metric, Plan,
    RegionId, Request, Table, Way,
};
use pmem_iommu::table::PAGE_SHIFT;
use pmem_iommu::{INTERRUPTS, RequesterId, amd};

/// A domain in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    /// What its devices see: regions are mapped here.
    pub arena: ArenaId,
    /// The interconnect to the system's bus, with the table.
    pub link: LinkId,
}

/// Which addresses devices may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    input: AddrRange,
    granule: u64,
    reserved: Vec<(AddrRange, String)>,
}

impl Limits {
    /// Addresses of so many bits: what the unit translates, and all devices of the domain have. Address 0 is given to nobody.
    #[must_use]
    pub fn new(width: u32) -> Self {
        let last = u64::MAX >> (64 - width.clamp(PAGE_SHIFT + 1, 64));
        let granule = 1 << PAGE_SHIFT;
        let input = AddrRange::inclusive(0, last).unwrap_or(AddrRange::ALL);
        let null = AddrRange::inclusive(0, granule - 1).unwrap_or(AddrRange::ALL);
        Self { input, granule, reserved: Vec::from([(null, String::from("address 0"))]) }
    }

    /// The same without x86's range of interrupts, which is never translated.
    #[must_use]
    pub fn x86(width: u32) -> Self {
        Self::new(width).reserve_span(*INTERRUPTS.start(), *INTERRUPTS.end(), "interrupts")
    }

    /// The same without what AMD's HyperTransport has for itself as well.
    #[must_use]
    pub fn amd(width: u32) -> Self {
        let hole = amd::HYPER_TRANSPORT;
        Self::x86(width).reserve_span(*hole.start(), *hole.end(), "HyperTransport")
    }

    /// Only addresses from `first` to `last`: the aperture of a device.
    #[must_use]
    pub fn within(self, aperture: AddrRange) -> Self {
        let input = self.input.intersect(aperture).unwrap_or(self.input);
        Self { input, ..self }
    }

    /// Pages of so many bytes, a power of two of at least 4096: of a kernel with larger pages.
    #[must_use]
    pub fn granule(self, granule: u64) -> Self {
        Self { granule, ..self }
    }

    /// Gives a range to nobody, whole pages of it: a window of the bridge above, by which peers are reached, or what firmware has reserved.
    #[must_use]
    pub fn reserve(mut self, range: AddrRange, why: impl Into<String>) -> Self {
        self.reserved.push((range.rounded(self.granule), why.into()));
        self
    }

    fn reserve_span(self, first: u64, last: u64, why: &str) -> Self {
        match AddrRange::inclusive(first, last) {
            Ok(range) => self.reserve(range, why),
            Err(_) => self,
        }
    }

    /// The parts that are given to nobody, that no other has, in order.
    fn parts(&self) -> Vec<(AddrRange, &str)> {
        let mut reserved: Vec<(AddrRange, &str)> =
            self.reserved.iter().map(|(range, why)| (*range, why.as_str())).collect();
        reserved.sort_by_key(|(range, _)| (range.start(), range.last()));
        let mut parts: Vec<(AddrRange, &str)> = Vec::new();
        for (range, why) in reserved {
            let rest = match parts.last() {
                Some((before, _)) if before.overlaps(range) => range.minus(*before)[1],
                _ => Some(range),
            };
            parts.extend(rest.and_then(|rest| rest.intersect(self.input)).map(|rest| (rest, why)));
        }
        parts
    }
}

/// Makes a domain in front of the system's bus. Ranges that are reserved are regions of its arena, which stay and have a name.
///
/// # Errors
/// Those of the verbs.
pub fn add_domain(
    plan: &mut Plan<'_>,
    binding: &mut Binding,
    system: ArenaId,
    name: &str,
    limits: &Limits,
    peers: Peers,
) -> Result<Domain, Error> {
    let arena = plan.create_arena(name, ArenaType::PCI)?;
    let parts = limits.parts();
    let table = Table::new(limits.input.rounded(limits.granule), limits.granule)?;
    let table = parts.iter().fold(table, |table, (range, _)| table.without(*range));
    let inward = Direction::new(Mapping::Table(table), Metric::new(1));
    // Whoever is on the system's bus does not see what is behind the unit by this way.
    let link = plan.connect_asymmetric(arena, system, inward, Direction::closed())?;
    plan.name_link(link, name)?;
    for (range, why) in parts {
        plan.prime(arena, range, Attrs::device())?;
        let region = plan.alloc(arena, &Request::exactly(range).pinned())?;
        plan.name_region(region, why)?;
    }
    binding.system = Some(system);
    binding.domains.insert(link, peers);
    Ok(Domain { arena, link })
}

/// Makes a device, which asks by these ids: it is joined to nothing yet, and its requests are refused.
///
/// # Errors
/// Those of the verbs.
pub fn add_device(
    plan: &mut Plan<'_>,
    binding: &mut Binding,
    name: &str,
    ids: impl IntoIterator<Item = RequesterId>,
) -> Result<ArenaId, Error> {
    let arena = plan.create_arena(name, ArenaType::PCI)?;
    binding.devices.insert(arena, ids.into_iter().collect());
    Ok(arena)
}

fn seat(plan: &mut Plan<'_>, device: ArenaId, to: ArenaId) -> Result<LinkId, Error> {
    leave(plan, device)?;
    let inward = Direction::new(Mapping::Identity, Metric::ZERO);
    plan.connect_asymmetric(device, to, inward, Direction::closed())
}

/// Has a device be one of a domain, whatever it was before.
///
/// # Errors
/// Those of the verbs; [`Error::Refused`] when the change is made, if the unit cannot.
pub fn join(plan: &mut Plan<'_>, device: ArenaId, domain: Domain) -> Result<LinkId, Error> {
    seat(plan, device, domain.arena)
}

/// Has a device's requests pass untranslated, to the bus that is the [`Binding`]'s.
///
/// # Errors
/// Those of the verbs; [`Error::Refused`] when the change is made, if the unit cannot, or it is another bus.
pub fn pass(plan: &mut Plan<'_>, device: ArenaId, system: ArenaId) -> Result<LinkId, Error> {
    seat(plan, device, system)
}

/// Has a device's requests be refused.
///
/// # Errors
/// Those of the verbs.
pub fn leave(plan: &mut Plan<'_>, device: ArenaId) -> Result<(), Error> {
    let had: Vec<LinkId> = plan
        .state()
        .links()
        .filter(|(_, link)| link.near(Way::ToRight) == device)
        .map(|(id, _)| id)
        .collect();
    had.into_iter().try_for_each(|link| plan.disconnect(link))
}

/// Maps a region of the system's bus at the same address, as reserved memory of firmware must be for the devices that it names (VT-d 8.4).
///
/// # Errors
/// Those of the verbs: [`Error::NoSpace`] if the domain has something else there.
pub fn map_identity(plan: &mut Plan<'_>, domain: Domain, region: RegionId) -> Result<RegionId, Error> {
    let at = plan.range(region)?.start();
    plan.map_at(domain.arena, region, Constraints::at(at))
}
