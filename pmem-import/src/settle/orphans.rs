//! Finds a place for buses whose bridge no source names, as in excerpts of logs and of `lspci`.

use super::root::Root;
use crate::facts::{BusId, Facts, Function};
use pmem_pci::Address;
use std::collections::{BTreeMap, BTreeSet};

/// Where an orphaned bus is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Behind this bridge: no source says where it leads, and no other bridge can lead to the bus.
    Leads(Address),
    /// Somewhere below this bridge.
    Below(Address),
    /// Somewhere below this root bus.
    BelowRoot(BusId),
}

/// Finds where buses belong that look like root buses, but whose numbers lie in the range of a bridge
/// or of a root bus that a log names. Firmware and kernels number buses depth first: the first bridge
/// on a bus gets the next number.
pub(super) fn orphans(
    facts: &Facts,
    functions: &[Function],
    roots: &[Root],
    loose: &BTreeSet<Address>,
) -> BTreeMap<BusId, Way> {
    let mut left = loose.clone();
    let mut out: BTreeMap<BusId, Way> = BTreeMap::new();
    // The only bridge on a bus that leads nowhere yet. Among several, the choice would be a guess.
    let mut alone = |on: BusId, takes: bool| {
        let mut found = left.iter().filter(|bridge| (bridge.segment, bridge.bus) == on).copied();
        let (Some(only), None) = (found.next(), found.next()) else { return None };
        if takes {
            left.remove(&only);
        }
        Some(only)
    };
    for root in roots.iter().filter(|root| !facts.pci.roots.contains_key(&root.bus)) {
        let (segment, bus) = root.bus;
        let among = |(first, last): (u8, u8)| first <= bus && bus <= last;
        let around = functions.iter().filter(|f| f.bdf().segment == segment && f.below.is_some_and(among));
        let around = around.min_by_key(|f| f.below.map(|(first, last)| last - first));
        let hosts = facts.pci.ranges.iter().filter(|(host, range)| {
            host.0 == segment && **host != root.bus && among(**range) && facts.pci.roots.contains_key(host)
        });
        let host = hosts.min_by_key(|(_, (first, last))| last - first).map(|(host, _)| *host);
        // An excerpt of a log may lack a host bridge's bus numbers; then they reach up to the next host bridge's.
        let named = facts.pci.roots.keys().filter(|host| host.0 == segment && host.1 < bus);
        let host = host.or(named.filter(|host| !facts.pci.ranges.contains_key(host)).max().copied());
        let own = around.and_then(|f| Some((segment, f.below?.0))).or(host);
        let next = bus.checked_sub(1).and_then(|before| alone((segment, before), true)).map(Way::Leads);
        if next.is_none() && own.is_none() {
            continue;
        }
        // If one bridge on the bus above leads nowhere else, the first bus number behind that bus is its own.
        let only = || own.and_then(|own| alone(own, true)).map(Way::Leads);
        let way = next.or_else(only).or(around.map(|f| Way::Below(f.bdf()))).or(host.map(Way::BelowRoot));
        out.extend(way.map(|way| (root.bus, way)));
    }
    out
}
