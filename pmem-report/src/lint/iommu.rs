//! IOMMU tables (rules I1 to I5).

use super::finding::{LintReport, Severity, Side};
use super::ranges::{MIB, entries, map, show, without};
use pmem_core::FirmwareMemory;
use pmem_import::{Facts, Remark, ReservedKind};
use pmem_iommu::acpi::dmar::ScopeKind;
use std::collections::BTreeSet;

pub(super) fn lint(facts: &Facts, linted: &mut LintReport) {
    shared(facts, linted);
    units(facts, linted);
    interrupts(facts, linted);
    blocks(facts, linted);
    let iommu = &facts.iommu;
    let remarked =
        facts.remarks.iter().any(|said| matches!(said.value, Remark::UnitAtZero | Remark::UnitSilent(_)));
    if iommu.units.is_empty() && iommu.reserved.is_empty() && iommu.special.is_empty() && !remarked {
        linted.lacks(&["I1", "I2", "I3", "I4", "I5"], "DMAR or IVRS");
    }
}

/// I1 and I2: memory that firmware shares with devices.
fn shared(facts: &Facts, linted: &mut LintReport) {
    let width = facts.iommu.width.as_ref().map(|said| said.value);
    let of_ivrs = |range: pmem_core::AddrRange| {
        facts.iommu.blocks.iter().any(|said| said.value.0 >= range.start() && said.value.0 <= range.last())
    };
    for said in &facts.iommu.reserved {
        let range = said.value.range;
        let is_shared = matches!(said.value.kind, ReservedKind::Direct | ReservedKind::DirectRelaxable);
        if !is_shared || of_ivrs(range) {
            continue;
        }
        let side = Side::new(&said.at, range, "memory that firmware and devices share (RMRR)");
        let is_none = range.start() == 0 && range.last() <= 0xfff;
        let is_aligned = range.start() & 0xfff == 0 && range.last() & 0xfff == 0xfff;
        if is_none || !is_aligned {
            let severity = if is_aligned { Severity::Info } else { Severity::Warn };
            let means = if is_none {
                "firmware left an entry that means no memory: kernels without a check refuse the table"
            } else {
                "it is no whole number of pages: how much is meant is in doubt"
            };
            linted.find("I2", severity, [side], means, "a firmware update that corrects DMAR");
            continue;
        }
        if width.is_some_and(|width| width < 64 && range.last() >> width != 0) {
            linted.find(
                "I2",
                Severity::Warn,
                [side],
                format!("past the {} bits that the unit puts out", width.unwrap_or(0)),
                "a firmware update that corrects DMAR",
            );
            continue;
        }
        placed(facts, side, range, linted);
    }
}

/// I1: the memory map must reserve the shared memory.
fn placed(facts: &Facts, side: Side, range: pmem_core::AddrRange, linted: &mut LintReport) {
    const HELPS: &str =
        "firmware that reserves it; memmap=SIZE$ADDRESS on the kernel's command line until then";
    let Some(map) = map(facts) else { return linted.lacks(&["I1"], "a memory map (e820, EFI)") };
    let met: Vec<_> = map.entries.iter().filter(|entry| entry.range.overlaps(range)).collect();
    let others = || {
        met.iter().map(|entry| {
            Side::new(
                &super::ranges::place(map, entry),
                entry.range,
                format!("{}: {}", map.kind.name(), entry.kind),
            )
        })
    };
    if met.iter().any(|entry| entry.kind.is_usable()) {
        let means = "the system uses that RAM, and devices write to it: memory is corrupted";
        return linted.find("I1", Severity::Error, [side].into_iter().chain(others()), means, HELPS);
    }
    let has: Vec<_> = met.iter().map(|entry| entry.range).collect();
    let left = without(&[range], &pmem_import::join(has));
    if let Some(first) = left.first() {
        let means = format!("{} is in no entry of the memory map: Linux from 5.5 on complains", show(*first));
        return linted.find("I1", Severity::Warn, [side].into_iter().chain(others()), means, HELPS);
    }
    if met.len() > 1 || met.iter().any(|entry| entry.kind == FirmwareMemory::AcpiNvs) {
        let means =
            "the system never uses it: kernels that look for one reserved entry complain all the same";
        linted.find(
            "I1",
            Severity::Info,
            [side].into_iter().chain(others()),
            means,
            "nothing needs to be done",
        );
    }
}

/// I3: the units' registers.
fn units(facts: &Facts, linted: &mut LintReport) {
    const HELPS: &str =
        "a firmware update, or VT-d switched on in setup where it is off with the table left in place";
    for said in &facts.remarks {
        match said.value {
            Remark::UnitAtZero => {
                let side = Side::new(&said.at, None, "DMAR: a unit at address 0");
                linted.find(
                    "I3",
                    Severity::Error,
                    [side],
                    "there are no registers at 0: the unit, and devices that it has, are not translated",
                    HELPS,
                );
            }
            Remark::UnitSilent(at) => {
                let range = pmem_core::AddrRange::sized(at, 4096).ok();
                let side =
                    Side::new(&said.at, range, format!("DMAR: a unit at {at:#x}, which answers all ones"));
                linted.find(
                    "I3",
                    Severity::Error,
                    [side],
                    "nothing decodes that address: the unit is not used",
                    HELPS,
                );
            }
            _ => {}
        }
    }
    let width = facts.iommu.width.as_ref().map(|said| said.value).filter(|width| *width < 64);
    for said in &facts.iommu.units {
        let base = said.value.base;
        let is_past = width.is_some_and(|width| base >> width != 0);
        if base & 0xfff != 0 || is_past {
            let side = Side::new(
                &said.at,
                pmem_core::AddrRange::sized(base, 1).ok(),
                format!("a unit at {base:#x}"),
            );
            let means = if is_past { "past the host's width" } else { "no page begins there" };
            linted.find("I3", Severity::Error, [side], format!("{means}: there are no registers"), HELPS);
        }
    }
}

