//! Memory types: MTRRs against the memory map (rules T1 and T2).

use super::finding::{LintReport, Severity, Side};
use super::ranges::{MIB, map, ram, size, without};
use pmem_core::AddrRange;
use pmem_import::{Facts, MtrrFacts, SourceLine};
use pmem_mtrr::MemType;

pub(super) fn lint(facts: &Facts, mtrr: &MtrrFacts, linted: &mut LintReport) {
    if !mtrr.programmed {
        return linted.lacks(&["T1", "T2"], "MTRRs (/proc/mtrr, the log's list)");
    }
    let Some(setting) = mtrr.setting(&mut Vec::new()) else { return };
    let table = facts.mtrr.tables.iter().rfind(|table| table.has_registers()).map(|table| table.at.clone());
    let at = mtrr
        .variable
        .first()
        .map(|(.., place)| place.clone())
        .or(table)
        .unwrap_or_else(|| SourceLine::whole("MTRRs"));
    let of = |kind: MemType| -> Vec<AddrRange> {
        let all = setting.map().filter(move |(_, what)| what.kind() == Some(kind));
        pmem_import::join(all.filter_map(|(span, _)| AddrRange::new(span.start, span.end).ok()).collect())
    };
    let cached = of(MemType::Wb);
    if mtrr.variable.is_empty() && mtrr.cpus.is_empty() && setting.default_kind() != Some(MemType::Wb) {
        return linted.lacks(&["T1", "T2"], "the list of variable MTRRs");
    }
    let Some(map) = map(facts) else { return linted.lacks(&["T1"], "a memory map (e820, EFI)") };
    // On AMD processors, memory from 4 GiB up to TOP_MEM2 is write-back by default if SYSCFG says so. Without that
    // value, all memory above 4 GiB is in doubt.
    let high = |end: u64| AddrRange::new(1 << 32, end).ok();
    let amd = facts.mtrr.is_amd || mtrr.tom2.is_some() || mtrr.tom2_likely;
    let exempt: Vec<AddrRange> = match mtrr.tom2 {
        Some(end) => high(end).into_iter().collect(),
        None if amd => high(u64::MAX).into_iter().collect(),
        None => Vec::new(),
    };
    let low: Vec<AddrRange> = AddrRange::new(0, MIB).into_iter().collect();
    let used = without(&ram(map), &low);
    let lost = without(&used, &cached);
    let sure = without(&lost, &exempt);
    if let Some(first) = lost.first().filter(|_| sure.is_empty() && mtrr.tom2.is_none()) {
        let sides = [
            Side::new(&at, *first, "in no write-back register"),
            Side::new(&map.at, *first, format!("{}: usable", map.kind.name())),
        ];
        let means =
            "likely write-back all the same: AMD's rule for memory above 4 GiB (TOM2), which no source shows";
        linted.find(
            "T1",
            Severity::Info,
            sides,
            means,
            "the registers SYSCFG and TOP_MEM2 would say (docs/mtrr.md)",
        );
    }
    if !sure.is_empty() {
        let bytes = super::ranges::bytes(&sure);
        let sides: Vec<Side> = sure
            .iter()
            .take(8)
            .flat_map(|range| {
                let entry =
                    map.entries.iter().find(|entry| entry.kind.is_usable() && entry.range.overlaps(*range));
                let ram = entry.map(|entry| {
                    Side::new(
                        &super::ranges::place(map, entry),
                        entry.range,
                        format!("{}: usable", map.kind.name()),
                    )
                });
                [Some(Side::new(&at, *range, "in no write-back register")), ram]
            })
            .flatten()
            .collect();
        let means = format!("{} of RAM are not cached: very slow, and Linux leaves them out", size(bytes));
        linted.find(
            "T1",
            Severity::Error,
            sides,
            means,
            "registers that have all of it (pmem mtrr plan says which), or firmware that sets them",
        );
    }
    over_devices(facts, &cached, &at, &setting, linted);
}

/// T2: a write-back register over what a bus forwards.
fn over_devices(
    facts: &Facts,
    cached: &[AddrRange],
    at: &SourceLine,
    setting: &pmem_mtrr::Setting,
    linted: &mut LintReport,
) {
    // With a write-back default, registers make device addresses uncacheable one by one, which is right.
    if setting.default_kind() == Some(MemType::Wb) {
        return;
    }
    for function in facts.pci.functions.values() {
        for resource in
            function.resources.iter().filter(|resource| !resource.io && resource.range.start() >= MIB)
        {
            if let Some(over) = cached.iter().find(|cached| cached.overlaps(resource.range)) {
                let sides = [
                    Side::new(at, *over, "write-back"),
                    Side::new(&resource.at, resource.range, format!("{} {}", function.bdf(), resource.kind)),
                ];
                let means = "a device's registers are cached: writes may reach it late, or never";
                linted.find(
                    "T2",
                    Severity::Warn,
                    sides,
                    means,
                    "a register that makes it uncached (pmem mtrr plan says which)",
                );
                return;
            }
        }
    }
}
