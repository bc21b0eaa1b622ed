//! Builds the PCI hierarchy in the planner's form.

use super::difference::{Difference, kind_of};
use super::orphans::Way;
use super::pci::Child;
use super::root::Root;
use super::windows::{Windows, told_apart};
use crate::facts::{
    BusId, Conflict, Facts, Function, Listing, PciResource, PciSource, ResourceKind, Sourced,
};
use pmem_core::AddrRange;
use pmem_pci::tree::{
    self, Aperture, Avoid, Index, Mobility, Resource, Slot, Space, Tree, Window, WindowKind,
};
use pmem_pci::{Address, Bar, BusRange, Class, IoWindow, MemoryWindow};
use std::collections::{BTreeMap, BTreeSet};

/// The PCI hierarchy in the planner's form, and what is uncertain about it.
#[derive(Clone, Debug, Default)]
pub struct PciTree {
    /// The hierarchy.
    pub tree: Tree,
    /// Resources whose register is unknown.
    pub unnamed: BTreeSet<(Index, Slot)>,
    /// Resources whose size is unknown.
    pub unmeasured: BTreeSet<(Index, Slot)>,
    /// Bridges whose own address is unknown: only the bus below them is known.
    pub nameless: BTreeSet<Index>,
    /// Vendor and device id by function.
    pub ids: BTreeMap<Index, (u16, u16)>,
    /// Bridges whose last bus number is unknown.
    pub unnumbered: BTreeSet<Index>,
    /// Host bridges whose apertures no source gives: they are what is known to lie in them.
    pub guessed: BTreeSet<(usize, Space)>,
    /// Host bridges that claim to forward all addresses, while no source says where memory is.
    pub boundless: BTreeSet<usize>,
    /// Resources without a place whose size is unknown.
    pub unknown: Vec<(Index, ResourceKind)>,
    /// Resources that the kernel gave up, and will look for a place for at its next chance.
    pub given_up: BTreeSet<(Index, Slot)>,
    /// Bridges whose target is inferred: no source gives it, but no other bridge can lead there.
    pub led: BTreeSet<Index>,
    /// Placeholder bridges for a path about which no source says anything.
    pub ways: BTreeSet<Index>,
    /// Bridges whose windows no source gives.
    pub unsaid: BTreeSet<Index>,
    /// Windows that are smaller than the kernel wanted: the bridge, the kind of window, and the wanted
    /// size in bytes.
    pub short: Vec<(Index, WindowKind, u64)>,
    /// Bridges without bus numbers, with the first and last number that they need; zeros if no source says.
    pub numberless: Vec<(Index, (u8, u8))>,
    /// Resources that firmware put where something else is.
    pub conflicts: Vec<Sourced<Conflict>>,
    /// The kinds of sources that name functions.
    pub sources: BTreeSet<PciSource>,
    /// Windows that the kernel released but whose sizes, in bytes, it keeps.
    pub kept: BTreeMap<(Index, WindowKind), u64>,
    /// The kernel is locked down: configuration space cannot be written, not even by a module.
    pub locked_down: bool,
    /// Windows whose registers differ from the kernel's map: what the registers forward, `None` if closed. The
    /// hierarchy has the kernel's map.
    pub differs: BTreeMap<(Index, WindowKind), Option<BusRange>>,
}

const HIGH: u64 = u64::MAX;
const LOW: u64 = 0xffff_ffff;

/// The facts that a hierarchy is built from.
pub(super) struct Given<'g> {
    pub(super) facts: &'g Facts,
    pub(super) is_x86: bool,
    pub(super) functions: &'g [Function],
    pub(super) roots: &'g [Root],
    pub(super) children: &'g [Child],
    pub(super) memory: &'g Listing,
    /// Indices of the memory lines that are buses' windows or apertures.
    pub(super) bus_lines: &'g BTreeSet<usize>,
    /// Windows of bridges that lead to no known bus.
    pub(super) loose: &'g BTreeMap<Address, Windows>,
    /// Where buses are attached whose bridge no source names.
    pub(super) orphans: &'g BTreeMap<BusId, Way>,
}

