//! The PCI hierarchy, as the planner takes it.

use super::difference::Difference;
use super::pci::Child;
use super::root::Root;
use super::windows::Windows;
use crate::facts::{BusId, Facts, Function, Listing, PciResource, PciSource, ResourceKind};
use pmem_core::AddrRange;
use pmem_pci::tree::{
    self, Aperture, Avoid, Index, Mobility, Resource, Slot, Space, Tree, Window, WindowKind,
};
use pmem_pci::{Address, Bar, Class, IoWindow, MemoryWindow, Span};
use std::collections::{BTreeMap, BTreeSet};

/// The hierarchy, and what of it is not known for sure.
#[derive(Clone, Debug, Default)]
pub struct PciTree {
    /// The hierarchy.
    pub tree: Tree,
    /// Resources of which no source says which register they are.
    pub unnamed: BTreeSet<(Index, Slot)>,
    /// Resources of which no source says how large they are.
    pub unmeasured: BTreeSet<(Index, Slot)>,
    /// Bridges of which no source says where they are: only which bus is below them.
    pub nameless: BTreeSet<Index>,
    /// Bridges of which no source says up to which bus they lead.
    pub unnumbered: BTreeSet<Index>,
    /// Host bridges of which no source says what they forward: their apertures are what is known to lie in them.
    pub guessed: BTreeSet<(usize, Space)>,
    /// What has no place, and of which no source says how large it is.
    pub unknown: Vec<(Index, ResourceKind)>,
    /// What the kernel gave up, and looks for a place for at its next chance.
    pub given_up: BTreeSet<(Index, Slot)>,
    /// The kernel is locked down: configuration space cannot be written, and no module does it.
    pub locked_down: bool,
    /// Windows whose registers forward something else than the kernel's map has, which is what the hierarchy has; `None` is closed.
    pub differs: BTreeMap<(Index, WindowKind), Option<Span>>,
}

const HIGH: u64 = u64::MAX;
const LOW: u64 = 0xffff_ffff;

