//! Settles PCI functions, and the tree of buses.

use super::difference::{Difference, differences};
use super::functions::{add_virtual, adopt, merge};
use super::listed::{Lists, bus_of_line};
use super::root::{Root, root_of};
use super::windows::{Windows, registers, windows};
use crate::facts::{
    Aperture, BusId, Facts, Finding, Function, Listing, PciResource, PciSource, ResourceKind, SourceLine,
    Sourced, join, show_bus, without,
};
use pmem_core::AddrRange;
use pmem_pci::Address;
use std::collections::{BTreeMap, BTreeSet};

/// A bus below a bridge.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) bus: BusId,
    /// The bus that the bridge is on.
    pub(crate) above: BusId,
    /// The bridge; `None` if it is unknown.
    pub(crate) bridge: Option<Address>,
    /// What the bridge forwards; `None` if no source says.
    pub(crate) windows: Option<Windows>,
    pub(crate) at: SourceLine,
}

/// Functions and buses.
pub(super) struct Settled {
    pub(super) functions: Vec<Function>,
    pub(super) roots: Vec<Root>,
    pub(super) children: Vec<Child>,
    /// Indices of the memory lines and port lines that are windows or apertures.
    pub(super) bus_lines: [BTreeSet<usize>; 2],
    /// Windows of bridges that lead to no known bus.
    pub(super) loose: BTreeMap<Address, Windows>,
    /// Windows whose registers and kernel's map differ.
    pub(super) differences: Vec<Difference>,
}

pub(super) fn settle(facts: &mut Facts, memory: &Listing, ports: &Listing) -> Settled {
    let mut functions = merge(facts);
    let listed = Lists::read(memory, ports);
    inside_cxl(facts, memory);
    listed.add_functions(&mut functions).into_iter().for_each(|finding| facts.find(finding));
    add_virtual(&mut functions);
    // By bus: the bridge above it.
    let mut bridges: BTreeMap<BusId, Address> = BTreeMap::new();
    for function in functions.values() {
        let Some((first, _)) = function.below else { continue };
        let bus = (function.bdf().segment, first);
        // Two bridges cannot lead to one bus: the first one keeps it.
        let other = *bridges.entry(bus).or_insert(function.bdf());
        if other != function.bdf() {
            let place = function.at.clone().unwrap_or_else(|| SourceLine::whole(""));
            let text = format!(
                "bus {} is behind two bridges, {other} and {}: {other} is used",
                show_bus(bus),
                function.bdf()
            );
            facts.find(Finding::at(&place, text));
        }
    }
    adopt(&mut functions, &bridges);
    let mut children = children(facts, &functions, &listed, &mut bridges);
    let below: BTreeSet<BusId> = children.iter().map(|child| child.bus).collect();
    let roots = roots(facts, &functions, &listed, &below);
    let by_bus: BTreeMap<BusId, &Root> = roots.iter().map(|root| (root.bus, root)).collect();
    let above: BTreeMap<BusId, BusId> = children.iter().map(|child| (child.bus, child.above)).collect();
    for child in &mut children {
        let Some(function) = child.bridge.and_then(|bridge| functions.get(&bridge)) else {
            // A chain of parents is at most as long as there are buses; a cycle ends nowhere.
            let way = std::iter::successors(Some(child.bus), |bus| above.get(bus).copied()).take(256);
            if let (Some(root), Some(windows)) =
                (way.last().and_then(|bus| by_bus.get(&bus).copied()), &mut child.windows)
            {
                for (ranges, io) in [(&mut windows.fixed, false), (&mut windows.io, true)] {
                    *ranges = ranges.iter().filter_map(|range| root.to_bus(*range, io)).collect();
                }
            }
            continue;
        };
        let root = by_bus.get(&root_of(&functions, function)).copied();
        let said = facts.pci.listed.get(&child.bus).map_or(&[][..], |lines| lines);
        child.windows = windows(function, said, &listed, child.bus, root);
        if child.windows.is_none() {
            let text = format!(
                "bridge {}: no source gives its windows: add lspci -vvv output or /proc/iomem",
                function.bdf()
            );
            facts.find(Finding::at(&child.at, text));
        }
    }
    // A bridge that leads to no known bus forwards addresses all the same.
    let led: BTreeSet<Address> = children.iter().filter_map(|child| child.bridge).collect();
    let loose = functions.values().filter(|f| f.is_bridge() && !led.contains(&f.bdf()));
    let loose = loose.map(|f| {
        let root = by_bus.get(&root_of(&functions, f)).copied();
        let forwards = windows(f, &[], &listed, (u32::MAX, 0), root);
        (f.bdf(), forwards.unwrap_or_else(Windows::unknown))
    });
    let loose = loose.collect();
    let differences = differences(&functions, &roots, &listed);
    differences.iter().for_each(|difference| facts.find(difference.finding()));
    // Orders buses from the outside in, and drops those that are below nothing known.
    let mut known: BTreeSet<BusId> = roots.iter().map(|root| root.bus).collect();
    let mut left = children;
    let mut children: Vec<Child> = Vec::new();
    loop {
        let (ready, rest): (Vec<Child>, Vec<Child>) =
            left.into_iter().partition(|child| known.contains(&child.above));
        left = rest;
        if ready.is_empty() {
            break;
        }
        known.extend(ready.iter().map(|child| child.bus));
        children.extend(ready);
    }
    for child in left {
        let text = format!(
            "bus {} lies below bus {}, which leads nowhere: left out",
            show_bus(child.bus),
            show_bus(child.above)
        );
        facts.find(Finding::at(&child.at, text));
    }
    let bus_lines = listed.windows.each_ref().map(|lines| lines.keys().copied().collect());
    Settled { functions: functions.into_values().collect(), roots, children, bus_lines, loose, differences }
}

