//! PCI buses, bridges and base address registers.

use super::{Builder, attrs, model, same_addresses};
use crate::error::ImportError;
use crate::facts::{
    Aperture, BusId, Finding, Function, PciResource, ResourceKind, SourceLine, Sourced, join, show_bus,
    without,
};
use crate::machine::{Bus, UNMEASURED};
use crate::settle::{Child, Root, Windows as Forwarded};
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Direction, Mapping, Props, Prot, RegionId, Request, Usage, Window,
    Windows,
};
use pmem_pci::{Address, IoWindow, MemoryWindow, PrefetchableWindow};
use std::collections::BTreeMap;

const VGA_MEMORY: (u64, u64) = (0xa_0000, 0xb_ffff);
const VGA_PORTS: [(u64, u64); 2] = [(0x3b0, 0x3bb), (0x3c0, 0x3df)];

/// One of a bus's two address spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    Memory,
    Io,
}

impl Space {
    const BOTH: [Self; 2] = [Self::Memory, Self::Io];

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

    /// The ranges that VGA occupies.
    fn vga(self) -> impl Iterator<Item = AddrRange> {
        let all: &[(u64, u64)] = match self {
            Self::Memory => &[VGA_MEMORY],
            Self::Io => &VGA_PORTS,
        };
        all.iter().filter_map(|(start, last)| AddrRange::inclusive(*start, *last).ok())
    }
}

/// A window to open, and its name for messages.
#[derive(Clone, Copy, Debug)]
struct MissingWindow {
    kind: &'static str,
    window: Window,
}

impl MissingWindow {
    fn what(&self) -> String {
        match self.window.floor_of() {
            Some(range) => format!("{} {range}", self.kind),
            None => format!("{}, closed", self.kind),
        }
    }
}

impl<'s> Builder<'s> {
    /// Creates the arenas of every bus and connects them: root buses to the system bus or to their node, others to
    /// their bridge's bus.
    pub(super) fn add_buses(&mut self) -> Result<(), ImportError> {
        let settled = self.settled;
        if settled.roots.is_empty() {
            return Ok(());
        }
        let system_io = self.make_system_io()?;
        // The bus above a bridge that forwards VGA keeps VGA's ranges free.
        let mut vga: BTreeMap<BusId, bool> = BTreeMap::new();
        for child in &settled.children {
            *vga.entry(child.above).or_default() |= child.windows.as_ref().is_some_and(|windows| windows.vga);
        }
        let forwards = |bus: BusId| vga.get(&bus).copied().unwrap_or(false);
        for root in &settled.roots {
            self.add_root(root, system_io, forwards(root.bus))?;
        }
        for child in &settled.children {
            self.add_child(child, forwards(child.bus))?;
        }
        Ok(())
    }

    fn make_bus(&mut self, id: BusId, root: BusId) -> Result<Bus, ImportError> {
        let name = Self::bus_label(id);
        let memory = model(&name, self.manager.create_arena(&name, ArenaType::PCI))?;
        let io = self.manager.create_arena(format!("{name} I/O"), ArenaType::PCI | ArenaType::IO);
        let made = Bus { memory, io: model(&name, io)? };
        self.buses.insert(id, made);
        self.root_of.insert(id, root);
        Ok(made)
    }

    fn add_root(&mut self, root: &Root, system_io: ArenaId, vga: bool) -> Result<(), ImportError> {
        let bus = self.make_bus(root.bus, root.bus)?;
        let name = format!("host bridge of pci {}", show_bus(root.bus));
        let node = root.node.and_then(|id| self.nodes.get(&id)?.view);
        for space in Space::BOTH {
            let viewer = if space == Space::Io { system_io } else { self.system };
            let arena = space.of(bus);
            let own = root.apertures.iter().filter(|said| said.value.io == (space == Space::Io));
            let free: Vec<(AddrRange, u64)> =
                own.flat_map(|said| self.not_taken(said, &name, space)).collect();
            let kept: Vec<AddrRange> = if vga { space.vga().collect() } else { Vec::new() };
            for (seen, local) in &free {
                let Some(inside) = AddrRange::sized(*local, seen.len()).ok() else { continue };
                // VGA's ranges stay unprimed here: a bridge below forwards them.
                for range in without(&[inside], &join(kept.clone())) {
                    let primed = self.manager.prime(arena, range, space.attrs());
                    self.attempt(&SourceLine::whole(name.as_str()), "aperture", primed);
                }
                let ours = if space == Space::Io { &mut self.ours_io } else { &mut self.ours };
                ours.give(*seen, arena, *local);
            }
            self.join_root(
                viewer,
                arena,
                node.filter(|_| space == Space::Memory),
                &free,
                Self::way_in(root, space),
                &name,
            );
        }
        Ok(())
    }