pub(super) fn build(given: &Given<'_>) -> PciTree {
    let Given { facts, is_x86, functions, roots, children, memory, bus_lines, loose, orphans } = *given;
    let mut out = PciTree::default();
    let mut root_of: BTreeMap<BusId, usize> = BTreeMap::new();
    // By bus: the bridge above it.
    let mut above: BTreeMap<BusId, Option<Index>> = roots.iter().map(|root| (root.bus, None)).collect();
    let drivers = functions.iter().any(|f| f.source == PciSource::Lspci && f.driver.is_some());
    let mut by_bus: BTreeMap<BusId, Vec<&Function>> = BTreeMap::new();
    let bridges: BTreeMap<Address, BusId> =
        children.iter().filter_map(|child| Some((child.bridge?, child.bus))).collect();
    // A function's bus is the one below its bridge, if that is known, whatever its bus number says.
    for function in functions.iter().filter(|f| f.physical.is_none()) {
        let own = (function.bdf().segment, function.bdf().bus);
        let below = function.parent.and_then(|parent| bridges.get(&parent)).copied();
        by_bus
            .entry(below.unwrap_or(function.root.filter(|_| function.parent.is_none()).unwrap_or(own)))
            .or_default()
            .push(function);
    }
    let mut on_root: BTreeMap<BusId, Vec<BusId>> = BTreeMap::new();
    let mut inside: BTreeMap<Address, Vec<(BusId, bool)>> = BTreeMap::new();
    // Buses whose place was inferred are no root buses any more.
    for (bus, way) in orphans {
        match way {
            Way::Leads(bridge) => inside.entry(*bridge).or_default().push((*bus, true)),
            Way::Below(bridge) => inside.entry(*bridge).or_default().push((*bus, false)),
            Way::BelowRoot(root) => on_root.entry(*root).or_default().push(*bus),
        }
        above.remove(bus);
    }
    let real: Vec<&Root> = roots.iter().filter(|root| above.contains_key(&root.bus)).collect();
    for root in &real {
        let index = out.tree.roots.len();
        root_of.insert(root.bus, index);
        for (guessed, space) in root.guessed.iter().zip([Space::Memory, Space::Io]) {
            if *guessed {
                out.guessed.insert((index, space));
            }
        }
        let said = facts.pci.ranges.get(&root.bus).copied();
        let alone = real.iter().filter(|other| other.bus.0 == root.bus.0).count() == 1;
        let reach = facts.pci.reach.get(&root.bus.0).filter(|reach| alone && **reach > root.bus.1);
        let said = said.or(reach.map(|reach| (root.bus.1, *reach)));
        out.tree.roots.push(host_bridge(root, &real, said));
    }
    let mut buses: Vec<BusId> =
        roots.iter().map(|root| root.bus).filter(|bus| above.contains_key(bus)).collect();
    let mut at = 0;
    // Breadth first from the root buses: each bus adds its functions, and queues the buses below them.
    while let Some(bus) = buses.get(at).copied() {
        at += 1;
        let Some(parent) = above.get(&bus).copied() else { continue };
        let Some(root) = root_of.get(&bus).copied() else { continue };
        for function in by_bus.get(&bus).into_iter().flatten() {
            let index = out.add(function, parent, root, real.get(root).copied(), drivers);
            let below = children.iter().find(|child| child.bridge == Some(function.bdf()));
            match below {
                Some(child) => {
                    let unknown = Windows::unknown();
                    let forwards = child.windows.as_ref().unwrap_or(&unknown);
                    out.add_windows(
                        index,
                        forwards,
                        function.below.or(Some((child.bus.1, child.bus.1))),
                        Some(function),
                    );
                    above.insert(child.bus, Some(index));
                    root_of.insert(child.bus, root);
                    buses.push(child.bus);
                }
                None => {
                    if let Some(forwards) = loose.get(&function.bdf()) {
                        out.add_windows(index, forwards, function.below, Some(function));
                    }
                }
            }
            let led =
                out.tree.functions.get(index).and_then(|f| f.bridge.as_ref()?.buses).map(|buses| buses.0);
            for (bus, leads) in inside.remove(&function.bdf()).unwrap_or_default() {
                // Unknown bridges lie in between, unless it is the bridge's own secondary bus.
                let way =
                    if leads || led == Some(bus.1) { index } else { out.add_way(Some(index), root, bus) };
                if leads {
                    out.led.insert(index);
                    out.lead(index, bus.1, facts.pci.ends.get(&bus).copied());
                }
                above.insert(bus, Some(way));
                root_of.insert(bus, root);
                buses.push(bus);
            }
        }
        for orphan in on_root.remove(&bus).unwrap_or_default() {
            let way = out.add_way(None, root, orphan);
            above.insert(orphan, Some(way));
            root_of.insert(orphan, root);
            buses.push(orphan);
        }
        for child in children.iter().filter(|child| child.bridge.is_none() && child.above == bus) {
            let index = out.add_nameless(parent, root, bus);
            let unknown = Windows::unknown();
            let forwards = child.windows.as_ref().unwrap_or(&unknown);
            out.add_windows(index, forwards, Some((child.bus.1, child.bus.1)), None);
            above.insert(child.bus, Some(index));
            root_of.insert(child.bus, root);
            buses.push(child.bus);
        }
    }
    if memory.lines.is_empty() {
        out.settle_apertures();
        for (index, root) in out.tree.roots.iter().enumerate() {
            let whole = |a: &&Aperture| a.space == Space::Memory && a.cpu == 0 && a.span.last > LOW;
            if root.apertures.iter().any(|aperture| whole(&aperture)) {
                out.boundless.insert(index);
            }
        }
    }
    out.settle_unnamed();
    out.settle_unsaid();
    out.settle_unmeasured();
    out.settle_short(facts, functions);
    out.tree.avoid.extend(avoid(facts, is_x86, roots, memory, bus_lines));
    out
}

