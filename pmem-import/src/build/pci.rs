//! PCI buses, bridges and base address registers.

use super::memory::without;
use super::{Builder, UNMEASURED, attrs, model, same_addresses};
use crate::error::ImportError;
use crate::machine::Bus;
use crate::node::join;
use crate::pci::{BridgeHeader, Function, PciResource, ResourceKind};
use crate::resource::Resources;
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Direction, Mapping, MappingError, Props, Prot, Usage, Window,
    Windows,
};
use std::collections::BTreeMap;

const BELOW_4G: AddrRange = bounded(0xffff_ffff);
const BELOW_64K: AddrRange = bounded(0xffff);
const VGA_MEMORY: (u64, u64) = (0xa_0000, 0xb_ffff);
const VGA_PORTS: [(u64, u64); 2] = [(0x3b0, 0x3bb), (0x3c0, 0x3df)];

const fn bounded(last: u64) -> AddrRange {
    match AddrRange::inclusive(0, last) {
        Ok(range) => range,
        Err(_) => AddrRange::ALL,
    }
}

/// A bus's memory or its I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Memory,
    Io,
}

impl Space {
    fn of(self, bus: Bus) -> ArenaId {
        match self {
            Self::Memory => bus.memory,
            Self::Io => bus.io,
        }
    }

    fn attrs(self) -> Attrs {
        match self {
            Self::Memory => Attrs::device(),
            Self::Io => attrs(Usage::DEVREGS, Prot::RW, Props::empty()),
        }
    }
}

impl Builder {
    /// Makes the arenas of every bus, and joins them: root buses to the system bus or their node, others to the bus
    /// of their bridge.
    pub(super) fn add_buses(
        &mut self,
        iomem: Option<&Resources>,
        ioports: Option<&Resources>,
        functions: &[Function],
        roots: &[(u32, u8)],
    ) -> Result<(), ImportError> {
        let mut roots = roots.to_vec();
        if roots.is_empty() {
            roots = [iomem, ioports].into_iter().flatten().flat_map(listed_roots).collect();
            roots.sort_unstable();
            roots.dedup();
        }
        let children = child_buses(functions);
        if !roots.is_empty() {
            let io = self.manager.create_arena("system I/O", ArenaType::VIEW | ArenaType::IO);
            self.system_io = Some(model("system I/O", io)?);
        }
        for root in roots {
            self.add_root(root, iomem, ioports, functions)?;
        }
        for (bus, bridge) in children {
            self.add_child(bus, bridge, functions)?;
        }
        Ok(())
    }

    fn make_bus(&mut self, (domain, bus): (u32, u8)) -> Result<Bus, ImportError> {
        let name = format!("pci {domain:04x}:{bus:02x}");
        let memory = model(&name, self.manager.create_arena(&name, ArenaType::PCI))?;
        let io = self.manager.create_arena(format!("{name} I/O"), ArenaType::PCI | ArenaType::IO);
        let made = Bus { memory, io: model(&name, io)? };
        self.buses.insert((domain, bus), made);
        Ok(made)
    }

    fn add_root(
        &mut self,
        root: (u32, u8),
        iomem: Option<&Resources>,
        ioports: Option<&Resources>,
        functions: &[Function],
    ) -> Result<(), ImportError> {
        let bus = self.make_bus(root)?;
        let name = format!("host bridge of pci {:04x}:{:02x}", root.0, root.1);
        let on_bus: Vec<&Function> =
            functions.iter().filter(|f| f.root == root && f.parent.is_none()).collect();
        let offset = host_offset(functions.iter().filter(|f| f.root == root));
        let node = on_bus.iter().find_map(|f| f.numa).and_then(|id| self.nodes.get(&id)?.view);
        for (space, listed) in [(Space::Memory, iomem), (Space::Io, ioports)] {
            let offset = if space == Space::Memory { offset } else { 0 };
            let apertures = match listed.map(|listed| apertures(listed, root)) {
                Some(apertures) if !apertures.is_empty() => apertures,
                _ => decoded(&on_bus, space, offset),
            };
            let viewer = match space {
                Space::Memory => Some(self.system),
                Space::Io => self.system_io,
            };
            let Some(viewer) = viewer else { continue };
            let free = self.not_taken(viewer, &apertures, &name);
            let arena = space.of(bus);
            let inside = free.iter().filter_map(|range| range.shifted(0u64.wrapping_sub(offset)));
            for range in without(inside.collect(), &forwarded_vga(&on_bus, space)) {
                let primed = self.manager.prime(arena, range, space.attrs());
                self.attempt(&name, "aperture", primed);
            }
            self.join_root(viewer, arena, node.filter(|_| space == Space::Memory), &free, offset, &name);
        }
        Ok(())
    }

