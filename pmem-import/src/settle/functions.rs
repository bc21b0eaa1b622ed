//! Merges the descriptions of each function.

use crate::facts::{BusId, Facts, Finding, Function, PciResource, PciSource, ResourceKind};
use pmem_core::AddrRange;
use pmem_pci::Address;
use std::collections::{BTreeMap, BTreeSet};

/// Merges the descriptions of each function. The most trusted source wins; others fill in what it does not say.
pub(super) fn merge(facts: &mut Facts) -> BTreeMap<Address, Function> {
    let mut all: BTreeMap<Address, Function> = BTreeMap::new();
    drop_gone(facts);
    // In order of trust: each source is laid over the less trusted ones.
    for ((_, address), new) in std::mem::take(&mut facts.pci.functions) {
        let Some(old) = all.remove(&address) else {
            all.insert(address, new);
            continue;
        };
        check(facts, &old, &new);
        all.insert(address, new.over(old));
    }
    all.values_mut().for_each(measure);
    all
}

/// The kernel's files list every function that exists now, so other functions of a log have been removed since.
fn drop_gone(facts: &mut Facts) {
    let there: BTreeSet<Address> = facts
        .pci
        .functions
        .keys()
        .filter(|(source, _)| *source == PciSource::Sysfs)
        .map(|(_, address)| *address)
        .collect();
    let segments: BTreeSet<u32> = there.iter().map(|address| address.segment).collect();
    let is_gone = |(source, address): &(PciSource, Address)| {
        *source == PciSource::Log && segments.contains(&address.segment) && !there.contains(address)
    };
    facts.pci.functions.retain(|key, _| !is_gone(key));
}

/// A dump only shows where a BAR starts; a Resizable BAR capability also gives its size.
fn measure(function: &mut Function) {
    for own in &function.resizable {
        let size = 1u64.checked_shl(20 + u32::from(own.current)).unwrap_or(0);
        let dumped = function.resources.iter_mut().find(|r| {
            r.kind == ResourceKind::Bar(own.bar)
                && r.open_ended
                && r.range.start() & size.wrapping_sub(1) == 0
        });
        if let Some((resource, range)) =
            dumped.and_then(|r| AddrRange::sized(r.range.start(), size).ok().map(|range| (r, range)))
        {
            (resource.range, resource.open_ended) = (range, false);
        }
    }
}

/// Reports two sources that describe one function differently.
fn check(facts: &mut Facts, old: &Function, new: &Function) {
    let (Some(at), Some(other)) = (&new.at, &old.at) else { return };
    if let (Some(a), Some(b)) = (new.id, old.id)
        && a != b
    {
        let text = format!(
            "{} is {:04x}:{:04x} here and {:04x}:{:04x} there: two machines?",
            new.bdf(),
            a.0,
            a.1,
            b.0,
            b.1
        );
        facts.find(Finding::between(at, other, text));
    }
    for resource in new.resources.iter().filter(|r| r.kind != ResourceKind::Window) {
        let had = old.resources.iter().find(|had| had.kind == resource.kind && had.io == resource.io);
        let Some(had) = had.filter(|had| {
            had.range.start() != resource.range.start() && !had.open_ended && !resource.open_ended
        }) else {
            continue;
        };
        let text = format!(
            "{} {} is at {} here and at {} there: this one is taken",
            new.bdf(),
            resource.kind,
            resource.range,
            had.range
        );
        facts.find(Finding::between(&resource.at, &had.at, text));
    }
}