/// Reports PCI buses inside a CXL window: firmware assigned these addresses twice.
fn inside_cxl(facts: &mut Facts, memory: &Listing) {
    for (index, line) in memory.lines.iter().enumerate().filter(|(_, line)| bus_of_line(&line.name).is_some())
    {
        if let Some(outer) = memory.around(index).find(|outer| outer.name.starts_with("CXL Window")) {
            let text = format!("{} {} lies inside {} {}", line.name, line.range, outer.name, outer.range);
            facts.find(Finding::between(&memory.place(line), &memory.place(outer), text));
        }
    }
}

/// Finds the buses below bridges: from bridges' registers, from where functions are, and from listings.
fn children(
    facts: &mut Facts,
    functions: &BTreeMap<Address, Function>,
    listed: &Lists<'_>,
    bridges: &mut BTreeMap<BusId, Address>,
) -> Vec<Child> {
    // A function's place tells which bus its bridge leads to, whatever the registers say.
    for function in functions.values().filter(|f| f.physical.is_none()) {
        let Some(parent) = function.parent.filter(|parent| parent.segment == function.bdf().segment) else {
            continue;
        };
        let bus = (function.bdf().segment, function.bdf().bus);
        let said = bridges.entry(bus).or_insert(parent);
        if *said != parent {
            let place = function.at.clone().unwrap_or_else(|| SourceLine::whole(""));
            let text = format!(
                "{} is listed below bridge {parent}, but another bridge leads to its bus: {parent} is ignored for it",
                function.bdf()
            );
            facts.find(Finding::at(&place, text));
        }
    }
    let lived: BTreeSet<(Address, BusId)> =
        functions.values().filter_map(|f| Some((f.parent?, (f.bdf().segment, f.bdf().bus)))).collect();
    let mut out = Vec::new();
    let mut done: BTreeSet<Address> = BTreeSet::new();
    for (bus, bridge) in bridges.iter() {
        let Some(function) = functions.get(bridge) else { continue };
        // One bridge leads to one bus.
        let led = function.below.map(|(first, _)| (bridge.segment, first));
        if !lived.contains(&(*bridge, *bus)) && led != Some(*bus) || !done.insert(*bridge) {
            continue;
        }
        let above = (bridge.segment, bridge.bus);
        if *bus == above {
            continue;
        }
        let at = function.at.clone().unwrap_or_else(|| SourceLine::whole(bridge.to_string()));
        out.push(Child { bus: *bus, above, bridge: Some(*bridge), windows: None, at });
    }
    let known: BTreeSet<BusId> = out.iter().map(|child: &Child| child.bus).collect();
    for (bus, above) in &listed.above {
        let Some(above) = above.filter(|_| !known.contains(bus)) else { continue };
        let said = |io: bool| {
            let own = listed.lines_of(*bus, io).map(|(line, at)| (line.range, at));
            own.chain(listed.shown[usize::from(io)].get(bus).into_iter().flatten().cloned())
                .collect::<Vec<_>>()
        };
        let lines = |io| said(io).into_iter().map(|(range, _)| range).collect::<Vec<_>>();
        let at = said(false)
            .into_iter()
            .chain(said(true))
            .next()
            .map_or_else(|| SourceLine::whole(""), |(_, at)| at);
        let windows =
            Windows { fixed: lines(false), io: join(lines(true)), io_wide: true, ..Windows::default() };
        out.push(Child { bus: *bus, above, bridge: None, windows: Some(windows), at });
    }
    out
}

