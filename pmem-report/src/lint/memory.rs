//! The memory map: device trees, EFI, command-line settings, persistent and hot-plugged memory (rules M1 to M5, S1 to
//! S3).

use super::finding::{LintReport, Severity, Side};
use super::ranges::{MIB, crossing, join, show, size};
use pmem_core::{AddrRange, FirmwareMemory};
use pmem_import::{Facts, MapKind, MemoryMap, Remark, SourceLine, Sourced};

pub(super) fn lint(facts: &Facts, linted: &mut LintReport) {
    reserved_nodes(facts, linted);
    invalid(facts, linted);
    settings(facts, linted);
    kinds(facts, linted);
    below(facts, linted);
    persistent(facts, linted);
    sections(facts, linted);
    plugged(facts, linted);
}

fn exclusive(first: u64, end: u64) -> Option<AddrRange> {
    AddrRange::new(first, end).ok()
}

/// M1: nodes of a device tree that reserve the same memory.
fn reserved_nodes(facts: &Facts, linted: &mut LintReport) {
    const HELPS: &str = "take out the node that nobody uses, or have them share nothing";
    let mut told: Vec<[AddrRange; 2]> = Vec::new();
    let mut find = |at: [&SourceLine; 2], nodes: [(&str, AddrRange); 2], linted: &mut LintReport| {
        let mut pair = nodes.map(|(_, range)| range);
        pair.sort_by_key(|range| range.start());
        if told.contains(&pair) {
            return;
        }
        told.push(pair);
        let [(one, range), (other, beyond)] = nodes;
        let sides = [
            Side::new(at[0], range, format!("{one}, a node of reserved-memory")),
            Side::new(at[1], beyond, format!("{other}, a node of reserved-memory")),
        ];
        let common = range.intersect(beyond).map_or(String::new(), show);
        linted.find("M1", Severity::Warn, sides, format!("{common} is two users'"), HELPS);
    };
    let nodes: Vec<(&SourceLine, &str, AddrRange)> = facts
        .remarks
        .iter()
        .filter_map(|said| match &said.value {
            Remark::NodeReserves(name, first, end) => {
                Some((&said.at, name.as_str(), exclusive(*first, *end)?))
            }
            _ => None,
        })
        .collect();
    for (n, (at, name, range)) in nodes.iter().enumerate() {
        for (other_at, other, beyond) in &nodes[n + 1..] {
            if range.overlaps(*beyond) {
                find([at, other_at], [(name, *range), (other, *beyond)], linted);
            }
        }
    }
    for said in &facts.remarks {
        let Remark::NodesOverlap([(one, first, end), (other, from, to)]) = &said.value else { continue };
        if let Some((range, beyond)) =
            exclusive(*first, *end).zip(exclusive(*from, *to)).filter(|(a, b)| a.overlaps(*b))
        {
            find([&said.at, &said.at], [(one, range), (other, beyond)], linted);
        }
    }
}

/// M2: invalid entries in EFI's memory map.
fn invalid(facts: &Facts, linted: &mut LintReport) {
    let sides: Vec<Side> = facts
        .remarks
        .iter()
        .filter(|said| said.value == Remark::EfiInvalid)
        .map(|said| Side::new(&said.at, None, "EFI memory map: an entry of no pages, or one that wraps"))
        .collect();
    if !sides.is_empty() {
        let means = "the kernel leaves such entries out; other readers may stop at them";
        linted.find("M2", Severity::Warn, sides, means, "a firmware update that corrects EFI's memory map");
    }
}

/// M3: `memmap=` settings on the command line that overlap the kernel's image.
fn settings(facts: &Facts, linted: &mut LintReport) {
    let all: Vec<(&Sourced<Remark>, AddrRange, char)> = facts
        .remarks
        .iter()
        .filter_map(|said| match said.value {
            Remark::MemMap(bytes, kind, first) => Some((said, AddrRange::sized(first, bytes).ok()?, kind)),
            _ => None,
        })
        .collect();
    if all.is_empty() {
        return;
    }
    let is_image = facts.remarks.iter().any(|said| said.value == Remark::ImageNotRam);
    for said in &facts.remarks {
        let (found, image) = match said.value {
            Remark::Removed(range) if is_image => (range, true),
            Remark::Misaligned(range) => (range, false),
            _ => continue,
        };
        let Some((setting, range, kind)) = all.iter().find(|(_, range, _)| range.overlaps(found)) else {
            continue;
        };
        let own = Side::new(&setting.at, *range, format!("memmap= with {kind}, {}", size(range.len())));
        if image {
            let sides = [own, Side::new(&said.at, found, "the kernel's own image, at this boot")];
            let means =
                "the setting takes the memory in which the kernel is: where that is changes at each boot";
            linted.find(
                "M3",
                Severity::Error,
                sides,
                means,
                "nokaslr, or a range that the kernel cannot be in",
            );
        } else if found.start() != range.start() && found.last() == range.last() {
            let sides = [own, Side::new(&said.at, found, "what is left of it for a namespace")];
            let means =
                "the range was cut, probably where the kernel's image ends, whose place changes at each boot";
            linted.find(
                "M3",
                Severity::Error,
                sides,
                means,
                "nokaslr, or a range that the kernel cannot be in",
            );
        }
    }
}

fn of_kind(facts: &Facts, kind: MapKind) -> Option<&MemoryMap> {
    facts.firmware.maps.iter().find(|map| map.kind == kind)
}

