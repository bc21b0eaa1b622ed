//! PCI buses in a kernel's log: apertures and bus numbers of host bridges, buses that were released,
//! configuration space.

use super::pci_outcome::{Outcome, note};
use super::reader::Verdict;
use crate::facts::{
    Aperture, BusId, Facts, Function, PciResource, PciSource, ResourceKind, SourceSummary, Sourced,
};
use crate::number::hex;
use crate::text::{Line, Scan};

/// Reads `0000:00: root bus resource [mem 0x…-0x… window] (bus address [0x…-0x…])`.
pub(super) fn bus(line: &Line<'_>, rest: &str, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
    let Some((name, rest)) = rest.split_once(": ") else { return Verdict::Pass };
    let Some(bus) = parse_bus(name) else { return Verdict::Pass };
    if rest.starts_with("ECAM") {
        return ecam(line, rest, facts, heard);
    }
    if let Some(node) = rest.strip_prefix("on NUMA node ").and_then(|node| node.trim().parse().ok()) {
        facts.pci.nodes.insert(bus, node);
        return Verdict::Took;
    }
    if let Some(rest) = rest.strip_prefix("busn_res: ") {
        return numbers(bus, rest, facts);
    }
    if let Some(rest) = rest.strip_prefix("resource ") {
        return listed(line, bus, rest, facts);
    }
    let Some(rest) = rest.strip_prefix("root bus resource ") else { return Verdict::Pass };
    facts.pci.roots.entry(bus).or_default();
    if rest.starts_with("[bus ") {
        facts.pci.ranges.extend(buses(rest).map(|range| (bus, range)));
        return Verdict::Took;
    }
    let mut scan = Scan::new(rest);
    let (verdict, found) = Verdict::of(
        "root bus resource",
        scan.resource()
            .and_then(|r| Some((r, r.range?)))
            .ok_or_else(|| "no range between brackets".to_owned()),
    );
    let Some((found, range)) = found else { return verdict };
    let bus_start = scan.lit("(bus address [").and_then(|()| scan.hex()).unwrap_or(range.start());
    let said = Sourced::new(Aperture { range, bus_start, io: found.io }, line.place());
    let apertures = facts.pci.roots.entry(bus).or_default();
    if !apertures.iter().any(|had| had.value == said.value) {
        apertures.push(said);
        heard.count("root bus resource");
    }
    verdict
}

/// Reads `PCI: MMCONFIG for domain 0000 [bus 00-ff] at [mem …]`,
/// `PCI: ECAM [mem …] (base …) for domain 0000 [bus 00-ff]` or `ECAM at [mem …] for [bus 00-7f]`.
pub(super) fn ecam(line: &Line<'_>, words: &str, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
    let at = words.find("MMCONFIG").or_else(|| words.find("ECAM")).unwrap_or(words.len());
    let rest = &words[at..];
    let Some(mem) = rest.find("[mem ") else { return Verdict::Pass };
    let (verdict, found) = Verdict::of(
        "configuration space",
        Scan(&rest[mem..])
            .resource()
            .and_then(|found| found.range)
            .ok_or_else(|| "no range between brackets".to_owned()),
    );
    let Some(range) = found else { return verdict };
    let domain = rest.split("domain ").nth(1).and_then(|rest| hex(rest.split([' ', ',']).next()?));
    let domain = domain.and_then(|domain| u32::try_from(domain).ok()).unwrap_or(0);
    let said = Sourced::new((domain, range), line.place());
    if !facts.pci.ecam.iter().any(|had| had.value == said.value) {
        facts.pci.ecam.push(said);
        heard.count("configuration space");
    }
    verdict
}

