//! NUMA nodes, RAM, ROM, and whatever else `/proc/iomem` lists outside of PCI.

use super::{Builder, UNMEASURED, attrs, model, same_addresses, unknown};
use crate::error::{ImportError, Warning};
use crate::machine::NodeArenas;
use crate::node::{Nodes, join};
use crate::pci::Function;
use crate::resource::{Resource, Resources};
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Direction, Holder, Mapping, Metric, Performance, Props, Prot,
    SpanState, Usage, What,
};

/// How a line of `/proc/iomem` is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ram,
    Persistent,
    Rom,
    Other,
}

fn kind(name: &str) -> Kind {
    match name {
        "System RAM" => Kind::Ram,
        _ if name.starts_with("System RAM (") => Kind::Ram,
        _ if name.starts_with("Persistent Memory") => Kind::Persistent,
        "System ROM" | "Video ROM" | "Adapter ROM" => Kind::Rom,
        _ => Kind::Other,
    }
}

/// What the kernel says of a range by its name.
fn attrs_of(name: &str) -> Attrs {
    let cached = Props::WBACK;
    match name {
        "Kernel code" => attrs(Usage::TEXT, Prot::READ | Prot::EXEC, cached),
        "Kernel rodata" => attrs(Usage::DATA, Prot::READ, cached),
        "Kernel data" | "Kernel bss" | "Crash kernel" => attrs(Usage::DATA, Prot::RW, cached),
        "Local APIC" | "RAM buffer" => unknown(),
        _ if name.starts_with("IOAPIC") || name.starts_with("HPET") => {
            attrs(Usage::DEVREGS, Prot::RW, Props::UNCACHED)
        }
        _ => unknown(),
    }
}

impl Builder {
    /// Makes the arenas of NUMA nodes: a view for each with CPUs or PCI buses, and memory.
    pub(super) fn add_nodes(&mut self, numa: &Nodes, functions: &[Function]) -> Result<(), ImportError> {
        for node in &numa.all {
            let has_cpus = node.cpus.as_ref().is_some_and(|cpus| !cpus.is_empty());
            let has_buses = functions.iter().any(|f| f.numa == Some(node.id));
            let named = |what: &str| format!("node{}{what}", node.id);
            let view = (has_cpus || has_buses).then(|| self.manager.create_arena(named(""), ArenaType::VIEW));
            let view = view.map(|view| model(named(""), view)).transpose()?;
            if let Some(view) = view {
                // The node asks the system bus for what is not on it; the system bus knows what lies behind the node.
                let up = Direction::new(Mapping::Identity, UNMEASURED);
                let link = self.manager.connect_asymmetric(view, self.system, up, Direction::closed());
                let link = model(named(""), link)?;
                self.link_names.insert(link, format!("node {} to the system bus", node.id));
            }
            let has_memory = node.bytes.is_some_and(|bytes| bytes > 0) || !node.memory().is_empty();
            let ram = has_memory.then(|| self.manager.create_arena(named(" RAM"), ArenaType::RAM));
            let ram = ram.map(|ram| model(named(" RAM"), ram)).transpose()?;
            self.nodes.insert(node.id, NodeArenas { view, ram });
        }
        Ok(())
    }