/// M4: a range that EFI's map and the e820 map describe differently.
fn kinds(facts: &Facts, linted: &mut LintReport) {
    let (Some(efi), Some(e820)) = (of_kind(facts, MapKind::Efi), of_kind(facts, MapKind::E820)) else {
        return linted.lacks(&["M4"], "EFI's map and e820 of one boot");
    };
    let of = |map: &MemoryMap, pick: fn(FirmwareMemory) -> bool| {
        join(map.entries.iter().filter(|entry| pick(entry.kind)).map(|entry| entry.range).collect())
    };
    // Only RAM in one map and reserved in the other counts. Soft-reserved memory, ACPI's and devices' ranges differ by
    // design.
    let pairs = [
        (
            crossing(&of(efi, FirmwareMemory::is_usable), &of(e820, |kind| kind == FirmwareMemory::Reserved)),
            "RAM",
            "reserved",
        ),
        (
            crossing(&of(efi, |kind| kind == FirmwareMemory::Reserved), &of(e820, FirmwareMemory::is_usable)),
            "reserved",
            "RAM",
        ),
    ];
    for (ranges, first, second) in pairs {
        let Some(range) = ranges.iter().find(|range| range.len() >= 4096 && range.start() >= MIB) else {
            continue;
        };
        let sides = [
            Side::new(&efi.at, *range, format!("EFI memory map: {first}")),
            Side::new(&e820.at, *range, format!("e820 map: {second}")),
        ];
        let means = "two maps of one boot: whether the system may use it is in doubt";
        linted.find(
            "M4",
            Severity::Warn,
            sides,
            means,
            "the boot loader makes e820 of EFI's map: another one, or a firmware update",
        );
    }
}

/// M5: memory below the address at which the kernel begins.
fn below(facts: &Facts, linted: &mut LintReport) {
    for said in &facts.remarks {
        // RISC-V firmware occupies the first 2 MiB.
        if let Remark::BelowKernel(range) = said.value
            && range.len() > 2 * MIB
        {
            let side = Side::new(&said.at, range, "device tree: memory below where the kernel begins");
            let means = format!("{} is not used", size(range.len()));
            linted.find("M5", Severity::Info, [side], means, "load the kernel where memory begins");
        }
    }
}

/// S1: misaligned persistent-memory namespaces.
fn persistent(facts: &Facts, linted: &mut LintReport) {
    const ALIGN: u64 = 2 * MIB;
    for said in &facts.remarks {
        let Remark::Misaligned(range) = said.value else { continue };
        let (start, end) = (range.start() % ALIGN, range.last().wrapping_add(1) % ALIGN);
        let which = match (start, end) {
            (0, 0) => continue,
            (_, 0) => "its begin is",
            (0, _) => "its end is",
            _ => "its begin and its end are",
        };
        let side = Side::new(&said.at, range, "a namespace of persistent memory");
        let means = format!("{which} no multiple of 2 MiB: the namespace is not mapped");
        linted.find(
            "S1",
            Severity::Error,
            [side],
            means,
            "a namespace of whole 2 MiB, or another range (memmap=)",
        );
    }
}

/// S2: persistent memory that shares a section of 128 MiB with RAM.
fn sections(facts: &Facts, linted: &mut LintReport) {
    const SECTION: u64 = 128 * MIB;
    let kernel = facts.identity.kernel.as_ref().map(|said| said.value.trim_start_matches("Linux version "));
    let old = kernel.and_then(|kernel| {
        let mut parts = kernel
            .split('.')
            .map(|part| part.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    });
    let Some(map) = super::ranges::map(facts) else { return };
    let ranges = |pick: fn(FirmwareMemory) -> bool| map.entries.iter().filter(move |entry| pick(entry.kind));
    for one in ranges(|kind| kind == FirmwareMemory::Persistent) {
        let edge = |at: u64| at / SECTION;
        let near = ranges(FirmwareMemory::is_usable).find(|ram| {
            edge(ram.range.last()) == edge(one.range.start())
                || edge(ram.range.start()) == edge(one.range.last())
        });
        let Some(ram) = near else { continue };
        match old {
            Some(version) if version < (5, 3) => {
                let sides = [(one, "persistent"), (ram, "usable")].map(|(entry, says)| {
                    Side::new(
                        &super::ranges::place(map, entry),
                        entry.range,
                        format!("{}: {says}", map.kind.name()),
                    )
                });
                let means =
                    "kernels before 5.3 add memory by sections of 128 MiB: the namespace collides with RAM";
                linted.find(
                    "S2",
                    Severity::Warn,
                    sides,
                    means,
                    "kernel 5.3 or later, which adds parts of sections",
                );
            }
            Some(_) => {}
            None => linted.lacks(&["S2"], "the kernel's version"),
        }
    }
}

/// S3: hot-plugged memory that is not a whole number of blocks.
fn plugged(facts: &Facts, linted: &mut LintReport) {
    for said in &facts.remarks {
        let Remark::HotPlug(block, start, bytes) = said.value else { continue };
        let which = match (start.is_multiple_of(block), bytes.is_multiple_of(block)) {
            (true, true) => continue,
            (false, _) => "begin",
            (true, false) => "size",
        };
        let side = Side::new(
            &said.at,
            AddrRange::sized(start, bytes).ok(),
            format!("memory that is plugged in, by blocks of {}", size(block)),
        );
        let means = format!("its {which} is no multiple of the block of {block:#x}: it is not added");
        linted.find("S3", Severity::Error, [side], means, "RAM that ends at a multiple of the block (the monitor's -m), or a kernel that chooses smaller blocks");
    }
}
