//! The picture of a machine: viewers on the left, and what lies behind each interconnect further to the right.

use super::super::lanes::{Lodger, columns, first_to_last};
use super::super::{Card, Column, Draw, Kind, Matrix, Panel, Picture, Piece, Ribbon, extent, hole};
use super::{disjoint, filled, is, kind_of, notes};
use crate::topo::{ArenaSummary, CxlShare, Interconnect, NodeSummary, Topo, Way};
use crate::units::{Extent, bandwidth, size};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The most nodes that get a card each.
const CARDS: usize = 24;
/// The most nodes whose distances are shown.
const DISTANCES: usize = 16;
/// The title of the panel with memory addresses.
const MEMORY: &str = "Memory addresses";
/// The title of the column that all CPU views share.
const VIEWERS: &str = "CPUs";

impl Draw for Topo {
    fn picture(&self) -> Option<Picture> {
        let panels = [(MEMORY, false), ("I/O ports", true)];
        let panels =
            filled(panels.into_iter().map(|(title, is_io)| panel(self, title, is_io))).unwrap_or_default();
        if panels.is_empty() && self.nodes.is_empty() && self.cxl.is_empty() {
            return None;
        }
        let of = self.sources.read.first().map_or("this machine", |read| &read.source);
        let of = of.rsplit('/').find(|name| !name.is_empty()).unwrap_or(of);
        let few = self.nodes.len() > 1 && self.nodes.len() <= DISTANCES && !self.distances.matrix.is_empty();
        let name = |id: &u32| format!("node {id}");
        let mut panels = panels;
        if !self.cxl.is_empty() {
            if panels.first().is_none_or(|panel| panel.title != MEMORY) {
                panels.insert(0, Panel { title: MEMORY.to_owned(), ..Panel::default() });
            }
            panels[0].columns.extend(cxl(&self.cxl));
        }
        Some(Picture {
            title: if self.is_net {
                "A decoding net".to_owned()
            } else {
                format!("Physical address space of {of}")
            },
            cards: cards(&self.nodes),
            matrix: few.then(|| Matrix {
                title: "Distances, from rows to columns (ACPI SLIT: 10 is local)".to_owned(),
                rows: self.distances.nodes.iter().map(name).collect(),
                columns: self.distances.columns.iter().map(ToString::to_string).collect(),
                cells: self.distances.matrix.clone(),
            }),
            panels,
            notes: notes(&self.sources),
            ..Picture::default()
        })
    }
}

/// Returns a column each for CXL windows and CXL regions.
fn cxl(shares: &[CxlShare]) -> impl Iterator<Item = Column> {
    let column = |title: &str, is_region: bool| {
        let pieces = shares.iter().filter(|share| share.region.is_some() == is_region).map(|share| {
            let ways = share.ways.filter(|ways| *ways > 1).zip(share.granularity);
            let ways = ways
                .map_or(String::new(), |(ways, bytes)| format!("{ways} ways of {}: ", size(bytes.into())));
            let name = share.region.as_ref().map_or(String::new(), |name| format!("{name}, "));
            let label = format!("{name}{ways}{}", share.targets.join(", "));
            Piece { range: share.range, kind: Kind::Window, label, facts: Vec::new() }
        });
        Column { title: title.to_owned(), pieces: disjoint(pieces.collect()) }
    };
    let columns = [column("CXL windows", false), column("CXL regions", true)];
    columns.into_iter().filter(|column| !column.pieces.is_empty())
}

fn cards(nodes: &[NodeSummary]) -> Vec<Card> {
    let mut cards: Vec<Card> = nodes.iter().take(CARDS).map(card).collect();
    let rest = &nodes[nodes.len().min(CARDS)..];
    if !rest.is_empty() {
        let bytes = rest.iter().filter_map(|node| node.bytes).fold(0u64, u64::saturating_add);
        let lines = vec![format!("{} in all", size(bytes))];
        cards.push(Card { title: format!("{} more nodes", rest.len()), lines, kind: Kind::Memory });
    }
    cards
}

