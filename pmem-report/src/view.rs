//! The address map as an arena or a device sees it.

use crate::attrs::{AttrWords, metric};
use crate::names::{self, Vacancy};
use crate::sources::Sources;
use crate::units::{Addr, Extent};
use pmem_core::{AddrRange, ArenaId, PrimedSpan, SpanState, ViewTarget};
use pmem_import::Machine;
use serde::Serialize;

/// An address map, in order of address.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct View {
    /// The arena whose view this is.
    pub from: String,
    /// Whether the map shows only the arena itself, without following its interconnects.
    pub local: bool,
    /// Why the map may be incomplete; null if nothing is known to be missing.
    pub unknown: Option<String>,
    /// The ranges of the map, in order of address.
    pub view: Vec<ViewLine>,
    /// The sources that were read.
    #[serde(flatten)]
    pub sources: Sources,
}

/// One range of an address map.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ViewLine {
    /// The range, in the viewer's addresses.
    #[serde(flatten)]
    pub range: Extent,
    /// `region`, `free`, `bad` (RAM), `sealed`, `alias`, `window`, `table`, `interleave`, `ambiguous` or `loop`.
    pub kind: String,
    /// What is there, in words.
    pub what: String,
    /// The names that sources give to the range's first address, innermost first.
    pub names: Vec<String>,
    /// The arena that decodes the range; null if it is ambiguous or a loop.
    pub arena: Option<String>,
    /// The type of that arena.
    #[serde(skip)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub arena_kind: String,
    /// The address in that arena at which the range starts.
    pub addr: Option<Addr>,
    /// The cost of reaching it; null in a local map, and if it is unreachable.
    pub cost: Option<u32>,
    /// The number of interconnects crossed; null in a local map.
    pub hops: Option<u32>,
    /// The attributes of the region or free space; null if none apply.
    #[serde(flatten)]
    pub attrs: Option<AttrWords>,
}

impl View {
    /// Maps everything that an arena sees, through any number of interconnects.
    ///
    /// # Examples
    ///
    /// The CPUs' view of RAM and of a root bus with one BAR:
    ///
    /// ```
    /// use pmem_import::{Machine, Sources};
    /// use pmem_report::View;
    ///
    /// let mut iomem: &[u8] = b"\
    /// 00100000-7fffffff : System RAM
    /// 80000000-febfffff : PCI Bus 0000:00
    ///   e0000000-efffffff : 0000:00:02.0
    ///     e0000000-e07fffff : efifb
    /// ";
    /// let mut sources = Sources::default();
    /// sources.add_stream("iomem", &mut iomem)?;
    /// let machine = Machine::read(&mut sources)?;
    ///
    /// let view = View::of(&machine, machine.system);
    /// let map: Vec<String> = view.view.iter().map(|line| format!("{} {}", line.range, line.kind)).collect();
    /// assert_eq!(map, [
    ///     "0x100000..0x80000000 free",
    ///     "0x80000000..0xe0000000 free",
    ///     "0xe0000000..0xf0000000 region",
    ///     "0xf0000000..0xfec00000 free",
    /// ]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(machine: &Machine, viewer: ArenaId) -> Self {
        let view = seen_lines(machine, viewer);
        Self::with(machine, viewer, view, false)
    }

    /// Maps the arena itself: its regions, free gaps, and windows to other arenas.
    pub fn local(machine: &Machine, viewer: ArenaId) -> Self {
        let view = local_lines(machine, viewer);
        Self::with(machine, viewer, view, true)
    }

    fn with(machine: &Machine, viewer: ArenaId, view: Vec<ViewLine>, local: bool) -> Self {
        let unknown = machine.unknown_ways.iter().find(|arena| **arena == viewer).map(|arena| {
            format!(
                "what devices on {} see of memory is not known: no source has the inbound translation (dma-ranges)",
                machine.arena_name(*arena)
            )
        });
        Self { from: machine.arena_name(viewer), local, unknown, view, sources: Sources::of(machine) }
    }
}

/// Lists everything a viewer sees, through all interconnects.
fn seen_lines(machine: &Machine, viewer: ArenaId) -> Vec<ViewLine> {
    let state = machine.state();
    let mut lines: Vec<ViewLine> = Vec::new();
    for piece in state.view(viewer) {
        let link = |link| machine.link_name(link);
        let (what, kind, place, attrs) = match piece.what {
            ViewTarget::Local { arena, start, region, attrs, state } => {
                let kind = match (region, state) {
                    (Some(_), _) => "region",
                    (None, state) => Vacancy::of(PrimedSpan { attrs, state }).word(),
                };
                (names::place(machine, (arena, start), region), kind, Some((arena, start)), Some(attrs))
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

/// Lists what lies in the arena itself.
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
    let kept = arena.spans().filter_map(|(range, span)| {
        let word = Vacancy::of(span).word();
        let is_kept = span.state != SpanState::Lent && !span.is_available();
        is_kept.then(|| line(range, word.to_owned(), word, Some(span.attrs.into())))
    });
    let mut lines: Vec<ViewLine> = regions.chain(free).chain(windows).chain(kept).collect();
    lines.sort_by_key(|line| line.range.start);
    lines
}