    /// What of a root bus's apertures nothing else on the system bus has.
    fn not_taken(&mut self, viewer: ArenaId, apertures: &[AddrRange], name: &str) -> Vec<AddrRange> {
        let mut free = Vec::new();
        for aperture in apertures {
            let taken: Vec<AddrRange> = self
                .manager
                .state()
                .arena(viewer)
                .map_or(Vec::new(), |here| here.windows_in(*aperture).map(|(range, _)| range).collect());
            for range in &taken {
                let by =
                    self.manager.state().resolve(viewer, range.start()).accepted().map(|place| place.arena);
                let by = by
                    .and_then(|arena| self.manager.state().info(arena))
                    .map_or("something else", |i| &i.name);
                let text =
                    format!("aperture {aperture} overlaps {range}, which is {by}: that part is left out");
                self.warn(name, text);
            }
            free.extend(without(vec![*aperture], &taken));
        }
        free
    }

    /// Joins a root bus to the system bus; by way of its node, where that is known.
    fn join_root(
        &mut self,
        system: ArenaId,
        arena: ArenaId,
        node: Option<ArenaId>,
        apertures: &[AddrRange],
        offset: u64,
        name: &str,
    ) {
        let pairs = apertures.iter().map(|range| (*range, range.start().wrapping_sub(offset)));
        let down = Direction::new(Mapping::windows(pairs).unwrap_or_default(), UNMEASURED);
        let up = Direction::new(upstream(offset), UNMEASURED);
        let above = match node {
            Some(node) => {
                let to_node = same_addresses(apertures.iter().copied(), UNMEASURED);
                let link = self.manager.connect_asymmetric(system, node, to_node, Direction::closed());
                if let Some(link) = self.attempt(name, "way to its node", link) {
                    self.link_names.insert(link, format!("system bus to the node of {name}"));
                }
                node
            }
            None => system,
        };
        let link = self.manager.connect_asymmetric(above, arena, down, up);
        if let Some(link) = self.attempt(name, "host bridge", link) {
            self.link_names.insert(link, name.to_owned());
        }
    }

    fn add_child(
        &mut self,
        (domain, number): (u32, u8),
        bridge: &Function,
        functions: &[Function],
    ) -> Result<(), ImportError> {
        let Some(parent) = self.buses.get(&(bridge.bdf.domain, bridge.bdf.bus)).copied() else {
            let text = format!("the bus of bridge {} is not known: bus {number:02x} is left out", bridge.bdf);
            self.warn(&bridge.path, text);
            return Ok(());
        };
        if self.buses.contains_key(&(domain, number)) {
            let text = format!(
                "bus {domain:04x}:{number:02x} lies behind bridge {} and another one too",
                bridge.bdf
            );
            self.warn(&bridge.path, text);
            return Ok(());
        }
        let bus = self.make_bus((domain, number))?;
        self.bridges.insert(bridge.bdf, (domain, number));
        let forwards = bridge.header.as_ref().and_then(|h| h.bridge.as_ref());
        if forwards.is_none() {
            self.warn(
                &bridge.path,
                format!("no configuration header of bridge {}: its windows are unknown", bridge.bdf),
            );
        }
        self.check_windows(bridge, forwards);
        let on_bus: Vec<&Function> = functions.iter().filter(|f| f.parent == Some(bridge.bdf)).collect();
        for space in [Space::Memory, Space::Io] {
            let wanted = forwards.map_or(Vec::new(), |forwards| wanted_windows(forwards, space));
            let open = self.join_child(bridge, space.of(parent), space.of(bus), wanted)?;
            let vga = forwarded_vga(&on_bus, space);
            open.iter().for_each(|want| self.prime_window(space.of(bus), want, space, &vga));
        }
        Ok(())
    }

