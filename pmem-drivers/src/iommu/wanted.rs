//! What a state of the model requires of a unit.

use super::binding::{Binding, Peers};
use super::task::{Span, access};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use pmem_core::{AddrRange, ArenaId, LinkId, Location, Mapping, Placement, State, Usage, Veto, Way};
use pmem_iommu::table::PAGE_SHIFT;
use pmem_iommu::{INTERRUPTS, RequesterId};

/// Where the requests of a requester go, unless they are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Passed,
    In(LinkId),
}

/// Returns the unit's domains that the state has, with the page size of each.
pub(super) fn domains(state: &State, binding: &Binding, width: u32) -> Result<BTreeMap<LinkId, u64>, Veto> {
    let mut domains = BTreeMap::new();
    for domain in binding.domains.keys() {
        let Some(link) = state.link(*domain) else { continue };
        let Mapping::Table(table) = &link.direction(Way::ToRight).mapping else {
            return Err(Veto::new("a domain must be connected to the system bus by a table"));
        };
        if table.input().last() & !(u64::MAX >> (64 - width.clamp(1, 64))) != 0 {
            return Err(
                Veto::new("the domain's addresses are wider than the unit translates").at(table.input())
            );
        }
        if table.page() < 1 << PAGE_SHIFT {
            return Err(Veto::new("the domain's pages are smaller than the unit's smallest page")
                .needs(table.page(), 1 << PAGE_SHIFT));
        }
        domains.insert(*domain, table.page());
    }
    Ok(domains)
}

/// Returns the domain and the span that a mapped region requires; `None` if the region is not mapped in a domain,
/// or permits no access.
pub(super) fn span(
    state: &State,
    binding: &Binding,
    placement: &Placement,
) -> Result<Option<(LinkId, Span)>, Veto> {
    let (Some(alias), Some(range)) = (placement.record.alias(), placement.seat.range()) else {
        return Ok(None);
    };
    let Some(peers) = binding.domains.get(&alias.link) else { return Ok(None) };
    let mapping = state.link(alias.link).map(|link| &link.direction(alias.way).mapping);
    let Some(Mapping::Table(table)) = mapping else {
        return Err(Veto::new("the domain is no longer connected to the system bus by a table").at(range));
    };
    let attrs = state.effective(&placement.record);
    let Some(access) = access(attrs.prot()) else { return Ok(None) };
    if *peers == Peers::Refused && attrs.usage().intersects(Usage::DEVREGS | Usage::FRAMEBUF) {
        return Err(Veto::new(
            "these are another device's registers: the domain needs Peers::Permitted to map them",
        )
        .at(range));
    }
    let pages = range.rounded(table.page());
    if pages.start() <= *INTERRUPTS.end() && pages.last() >= *INTERRUPTS.start() {
        return Err(
            Veto::new("writes to this range are interrupts on x86, so nothing can be mapped there").at(range)
        );
    }
    Ok(Some((alias.link, Span { range: pages, target: (alias.to & !(table.page() - 1), access) })))
}

/// Returns all spans that a domain requires, in ascending order.
pub(super) fn spans(state: &State, binding: &Binding, domain: LinkId) -> Result<Vec<Span>, Veto> {
    let front = state.link(domain).map(|link| link.near(Way::ToRight));
    let Some((front, arena)) = front.and_then(|front| Some((front, state.arena(front)?))) else {
        return Ok(Vec::new());
    };
    let own = |(range, record): (AddrRange, pmem_core::RegionRecord)| {
        let is_own = record.alias().is_some_and(|alias| alias.link == domain);
        is_own.then_some(Placement { arena: front, seat: Location::At(range), record })
    };
    let spans = arena.regions().filter_map(own).map(|placement| span(state, binding, &placement));
    let spans: Result<Vec<_>, Veto> = spans.collect();
    Ok(spans?.into_iter().flatten().map(|(_, span)| span).collect())
}

/// Returns where each requester's requests go. Refused requesters are missing.
pub(super) fn places(
    state: &State,
    binding: &Binding,
    passes: bool,
) -> Result<BTreeMap<RequesterId, Place>, Veto> {
    let front = |link: &LinkId| Some((state.link(*link)?.near(Way::ToRight), *link));
    let fronts: BTreeMap<ArenaId, LinkId> = binding.domains.keys().filter_map(front).collect();
    let mut joined: BTreeMap<ArenaId, Place> = BTreeMap::new();
    let mut places: BTreeMap<RequesterId, Place> = BTreeMap::new();
    for (_, link) in state.links() {
        for way in [Way::ToRight, Way::ToLeft] {
            let (device, mapping) = (link.near(way), &link.direction(way).mapping);
            let Some(ids) = binding.devices.get(&device).filter(|_| !mapping.is_closed()) else { continue };
            if *mapping != Mapping::Identity {
                return Err(Veto::new("a device must be connected to its domain by an identity mapping"));
            }
            let far = link.far(way);
            let place = match fronts.get(&far) {
                Some(domain) => Place::In(*domain),
                None if binding.system == Some(far) => Place::Passed,
                None => {
                    return Err(Veto::new(
                        "a device is connected to something that is neither a domain nor the system bus",
                    ));
                }
            };
            if joined.insert(device, place).is_some() {
                return Err(Veto::new(
                    "a device is connected twice: to two domains, or to a domain and the system bus",
                ));
            }
            if place == Place::Passed && !passes {
                return Err(Veto::new("the unit cannot pass requests untranslated"));
            }
            for id in ids {
                if places.insert(*id, place).is_some_and(|other| other != place) {
                    return Err(Veto::new("devices that share a requester id must be in the same domain"));
                }
            }
        }
    }
    Ok(places)
}