pub(super) fn build(
    facts: &Facts,
    is_x86: bool,
    functions: &[Function],
    roots: &[Root],
    children: &[Child],
    memory: &Listing,
    bus_lines: &BTreeSet<usize>,
) -> PciTree {
    let mut out = PciTree::default();
    let mut root_of: BTreeMap<BusId, usize> = BTreeMap::new();
    // By bus: the bridge above it.
    let mut above: BTreeMap<BusId, Option<Index>> = roots.iter().map(|root| (root.bus, None)).collect();
    let drivers = functions.iter().any(|f| f.source == PciSource::Lspci && f.driver.is_some());
    let mut by_bus: BTreeMap<BusId, Vec<&Function>> = BTreeMap::new();
    let bridges: BTreeMap<Address, BusId> =
        children.iter().filter_map(|child| Some((child.bridge?, child.bus))).collect();
    for function in functions.iter().filter(|f| f.physical.is_none()) {
        let own = (function.bdf().segment, function.bdf().bus);
        let below = function.parent.and_then(|parent| bridges.get(&parent)).copied();
        by_bus
            .entry(below.unwrap_or(function.root.filter(|_| function.parent.is_none()).unwrap_or(own)))
            .or_default()
            .push(function);
    }
    // A bus that only its functions are known of lies somewhere below the bridge whose numbers it is among.
    let mut inside: BTreeMap<Address, Vec<BusId>> = BTreeMap::new();
    for root in roots.iter().filter(|root| !facts.pci.roots.contains_key(&root.bus)) {
        let around = functions.iter().filter(|f| {
            let (segment, bus) = root.bus;
            f.bdf().segment == segment && f.below.is_some_and(|(first, last)| first <= bus && bus <= last)
        });
        if let Some(bridge) = around.min_by_key(|f| f.below.map(|(first, last)| last - first)) {
            inside.entry(bridge.bdf()).or_default().push(root.bus);
            above.remove(&root.bus);
        }
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
        out.tree.roots.push(host_bridge(root, &real));
    }
    let mut buses: Vec<BusId> =
        roots.iter().map(|root| root.bus).filter(|bus| above.contains_key(bus)).collect();
    let mut at = 0;
    while let Some(bus) = buses.get(at).copied() {
        at += 1;
        let Some(parent) = above.get(&bus).copied() else { continue };
        let Some(root) = root_of.get(&bus).copied() else { continue };
        for function in by_bus.get(&bus).into_iter().flatten() {
            let index = out.add(function, parent, root, real.get(root).copied(), drivers);
            let below = children.iter().find(|child| child.bridge == Some(function.bdf()));
            if let Some(child) = below {
                // `lspci` prints a bridge's registers.
                let of_registers = function.header.is_some() || function.source == PciSource::Lspci;
                out.add_windows(index, of_registers, child, real.get(root).copied(), Some(function));
                above.insert(child.bus, Some(index));
                root_of.insert(child.bus, root);
                buses.push(child.bus);
            }
            for bus in inside.remove(&function.bdf()).unwrap_or_default() {
                above.insert(bus, Some(index));
                root_of.insert(bus, root);
                buses.push(bus);
            }
        }
        for child in children.iter().filter(|child| child.bridge.is_none() && child.above == bus) {
            let taken = out.nameless.len() as u8;
            let (device, function) = (31 - taken / 8 % 32, 7 - taken % 8);
            let address = Address { segment: bus.0, bus: bus.1, device, function };
            let index = out.tree.functions.len();
            out.tree.functions.push(tree::Function::new(address, parent, root));
            out.nameless.insert(index);
            out.add_windows(index, false, child, real.get(root).copied(), None);
            above.insert(child.bus, Some(index));
            root_of.insert(child.bus, root);
            buses.push(child.bus);
        }
    }
    out.settle_unnamed();
    out.tree.avoid = avoid(facts, is_x86, roots, memory, bus_lines);
    out
}

/// A host bridge with its apertures. Its buses end before the next one's.
fn host_bridge(root: &Root, roots: &[&Root]) -> tree::Root {
    let (segment, first) = root.bus;
    let next = roots.iter().filter(|r| r.bus.0 == segment && r.bus.1 > first).map(|r| r.bus.1 - 1).min();
    let apertures = root.apertures.iter().filter_map(|said| {
        let aperture = &said.value;
        let space = if aperture.io { Space::Io } else { Space::Memory };
        let span = Span::sized(aperture.bus_start, aperture.range.len())?;
        Some(Aperture { space, span, cpu: aperture.range.start() })
    });
    let mut made =
        tree::Root { segment, buses: (first, next.unwrap_or(0xff)), apertures: apertures.collect() };
    made.join_apertures();
    made
}