fn card(node: &NodeSummary) -> Card {
    let kind = node.kind.as_ref().map_or(String::new(), |kind| format!(" · {kind}"));
    let cpus = match node.cpus.as_deref() {
        None => "CPUs: not said".to_owned(),
        Some([]) => "no CPUs".to_owned(),
        Some([cpu]) => format!("CPU {cpu}"),
        Some(cpus) => format!("{} CPUs: {}", cpus.len(), pmem_import::show_list(cpus)),
    };
    let is_placed = !node.at.is_empty();
    let memory = match node.bytes {
        None => "memory: not said".to_owned(),
        Some(0) => "no memory".to_owned(),
        Some(bytes) if is_placed => size(bytes),
        Some(bytes) => format!("{}, no address", size(bytes)),
    };
    let mut lines = vec![cpus, memory];
    lines.extend(node.tier.map(|tier| format!("tier {tier}")));
    for access in node.access.iter().take(1) {
        let speed = &access.speed;
        let latency = speed.read_latency_ns.map(|ns| format!("{ns} ns"));
        let rate = speed.read_bandwidth_mib_s.map(bandwidth);
        let said: Vec<String> = latency.into_iter().chain(rate).collect();
        lines.extend((!said.is_empty()).then(|| said.join(", ")));
    }
    let kind_of = match node.bytes {
        Some(0) => Kind::Free,
        Some(_) if is_placed => Kind::Memory,
        _ => Kind::Unknown,
    };
    Card { title: format!("node {}{kind}", node.id), lines, kind: kind_of }
}

/// A range that leads from one arena to another.
struct Passage<'t> {
    from: &'t str,
    to: &'t str,
    range: Extent,
    at: u64,
    link: &'t Interconnect,
    way: &'t Way,
}

/// Builds the panel of memory addresses or of I/O ports.
fn panel(topo: &Topo, title: &str, is_io: bool) -> Panel {
    // What an emulator's other address spaces see has pictures of its own (`view`, `diff`). CPUs do not see it.
    let others: BTreeSet<&str> = topo
        .address_spaces
        .iter()
        .map(|space| space.arena.as_str())
        .filter(|name| *name != "system")
        .collect();
    let own = |arena: &&ArenaSummary| is(&arena.kind, "io") == is_io && !others.contains(arena.name.as_str());
    let arenas: Vec<&ArenaSummary> = topo.arenas.iter().filter(own).collect();
    let by_name: BTreeMap<&str, &ArenaSummary> =
        arenas.iter().map(|arena| (arena.name.as_str(), *arena)).collect();
    // The cores of a net may see different things, so each stands for itself. A machine's CPUs share one column.
    let is_view = |name: &str| {
        let arena = by_name.get(name).filter(|_| !topo.is_net);
        arena.is_some_and(|arena| is(&arena.kind, "view"))
    };
    let links: Vec<&Interconnect> = topo
        .interconnects
        .iter()
        .filter(|link| is_open(&link.to_right) || is_open(&link.to_left))
        .filter(|link| by_name.contains_key(link.left.as_str()) && by_name.contains_key(link.right.as_str()))
        .collect();
    let levels = levels(&arenas, &links, &is_view);
    let level = |name: &str| levels.get(name).copied().unwrap_or(0);
    let passages: Vec<Passage<'_>> = links
        .iter()
        .flat_map(|link| {
            [(&link.left, &link.right, &link.to_right), (&link.right, &link.left, &link.to_left)]
                .map(|(from, to, way)| (*link, from, to, way))
        })
        .filter(|(.., way)| is_open(way))
        // Follow interconnects away from the viewers only, so that no ribbon leads back.
        .filter(|(_, from, to, _)| {
            !(is_view(from) && is_view(to)) && level(from) < level(to).max(usize::from(!is_view(to)))
        })
        .flat_map(|(link, from, to, way)| {
            let ranges = ranges(way, by_name[to.as_str()]);
            ranges.into_iter().map(move |(range, at)| Passage { from, to, range, at, link, way })
        })
        .collect();

    let mut leaving: BTreeMap<&str, Vec<&Passage<'_>>> = BTreeMap::new();
    for passage in &passages {
        leaving.entry(passage.from).or_default().push(passage);
    }

    let titles: BTreeMap<&str, String> =
        topo.functions.iter().map(|f| (f.address.as_str(), told(f))).collect();
    let mut lodgers: Vec<Lodger> = Vec::new();
    let mut viewers = Vec::new();
    for arena in &arenas {
        let mut pieces: Vec<Piece> =
            arena.regions.iter().map(|region| self::region(region, arena, &titles)).collect();
        if is_view(&arena.name) {
            viewers.extend(pieces);
            continue;
        }
        let windows = leaving.get(arena.name.as_str()).into_iter().flatten();
        pieces.extend(windows.map(|passage| window(passage, by_name[passage.to])));
        pieces = disjoint(pieces);
        let holes = holes(arena, &pieces);
        pieces.extend(holes);
        pieces.sort_by_key(|piece| piece.range.start);
        lodgers.push(Lodger {
            name: arena.name.clone(),
            level: level(&arena.name).max(usize::from(!topo.is_net)),
            pieces,
        });
    }
    let mut seen = BTreeSet::new();
    let outward = passages.iter().filter(|passage| is_view(passage.from));
    let outward = outward.filter(|passage| seen.insert((passage.to, passage.range.start, passage.at)));
    viewers.extend(outward.map(|passage| window(passage, by_name[passage.to])));
    lodgers.push(Lodger { name: VIEWERS.to_owned(), level: 0, pieces: disjoint(viewers) });

    let (columns, of) = columns(lodgers, |_, names| first_to_last(names));
    let column = |name: &str| of.get(if is_view(name) { VIEWERS } else { name }).copied();
    Panel { title: title.to_owned(), columns, ribbons: ribbons(&passages, column) }
}