/// Builds a host bridge with its apertures. Its buses end before the next host bridge's, unless a
/// source says where.
fn host_bridge(root: &Root, roots: &[&Root], said: Option<(u8, u8)>) -> tree::Root {
    let (segment, first) = root.bus;
    let next = roots.iter().filter(|r| r.bus.0 == segment && r.bus.1 > first).map(|r| r.bus.1 - 1).min();
    let apertures = root.apertures.iter().filter_map(|said| {
        let aperture = &said.value;
        let space = if aperture.io { Space::Io } else { Space::Memory };
        let span = BusRange::sized(aperture.bus_start, aperture.range.len())?;
        Some(Aperture { space, span, cpu: aperture.range.start() })
    });
    let mut made = tree::Root {
        segment,
        buses: said.unwrap_or((first, next.unwrap_or(0xff))),
        apertures: apertures.collect(),
    };
    made.join_apertures();
    made
}

fn span(range: AddrRange) -> BusRange {
    BusRange { first: range.start(), last: range.last() }
}

impl PciTree {
    fn add(
        &mut self,
        function: &Function,
        parent: Option<Index>,
        root: usize,
        host: Option<&Root>,
        drivers: bool,
    ) -> Index {
        let index = self.tree.functions.len();
        self.ids.extend(function.id.map(|id| (index, id)));
        let mut made = tree::Function::new(function.bdf(), parent, root);
        made.command = function.header.as_ref().map(|h| h.common.command).or(function.command).map(|c| c.0);
        made.resizable = function
            .resizable
            .iter()
            .map(|own| tree::Resizable {
                bar: own.bar,
                sizes: (0..44).filter(|n| own.sizes >> n & 1 == 1).map(|n| 1 << (20 + n)).collect(),
                control: (own.control, own.rest),
            })
            .collect();
        made.virtual_functions =
            function.sriov.map(|own| tree::VirtualFunctions { capability: own.at, control: own.control });
        made.mobility = mobility(function, drivers);
        let mut named: BTreeSet<Slot> = BTreeSet::new();
        let own = || function.resources.iter().filter(|r| r.kind != ResourceKind::Window);
        for resource in own().filter(|r| r.kind != ResourceKind::Unnamed) {
            let Some(slot) = slot(resource.kind) else { continue };
            if named.insert(slot) {
                made.resources.extend(placed(function, resource, slot, host));
                if resource.open_ended {
                    self.unmeasured.insert((index, slot));
                }
            }
        }
        for resource in own().filter(|r| r.kind == ResourceKind::Unnamed && !has_no_bar(function, r)) {
            // Unnamed resources take the first free slots: a function has at most 6 BARs, 6 VF BARs and a ROM.
            let slots = (0..6).map(Slot::Bar).chain((0..6).map(Slot::Vf)).chain([Slot::Rom]);
            let Some(slot) = slots.into_iter().find(|slot| !named.contains(slot)) else { break };
            named.insert(slot);
            if let Some(new) = placed(function, resource, slot, host) {
                // A 64-bit BAR takes the next slot too.
                if let (Slot::Bar(n), true) = (slot, new.is_wide()) {
                    named.insert(Slot::Bar(n + 1));
                }
                made.resources.push(new);
            }
            self.unnamed.insert((index, slot));
        }
        for ports in own().filter(|r| has_no_bar(function, r)) {
            self.tree.avoid.push(Avoid { space: Space::Io, span: span(ports.range), strict: false });
        }
        for unplaced in &function.unplaced {
            let first_free = || (0..6).map(Slot::Bar).find(|slot| !named.contains(slot));
            let slot =
                if unplaced.kind == ResourceKind::Unnamed { first_free() } else { slot(unplaced.kind) };
            let Some(slot) = slot.filter(|slot| !named.contains(slot)) else { continue };
            let Some(size) =
                unplaced.size.filter(|size| size.is_power_of_two() || matches!(slot, Slot::Vf(_)))
            else {
                // Functions work without I/O ports.
                if !unplaced.io {
                    self.unknown.push((index, unplaced.kind));
                }
                continue;
            };
            named.insert(slot);
            if unplaced.again {
                self.given_up.insert((index, slot));
            }
            let space = if unplaced.io { Space::Io } else { Space::Memory };
            let wide = unplaced.wide.unwrap_or_else(|| holds_64_bits(function, slot));
            made.resources.push(Resource {
                slot,
                space,
                prefetchable: unplaced.prefetchable,
                top: if wide && space == Space::Memory { HIGH } else { LOW },
                size,
                align: alignment(function, slot, size),
                at: None,
                fixed: false,
                optional: !matches!(slot, Slot::Bar(_)) || unplaced.io,
            });
        }
        // A function without memory BARs needs its I/O ports.
        if !made.resources.iter().any(|r| r.space == Space::Memory && matches!(r.slot, Slot::Bar(_))) {
            made.resources.iter_mut().filter(|r| r.space == Space::Io).for_each(|r| r.optional = false);
        }
        made.resources.sort_by_key(|resource| resource.slot);
        self.tree.functions.push(made);
        index
    }