    /// Primes RAM and ROM, and joins them to the system bus and to the nodes' views.
    pub(super) fn add_memory(&mut self, iomem: Option<&Resources>, numa: &Nodes) -> Result<(), ImportError> {
        let listed = |wanted: Kind| -> Vec<&Resource> {
            iomem.map_or(Vec::new(), |iomem| iomem.all.iter().filter(|r| kind(&r.name) == wanted).collect())
        };
        let lines = listed(Kind::Ram);
        for pair in lines.windows(2).filter(|pair| pair[0].range.overlaps(pair[1].range)) {
            let text =
                format!("System RAM {} overlaps {} of line {}", pair[1].range, pair[0].range, pair[0].line);
            self.warnings.push(Warning::line("proc/iomem", pair[1].line, text));
        }
        let ram = join(lines.iter().map(|r| r.range).collect());
        let mut left = ram.clone();
        let mut unplaced: Vec<(u32, u64)> = Vec::new();
        for (id, arenas) in self.nodes.clone() {
            let (Some(arena), Some(node)) = (arenas.ram, numa.get(id)) else { continue };
            let only = numa.all.iter().filter(|n| n.bytes != Some(0)).count() == 1;
            let blocks = node.memory();
            let spans = match (iomem.is_some(), blocks.is_empty()) {
                (true, false) => crossing(&left, &blocks),
                (true, true) if only => left.clone(),
                (false, false) => blocks,
                _ => Vec::new(),
            };
            left = without(left, &spans);
            for span in &spans {
                let primed = self.manager.prime(arena, *span, Attrs::ram());
                model(format!("RAM of node {id}"), primed)?;
            }
            if spans.is_empty() {
                unplaced.push((id, node.bytes.unwrap_or(0)));
            }
            self.join_memory(arena, &spans, Some((id, numa)))?;
        }
        self.note_unplaced(&unplaced, iomem.is_some());
        if iomem.is_none() && numa.all.iter().any(|n| !n.memory().is_empty()) {
            self.warn(
                "sys/devices/system/memory",
                "RAM is known by memory blocks only: a block may have holes that are no RAM",
            );
        }
        if !left.is_empty() {
            if !numa.all.is_empty() {
                self.warn("proc/iomem", format!("System RAM {} is of no known node", show(&left)));
            }
            self.add_arena_of("RAM", ArenaType::RAM, &left, Attrs::ram())?;
        }
        let persistent = join(listed(Kind::Persistent).iter().map(|r| r.range).collect());
        let persistent = without(persistent, &ram);
        if !persistent.is_empty() {
            self.add_arena_of("persistent memory", ArenaType::RAM, &persistent, Attrs::ram())?;
        }
        self.add_roms(&listed(Kind::Rom))
    }

    /// Seals memory that is not in use, after all that is known of it was claimed.
    pub(super) fn seal_offline(&mut self, numa: &Nodes) -> Result<(), ImportError> {
        for node in &numa.all {
            let Some(arena) = self.nodes.get(&node.id).and_then(|arenas| arenas.ram) else { continue };
            let here = self.manager.state().arena(arena);
            let primed: Vec<AddrRange> =
                here.map_or(Vec::new(), |here| here.spans().map(|(range, _)| range).collect());
            for part in crossing(&primed, &node.offline) {
                model(format!("offline memory of node {}", node.id), self.manager.seal(arena, part))?;
            }
        }
        Ok(())
    }

    fn add_roms(&mut self, roms: &[&Resource]) -> Result<(), ImportError> {
        let spans = join(roms.iter().map(|r| r.range).collect());
        if spans.is_empty() {
            return Ok(());
        }
        let default = attrs(Usage::empty(), Prot::READ | Prot::EXEC, Props::empty());
        let arena = self.add_arena_of("ROM", ArenaType::ROM, &spans, default)?;
        for rom in roms {
            let claimed = self.claim(arena, rom.range, default, &rom.name);
            self.attempt(&format!("proc/iomem:{}", rom.line), &rom.name, claimed);
        }
        Ok(())
    }

    fn add_arena_of(
        &mut self,
        name: &str,
        kind: ArenaType,
        spans: &[AddrRange],
        attrs: Attrs,
    ) -> Result<ArenaId, ImportError> {
        let arena = model(name, self.manager.create_arena(name, kind))?;
        for span in spans {
            model(name, self.manager.prime(arena, *span, attrs))?;
        }
        self.join_memory(arena, spans, None)?;
        Ok(arena)
    }