    /// Returns the parts of an aperture that nothing else on the system bus owns, each with its bus address.
    fn not_taken(&mut self, said: &Sourced<Aperture>, name: &str, space: Space) -> Vec<(AddrRange, u64)> {
        let aperture = &said.value;
        let ours = if space == Space::Io { &self.ours_io } else { &self.ours };
        let parts = ours.parts(aperture.range);
        let mut free = Vec::new();
        for part in parts {
            match part.owner {
                Some((arena, _)) => {
                    let by = self.arena_name(arena);
                    let text = format!(
                        "{name}: aperture {} overlaps {}, which is {by}: that part is left out",
                        aperture.range, part.seen
                    );
                    self.find(&said.at, text);
                }
                None => free.push((
                    part.seen,
                    aperture.bus_start.wrapping_add(part.seen.start() - aperture.range.start()),
                )),
            }
        }
        free
    }

    /// What a root bus's devices reach: what a source says, or else everything at the same address.
    /// `None` if that is unknown: what the source says contradicts itself, or bus addresses are shifted
    /// and no source says how the way in is.
    fn way_in(root: &Root, space: Space) -> Option<Direction> {
        if space == Space::Io {
            return Some(Direction::new(Mapping::Identity, UNMEASURED));
        }
        let Some(inward) = &root.inward else {
            return (!root.shifted).then(|| Direction::new(Mapping::Identity, UNMEASURED));
        };
        let windows = inward.iter().map(|(range, to)| Window::fixed(*range, *to));
        let windows = Windows::new(windows.collect::<Result<Vec<_>, _>>().ok()?).ok()?;
        // Accesses to the bus's own addresses stay on the bus, however wide the way in is.
        Some(Direction::new(Mapping::Windows(windows.yielding().ok()?), UNMEASURED))
    }

    /// Connects a root bus to the system bus, through its node if that is known.
    fn join_root(
        &mut self,
        system: ArenaId,
        arena: ArenaId,
        node: Option<ArenaId>,
        apertures: &[(AddrRange, u64)],
        way_in: Option<Direction>,
        name: &str,
    ) {
        let place = SourceLine::whole(name);
        let down =
            Direction::new(Mapping::windows(apertures.iter().copied()).unwrap_or_default(), UNMEASURED);
        if way_in.is_none() {
            self.unknown_ways.insert(arena);
        }
        let up = way_in.unwrap_or_else(Direction::closed);
        // With a node, routes from the system bus to the root bus lead through the node's view.
        let above = match node {
            Some(node) => {
                let to_node = same_addresses(apertures.iter().map(|(range, _)| *range), UNMEASURED);
                let link = self.manager.connect_asymmetric(system, node, to_node, Direction::closed());
                if let Some(link) = self.attempt(&place, "way to its node", link) {
                    self.link_names.insert(link, format!("system bus to the node of {name}"));
                }
                node
            }
            None => system,
        };
        let link = self.manager.connect_asymmetric(above, arena, down, up);
        if let Some(link) = self.attempt(&place, "host bridge", link) {
            self.link_names.insert(link, name.to_owned());
        }
    }