/// I4: the I/O APICs named in the IOMMU's table are those that exist.
fn interrupts(facts: &Facts, linted: &mut LintReport) {
    let there: BTreeSet<u32> = facts.tables.io_apics.iter().map(|said| said.value).collect();
    let mut named: Vec<(u32, Side)> = Vec::new();
    for said in facts.iommu.special.iter().filter(|said| said.value.is_io_apic) {
        let id = u32::from(said.value.handle);
        named.push((id, Side::new(&said.at, None, format!("IVRS: I/O APIC {id} is {}", said.value.source))));
    }
    for said in &facts.iommu.units {
        for scope in said.value.scopes.iter().filter(|scope| scope.kind == ScopeKind::IoApic) {
            let id = u32::from(scope.id);
            named.push((id, Side::new(&said.at, None, format!("DMAR: I/O APIC {id}"))));
        }
    }
    for said in &facts.iommu.io_apics {
        named.push((said.value, Side::new(&said.at, None, format!("DMAR: I/O APIC {}", said.value))));
    }
    // I/O APICs that the kernel has, but did not find in the table.
    let unfound: Vec<(u32, Side)> = facts
        .remarks
        .iter()
        .filter_map(|said| match said.value {
            Remark::IoApicMissing(id) => {
                Some((id, Side::new(&said.at, None, format!("I/O APIC {id} is there"))))
            }
            _ => None,
        })
        .filter(|(id, _)| !there.contains(id))
        .collect();
    let there: BTreeSet<u32> = there.into_iter().chain(unfound.iter().map(|(id, _)| *id)).collect();
    if named.is_empty() && unfound.is_empty() {
        return;
    }
    if there.is_empty() {
        return linted.lacks(&["I4"], "MADT, or the log's lines of I/O APICs");
    }
    let ids: BTreeSet<u32> = named.iter().map(|(id, _)| *id).collect();
    let missing: Vec<u32> = there.difference(&ids).copied().collect();
    // Only a complete list of I/O APICs proves that one is absent.
    let listed = !facts.tables.io_apics.is_empty();
    let absent: Vec<u32> = ids.difference(&there).copied().filter(|_| listed).collect();
    if missing.is_empty() && absent.is_empty() {
        return;
    }
    let list = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let sides = named
        .into_iter()
        .filter(|(id, _)| absent.contains(id))
        .map(|(_, side)| side)
        .chain(
            facts
                .tables
                .io_apics
                .iter()
                .filter(|said| missing.contains(&said.value))
                .map(|said| Side::new(&said.at, None, format!("MADT: I/O APIC {}", said.value))),
        )
        .chain(unfound.into_iter().map(|(_, side)| side))
        .collect::<Vec<_>>();
    let mut means = Vec::new();
    if !absent.is_empty() {
        means.push(format!("the table names {}, which are not there", list(&absent)));
    }
    if !missing.is_empty() {
        means.push(format!("it lacks {}", list(&missing)));
    }
    let means = format!("{}: interrupts are not remapped; translation of memory stays", means.join(", and "));
    linted.find("I4", Severity::Warn, sides, means, "ivrs_ioapic[ID]=BUS:DEVICE.FUNCTION on AMD (pmem iommu why says which); a firmware update that corrects the table");
}

/// I5: memory blocks of IVRS (IVMD).
fn blocks(facts: &Facts, linted: &mut LintReport) {
    let mut sides: Vec<Side> = Vec::new();
    for said in &facts.iommu.blocks {
        let (base, length, flags) = said.value;
        if base & 0xfff != 0 || length & 0xfff != 0 || length == 0 {
            let range = pmem_core::AddrRange::sized(base, length).ok();
            sides.push(Side::new(
                &said.at,
                range,
                format!("IVMD at {base:#x}, {length} bytes, flags {flags:#x}"),
            ));
        }
    }
    if !sides.is_empty() {
        let means = "blocks are whole pages: systems round them, or leave them out";
        linted.find("I5", Severity::Warn, sides, means, "a firmware update that corrects IVRS");
    }
    let usable: Vec<_> = entries(facts).filter(|(.., entry)| entry.kind.is_usable()).collect();
    for said in &facts.iommu.blocks {
        let (base, length, _) = said.value;
        let Ok(range) = pmem_core::AddrRange::sized(base, length) else { continue };
        if let Some((at, map, entry)) =
            usable.iter().find(|(.., entry)| entry.range.overlaps(range) && range.start() >= MIB)
        {
            let sides = [
                Side::new(&said.at, range, "memory that firmware and devices share (IVMD)"),
                Side::new(at, entry.range, format!("{}: {}", map.kind.name(), entry.kind)),
            ];
            linted.find(
                "I5",
                Severity::Warn,
                sides,
                "the system uses that RAM, and devices may write to it",
                "firmware that reserves it",
            );
        }
    }
}