    /// Joins a bus to its bridge's: by as many of the windows as the bus above has room for, which are returned.
    fn join_child(
        &mut self,
        bridge: &Function,
        parent: ArenaId,
        child: ArenaId,
        wanted: Vec<Wanted>,
    ) -> Result<Vec<Wanted>, ImportError> {
        let name = format!("bridge {}", bridge.bdf);
        let mut windows = Windows::default();
        let mut open: Vec<Wanted> = Vec::new();
        for want in wanted {
            let trial = Windows::new(windows.pieces().iter().copied().chain([want.window]));
            let Ok(trial) = trial else {
                self.warn(&bridge.path, format!("{name}: {} overlaps another of its windows", want.what()));
                continue;
            };
            // Whether the bus above has room is for the model to say.
            let direction = Direction::new(Mapping::Windows(trial.clone()), UNMEASURED);
            let tried = self.manager.plan(|plan| {
                plan.connect_asymmetric(parent, child, direction, Direction::closed()).map(|_| ())
            });
            if self.attempt(&bridge.path, &format!("{name}: {}", want.what()), tried).is_some() {
                windows = trial;
                self.check_inside(bridge, parent, &want);
                open.push(want);
            }
        }
        let down = Direction::new(Mapping::Windows(windows), UNMEASURED);
        let up = Direction::new(Mapping::Identity, UNMEASURED);
        let link = model(&name, self.manager.connect_asymmetric(parent, child, down, up))?;
        self.link_names.insert(link, name.clone());
        if bridge.is_subtractive() {
            let rest = Direction::new(Mapping::Identity, UNMEASURED);
            let link = self.manager.connect_asymmetric(parent, child, rest, Direction::closed());
            let link = model(&name, link)?;
            self.link_names.insert(link, format!("{name}, subtractive decoding"));
        }
        Ok(open)
    }

    /// Primes what a window leads to, but for what bridges further down take of VGA.
    fn prime_window(&mut self, child: ArenaId, want: &Wanted, space: Space, vga: &[AddrRange]) {
        let Some(range) = want.window.floor_of() else { return };
        let default = match want.kind {
            "prefetchable window" => attrs(Usage::empty(), Prot::RW, Props::PREFETCH),
            _ => space.attrs(),
        };
        for part in without(vec![range], vga) {
            let primed = self.prime_rest(child, part, default);
            self.attempt("bridge", want.kind, primed);
        }
    }

    /// Warns of a window that lies, in part, outside of what the bus above is given.
    fn check_inside(&mut self, bridge: &Function, parent: ArenaId, want: &Wanted) {
        let Some(range) = want.window.floor_of() else { return };
        let covered: u64 = self
            .manager
            .state()
            .arena(parent)
            .map_or(0, |here| here.spans_in(range).map(|(part, _)| part.len()).sum());
        if covered < range.len() && want.kind != "VGA window" {
            let text = format!("bridge {}: {} is outside of what its bus is given", bridge.bdf, want.what());
            self.warn(&bridge.path, text);
        }
    }

    /// Warns where a bridge's registers and what Linux notes of them differ.
    fn check_windows(&mut self, bridge: &Function, forwards: Option<&BridgeHeader>) {
        let Some(forwards) = forwards else { return };
        let noted: Vec<&PciResource> =
            bridge.resources.iter().filter(|r| r.kind == ResourceKind::Window).collect();
        if bridge.resources.is_empty() {
            return;
        }
        let registers = [
            ("I/O window", forwards.io, true, false),
            ("memory window", forwards.memory, false, false),
            ("prefetchable window", forwards.prefetchable, false, true),
        ];
        for (what, register, io, prefetchable) in registers {
            let noted = noted.iter().find(|r| r.io == io && r.prefetchable == prefetchable).map(|r| r.range);
            if let (Some(noted), Some(register)) = (noted, register)
                && noted != register
            {
                let text =
                    format!("bridge {}: {what} {register} by its registers, {noted} by Linux", bridge.bdf);
                self.warn(&bridge.path, text);
            }
        }
    }

    /// Reserves what Linux assigned to each function.
    pub(super) fn add_bars(&mut self, functions: &[Function]) {
        let mut offsets: BTreeMap<(u32, u8), u64> = BTreeMap::new();
        for function in functions {
            let Some(bus) = self.buses.get(&(function.bdf.domain, function.bdf.bus)).copied() else {
                let (bdf, (domain, root)) = (function.bdf, function.root);
                let below = function
                    .parent
                    .map_or(format!("root bus {domain:04x}:{root:02x}"), |p| format!("bridge {p}"));
                let text = format!("{bdf} lies below {below}, which leads to another bus: left out");
                self.warn(&function.path, text);
                continue;
            };
            let of_root = || host_offset(functions.iter().filter(|f| f.root == function.root));
            let offset = *offsets.entry(function.root).or_insert_with(of_root);
            for resource in function.resources.iter().filter(|r| r.kind != ResourceKind::Window) {
                self.add_bar(function, bus, resource, offset);
            }
        }
    }