    /// Makes a bridge lead to a bus, and up to `end` if a source gives it.
    fn lead(&mut self, index: Index, bus: u8, end: Option<u8>) {
        if let Some(bridge) = self.tree.functions.get_mut(index).and_then(|f| f.bridge.as_mut()) {
            bridge.buses = Some((bus, end.unwrap_or(bus).max(bus)));
            if end.is_none() {
                self.unnumbered.insert(index);
            }
        }
    }

    /// Adds a bridge whose own address is unknown.
    fn add_nameless(&mut self, parent: Option<Index>, root: usize, (segment, bus): BusId) -> Index {
        let taken = self.nameless.len() as u8;
        let (device, function) = (31 - taken / 8 % 32, 7 - taken % 8);
        let index = self.tree.functions.len();
        self.tree.functions.push(tree::Function::new(
            Address { segment, bus, device, function },
            parent,
            root,
        ));
        self.nameless.insert(index);
        index
    }

    /// Adds a placeholder for the path to a bus whose bridges no source names.
    fn add_way(&mut self, parent: Option<Index>, root: usize, bus: BusId) -> Index {
        let on =
            parent.and_then(|parent| self.tree.functions.get(parent)).map_or(bus, |f| (bus.0, f.address.bus));
        let index = self.add_nameless(parent, root, on);
        self.add_windows(index, &Windows::unknown(), Some((bus.1, bus.1)), None);
        self.ways.insert(index);
        self.unsaid.insert(index);
        index
    }