fn span(range: AddrRange) -> Span {
    Span { first: range.start(), last: range.last() }
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
        for resource in own().filter(|r| r.kind == ResourceKind::Unnamed) {
            let free = (0..6).map(Slot::Bar).chain([Slot::Rom]).find(|slot| !named.contains(slot));
            let Some(slot) = free else { break };
            named.insert(slot);
            if let Some(new) = placed(function, resource, slot, host) {
                if let (Slot::Bar(n), true) = (slot, new.is_wide()) {
                    named.insert(Slot::Bar(n + 1));
                }
                made.resources.push(new);
            }
            self.unnamed.insert((index, slot));
        }
        for unplaced in &function.unplaced {
            let Some(slot) = slot(unplaced.kind).filter(|slot| !named.contains(slot)) else { continue };
            let Some(size) =
                unplaced.size.filter(|size| size.is_power_of_two() || matches!(slot, Slot::Vf(_)))
            else {
                // Functions work without ports.
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
        made.resources.sort_by_key(|resource| resource.slot);
        self.tree.functions.push(made);
        index
    }

    /// Has windows as the kernel's map has them, where registers are not the same.
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
    }

    /// Of resources that only a list names it is not said whether they are prefetchable: those in a prefetchable window are.
    fn settle_unnamed(&mut self) {
        for (index, slot) in &self.unnamed {
            let Some(function) = self.tree.functions.get(*index) else { continue };
            let span = function.resource(*slot).and_then(Resource::span);
            let above = function.parent.and_then(|parent| self.tree.functions.get(parent));
            let window = above.and_then(|above| above.window(WindowKind::Prefetchable)?.span);
            let inside = window.zip(span).is_some_and(|(window, span)| window.covers(span));
            let resources = self.tree.functions.get_mut(*index).map(|function| &mut function.resources);
            if let Some(own) = resources.into_iter().flatten().find(|r| r.slot == *slot && inside) {
                own.prefetchable = true;
            }
        }
    }

    /// Makes a function a bridge.
    fn add_windows(
        &mut self,
        index: Index,
        of_registers: bool,
        child: &Child,
        host: Option<&Root>,
        function: Option<&Function>,
    ) {
        let unknown = Windows { io_wide: true, prefetchable_wide: true, ..Windows::default() };
        let forwards = child.windows.as_ref().unwrap_or(&unknown);
        let on_bus = |ranges: &[AddrRange], io: bool| {
            let ranges = ranges.iter().filter_map(|range| match host {
                Some(host) if !of_registers => host.to_bus(*range, io),
                _ => Some(*range),
            });
            ranges.map(span).reduce(Span::hull)
        };
        // Which of them lists do not say: what is above 4 GiB can only be the prefetchable one.
        let (high, low): (Vec<AddrRange>, Vec<AddrRange>) =
            forwards.fixed.iter().partition(|range| range.start() > LOW);
        let first: Vec<AddrRange> = low.first().copied().into_iter().collect();
        // Where the bus's addresses are shifted both may be above: the second is the other one.
        let (second, third) = match (high.split_first(), low.is_empty()) {
            (None, _) => (low.get(1..).unwrap_or(&[]).to_vec(), Vec::new()),
            (Some(_), false) => (high, Vec::new()),
            (Some((lower, rest)), true) => (vec![*lower], rest.to_vec()),
        };
        let memory = [forwards.memory.as_slice(), &first, &third].concat();
        let prefetchable = [forwards.prefetchable.as_slice(), &second].concat();
        let header = function.and_then(|f| f.header.as_ref()).and_then(|header| header.bridge());
        let has_io = header.is_none_or(|bridge| !bridge.io.is_blank() || !forwards.io.is_empty());
        let has_prefetchable =
            header.is_none_or(|bridge| !bridge.prefetchable.is_blank() || !forwards.prefetchable.is_empty());
        let wide = forwards.prefetchable_wide || header.is_none();
        // A CardBus bridge has windows of 4 KiB and of 4 ports, all of 32 bits (PC Card Standard 8.0, volume 3).
        let is_card_bus = function.and_then(|f| f.class).is_some_and(|class| class.subclass() == 0x0607);
        let (memory_granule, io_granule) =
            if is_card_bus { (0x1000, 4) } else { (MemoryWindow::GRANULE, IoWindow::GRANULE) };
        let mut windows = Vec::new();
        if has_io {
            let top = if forwards.io_wide { LOW } else { 0xffff };
            let span = on_bus(&forwards.io, true);
            windows.push(Window { kind: WindowKind::Io, span, granule: io_granule, top });
        }
        let span = on_bus(&memory, false);
        // What lies above 4 GiB all the same is seen there by the CPU, and nobody says where it is on the bus.
        let top = if span.is_some_and(|span| span.last > LOW) { HIGH } else { LOW };
        windows.push(Window { kind: WindowKind::Memory, span, granule: memory_granule, top });
        if has_prefetchable {
            let span = on_bus(&prefetchable, false);
            let top = if wide && !is_card_bus { HIGH } else { LOW };
            windows.push(Window { kind: WindowKind::Prefetchable, span, granule: memory_granule, top });
        }
        if function.is_none_or(|f| f.below.is_none()) {
            self.unnumbered.insert(index);
        }
        let bridge = tree::Bridge {
            buses: function.and_then(|f| f.below).or(Some((child.bus.1, child.bus.1))),
            windows,
            hot_plug: function.and_then(|f| f.hot_plug).unwrap_or(false),
            vga: forwards.vga,
            isa: header.is_some_and(|bridge| bridge.control & 4 != 0),
            subtractive: forwards.subtractive,
        };
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

/// Whether a function's register takes two slots, by its header.
fn holds_64_bits(function: &Function, slot: Slot) -> bool {
    let Slot::Bar(n) = slot else { return false };
    let bars = function.header.iter().flat_map(|header| header.bars());
    let own = bars.into_iter().find(|(at, _)| *at == usize::from(n));
    own.is_some_and(|(_, bar)| matches!(bar, Bar::Memory { wide: true, .. }))
}

/// The space of virtual functions is aligned to that of one.
fn alignment(function: &Function, slot: Slot, size: u64) -> u64 {
    let total = function.sriov.map_or(0, |sriov| u64::from(sriov.total));
    match slot {
        Slot::Vf(_) if total > 0 && size.is_multiple_of(total) => {
            let one = size / total;
            if one.is_power_of_two() { one } else { 1 << size.trailing_zeros() }
        }
        Slot::Vf(_) => 1 << size.trailing_zeros(),
        _ => size.next_power_of_two(),
    }
}

fn placed(function: &Function, resource: &PciResource, slot: Slot, host: Option<&Root>) -> Option<Resource> {
    let space = if resource.io { Space::Io } else { Space::Memory };
    // A dump's registers hold addresses of the bus.
    let on_bus = match host {
        Some(host) if !resource.open_ended => host.to_bus(resource.range, resource.io)?,
        _ => resource.range,
    };
    let wide = resource.wide.unwrap_or_else(|| holds_64_bits(function, slot)) || on_bus.last() > LOW;
    let size = on_bus.len();
    // How many virtual functions there are may not be said: what their space begins at a multiple of bounds it.
    let unknown = matches!(slot, Slot::Vf(_)) && function.sriov.is_none_or(|sriov| sriov.total == 0);
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
        // What is not of a size that a register can have is set by other means.
        fixed: !size.is_power_of_two() && !matches!(slot, Slot::Vf(_)),
        optional: !matches!(slot, Slot::Bar(_)) || resource.io,
    })
}

