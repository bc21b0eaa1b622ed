//! Memory by pages: what a page allocator that starts now would have, and what it would not.

use crate::sources::Sources;
use crate::units::{Addr, Extent};
use pmem_core::{AddrRange, ArenaId};
use pmem_import::{Machine, MemoryKind};
use pmem_uvm::{FrameRange, Layout, PageState, Ram, Settings};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// Memory by pages.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MemoryReport {
    /// Bytes of a page.
    pub page_size: u64,
    /// Bytes of a memory block; null if no source says.
    pub block_size: Option<u64>,
    /// What is RAM, in order of address.
    pub segments: Vec<Segment>,
    /// By kind and free list: how much is free.
    pub free_lists: Vec<FreeList>,
    /// By node.
    pub nodes: Vec<MemoryNode>,
    /// RAM that is not free, by what has it.
    pub taken: Vec<Taken>,
    /// Memory that is no RAM for anybody: persistent, or for a special purpose.
    pub apart: Vec<Unavailable>,
    /// Why there are no segments.
    pub nothing: Option<String>,
    /// What was read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// RAM in one piece, of one arena.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Segment {
    /// Where it is.
    pub range: FrameRun,
    /// Its kind.
    pub kind: String,
    /// Its node; null if no source says.
    pub node: Option<u32>,
    /// The free list that it is on.
    pub free_list: u8,
    /// The arena that it is of.
    pub arena: String,
    /// Pages by state: `free`, `reserved`, `offline`, `bad`.
    pub by_state: BTreeMap<String, u64>,
}

/// Page frames in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FrameRun {
    /// Their addresses.
    #[serde(flatten)]
    pub bytes: Option<Extent>,
    /// The first page frame number.
    pub first_frame: Addr,
    /// How many.
    pub pages: u64,
}

/// Free pages of a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FreeList {
    /// The list.
    pub list: u8,
    /// The kind of memory on it.
    pub kind: String,
    /// How many.
    pub free_pages: u64,
}

/// What a node has.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MemoryNode {
    /// The node; null for memory of which no node is known.
    pub node: Option<u32>,
    /// The kind of memory.
    pub kind: Option<String>,
    /// What a source says that it has, in bytes.
    pub bytes_said: Option<u64>,
    /// Pages by state.
    pub by_state: BTreeMap<String, u64>,
    /// The longest run of free pages, of one kind.
    pub largest_free_run: Option<FrameRun>,
    /// Memory blocks that are online, joined.
    pub online_blocks: Vec<Extent>,
    /// Those that are not.
    pub offline_blocks: Vec<Extent>,
}

/// RAM that something has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Taken {
    /// What has it, as the source names it; what lies inside of it is part of it.
    pub by: String,
    /// How much, in bytes.
    pub bytes: u64,
}

/// Memory that is no RAM for anybody.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Unavailable {
    /// The arena.
    pub arena: String,
    /// Its kind.
    pub kind: String,
    /// Its addresses.
    pub ranges: Vec<Extent>,
    /// Its size, in bytes.
    pub bytes: u64,
    /// What has part of it.
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

/// Kinds apart: what is not joined in one free list.
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
    /// What a machine's memory is, in pages of the usual size.
    pub fn of(machine: &Machine) -> Self {
        let settings = Settings::default();
        let known = || machine.memory.iter().filter(|(_, memory)| memory.kind.is_ram());
        let layout = known().fold(Layout::new(machine.system), |layout, (arena, memory)| {
            let layout = layout.apart(*arena, rank(memory.kind));
            memory.node.map_or(layout.clone(), |id| layout.node(*arena, id))
        });
        // Of a decoding net, all that its nodes call RAM counts.
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

/// Page frames that a page allocator would have.
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

    /// What is plugged in one piece and alike: where a state changes, a segment does not end.
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

    /// By kind and free list: how many pages are free.
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

    /// What each node has, those that are known first.
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
        // As a page allocator joins them: of one node, one kind and one free list.
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

/// What has parts of memory of some kinds, by the outermost name inside the memory's own line.
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

fn taken_of(machine: &Machine, arena: ArenaId) -> Vec<(String, u64)> {
    let Some(here) = machine.state().arena(arena) else { return Vec::new() };
    let of_memory = |name: &str| {
        name.starts_with("System RAM") || name.starts_with("Persistent Memory") || name == "Soft Reserved"
    };
    here.regions()
        .map(|(range, record)| {
            let names = machine.names.of_memory(range.start());
            // The names from the inside out: the last one before the memory's own is what the source puts into it.
            let outermost = names.iter().take_while(|name| !of_memory(name)).last();
            let name = outermost.map_or_else(|| machine.region_name(record.id), |name| (*name).to_owned());
            (name, range.len())
        })
        .collect()
}

/// Memory that is no RAM for anybody.
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