    /// Takes windows from the kernel's map, where registers differ.
    pub(super) fn take_map(&mut self, differences: &[Difference]) {
        for difference in differences {
            let Some(index) = self.tree.find(difference.bridge) else { continue };
            let bridge = self.tree.functions.get_mut(index).and_then(|function| function.bridge.as_mut());
            let windows = bridge.into_iter().flat_map(|bridge| &mut bridge.windows);
            let Some(window) = windows.into_iter().find(|window| window.kind == difference.kind) else {
                continue;
            };
            window.span = difference.map.map(span);
            self.differs.insert((index, difference.kind), difference.registers.map(span));
        }
        self.settle_unnamed();
    }

    /// Makes a function a bridge.
    fn add_windows(
        &mut self,
        index: Index,
        forwards: &Windows,
        buses: Option<(u8, u8)>,
        function: Option<&Function>,
    ) {
        let hull = |ranges: &[AddrRange]| ranges.iter().copied().map(span).reduce(BusRange::hull);
        // Listings do not say which of the two memory windows a line is.
        let (first, second) = told_apart(forwards.fixed.clone(), &[], &[]);
        let memory = [forwards.memory.as_slice(), &first].concat();
        let prefetchable = [forwards.prefetchable.as_slice(), &second].concat();
        let header = function.and_then(|f| f.header.as_ref()).and_then(|header| header.bridge());
        let has_io = header.is_none_or(|bridge| !bridge.io.is_blank() || !forwards.io.is_empty());
        let has_prefetchable =
            header.is_none_or(|bridge| !bridge.prefetchable.is_blank() || !forwards.prefetchable.is_empty());
        let wide = forwards.prefetchable_wide || header.is_none();
        // A CardBus bridge has windows with granules of 4 KiB and of 4 ports, all of 32 bits (PC Card
        // Standard 8.0, volume 3).
        let is_card_bus = function.and_then(|f| f.class).is_some_and(|class| class.subclass() == 0x0607);
        let (memory_granule, io_granule) =
            if is_card_bus { (0x1000, 4) } else { (MemoryWindow::GRANULE, IoWindow::GRANULE) };
        let mut windows = Vec::new();
        if is_card_bus {
            // Two windows of each space; a memory window may be prefetchable.
            let window = |kind, span, granule| Window { kind, span, granule, top: LOW, card_bus: None };
            let mut add = |kind, ranges: &[AddrRange], granule| {
                windows.extend(ranges.iter().map(|range| window(kind, Some(span(*range)), granule)));
            };
            // The kernel makes the first memory window prefetchable (`drivers/pci/setup-bus.c`,
            // `pci_bus_size_cardbus`).
            add(WindowKind::Prefetchable, &prefetchable, memory_granule);
            add(WindowKind::Memory, &memory, memory_granule);
            add(WindowKind::Io, &forwards.io, io_granule);
            for (kind, granule) in [(WindowKind::Memory, memory_granule), (WindowKind::Io, io_granule)] {
                let own = |window: &&mut Window| window.kind.space() == kind.space();
                let open = windows.iter_mut().filter(own).count();
                windows.extend(std::iter::repeat_n(window(kind, None, granule), 2usize.saturating_sub(open)));
                let sets = windows.iter_mut().filter(own).zip(0..);
                sets.for_each(|(window, set)| window.card_bus = Some(set));
            }
        } else if has_io {
            let top = if forwards.io_wide { LOW } else { 0xffff };
            let span = hull(&forwards.io);
            windows.push(Window { kind: WindowKind::Io, span, granule: io_granule, top, card_bus: None });
        }
        if !is_card_bus {
            let span = hull(&memory);
            // A memory window above 4 GiB means that bus addresses are shifted and no source says by how much.
            let top = if span.is_some_and(|span| span.last > LOW) { HIGH } else { LOW };
            windows.push(Window {
                kind: WindowKind::Memory,
                span,
                granule: memory_granule,
                top,
                card_bus: None,
            });
        }
        if has_prefetchable && !is_card_bus {
            let span = hull(&prefetchable);
            let top = if wide { HIGH } else { LOW };
            windows.push(Window {
                kind: WindowKind::Prefetchable,
                span,
                granule: memory_granule,
                top,
                card_bus: None,
            });
        }
        if function.is_none_or(|f| f.below.is_none()) {
            self.unnumbered.insert(index);
        }
        let bridge = tree::Bridge {
            buses,
            windows,
            hot_plug: function.and_then(|f| f.hot_plug).unwrap_or(false),
            vga: forwards.vga,
            isa: header.is_some_and(|bridge| bridge.control & 4 != 0),
            subtractive: forwards.subtractive,
        };
        let kept = function.into_iter().flat_map(|f| &f.kept);
        self.kept.extend(kept.map(|window| ((index, kind_of(window)), window.range.len())));
        if let Some(made) = self.tree.functions.get_mut(index) {
            made.bridge = Some(bridge);
        }
    }
}

