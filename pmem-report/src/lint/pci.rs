//! PCI: apertures, configuration space, BARs and the memory map (rules P1 to P8).

use super::finding::{LintReport, Severity, Side};
use super::ranges::{MIB, covers, entries, is_reserved, join, map, ram, show, size};
use pmem_core::AddrRange;
use pmem_import::{Address, BusId, Facts, Function, Remark, ResourceKind, SourceLine};
use std::collections::BTreeMap;

/// A BAR or a bridge window with an address.
struct Assigned {
    at: SourceLine,
    function: Address,
    kind: ResourceKind,
    range: AddrRange,
}

impl Assigned {
    fn side(&self) -> Side {
        Side::new(&self.at, self.range, format!("{} {}", self.function, self.kind))
    }
}

pub(super) fn lint(facts: &Facts, linted: &mut LintReport) {
    let (apertures, assigned) = (apertures(facts), assigned(facts));
    cut(facts, &apertures, &assigned, linted);
    siblings(facts, linted);
    outside(facts, &apertures, &assigned, linted);
    ecam(facts, &apertures, &assigned, linted);
    strangers(facts, &assigned, linted);
    in_ram(facts, &assigned, linted);
    prefetched(facts, linted);
}

/// Returns the memory apertures of host bridges as firmware gave them. Where a kernel clipped one, the original counts.
fn apertures(facts: &Facts) -> Vec<(SourceLine, AddrRange, u64)> {
    let mut all: Vec<(SourceLine, AddrRange, u64)> = Vec::new();
    for said in facts.pci.roots.values().flatten().filter(|said| !said.value.io) {
        all.push((said.at.clone(), said.value.range, said.value.bus_start));
    }
    for said in &facts.remarks {
        let window = match &said.value {
            Remark::Clipped { window: (first, last), .. } | Remark::HostWindow(first, last) => {
                AddrRange::inclusive(*first, *last)
            }
            _ => continue,
        };
        let Ok(window) = window else { continue };
        all.retain(|(_, range, _)| !window.covers(*range));
        all.push((said.at.clone(), window, window.start()));
    }
    all
}

/// Returns the BARs and windows that have addresses, from functions and from kernel messages.
fn assigned(facts: &Facts) -> Vec<Assigned> {
    let mut all: Vec<Assigned> = Vec::new();
    let mut note = |one: Assigned| {
        if !all.iter().any(|had| had.function == one.function && had.range == one.range) {
            all.push(one);
        }
    };
    for function in facts.pci.functions.values() {
        for resource in function.resources.iter().filter(|resource| !resource.io && !resource.open_ended) {
            let (at, function) = (resource.at.clone(), function.bdf());
            note(Assigned { at, function, kind: resource.kind, range: resource.range });
        }
    }
    for said in &facts.remarks {
        if let Remark::Assigned { function, kind, range } = said.value {
            note(Assigned { at: said.at.clone(), function, kind, range });
        }
    }
    all
}