    fn add_child(&mut self, child: &Child, vga: bool) -> Result<(), ImportError> {
        let Some((parent, root)) =
            self.buses.get(&child.above).copied().zip(self.root_of.get(&child.above).copied())
        else {
            return Ok(());
        };
        let bus = self.make_bus(child.bus, root)?;
        let name = match child.bridge {
            Some(bridge) => {
                self.bridges.insert(bridge, child.bus);
                format!("bridge {bridge}")
            }
            None => format!("bridge to bus {}", show_bus(child.bus)),
        };
        let nothing = Forwarded::default();
        let forwards = child.windows.as_ref().unwrap_or(&nothing);
        for space in Space::BOTH {
            let wanted = Self::wanted(forwards, space);
            let open =
                self.join_child(child, &name, space.of(parent), space.of(bus), wanted, forwards.subtractive)?;
            let kept: Vec<AddrRange> = if vga { space.vga().collect() } else { Vec::new() };
            for want in &open {
                self.prime_window(child, space.of(bus), want, space, &kept);
            }
            self.give_child(space.of(parent), space.of(bus), &open, root, space);
        }
        Ok(())
    }

    /// Records that CPU addresses which a bridge's windows forward belong to the bus below.
    fn give_child(
        &mut self,
        above: ArenaId,
        below: ArenaId,
        open: &[MissingWindow],
        root: BusId,
        space: Space,
    ) {
        let io = space == Space::Io;
        let Some(root) = self.settled.roots.iter().find(|r| r.bus == root) else { return };
        let ours = if io { &mut self.ours_io } else { &mut self.ours };
        for range in open.iter().filter_map(|want| want.window.floor_of()) {
            for said in root.apertures.iter().filter(|said| said.value.io == io) {
                let Aperture { range: seen, bus_start, .. } = said.value;
                let on_bus =
                    AddrRange::sized(bus_start, seen.len()).ok().and_then(|on_bus| on_bus.intersect(range));
                let Some(part) = on_bus else { continue };
                let Some(part) = part.shifted(seen.start().wrapping_sub(bus_start)) else { continue };
                // An address reaches this bus only through the bus above.
                for piece in ours
                    .parts(part)
                    .iter()
                    .filter(|piece| piece.owner.is_some_and(|(arena, _)| arena == above))
                {
                    let local = piece.seen.start().wrapping_sub(seen.start()).wrapping_add(bus_start);
                    ours.give(piece.seen, below, local);
                }
            }
        }
    }

