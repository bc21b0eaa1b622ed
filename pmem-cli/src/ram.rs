//! `pmem ram show`.

use crate::args::{Args, RamCommand};
use crate::show::{self, Styles, size, styled};
use crate::source::open;
use crate::{Failure, SCHEMA, Status, json};
use pmem_core::{AddrRange, ArenaId};
use pmem_import::{Machine, Warning};
use pmem_uvm::{FrameRange, Layout, PageState, Ram, Settings};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

pub(crate) fn run(args: &Args, command: &RamCommand, out: &mut dyn Write) -> Result<Status, Failure> {
    let RamCommand::Show = command;
    let machine = open(args)?;
    let memory = Memory::of(&machine);
    if args.json {
        writeln!(out, "{:#}", memory.value(&machine))?;
    } else {
        memory.print(&machine, &Styles::new(args.color), out)?;
    }
    Ok(Status::Done)
}

/// Page frames that a page allocator would have.
struct Memory {
    settings: Settings,
    frames: Vec<(FrameRange, Ram)>,
    /// The memory of which the node is known.
    of_nodes: BTreeSet<ArenaId>,
}

/// What a node has, in pages.
#[derive(Default)]
struct Node {
    pages: BTreeMap<&'static str, u64>,
    /// The longest run of free pages.
    longest: Option<FrameRange>,
    /// What a source says that it has, in bytes.
    said: Option<u64>,
    /// Blocks of memory that are online, and that are not.
    blocks: [Vec<AddrRange>; 2],
}

fn word(state: PageState) -> &'static str {
    match state {
        PageState::Free => "free",
        PageState::Offline => "offline",
        PageState::Retired => "bad",
        _ => "reserved",
    }
}

impl Memory {
    fn of(machine: &Machine) -> Self {
        let settings = Settings::default();
        let nodes = || machine.nodes.iter().filter_map(|(id, node)| Some((*id, node.ram?)));
        let layout = nodes().fold(Layout::new(machine.system), |layout, (id, ram)| layout.node(ram, id));
        let of_nodes = nodes().map(|(_, ram)| ram).collect();
        Self { settings, frames: layout.frames(machine.state(), settings), of_nodes }
    }

    fn node(&self, ram: &Ram) -> Option<u32> {
        self.of_nodes.contains(&ram.arena).then_some(ram.node)
    }

