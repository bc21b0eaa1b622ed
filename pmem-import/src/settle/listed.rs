//! What listings of resources say about PCI: apertures, windows, functions.

use crate::facts::{
    BusId, Finding, Function, Listed, Listing, PciResource, PciSource, ResourceKind, SourceLine, Unplaced,
};
use pmem_core::AddrRange;
use pmem_pci::Address;
use std::collections::BTreeMap;

/// What listings of resources say about PCI.
pub(super) struct Lists<'l> {
    memory: &'l Listing,
    ports: &'l Listing,
    /// By index of a memory line and of a port line: the bus whose window or aperture it is.
    pub(super) windows: [BTreeMap<usize, BusId>; 2],
    /// By bus: its outermost memory lines and port lines.
    by_bus: [BTreeMap<BusId, Vec<usize>>; 2],
    /// By bus: the enclosing bus; `None` for a root bus.
    pub(super) above: BTreeMap<BusId, Option<BusId>>,
    /// Buses without a line of their own whose functions lie inside another bus's line: the memory and ports that
    /// these functions show.
    pub(super) shown: [BTreeMap<BusId, Vec<(AddrRange, SourceLine)>>; 2],
    /// Windows of bridges on bus 0, in listings without apertures.
    pub(super) outermost: [Vec<(AddrRange, SourceLine)>; 2],
}

/// Updates a function of a log from the kernel's listing, which is more recent. The log knows which register is
/// which, the listing only where each is. They are matched by range, then by start, then by size, then by kind.
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
    // Resources of the log that the later listing lacks have lost their place.
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

/// Returns a resource that `lspci` shows where the listing has none, and a line of the same function
/// where `lspci` shows nothing.
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

/// Parses the bus in a line's name: `PCI Bus 0000:3b`.
pub(super) fn bus_of_line(name: &str) -> Option<BusId> {
    let name = name.strip_prefix("PCI Bus ")?;
    // Linux before 2.6.28 writes `PCI Bus #3b`.
    let (segment, bus) =
        name.strip_prefix('#').map_or_else(|| name.split_once(':'), |bus| Some(("0", bus)))?;
    Some((u32::from_str_radix(segment, 16).ok()?, u8::from_str_radix(bus, 16).ok()?))
}

/// Parses the function in a line's name: `0000:3b:00.0`.
fn address_of_line(name: &str) -> Option<Address> {
    name.parse().ok().filter(|_| name.len() >= 12)
}

/// Whether a line is a device tree's host bridge: `pcie@10000000`, `/pciex@3fffe40000000`.
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
        // By name of a host bridge: its root bus, found from what lies inside any of its lines.
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
                // Kernels that write `#` list no apertures: a line inside no other is a window of a
                // bridge on bus 0.
                if above.is_none() && bus.1 != 0 && line.name.contains('#') {
                    above = Some((0, 0));
                    lists.above.entry((0, 0)).or_insert(None);
                    lists.outermost[which].push((line.range, listing.place(line)));
                }
                // One line inside another bus is enough to place the bus below it.
                let had = lists.above.entry(bus).or_insert(above);
                *had = had.or(above);
            }
        }
        lists.add_shown();
        lists
    }

    /// Adds buses that only show through their functions: such a bus is somewhere below the bus whose
    /// line contains them.
    fn add_shown(&mut self) {
        for (which, listing) in [self.memory, self.ports].into_iter().enumerate() {
            for line in &listing.lines {
                let Some(address) = address_of_line(&line.name) else { continue };
                let bus = (address.segment, address.bus);
                let within = std::iter::successors(line.parent, |p| listing.lines.get(*p)?.parent);
                let mut outer = within.clone().filter_map(|p| self.windows[which].get(&p)).copied();
                // Virtual functions can carry the numbers of buses that do not exist.
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

    /// Adds resources from lines that name a function, where no better source has them. Returns findings about
    /// functions that `lspci` shows at another moment than the listing.
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
                    let text = format!("{address} is at {had} here but at {has} in the resource listing, which is used: capture both at the same time");
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
                // The kernel's files list all of a function's resources, so a line adds nothing to them.
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

    /// Whether a listing of ports, or of memory, names buses.
    pub(super) fn says(&self, io: bool) -> bool {
        !self.windows[usize::from(io)].is_empty()
    }

    /// Returns a bus's own lines, of memory or of ports.
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
