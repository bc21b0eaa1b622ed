//! `pmem topo`.

use crate::args::Args;
use crate::show::{self, Styles};
use crate::source::open;
use crate::{Failure, SCHEMA, Status, json};
use pmem_core::{AddrRange, ArenaId, SpanState, State, Way};
use pmem_import::{Function, Machine, Node};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write;

/// Nodes whose distances are shown as a table.
const WIDEST: usize = 16;

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<Status, Failure> {
    let machine = open(args)?;
    if args.json {
        writeln!(out, "{:#}", topo_json(&machine))?;
    } else {
        out.write_all(text(&machine, Styles::new(args.color)).as_bytes())?;
    }
    Ok(Status::Done)
}

fn topo_json(machine: &Machine) -> Value {
    let state = machine.state();
    let arenas: Vec<Value> = state.arenas().map(|(id, ..)| arena_json(machine, id)).collect();
    let links: Vec<Value> = state
        .links()
        .map(|(id, link)| {
            let nearer =
                if link.to_right.metric.is_reachable() { link.to_right.metric } else { link.to_left.metric };
            json!({
                "name": machine.link_name(id),
                "left": machine.arena_name(link.left),
                "right": machine.arena_name(link.right),
                "metric": json::metric(nearer),
                "to_right": json::direction(state, id, Way::ToRight, &link.to_right),
                "to_left": json::direction(state, id, Way::ToLeft, &link.to_left),
            })
        })
        .collect();
    json!({
        "schema": SCHEMA,
        "arenas": arenas,
        "interconnects": links,
        "nodes": machine.numa.all.iter().map(|node| node_json(machine, node)).collect::<Vec<_>>(),
        "distances": distances_json(machine),
        "functions": machine.functions.iter().map(function_json).collect::<Vec<_>>(),
        "warnings": machine.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn arena_json(machine: &Machine, id: ArenaId) -> Value {
    let state = machine.state();
    let (Some(info), Some(arena)) = (state.info(id), state.arena(id)) else { return Value::Null };
    let spans: Vec<Value> = arena
        .spans()
        .map(|(range, span)| {
            let mut value = json!({
                "start": json::addr(range.start()),
                "end": json::end(range),
                "state": json::state_word(span.state),
            });
            json::merge(&mut value, json!(json::AttrsJson::from(span.attrs)));
            value
        })
        .collect();
    let regions: Vec<Value> = arena
        .regions()
        .map(|(range, record)| {
            let mut value = json!({
                "start": json::addr(range.start()),
                "end": json::end(range),
                "name": machine.region_name(record.id),
                "refs": machine.manager.refs(record.id).unwrap_or(0),
            });
            json::merge(&mut value, json!(json::AttrsJson::from(state.effective(&record))));
            value
        })
        .collect();
    json!({ "name": info.name, "type": info.kind.words().to_string(), "spans": spans, "regions": regions })
}

fn node_json(machine: &Machine, node: &Node) -> Value {
    let arenas = machine.nodes.get(&node.id).copied().unwrap_or_default();
    let access: Vec<Value> = node
        .access
        .iter()
        .zip(["access0", "access1"])
        .filter_map(|(access, class)| {
            let access = access.as_ref()?;
            Some(json!({
                "class": class,
                "initiators": access.initiators,
                "read_latency_ns": access.performance.read_latency,
                "write_latency_ns": access.performance.write_latency,
                "read_bandwidth_mib_s": access.performance.read_bandwidth,
                "write_bandwidth_mib_s": access.performance.write_bandwidth,
            }))
        })
        .collect();
    json!({
        "id": node.id,
        "cpus": node.cpus,
        "bytes": node.bytes,
        "view": arenas.view.map(|arena| machine.arena_name(arena)),
        "ram": arenas.ram.map(|arena| machine.arena_name(arena)),
        "access": access,
    })
}

fn distances_json(machine: &Machine) -> Value {
    let distances = machine.distances();
    let nodes: Vec<u32> = distances.rows.keys().copied().collect();
    json!({
        "nodes": nodes,
        "columns": distances.columns,
        "matrix": distances.rows.values().collect::<Vec<_>>(),
    })
}

fn function_json(function: &Function) -> Value {
    json!({
        "address": function.bdf.to_string(),
        "bus": format!("pci {:04x}:{:02x}", function.bdf.domain, function.bdf.bus),
        "class": function.class.map(|class| format!("{class:#08x}")),
        "kind": function.class_name(),
        "vendor": function.id.map(|(vendor, _)| format!("{vendor:#06x}")),
        "device": function.id.map(|(_, device)| format!("{device:#06x}")),
        "node": function.numa,
    })
}

fn text(machine: &Machine, styles: Styles) -> String {
    let mut out = String::new();
    let heading =
        |out: &mut String, text: &str| out.push_str(&format!("{}\n", show::styled(styles.heading, text)));
    if !machine.numa.all.is_empty() {
        heading(&mut out, "NUMA nodes");
        out.push_str(&show::lines(&nodes(machine)));
        out.push_str(&distances(machine));
    }
    heading(&mut out, if machine.net.is_some() { "Nodes" } else { "Arenas" });
    out.push_str(&show::lines(&arenas(machine)));
    let roots: Vec<&Function> = machine.functions.iter().filter(|f| f.parent.is_none()).collect();
    if !machine.buses.is_empty() {
        heading(&mut out, "PCI");
        let mut buses: Vec<(u32, u8)> = roots.iter().map(|f| f.root).collect();
        buses.extend(machine.buses.keys().filter(|_| roots.is_empty()));
        buses.dedup();
        for bus in buses {
            bus_text(machine, bus, 1, &mut out);
        }
    }
    out.push_str(&show::warnings(&machine.warnings, &styles));
    out
}

fn nodes(machine: &Machine) -> comfy_table::Table {
    let mut table = show::table(&["node", "CPUs", "memory", "at"], &[0, 2]);
    for node in &machine.numa.all {
        let cpus = match node.cpus.as_deref() {
            None => "unknown".to_owned(),
            Some([]) => "none".to_owned(),
            Some(cpus) => pmem_import::show_list(cpus),
        };
        let ram = machine.nodes.get(&node.id).and_then(|arenas| arenas.ram);
        let spans = ram.map_or(Vec::new(), |ram| spans(machine.state(), ram));
        let at = match (node.bytes, spans.is_empty()) {
            (Some(0) | None, true) => String::new(),
            (Some(_), true) => "unknown addresses".to_owned(),
            _ => brief(&spans),
        };
        let memory = node.bytes.map_or("unknown".to_owned(), show::size);
        table.add_row([node.id.to_string(), cpus, memory, at]);
    }
    table
}

fn distances(machine: &Machine) -> String {
    let distances = machine.distances();
    if distances.rows.len() < 2 {
        return String::new();
    }
    if distances.columns.len() > WIDEST {
        let mut all: Vec<u32> = distances.rows.values().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        let all: Vec<String> = all.iter().map(u32::to_string).collect();
        return format!("  distances: {} (the matrix is in --json)\n", all.join(", "));
    }
    let mut header = vec!["distance".to_owned()];
    header.extend(distances.columns.iter().map(u32::to_string));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let right: Vec<usize> = (0..header.len()).collect();
    let mut table = show::table(&header, &right);
    for (id, row) in &distances.rows {
        table.add_row(std::iter::once(id).chain(row).map(u32::to_string));
    }
    show::lines(&table)
}

/// Every arena but those of PCI buses, which have a tree of their own.
fn arenas(machine: &Machine) -> comfy_table::Table {
    let mut table = show::table(&["arena", "type", "own", "free", "regions", "at"], &[2, 3, 4]);
    let of_bus = |id: ArenaId| machine.buses.values().any(|bus| bus.memory == id || bus.io == id);
    for (id, info, arena) in machine.state().arenas().filter(|(id, ..)| !of_bus(*id)) {
        let spans = spans(machine.state(), id);
        let own = spans.iter().fold(0u64, |sum, range| sum.saturating_add(range.len()));
        let free = arena.free_in(AddrRange::ALL).fold(0u64, |sum, (gap, _)| sum.saturating_add(gap.len()));
        let bytes = |n: u64| if n == 0 { "-".to_owned() } else { show::size(n) };
        let name = match machine.net.as_ref().and_then(|net| net.node.get(&id)) {
            Some(node) => format!("{node}: {}", info.name),
            None => info.name.clone(),
        };
        let regions = arena.regions().count().to_string();
        table.add_row([name, info.kind.words().to_string(), bytes(own), bytes(free), regions, brief(&spans)]);
    }
    table
}

fn spans(state: &State, arena: ArenaId) -> Vec<AddrRange> {
    let own = state.arena(arena).into_iter().flat_map(|a| a.spans());
    let mut joined: Vec<AddrRange> = Vec::new();
    for (range, _) in own.filter(|(_, span)| span.state != SpanState::Lent) {
        match joined.last_mut() {
            Some(last) if last.end() == Some(range.start()) => *last = last.hull(range),
            _ => joined.push(range),
        }
    }
    joined
}

/// The first few ranges.
fn brief(ranges: &[AddrRange]) -> String {
    let mut text: Vec<String> = ranges.iter().take(3).map(|range| show::range(*range)).collect();
    if ranges.len() > 3 {
        text.push(format!("and {} more", ranges.len() - 3));
    }
    text.join(", ")
}

fn bus_text(machine: &Machine, (domain, number): (u32, u8), depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let Some(bus) = machine.buses.get(&(domain, number)) else { return };
    let state = machine.state();
    let primed = |arena: ArenaId| -> Vec<AddrRange> {
        let mut all: Vec<AddrRange> =
            state.arena(arena).into_iter().flat_map(|a| a.spans()).map(|(r, _)| r).collect();
        all.dedup();
        all
    };
    let on_bus: Vec<&Function> =
        machine.functions.iter().filter(|f| (f.bdf.domain, f.bdf.bus) == (domain, number)).collect();
    let node = on_bus.iter().find_map(|f| f.numa).map_or(String::new(), |node| format!(", node {node}"));
    let (memory, io) = (joined_brief(&primed(bus.memory)), joined_brief(&primed(bus.io)));
    let _ = writeln!(out, "{indent}bus {domain:04x}:{number:02x}{node}: memory {memory}; I/O {io}");
    for function in on_bus {
        let id = function.id.map_or(String::new(), |(vendor, device)| format!(" {vendor:04x}:{device:04x}"));
        let _ = writeln!(out, "{indent}  {} {}{id}", function.bdf, function.class_name());
        for (kind, region) in machine.bars.get(&function.bdf).into_iter().flatten() {
            let (Ok(range), Ok(attrs)) = (machine.manager.range_of(*region), machine.manager.attrs(*region))
            else {
                continue;
            };
            let label = machine.region_name(*region);
            let driver = label.find('(').map_or(String::new(), |at| format!(" {}", &label[at..]));
            let (place, attrs) = (show::range(range), show::attrs(attrs));
            let _ = writeln!(out, "{indent}    {kind} {place} {} {attrs}{driver}", show::size(range.len()));
        }
        if let Some(below) = machine.bridges.get(&function.bdf) {
            bus_text(machine, *below, depth + 2, out);
        }
    }
}

fn joined_brief(ranges: &[AddrRange]) -> String {
    if ranges.is_empty() { "none".to_owned() } else { brief(ranges) }
}
