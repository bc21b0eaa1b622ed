//! The address map as an arena or a device sees it.

use crate::attrs::{AttrWords, metric};
use crate::names;
use crate::sources::Sources;
use crate::units::{Addr, Extent};
use pmem_core::{AddrRange, ArenaId, ViewTarget};
use pmem_import::Machine;
use schemars::JsonSchema;
use serde::Serialize;

/// The map, in order of address.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct View {
    /// Whose.
    pub from: String,
    /// Only what is in the arena itself.
    pub local: bool,
    /// Why it may lack something.
    pub unknown: Option<String>,
    /// The map.
    pub view: Vec<ViewLine>,
    /// What was read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// A stretch of the map.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ViewLine {
    /// Its addresses.
    #[serde(flatten)]
    pub range: Extent,
    /// `region`, `free`, `sealed`, `alias`, `window`, `table`, `interleave`, `ambiguous` or `loop`.
    pub kind: String,
    /// What is there.
    pub what: String,
    /// What sources call its first address, from the inside out.
    pub names: Vec<String>,
    /// The arena in which it ends.
    pub arena: Option<String>,
    /// The arena's type.
    #[serde(skip)]
    #[schemars(skip)]
    pub arena_kind: String,
    /// Its first address there.
    pub addr: Option<Addr>,
    /// What it costs to get there.
    pub cost: Option<u32>,
    /// The interconnects crossed.
    pub hops: Option<u32>,
    /// Its attributes.
    #[serde(flatten)]
    pub attrs: Option<AttrWords>,
}

impl View {
    /// What an arena sees, whatever interconnects it takes.
    pub fn of(machine: &Machine, viewer: ArenaId) -> Self {
        let view = seen_lines(machine, viewer);
        Self::with(machine, viewer, view, false)
    }

    /// What is in the arena itself: regions, free gaps, what lies behind interconnects.
    pub fn local(machine: &Machine, viewer: ArenaId) -> Self {
        let view = local_lines(machine, viewer);
        Self::with(machine, viewer, view, true)
    }

    fn with(machine: &Machine, viewer: ArenaId, view: Vec<ViewLine>, local: bool) -> Self {
        let unknown = machine.unknown_ways.iter().find(|arena| **arena == viewer).map(|arena| {
            format!(
                "what devices of {} see of memory is not known: no source gives the way in (dma-ranges)",
                machine.arena_name(*arena)
            )
        });
        Self { from: machine.arena_name(viewer), local, unknown, view, sources: Sources::of(machine) }
    }
}

fn seen_lines(machine: &Machine, viewer: ArenaId) -> Vec<ViewLine> {
    let state = machine.state();
    let mut lines: Vec<ViewLine> = Vec::new();
    for piece in state.view(viewer) {
        let link = |link| machine.link_name(link);
        let (what, kind, place, attrs) = match piece.what {
            ViewTarget::Local { arena, start, region, attrs, state } => {
                let kind = match (region, state) {
                    (Some(_), _) => "region",
                    (None, pmem_core::SpanState::Sealed) => "sealed",
                    (None, _) => "free",
                };
                (names::place(machine, arena, region), kind, Some((arena, start)), Some(attrs))
            }
            ViewTarget::Table { link: id, arena, start } => {
                (format!("translated by {}", link(id)), "table", Some((arena, start)), None)
            }
            ViewTarget::Interleave { links, arena, start } => {
                let all: Vec<String> = links.iter().map(|id| link(*id)).collect();
                (format!("interleaved over {}", all.join(", ")), "interleave", Some((arena, start)), None)
            }
            ViewTarget::Ambiguous(arenas) => {
                let all: Vec<String> = arenas.iter().map(|arena| machine.arena_name(*arena)).collect();
                (format!("ambiguous: {}", all.join(", ")), "ambiguous", None, None)
            }
            ViewTarget::Loop => ("a loop".to_owned(), "loop", None, None),
        };
        lines.push(ViewLine {
            range: piece.seen.into(),
            kind: kind.to_owned(),
            what,
            names: place.map_or(Vec::new(), |(arena, start)| named(machine, arena, start)),
            arena: place.map(|(arena, _)| machine.arena_name(arena)),
            arena_kind: place.map_or(String::new(), |(arena, _)| kind_of(machine, arena)),
            addr: place.map(|(_, start)| Addr(start)),
            cost: metric(piece.cost),
            hops: Some(piece.hops),
            attrs: attrs.map(AttrWords::from),
        });
    }
    lines
}

fn kind_of(machine: &Machine, arena: ArenaId) -> String {
    machine.state().info(arena).map_or(String::new(), |info| info.kind.words().to_string())
}

fn named(machine: &Machine, arena: ArenaId, addr: u64) -> Vec<String> {
    let at = machine.seen_by_cpus(arena, addr);
    let of = |at| if machine.is_io(arena) { machine.names.of_port(at) } else { machine.names.of_memory(at) };
    at.map(of).unwrap_or_default().into_iter().map(str::to_owned).collect()
}

fn local_lines(machine: &Machine, viewer: ArenaId) -> Vec<ViewLine> {
    let Some(arena) = machine.state().arena(viewer) else { return Vec::new() };
    let line = |range: AddrRange, what: String, kind: &str, attrs| ViewLine {
        range: range.into(),
        kind: kind.to_owned(),
        what,
        names: named(machine, viewer, range.start()),
        arena: Some(machine.arena_name(viewer)),
        arena_kind: kind_of(machine, viewer),
        addr: Some(Addr(range.start())),
        cost: None,
        hops: None,
        attrs,
    };
    let regions = arena.regions().map(|(range, record)| {
        let kind = if record.alias().is_some() { "alias" } else { "region" };
        let attrs = machine.state().effective(&record);
        line(range, machine.region_name(record.id), kind, Some(attrs.into()))
    });
    let free = arena.free_in(AddrRange::ALL);
    let free = free.map(|(gap, span)| line(gap, "free".to_owned(), "free", Some(span.attrs.into())));
    let windows = arena.windows().map(|(range, legs)| {
        let all: Vec<String> = legs.iter().map(|leg| machine.link_name(leg.link)).collect();
        line(range, format!("behind {}", all.join(", ")), "window", None)
    });
    let sealed = arena.spans().filter(|(_, span)| span.state == pmem_core::SpanState::Sealed);
    let sealed =
        sealed.map(|(range, span)| line(range, "sealed".to_owned(), "sealed", Some(span.attrs.into())));
    let mut lines: Vec<ViewLine> = regions.chain(free).chain(windows).chain(sealed).collect();
    lines.sort_by_key(|line| line.range.start);
    lines
}
