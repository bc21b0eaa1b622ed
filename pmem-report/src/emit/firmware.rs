//! The memory map as firmware would give it.

use super::{EmitError, kinds};
use crate::units::{End, Extent};
use crate::view::{View, ViewLine};
use pmem_core::FirmwareMemory;
use pmem_import::{Machine, MemoryKind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The map as Linux prints it at boot: `BIOS-e820: [mem 0x…-0x…] usable`. Firmware's own, if the sources have it; else what the
/// kernel's list of resources, or the model, amounts to.
///
/// # Errors
/// No source says where memory is.
pub fn e820(machine: &Machine) -> Result<String, EmitError> {
    let mut out = String::new();
    for (range, kind) in ranges(machine)? {
        let words = match kind {
            FirmwareMemory::Usable | FirmwareMemory::Boot => "usable",
            FirmwareMemory::Unaccepted => "unaccepted",
            FirmwareMemory::AcpiTables => "ACPI data",
            FirmwareMemory::AcpiNvs => "ACPI NVS",
            FirmwareMemory::Unusable => "unusable",
            FirmwareMemory::Persistent => "persistent (type 7)",
            FirmwareMemory::SpecialPurpose => "soft reserved",
            _ => "reserved",
        };
        let _ = writeln!(out, "BIOS-e820: [mem {:#018x}-{:#018x}] {words}", range.start.0, range.end.0 - 1);
    }
    Ok(out)
}

/// The map as options of Linux's command line (`memmap=`, Documentation/admin-guide/kernel-parameters.txt): usable
/// `size@start`, ACPI tables `size#start`, reserved `size$start`, persistent `size!start`, others by their types, `size%start+type`.
///
/// # Errors
/// No source says where memory is.
pub fn memmap(machine: &Machine) -> Result<String, EmitError> {
    let mut words = vec!["memmap=exactmap".to_owned()];
    for (range, kind) in ranges(machine)? {
        let (letter, kind) = match kind {
            FirmwareMemory::Usable | FirmwareMemory::Boot | FirmwareMemory::Unaccepted => ('@', ""),
            FirmwareMemory::AcpiTables => ('#', ""),
            FirmwareMemory::AcpiNvs => ('%', "+4"),
            FirmwareMemory::Unusable => ('%', "+5"),
            FirmwareMemory::SpecialPurpose => ('%', "+0xefffffff"),
            FirmwareMemory::Persistent => ('!', ""),
            _ => ('$', ""),
        };
        words.push(format!("memmap={}{letter}{:#x}{kind}", short(range.len()), range.start.0));
    }
    Ok(words.join(" ") + "\n")
}

/// A size with the largest unit that divides it.
fn short(bytes: u64) -> String {
    [(30, 'G'), (20, 'M'), (10, 'K')]
        .into_iter()
        .find(|(bits, _)| bytes > 0 && bytes.trailing_zeros() >= *bits)
        .map_or(format!("{bytes:#x}"), |(bits, unit)| format!("{}{unit}", bytes >> bits))
}

/// In order; neighbours of one type are one.
fn ranges(machine: &Machine) -> Result<Vec<(Extent, FirmwareMemory)>, EmitError> {
    let own = machine.firmware.iter().map(|said| (Extent::from(said.value.0), said.value.1));
    let mut all: Vec<(Extent, FirmwareMemory)> = own.collect();
    if all.is_empty() {
        let kinds = kinds(machine);
        let view = View::of(machine, machine.system).view;
        all = view.iter().filter_map(|line| Some((line.range, kind(line, &kinds)?))).collect();
    }
    let mut joined: Vec<(Extent, FirmwareMemory)> = Vec::new();
    for (range, kind) in all {
        match joined.last_mut() {
            Some((last, had)) if *had == kind && last.end == End(range.start.0.into()) => {
                last.end = range.end
            }
            _ => joined.push((range, kind)),
        }
    }
    let is_memory =
        |kind| matches!(kind, FirmwareMemory::Usable | FirmwareMemory::Boot | FirmwareMemory::Unaccepted);
    if joined.iter().any(|(_, kind)| is_memory(*kind)) { Ok(joined) } else { Err(EmitError::NoMemory) }
}

/// What Linux makes of each type in its list of resources.
const NAMES: [(&str, FirmwareMemory); 7] = [
    ("system ram", FirmwareMemory::Usable),
    ("acpi tables", FirmwareMemory::AcpiTables),
    ("acpi non-volatile", FirmwareMemory::AcpiNvs),
    ("unusable", FirmwareMemory::Unusable),
    ("persistent memory", FirmwareMemory::Persistent),
    ("soft reserved", FirmwareMemory::SpecialPurpose),
    ("reserved", FirmwareMemory::Reserved),
];

fn kind(line: &ViewLine, kinds: &BTreeMap<String, MemoryKind>) -> Option<FirmwareMemory> {
    let names = || line.names.iter().rev().map(|name| name.to_ascii_lowercase());
    // What a driver has brought firmware's map never had.
    if names().any(|name| name.starts_with("cxl window") || name.contains("(virtio_mem)")) {
        return None;
    }
    // The outermost that is a type: buses and devices are around some.
    let said =
        names().find_map(|name| NAMES.iter().find(|(word, _)| name.starts_with(word)).map(|(_, kind)| *kind));
    said.or_else(|| match kinds.get(line.arena.as_ref()?)? {
        MemoryKind::Dram | MemoryKind::Hbm | MemoryKind::Cxl => Some(FirmwareMemory::Usable),
        MemoryKind::Special => Some(FirmwareMemory::SpecialPurpose),
        MemoryKind::Persistent => Some(FirmwareMemory::Persistent),
    })
}
