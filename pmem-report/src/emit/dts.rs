//! A device tree: memory, CPUs, distances, host bridges (Devicetree Specification 0.4, and Linux's bindings for NUMA).

use super::{EmitError, last_bus};
use crate::topo::{ArenaSummary, Interconnect, Topo};
use crate::units::Extent;
use std::fmt::Write;

/// The source of a device tree.
///
/// # Errors
/// No source says where memory is.
pub fn dts(topo: &Topo) -> Result<String, EmitError> {
    if topo.nodes.iter().all(|node| node.at.is_empty()) && !topo.arenas.iter().any(is_memory) {
        return Err(EmitError::NoMemory);
    }
    let mut out = String::from("/dts-v1/;\n\n/ {\n\t#address-cells = <2>;\n\t#size-cells = <2>;\n");
    cpus(topo, &mut out);
    memory(topo, &mut out);
    distances(topo, &mut out);
    host_bridges(topo, &mut out);
    out.push_str("};\n");
    Ok(out)
}

fn is_memory(arena: &ArenaSummary) -> bool {
    arena.kind == "ram" && !arena.spans.is_empty()
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

fn memory(topo: &Topo, out: &mut String) {
    for arena in topo.arenas.iter().filter(|arena| is_memory(arena)) {
        let node = topo.nodes.iter().find(|node| node.ram.as_ref() == Some(&arena.name));
        let mut spans: Vec<Extent> = Vec::new();
        for span in &arena.spans {
            match spans.last_mut() {
                Some(last) if last.end.0 == u128::from(span.range.start.0) => last.end = span.range.end,
                _ => spans.push(span.range),
            }
        }
        let cells: Vec<String> =
            spans.iter().map(|range| format!("{} {}", cells(range.start.0), cells(range.len()))).collect();
        let _ = writeln!(out, "\n\tmemory@{:x} {{\n\t\tdevice_type = \"memory\";", spans[0].start.0);
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

fn host_bridges(topo: &Topo, out: &mut String) {
    for (number, bus) in topo.buses.iter().filter(|bus| bus.above.is_none()).enumerate() {
        let arena = format!("pci {}", bus.bus);
        let above = |link: &&Interconnect| link.right == arena && link.to_right.windows.is_some();
        let Some(link) = topo.interconnects.iter().find(above) else { continue };
        let windows = link.to_right.windows.iter().flatten();
        let ranges: Vec<String> = windows
            .map(|window| {
                let (to, from, bytes) = (window.to.0, window.range.start.0, window.range.len());
                // Space code: 32-bit memory, or 64-bit (PCI Bus Binding to Open Firmware 2.1, section 2.2.1.1).
                let code = if to.saturating_add(bytes - 1) >> 32 == 0 { 0x0200_0000u32 } else { 0x0300_0000 };
                format!("{code:#010x} {} {} {}", cells(to), cells(from), cells(bytes))
            })
            .collect();
        let ecam = ecam(topo, &bus.bus);
        let unit = ecam.map_or(number as u64, |range| range.start.0);
        let _ = writeln!(out, "\n\tpcie@{unit:x} {{\n\t\tdevice_type = \"pci\";");
        out.push_str("\t\tcompatible = \"pci-host-ecam-generic\";\n\t\t#address-cells = <3>;\n\t\t#size-cells = <2>;\n");
        if let Some(range) = ecam {
            let _ = writeln!(out, "\t\treg = <{} {}>;", cells(range.start.0), cells(range.len()));
        }
        let (segment, first) = bus.bus.split_once(':').unwrap_or(("0", "0"));
        let hex = |text: &str| u32::from_str_radix(text, 16).unwrap_or(0);
        let last = last_bus(topo, &bus.bus);
        let _ = writeln!(
            out,
            "\t\tlinux,pci-domain = <{}>;\n\t\tbus-range = <{} {last}>;",
            hex(segment),
            hex(first)
        );
        if !ranges.is_empty() {
            let _ = writeln!(out, "\t\tranges = <{}>;", ranges.join(">,\n\t\t\t <"));
        }
        if let Some(node) = bus.node {
            let _ = writeln!(out, "\t\tnuma-node-id = <{node}>;");
        }
        out.push_str("\t};\n");
    }
}

/// Configuration space of a bus's segment, as Linux calls it in its list of resources.
fn ecam(topo: &Topo, bus: &str) -> Option<Extent> {
    let segment = bus.split(':').next()?;
    let is_it = |name: &str| {
        ["PCI ECAM of segment ", "PCI ECAM ", "PCI MMCONFIG "]
            .iter()
            .any(|word| name.strip_prefix(word).is_some_and(|rest| rest.starts_with(segment)))
    };
    let mut regions = topo.arenas.iter().flat_map(|arena| &arena.regions);
    regions.find(|region| is_it(&region.name)).map(|region| region.range)
}

/// A number of 64 bits as two cells.
fn cells(number: u64) -> String {
    format!("{:#x} {:#x}", number >> 32, number & 0xffff_ffff)
}