fn slot(kind: ResourceKind) -> Option<Slot> {
    match kind {
        ResourceKind::Bar(n) => Some(Slot::Bar(n)),
        ResourceKind::Rom => Some(Slot::Rom),
        ResourceKind::VfBar(n) => Some(Slot::Vf(n)),
        ResourceKind::Window | ResourceKind::Unnamed => None,
    }
}

/// Whether no BAR of the function decodes a resource, as its header shows: ports of power management and the like,
/// whose registers only its driver knows.
fn has_no_bar(function: &Function, resource: &PciResource) -> bool {
    let Some(header) = &function.header else { return false };
    let is_named = |r: &&PciResource| r.io && matches!(r.kind, ResourceKind::Bar(_));
    let bars = header.bars().filter(|(_, bar)| matches!(bar, Bar::Io { .. })).count();
    resource.io
        && resource.kind == ResourceKind::Unnamed
        && bars <= function.resources.iter().filter(is_named).count()
}

/// The number of virtual functions that a function can have; 0 if unknown.
fn total(function: &Function) -> u64 {
    let said = function.sriov.map(|sriov| u64::from(sriov.total)).filter(|total| *total > 0);
    said.or(function.most_virtual).unwrap_or(0)
}

/// Whether a BAR holds 64 bits and so takes two slots, according to the header.
fn holds_64_bits(function: &Function, slot: Slot) -> bool {
    let Slot::Bar(n) = slot else { return false };
    let bars = function.header.iter().flat_map(|header| header.bars());
    let own = bars.into_iter().find(|(at, _)| *at == usize::from(n));
    own.is_some_and(|(_, bar)| matches!(bar, Bar::Memory { wide: true, .. }))
}

/// Alignment of a resource. The space of virtual functions is only aligned to one function's share.
fn alignment(function: &Function, slot: Slot, size: u64) -> u64 {
    let total = total(function);
    match slot {
        Slot::Vf(_) if total > 0 && size.is_multiple_of(total) => {
            let one = size / total;
            if one.is_power_of_two() { one } else { 1 << size.trailing_zeros() }
        }
        Slot::Vf(_) => 1 << size.trailing_zeros(),
        // No register decodes more than 2^63 bytes.
        _ => size.checked_next_power_of_two().unwrap_or(1 << 63),
    }
}

