//! What lists of resources say of PCI: apertures, windows, functions.

use crate::facts::{
    BusId, Finding, Function, Listed, Listing, PciResource, PciSource, ResourceKind, SourceLine, Unplaced,
};
use pmem_core::AddrRange;
use pmem_pci::Address;
use std::collections::BTreeMap;

/// What lists of resources say of PCI.
pub(super) struct Lists<'l> {
    memory: &'l Listing,
    ports: &'l Listing,
    /// By line of memory and of ports: the bus that it is a window or an aperture of.
    pub(super) windows: [BTreeMap<usize, BusId>; 2],
    /// By bus: its lines of memory and of ports, none inside another of its own.
    by_bus: [BTreeMap<BusId, Vec<usize>>; 2],
    /// By bus: the bus around it.
    pub(super) above: BTreeMap<BusId, Option<BusId>>,
    /// Buses that no line is named for, but functions inside another bus's line are on: what these show of memory and of ports.
    pub(super) shown: [BTreeMap<BusId, Vec<(AddrRange, SourceLine)>>; 2],
    /// Windows of bridges on bus 0 in lists without apertures.
    pub(super) outermost: [Vec<(AddrRange, SourceLine)>; 2],
}

/// Puts what a log says of a function where the kernel's list, which is of a later time, has it. A log knows which register is which; a
/// list only where each is: what begins at one address, or is of one size, is the same.
fn as_listed(function: &mut Function, listing: &Listing, lines: &[&Listed], io: bool) {
    let mut left: Vec<&&Listed> = lines.iter().collect();
    let mut known: Vec<usize> = (0..function.resources.len())
        .filter(|i| function.resources.get(*i).is_some_and(|r| r.io == io && r.kind != ResourceKind::Window))
        .collect();
    let same: [fn(&PciResource, &Listed) -> bool; 4] = [
        |resource, line| resource.range == line.range,
        |resource, line| resource.range.start() == line.range.start(),
        |resource, line| resource.range.len() == line.range.len(),
        |resource, line| {
            resource.prefetchable && (resource.range.start() >> 32 != 0) == (line.range.start() >> 32 != 0)
        },
    ];
    for same in same {
        known.retain(|i| {
            let Some(resource) = function.resources.get_mut(*i) else { return false };
            let Some(at) = left.iter().position(|line| same(resource, line)) else { return true };
            let line = left.remove(at);
            if resource.range != line.range {
                (resource.range, resource.at) = (line.range, listing.place(line));
            }
            false
        });
    }
    // What a log placed, and a later list does not have, has no place any more.
    let mut index = 0;
    let mut gone = Vec::new();
    function.resources.retain(|resource| {
        let stays = !known.contains(&index);
        index += 1;
        if !stays {
            gone.push(resource.clone());
        }
        stays
    });
    for resource in gone {
        let PciResource { kind, range, io, prefetchable, wide, at, .. } = resource;
        let why = format!("not in {}", listing.source);
        function.unplaced.push(Unplaced {
            kind,
            size: Some(range.len()),
            io,
            prefetchable,
            wide,
            why,
            again: false,
            at,
        });
    }
}

/// What `lspci` shows where no line of the function is, and a line of the function where `lspci` shows nothing.
fn moved<'f>(
    function: &'f Function,
    lines: &[&'f Listed],
    io: bool,
) -> Option<(&'f PciResource, &'f Listed)> {
    let own = || {
        let all = function.resources.iter().filter(move |r| r.io == io);
        all.filter(|r| matches!(r.kind, ResourceKind::Bar(_) | ResourceKind::Unnamed))
    };
    let resource = own().find(|r| lines.iter().all(|line| !line.range.overlaps(r.range)))?;
    let any = |line: &Listed| function.resources.iter().any(|r| r.range.overlaps(line.range));
    let line = lines.iter().find(|line| !any(line))?;
    (function.source == PciSource::Lspci).then_some((resource, *line))
}

/// The bus that a line is named for: `PCI Bus 0000:3b`.
pub(super) fn bus_of_line(name: &str) -> Option<BusId> {
    let name = name.strip_prefix("PCI Bus ")?;
    // As Linux before 2.6.28 writes it.
    let (segment, bus) =
        name.strip_prefix('#').map_or_else(|| name.split_once(':'), |bus| Some(("0", bus)))?;
    Some((u32::from_str_radix(segment, 16).ok()?, u8::from_str_radix(bus, 16).ok()?))
}

/// The function that a line is named for: `0000:3b:00.0`.
fn address_of_line(name: &str) -> Option<Address> {
    name.parse().ok().filter(|_| name.len() >= 12)
}

/// Whether a line is a host bridge of a device tree: `pcie@10000000`, `/pciex@3fffe40000000`.
fn is_tree_bridge(name: &str) -> bool {
    let name = name.trim_start_matches('/');
    let Some((kind, unit)) = name.split_once('@') else { return false };
    matches!(kind, "pci" | "pcie" | "pciex")
        && !unit.is_empty()
        && unit.bytes().all(|b| b.is_ascii_hexdigit() || b == b',')
}