/// Whether a direction forwards anything. Memory without addresses also sits behind an interconnect, one that forwards
/// nothing.
fn is_open(way: &Way) -> bool {
    way.kind != "closed" && way.windows.as_ref().is_none_or(|windows| !windows.is_empty())
}

/// Computes the number of interconnects between the viewers and each arena, by breadth-first search. Without views, the
/// search starts at the arenas that nothing leads to.
fn levels<'t>(
    arenas: &[&'t ArenaSummary],
    links: &[&'t Interconnect],
    is_view: &impl Fn(&str) -> bool,
) -> BTreeMap<&'t str, usize> {
    let mut roots: Vec<&str> =
        arenas.iter().map(|arena| arena.name.as_str()).filter(|name| is_view(name)).collect();
    if roots.is_empty() {
        let into = |name: &str| {
            links.iter().any(|link| {
                link.right == name && is_open(&link.to_right) || link.left == name && is_open(&link.to_left)
            })
        };
        roots = arenas.iter().map(|arena| arena.name.as_str()).filter(|name| !into(name)).collect();
    }
    if roots.is_empty() {
        roots.extend(arenas.first().map(|arena| arena.name.as_str()));
    }
    let mut out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for link in links {
        for (from, to, way) in
            [(&link.left, &link.right, &link.to_right), (&link.right, &link.left, &link.to_left)]
        {
            if is_open(way) {
                out.entry(from).or_default().push(to);
            }
        }
    }
    let mut levels: BTreeMap<&str, usize> = roots.iter().map(|name| (*name, 0)).collect();
    let mut queue: VecDeque<&str> = roots.into();
    while let Some(name) = queue.pop_front() {
        let next = if is_view(name) { 1 } else { levels[name] + 1 };
        for to in out.get(name).into_iter().flatten().filter(|to| !is_view(to)) {
            if !levels.contains_key(to) {
                levels.insert(to, next);
                queue.push_back(to);
            }
        }
    }
    levels
}

/// Returns the ranges that a direction forwards, each with the address to which its start leads.
fn ranges(way: &Way, to: &ArenaSummary) -> Vec<(Extent, u64)> {
    match way.kind.as_str() {
        "windows" | "yielding windows" => {
            let mut joined: Vec<(Extent, u64)> = Vec::new();
            let windows = way.windows.iter().flatten();
            for window in windows {
                match joined.last_mut() {
                    Some((range, at))
                        if range.end.0 == u128::from(window.range.start.0)
                            && at.wrapping_add(range.len()) == window.to.0 =>
                    {
                        range.end = window.range.end;
                    }
                    _ => joined.push((window.range, window.to.0)),
                }
            }
            joined
        }
        "interleave" | "table" => match (way.start, way.end) {
            (Some(start), Some(end)) => vec![(Extent { start, end }, way.to.map_or(start.0, |to| to.0))],
            _ => Vec::new(),
        },
        // An identity mapping forwards everything, so draw only what exists on the other side.
        "identity" => to.extents().into_iter().map(|range| (range, range.start.0)).collect(),
        _ => Vec::new(),
    }
}

/// Describes a function in a few words.
fn told(function: &crate::topo::FunctionSummary) -> String {
    let driver = function.driver.as_ref().map(|driver| format!(", driver {driver}"));
    let title = function.title.clone().unwrap_or_else(|| function.kind.clone());
    format!("{title}{}", driver.unwrap_or_default())
}