fn placed(function: &Function, resource: &PciResource, slot: Slot, host: Option<&Root>) -> Option<Resource> {
    let space = if resource.io { Space::Io } else { Space::Memory };
    // A ROM below 1 MiB is the shadow copy in memory; no register decodes it.
    if slot == Slot::Rom && resource.range.last() <= 0xf_ffff {
        return None;
    }
    // A dump's registers already hold bus addresses.
    let on_bus = match host {
        Some(host) if !resource.open_ended => host.to_bus(resource.range, resource.io)?,
        _ => resource.range,
    };
    let wide = resource.wide.unwrap_or_else(|| holds_64_bits(function, slot)) || on_bus.last() > LOW;
    let size = on_bus.len();
    // If the number of virtual functions is unknown, the alignment of the space's start bounds one
    // function's share.
    let unknown = matches!(slot, Slot::Vf(_)) && total(function) == 0;
    let align = alignment(function, slot, size);
    let align = if unknown { align.min(1 << (on_bus.start() | 1 << 63).trailing_zeros()) } else { align };
    Some(Resource {
        slot,
        space,
        prefetchable: resource.prefetchable,
        top: if wide && space == Space::Memory { HIGH } else { LOW },
        size,
        align,
        at: Some(on_bus.start()),
        // A size that no register can have was set by other means.
        fixed: !size.is_power_of_two() && !matches!(slot, Slot::Vf(_)),
        optional: !matches!(slot, Slot::Bar(_)) || resource.io,
    })
}

/// Whether a function can be stopped to move its resources. Host bridges and interrupt controllers cannot; Linux
/// does not move them either.
fn mobility(function: &Function, drivers: bool) -> Mobility {
    let fixed = |class: Class| matches!(class.subclass(), 0x0600 | 0x0800);
    if function.class.is_some_and(fixed) {
        return Mobility::Pinned;
    }
    let told = function.source == PciSource::Sysfs || function.source == PciSource::Lspci && drivers;
    if told && function.driver.is_none() { Mobility::Idle } else { Mobility::Driven }
}

/// Collects where nothing may be placed, even though host bridges forward it: legacy ranges, interrupts,
/// configuration space, and listed ranges inside apertures that belong to no bus and no function.
fn avoid(
    facts: &Facts,
    is_x86: bool,
    roots: &[Root],
    memory: &Listing,
    bus_lines: &BTreeSet<usize>,
) -> Vec<Avoid> {
    let of = |space, first, last, strict| Avoid { space, span: BusRange { first, last }, strict };
    // Legacy ports are left alone (Linux's `PCIBIOS_MIN_IO`), and so is the first MiB, where memory begins,
    // whatever a host bridge claims to forward.
    let mut out = vec![of(Space::Io, 0, 0xfff, false), of(Space::Memory, 0, 0xf_ffff, false)];
    if is_x86 {
        // I/O APICs, and the writes that are interrupts (Intel SDM volume 3, 11.11.1).
        out.extend([
            of(Space::Memory, 0xfec0_0000, 0xfecf_ffff, true),
            of(Space::Memory, 0xfee0_0000, 0xfeef_ffff, true),
        ]);
    }
    let ecam = facts.pci.ecam.iter().map(|said| span(said.value.1));
    out.extend(ecam.map(|span| Avoid { space: Space::Memory, span, strict: true }));
    let apertures: Vec<AddrRange> = roots
        .iter()
        .flat_map(|root| &root.apertures)
        .filter(|said| !said.value.io)
        .map(|said| said.value.range)
        .collect();
    for (index, line) in memory.lines.iter().enumerate() {
        let is_function = |name: &str| name.len() >= 12 && name.parse::<Address>().is_ok();
        let inside = apertures.iter().any(|aperture| aperture.covers(line.range));
        let of_bus = bus_lines.contains(&index) || is_function(&line.name);
        let in_function = memory.around(index).any(|outer| is_function(&outer.name));
        if inside && !of_bus && !in_function {
            out.push(Avoid { space: Space::Memory, span: span(line.range), strict: false });
        }
    }
    out
}
