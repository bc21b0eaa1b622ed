//! E820 maps as Linux, FreeBSD and Xen log them.

use super::reader::{LineReader, Verdict};
use crate::facts::{Facts, Finding, MapEntry, MapKind, MapUpdate, MemoryMap, SourceSummary, Sourced};
use crate::number::hex;
use crate::text::{Line, Scan};
use pmem_core::{AddrRange, FirmwareMemory};
use rangemap::RangeInclusiveMap;
use std::collections::BTreeSet;

const RECORD: &str = "e820 range";

/// Reads maps. A map ends where the next one begins.
#[derive(Default)]
pub(super) struct Reader {
    map: Option<MemoryMap>,
    /// End of each entry as written, for a map whose ends may be inclusive or exclusive.
    raw_ends: Vec<u64>,
    /// The map's ranges. A range that comes again starts another map.
    ranges: BTreeSet<(u64, u64)>,
    maps: usize,
    /// A heading announced a hypervisor's map.
    hypervisor: bool,
    /// That map is tboot's, which hypervisors print without brackets.
    tboot: bool,
}

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> Verdict {
        let words = line.words();
        if let Some(rest) = words.strip_prefix("e820: ")
            && let verdict @ (Verdict::Took | Verdict::Odd(..)) = self.update(line, rest, facts)
        {
            return verdict;
        }
        if words.contains("physical RAM map")
            || words.contains("e820 RAM map")
            || words == "TBOOT RAM map:"
            || words.contains("e820 memory map")
        {
            self.finish(facts, heard);
            self.hypervisor = line.xen;
            self.tboot = words.starts_with("TBOOT");
            return Verdict::Took;
        }
        let Some((kind, body)) = self.kind(line, words) else { return Verdict::Pass };
        // Newer kernels also print what lies between the ranges: `[gap 0x…-0x…]`.
        if body.trim_start().starts_with("[gap 0x") && body.trim_end().ends_with(']') {
            return Verdict::Took;
        }
        let (verdict, entry) = Verdict::of(RECORD, entry(body));
        let Some((range, memory, end)) = entry else { return verdict };
        // Maps can follow each other without a heading: a new kind, a restart at 0, or a repeated range begins one.
        let begins = self.map.as_ref().is_some_and(|map| {
            let last = map.entries.last().map_or(0, |entry| entry.range.start());
            map.kind != kind
                || (range.start() == 0 && last > 0)
                || self.ranges.contains(&(range.start(), range.last()))
        });
        if begins {
            self.finish(facts, heard);
        }
        let map = self.map.get_or_insert_with(|| MemoryMap { kind, at: line.place(), entries: Vec::new() });
        map.entries.push(MapEntry { range, kind: memory, line: line.number });
        self.ranges.insert((range.start(), range.last()));
        self.raw_ends.push(end);
        heard.count(RECORD);
        verdict
    }

    fn end(&mut self, facts: &mut Facts, heard: &mut SourceSummary) {
        self.finish(facts, heard);
    }
}

