//! `pmem view`.

use crate::args::Args;
use crate::show::{self, Styles};
use crate::source::{open, viewer};
use crate::{Failure, SCHEMA, Status, json, names};
use pmem_core::{AddrRange, ArenaId, Attrs, Metric, What};
use pmem_import::Machine;
use serde_json::{Value, json};
use std::io::Write;

/// A line of the map.
struct Line {
    range: AddrRange,
    what: String,
    kind: &'static str,
    arena: Option<ArenaId>,
    start: Option<u64>,
    attrs: Option<Attrs>,
    cost: Option<Metric>,
    hops: Option<u32>,
}

pub(crate) fn run(
    args: &Args,
    from: Option<&str>,
    local: bool,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let machine = open(args)?;
    let viewer = viewer(&machine, from)?;
    let lines = if local { local_lines(&machine, viewer) } else { seen_lines(&machine, viewer) };
    if args.json {
        let value = json!({
            "schema": SCHEMA,
            "from": machine.arena_name(viewer),
            "local": local,
            "view": lines.iter().map(|line| line_json(&machine, line)).collect::<Vec<_>>(),
        });
        writeln!(out, "{value:#}")?;
        return Ok(Status::Done);
    }
    let styles = Styles::new(args.color);
    writeln!(
        out,
        "{}",
        show::styled(styles.heading, &format!("As seen from {}", machine.arena_name(viewer)))
    )?;
    let mut table = show::table(&["range", "size", "what", "attributes", "cost"], &[1, 4]);
    for line in &lines {
        table.add_row([
            show::range(line.range),
            show::size(line.range.len()),
            line.what.clone(),
            line.attrs.map(show::attrs).unwrap_or_default(),
            line.cost.map(|cost| cost.to_string()).unwrap_or_default(),
        ]);
    }
    let style = |line: &Line| match line.kind {
        "free" => styles.free,
        "ambiguous" | "loop" => styles.warning,
        _ => anstyle::Style::new(),
    };
    let rows: Vec<anstyle::Style> = lines.iter().map(style).collect();
    out.write_all(show::styled_lines(&table, &rows).as_bytes())?;
    if lines.is_empty() {
        writeln!(out, "  nothing: no source says what it decodes")?;
    }
    Ok(Status::Done)
}

fn seen_lines(machine: &Machine, viewer: ArenaId) -> Vec<Line> {
    let pieces = machine.state().view(viewer).into_iter();
    let mut lines: Vec<Line> = Vec::new();
    for piece in pieces {
        let (what, kind, arena, start, attrs) = match piece.what {
            What::Local { arena, start, region, attrs, state } => {
                let kind = match (region, state) {
                    (Some(_), _) => "region",
                    (None, pmem_core::SpanState::Sealed) => "sealed",
                    (None, _) => "free",
                };
                (names::place(machine, arena, region), kind, Some(arena), Some(start), Some(attrs))
            }
            What::Table { link, arena, start } => (
                format!("translated by {}", machine.link_name(link)),
                "table",
                Some(arena),
                Some(start),
                None,
            ),
            What::Interleave { links, arena, start } => {
                let all: Vec<String> = links.iter().map(|link| machine.link_name(*link)).collect();
                (format!("interleaved over {}", all.join(", ")), "interleave", Some(arena), Some(start), None)
            }
            What::Ambiguous(arenas) => {
                let all: Vec<String> = arenas.iter().map(|arena| machine.arena_name(*arena)).collect();
                (format!("ambiguous: {}", all.join(", ")), "ambiguous", None, None, None)
            }
            What::Loop => ("a loop".to_owned(), "loop", None, None, None),
        };
        let line = Line {
            range: piece.seen,
            what,
            kind,
            arena,
            start,
            attrs,
            cost: Some(piece.cost),
            hops: Some(piece.hops),
        };
        lines.push(line);
    }
    lines
}

/// What is in the arena itself: regions, free gaps, what lies behind interconnects.
fn local_lines(machine: &Machine, viewer: ArenaId) -> Vec<Line> {
    let Some(arena) = machine.state().arena(viewer) else { return Vec::new() };
    let line = |range: AddrRange, what, kind, attrs| Line {
        range,
        what,
        kind,
        arena: Some(viewer),
        start: Some(range.start()),
        attrs,
        cost: None,
        hops: None,
    };
    let regions = arena.regions().map(|(range, record)| {
        let what = machine.region_name(record.id);
        let kind = if record.alias().is_some() { "alias" } else { "region" };
        line(range, what, kind, Some(machine.state().effective(&record)))
    });
    let free = arena
        .free_in(AddrRange::ALL)
        .map(|(gap, span)| line(gap, "free".to_owned(), "free", Some(span.attrs)));
    let windows = arena.windows().map(|(range, legs)| {
        let all: Vec<String> = legs.iter().map(|leg| machine.link_name(leg.link)).collect();
        line(range, format!("behind {}", all.join(", ")), "window", None)
    });
    let sealed = arena.spans().filter(|(_, span)| span.state == pmem_core::SpanState::Sealed);
    let sealed = sealed.map(|(range, span)| line(range, "sealed".to_owned(), "sealed", Some(span.attrs)));
    let mut lines: Vec<Line> = regions.chain(free).chain(windows).chain(sealed).collect();
    lines.sort_by_key(|line| line.range.start());
    lines
}

fn line_json(machine: &Machine, line: &Line) -> Value {
    let mut value = json!({
        "start": json::addr(line.range.start()),
        "end": json::end(line.range),
        "kind": line.kind,
        "what": line.what,
        "arena": line.arena.map(|arena| machine.arena_name(arena)),
        "addr": line.start.map(json::addr),
        "cost": line.cost.map(json::metric),
        "hops": line.hops,
    });
    if let Some(attrs) = line.attrs {
        json::merge(&mut value, json!(json::AttrsJson::from(attrs)));
    }
    value
}
