//! Domains and devices in a model.

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
    /// The arena that the domain's devices see. Regions are mapped into it.
    pub arena: ArenaId,
    /// The interconnect to the system bus, which has the table.
    pub link: LinkId,
}

/// The addresses that devices of a domain can be given.
///
/// # Examples
///
/// ```
/// use pmem_core::{AddrRange, ArenaType, Manager};
/// use pmem_drivers::iommu::{Binding, Limits, Peers, add_domain};
///
/// let (mut pmem, mut binding) = (Manager::new(), Binding::default());
/// let system = pmem.create_arena("system", ArenaType::BUS)?;
/// // Keep the window of the bridge above the devices free.
/// let window = AddrRange::new(0xe000_0000, 0xf000_0000)?;
/// let limits = Limits::x86(39).reserve(window, "bridge window");
/// let domain = pmem.transaction(|plan| {
///     add_domain(plan, &mut binding, system, "network", &limits, Peers::Refused)
/// })?;
/// let state = pmem.state();
/// let arena = state.arena(domain.arena).ok_or("no arena")?;
/// let reserved: Vec<_> = arena.regions().filter_map(|(_, region)| state.region_name(region.id)).collect();
/// assert_eq!(reserved, ["address 0", "bridge window", "interrupts"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    input: AddrRange,
    granule: u64,
    reserved: Vec<(AddrRange, String)>,
}

impl Limits {
    /// Allows addresses of `width` bits, which the unit and all devices of the domain must support. The page at
    /// address 0 is reserved.
    #[must_use]
    pub fn new(width: u32) -> Self {
        let last = u64::MAX >> (64 - width.clamp(PAGE_SHIFT + 1, 64));
        let granule = 1 << PAGE_SHIFT;
        let input = AddrRange::inclusive(0, last).unwrap_or(AddrRange::ALL);
        let null = AddrRange::inclusive(0, granule - 1).unwrap_or(AddrRange::ALL);
        Self { input, granule, reserved: Vec::from([(null, String::from("address 0"))]) }
    }

    /// Like [`Self::new`], but also reserves the interrupt range of x86, which is never translated.
    #[must_use]
    pub fn x86(width: u32) -> Self {
        Self::new(width).reserve_span(*INTERRUPTS.start(), *INTERRUPTS.end(), "interrupts")
    }

    /// Like [`Self::x86`], but also reserves the range that AMD's HyperTransport uses.
    #[must_use]
    pub fn amd(width: u32) -> Self {
        let hole = amd::HYPER_TRANSPORT;
        Self::x86(width).reserve_span(*hole.start(), *hole.end(), "HyperTransport")
    }

    /// Restricts addresses to a device's aperture. An aperture without a common address is ignored.
    #[must_use]
    pub fn within(self, aperture: AddrRange) -> Self {
        let input = self.input.intersect(aperture).unwrap_or(self.input);
        Self { input, ..self }
    }

    /// Sets the page size in bytes, a power of two of at least 4096, for kernels with larger pages.
    #[must_use]
    pub fn granule(self, granule: u64) -> Self {
        Self { granule, ..self }
    }

    /// Reserves a range, rounded out to whole pages: a window of the bridge above, through which peers are reached,
    /// or memory that firmware reserves. `why` becomes the region's name. Call [`Self::granule`] first, because the range
    /// is rounded at once.
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

    /// Returns the reserved ranges without overlaps, in ascending order.
    fn parts(&self) -> Vec<(AddrRange, &str)> {
        let mut reserved: Vec<(AddrRange, &str)> =
            self.reserved.iter().map(|(range, why)| (*range, why.as_str())).collect();
        reserved.sort_by_key(|(range, _)| (range.start(), range.last()));
        let mut parts: Vec<(AddrRange, &str)> = Vec::new();
        for (range, why) in reserved {
            // The ranges ascend, so only the one before can overlap. Keep what lies above it.
            let rest = match parts.last() {
                Some((before, _)) if before.overlaps(range) => range.minus(*before)[1],
                _ => Some(range),
            };
            parts.extend(rest.and_then(|rest| rest.intersect(self.input)).map(|rest| (rest, why)));
        }
        parts
    }
}

/// Adds a domain in front of the system bus. Reserved ranges become named regions of its arena, which cannot move.
///
/// # Errors
/// The errors of the operations on `plan`.
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
    // Nothing on the system bus can reach what is behind the unit through this interconnect.
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

/// Adds a device with these requester ids. It is not connected yet, so its requests are refused.
///
/// # Errors
/// The errors of the operations on `plan`.
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

/// Moves a device to a domain, wherever it was before.
///
/// # Errors
/// The errors of the operations on `plan`. When the change is made, [`Error::Refused`] if the unit cannot do it.
pub fn join(plan: &mut Plan<'_>, device: ArenaId, domain: Domain) -> Result<LinkId, Error> {
    seat(plan, device, domain.arena)
}

/// Makes a device's requests pass untranslated to `system`, which must be the bus in the [`Binding`].
///
/// # Errors
/// The errors of the operations on `plan`. When the change is made, [`Error::Refused`] if the unit cannot do it, or
/// `system` is another bus.
pub fn pass(plan: &mut Plan<'_>, device: ArenaId, system: ArenaId) -> Result<LinkId, Error> {
    seat(plan, device, system)
}

/// Disconnects a device, so that its requests are refused.
///
/// # Errors
/// The errors of the operations on `plan`.
pub fn leave(plan: &mut Plan<'_>, device: ArenaId) -> Result<(), Error> {
    let had: Vec<LinkId> = plan
        .state()
        .links()
        .filter(|(_, link)| link.near(Way::ToRight) == device)
        .map(|(id, _)| id)
        .collect();
    had.into_iter().try_for_each(|link| plan.disconnect(link))
}

/// Maps a region of the system bus at the address that it has there. Firmware's reserved memory needs this for the devices
/// that firmware names (VT-d 8.4).
///
/// # Errors
/// The errors of the operations on `plan`: [`Error::NoSpace`] if the domain has something else there.
pub fn map_identity(plan: &mut Plan<'_>, domain: Domain, region: RegionId) -> Result<RegionId, Error> {
    let at = plan.range(region)?.start();
    plan.map_at(domain.arena, region, Constraints::at(at))
}
