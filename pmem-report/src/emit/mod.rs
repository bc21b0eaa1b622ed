//! Emits what is known about a machine in forms that other programs read.

mod dts;
mod firmware;
mod hwloc;
mod qemu;

pub use dts::dts;
pub use firmware::{e820, memmap};
pub use hwloc::hwloc_xml;
pub use qemu::qemu;

use crate::topo::Topo;
use pmem_import::{Machine, MemoryKind};
use std::collections::BTreeMap;

/// Why a form cannot be emitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// No source says where memory is.
    #[error("no source says where memory is")]
    NoMemory,
    /// No source says how much memory the node has.
    #[error("no source says how much memory node {0} has")]
    NoSize(u32),
    /// A node or CPU number is too large for the form, whose masks have one bit for each number.
    #[error("CPU or node number {0} is too large for this form")]
    Number(u32),
    /// No source says anything that the form could hold. The text names what is missing.
    #[error("no source says anything about {0}")]
    Nothing(&'static str),
}

/// Returns the highest bus number in the hierarchy at and below a bus.
fn last_bus(topo: &Topo, bus: &str) -> u8 {
    let number = |bus: &str| bus.split(':').nth(1).and_then(|n| u8::from_str_radix(n, 16).ok()).unwrap_or(0);
    let below = topo.buses.iter().filter(|other| other.above.as_deref() == Some(bus) && other.bus != bus);
    below.map(|other| last_bus(topo, &other.bus)).fold(number(bus), u8::max)
}

/// Returns the kind of memory of each arena, by the arena's name.
fn kinds(machine: &Machine) -> BTreeMap<String, MemoryKind> {
    machine.memory.iter().map(|(arena, memory)| (machine.arena_name(*arena), memory.kind)).collect()
}