    /// What is plugged in one piece and alike: where a state changes, a segment does not end.
    fn segments(&self) -> Vec<(FrameRange, Ram, BTreeMap<&'static str, u64>)> {
        let mut segments: Vec<(FrameRange, Ram, BTreeMap<&'static str, u64>)> = Vec::new();
        for (range, ram) in &self.frames {
            let alike = |other: &Ram| Ram { state: ram.state, ..*other } == *ram;
            let count = range.count();
            match segments.last_mut() {
                Some((last, of, pages)) if last.end() == range.start() && alike(of) => {
                    *last = FrameRange::new(last.start(), last.count() + count).unwrap_or(*last);
                    *pages.entry(word(ram.state)).or_default() += count;
                }
                _ => segments.push((*range, *ram, BTreeMap::from([(word(ram.state), count)]))),
            }
        }
        segments
    }

    /// What each node has, those that are known first.
    fn nodes(&self, machine: &Machine) -> Vec<(Option<u32>, Node)> {
        let mut nodes: BTreeMap<(bool, Option<u32>), Node> = BTreeMap::new();
        for known in &machine.numa.all {
            let node = nodes.entry((false, Some(known.id))).or_default();
            node.said = known.bytes;
            node.blocks = [known.blocks.clone(), known.offline.clone()];
        }
        // As a page allocator joins them: of one node and one free list.
        let mut run: Option<(FrameRange, (Option<u32>, u8))> = None;
        for (range, ram) in &self.frames {
            let id = self.node(ram);
            let node = nodes.entry((id.is_none(), id)).or_default();
            *node.pages.entry(word(ram.state)).or_default() += range.count();
            if ram.state != PageState::Free {
                continue;
            }
            let of = (id, ram.free_list);
            let joined = run.filter(|(last, other)| last.end() == range.start() && *other == of);
            let whole =
                joined.and_then(|(last, _)| FrameRange::new(last.start(), last.count() + range.count()).ok());
            let whole = whole.unwrap_or(*range);
            run = Some((whole, of));
            if node.longest.is_none_or(|longest| whole.count() > longest.count()) {
                node.longest = Some(whole);
            }
        }
        nodes.into_iter().map(|((_, id), node)| (id, node)).collect()
    }

    /// By free list: how many pages are free.
    fn lists(&self) -> BTreeMap<u8, u64> {
        let mut lists = BTreeMap::new();
        for (range, ram) in self.frames.iter().filter(|(_, ram)| ram.state == PageState::Free) {
            *lists.entry(ram.free_list).or_default() += range.count();
        }
        lists
    }

    fn bytes(&self, pages: u64) -> u64 {
        pages << self.settings.pageshift()
    }

    fn addresses(&self, range: FrameRange) -> String {
        range.bytes(self.settings.pageshift()).map_or_else(|| range.to_string(), show::range)
    }

    /// The pages of each state, in words.
    fn pages(&self, pages: &BTreeMap<&'static str, u64>) -> String {
        let all: Vec<String> =
            pages.iter().map(|(word, pages)| format!("{} {word}", size(self.bytes(*pages)))).collect();
        all.join(", ")
    }

    fn print(&self, machine: &Machine, styles: &Styles, out: &mut dyn Write) -> Result<(), Failure> {
        let blocks = match machine.numa.block_size {
            Some(bytes) => format!("blocks of {}", size(bytes)),
            None => "block size unknown".to_owned(),
        };
        let heading = format!("counted in pages of {}, {blocks}", size(1 << self.settings.pageshift()));
        writeln!(out, "{}", styled(styles.heading, &heading))?;
        if self.frames.is_empty() {
            let why = match machine.net {
                Some(_) => "the net says of no node that it is RAM",
                None => "no memory has known addresses",
            };
            writeln!(out, "{why}")?;
        } else {
            self.print_segments(machine, out)?;
        }
        for (list, pages) in self.lists() {
            writeln!(out, "free list {list}: {} free", size(self.bytes(pages)))?;
        }
        for (id, node) in self.nodes(machine) {
            let name = id.map_or("of unknown node".to_owned(), |id| format!("node {id}"));
            writeln!(out, "{}", styled(styles.heading, &name))?;
            self.print_node(&node, machine, styles, out)?;
        }
        let of_memory =
            |warning: &&Warning| ["iomem", "devices/system"].iter().any(|of| warning.source.contains(of));
        let warnings: Vec<Warning> = machine.warnings.iter().filter(of_memory).cloned().collect();
        Ok(write!(out, "{}", show::warnings(&warnings, styles))?)
    }

    fn print_segments(&self, machine: &Machine, out: &mut dyn Write) -> Result<(), Failure> {
        let mut table = show::table(&["segment", "size", "node", "list", "arena", "pages"], &[1, 2, 3]);
        for (range, ram, pages) in self.segments() {
            table.add_row([
                self.addresses(range),
                size(self.bytes(range.count())),
                self.node(&ram).map_or("unknown".to_owned(), |node| node.to_string()),
                ram.free_list.to_string(),
                machine.arena_name(ram.arena),
                self.pages(&pages),
            ]);
        }
        Ok(write!(out, "{}", show::lines(&table))?)
    }

    fn print_node(
        &self,
        node: &Node,
        machine: &Machine,
        styles: &Styles,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        if let Some(said) = node.said {
            writeln!(out, "  the kernel says {}", size(said))?;
        }
        if !node.pages.is_empty() {
            writeln!(out, "  plugged: {}", self.pages(&node.pages))?;
        }
        match node.longest {
            Some(run) => {
                let text =
                    format!("largest free run {} at {}", size(self.bytes(run.count())), self.addresses(run));
                writeln!(out, "  {}", styled(styles.free, &text))?;
            }
            None if node.pages.is_empty() => writeln!(out, "  largest free run unknown")?,
            None => writeln!(out, "  nothing is free")?,
        }
        for (blocks, state) in node.blocks.iter().zip(["online", "offline"]) {
            for range in blocks {
                let many =
                    machine.numa.block_size.map_or(String::new(), |size| format!("{} ", range.len() / size));
                writeln!(out, "  blocks {} ({many}{state})", show::range(*range))?;
            }
        }
        Ok(())
    }

    fn value(&self, machine: &Machine) -> Value {
        let shift = self.settings.pageshift();
        let place = |range: FrameRange| {
            let bytes = range.bytes(shift);
            json!({
                "start": bytes.map(|bytes| json::addr(bytes.start())),
                "end": bytes.map(json::end),
                "first_frame": json::addr(range.start()),
                "pages": range.count(),
            })
        };
        let segments: Vec<Value> = self
            .segments()
            .into_iter()
            .map(|(range, ram, pages)| {
                json!({
                    "range": place(range),
                    "node": self.node(&ram),
                    "free_list": ram.free_list,
                    "arena": machine.arena_name(ram.arena),
                    "by_state": pages,
                })
            })
            .collect();
        let nodes: Vec<Value> = self
            .nodes(machine)
            .into_iter()
            .map(|(id, node)| {
                let [online, offline] = node.blocks.map(|blocks| -> Vec<Value> {
                    let place =
                        |r: &AddrRange| json!({ "start": json::addr(r.start()), "end": json::end(*r) });
                    blocks.iter().map(place).collect()
                });
                json!({
                    "node": id,
                    "bytes_said": node.said,
                    "by_state": node.pages,
                    "largest_free_run": node.longest.map(place),
                    "online_blocks": online,
                    "offline_blocks": offline,
                })
            })
            .collect();
        json!({
            "schema": SCHEMA,
            "page_size": 1u64 << shift,
            "block_size": machine.numa.block_size,
            "segments": segments,
            "free_lists": self.lists().into_iter().map(|(list, pages)| json!({ "list": list, "free_pages": pages })).collect::<Vec<_>>(),
            "nodes": nodes,
            "warnings": machine.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}