fn region(region: &crate::RegionSummary, arena: &ArenaSummary, titles: &BTreeMap<&str, String>) -> Piece {
    let function = region.name.split(' ').next().and_then(|address| titles.get(address));
    let attrs = region.attrs.to_string();
    let facts =
        function.cloned().into_iter().chain([arena.name.clone(), attrs]).filter(|fact| !fact.is_empty());
    let label = function.map_or(region.name.clone(), |told| format!("{} · {told}", region.name));
    Piece { range: region.range, kind: kind_of(&region.attrs, &arena.kind), label, facts: facts.collect() }
}

fn window(passage: &Passage<'_>, to: &ArenaSummary) -> Piece {
    let kind = if is(&to.kind, "ram") { Kind::Memory } else { Kind::Window };
    Piece { range: passage.range, kind, label: passage.to.to_owned(), facts: told_of(passage) }
}

fn told_of(passage: &Passage<'_>) -> Vec<String> {
    let (range, way) = (passage.range, passage.way);
    let mut facts = vec![format!("{} {range}, to {:#x} of {}", passage.link.name, passage.at, passage.to)];
    if let (Some(ways), Some(bytes)) = (way.ways, way.granularity) {
        facts.push(format!("interleaved: {ways} ways of {}", size(bytes)));
    }
    facts.extend(way.page.map(|page| format!("translated in pages of {}", size(page))));
    facts.extend(way.metric.map(|metric| format!("cost {metric}")));
    facts
}

/// Returns the pieces for ranges that nothing occupies.
fn holes(arena: &ArenaSummary, pieces: &[Piece]) -> Vec<Piece> {
    let mut holes = Vec::new();
    let mut hole = |start: u128, end: u128| {
        let bytes = u64::try_from(end.saturating_sub(start)).unwrap_or(u64::MAX);
        let gap = u64::try_from(start).ok().and_then(|start| extent(start, bytes));
        holes.extend(gap.map(|gap| unused(arena, gap)));
    };
    for span in arena.extents() {
        let mut at = u128::from(span.start.0);
        let first = pieces.partition_point(|piece| piece.range.end.0 <= at);
        for piece in &pieces[first..] {
            let start = u128::from(piece.range.start.0);
            if start >= span.end.0 {
                break;
            }
            hole(at, start);
            at = piece.range.end.0;
        }
        hole(at, span.end.0);
    }
    holes
}

fn unused(arena: &ArenaSummary, gap: Extent) -> Piece {
    if is(&arena.kind, "ram") {
        let facts = vec!["memory that no source says is in use".to_owned()];
        return Piece { range: gap, kind: Kind::Memory, label: arena.name.clone(), facts };
    }
    let mut piece = hole(gap);
    piece.facts.push(arena.name.clone());
    piece
}

/// Makes one ribbon for each passage. Passages that lead from and to the same addresses, like those of all CPUs, share
/// a ribbon that shows the range of their costs.
fn ribbons(passages: &[Passage<'_>], column: impl Fn(&str) -> Option<usize>) -> Vec<Ribbon> {
    let mut alike: BTreeMap<(usize, u64, usize, u64, u64), Vec<&Passage<'_>>> = BTreeMap::new();
    for passage in passages {
        if let (Some(from), Some(to)) = (column(passage.from), column(passage.to)) {
            let key = (from, passage.range.start.0, to, passage.at, passage.range.len());
            alike.entry(key).or_default().push(passage);
        }
    }
    let ribbon = |((from, start, to, at, bytes), all): ((usize, u64, usize, u64, u64), Vec<&Passage<'_>>)| {
        let speeds = || all.iter().filter_map(|passage| passage.way.performance);
        let latency = speeds().filter_map(|speed| speed.read_latency_ns).min();
        let metrics = || all.iter().filter_map(|passage| passage.way.metric);
        let label = latency.map(|ns| format!("{ns} ns")).or_else(|| {
            let (least, most) = (metrics().min()?, metrics().max()?);
            // A default cost of one was measured by nobody, so do not print it.
            let is_said = all.iter().any(|passage| passage.link.measured);
            is_said.then(|| if least == most { least.to_string() } else { format!("{least}–{most}") })
        });
        Ribbon {
            left: (from, start),
            right: (to, at),
            bytes,
            label,
            bandwidth: speeds().filter_map(|speed| speed.read_bandwidth_mib_s).max(),
            facts: all.iter().take(12).flat_map(|passage| told_of(passage)).collect(),
        }
    };
    alike.into_iter().map(ribbon).collect()
}
