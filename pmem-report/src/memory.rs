//! Memory by pages: what a page allocator that starts now would get, and what is already taken.

use crate::sources::Sources;
use crate::units::{Addr, Extent};
use pmem_core::{AddrRange, ArenaId};
use pmem_import::{Machine, MemoryKind};
use pmem_uvm::{FrameRange, Layout, PageState, Ram, Settings};
use serde::Serialize;
use std::collections::BTreeMap;

/// A machine's memory by pages.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MemoryReport {
    /// The page size in bytes.
    pub page_size: u64,
    /// The size of a hot-plug memory block in bytes; null if no source says.
    pub block_size: Option<u64>,
    /// Physically contiguous RAM, in order of address.
    pub segments: Vec<Segment>,
    /// Free pages per free list and kind of memory.
    pub free_lists: Vec<FreeList>,
    /// The memory of each NUMA node.
    pub nodes: Vec<MemoryNode>,
    /// RAM that is in use, by owner; the largest first.
    pub taken: Vec<Taken>,
    /// Memory that the page allocator does not get: persistent memory and special-purpose memory.
    pub apart: Vec<Unavailable>,
    /// Why there are no segments; null if there are some.
    pub nothing: Option<String>,
    /// The sources that were read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// A contiguous run of RAM that belongs to one arena.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Segment {
    /// Its page frames.
    pub range: FrameRun,
    /// The kind of memory.
    pub kind: String,
    /// The NUMA node; null if no source says.
    pub node: Option<u32>,
    /// The number of the free list that the segment's pages go to.
    pub free_list: u8,
    /// The arena that the memory belongs to.
    pub arena: String,
    /// Page counts by state: `free`, `reserved`, `offline`, `bad`.
    pub by_state: BTreeMap<String, u64>,
}

/// Consecutive page frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FrameRun {
    /// Their byte addresses.
    #[serde(flatten)]
    pub bytes: Option<Extent>,
    /// The page frame number of the first.
    pub first_frame: Addr,
    /// The number of page frames.
    pub pages: u64,
}

/// The free pages on one free list.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FreeList {
    /// The number of the free list.
    pub list: u8,
    /// The kind of memory on it.
    pub kind: String,
    /// The number of free pages.
    pub free_pages: u64,
}

/// The memory of one NUMA node.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MemoryNode {
    /// The node's number; null for memory whose node is not known.
    pub node: Option<u32>,
    /// The kind of memory; null if not known.
    pub kind: Option<String>,
    /// The node's memory size in bytes according to a source; null if no source says.
    pub bytes_said: Option<u64>,
    /// Page counts by state: `free`, `reserved`, `offline`, `bad`.
    pub by_state: BTreeMap<String, u64>,
    /// The longest run of free pages of one kind; null if no page is free.
    pub largest_free_run: Option<FrameRun>,
    /// The ranges of online memory blocks; adjacent blocks are merged.
    pub online_blocks: Vec<Extent>,
    /// The ranges of offline memory blocks; adjacent blocks are merged.
    pub offline_blocks: Vec<Extent>,
}

/// RAM in use by one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Taken {
    /// The owner, as the source names it. Anything nested inside the owner's range counts as the owner's.
    pub by: String,
    /// The size in bytes.
    pub bytes: u64,
}

/// Memory that the page allocator does not get.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unavailable {
    /// The arena that the memory belongs to.
    pub arena: String,
    /// The kind of memory.
    pub kind: String,
    /// Its ranges.
    pub ranges: Vec<Extent>,
    /// The total size in bytes.
    pub bytes: u64,
    /// The parts in use, by owner.
    pub in_use: Vec<Taken>,
}

fn word(state: PageState) -> &'static str {
    match state {
        PageState::Free => "free",
        PageState::Offline => "offline",
        PageState::Retired => "bad",
        _ => "reserved",
    }
}

/// A rank for each kind of memory. Kinds of different rank never share a free list.
fn rank(kind: MemoryKind) -> u8 {
    match kind {
        MemoryKind::Dram => 0,
        MemoryKind::Hbm => 1,
        MemoryKind::Cxl => 2,
        MemoryKind::Special => 3,
        MemoryKind::Persistent => 4,
    }
}