    /// A bridge's windows. They float, and their floor is what the bridge forwards now. Windows of
    /// unknown kind are fixed.
    fn wanted(forwards: &Forwarded, space: Space) -> Vec<MissingWindow> {
        let limit = |last: u64| AddrRange::inclusive(0, last).unwrap_or(AddrRange::ALL);
        let mut out = Vec::new();
        let mut add =
            |kind: &'static str, floors: &[AddrRange], limit: AddrRange, granule: u64, prefetchable: bool| {
                let mut floors: Vec<AddrRange> = floors.to_vec();
                let first = if floors.is_empty() { None } else { Some(floors.remove(0)) };
                let floating = Window::floating(limit, granule)
                    .and_then(|w| first.map_or(Ok(w), |floor| w.floor(floor)));
                let windows = match (floating, first) {
                    (Ok(window), _) => Some(window),
                    // A range that is not a multiple of the granule, or exceeds the limit, is taken as
                    // the source gives it.
                    (Err(_), Some(floor)) => exactly(floor),
                    (Err(_), None) => None,
                };
                let more = floors.iter().filter_map(|range| exactly(*range));
                for window in windows.into_iter().chain(more) {
                    out.push(MissingWindow {
                        kind,
                        window: if prefetchable { window.prefetchable() } else { window },
                    });
                }
            };
        match space {
            Space::Memory => {
                add("memory window", &forwards.memory, limit(0xffff_ffff), MemoryWindow::GRANULE, false);
                let wide = if forwards.prefetchable_wide { AddrRange::ALL } else { limit(0xffff_ffff) };
                add("prefetchable window", &forwards.prefetchable, wide, PrefetchableWindow::GRANULE, true);
            }
            Space::Io => {
                let wide = limit(if forwards.io_wide { 0xffff_ffff } else { 0xffff });
                add("I/O window", &forwards.io, wide, IoWindow::GRANULE, false);
            }
        }
        let fixed: Vec<AddrRange> = if space == Space::Memory { forwards.fixed.clone() } else { Vec::new() };
        out.extend(
            fixed
                .into_iter()
                .filter_map(|range| Some(MissingWindow { kind: "window", window: exactly(range)? })),
        );
        if forwards.vga {
            let vga = space.vga().filter_map(|range| Window::fixed(range, range.start()).ok());
            out.extend(vga.map(|window| MissingWindow { kind: "VGA window", window }));
        }
        out
    }

    /// Connects a bus to its bridge's bus. Returns the windows that could be opened: as many as the bus
    /// above has room for.
    fn join_child(
        &mut self,
        child: &Child,
        name: &str,
        parent: ArenaId,
        below: ArenaId,
        wanted: Vec<MissingWindow>,
        subtractive: bool,
    ) -> Result<Vec<MissingWindow>, ImportError> {
        let up = Direction::new(Mapping::Identity, UNMEASURED);
        // Usually all windows fit. Only a failure is worth a search for the culprit.
        let whole = Windows::new(wanted.iter().map(|want| want.window));
        let joined = whole.ok().and_then(|windows| {
            let down = Direction::new(Mapping::Windows(windows), UNMEASURED);
            self.manager.connect_asymmetric(parent, below, down, up.clone()).ok()
        });
        let (link, open) = match joined {
            Some(link) => (link, wanted),
            None => {
                // At least one window does not fit: find out which.
                let (windows, open) = self.fitting(child, name, parent, below, wanted);
                let down = Direction::new(Mapping::Windows(windows), UNMEASURED);
                (model(name, self.manager.connect_asymmetric(parent, below, down, up))?, open)
            }
        };
        for want in &open {
            self.check_inside(child, name, parent, want);
        }
        self.link_names.insert(link, name.to_owned());
        if subtractive {
            let rest = Direction::new(Mapping::Identity, UNMEASURED);
            let link =
                model(name, self.manager.connect_asymmetric(parent, below, rest, Direction::closed()))?;
            self.link_names.insert(link, format!("{name}, subtractive decoding"));
        }
        Ok(open)
    }

    fn fitting(
        &mut self,
        child: &Child,
        name: &str,
        parent: ArenaId,
        below: ArenaId,
        wanted: Vec<MissingWindow>,
    ) -> (Windows, Vec<MissingWindow>) {
        let mut windows = Windows::default();
        let mut open: Vec<MissingWindow> = Vec::new();
        for want in wanted {
            let trial = Windows::new(windows.pieces().iter().copied().chain([want.window]));
            let Ok(trial) = trial else {
                self.find(&child.at, format!("{name}: {} overlaps another of its windows", want.what()));
                continue;
            };
            // The model decides whether the bus above has room.
            let direction = Direction::new(Mapping::Windows(trial.clone()), UNMEASURED);
            let tried = self.manager.plan(|plan| {
                plan.connect_asymmetric(parent, below, direction, Direction::closed()).map(|_| ())
            });
            if self.attempt(&child.at, &format!("{name}: {}", want.what()), tried).is_some() {
                windows = trial;
                open.push(want);
            }
        }
        (windows, open)
    }

    /// Primes what a window leads to, without the VGA ranges that bridges further down take.
    fn prime_window(
        &mut self,
        child: &Child,
        below: ArenaId,
        want: &MissingWindow,
        space: Space,
        vga: &[AddrRange],
    ) {
        let Some(range) = want.window.floor_of() else { return };
        let default = match want.kind {
            "prefetchable window" => attrs(Usage::empty(), Prot::RW, Props::PREFETCH),
            _ => space.attrs(),
        };
        for part in without(&[range], &join(vga.to_vec())) {
            let primed = self.prime_rest(below, part, default);
            self.attempt(&child.at, want.kind, primed);
        }
    }

    /// Reports a window that lies partly outside what the bus above decodes.
    fn check_inside(&mut self, child: &Child, name: &str, parent: ArenaId, want: &MissingWindow) {
        let Some(range) = want.window.floor_of().filter(|_| want.kind != "VGA window") else { return };
        let covered = self.covered(parent, range);
        if covered < range.len() {
            let text = format!("{name}: {} is outside of what its bus is given", want.what());
            self.find(&child.at, text);
        }
    }

    fn covered(&self, arena: ArenaId, range: AddrRange) -> u64 {
        let here = self.manager.state().arena(arena);
        here.map_or(0, |here| here.spans_in(range).map(|(part, _)| part.len()).sum())
    }

    /// Reserves each function's assigned resources, and parks those without a place.
    pub(super) fn add_functions(&mut self) {
        let settled = self.settled;
        // Virtual functions come first: their slices lie in their physical function's space, which then
        // gets the rest.
        let virtual_first = |f: &&Function| f.physical.is_none();
        let (physical, virtuals): (Vec<&Function>, Vec<&Function>) =
            settled.functions.iter().partition(virtual_first);
        for function in virtuals.into_iter().chain(physical) {
            let Some((bus, root)) = self.bus_of(function) else {
                let place =
                    function.at.clone().unwrap_or_else(|| SourceLine::whole(function.bdf().to_string()));
                self.find(&place, format!("{}: left out, since no source describes its bus: add lspci -vvv output or /proc/iomem", function.bdf()));
                continue;
            };
            for resource in function.resources.iter().filter(|r| r.kind != ResourceKind::Window) {
                self.add_resource(function, bus, root, resource);
            }
            for unplaced in function.unplaced.iter().filter(|u| u.size.is_some_and(|size| size > 0)) {
                let space = if unplaced.io { Space::Io } else { Space::Memory };
                let label = format!("{} {}", function.bdf(), unplaced.kind);
                let own = own_attrs(function, unplaced.kind, unplaced.prefetchable, space);
                self.park(
                    function,
                    space.of(bus),
                    unplaced.kind,
                    unplaced.size.unwrap_or(1),
                    own,
                    &label,
                    unplaced.why.clone(),
                    &unplaced.at,
                );
            }
        }
    }

    /// Returns the bus that a function is on: below its bridge, or a root bus. Virtual functions can carry the
    /// numbers of buses that do not exist.
    fn bus_of(&self, function: &Function) -> Option<(Bus, &'s Root)> {
        let own = (function.bdf().segment, function.bdf().bus);
        let below = function.parent.and_then(|parent| self.bridges.get(&parent)).copied();
        let physical = function.physical.map(|physical| (physical.segment, physical.bus));
        let id = match function.parent {
            Some(_) if function.physical.is_none() => below.filter(|bus| *bus == own).or(self
                .buses
                .contains_key(&own)
                .then_some(own)
                .filter(|_| below.is_none())),
            Some(_) => below,
            None => Some(own).filter(|own| self.buses.contains_key(own)).or(physical),
        }?;
        let bus = self.buses.get(&id)?;
        let root = self.root_of.get(&id)?;
        Some((*bus, self.settled.roots.iter().find(|r| r.bus == *root)?))
    }

    fn add_resource(&mut self, function: &Function, bus: Bus, root: &Root, resource: &PciResource) {
        let kind = match resource.kind {
            ResourceKind::Unnamed => String::new(),
            kind => format!(" {kind}"),
        };
        let unsure = if resource.open_ended { " (its size is not said)" } else { "" };
        let label = format!("{}{kind}{unsure}", function.bdf());
        let space = if resource.io { Space::Io } else { Space::Memory };
        let Some(range) = root.to_bus(resource.range, resource.io) else {
            self.find(
                &resource.at,
                format!("{label}: {} less the host bridge's offset wraps", resource.range),
            );
            return;
        };
        let arena = space.of(bus);
        // The resource exists whatever the windows say, so its space is primed even where nothing leads to it.
        if self.covered(arena, range) < range.len() {
            if !matches!(resource.kind, ResourceKind::Rom)
                || !function.resources.iter().any(|r| r.range.overlaps(range) && r.kind != ResourceKind::Rom)
            {
                self.find(
                    &resource.at,
                    format!("{label} at {} lies outside the windows that lead to its bus", resource.range),
                );
            }
            let primed = self.prime_rest(arena, range, space.attrs());
            if self.attempt(&resource.at, &label, primed).is_none() {
                return;
            }
        }
        let own = own_attrs(function, resource.kind, resource.prefetchable, space);
        let here = self.manager.state().arena(arena);
        let taken: Vec<(AddrRange, RegionId)> = here
            .map_or(Vec::new(), |here| here.regions_in(range).map(|(at, record)| (at, record.id)).collect());
        // Slices of this function's virtual functions may lie in its space.
        let is_slice = |region: &RegionId| {
            self.holders.get(region).is_some_and(|address| self.is_virtual_of(*address, function.bdf()))
        };
        let conflict = taken.iter().find(|(at, region)| !(range.covers(*at) && is_slice(region)));
        if let Some((at, region)) = conflict {
            let other = self.labels.get(region).cloned().unwrap_or_default();
            let text = format!(
                "{label} at {range} is in conflict with {other} at {at}: it stays without an address"
            );
            let places = self.resource_place(*region);
            let finding = match places {
                Some(place) => Finding::between(&resource.at, &place, text),
                None => Finding::at(&resource.at, text),
            };
            self.findings.push(finding);
            let why = format!("in conflict with {other}");
            self.disputed.push(Sourced::new((resource.range, function.bdf()), resource.at.clone()));
            self.park(function, arena, resource.kind, range.len(), own, &label, why, &resource.at);
            return;
        }
        let slices = join(taken.iter().map(|(at, _)| *at).collect());
        for part in without(&[range], &slices) {
            let claimed = self.claim(arena, part, own, &label);
            if let Some(region) = self.attempt(&resource.at, &label, claimed) {
                self.bars.entry(function.bdf()).or_default().push((resource.kind, region));
                self.holders.insert(region, function.bdf());
            }
        }
        if !slices.is_empty() {
            self.bars.entry(function.bdf()).or_default();
        }
    }

    fn is_virtual_of(&self, address: Address, physical: Address) -> bool {
        let at = self.settled.functions.binary_search_by_key(&Some(address), |f| f.address);
        at.ok().and_then(|i| self.settled.functions.get(i)).is_some_and(|f| f.physical == Some(physical))
    }

    /// Returns where a source gives a function's region.
    fn resource_place(&self, region: RegionId) -> Option<SourceLine> {
        let address = *self.holders.get(&region)?;
        let (kind, _) = *self.bars.get(&address)?.iter().find(|(_, r)| *r == region)?;
        let at = self.settled.functions.binary_search_by_key(&Some(address), |f| f.address).ok()?;
        let function = self.settled.functions.get(at)?;
        function.resources.iter().find(|r| r.kind == kind).map(|r| r.at.clone())
    }

    /// Parks a resource that has no address: keeps its size, its function, and the reason.
    #[expect(clippy::too_many_arguments, reason = "what a region without an address is, part by part")]
    fn park(
        &mut self,
        function: &Function,
        arena: ArenaId,
        kind: ResourceKind,
        len: u64,
        own: Attrs,
        label: &str,
        why: String,
        at: &SourceLine,
    ) {
        let request = Request::new(len).usage(own.usage()).prot(own.prot()).props(own.props());
        let parked = self.manager.alloc_parked(arena, &request);
        if let Some(region) = self.attempt(at, label, parked) {
            self.labels.insert(region, label.to_owned());
            self.parked.insert(region, why);
            self.bars.entry(function.bdf()).or_default().push((kind, region));
        }
    }
}

/// Builds a window over a range as it is. Which register it is, and so how far it could move, is unknown.
fn exactly(range: AddrRange) -> Option<Window> {
    let granule = 1u64 << (range.start() | range.len()).trailing_zeros().min(63);
    Window::floating(AddrRange::ALL, granule).and_then(|window| window.floor(range)).ok()
}

/// The attributes that a resource's flags and its function's class imply.
fn own_attrs(function: &Function, kind: ResourceKind, prefetchable: bool, space: Space) -> Attrs {
    let is_display = function.class.is_some_and(pmem_pci::Class::is_display);
    let usage = match (kind, prefetchable) {
        (ResourceKind::Rom, _) => Usage::empty(),
        (_, true) if is_display => Usage::FRAMEBUF,
        _ => Usage::DEVREGS,
    };
    let prot = if kind == ResourceKind::Rom { Prot::READ } else { Prot::RW };
    let props = match (space, prefetchable) {
        (Space::Io, _) => Props::empty(),
        (Space::Memory, true) => Props::PREFETCH,
        (Space::Memory, false) => Props::UNCACHED,
    };
    attrs(usage, prot, props)
}