    fn add_bar(&mut self, function: &Function, bus: Bus, resource: &PciResource, offset: u64) {
        let label = format!("{} {}", function.bdf, resource.kind);
        let source = format!("{}/resource:{}", function.path, resource.line);
        let (space, offset) = if resource.io { (Space::Io, 0) } else { (Space::Memory, offset) };
        let Some(range) = resource.range.shifted(0u64.wrapping_sub(offset)) else {
            self.warn(source, format!("{label}: {} less the host bridge's offset wraps", resource.range));
            return;
        };
        let arena = space.of(bus);
        let covered: u64 = self
            .manager
            .state()
            .arena(arena)
            .map_or(0, |here| here.spans_in(range).map(|(part, _)| part.len()).sum());
        if covered < range.len() {
            self.warn(&source, format!("{label} at {} lies outside of what reaches its bus", resource.range));
            let primed = self.prime_rest(arena, range, space.attrs());
            if self.attempt(&source, &label, primed).is_none() {
                return;
            }
        }
        let claimed = self.claim(arena, range, bar_attrs(function, resource, space), &label);
        if let Some(region) = self.attempt(&source, &label, claimed) {
            self.bars.entry(function.bdf).or_default().push((resource.kind, region));
        }
    }
}

/// What a resource's flags and its function's class justify.
fn bar_attrs(function: &Function, resource: &PciResource, space: Space) -> Attrs {
    let is_display = function.class.is_some_and(|class| class >> 16 == 3);
    let usage = match (resource.kind, resource.prefetchable) {
        (ResourceKind::Rom, _) => Usage::empty(),
        (_, true) if is_display => Usage::FRAMEBUF,
        _ => Usage::DEVREGS,
    };
    let prot = if resource.kind == ResourceKind::Rom { Prot::READ } else { Prot::RW };
    let props = match (space, resource.prefetchable) {
        (Space::Io, _) => Props::empty(),
        (Space::Memory, true) => Props::PREFETCH,
        (Space::Memory, false) => Props::UNCACHED,
    };
    attrs(usage, prot, props)
}

/// A window of a bridge, and what it is called.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    kind: &'static str,
    window: Window,
}

impl Wanted {
    fn what(&self) -> String {
        match self.window.floor_of() {
            Some(range) => format!("{} {range}", self.kind),
            None => format!("{}, closed", self.kind),
        }
    }
}

/// A bridge's windows: floating, with what the registers hold as their floor.
fn wanted_windows(forwards: &BridgeHeader, space: Space) -> Vec<Wanted> {
    let floating = |limit, granule, floor: Option<AddrRange>| -> Result<Window, MappingError> {
        let window = Window::floating(limit, granule)?;
        floor.map_or(Ok(window), |floor| window.floor(floor))
    };
    let prefetchable_limit = if forwards.prefetchable64 { AddrRange::ALL } else { BELOW_4G };
    let io_limit = if forwards.io32 { BELOW_4G } else { BELOW_64K };
    let windows = match space {
        Space::Memory => vec![
            ("memory window", floating(BELOW_4G, 1 << 20, forwards.memory)),
            (
                "prefetchable window",
                floating(prefetchable_limit, 1 << 20, forwards.prefetchable).map(Window::prefetchable),
            ),
        ],
        Space::Io => vec![("I/O window", floating(io_limit, 1 << 12, forwards.io))],
    };
    let vga: &[(u64, u64)] = match (forwards.vga, space) {
        (false, _) => &[],
        (true, Space::Memory) => &[VGA_MEMORY],
        (true, Space::Io) => &VGA_PORTS,
    };
    let vga = vga.iter().filter_map(|(start, last)| {
        let range = AddrRange::inclusive(*start, *last).ok()?;
        Some(("VGA window", Window::fixed(range, range.start())))
    });
    let all = windows.into_iter().chain(vga);
    all.filter_map(|(kind, window)| Some(Wanted { kind, window: window.ok()? })).collect()
}

/// What the bridges on a bus forward of VGA: fixed windows, for which the bus keeps its space clear.
fn forwarded_vga(functions: &[&Function], space: Space) -> Vec<AddrRange> {
    let bridges =
        functions.iter().filter_map(|f| f.header.as_ref()?.bridge.as_ref()).filter(|bridge| bridge.vga);
    let ranges: &[(u64, u64)] = match space {
        Space::Memory => &[VGA_MEMORY],
        Space::Io => &VGA_PORTS,
    };
    let all =
        bridges.flat_map(|_| ranges).filter_map(|(start, last)| AddrRange::inclusive(*start, *last).ok());
    join(all.collect())
}

