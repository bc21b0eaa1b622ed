//! `pmem resolve`.

use crate::args::Args;
use crate::source::{open, viewer};
use crate::{Failure, SCHEMA, Status, json, names};
use pmem_core::{ArenaId, OwnedResolution};
use pmem_import::{Bdf, Machine, ResourceKind, parse_addr};
use serde_json::json;
use std::io::Write;

pub(crate) fn run(
    args: &Args,
    from: Option<&str>,
    addrs: &[String],
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let machine = open(args)?;
    let from = viewer(&machine, from)?;
    let addrs: Result<Vec<u64>, Failure> = addrs.iter().map(|word| address(&machine, from, word)).collect();
    let results: Vec<(u64, OwnedResolution)> =
        addrs?.into_iter().map(|addr| (addr, machine.state().resolve(from, addr))).collect();
    if args.json {
        let all = results.iter().map(|(addr, r)| json::resolution(&machine, from, *addr, r));
        let mut all: Vec<_> = all.collect();
        let mut value = json!({ "schema": SCHEMA });
        let fields = if all.len() == 1 { all.remove(0) } else { json!({ "results": all }) };
        json::merge(&mut value, fields);
        writeln!(out, "{value:#}")?;
    } else {
        for (addr, resolution) in &results {
            out.write_all(text(&machine, from, *addr, resolution).as_bytes())?;
        }
    }
    let all = results.iter().all(|(_, r)| matches!(r, OwnedResolution::Accept { .. }));
    Ok(if all { Status::Done } else { Status::No })
}

fn text(machine: &Machine, from: ArenaId, addr: u64, resolution: &OwnedResolution) -> String {
    let from = machine.arena_name(from);
    let (answer, hops) = match resolution {
        OwnedResolution::Accept { place, hops } => {
            let what = names::place(machine, place.arena, place.region);
            let arena = machine.arena_name(place.arena);
            (format!("{what}, at {:#x} of {arena}, cost {}", place.addr, place.cost), &hops[..])
        }
        OwnedResolution::Fault { hops, .. } => ("nothing".to_owned(), &hops[..]),
        OwnedResolution::Ambiguous(_) => ("ambiguous".to_owned(), &[][..]),
        OwnedResolution::Loop(hops) => ("a loop".to_owned(), &hops[..hops.len().min(8)]),
    };
    let mut text = format!("{addr:#x} from {from}: {answer}\n");
    for hop in names::path(machine, hops) {
        text.push_str(&format!("    {hop}\n"));
    }
    if let Some(reason) = names::reason(machine, resolution) {
        text.push_str(&format!("  why: {reason}\n"));
    }
    text
}

/// Reads an address; a function's BAR means where it is seen from `from`, or else where it is on its bus.
fn address(machine: &Machine, from: ArenaId, word: &str) -> Result<u64, Failure> {
    let Some((function, resource)) = word.rsplit_once(':').filter(|(f, _)| f.contains('.')) else {
        return parse_addr(word).map_err(Failure::Usage);
    };
    let bdf: Bdf = function.parse().map_err(Failure::Usage)?;
    let unknown = || Failure::Usage(format!("{resource:?} is neither bar0 to bar5, rom, nor vf0 to vf5"));
    let number = |prefix: &str| {
        resource.to_ascii_lowercase().strip_prefix(prefix)?.parse::<u8>().ok().filter(|n| *n < 6)
    };
    let kind = match (number("bar"), number("vf"), resource.eq_ignore_ascii_case("rom")) {
        (Some(bar), ..) => ResourceKind::Bar(bar),
        (_, Some(bar), _) => ResourceKind::VfBar(bar),
        (.., true) => ResourceKind::Rom,
        _ => return Err(unknown()),
    };
    if machine.function(bdf).is_none() {
        return Err(Failure::Usage(format!("no PCI function {bdf}")));
    }
    let bars = machine.bars.get(&bdf).map_or(&[][..], |bars| &bars[..]);
    let Some((_, region)) = bars.iter().find(|(k, _)| *k == kind) else {
        return Err(Failure::Other(format!("{bdf} has no {kind}, or it is not assigned")));
    };
    let placement = machine.manager.placement(*region).map_err(|e| Failure::Other(e.to_string()))?;
    let range = machine.manager.range_of(*region).map_err(|e| Failure::Other(e.to_string()))?;
    let seen = machine.state().reverse(placement.arena, range);
    let seen = seen.iter().find(|image| image.viewer == from).map(|image| image.seen.start());
    Ok(seen.unwrap_or(range.start()))
}
