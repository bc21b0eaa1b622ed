//! The graph of arenas for Graphviz.

use crate::topo::{Topo, Way};
use crate::units::size;
use std::io::{self, Write};

/// Writes the graph: arenas, and interconnects with what each forwards and what it costs.
///
/// # Errors
/// Returns the errors of `out`.
pub fn dot(topo: &Topo, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "digraph machine {{")?;
    writeln!(
        out,
        "  rankdir=LR; node [shape=box, fontname=\"sans-serif\"]; edge [fontname=\"sans-serif\", fontsize=9];"
    )?;
    for arena in &topo.arenas {
        let own = if arena.own > 0 { format!("\\n{}", size(arena.own)) } else { String::new() };
        writeln!(
            out,
            "  {} [label=\"{}\\n{}{own}\"];",
            quoted(&arena.name),
            inner(&arena.name),
            inner(&arena.kind)
        )?;
    }
    for link in &topo.interconnects {
        let ways = [(&link.left, &link.right, &link.to_right), (&link.right, &link.left, &link.to_left)];
        for (from, to, way) in ways.into_iter().filter(|(.., way)| way.kind != "closed") {
            writeln!(out, "  {} -> {} [label=\"{}\"];", quoted(from), quoted(to), inner(&told(way)))?;
        }
    }
    writeln!(out, "}}")
}

fn told(way: &Way) -> String {
    let count = way.windows.as_ref().map(Vec::len);
    let what = match count {
        Some(1) => "1 window".to_owned(),
        Some(count) => format!("{count} windows"),
        None => way.kind.clone(),
    };
    let latency = way.performance.and_then(|speed| speed.read_latency_ns).map(|ns| format!(", {ns} ns"));
    let cost = way.metric.map(|metric| format!(", cost {metric}"));
    format!("{what}{}", latency.or(cost).unwrap_or_default())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", inner(name))
}

/// Escapes a name for use inside quotes.
fn inner(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ")
}