/// Returns the root buses: those that sources name, and those of functions below no bridge.
fn roots(
    facts: &mut Facts,
    functions: &BTreeMap<Address, Function>,
    listed: &Lists<'_>,
    below: &BTreeSet<BusId>,
) -> Vec<Root> {
    let mut buses: BTreeSet<BusId> = facts.pci.roots.keys().copied().collect();
    buses.extend(listed.above.iter().filter(|(_, above)| above.is_none()).map(|(bus, _)| *bus));
    buses.extend(
        functions
            .values()
            .filter(|f| f.parent.is_none())
            .map(|f| f.root.unwrap_or((f.bdf().segment, f.bdf().bus))),
    );
    buses.retain(|bus| !below.contains(bus));
    let mut by_root: BTreeMap<BusId, Vec<&Function>> = BTreeMap::new();
    for function in functions.values() {
        by_root.entry(root_of(functions, function)).or_default().push(function);
    }
    let below = |bus: &BusId| by_root.get(bus).map_or(&[][..], |all| &all[..]);
    let roots: Vec<Root> = buses.iter().map(|bus| root(facts, below(bus), listed, *bus)).collect();
    for bus in buses.iter().filter(|bus| offset_of(below(bus).iter().copied()).is_none()) {
        let text = "BARs differ from their resources by more than one offset: bus addresses are taken to equal CPU addresses";
        facts.find(Finding::whole(format!("bus {}", show_bus(*bus)), text));
    }
    roots
}

fn root(facts: &Facts, below: &[&Function], listed: &Lists<'_>, bus: BusId) -> Root {
    let on_bus = |f: &&Function| f.parent.is_none() && (f.bdf().segment, f.bdf().bus) == bus;
    let own: Vec<&Function> = below.iter().copied().filter(on_bus).collect();
    let logged = facts.pci.roots.get(&bus).cloned().unwrap_or_default();
    let offset = offset_of(below.iter().copied()).unwrap_or(0);
    let mut apertures: Vec<Sourced<Aperture>> = Vec::new();
    let mut guessed = [false; 2];
    for io in [false, true] {
        let from_list: Vec<(AddrRange, SourceLine)> =
            listed.lines_of(bus, io).map(|(line, at)| (line.range, at)).collect();
        let from_log: Vec<&Sourced<Aperture>> = logged.iter().filter(|said| said.value.io == io).collect();
        // Bus addresses come from a log, or else from BARs.
        let shift = |range: AddrRange| {
            let said = from_log.iter().find(|said| said.value.range.covers(range));
            match said {
                Some(said) => said.value.bus_start.wrapping_add(range.start() - said.value.range.start()),
                None if io => range.start(),
                None => range.start().wrapping_sub(shift_of(below, listed, range).unwrap_or(offset)),
            }
        };
        let ranges: Vec<(AddrRange, SourceLine)> = if !from_list.is_empty() {
            from_list
        } else if !from_log.is_empty() {
            from_log.iter().map(|said| (said.value.range, said.at.clone())).collect()
        } else {
            guessed[usize::from(io)] = true;
            let place = own
                .first()
                .and_then(|f| f.at.clone())
                .unwrap_or_else(|| SourceLine::whole(format!("bus {}", show_bus(bus))));
            let windows = listed.outermost[usize::from(io)].iter().filter(|_| bus == (0, 0)).cloned();
            decoded(&own, io, offset).into_iter().map(|range| (range, place.clone())).chain(windows).collect()
        };
        let mut taken: Vec<AddrRange> = Vec::new();
        // Listed lines may overlap: the first one keeps what both cover.
        for (range, at) in ranges {
            for part in without(&[range], &taken) {
                let value = Aperture { range: part, bus_start: shift(part), io };
                apertures.push(Sourced::new(value, at.clone()));
            }
            taken.push(range);
            taken = join(taken);
        }
    }
    let node = own.iter().find_map(|f| f.numa).or_else(|| facts.pci.nodes.get(&bus).copied());
    let shifted = apertures.iter().any(|said| said.value.bus_start != said.value.range.start());
    let inward = facts.pci.inward.get(&bus).cloned();
    Root { bus, apertures, guessed, shifted, node, inward }
}