    /// Says which nodes' memory has a size but no address.
    fn note_unplaced(&mut self, unplaced: &[(u32, u64)], listed: bool) {
        if unplaced.is_empty() {
            return;
        }
        let why = match listed {
            true => "no memory block says which part of the RAM is theirs",
            false => "no source gives addresses (neither /proc/iomem nor memory blocks)",
        };
        let ids: Vec<u32> = unplaced.iter().map(|(id, _)| *id).collect();
        let bytes: u64 = unplaced.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes));
        let nodes = crate::number::show_list(&ids);
        let text = format!("{bytes} bytes of memory, of nodes {nodes}, are at unknown addresses: {why}");
        self.warn("sys/devices/system/node", text);
    }

    /// Joins memory to the system bus at the farthest distance, and to each node's view at that node's.
    fn join_memory(
        &mut self,
        arena: ArenaId,
        spans: &[AddrRange],
        node: Option<(u32, &Nodes)>,
    ) -> Result<(), ImportError> {
        let name = self.manager.state().info(arena).map_or(String::new(), |info| info.name.clone());
        let views: Vec<(u32, ArenaId)> =
            self.nodes.iter().filter_map(|(id, n)| Some((*id, n.view?))).collect();
        let distance = |from: u32| node.and_then(|(id, numa)| numa.distances.get(from, id));
        // From the bus as a whole nothing is measured: what the farthest node sees is the bound.
        let farthest = views.iter().filter_map(|(from, _)| distance(*from)).max();
        let mut joins = vec![(self.system, farthest.map_or(UNMEASURED, Metric::new), Performance::default())];
        if let Some((id, numa)) = node {
            for (from, view) in views {
                let metric = distance(from).map_or(UNMEASURED, Metric::new);
                joins.push((view, metric, measured(numa, from, id)));
            }
        }
        for (view, metric, performance) in joins {
            let down = Direction { performance, ..same_addresses(spans.iter().copied(), metric) };
            let joined = self.manager.connect_asymmetric(view, arena, down, Direction::closed());
            let joined = self.attempt("proc/iomem", &name, joined);
            if let Some(link) = joined {
                let viewer = self.manager.state().info(view).map_or(String::new(), |info| info.name.clone());
                self.link_names.insert(link, format!("{viewer} to {name}"));
            }
        }
        Ok(())
    }

    /// Takes in what else `/proc/iomem` lists: inside RAM and buses as regions there, the rest on the system bus.
    pub(super) fn add_rest(&mut self, iomem: &Resources, source: &str) -> Result<(), ImportError> {
        for (index, line) in iomem.all.iter().enumerate() {
            if kind(&line.name) != Kind::Other || line.name.starts_with("PCI Bus ") {
                continue;
            }
            let at = format!("{source}:{}", line.line);
            // A line below a function's is the driver's name for it.
            if self.is_function(line) {
                continue;
            }
            if iomem.around(index).any(|outer| self.is_function(outer)) {
                self.label_inner(self.system, line);
                continue;
            }
            let nested = iomem.around(index).any(|outer| !outer.name.starts_with("PCI Bus "));
            let owners = self.owners_of(self.system, line.range);
            let claimed = if owners.is_empty() {
                self.claim_on(self.system, line, &at).map(drop)
            } else {
                owners.into_iter().try_for_each(|(arena, local)| {
                    self.claim(arena, local, attrs_of(&line.name), &line.name).map(drop)
                })
            };
            match claimed {
                Ok(()) => {}
                // Regions do not nest: what lies inside another is a name of it, and what others fill is theirs.
                Err(_) if nested => self.label_inner(self.system, line),
                Err(_) if iomem.children(Some(index)).next().is_some() => {}
                Err(error) => {
                    let text = format!("{}: {}", line.name, self.explain(&error));
                    self.warnings.push(Warning::new(at, text));
                }
            }
        }
        Ok(())
    }

    /// Whether a line is a PCI function's of which more is known than this.
    pub(super) fn is_function(&self, line: &Resource) -> bool {
        line.name.parse().is_ok_and(|bdf| self.bars.contains_key(&bdf))
    }

    /// Primes what of a line nothing else has, and claims the first such part.
    pub(super) fn claim_on(
        &mut self,
        arena: ArenaId,
        line: &Resource,
        source: &str,
    ) -> Result<pmem_core::RegionId, pmem_core::Error> {
        let mut parts = vec![line.range];
        if let Some(here) = self.manager.state().arena(arena) {
            let windows: Vec<AddrRange> = here
                .windows_in(line.range)
                .map(|(r, _)| r)
                .chain(here.regions_in(line.range).map(|(r, _)| r))
                .collect();
            parts = without(parts, &windows);
        }
        let holder = self.manager.state().arena(arena).and_then(|here| {
            let region = here.regions_in(line.range).next().map(|(at, record)| Holder::Region(record.id, at));
            region.or_else(|| {
                here.windows_in(line.range).next().map(|(at, legs)| Holder::Link(legs[0].link, at))
            })
        });
        let by = holder.unwrap_or(Holder::Primed(line.range));
        let occupied = pmem_core::Error::Occupied { arena, range: line.range, by };
        if matches!(by, Holder::Region(..)) && !parts.is_empty() {
            // Part of it was named before: both names are said, and the rest is the later one's.
            let text = format!("{}: {}: only what is left is taken", line.name, self.explain(&occupied));
            self.warn(source, text);
        }
        let mut result = Err(occupied);
        for part in parts {
            self.prime_rest(arena, part, attrs_of(&line.name))?;
            result = self.claim(arena, part, attrs_of(&line.name), &line.name);
        }
        result
    }

    /// The arena, other than `viewer`, that owns all of a range, and its addresses there.
    pub(super) fn owner_of(&self, viewer: ArenaId, range: AddrRange) -> Option<(ArenaId, AddrRange)> {
        let state = self.manager.state();
        let place = |addr| state.resolve(viewer, addr).accepted().filter(|p| p.arena != viewer);
        let (first, last) = (place(range.start())?, place(range.last())?);
        let local = AddrRange::inclusive(first.addr, last.addr).ok()?;
        let open = state.arena(first.arena)?.spans_in(local).all(|(_, span)| span.state == SpanState::Open);
        (first.arena == last.arena && local.len() == range.len() && open).then_some((first.arena, local))
    }

    /// The arenas, other than `viewer`, that own all of a range between them, and its addresses there: one, or memories that
    /// touch. None if anything of it is another's.
    fn owners_of(&self, viewer: ArenaId, range: AddrRange) -> Vec<(ArenaId, AddrRange)> {
        if let Some(owner) = self.owner_of(viewer, range) {
            return vec![owner];
        }
        let mut owners: Vec<(ArenaId, AddrRange)> = Vec::new();
        let mut from = Some(range.start());
        for piece in self.manager.state().view_in(viewer, range) {
            let What::Local { arena, start, region: None, state: SpanState::Open, .. } = piece.what else {
                return Vec::new();
            };
            let local = AddrRange::sized(start, piece.seen.len()).ok().filter(|_| arena != viewer);
            let (Some(local), true) = (local, from == Some(piece.seen.start())) else { return Vec::new() };
            from = piece.seen.end();
            match owners.last_mut() {
                Some((of, last)) if *of == arena && last.end() == Some(local.start()) => {
                    *last = last.hull(local);
                }
                _ => owners.push((arena, local)),
            }
        }
        if from == range.end() { owners } else { Vec::new() }
    }

    /// Adds the name of a line that lies inside a region to the region's.
    pub(super) fn label_inner(&mut self, viewer: ArenaId, line: &Resource) {
        let region =
            self.manager.state().resolve(viewer, line.range.start()).accepted().and_then(|p| p.region);
        if let Some(label) = region.and_then(|region| self.labels.get_mut(&region))
            && !label.contains(&line.name)
        {
            label.push_str(&format!(" ({})", line.name));
        }
    }
}

/// How well a node's memory is reached from another, where that was measured.
fn measured(numa: &Nodes, from: u32, to: u32) -> Performance {
    let access = numa.get(to).map(|node| &node.access);
    let found = access.and_then(|classes| classes.iter().flatten().find(|a| a.initiators.contains(&from)));
    found.map_or(Performance::default(), |a| a.performance)
}

/// What of `a` is in `b` too.
fn crossing(a: &[AddrRange], b: &[AddrRange]) -> Vec<AddrRange> {
    a.iter().flat_map(|a| b.iter().filter_map(|b| a.intersect(*b))).collect()
}

/// What of `a` is not in `b`.
pub(super) fn without(a: Vec<AddrRange>, b: &[AddrRange]) -> Vec<AddrRange> {
    b.iter().fold(a, |rest, gone| {
        let cut = |r: AddrRange| if r.overlaps(*gone) { r.minus(*gone) } else { [Some(r), None] };
        rest.into_iter().flat_map(cut).flatten().collect()
    })
}

fn show(ranges: &[AddrRange]) -> String {
    ranges.iter().map(AddrRange::to_string).collect::<Vec<_>>().join(", ")
}