impl MemoryReport {
    /// Reports a machine's memory in pages of the default size.
    ///
    /// # Examples
    ///
    /// ```
    /// use pmem_import::{Machine, Sources};
    /// use pmem_report::MemoryReport;
    ///
    /// let mut iomem: &[u8] = b"\
    /// 00100000-7fffffff : System RAM
    ///   01000000-01ffffff : Kernel code
    /// ";
    /// let mut sources = Sources::default();
    /// sources.add_stream("iomem", &mut iomem)?;
    /// let report = MemoryReport::of(&Machine::read(&mut sources)?);
    /// let pages = &report.segments[0].by_state;
    /// assert_eq!((pages["free"], pages["reserved"]), (0x7ef00, 0x1000)); // pages of 4 KiB
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(machine: &Machine) -> Self {
        let settings = Settings::default();
        let known = || machine.memory.iter().filter(|(_, memory)| memory.kind.is_ram());
        let layout = known().fold(Layout::new(machine.system), |layout, (arena, memory)| {
            let layout = layout.apart(*arena, rank(memory.kind));
            memory.node.map_or(layout.clone(), |id| layout.node(*arena, id))
        });
        // In a decoding net, everything that a node calls RAM counts as RAM.
        let is_ram = |ram: &Ram| {
            machine.net.is_some() || machine.memory.get(&ram.arena).is_some_and(|m| m.kind.is_ram())
        };
        let mut frames = layout.frames(machine.state(), settings);
        frames.retain(|(_, ram)| is_ram(ram));
        let pages = Pages { machine, settings, frames };
        let nothing = pages.frames.is_empty().then(|| match machine.net {
            Some(_) => "the net says of no node that it is RAM".to_owned(),
            None => "no RAM has known addresses".to_owned(),
        });
        Self {
            page_size: 1 << settings.pageshift(),
            block_size: machine.numa.block_size,
            segments: pages.segments(),
            free_lists: pages.lists(),
            nodes: pages.nodes(),
            taken: taken(machine, |kind| kind.is_ram()),
            apart: apart(machine),
            nothing,
            sources: Sources::of(machine),
        }
    }
}

/// The page frames that a page allocator would get.
struct Pages<'m> {
    machine: &'m Machine,
    settings: Settings,
    frames: Vec<(FrameRange, Ram)>,
}

impl Pages<'_> {
    fn kind(&self, arena: ArenaId) -> MemoryKind {
        self.machine.memory.get(&arena).map_or(MemoryKind::Dram, |memory| memory.kind)
    }

    fn node(&self, ram: &Ram) -> Option<u32> {
        self.machine.memory.get(&ram.arena)?.node
    }

    fn run(&self, range: FrameRange) -> FrameRun {
        FrameRun {
            bytes: range.bytes(self.settings.pageshift()).map(Extent::from),
            first_frame: Addr(range.start()),
            pages: range.count(),
        }
    }

    /// Merges adjacent frames that differ only in state: a segment does not end where a page's state changes.
    fn segments(&self) -> Vec<Segment> {
        let mut segments: Vec<(FrameRange, Ram, BTreeMap<String, u64>)> = Vec::new();
        for (range, ram) in &self.frames {
            let alike = |other: &Ram| Ram { state: ram.state, ..*other } == *ram;
            let count = range.count();
            match segments.last_mut() {
                Some((last, of, pages)) if last.end() == range.start() && alike(of) => {
                    *last = FrameRange::new(last.start(), last.count() + count).unwrap_or(*last);
                    *pages.entry(word(ram.state).to_owned()).or_default() += count;
                }
                _ => segments.push((*range, *ram, BTreeMap::from([(word(ram.state).to_owned(), count)]))),
            }
        }
        let segment = |(range, ram, by_state): (FrameRange, Ram, BTreeMap<String, u64>)| Segment {
            range: self.run(range),
            kind: self.kind(ram.arena).name().to_owned(),
            node: self.node(&ram),
            free_list: ram.free_list,
            arena: self.machine.arena_name(ram.arena),
            by_state,
        };
        segments.into_iter().map(segment).collect()
    }

    /// Counts free pages per free list and kind of memory.
    fn lists(&self) -> Vec<FreeList> {
        let mut lists: BTreeMap<(u8, MemoryKind), u64> = BTreeMap::new();
        for (range, ram) in self.frames.iter().filter(|(_, ram)| ram.state == PageState::Free) {
            *lists.entry((ram.free_list, self.kind(ram.arena))).or_default() += range.count();
        }
        let list = |((list, kind), free_pages): ((u8, MemoryKind), u64)| FreeList {
            list,
            kind: kind.name().to_owned(),
            free_pages,
        };
        lists.into_iter().map(list).collect()
    }

    /// Sums up each node's memory; memory of unknown node comes last.
    fn nodes(&self) -> Vec<MemoryNode> {
        let blank = |node: Option<u32>| MemoryNode {
            node,
            kind: node.and_then(|id| self.machine.kinds.get(&id)).map(|kind| kind.kind.name().to_owned()),
            bytes_said: None,
            by_state: BTreeMap::new(),
            largest_free_run: None,
            online_blocks: Vec::new(),
            offline_blocks: Vec::new(),
        };
        let mut nodes: BTreeMap<(bool, Option<u32>), MemoryNode> = BTreeMap::new();
        let extents = |ranges: &[AddrRange]| ranges.iter().copied().map(Extent::from).collect();
        for known in &self.machine.numa.all {
            let node = nodes.entry((false, Some(known.id))).or_insert_with(|| blank(Some(known.id)));
            node.bytes_said = known.bytes;
            (node.online_blocks, node.offline_blocks) = (extents(&known.blocks), extents(&known.offline));
        }
        // A run is merged like a page allocator would: only within one node, one kind and one free list.
        type Of = (Option<u32>, MemoryKind, u8);
        let mut run: Option<(FrameRange, Of)> = None;
        for (range, ram) in &self.frames {
            let id = self.node(ram);
            let node = nodes.entry((id.is_none(), id)).or_insert_with(|| blank(id));
            *node.by_state.entry(word(ram.state).to_owned()).or_default() += range.count();
            if ram.state != PageState::Free {
                continue;
            }
            let of = (id, self.kind(ram.arena), ram.free_list);
            let joined = run.filter(|(last, other)| last.end() == range.start() && *other == of);
            let whole =
                joined.and_then(|(last, _)| FrameRange::new(last.start(), last.count() + range.count()).ok());
            let whole = whole.unwrap_or(*range);
            run = Some((whole, of));
            if node.largest_free_run.is_none_or(|longest| whole.count() > longest.pages) {
                node.largest_free_run = Some(self.run(whole));
            }
        }
        nodes.into_values().collect()
    }
}