/// Who may be stopped: not host bridges and interrupt controllers, which Linux does not move either.
fn mobility(function: &Function, drivers: bool) -> Mobility {
    let fixed = |class: Class| matches!(class.subclass(), 0x0600 | 0x0800);
    if function.class.is_some_and(fixed) {
        return Mobility::Pinned;
    }
    let told = function.source == PciSource::Sysfs || function.source == PciSource::Lspci && drivers;
    if told && function.driver.is_none() { Mobility::Idle } else { Mobility::Driven }
}

/// Where nothing may be placed, though host bridges forward it: legacy ranges, interrupts, configuration space, and what lists name inside of
/// apertures that is no bus's and no function's.
fn avoid(
    facts: &Facts,
    is_x86: bool,
    roots: &[Root],
    memory: &Listing,
    bus_lines: &BTreeSet<usize>,
) -> Vec<Avoid> {
    let of = |space, first, last, strict| Avoid { space, span: Span { first, last }, strict };
    // Legacy ports are left alone (Linux's PCIBIOS_MIN_IO).
    let mut out = vec![of(Space::Io, 0, 0xfff, false)];
    if is_x86 {
        // Below 1 MiB, I/O interrupt controllers, and writes that are interrupts (Intel SDM volume 3, 11.11.1).
        out.extend([
            of(Space::Memory, 0, 0xf_ffff, false),
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
