//! Emits the memory map in the form that firmware hands to the kernel.

use super::{EmitError, kinds};
use crate::units::{End, Extent, short};
use crate::view::{View, ViewLine};
use pmem_core::FirmwareMemory;
use pmem_import::{Machine, MemoryKind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Emits the memory map as Linux prints it at boot: `BIOS-e820: [mem 0x…-0x…] usable`. It is firmware's own map if the
/// sources have one; otherwise it is derived from the kernel's resource list or from the model.
///
/// # Errors
/// Returns [`EmitError::NoMemory`] if no source says where memory is.
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

/// Emits the memory map as Linux command-line options (`memmap=`, Documentation/admin-guide/kernel-parameters.txt):
/// usable memory as `size@start`, ACPI tables as `size#start`, reserved as `size$start`, persistent as `size!start`,
/// and other types as `size%start+type`.
///
/// # Errors
/// Returns [`EmitError::NoMemory`] if no source says where memory is.
///
/// # Examples
///
/// ```
/// use pmem_import::{Machine, Sources};
/// use pmem_report::emit::memmap;
///
/// let mut iomem: &[u8] = b"00100000-7fffffff : System RAM\n";
/// let mut sources = Sources::default();
/// sources.add_stream("iomem", &mut iomem)?;
/// let machine = Machine::read(&mut sources)?;
/// assert_eq!(memmap(&machine)?, "memmap=exactmap memmap=2047M@0x100000\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

/// Returns the typed ranges in order of address; adjacent ranges of one type are merged.
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
                last.end = range.end;
            }
            _ => joined.push((range, kind)),
        }
    }
    let is_memory =
        |kind| matches!(kind, FirmwareMemory::Usable | FirmwareMemory::Boot | FirmwareMemory::Unaccepted);
    if joined.iter().any(|(_, kind)| is_memory(*kind)) { Ok(joined) } else { Err(EmitError::NoMemory) }
}

/// The name that Linux gives each type in its resource list.
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
    // Memory that a driver added later was never in firmware's map.
    if names().any(|name| name.starts_with("cxl window") || name.contains("(virtio_mem)")) {
        return None;
    }
    // The outermost name that is a type wins. Buses and devices may enclose it.
    let said =
        names().find_map(|name| NAMES.iter().find(|(word, _)| name.starts_with(word)).map(|(_, kind)| *kind));
    said.or_else(|| match kinds.get(line.arena.as_ref()?)? {
        MemoryKind::Dram | MemoryKind::Hbm | MemoryKind::Cxl => Some(FirmwareMemory::Usable),
        MemoryKind::Special => Some(FirmwareMemory::SpecialPurpose),
        MemoryKind::Persistent => Some(FirmwareMemory::Persistent),
    })
}