/// Returns the owners of RAM of the given kinds, named by the outermost entry inside the memory's own entry.
fn taken(machine: &Machine, of: impl Fn(MemoryKind) -> bool) -> Vec<Taken> {
    let mut by: BTreeMap<String, u64> = BTreeMap::new();
    for (arena, _) in machine.memory.iter().filter(|(_, memory)| of(memory.kind)) {
        for (name, bytes) in taken_of(machine, *arena) {
            *by.entry(name).or_default() += bytes;
        }
    }
    let mut all: Vec<Taken> = by.into_iter().map(|(by, bytes)| Taken { by, bytes }).collect();
    all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.by.cmp(&b.by)));
    all
}

/// Returns the owners within one arena and their sizes, with a name for each region.
fn taken_of(machine: &Machine, arena: ArenaId) -> Vec<(String, u64)> {
    let Some(here) = machine.state().arena(arena) else { return Vec::new() };
    let of_memory = |name: &str| {
        name.starts_with("System RAM") || name.starts_with("Persistent Memory") || name == "Soft Reserved"
    };
    here.regions()
        .map(|(range, record)| {
            let names = machine.names.of_memory(range.start());
            // Names are ordered from the inside out, so the last one before the memory's own name is the outermost
            // owner.
            let outermost = names.iter().take_while(|name| !of_memory(name)).last();
            let name = outermost.map_or_else(|| machine.region_name(record.id), |name| (*name).to_owned());
            (name, range.len())
        })
        .collect()
}

/// Returns memory that the page allocator does not get.
fn apart(machine: &Machine) -> Vec<Unavailable> {
    let none_of_ram =
        machine.memory.iter().filter(|(_, memory)| !memory.kind.is_ram() && !memory.spans.is_empty());
    none_of_ram
        .map(|(arena, memory)| {
            let mut in_use: BTreeMap<String, u64> = BTreeMap::new();
            for (name, bytes) in taken_of(machine, *arena) {
                *in_use.entry(name).or_default() += bytes;
            }
            Unavailable {
                arena: machine.arena_name(*arena),
                kind: memory.kind.name().to_owned(),
                ranges: memory.spans.iter().copied().map(Extent::from).collect(),
                bytes: memory.spans.iter().fold(0u64, |sum, range| sum.saturating_add(range.len())),
                in_use: in_use.into_iter().map(|(by, bytes)| Taken { by, bytes }).collect(),
            }
        })
        .collect()
}