/// Returns what is added to a bus address to give the CPU's address, according to the functions' memory BARs.
/// `None` if they disagree; 0 if there is no evidence.
fn offset_of<'f>(functions: impl Iterator<Item = &'f Function>) -> Option<u64> {
    let mut agreed = None;
    for function in functions {
        let Some(header) = &function.header else { continue };
        for resource in function.resources.iter().filter(|r| !r.io && !r.open_ended) {
            let ResourceKind::Bar(index) = resource.kind else { continue };
            let bar = header
                .bars()
                .find(|(slot, bar)| *slot == usize::from(index) && !bar.is_io() && bar.base() != 0);
            let Some((_, bar)) = bar else { continue };
            let offset = resource.range.start().wrapping_sub(bar.base());
            match agreed {
                None => agreed = Some(offset),
                Some(agreed) if agreed == offset => {}
                Some(_) => return None,
            }
        }
    }
    Some(agreed.unwrap_or(0))
}

/// Returns by how much a range's bus addresses are lower than its CPU addresses: `lspci` prints windows as
/// registers hold them, listings as CPUs see them.
fn shift_of(functions: &[&Function], listed: &Lists<'_>, range: AddrRange) -> Option<u64> {
    let printed = functions.iter().filter(|f| f.source == PciSource::Lspci && f.header.is_none());
    let shifts: Vec<u64> = printed
        .filter_map(|f| Some((f, listed.lines_of((f.bdf().segment, f.below?.0), false))))
        .flat_map(|(f, lines)| {
            let inside = lines.map(|(line, _)| line.range).filter(|line| range.covers(*line));
            inside.flat_map(|line| {
                let own = f.resources.iter().filter(|r| r.kind == ResourceKind::Window && !r.io);
                let same = own.filter(move |r| r.range.len() == line.len());
                same.map(move |r| line.start().wrapping_sub(r.range.start()))
            })
        })
        .collect();
    // An unshifted window gives 0, whatever other windows of its size suggest.
    shifts.iter().min().copied()
}

/// Returns what a root bus decodes, as far as its functions' resources and bridges' windows show, in CPU addresses.
fn decoded(functions: &[&Function], io: bool, offset: u64) -> Vec<AddrRange> {
    let assigned = functions.iter().flat_map(|f| &f.resources).filter(|r| r.io == io).map(|r| r.range);
    let registers = functions.iter().filter_map(|f| {
        let header = f.header.as_ref()?;
        let (bridge, command) = (header.bridge()?, header.common.command);
        let noted: Vec<&PciResource> =
            f.resources.iter().filter(|r| r.kind == ResourceKind::Window).collect();
        let windows = registers(bridge, command.io(), command.memory(), &noted, f.lists_windows);
        Some(if io { windows.io } else { [windows.memory, windows.prefetchable].concat() })
    });
    let offset = if io { 0 } else { offset };
    let registers = registers.flatten().filter_map(|range| range.shifted(offset));
    join(assigned.chain(registers).collect())
}
