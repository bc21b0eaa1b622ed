//! JSON that several subcommands print.

use crate::names;
use pmem_core::{
    AddrRange, ArenaId, Attrs, Direction, Mapping, Metric, OwnedResolution, Performance, SpanState, State,
    Way,
};
use pmem_import::Machine;
use serde::Serialize;
use serde_json::{Value, json};

/// An address.
pub(crate) fn addr(addr: u64) -> String {
    format!("{addr:#x}")
}

/// The address after a range, which may be 2^64.
pub(crate) fn end(range: AddrRange) -> String {
    format!("{:#x}", u128::from(range.last()) + 1)
}

fn words(text: String) -> Vec<String> {
    if text == "-" { Vec::new() } else { text.split('+').map(str::to_owned).collect() }
}

/// Attributes as lists of words.
#[derive(Serialize)]
pub(crate) struct AttrsJson {
    usage: Vec<String>,
    prot: Vec<String>,
    props: Vec<String>,
}

impl From<Attrs> for AttrsJson {
    fn from(attrs: Attrs) -> Self {
        Self {
            usage: words(attrs.usage().words().to_string()),
            prot: words(attrs.prot().words().to_string()),
            props: words(attrs.props().words().to_string()),
        }
    }
}

pub(crate) fn state_word(state: SpanState) -> &'static str {
    match state {
        SpanState::Open => "open",
        SpanState::Sealed => "sealed",
        SpanState::Lent => "lent",
    }
}

pub(crate) fn metric(metric: Metric) -> Value {
    if metric.is_reachable() { json!(metric.get()) } else { Value::Null }
}

fn performance(performance: Performance) -> Value {
    json!({
        "read_latency_ns": performance.read_latency,
        "write_latency_ns": performance.write_latency,
        "read_bandwidth_mib_s": performance.read_bandwidth,
        "write_bandwidth_mib_s": performance.write_bandwidth,
    })
}

/// One direction of an interconnect, its windows as they stand.
pub(crate) fn direction(state: &State, link: pmem_core::LinkId, way: Way, direction: &Direction) -> Value {
    let mut out = json!({ "metric": metric(direction.metric) });
    let map = |range: AddrRange, offset: u64| json!({ "start": addr(range.start()), "end": end(range), "to": addr(range.start().wrapping_add(offset)) });
    let fields = match &direction.mapping {
        Mapping::Closed => json!({ "kind": "closed" }),
        Mapping::Identity => json!({ "kind": "identity" }),
        Mapping::Windows(windows) => {
            let now = state.windows(link, way).iter().zip(windows.pieces());
            let open: Vec<Value> = now.filter_map(|(now, w)| Some(map((*now)?, w.offset_of()))).collect();
            json!({ "kind": if windows.yields() { "yielding windows" } else { "windows" }, "windows": open })
        }
        Mapping::Interleave(share) => json!({
            "kind": "interleave",
            "start": addr(share.input().start()),
            "end": end(share.input()),
            "ways": share.ways(),
            "granularity": share.granularity(),
            "position": share.position(),
            "to": addr(share.output().start()),
        }),
        Mapping::Table(table) => json!({
            "kind": "table",
            "start": addr(table.input().start()),
            "end": end(table.input()),
            "page": table.page(),
        }),
        _ => json!({ "kind": "unknown" }),
    };
    merge(&mut out, fields);
    if direction.performance != Performance::default() {
        merge(&mut out, json!({ "performance": performance(direction.performance) }));
    }
    out
}

/// What an address resolves to.
pub(crate) fn resolution(
    machine: &Machine,
    from: ArenaId,
    asked: u64,
    resolution: &OwnedResolution,
) -> Value {
    let hops = |hops: &[pmem_core::Hop]| -> Vec<Value> {
        hops.iter()
            .map(|hop| {
                json!({
                    "from": machine.arena_name(hop.from),
                    "addr": addr(hop.addr),
                    "interconnect": machine.link_name(hop.link),
                    "cost": metric(hop.cost),
                })
            })
            .collect()
    };
    let node = |arena: ArenaId| machine.net.as_ref().and_then(|net| net.node.get(&arena).copied());
    let reason = names::reason(machine, resolution);
    let mut out = json!({ "from": machine.arena_name(from), "asked": addr(asked), "reason": reason });
    let fields = match resolution {
        OwnedResolution::Accept { place, hops: crossed } => json!({
            "result": "accept",
            "arena": machine.arena_name(place.arena),
            "node": node(place.arena),
            "addr": addr(place.addr),
            "region": place.region.map(|region| machine.region_name(region)),
            "cost": metric(place.cost),
            "hops": hops(crossed),
        }),
        OwnedResolution::Fault { arena, addr: at, hops: crossed, .. } => json!({
            "result": "fault",
            "arena": machine.arena_name(*arena),
            "node": node(*arena),
            "addr": addr(*at),
            "region": null,
            "cost": null,
            "hops": hops(crossed),
        }),
        OwnedResolution::Ambiguous(places) => json!({
            "result": "ambiguous",
            "arena": null,
            "node": null,
            "addr": null,
            "region": null,
            "cost": null,
            "hops": [],
            "places": places.iter().map(|p| json!({
                "arena": machine.arena_name(p.arena),
                "node": node(p.arena),
                "addr": addr(p.addr),
                "region": p.region.map(|region| machine.region_name(region)),
                "cost": metric(p.cost),
            })).collect::<Vec<_>>(),
        }),
        OwnedResolution::Loop(crossed) => json!({
            "result": "loop",
            "arena": null,
            "node": null,
            "addr": null,
            "region": null,
            "cost": null,
            "hops": hops(crossed),
        }),
    };
    merge(&mut out, fields);
    out
}

/// Adds the fields of one object to another.
pub(crate) fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
