//! The memory map as firmware would give it.

use super::EmitError;
use crate::units::{End, Extent};
use crate::view::{View, ViewLine};
use pmem_import::{Machine, MemoryKind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What firmware says of addresses (ACPI 6.5, table 15.4, and Linux's own for special purposes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Usable,
    Reserved,
    Acpi,
    NonVolatile,
    Unusable,
    Persistent,
    Special,
}

/// The map as Linux prints it at boot: `BIOS-e820: [mem 0x…-0x…] usable`.
///
/// # Errors
/// No source says where memory is.
pub fn e820(machine: &Machine) -> Result<String, EmitError> {
    let mut out = String::new();
    for (range, kind) in ranges(machine)? {
        let words = match kind {
            Type::Usable => "usable",
            Type::Reserved => "reserved",
            Type::Acpi => "ACPI data",
            Type::NonVolatile => "ACPI NVS",
            Type::Unusable => "unusable",
            Type::Persistent => "persistent (type 7)",
            Type::Special => "soft reserved",
        };
        let _ = writeln!(out, "BIOS-e820: [mem {:#018x}-{:#018x}] {words}", range.start.0, range.end.0 - 1);
    }
    Ok(out)
}

/// The map as options of Linux's command line (`memmap=`, Documentation/admin-guide/kernel-parameters.txt): usable
/// `size@start`, ACPI `size#start`, reserved `size$start`, persistent `size!start`. What is unusable or for a special purpose has
/// no letter of its own, and is reserved.
///
/// # Errors
/// No source says where memory is.
pub fn memmap(machine: &Machine) -> Result<String, EmitError> {
    let mut words = vec!["memmap=exactmap".to_owned()];
    for (range, kind) in ranges(machine)? {
        let letter = match kind {
            Type::Usable => '@',
            Type::Acpi | Type::NonVolatile => '#',
            Type::Persistent => '!',
            Type::Reserved | Type::Unusable | Type::Special => '$',
        };
        words.push(format!("memmap={}{letter}{:#x}", short(range.len()), range.start.0));
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
fn ranges(machine: &Machine) -> Result<Vec<(Extent, Type)>, EmitError> {
    let kinds: BTreeMap<String, MemoryKind> =
        machine.memory.iter().map(|(arena, memory)| (machine.arena_name(*arena), memory.kind)).collect();
    let mut joined: Vec<(Extent, Type)> = Vec::new();
    for line in View::of(machine, machine.system).view {
        let Some(kind) = kind(&line, &kinds) else { continue };
        match joined.last_mut() {
            Some((last, had)) if *had == kind && last.end == End(line.range.start.0.into()) => {
                last.end = line.range.end;
            }
            _ => joined.push((line.range, kind)),
        }
    }
    if joined.iter().any(|(_, kind)| *kind == Type::Usable) { Ok(joined) } else { Err(EmitError::NoMemory) }
}

fn kind(line: &ViewLine, kinds: &BTreeMap<String, MemoryKind>) -> Option<Type> {
    let outer = line.names.last().map_or("", String::as_str);
    let begins = |word: &str| outer.to_ascii_lowercase().starts_with(word);
    // Drivers bring what is behind a CXL window; firmware's map has none of it.
    if begins("cxl window") {
        return None;
    }
    for (word, kind) in [
        ("system ram", Type::Usable),
        ("acpi tables", Type::Acpi),
        ("acpi non-volatile", Type::NonVolatile),
        ("unusable", Type::Unusable),
        ("persistent memory", Type::Persistent),
        ("soft reserved", Type::Special),
        ("reserved", Type::Reserved),
    ] {
        if begins(word) {
            return Some(kind);
        }
    }
    match kinds.get(line.arena.as_ref()?)? {
        MemoryKind::Dram | MemoryKind::Hbm | MemoryKind::Cxl => Some(Type::Usable),
        MemoryKind::Special => Some(Type::Special),
        MemoryKind::Persistent => Some(Type::Persistent),
    }
}
