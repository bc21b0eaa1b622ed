//! If you have a machine's ACPI tables and want its topology in code: nodes, their CPUs and memory, what access
//! to it costs, CXL windows, and what an address is.
//!
//! The argument is anything that pmem reads: a folder or archive from `pmem gather`, tables as files, or the
//! output of `acpidump`.

use pmem_core::OwnedResolution;
use pmem_import::Machine;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Runs the example on a source, and returns its output.
pub fn run(source: &Path) -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let machine = Machine::open(&[source.to_owned()])?;
    for node in &machine.numa.all {
        let cpus =
            node.cpus.as_ref().map_or("unknown CPUs".to_owned(), |cpus| format!("{} CPUs", cpus.len()));
        let arenas = machine.nodes.get(&node.id).copied().unwrap_or_default();
        let spans = arenas.ram.and_then(|ram| machine.memory.get(&ram)).map(|memory| memory.spans.clone());
        let at: Vec<String> = spans.into_iter().flatten().map(|range| range.to_string()).collect();
        writeln!(out, "node {}: {cpus}, memory at {}", node.id, at.join(" "))?;
    }
    for (from, row) in &machine.distances().rows {
        let row: Vec<String> = row.iter().map(ToString::to_string).collect();
        writeln!(out, "from node {from}: {}", row.join(" "))?;
    }
    for window in &machine.cxl.windows {
        let ways = window.sharing.as_ref().map_or(1, |sharing| sharing.ways);
        writeln!(out, "CXL window {}: {ways} ways, host bridges {:?}", window.range, window.bridges)?;
    }
    // What a CPU of each node pays to reach the first address of each node's memory.
    for (from, arenas) in &machine.nodes {
        let Some(view) = arenas.view else { continue };
        for (to, other) in &machine.nodes {
            let memory = other.ram.and_then(|ram| machine.memory.get(&ram));
            let Some(first) = memory.and_then(|memory| memory.spans.first()) else { continue };
            if let OwnedResolution::Accept { place, .. } = machine.state().resolve(view, first.start()) {
                writeln!(out, "node {from} to node {to}: {:#x} costs {}", first.start(), place.cost)?;
            }
        }
    }
    machine.findings.iter().try_for_each(|finding| writeln!(out, "odd: {finding}"))?;
    Ok(out)
}

fn main() -> Result<(), Box<dyn Error>> {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let stored = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/machines/qemu-cxl.tar.gz");
    print!("{}", run(&given.unwrap_or_else(stored))?);
    Ok(())
}