/// P1: reserved ranges, or ranges that already belong to a device, inside a host bridge's window.
fn cut(
    facts: &Facts,
    apertures: &[(SourceLine, AddrRange, u64)],
    assigned: &[Assigned],
    linted: &mut LintReport,
) {
    if apertures.is_empty() {
        return linted.lacks(&["P1", "P3"], "windows of host bridges (a kernel's log)");
    }
    let ecam: Vec<AddrRange> = join(facts.pci.ecam.iter().map(|said| said.value.1).collect());
    let mut reserved: Vec<(SourceLine, AddrRange, String)> = entries(facts)
        .filter(|(.., entry)| is_reserved(entry.kind))
        .map(|(at, map, entry)| (at, entry.range, format!("{}: {}", map.kind.name(), entry.kind)))
        .collect();
    for said in &facts.remarks {
        match said.value {
            Remark::Clipped { entry: Some(range), .. }
                if !reserved.iter().any(|(_, had, _)| *had == range) =>
            {
                reserved.push((said.at.clone(), range, "e820 map: an entry that is no RAM".to_owned()));
            }
            _ => {}
        }
    }
    for (at, window, _) in apertures {
        let mut done: Vec<AddrRange> = Vec::new();
        for (entry_at, entry, says) in &reserved {
            let Some(common) = entry.intersect(*window) else { continue };
            // An entry that covers the whole window says only that the range belongs to the bus. Configuration space
            // inside a window is common.
            let is_ecam = ecam.iter().any(|space| space.covers(*entry) || entry.start() == space.start());
            // Firmware reserves the BARs of its own devices, which is no conflict.
            let is_own = |one: &Assigned| one.range == *entry && one.kind != ResourceKind::Window;
            if entry.covers(*window) || is_ecam || assigned.iter().any(is_own) || done.contains(&common) {
                continue;
            }
            done.push(common);
            let mut sides = vec![
                Side::new(at, *window, "window of a host bridge"),
                Side::new(entry_at, *entry, says.clone()),
            ];
            if common.start() == common.last() && common.last() == window.last() {
                let means =
                    format!("the window ends at {:#x} itself, where something else begins", common.last());
                linted.find("P1", Severity::Info, sides, means, "nothing needs to be done");
                continue;
            }
            let on: Vec<&Assigned> = assigned.iter().filter(|one| one.range.overlaps(common)).collect();
            sides.extend(on.iter().map(|one| one.side()));
            let common = show(common);
            if on.is_empty() {
                let means = format!(
                    "{common} is reserved, and may be handed out: something hidden may be there. Kernels of 2010 to 2022 cut the window, and keep its larger part"
                );
                linted.find(
                    "P1",
                    Severity::Warn,
                    sides,
                    means,
                    "pci=use_e820 or a newer kernel's quirk where a device there does not work",
                );
            } else {
                let means = format!(
                    "{common} is reserved, but a device was placed there: it may not respond, or suspend may fail"
                );
                linted.find(
                    "P1",
                    Severity::Error,
                    sides,
                    means,
                    "pci=use_e820 (5.19 and on), or firmware whose window leaves it out",
                );
            }
        }
    }
}

/// Returns each function as the most reliable source describes it.
fn functions(facts: &Facts) -> BTreeMap<Address, &Function> {
    facts.pci.functions.iter().map(|((_, address), function)| (*address, function)).collect()
}

/// A range that a function decodes, with the place in the source.
type Decoded<'f> = (&'f Function, AddrRange, ResourceKind, &'f SourceLine);

/// P2: BARs and windows on one bus that overlap.
fn siblings(facts: &Facts, linted: &mut LintReport) {
    let mut buses: BTreeMap<BusId, Vec<Decoded<'_>>> = BTreeMap::new();
    for (address, function) in functions(facts) {
        if function.command.is_some_and(|command| !command.memory()) {
            continue;
        }
        for resource in &function.resources {
            let is_decoded = !resource.io
                && !resource.open_ended
                && !matches!(resource.kind, ResourceKind::Rom | ResourceKind::Unnamed);
            if is_decoded {
                let bus = (address.segment, address.bus);
                buses.entry(bus).or_default().push((function, resource.range, resource.kind, &resource.at));
            }
        }
    }
    for all in buses.values_mut() {
        all.sort_by_key(|(_, range, ..)| range.start());
        for (n, (one, range, kind, at)) in all.iter().enumerate() {
            for (other, beyond, with, other_at) in
                all[n + 1..].iter().take_while(|(_, beyond, ..)| beyond.start() <= range.last())
            {
                // Within one function, a window may overlap the bridge's own BAR until firmware is done.
                let is_window = *kind == ResourceKind::Window || *with == ResourceKind::Window;
                if one.bdf() == other.bdf() && (is_window || range == beyond || *kind == *with) {
                    continue;
                }
                // A virtual function's BAR lies inside the physical function's VF BAR.
                let is_space = |kind: ResourceKind| matches!(kind, ResourceKind::VfBar(_));
                if (is_space(*kind) && range.covers(*beyond)) || (is_space(*with) && beyond.covers(*range)) {
                    continue;
                }
                let Some(common) = range.intersect(*beyond) else { continue };
                let sides = [
                    Side::new(at, *range, format!("{} {kind}", one.bdf())),
                    Side::new(other_at, *beyond, format!("{} {with}", other.bdf())),
                ];
                let means = format!("both decode {}: reads collide, and writes go to both", show(common));
                linted.find(
                    "P2",
                    Severity::Error,
                    sides,
                    means,
                    "pci=realloc, or a rescan with one of them removed first",
                );
            }
        }
    }
}

