//! Emits a command line for QEMU (7.2 or later): a machine with the same nodes, distances, speeds, CXL windows and PCI
//! hierarchy.
//!
//! QEMU numbers nodes and CPUs from 0, so they are renumbered where necessary. A function for which QEMU has no device
//! is replaced by a `pci-testdev` whose BAR is as large as the function's largest memory BAR, rounded up to a power of
//! two. The guest's firmware assigns addresses and bus numbers.

mod line;
mod nodes;
mod pci;

use super::EmitError;
use crate::topo::Topo;
use line::{Line, bytes};
use nodes::Nodes;
use pci::Hierarchy;
use pmem_import::{CxlMemory, Machine};
use std::fmt::Write;

/// Emits the command line, one option per line. Comments at the top name what could not be carried over.
///
/// # Errors
/// Returns [`EmitError::NoMemory`] or [`EmitError::NoSize`] if no source says how much memory there is.
pub fn qemu(topo: &Topo, machine: &Machine) -> Result<String, EmitError> {
    let mut line = Line::default();
    let nodes = Nodes::of(topo, machine)?;
    let speeds = nodes::speeds(topo, &nodes);
    let hierarchy = Hierarchy::of(topo, &machine.cxl);
    machine_option(&mut line, &machine.cxl, &hierarchy, !speeds.is_empty());
    nodes.options(&mut line);
    nodes::distances(topo, &nodes, &mut line);
    speeds.into_iter().for_each(|option| line.option(&option));
    // Make ports hot-plug by pciehp, like real hardware, instead of ACPI.
    if !topo.functions.is_empty() {
        line.option("-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off");
    }
    hierarchy.options(&nodes, &mut line);
    Ok(line.print())
}

fn machine_option(line: &mut Line, cxl: &CxlMemory, hierarchy: &Hierarchy<'_>, has_speeds: bool) {
    let mut option = "-machine q35".to_owned();
    if has_speeds {
        option += ",hmat=on";
    }
    if hierarchy.has_cxl() {
        option += ",cxl=on";
    }
    for (i, window) in cxl.windows.iter().enumerate() {
        for (target, id) in window.bridges.iter().enumerate() {
            let _ = write!(option, ",cxl-fmw.{i}.targets.{target}=cxl.{}", hierarchy.cxl_bridge(*id));
        }
        let _ = write!(option, ",cxl-fmw.{i}.size={}", bytes(window.range.len()));
        if let Some(sharing) = window.sharing.as_ref().filter(|sharing| sharing.ways > 1) {
            let _ = write!(option, ",cxl-fmw.{i}.interleave-granularity={}", sharing.granularity);
            if !sharing.maps.is_empty() || sharing.is_unknown {
                line.note(format!("CXL window {i}: QEMU has no XOR maps, its interleave is modulo"));
            }
        }
    }
    line.option(&option);
}