/// Reads `[bus 02-2b] is released`, after which everything on these buses is gone, or a new last bus number.
fn numbers(bus: BusId, rest: &str, facts: &mut Facts) -> Verdict {
    let Some(below) = buses(rest) else { return Verdict::Pass };
    // `[bus 43-4f] end is updated to 44`.
    if let Some(end) =
        rest.split_once(" end is updated to ").and_then(|(_, end)| u8::try_from(hex(end)?).ok())
    {
        let leads = |f: &&mut Function| f.bdf().segment == bus.0 && f.below.is_some_and(|own| own.0 == bus.1);
        let of_log = facts.pci.functions.iter_mut().filter(|((source, _), _)| *source == PciSource::Log);
        if let Some(bridge) = of_log.map(|(_, function)| function).find(leads) {
            bridge.below = Some((bus.1, end.max(bus.1)));
        } else {
            facts.pci.ends.insert(bus, end);
        }
        // The old end shows how far the host bridge's buses reach: the kernel gives a bridge no more than that.
        let reach = facts.pci.reach.entry(bus.0).or_insert(below.1);
        *reach = below.1.max(*reach);
        return Verdict::Took;
    }
    if !rest.ends_with("is released") {
        return Verdict::Pass;
    }
    gone(facts, bus.0, below);
    Verdict::Took
}

/// Forgets what a log said about functions on these buses.
pub(super) fn gone(facts: &mut Facts, segment: u32, (first, last): (u8, u8)) {
    facts.pci.functions.retain(|(source, address), _| {
        *source != PciSource::Log || address.segment != segment || !(first..=last).contains(&address.bus)
    });
}

/// Reads `pci_bus 0000:02: resource 1 [mem 0x…-0x…]`: what the bridge above forwards. Root buses number
/// theirs from 4.
fn listed(line: &Line<'_>, bus: BusId, rest: &str, facts: &mut Facts) -> Verdict {
    let mut scan = Scan::new(rest);
    let Some((number, found)) = scan.decimal().zip(scan.resource()) else { return Verdict::Pass };
    let Some(range) = found.range else { return Verdict::Pass };
    if number > 3 {
        // A root bus's aperture, listed again; if it is shifted, its bus addresses came before.
        let apertures = facts.pci.roots.entry(bus).or_default();
        if !apertures.iter().any(|had| had.value.io == found.io && had.value.range.overlaps(range)) {
            apertures
                .push(Sourced::new(Aperture { range, bus_start: range.start(), io: found.io }, line.place()));
        }
        return Verdict::Took;
    }
    if number == 3 {
        return Verdict::Pass;
    }
    let leads = |f: &&mut Function| f.bdf().segment == bus.0 && f.below.is_some_and(|below| below.0 == bus.1);
    let of_log = facts.pci.functions.iter_mut().filter(|((source, _), _)| *source == PciSource::Log);
    if let Some(bridge) = of_log.map(|(_, function)| function).find(leads) {
        note(bridge, ResourceKind::Window, found, Outcome::Placed, &line.place());
        return Verdict::Took;
    }
    let lines = facts.pci.listed.entry(bus).or_default();
    lines.retain(|had| had.io != found.io || had.prefetchable != found.prefetchable);
    lines.push(PciResource {
        kind: ResourceKind::Window,
        range,
        io: found.io,
        prefetchable: found.prefetchable,
        wide: Some(found.wide),
        open_ended: false,
        at: line.place(),
    });
    Verdict::Took
}

/// Parses `0000:00`.
fn parse_bus(name: &str) -> Option<BusId> {
    let (segment, bus) = name.split_once(':')?;
    Some((u32::try_from(hex(segment)?).ok()?, u8::try_from(hex(bus)?).ok()?))
}

/// Parses `[bus 03-2c]` or `[bus 01]`.
pub(super) fn buses(text: &str) -> Option<(u8, u8)> {
    let inside = text.strip_prefix("[bus ")?.split(']').next()?;
    let (first, last) = inside.split_once('-').unwrap_or((inside, inside));
    let number = |text: &str| u8::try_from(hex(text.split(' ').next()?)?).ok();
    Some((number(first)?, number(last)?))
}
