//! Emits a device tree: memory, CPUs, distances, host bridges (Devicetree Specification 0.4, and Linux's NUMA
//! bindings).

use super::{EmitError, kinds, last_bus};
use crate::topo::{Interconnect, Topo};
use crate::units::Extent;
use pmem_import::{Machine, MemoryKind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Emits a device tree as source (`.dts`).
///
/// # Errors
/// Returns [`EmitError::NoMemory`] if no source says where memory is.
pub fn dts(topo: &Topo, machine: &Machine) -> Result<String, EmitError> {
    let kinds = kinds(machine);
    if !topo
        .arenas
        .iter()
        .any(|arena| !arena.spans.is_empty() && kinds.get(&arena.name).is_some_and(|kind| kind.is_ram()))
    {
        return Err(EmitError::NoMemory);
    }
    let mut out = String::from("/dts-v1/;\n\n/ {\n\t#address-cells = <2>;\n\t#size-cells = <2>;\n");
    cpus(topo, &mut out);
    memory(topo, &kinds, &mut out);
    distances(topo, &mut out);
    host_bridges(topo, machine, &mut out);
    out.push_str("};\n");
    Ok(out)
}

fn cpus(topo: &Topo, out: &mut String) {
    if topo.nodes.iter().all(|node| node.cpus.is_none()) {
        return;
    }
    out.push_str("\n\tcpus {\n\t\t#address-cells = <1>;\n\t\t#size-cells = <0>;\n");
    for node in &topo.nodes {
        for cpu in node.cpus.iter().flatten() {
            let _ = writeln!(
                out,
                "\n\t\tcpu@{cpu:x} {{\n\t\t\tdevice_type = \"cpu\";\n\t\t\treg = <{cpu:#x}>;\n\t\t\tnuma-node-id = <{}>;\n\t\t}};",
                node.id
            );
        }
    }
    out.push_str("\t};\n");
}

fn memory(topo: &Topo, kinds: &BTreeMap<String, MemoryKind>, out: &mut String) {
    let arenas = topo.arenas.iter().filter(|arena| !arena.spans.is_empty());
    for (arena, kind) in arenas.filter_map(|arena| Some((arena, *kinds.get(&arena.name)?))) {
        let node = topo.nodes.iter().find(|node| node.ram.as_ref() == Some(&arena.name));
        let spans = arena.extents();
        let cells: Vec<String> =
            spans.iter().map(|range| format!("{} {}", cells(range.start.0), cells(range.len()))).collect();
        let start = spans[0].start.0;
        let _ = match kind {
            MemoryKind::Persistent => {
                writeln!(out, "\n\tpmem@{start:x} {{\n\t\tcompatible = \"pmem-region\";")
            }
            // The specification has no node for special-purpose memory.
            MemoryKind::Special => {
                let _ = writeln!(
                    out,
                    "\n\t/* {}: memory for a special purpose at {start:#x} is left out */",
                    arena.name
                );
                continue;
            }
            _ => writeln!(out, "\n\tmemory@{start:x} {{\n\t\tdevice_type = \"memory\";"),
        };
        let _ = writeln!(out, "\t\treg = <{}>;", cells.join(">,\n\t\t      <"));
        if let Some(node) = node {
            let _ = writeln!(out, "\t\tnuma-node-id = <{}>;", node.id);
        }
        out.push_str("\t};\n");
    }
}

fn distances(topo: &Topo, out: &mut String) {
    let table = &topo.distances;
    if table.nodes.len() < 2 {
        return;
    }
    let mut rows = Vec::new();
    for (from, row) in table.nodes.iter().zip(&table.matrix) {
        rows.extend(table.columns.iter().zip(row).map(|(to, distance)| format!("{from} {to} {distance}")));
    }
    let _ = writeln!(
        out,
        "\n\tdistance-map {{\n\t\tcompatible = \"numa-distance-map-v1\";\n\t\tdistance-matrix = <{}>;\n\t}};",
        rows.join(">,\n\t\t\t\t  <")
    );
}

fn host_bridges(topo: &Topo, machine: &Machine, out: &mut String) {
    for bus in topo.buses.iter().filter(|bus| bus.above.is_none()) {
        let arena = format!("pci {}", bus.bus);
        let above = |link: &&Interconnect| link.right == arena && link.to_right.windows.is_some();
        let Some(link) = topo.interconnects.iter().find(above) else { continue };
        let (segment, first) = bus.bus.split_once(':').unwrap_or(("0", "0"));
        let hex = |text: &str| u32::from_str_radix(text, 16).unwrap_or(0);
        let (first, last) = (u64::from(hex(first)), u64::from(last_bus(topo, &bus.bus)));
        // A host bridge needs an address for its node: its configuration space, 1 MiB per bus.
        let Some(ecam) = ecam(topo, machine, segment).map(|all| all.start.0.saturating_add(first << 20))
        else {
            let _ = writeln!(
                out,
                "\n\t/* host bridge of {}: no source says where its configuration space is */",
                bus.bus
            );
            continue;
        };
        let windows = link.to_right.windows.iter().flatten();
        let ranges: Vec<String> = windows
            .map(|window| {
                let (to, from, bytes) = (window.to.0, window.range.start.0, window.range.len());
                // The space code is 2 for 32-bit memory and 3 for 64-bit memory (PCI Bus Binding to Open Firmware 2.1,
                // section 2.2.1.1).
                let code = if to.saturating_add(bytes - 1) >> 32 == 0 { 0x0200_0000u32 } else { 0x0300_0000 };
                format!("{code:#010x} {} {} {}", cells(to), cells(from), cells(bytes))
            })
            .collect();
        let _ = writeln!(out, "\n\tpcie@{ecam:x} {{\n\t\tdevice_type = \"pci\";");
        out.push_str("\t\tcompatible = \"pci-host-ecam-generic\";\n\t\t#address-cells = <3>;\n\t\t#size-cells = <2>;\n");
        let _ = writeln!(out, "\t\treg = <{} {}>;", cells(ecam), cells((last - first + 1) << 20));
        let _ =
            writeln!(out, "\t\tlinux,pci-domain = <{}>;\n\t\tbus-range = <{first} {last}>;", hex(segment));
        if !ranges.is_empty() {
            let _ = writeln!(out, "\t\tranges = <{}>;", ranges.join(">,\n\t\t\t <"));
        }
        if let Some(node) = bus.node {
            let _ = writeln!(out, "\t\tnuma-node-id = <{node}>;");
        }
        out.push_str("\t};\n");
    }
}

/// Returns a segment's configuration space (ECAM), as Linux's resource list or the ACPI tables give it.
fn ecam(topo: &Topo, machine: &Machine, segment: &str) -> Option<Extent> {
    let is_it = |name: &str| {
        let words = ["PCI ECAM of segment ", "PCI ECAM ", "PCI MMCONFIG "];
        words.iter().any(|word| name.strip_prefix(word).is_some_and(|rest| rest.starts_with(segment)))
    };
    let listed =
        machine.names.memory().lines.iter().find(|line| is_it(&line.name)).map(|line| line.range.into());
    let region = || topo.arenas.iter().flat_map(|arena| &arena.regions).find(|region| is_it(&region.name));
    listed.or_else(|| region().map(|region| region.range))
}

/// Formats a 64-bit number as two cells.
fn cells(number: u64) -> String {
    format!("{:#x} {:#x}", number >> 32, number & 0xffff_ffff)
}