/// What a root bus decodes as far as its functions show: their resources, their bridges' windows.
fn decoded(functions: &[&Function], space: Space, offset: u64) -> Vec<AddrRange> {
    let assigned =
        functions.iter().flat_map(|f| &f.resources).filter(|r| r.io == (space == Space::Io)).map(|r| r.range);
    let bridges = functions.iter().filter_map(|f| f.header.as_ref()?.bridge.as_ref());
    let registers = bridges
        .flat_map(|bridge| match space {
            Space::Memory => [bridge.memory, bridge.prefetchable],
            Space::Io => [bridge.io, None],
        })
        .flatten()
        .filter_map(|range| range.shifted(offset));
    join(assigned.chain(registers).collect())
}

/// What is added to a bus address to give the CPU's: what the memory BARs of all functions agree on, else nothing.
fn host_offset<'f>(functions: impl Iterator<Item = &'f Function>) -> u64 {
    let mut agreed = None;
    for function in functions {
        let Some(header) = &function.header else { continue };
        for resource in function.resources.iter().filter(|r| !r.io) {
            let ResourceKind::Bar(index) = resource.kind else { continue };
            let Some(bar) = header.memory_bar(usize::from(index)).filter(|bar| *bar != 0) else { continue };
            let offset = resource.range.start().wrapping_sub(bar);
            match agreed {
                None => agreed = Some(offset),
                Some(agreed) if agreed == offset => {}
                Some(_) => return 0,
            }
        }
    }
    agreed.unwrap_or(0)
}

/// The way back for DMA: what the bus does not decode goes up, the offset added.
fn upstream(offset: u64) -> Mapping {
    if offset == 0 {
        return Mapping::Identity;
    }
    // The two halves of the address space on either side of where the sum wraps.
    let turn = 0u64.wrapping_sub(offset);
    let halves = [AddrRange::new(0, turn), AddrRange::inclusive(turn, u64::MAX)].into_iter().flatten();
    let windows = halves.filter_map(|half| Window::fixed(half, half.start().wrapping_add(offset)).ok());
    Windows::new(windows).and_then(Windows::yielding).map_or(Mapping::Closed, Mapping::Windows)
}

/// The root bus apertures that a file lists: ranges named for the bus that lie in no range of another bus and no ECAM.
fn apertures(listed: &Resources, (domain, bus): (u32, u8)) -> Vec<AddrRange> {
    let name = format!("PCI Bus {domain:04x}:{bus:02x}");
    let outer = |index| {
        let is_other = |r: &crate::resource::Resource| {
            r.name.starts_with("PCI Bus ") || r.name.contains("ECAM") || r.name.contains("MMCONFIG")
        };
        !listed.around(index).any(is_other)
    };
    let mine = listed.all.iter().enumerate().filter(|(index, r)| r.name == name && outer(*index));
    join(mine.map(|(_, r)| r.range).collect())
}

/// The root buses that a file lists, where nothing else says which there are.
fn listed_roots(listed: &Resources) -> Vec<(u32, u8)> {
    let outermost = listed.all.iter().enumerate().filter(|(index, r)| {
        r.name.starts_with("PCI Bus ")
            && !listed.around(*index).any(|outer| outer.name.starts_with("PCI Bus "))
    });
    outermost
        .filter_map(|(_, r)| {
            let (domain, bus) = r.name.strip_prefix("PCI Bus ")?.split_once(':')?;
            Some((u32::from_str_radix(domain, 16).ok()?, u8::from_str_radix(bus, 16).ok()?))
        })
        .collect()
}

/// The buses below bridges, those of outer bridges first.
fn child_buses(functions: &[Function]) -> Vec<((u32, u8), &Function)> {
    let depth = |function: &Function| {
        let up = |f: &Function| functions.iter().find(|p| Some(p.bdf) == f.parent);
        std::iter::successors(up(function), |f| up(f)).take(64).count()
    };
    let mut out: Vec<(usize, (u32, u8), &Function)> = Vec::new();
    for bridge in functions {
        let by_register =
            bridge.header.as_ref().and_then(|h| h.bridge.as_ref()).map(|b| b.secondary).filter(|s| *s != 0);
        let below =
            functions.iter().find(|f| f.parent == Some(bridge.bdf) && f.bdf.domain == bridge.bdf.domain);
        if let Some(bus) = below.map(|f| f.bdf.bus).or(by_register) {
            out.push((depth(bridge), (bridge.bdf.domain, bus), bridge));
        }
    }
    out.sort_by_key(|(depth, bus, _)| (*depth, *bus));
    out.into_iter().map(|(_, bus, bridge)| (bus, bridge)).collect()
}