impl Reader {
    /// Tells which map a line belongs to, and returns the rest of the line.
    fn kind<'t>(&self, line: &Line<'_>, words: &'t str) -> Option<(MapKind, &'t str)> {
        let tables = [
            ("BIOS-e820:", MapKind::E820),
            ("BIOS-88:", MapKind::E820),
            ("BIOS-provided:", MapKind::E820),
            ("Xen:", MapKind::E820),
            ("user:", MapKind::Modified),
            ("modified:", MapKind::Modified),
        ];
        let begin = |body: &str| body.trim_start().starts_with(|c: char| c == '[' || c.is_ascii_hexdigit());
        for (prefix, kind) in tables {
            if let Some(body) = words.strip_prefix(prefix).filter(|body| begin(body)) {
                return Some((kind, body));
            }
        }
        // A hypervisor prints its map without a prefix, and tboot's without brackets.
        let plain = self.tboot && words.contains(" - ") && words.ends_with(')') && begin(words);
        let xen = line.xen && (words.starts_with('[') && words.contains("] (") || plain);
        xen.then_some((MapKind::Hypervisor, words))
    }

    /// Reads `update [mem 0x…-0x…] usable ==> reserved` or `remove [mem 0x…-0x…] usable`. Other `e820:` lines carry
    /// nothing that is needed.
    fn update(&self, line: &Line<'_>, rest: &str, facts: &mut Facts) -> Verdict {
        let mut scan = Scan::new(rest);
        let removes = scan.lit("remove ").is_some();
        if !removes && scan.lit("update ").is_none() {
            return match rest.starts_with("last_pfn") || rest.starts_with('[') || rest.starts_with("reserve")
            {
                true => Verdict::Took,
                false => Verdict::Pass,
            };
        }
        let Some(range) = scan.resource().and_then(|found| found.range) else {
            return Verdict::Odd("e820 update", "no range between brackets".to_owned());
        };
        let (from, to) = match scan.0.split_once("==>") {
            Some((from, to)) => (kind_of(from), Some(kind_of(to))),
            None => (kind_of(scan.0), None),
        };
        if to.is_none() != removes {
            return Verdict::Odd("e820 update", "no ==> between what it was and what it becomes".to_owned());
        }
        let update = MapUpdate { range, from, to: to.flatten() };
        facts.firmware.updates.push(Sourced::new(update, line.place()));
        Verdict::Took
    }

    fn finish(&mut self, facts: &mut Facts, heard: &mut SourceSummary) {
        let ends = std::mem::take(&mut self.raw_ends);
        self.ranges.clear();
        let Some(mut map) = self.map.take() else { return };
        if map.kind == MapKind::Hypervisor {
            exclusive_ends(&mut map, &ends);
        }
        note_overlaps(&map, facts);
        self.maps += 1;
        if self.maps == 2 {
            heard.notes.push("several e820 maps: the last complete one of each kind is taken".to_owned());
        }
        facts.firmware.maps.push(map);
    }
}

/// Reports ranges that overlap others of another type.
fn note_overlaps(map: &MemoryMap, facts: &mut Facts) {
    // By address: the last range that covers it.
    let mut seen: RangeInclusiveMap<u64, usize> = RangeInclusiveMap::new();
    for (n, entry) in map.entries.iter().enumerate() {
        let range = entry.range.start()..=entry.range.last();
        let others = seen.overlapping(&range).map(|(_, other)| &map.entries[*other]);
        if let Some(other) = others.filter(|other| other.kind != entry.kind).min_by_key(|other| other.line) {
            let place = |line| crate::facts::SourceLine::line(&map.at.source, line);
            let wins = entry.kind.over(other.kind);
            let text = format!(
                "{} {} overlaps {} {}: {wins} wins, as in Linux",
                entry.range, entry.kind, other.range, other.kind
            );
            facts.find(Finding::between(&place(entry.line), &place(other.line), text));
        }
        seen.insert(range, n);
    }
}

/// Old hypervisors print exclusive ends, new ones inclusive ends. If an end is the start of another
/// range, ends are exclusive.
fn exclusive_ends(map: &mut MemoryMap, ends: &[u64]) {
    let starts: BTreeSet<u64> = map.entries.iter().map(|entry| entry.range.start()).collect();
    if !ends.iter().any(|end| starts.contains(end)) {
        return;
    }
    for (entry, end) in map.entries.iter_mut().zip(ends) {
        if let Ok(range) = AddrRange::new(entry.range.start(), *end) {
            entry.range = range;
        }
    }
}