impl<'l> Lists<'l> {
    pub(super) fn read(memory: &'l Listing, ports: &'l Listing) -> Self {
        let mut lists = Self {
            memory,
            ports,
            windows: Default::default(),
            by_bus: Default::default(),
            above: BTreeMap::new(),
            shown: Default::default(),
            outermost: Default::default(),
        };
        // By name of a host bridge: the root bus that its lines belong to, by what lies inside any of them.
        let mut trees: BTreeMap<&str, BusId> = BTreeMap::new();
        for listing in [memory, ports] {
            for (index, line) in listing.lines.iter().enumerate() {
                let Some(outer) = listing.around(index).find(|outer| is_tree_bridge(&outer.name)) else {
                    continue;
                };
                let address: Option<Address> = line.name.parse().ok();
                let direct =
                    line.parent.and_then(|p| listing.lines.get(p)).is_some_and(|p| p.name == outer.name);
                let bus = match (address, bus_of_line(&line.name)) {
                    (Some(address), _) if direct => Some((address.segment, address.bus)),
                    // A device tree's root bus is the first of its segment.
                    (_, Some((segment, _))) if direct => Some((segment, 0)),
                    _ => None,
                };
                if let Some(bus) = bus {
                    trees.entry(outer.name.as_str()).or_insert(bus);
                }
            }
        }
        for (which, listing) in [memory, ports].into_iter().enumerate() {
            for (index, line) in listing.lines.iter().enumerate() {
                let own = bus_of_line(&line.name).or_else(|| trees.get(line.name.as_str()).copied());
                let Some(bus) = own else { continue };
                lists.windows[which].insert(index, bus);
                let mut outer = line.parent;
                let (mut above, mut again) = (None, false);
                while let Some(at) = outer {
                    let of = lists.windows[which].get(&at).copied();
                    again |= of == Some(bus);
                    above = above.or(of.filter(|other| *other != bus));
                    outer = listing.lines.get(at).and_then(|line| line.parent);
                }
                if !again {
                    lists.by_bus[which].entry(bus).or_default().push(index);
                }
                // Those kernels list no apertures: what is in no other line is a window of a bridge on bus 0.
                if above.is_none() && bus.1 != 0 && line.name.contains('#') {
                    above = Some((0, 0));
                    lists.above.entry((0, 0)).or_insert(None);
                    lists.outermost[which].push((line.range, listing.place(line)));
                }
                // One line inside another bus is enough to be below it.
                let had = lists.above.entry(bus).or_insert(above);
                *had = had.or(above);
            }
        }
        lists.add_shown();
        lists
    }

    /// Functions inside another bus's line: their bus is somewhere below that one.
    fn add_shown(&mut self) {
        for (which, listing) in [self.memory, self.ports].into_iter().enumerate() {
            for line in &listing.lines {
                let Some(address) = address_of_line(&line.name) else { continue };
                let bus = (address.segment, address.bus);
                let within = std::iter::successors(line.parent, |p| listing.lines.get(*p)?.parent);
                let mut outer = within.clone().filter_map(|p| self.windows[which].get(&p)).copied();
                // Virtual functions have numbers of buses that are none.
                let of_other = within.clone().any(|p| {
                    listing.lines.get(p).is_some_and(|outer| address_of_line(&outer.name).is_some())
                });
                let Some(around) = outer.next().filter(|around| *around != bus && !of_other) else {
                    continue;
                };
                if self.by_bus.iter().all(|lines| !lines.contains_key(&bus)) {
                    self.above.insert(bus, Some(around));
                    self.shown[which].entry(bus).or_default().push((line.range, listing.place(line)));
                }
            }
        }
    }

    fn both(&self) -> [(&'l Listing, bool); 2] {
        [(self.memory, false), (self.ports, true)]
    }

    /// Lines that name a function: what it was assigned, where nothing better says. Gives the functions of which `lspci` is of another moment.
    pub(super) fn add_functions(&self, functions: &mut BTreeMap<Address, Function>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (listing, io) in self.both() {
            let mut by_function: BTreeMap<Address, Vec<&Listed>> = BTreeMap::new();
            for line in listing.lines.iter().filter(|_| !listing.hidden) {
                if let Some(address) = address_of_line(&line.name) {
                    by_function.entry(address).or_default().push(line);
                }
            }
            for (address, lines) in by_function {
                let Some(function) = functions.get_mut(&address) else { continue };
                let moved = moved(function, &lines, io).map(|(resource, line)| {
                    let (had, has) = (resource.range, line.range);
                    let text = format!("{address} is at {had} here, and at {has} in the list of resources, which is taken: the two are of different moments");
                    Finding::at(&resource.at, text)
                });
                if function.source == PciSource::Log || moved.is_some() {
                    as_listed(function, listing, &lines, io);
                }
                findings.extend(moved);
            }
            for line in &listing.lines {
                let Some(address) = address_of_line(&line.name) else { continue };
                let at = listing.place(line);
                let function = functions.entry(address).or_insert_with(|| Function {
                    address: Some(address),
                    at: Some(at.clone()),
                    source: PciSource::Listing,
                    ..Function::default()
                });
                let said_all = function.source == PciSource::Sysfs && !function.resources.is_empty();
                let known =
                    function.resources.iter_mut().find(|r| r.io == io && r.range.overlaps(line.range));
                match known {
                    Some(known) if known.open_ended && known.range.start() == line.range.start() => {
                        (known.range, known.open_ended) = (line.range, false);
                    }
                    Some(_) => {}
                    None if said_all => {}
                    None => function.resources.push(PciResource {
                        kind: ResourceKind::Unnamed,
                        range: line.range,
                        io,
                        prefetchable: false,
                        wide: None,
                        open_ended: false,
                        at,
                    }),
                }
            }
        }
        findings
    }

    /// Whether there is a list of ports, or of memory, that names buses.
    pub(super) fn says(&self, io: bool) -> bool {
        !self.windows[usize::from(io)].is_empty()
    }

    /// The lines that are a bus's own, of memory or of ports.
    pub(super) fn lines_of(
        &self,
        bus: BusId,
        io: bool,
    ) -> impl Iterator<Item = (&'l Listed, SourceLine)> + '_ {
        let listing = if io { self.ports } else { self.memory };
        let own = self.by_bus[usize::from(io)].get(&bus).into_iter().flatten();
        own.filter_map(move |index| listing.lines.get(*index).map(|line| (line, listing.place(line))))
    }
}