/// P3: BARs and windows that nothing upstream forwards.
fn outside(
    facts: &Facts,
    apertures: &[(SourceLine, AddrRange, u64)],
    assigned: &[Assigned],
    linted: &mut LintReport,
) {
    if apertures.is_empty() {
        return;
    }
    // Adjacent apertures with the same translation offset act as one.
    let mut joined: Vec<(AddrRange, u64)> = Vec::new();
    let mut sorted: Vec<(AddrRange, u64)> =
        apertures.iter().map(|(_, range, bus)| (*range, range.start().wrapping_sub(*bus))).collect();
    sorted.sort_by_key(|(range, _)| range.start());
    for (range, offset) in sorted {
        match joined.last_mut() {
            Some((last, same)) if *same == offset && last.end().is_none_or(|end| range.start() <= end) => {
                *last = last.hull(range);
            }
            _ => joined.push((range, offset)),
        }
    }
    let all: Vec<AddrRange> = joined.into_iter().map(|(range, _)| range).collect();
    let reserved: Vec<(SourceLine, AddrRange)> = entries(facts)
        .filter(|(.., entry)| is_reserved(entry.kind))
        .map(|(at, _, entry)| (at, entry.range))
        .collect();
    for said in &facts.remarks {
        let Remark::Unclaimed { function, kind, range } = said.value else { continue };
        // The window of a bridge further down may appear as another function's claim.
        let below = assigned.iter().any(|one| {
            one.kind == ResourceKind::Window && one.range.covers(range) && one.function != function
        });
        // A range that ends at the top of the address space is what BAR sizing left behind.
        let is_left = range.last() == u64::MAX || range.last() == u64::from(u32::MAX);
        if kind == ResourceKind::Rom || covers(&all, range) || below || is_left {
            continue;
        }
        let side = Side::new(&said.at, range, format!("{function} {kind}"));
        match reserved.iter().find(|(_, entry)| entry.covers(range)) {
            Some((at, entry)) => {
                let sides = [side, Side::new(at, *entry, "reserved")];
                let means = "in no window of the host bridge, and reserved: the chipset decodes it, as the flash controller's of many";
                linted.find("P3", Severity::Info, sides, means, "nothing needs to be done");
            }
            // Just below 4 GiB, chipsets place devices of their own.
            None if function.bus == 0 && (0xfc00_0000..1 << 32).contains(&range.start()) => {
                let means = "in no window of the host bridge, and where chipsets have their own: the flash controller's of many";
                linted.find("P3", Severity::Info, [side], means, "nothing needs to be done");
            }
            None => {
                let sides = [side].into_iter().chain(
                    apertures.iter().map(|(at, range, _)| Side::new(at, *range, "window of a host bridge")),
                );
                let means = "in no window of the host bridge: nothing forwards accesses to it";
                linted.find(
                    "P3",
                    Severity::Warn,
                    sides,
                    means,
                    "the kernel gives it another place, if there is one; else firmware's window is too small",
                );
            }
        }
    }
}