/// Parses `[mem 0x…-0x…] usable`, `0000… - 0000… (usable)` (end exclusive) or `[0000…, 0000…] (usable)`. Returns
/// the range, its type, and the end as written.
fn entry(body: &str) -> Result<(AddrRange, FirmwareMemory, u64), String> {
    let mut scan = Scan::new(body);
    let wrong = || "no range: expected [mem 0x…-0x…] or 0… - 0…".to_owned();
    let (range, end) = if scan.0.starts_with("[mem ") {
        let found = scan.resource().ok_or_else(wrong)?;
        let range = found.range.ok_or("the end of the range is before its start")?;
        (range, range.last())
    } else if scan.lit("[").is_some() {
        let start = scan.hex().ok_or_else(wrong)?;
        scan.lit(",").ok_or_else(wrong)?;
        let end = scan.hex().ok_or_else(wrong)?;
        scan.lit("]").ok_or_else(wrong)?;
        (AddrRange::inclusive(start, end).map_err(|error| error.to_string())?, end)
    } else {
        let start = scan.hex().ok_or_else(wrong)?;
        scan.lit("-").ok_or_else(wrong)?;
        let end = scan.hex().ok_or_else(wrong)?;
        (AddrRange::new(start, end).map_err(|error| error.to_string())?, end)
    };
    let word = scan.0.trim();
    let kind = kind_of(word).ok_or_else(|| format!("{word:?} is no type of memory that e820 knows"))?;
    Ok((range, kind, end))
}

