//! Kernel remarks about addresses. Every line is examined, whichever reader also takes it.

use crate::facts::{Facts, PortTree, RegionRequest, Remark, ResourceKind, SourceSummary, Sourced};
use crate::number::{hex, parse_size};
use crate::text::{Line, Scan};
use pmem_core::AddrRange;
use pmem_pci::Address;

/// Examines a line; returns whether it holds a remark.
pub(super) fn look(line: &Line<'_>, facts: &mut Facts, heard: &mut SourceSummary) -> bool {
    let words = line.words();
    let found = nodes(words)
        .or_else(|| windows(words))
        .or_else(|| ecam(words))
        .or_else(|| memory(words))
        .or_else(|| cxl(words))
        .or_else(|| device_tree(words));
    if let Some(found) = found {
        if !facts.remarks.iter().any(|had| had.value == found) {
            facts.remarks.push(Sourced::new(found, line.place()));
        }
        heard.count("remark");
        return true;
    }
    if let Some(parts) = command_line(words) {
        facts.remarks.extend(parts.into_iter().map(|part| Sourced::new(part, line.place())));
        heard.count("memory setting");
        return true;
    }
    // The maker of the ACPI tables tells the maker of the processor.
    if words.starts_with("ACPI: ") && words.contains(" AMD    ") {
        facts.mtrr.is_amd = true;
        return true;
    }
    // `DMAR-IR: IOAPIC id 2 under DRHD base  0xfed91000 IOMMU 1`.
    if let Some(id) = words.strip_prefix("DMAR-IR: IOAPIC id ").and_then(|rest| decimal(rest, "")) {
        facts.iommu.io_apics.extend(u32::try_from(id).ok().map(|id| Sourced::new(id, line.place())));
        heard.count("I/O APIC");
        return true;
    }
    if let Some(id) = io_apic(words) {
        facts.tables.io_apics.push(Sourced::new(id, line.place()));
        heard.count("I/O APIC");
        return true;
    }
    if let Some(wish) = wish(words) {
        facts.cxl.wishes.push(Sourced::new(wish, line.place()));
        heard.count("CXL wish");
        return true;
    }
    if let Some(shape) = shape(words) {
        facts.cxl.shape = Some(Sourced::new(shape, line.place()));
        return true;
    }
    if let Some(at) = words.split_once("low memory hole").and_then(|(_, rest)| after(rest, "starts at")) {
        facts.cxl.hole = Some(Sourced::new(at, line.place()));
        return true;
    }
    if let Some(packages) = words.split_once("on each of ").and_then(|(_, rest)| packages(rest)) {
        facts.tables.packages = Some(Sourced::new(packages, line.place()));
        return true;
    }
    if let Some(found) = normalized(words) {
        facts.cxl.normalized.push(Sourced::new(found, line.place()));
        heard.count("CXL range");
        return true;
    }
    false
}

/// The hexadecimal number after a word.
fn after(words: &str, word: &str) -> Option<u64> {
    let rest = words.split_once(word)?.1.trim_start();
    hex(rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?)
}