/// P4 and P5: configuration space.
fn ecam(
    facts: &Facts,
    apertures: &[(SourceLine, AddrRange, u64)],
    assigned: &[Assigned],
    linted: &mut LintReport,
) {
    let mut told: Vec<AddrRange> = Vec::new();
    for said in &facts.remarks {
        match &said.value {
            Remark::EcamUnreserved { range, .. } => {
                if told.contains(range) {
                    continue;
                }
                told.push(*range);
                let same = |said: &&pmem_import::Sourced<Remark>| matches!(said.value, Remark::EcamUnreserved { range: own, anywhere: true } if own == *range);
                let nowhere = facts.remarks.iter().any(|said| same(&said));
                unreserved(facts, &said.at, *range, nowhere, apertures, assigned, linted);
            }
            Remark::EcamPartial(first, last) => {
                let space = facts
                    .pci
                    .ecam
                    .first()
                    .map(|said| Side::new(&said.at, said.value.1, "configuration space"));
                let side = Side::new(
                    &said.at,
                    None,
                    format!(
                        "configuration space of buses {first:02x}-{last:02x}, and the host bridge has more"
                    ),
                );
                let means = "functions on the other buses have no extended configuration space";
                linted.find(
                    "P5",
                    Severity::Info,
                    [side].into_iter().chain(space),
                    means,
                    "firmware's table (MCFG) is to name all buses",
                );
            }
            _ => {}
        }
    }
    for said in &facts.tables.ecam {
        let (entry, space) = (said.value, said.value.addresses());
        let Some(range) = space.and_then(|(first, last)| AddrRange::inclusive(first, last).ok()) else {
            let side = Side::new(
                &said.at,
                None,
                format!("MCFG: buses {:02x}-{:02x} at {:#x}", entry.first, entry.last, entry.base),
            );
            linted.find(
                "P5",
                Severity::Warn,
                [side],
                "no configuration space is like that",
                "a firmware update that corrects the table",
            );
            continue;
        };
        let Some(map) = map(facts) else {
            linted.lacks(&["P4"], "a memory map (e820, EFI)");
            continue;
        };
        let used = ram(map);
        if let Some(ram) = used.iter().find(|ram| ram.overlaps(range)) {
            let sides = [
                Side::new(&said.at, range, "configuration space (MCFG)"),
                Side::new(&map.at, *ram, format!("{}: usable", map.kind.name())),
            ];
            linted.find(
                "P4",
                Severity::Error,
                sides,
                "configuration space is in RAM",
                "a firmware update that corrects MCFG or the memory map",
            );
        }
    }
}

/// P4 and P5 for configuration space that no ACPI device reserves.
fn unreserved(
    facts: &Facts,
    at: &SourceLine,
    range: AddrRange,
    nowhere: bool,
    apertures: &[(SourceLine, AddrRange, u64)],
    assigned: &[Assigned],
    linted: &mut LintReport,
) {
    let side = Side::new(at, range, "configuration space, not reserved among ACPI's devices (PNP0C02)");
    if let Some((window_at, window, _)) = apertures.iter().find(|(_, window, _)| window.overlaps(range)) {
        let on: Vec<&Assigned> = assigned.iter().filter(|one| one.range.overlaps(range)).collect();
        let sides = [side, Side::new(window_at, *window, "window of a host bridge")]
            .into_iter()
            .chain(on.iter().map(|one| one.side()));
        if on.is_empty() {
            linted.find(
                "P5",
                Severity::Warn,
                sides,
                "devices may be put where configuration space is",
                "firmware is to reserve it (PNP0C02)",
            );
        } else {
            let means = "devices were put where configuration space is: neither works there";
            linted.find(
                "P5",
                Severity::Error,
                sides,
                means,
                "a kernel that reserves it by itself (6.4 and on), or firmware that does (PNP0C02)",
            );
        }
        return;
    }
    let mmio = facts.remarks.iter().find_map(|said| match said.value {
        Remark::EfiMmio(own) if own.covers(range) => Some(Side::new(&said.at, own, "EFI: memory-mapped I/O")),
        _ => None,
    });
    let of_map = entries(facts).find(|(.., entry)| is_reserved(entry.kind) && entry.range.covers(range));
    let of_map = of_map
        .map(|(at, map, entry)| Side::new(&at, entry.range, format!("{}: {}", map.kind.name(), entry.kind)));
    let knows = map(facts).is_some();
    match mmio.or(of_map) {
        Some(other) => {
            let means = "only EFI's map or e820 reserves it, and ACPI's devices should: good enough, but for kernels that drop the entry";
            linted.find("P4", Severity::Info, [side, other], means, "firmware is to reserve it (PNP0C02)");
        }
        None if nowhere || knows => {
            let means = "nothing reserves it: Linux gives up extended configuration space";
            linted.find(
                "P4",
                Severity::Warn,
                [side],
                means,
                "firmware is to reserve it (PNP0C02, PCI Firmware 3.3, 4.1.2)",
            );
        }
        None => linted.lacks(&["P4"], "a memory map (e820, EFI)"),
    }
}

/// Parses `AMDIF031:00 [mem 0xdd400000-0xdd400fff]` into the name and the range.
fn conflict_with(with: &str) -> Option<(&str, AddrRange)> {
    let (name, rest) = with.split_once(" [mem ")?;
    let (first, last) = rest.split([' ', ']']).next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    Some((name, AddrRange::inclusive(hex(first)?, hex(last)?).ok()?))
}