/// Converts Linux's name of a type; `None` for names that are cut off or unknown.
pub(super) fn kind_of(word: &str) -> Option<FirmwareMemory> {
    let word = word.trim();
    let word =
        word.strip_prefix('(').map_or(word, |inside| inside.strip_suffix(')').unwrap_or(inside)).trim();
    let known = match word.to_ascii_lowercase().as_str() {
        "usable" | "ram" | "system ram" => FirmwareMemory::Usable,
        "reserved" | "reserved (kernel)" | "device reserved" => FirmwareMemory::Reserved,
        "acpi data" | "acpi tables" => FirmwareMemory::AcpiTables,
        "acpi nvs" | "acpi non-volatile storage" => FirmwareMemory::AcpiNvs,
        "unusable" | "unusable memory" | "bad ram" => FirmwareMemory::Unusable,
        "persistent (type 7)"
        | "persistent (type 12)"
        | "persistent memory"
        | "persistent"
        | "persistent memory (legacy)" => FirmwareMemory::Persistent,
        "soft reserved" => FirmwareMemory::SpecialPurpose,
        "unaccepted" => FirmwareMemory::Unaccepted,
        "unknown e820 type" => FirmwareMemory::Unknown,
        other => {
            let number = other.strip_prefix("type ")?;
            let number = number.strip_prefix("0x").map_or_else(|| number.parse().ok(), hex);
            FirmwareMemory::from_e820(u32::try_from(number?).ok()?)
        }
    };
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::super::facts_of as read;

    #[test]
    fn every_form_of_a_range_is_read() {
        let facts = read(
            "[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n\
             BIOS-e820: 0000000000100000 - 000000003fff0000 (usable)\n\
             BIOS-e820: [mem 0x0000000040000000-0x000000004fffffff] ACPI NVS\n\
             BIOS-e820: [mem 0x0000000050000000-0x000000005fffffff] type 20\n\
             BIOS-e820: [mem 0x0000000060000000-0x000000006fffffff] ACPI\nNVS\n\
             BIOS-e820: [mem 0x0000000070000000-0x000000007fffffff] usabl\n",
        );
        let entries = &facts.firmware.maps[0].entries;
        let shown: Vec<String> =
            entries.iter().map(|entry| format!("{} {}", entry.range, entry.kind)).collect();
        assert_eq!(
            shown,
            [
                "0x0..0x9fc00 usable",
                "0x100000..0x3fff0000 usable",
                "0x40000000..0x50000000 ACPI NVS",
                "0x50000000..0x60000000 unknown type",
                "0x60000000..0x70000000 ACPI NVS",
            ]
        );
        let odd: Vec<u32> = facts.heard[0].odd.iter().map(|odd| odd.line).collect();
        assert_eq!(odd, [7], "a word that is cut is not taken for another");
    }

    /// As kernels of 2026 print it.
    #[test]
    fn gaps_are_no_ranges() {
        let facts = read(
            "BIOS-e820: [mem 0x0000000000000000-0x000000000009efff]  System RAM\n\
             BIOS-e820: [mem 0x000000000009f000-0x00000000000fffff]  device reserved\n\
             BIOS-e820: [gap 0x0000000000100000-0x00000000fed1ffff]\n\
             BIOS-e820: [mem 0x00000000fed20000-0x00000000fed7ffff]  device reserved\n\
             BIOS-e820: [mem 0x0000000100000000-0x000000084c7fffff]  System RAM\n\
             BIOS-e820: [gap 0x0000000\n",
        );
        let entries = &facts.firmware.maps[0].entries;
        let kinds: Vec<String> = entries.iter().map(|entry| entry.kind.to_string()).collect();
        assert_eq!(kinds, ["usable", "reserved", "reserved", "usable"]);
        assert_eq!(facts.heard[0].odd.iter().map(|odd| odd.line).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn a_hypervisors_ends_are_told_by_ranges_that_touch() {
        let old = read("(XEN) Xen-e820 RAM map:\n(XEN)  0000000000000000 - 00000000000a0000 (usable)\n");
        assert_eq!(old.firmware.maps.len(), 0, "without brackets it is no map of Xen's");
        let touching = read(
            "(XEN)  [0000000000000000, 00000000000a0000] (usable)\n(XEN)  [00000000000a0000, 0000000000100000] (reserved)\n",
        );
        assert_eq!(touching.firmware.maps[0].entries[0].range.end(), Some(0xa_0000));
        let inclusive = read(
            "(XEN)  [0000000000000000, 000000000009ffff] (usable)\n(XEN)  [00000000000a0000, 00000000000fffff] (reserved)\n",
        );
        assert_eq!(inclusive.firmware.maps[0].entries[0].range.end(), Some(0xa_0000));
    }

    #[test]
    fn a_map_that_begins_again_is_another_map() {
        let line = |end: u32| {
            format!(
                "BIOS-e820: [mem 0x00000000-0x{end:08x}] usable\nBIOS-e820: [mem 0x00100000-0x001fffff] reserved\n"
            )
        };
        let facts = read(&(line(0xffff) + &line(0x1_ffff)));
        assert_eq!(facts.firmware.maps.len(), 2);
        assert_eq!(facts.firmware.maps[1].entries[0].range.last(), 0x1_ffff);
    }

    #[test]
    fn ranges_of_two_types_that_overlap_are_a_finding() {
        let line = |range: &str, kind: &str| format!("BIOS-e820: [mem {range}] {kind}\n");
        let facts = read(
            &(line("0x0-0xfffff", "usable")
                + &line("0x80000-0xfffff", "usable")
                + &line("0xf0000-0x1fffff", "reserved")),
        );
        let found: Vec<&str> = facts.findings.all.iter().map(|finding| finding.text.as_str()).collect();
        assert_eq!(
            found,
            ["0xf0000..0x200000 reserved overlaps 0x80000..0x100000 usable: reserved wins, as in Linux"]
        );
        assert_eq!(facts.findings.all[0].places.iter().map(|place| place.line).collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn what_the_kernel_changes_is_noted() {
        let facts = read(
            "e820: update [mem 0x00000000-0x00000fff] usable ==> reserved\ne820: remove [mem 0x000a0000-0x000fffff] usable\ne820: last_pfn = 0x21f200 max_arch_pfn = 0x400000000\n",
        );
        assert_eq!(facts.firmware.updates.len(), 2);
        assert_eq!(facts.firmware.updates[1].value.to, None);
        assert!(facts.heard[0].odd.is_empty(), "{:?}", facts.heard[0].odd);
    }
}