/// Finds the physical function of a virtual function, if no source names it. The virtual function's memory lies in
/// the space that the physical function reserves for them, or inside a range that a listing gives to it.
fn find_physical(functions: &mut BTreeMap<Address, Function>) {
    let mut spaces: Vec<(AddrRange, Address)> = Vec::new();
    for function in functions.values() {
        let own = function.resources.iter().filter(|r| !r.io && !r.open_ended);
        let kept = own.filter(|r| matches!(r.kind, ResourceKind::VfBar(_) | ResourceKind::Unnamed));
        spaces.extend(kept.map(|r| (r.range, function.bdf())));
    }
    spaces.sort_unstable_by_key(|(range, address)| (range.start(), std::cmp::Reverse(range.len()), *address));
    let holder = |function: &Function, range: AddrRange| {
        let after = spaces.partition_point(|(space, _)| space.start() <= range.start());
        // Spaces do not overlap, except with their own slices, so the enclosing space starts only a few
        // entries before.
        let near = spaces[..after].iter().rev().take(64);
        near.filter(|(space, of)| *of != function.bdf() && space.covers(range) && *space != range)
            .map(|(_, of)| *of)
            .next()
    };
    // All memory of a virtual function must lie in the space of one and the same function.
    let found: Vec<(Address, Address)> = functions
        .values()
        .filter(|f| f.physical.is_none() && f.sriov.is_none())
        .filter_map(|f| {
            let mut memory = f
                .resources
                .iter()
                .filter(|r| !r.io && !matches!(r.kind, ResourceKind::Window))
                .map(|r| r.range)
                .peekable();
            let first = holder(f, *memory.peek()?)?;
            memory.all(|range| holder(f, range) == Some(first)).then_some((f.bdf(), first))
        })
        .collect();
    for (address, physical) in found {
        if let Some(function) = functions.get_mut(&address) {
            function.physical = Some(physical);
        }
    }
}

/// Adds the BARs of virtual functions that no source gives: they are slices of their physical
/// function's VF BAR spaces.
pub(super) fn add_virtual(functions: &mut BTreeMap<Address, Function>) {
    find_physical(functions);
    let mut slices: Vec<(Address, Address, PciResource)> = Vec::new();
    for physical in functions.values() {
        let Some(sriov) = physical.sriov.filter(|sriov| sriov.enabled && sriov.total > 0) else { continue };
        let spaces = physical.resources.iter().filter_map(|r| match r.kind {
            ResourceKind::VfBar(n) => Some((n, r)),
            _ => None,
        });
        for (bar, space) in spaces {
            let size = space.range.len() / u64::from(sriov.total);
            for n in 1..=sriov.count.min(sriov.total) {
                let Some(address) = sriov.virtual_function(physical.bdf(), n) else { break };
                let start = space.range.start() + size * u64::from(n - 1);
                let (Ok(range), true) = (AddrRange::sized(start, size), functions.contains_key(&address))
                else {
                    continue;
                };
                let slice = PciResource { kind: ResourceKind::Bar(bar), range, ..space.clone() };
                slices.push((address, physical.bdf(), slice));
            }
        }
    }
    for (address, physical, slice) in slices {
        if let Some(function) = functions.get_mut(&address) {
            function.physical = Some(physical);
            if !function.resources.iter().any(|r| r.kind == slice.kind) {
                function.resources.push(slice);
            }
        }
    }
}

/// Gives each function without a known bridge the one above its bus, or its physical function's.
pub(super) fn adopt(functions: &mut BTreeMap<Address, Function>, bridges: &BTreeMap<BusId, Address>) {
    let physical: BTreeMap<Address, Option<Address>> = functions
        .values()
        .filter_map(|function| Some((function.bdf(), functions.get(&function.physical?)?.parent)))
        .collect();
    for function in functions.values_mut() {
        let address = function.bdf();
        let by_bus = bridges.get(&(address.segment, address.bus)).copied();
        let parent = function.parent.or(physical.get(&address).copied().flatten()).or(by_bus);
        function.parent = parent.filter(|parent| *parent != address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_out_since_the_log_is_gone() {
        let mut facts = Facts::default();
        let at = |name: &str| name.parse::<Address>().unwrap();
        let place = crate::facts::SourceLine::whole("t");
        for (source, name) in [
            (PciSource::Log, "0000:01:00.0"),
            (PciSource::Log, "0000:02:00.0"),
            // Of a segment of which the kernel's files say nothing.
            (PciSource::Log, "0001:02:00.0"),
            (PciSource::Lspci, "0000:03:00.0"),
            (PciSource::Sysfs, "0000:01:00.0"),
        ] {
            facts.pci.function(source, at(name), &place);
        }
        let left: Vec<String> = merge(&mut facts).keys().map(ToString::to_string).collect();
        assert_eq!(left, ["0000:01:00.0", "0000:03:00.0", "0001:02:00.0"]);
    }
}