fn decimal(words: &str, word: &str) -> Option<u64> {
    let rest = words.split_once(word)?.1.trim_start();
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The numbers of `[mem 0x1000-0x1fff …]` after a word, as written: the second may be below the first.
fn ends(words: &str, word: &str) -> Option<(u64, u64)> {
    let rest = words.split_once(word)?.1.split_once("[mem ")?.1;
    let mut scan = Scan::new(rest);
    let first = scan.hex()?;
    scan.lit("-")?;
    Some((first, scan.hex()?))
}

fn range(words: &str, word: &str) -> Option<AddrRange> {
    let (first, last) = ends(words, word)?;
    AddrRange::inclusive(first, last).ok()
}

fn nodes(words: &str) -> Option<Remark> {
    if words.contains("nodes only cover ") {
        let (covered, ram) = (decimal(words, "nodes only cover ")?, decimal(words, "of your ")?);
        return Some(Remark::Covered { covered, ram });
    }
    if words.contains("invalid memblk node ") {
        return range(words, "memblk node").map(Remark::NoNode);
    }
    (words.contains("SLIT table looks invalid") || words.contains("SLIT: invalid"))
        .then_some(Remark::DistancesRefused)
}

fn windows(words: &str) -> Option<Remark> {
    if words.contains(": clipped [") {
        let window = ends(words, ": clipped")?;
        let entry = range(words, "for e820 entry");
        return Some(Remark::Clipped { window, entry });
    }
    if words.contains(": host bridge window [mem ") {
        return ends(words, "host bridge window").map(|(first, last)| Remark::HostWindow(first, last));
    }
    let (function, body) = words.strip_prefix("pci ")?.split_once(": ")?;
    let function: Address = function.parse().ok()?;
    let kind = |text: &str| -> Option<ResourceKind> {
        let text = text.trim();
        if text.starts_with("bridge window") {
            return Some(ResourceKind::Window);
        }
        let number: u8 = decimal(text, "BAR ").and_then(|n| u8::try_from(n).ok())?;
        Some(match number {
            0..=5 => ResourceKind::Bar(number),
            6 => ResourceKind::Rom,
            7..=12 => ResourceKind::VfBar(number - 7),
            _ => ResourceKind::Window,
        })
    };
    if let Some((before, rest)) = body.split_once("can't claim") {
        // Newer kernels put the range first.
        let (named, at) = if before.contains("[mem") { (before, before) } else { (rest, rest) };
        if rest.contains("no compatible bridge window") {
            return Some(Remark::Unclaimed { function, kind: kind(named)?, range: range(at, "")? });
        }
        return None;
    }
    if body.contains(": assigned [mem") || body.contains("]: assigned") {
        return Some(Remark::Assigned { function, kind: kind(body)?, range: range(body, "")? });
    }
    None
}

fn ecam(words: &str) -> Option<Remark> {
    let is_space = words.contains("MMCONFIG") || words.contains("ECAM");
    if is_space && words.contains("not reserved") {
        let range = range(words, "")?;
        let anywhere = words.contains("not using");
        return Some(Remark::EcamUnreserved { range, anywhere });
    }
    if is_space && words.contains("only partially covers") {
        let (first, last) = words.split_once("[bus ")?.1.split_once(']')?.0.split_once('-')?;
        let bus = |text: &str| u8::from_str_radix(text, 16).ok();
        return Some(Remark::EcamPartial(bus(first)?, bus(last)?));
    }
    if words.contains("efi: Remove mem") && words.contains("MMIO range=[") {
        let mut scan = Scan::new(words.split_once("range=[")?.1);
        let first = scan.hex()?;
        scan.lit("-")?;
        return AddrRange::inclusive(first, scan.hex()?).ok().map(Remark::EfiMmio);
    }
    None
}

fn memory(words: &str) -> Option<Remark> {
    if words.contains("DMAR reported at address ") {
        if words.contains("all ones") {
            return after(words, "at address ").map(Remark::UnitSilent);
        }
        return (after(words, "at address ")? == 0).then_some(Remark::UnitAtZero);
    }
    if words.contains("not in IVRS table") {
        return decimal(words, "IOAPIC[").and_then(|id| u32::try_from(id).ok()).map(Remark::IoApicMissing);
    }
    if words.contains("has no mapping iommu") {
        return decimal(words, "ioapic ").and_then(|id| u32::try_from(id).ok()).map(Remark::IoApicMissing);
    }
    if words.contains("efi: mem") && words.contains("(invalid)") {
        return Some(Remark::EfiInvalid);
    }
    if words.contains("misaligned, unable to map") {
        return range(words, "").map(Remark::Misaligned);
    }
    if words.contains("are not marked as E820_TYPE_RAM") {
        return Some(Remark::ImageNotRam);
    }
    if words.starts_with("e820: remove [mem") {
        return range(words, "remove").map(Remark::Removed);
    }
    if words.contains("unaligned hotplug range") {
        let block = after(words, "Block size [")?;
        return (block > 0)
            .then_some(())
            .and_then(|()| Some(Remark::HotPlug(block, after(words, "start ")?, after(words, ", size ")?)));
    }
    if words.contains("Ignoring memory range ") {
        let mut scan = Scan::new(words.split_once("memory range ")?.1);
        let first = scan.hex()?;
        scan.lit("-")?;
        return AddrRange::new(first, scan.hex()?).ok().map(Remark::BelowKernel);
    }
    None
}

fn cxl(words: &str) -> Option<Remark> {
    if words.contains("no CXL window for range ") {
        let (before, rest) = words.split_once(" no CXL window for range ")?;
        let (device, decoder) = before.split_whitespace().next_back()?.split_once(':')?;
        let mut scan = Scan::new(rest);
        let first = scan.hex()?;
        scan.lit(":")?;
        let range = AddrRange::inclusive(first, scan.hex()?).ok()?;
        return Some(Remark::NoWindow { device: device.to_owned(), decoder: decoder.to_owned(), range });
    }
    if let Some((_, rest)) = words.split_once("HPA order violation ") {
        let (one, other) = rest.split_once(" vs ")?;
        return Some(Remark::Order(range(one, "")?, range(other, "")?));
    }
    if words.contains("Failed to add decode range: ") {
        return range(words, "decode range:").map(Remark::NoTarget);
    }
    None
}

/// Reads `memory@86000000 (0x86000000--0x8ec00000) overlaps with memory@8b700000 (0x8b700000--0x8b710000)`, ends
/// exclusive, or a node of a device tree source:
/// `memory@86000000 { reg = <0x0 0x86000000 0x0 0x8c00000>; no-map; };`.
fn device_tree(words: &str) -> Option<Remark> {
    if let Some((one, other)) = words.split_once(" overlaps with ")
        && words.contains("--0x")
    {
        let node = |text: &str| {
            let (name, rest) = text.split_once(" (")?;
            let (first, end) = rest.split_once(')')?.0.split_once("--")?;
            Some((name.trim().to_owned(), hex(first)?, hex(end)?))
        };
        return Some(Remark::NodesOverlap([node(one)?, node(other)?]));
    }
    let (before, rest) = words.split_once('{')?;
    let name = before.trim().rsplit(' ').next()?;
    let cells = rest.split_once("reg = <")?.1.split_once('>')?.0;
    let cells: Option<Vec<u64>> = cells.split_whitespace().map(hex).collect();
    let (first, bytes) = match cells?[..] {
        [first, bytes] => (first, bytes),
        [high, low, more, bytes] => (high << 32 | low, more << 32 | bytes),
        _ => return None,
    };
    name.contains('@').then_some(())?;
    Some(Remark::NodeReserves(name.to_owned(), first, first.checked_add(bytes)?))
}

/// Reads `memmap=79G$82G,…`.
fn command_line(words: &str) -> Option<Vec<Remark>> {
    let mut found = Vec::new();
    for (at, _) in words.match_indices("memmap=") {
        let list = words.get(at + 7..)?.split_whitespace().next().unwrap_or("");
        for part in list.split(',') {
            let Some(sign) = part.find(['$', '!']) else { continue };
            let kind = part[sign..].chars().next()?;
            let bytes = parse_size(part[..sign].trim_end_matches('\\'))?;
            found.push(Remark::MemMap(bytes, kind, parse_size(&part[sign + 1..])?));
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Parses `IOAPIC[0]: apic_id 8, version 33, …` or `IOAPIC id 7`.
fn io_apic(words: &str) -> Option<u32> {
    let rest = words.strip_prefix("IOAPIC")?;
    let id = if rest.starts_with('[') { decimal(rest, "apic_id ") } else { decimal(rest, "id ") };
    u32::try_from(id?).ok()
}

/// Parses `cxl create-region -d decoder0.1 -w 2 -g 8192 -m mem1 mem3 --type=ram`.
fn wish(words: &str) -> Option<RegionRequest> {
    let rest = words.split_once("cxl create-region ")?.1;
    let mut wish = RegionRequest::default();
    let mut all = rest.split_whitespace().peekable();
    while let Some(word) = all.next() {
        match word {
            "-d" | "--decoder" => wish.decoder = all.next().map(str::to_owned),
            "-w" | "--ways" => wish.ways = all.next().and_then(|word| word.parse().ok()),
            "-g" | "--granularity" => wish.granularity = all.next().and_then(|word| word.parse().ok()),
            "-t" | "--type" | "-s" | "--size" => drop(all.next()),
            word if word.starts_with("--ways=") => wish.ways = word[7..].parse().ok(),
            word if word.starts_with("--granularity=") => wish.granularity = word[14..].parse().ok(),
            word if word.starts_with("--decoder=") => wish.decoder = Some(word[10..].to_owned()),
            word if word.starts_with("mem") => wish.devices.push(word.to_owned()),
            _ => {}
        }
    }
    Some(wish)
}

/// Parses `1 host bridge, 2 switches, 2 endpoints below each switch`.
fn shape(words: &str) -> Option<PortTree> {
    let count = |what: &str| {
        let before = words.split_once(what)?.0;
        before.split_whitespace().next_back()?.parse::<u32>().ok()
    };
    Some(PortTree {
        bridges: count(" host bridge")?,
        switches: count(" switch").unwrap_or(0),
        endpoints: count(" endpoint")?,
    })
}

fn packages(text: &str) -> Option<u32> {
    let mut words = text.split_whitespace();
    let number = words.next()?;
    words.next()?.starts_with("package").then_some(())?;
    let small = ["one", "two", "three", "four", "five", "six", "seven", "eight"];
    number.parse().ok().or_else(|| small.iter().position(|word| *word == number).map(|n| n as u32 + 1))
}

/// Parses `cxl decoder5.0: address mapping found for 0000:e2:00.0 (hpa -> spa): 0x0+0x2000000000 -> …`, which goes
/// on `0x850000000+0x8000000000 ways:4 granularity:256`.
fn normalized(words: &str) -> Option<(String, AddrRange)> {
    let (before, rest) = words.split_once(": address mapping found for ")?;
    let decoder = before.split_whitespace().next_back()?.to_owned();
    let (first, bytes) = rest.split_once(" -> 0x").and_then(|(_, rest)| rest.split_once('+'))?;
    let bytes = bytes.split_whitespace().next()?;
    // `(hpa -> spa)` has an arrow too, but no `0x` after it.
    let (first, bytes) = match hex(first) {
        Some(first) => (first, hex(bytes)?),
        None => return None,
    };
    Some((decoder, AddrRange::sized(first, bytes).ok()?))
}