/// P6: an ACPI device inside a bridge's window.
fn strangers(facts: &Facts, assigned: &[Assigned], linted: &mut LintReport) {
    for said in &facts.pci.conflicts {
        let Some((name, range)) = conflict_with(&said.value.with) else { continue };
        // An ACPI device name is an id of letters and digits and an instance number.
        let is_acpi = name.split_once(':').is_some_and(|(id, instance)| {
            (7..=8).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric())
                && instance.bytes().all(|b| b.is_ascii_hexdigit())
        });
        let is_window = said.value.kind == ResourceKind::Window;
        let is_behind = assigned.iter().any(|one| one.kind != ResourceKind::Window && one.range == range);
        if is_acpi && is_window && !is_behind {
            let sides = [
                Side::new(&said.at, said.value.range, format!("{} window", said.value.function)),
                Side::new(&said.at, range, format!("{name}: a device of ACPI's")),
            ];
            let means = "a device that is no PCI device is inside the bridge's window: one of the two loses its claim, and all behind the bridge with it";
            linted.find(
                "P6",
                Severity::Warn,
                sides,
                means,
                "a kernel that moves or leaves out the small range; firmware's window is to begin elsewhere",
            );
        }
    }
}

/// P7: BARs in RAM.
fn in_ram(facts: &Facts, assigned: &[Assigned], linted: &mut LintReport) {
    const MEANS: &str = "the BAR is where RAM is: accesses go to one of both. In a guest, the host's address stands in the guest's map";
    const HELPS: &str = "another address for the BAR; a Xen guest: e820_host=1";
    let mut done: Vec<AddrRange> = Vec::new();
    for said in &facts.pci.conflicts {
        let Some((name, range)) = conflict_with(&said.value.with) else { continue };
        if name == "System RAM" && said.value.kind != ResourceKind::Window {
            let sides = [
                Side::new(&said.at, said.value.range, format!("{} {}", said.value.function, said.value.kind)),
                Side::new(&said.at, range, "System RAM"),
            ];
            done.push(said.value.range);
            linted.find("P7", Severity::Error, sides, MEANS, HELPS);
        }
    }
    let Some(map) = map(facts) else {
        if done.is_empty() {
            linted.lacks(&["P7"], "a memory map (e820, EFI)");
        }
        return;
    };
    let used = ram(map);
    for one in assigned.iter().filter(|one| one.kind != ResourceKind::Window && one.range.start() >= MIB) {
        let Some(ram) = used.iter().find(|ram| ram.overlaps(one.range)) else { continue };
        if !done.contains(&one.range) {
            let sides = [
                one.side(),
                Side::new(&map.at, *ram, format!("{}: usable, {}", map.kind.name(), size(ram.len()))),
            ];
            linted.find("P7", Severity::Error, sides, MEANS, HELPS);
        }
    }
}

/// P8: a non-prefetchable BAR behind a prefetchable window.
fn prefetched(facts: &Facts, linted: &mut LintReport) {
    let all = functions(facts);
    let mut sides: Vec<Side> = Vec::new();
    for function in all.values() {
        let Some(bridge) = function.parent.and_then(|parent| all.get(&parent)) else { continue };
        for resource in function.resources.iter().filter(|resource| {
            !resource.io && !resource.prefetchable && matches!(resource.kind, ResourceKind::Bar(_))
        }) {
            let is_in = |window: &&pmem_import::PciResource| {
                window.kind == ResourceKind::Window
                    && window.prefetchable
                    && !window.io
                    && window.range.covers(resource.range)
            };
            if let Some(window) = bridge.resources.iter().find(is_in) {
                sides.push(Side::new(
                    &resource.at,
                    resource.range,
                    format!("{} {}, not prefetchable", function.bdf(), resource.kind),
                ));
                sides.push(Side::new(
                    &window.at,
                    window.range,
                    format!("{} window, prefetchable", bridge.bdf()),
                ));
            }
        }
    }
    if !sides.is_empty() {
        linted.find(
            "P8",
            Severity::Info,
            sides,
            "fine where all of the way is PCI Express, which reads nothing ahead",
            "nothing needs to be done but below conventional PCI bridges",
        );
    }
}
