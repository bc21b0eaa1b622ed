//! CXL: windows, decoders, regions and soft-reserved memory (rules C1 to C9).

use super::finding::{LintReport, Severity, Side};
use super::ranges::{MIB, bytes, covers, entries, join, map, ram, show, size, without};
use pmem_core::{AddrRange, FirmwareMemory};
use pmem_import::acpi::Cfmws;
use pmem_import::{Decoder, DecoderLevel, Facts, Remark, SourceLine, Sourced};
use std::collections::{BTreeMap, BTreeSet};

const BLOCK: u64 = 256 * MIB;

pub(super) fn lint(facts: &Facts, linted: &mut LintReport) {
    let windows = windows(facts);
    let cxl = &facts.cxl;
    let is_there = !windows.is_empty() || !cxl.decoders.is_empty() || !cxl.wishes.is_empty();
    let remarked = |said: &Sourced<Remark>| {
        matches!(said.value, Remark::NoTarget(_) | Remark::NoWindow { .. } | Remark::Setup { .. })
    };
    if !is_there && !facts.remarks.iter().any(remarked) {
        return linted
            .lacks(&["C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9"], "CEDT, or decoders of CXL");
    }
    sizes(facts, linted);
    inside(facts, &windows, linted);
    chain(facts, linted);
    granularity(facts, linted);
    positions(facts, linted);
    order(facts, linted);
    targets(facts, linted);
    others(facts, &windows, linted);
    filled(facts, &windows, linted);
}

/// Collects CXL windows from CEDT, from root decoders, and from the kernel's resource list.
fn windows(facts: &Facts) -> Vec<(SourceLine, AddrRange)> {
    let mut all: Vec<(SourceLine, AddrRange)> = Vec::new();
    let mut note = |at: &SourceLine, range: Option<AddrRange>| {
        if let Some(range) = range.filter(|range| !all.iter().any(|(_, had)| had == range)) {
            all.push((at.clone(), range));
        }
    };
    for said in &facts.cxl.windows {
        note(&said.at, AddrRange::sized(said.value.base, said.value.size).ok());
    }
    for said in facts.cxl.decoders.iter().filter(|said| said.value.level == Some(DecoderLevel::Root)) {
        note(&said.at, said.value.addresses());
    }
    for listing in &facts.memory {
        for line in listing.lines.iter().filter(|line| line.name.starts_with("CXL Window")) {
            note(&listing.place(line), Some(line.range));
        }
    }
    all
}

fn window_says(window: &Cfmws) -> String {
    match window.ways {
        Some(ways) => format!("CXL window of {}, {ways} ways", size(window.size)),
        None => format!("CXL window of {}", size(window.size)),
    }
}

/// C1: a window's base and size are whole blocks.
fn sizes(facts: &Facts, linted: &mut LintReport) {
    for said in &facts.cxl.windows {
        let window = &said.value;
        let ways = u64::from(window.ways.unwrap_or(1));
        let is_right =
            window.base.is_multiple_of(BLOCK) && window.size > 0 && window.size.is_multiple_of(BLOCK * ways);
        if is_right {
            continue;
        }
        let side = Side::new(&said.at, AddrRange::sized(window.base, window.size).ok(), window_says(window));
        if window.base == 0 {
            let hole = facts
                .cxl
                .hole
                .as_ref()
                .map(|said| Side::new(&said.at, None, format!("devices begin at {:#x}", said.value)));
            let means = "a window at 0 ends where devices begin, whatever its ways: that is permitted";
            linted.find(
                "C1",
                Severity::Info,
                [side].into_iter().chain(hole),
                means,
                "nothing needs to be done",
            );
        } else {
            let means = format!(
                "a window begins at a multiple of 256 MiB, and has a multiple of {}: Linux refuses it",
                size(BLOCK * ways)
            );
            linted.find("C1", Severity::Error, [side], means, "a firmware update that corrects CEDT");
        }
    }
}

/// Committed decoders that have addresses, root decoders excepted. Decoders whose state is not known count as
/// committed.
fn decoders(facts: &Facts) -> impl Iterator<Item = (&Sourced<Decoder>, AddrRange)> {
    let own = facts.cxl.decoders.iter().filter(|said| said.value.committed != Some(false));
    own.filter(|said| said.value.level != Some(DecoderLevel::Root))
        .filter_map(|said| Some((said, said.value.addresses()?)))
}

/// Recognises endpoints that decode normalized addresses (AMD family 1Ah): each starts at 0, and together they are as
/// large as a host bridge's decoder.
fn are_normalized(facts: &Facts) -> bool {
    if !facts.cxl.normalized.is_empty() {
        return true;
    }
    let ends: Vec<AddrRange> = decoders(facts)
        .filter(|(said, _)| said.value.level == Some(DecoderLevel::Endpoint))
        .map(|(_, range)| range)
        .collect();
    let sum: u64 = ends.iter().fold(0, |sum, range| sum.saturating_add(bytes(&[*range])));
    let is_sum = |(said, range): (&Sourced<Decoder>, AddrRange)| {
        said.value.level == Some(DecoderLevel::Bridge) && bytes(&[range]) == sum
    };
    ends.len() > 1 && ends.iter().all(|range| range.start() == 0) && decoders(facts).any(is_sum)
}

fn decoder_says(decoder: &Decoder) -> String {
    let mut says = match &decoder.device {
        Some(device) => format!("{device}: {}", decoder.name),
        None => decoder.name.clone(),
    };
    if let Some(ways) = decoder.ways {
        says.push_str(&format!(", {ways} ways"));
    }
    if let Some(granularity) = decoder.granularity {
        says.push_str(&format!(", {granularity} bytes each"));
    }
    says
}

/// C2: every decoder lies inside one window.
fn inside(facts: &Facts, windows: &[(SourceLine, AddrRange)], linted: &mut LintReport) {
    const HELPS: &str =
        "one window that has all of it, or a decoder that ends with its window: firmware's to mend";
    let sides_of = |range: AddrRange| {
        windows
            .iter()
            .filter(move |(_, window)| window.overlaps(range))
            .map(|(at, window)| Side::new(at, *window, "CXL window"))
    };
    let means = |range: AddrRange| {
        let met = windows.iter().filter(|(_, window)| window.overlaps(range)).count();
        match met {
            0 => "it is in no window: there is no region, and the memory is not used".to_owned(),
            1 => "its window has not all of it: there is no region, and the memory is not used".to_owned(),
            met => format!(
                "it is in {met} windows, and must be in one: there is no region, and the memory is not used"
            ),
        }
    };
    for said in &facts.remarks {
        if let Remark::NoWindow { device, decoder, range } = &said.value
            && !windows.iter().any(|(_, window)| window.covers(*range))
        {
            let side = Side::new(&said.at, *range, format!("{device}: {decoder}"));
            linted.find(
                "C2",
                Severity::Error,
                [side].into_iter().chain(sides_of(*range)),
                means(*range),
                HELPS,
            );
        }
    }
    if windows.is_empty() {
        return linted.lacks(&["C2"], "CXL windows (CEDT)");
    }
    let normalized = are_normalized(facts);
    for (said, range) in decoders(facts) {
        let is_own = normalized && said.value.level == Some(DecoderLevel::Endpoint);
        let is_trimmed = range.start() == 0 && windows.iter().any(|(_, window)| window.start() == 0);
        if is_own || is_trimmed || windows.iter().any(|(_, window)| window.covers(range)) {
            continue;
        }
        let side = Side::new(&said.at, range, decoder_says(&said.value));
        linted.find("C2", Severity::Error, [side].into_iter().chain(sides_of(range)), means(range), HELPS);
    }
}

/// Returns the address bits by which a decoder selects a target: the lowest bit, and the number of bits. Returns `None`
/// for 3, 6 and 12 ways, which do not select by bits alone.
fn selector(ways: u32, granularity: u32) -> Option<(u32, u32)> {
    (ways.is_power_of_two() && granularity.is_power_of_two())
        .then(|| (granularity.trailing_zeros(), ways.trailing_zeros()))
}

/// Whether a port selects by bits that the endpoint removes from the address. True if too little is known.
fn selects_own((ways, granularity): (u32, u32), end: &Decoder) -> bool {
    let Some((low, count)) = selector(ways, granularity).filter(|_| ways > 1) else { return true };
    let own = end.ways.zip(end.granularity).and_then(|(ways, granularity)| selector(ways, granularity));
    own.is_none_or(|(first, bits)| first <= low && low + count <= first + bits)
}

/// C3: from the root to the endpoint, decoders interleave by the same bits.
fn chain(facts: &Facts, linted: &mut LintReport) {
    const HELPS: &str =
        "a reset, after which firmware or the kernel sets all levels again; otherwise a firmware update";
    for said in &facts.remarks {
        let Remark::Setup { port, wanted, found, enabled, range } = &said.value else { continue };
        let ends: Vec<_> = decoders(facts)
            .filter(|(end, own)| end.value.level == Some(DecoderLevel::Endpoint) && own == range)
            .collect();
        // Firmware may assign the bits to levels in another order than the kernel. It is enough that they are the
        // endpoint's bits.
        if *enabled && ends.iter().all(|(end, _)| selects_own(*found, &end.value)) {
            continue;
        }
        let says = format!(
            "{port}: {} ways of {} bytes, {}, where the region has {} of {}",
            found.0,
            found.1,
            if *enabled { "in force" } else { "not in force" },
            wanted.0,
            wanted.1
        );
        let ends = ends.iter().map(|(end, own)| Side::new(&end.at, *own, decoder_says(&end.value)));
        let means = "the bridge's decoder is not as the device's: the region cannot be attached";
        linted.find(
            "C3",
            Severity::Error,
            [Side::new(&said.at, *range, says)].into_iter().chain(ends),
            means,
            HELPS,
        );
    }
    if are_normalized(facts) {
        return;
    }
    shaped(facts, linted);
    let mut regions: BTreeMap<(u64, u64), Vec<&Sourced<Decoder>>> = BTreeMap::new();
    for said in facts.cxl.decoders.iter().filter(|said| said.value.committed != Some(false)) {
        if let Some(range) = said.value.addresses() {
            regions.entry((range.start(), range.last())).or_default().push(said);
        }
    }
    for ((first, last), all) in regions {
        let ends: Vec<_> =
            all.iter().filter(|said| said.value.level == Some(DecoderLevel::Endpoint)).collect();
        let of = |level: DecoderLevel| {
            all.iter().find(|said| said.value.level == Some(level) && said.value.ways.is_some())
        };
        let (Some(end), true) = (ends.first(), of(DecoderLevel::Bridge).is_some()) else { continue };
        let levels: Vec<&Sourced<Decoder>> = [
            root_of(facts, first, last),
            of(DecoderLevel::Bridge).copied(),
            of(DecoderLevel::Switch).copied(),
        ]
        .into_iter()
        .flatten()
        .collect();
        let Some(problem) = disagree(&levels, end) else { continue };
        let range = AddrRange::inclusive(first, last).ok();
        let sides = levels
            .iter()
            .copied()
            .chain([**end])
            .map(|said| Side::new(&said.at, range, decoder_says(&said.value)));
        linted.find("C3", Severity::Error, sides.collect::<Vec<_>>(), problem, HELPS);
    }
}

fn root_of(facts: &Facts, first: u64, last: u64) -> Option<&Sourced<Decoder>> {
    let range = AddrRange::inclusive(first, last).ok()?;
    facts.cxl.decoders.iter().find(|said| {
        said.value.level == Some(DecoderLevel::Root)
            && said.value.addresses().is_some_and(|own| own.covers(range))
    })
}

/// Tells how the levels' interleaves contradict the endpoint's; `None` if they agree, or too little is known.
fn disagree(levels: &[&Sourced<Decoder>], end: &Sourced<Decoder>) -> Option<String> {
    let own = end.value.ways?;
    // The ways of all levels multiply to the endpoint's ways.
    let mut product = 1;
    for level in levels {
        product *= level.value.ways?;
    }
    if product != own {
        return Some(format!(
            "ports share among {product}, and the device is one of {own}: two devices answer for the same addresses, or none does"
        ));
    }
    let bits = |(low, count): (u32, u32)| low..low + count;
    // Each level selects by bits of its own; together these are the bits that the endpoint removes.
    let mut taken: BTreeSet<u32> = BTreeSet::new();
    for level in levels {
        let ways = level.value.ways?;
        if ways == 1 {
            continue;
        }
        for bit in bits(selector(ways, level.value.granularity?)?) {
            if !taken.insert(bit) {
                return Some(format!("two ports select by address bit {bit}"));
            }
        }
    }
    let wanted: BTreeSet<u32> = bits(selector(own, end.value.granularity?)?).collect();
    (taken != wanted).then(|| {
        let show = |set: &BTreeSet<u32>| set.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        format!(
            "ports select by address bits {}, and devices take out {}: two devices answer for, or lose, the same data",
            show(&taken),
            show(&wanted)
        )
    })
}

/// Checks a topology for which a text gives only the number of ports on each level and the granularities.
fn shaped(facts: &Facts, linted: &mut LintReport) {
    let Some(shape) = &facts.cxl.shape else { return };
    let of = |level: DecoderLevel| {
        facts.cxl.decoders.iter().find(|said| said.value.level == Some(level) && said.value.range.is_none())
    };
    let (Some(bridge), Some(end)) = (of(DecoderLevel::Bridge), of(DecoderLevel::Endpoint)) else { return };
    let with = |said: &Sourced<Decoder>, ways: u32| {
        let value = Decoder { ways: Some(ways), ..said.value.clone() };
        Sourced::new(value, said.at.clone())
    };
    let shape = shape.value;
    let mut levels = Vec::new();
    let below = if shape.switches > 0 { shape.switches / shape.bridges.max(1) } else { shape.endpoints };
    levels.push(with(bridge, below));
    if let Some(switch) = of(DecoderLevel::Switch).filter(|_| shape.switches > 0) {
        levels.push(with(switch, shape.endpoints));
    }
    let ways = facts.cxl.wishes.iter().find_map(|said| said.value.ways);
    let end = with(end, ways.unwrap_or_else(|| levels.iter().filter_map(|said| said.value.ways).product()));
    let borrowed: Vec<&Sourced<Decoder>> = levels.iter().collect();
    if shape.bridges == 1
        && let Some(problem) = disagree(&borrowed, &end)
    {
        let sides: Vec<Side> = levels
            .iter()
            .chain([&end])
            .map(|said| Side::new(&said.at, None, decoder_says(&said.value)))
            .collect();
        linted.find(
            "C3",
            Severity::Error,
            sides,
            problem,
            "the driver is to set ports by the region's pieces, and no window's of one way",
        );
    }
}

/// C4: a region has its window's interleave granularity.
fn granularity(facts: &Facts, linted: &mut LintReport) {
    for said in &facts.cxl.wishes {
        let Some(name) = &said.value.decoder else { continue };
        let window = facts
            .cxl
            .decoders
            .iter()
            .find(|window| window.value.name == *name || format!("decoder{name}") == window.value.name);
        let Some(window) = window else { continue };
        let pieces = said.value.granularity.zip(window.value.granularity);
        let (Some((wanted, own)), Some(ways)) = (pieces, window.value.ways) else { continue };
        if ways > 1 && wanted != own {
            let sides = [
                Side::new(&window.at, window.value.addresses(), decoder_says(&window.value)),
                Side::new(&said.at, None, format!("a region of {wanted} bytes each is asked for")),
            ];
            let means =
                format!("a window that shares among {ways} has its pieces: {own} bytes, and no others");
            linted.find(
                "C4",
                Severity::Error,
                sides,
                means,
                format!("ask for pieces of {own} bytes, or for a window of one way"),
            );
        }
        let region = said.value.ways;
        if let Some(region) =
            region.filter(|region| ways > 1 && !(region % ways == 0 && (region / ways).is_power_of_two()))
        {
            let sides = [
                Side::new(&window.at, window.value.addresses(), decoder_says(&window.value)),
                Side::new(&said.at, None, format!("a region of {region} ways is asked for")),
            ];
            let means = format!("a region's ways are {ways} times a power of two in that window");
            linted.find("C4", Severity::Error, sides, means, "other ways, or another window");
        }
    }
}

/// C5: consecutive devices of a region are below different host bridges of the window.
fn positions(facts: &Facts, linted: &mut LintReport) {
    for said in &facts.cxl.wishes {
        let Some(name) = &said.value.decoder else { continue };
        let Some(all) = facts.cxl.below.get(name) else { continue };
        // If another window reaches only some of this window's devices, those are below a different host bridge than
        // the rest.
        let parts = facts.cxl.below.iter().filter(|(other, set)| {
            *other != name && set.len() < all.len() && set.iter().all(|device| all.contains(device))
        });
        for (other, part) in parts {
            let devices = &said.value.devices;
            if devices.len() < 2 || !devices.iter().all(|device| all.contains(device)) {
                continue;
            }
            let sides_of = |device: &String| part.contains(device);
            let first = sides_of(&devices[0]);
            if devices.iter().all(|device| sides_of(device) == first) {
                let which = if first { "does" } else { "does not" };
                let hosts: Vec<String> = devices
                    .iter()
                    .map(|device| match facts.cxl.devices.get(device) {
                        Some(host) => format!("{device} ({host})"),
                        None => device.clone(),
                    })
                    .collect();
                let says = format!("{} in {name}, in this order", hosts.join(", "));
                let means = format!(
                    "{name} goes from bridge to bridge, and all of these are below the one that {other} {which} reach"
                );
                linted.find(
                    "C5",
                    Severity::Error,
                    [Side::new(&said.at, None, says)],
                    means,
                    "take devices of different bridges in turn, or a window with one target",
                );
            }
        }
    }
}

/// A decoder with its number within its port, and its addresses.
type Numbered<'f> = (u32, &'f Sourced<Decoder>, AddrRange);

/// C6: the decoders of a port are in order of address.
fn order(facts: &Facts, linted: &mut LintReport) {
    let mut ports: BTreeMap<&str, Vec<Numbered<'_>>> = BTreeMap::new();
    for said in facts
        .cxl
        .decoders
        .iter()
        .filter(|said| said.value.committed == Some(true) || said.value.range.is_some())
    {
        let Some((port, id)) = said.value.name.strip_prefix("decoder").and_then(|name| name.split_once('.'))
        else {
            continue;
        };
        let Some((id, range)) = id.parse().ok().zip(said.value.addresses()) else { continue };
        if said.value.level != Some(DecoderLevel::Root) && said.value.committed != Some(false) {
            ports.entry(port).or_default().push((id, said, range));
        }
    }
    for (port, mut all) in ports {
        all.sort_by_key(|(id, ..)| *id);
        for pair in all.windows(2) {
            let [(_, one, low), (_, other, high)] = pair else { continue };
            if low.start() > high.start() {
                let sides = [(one, low), (other, high)]
                    .map(|(said, range)| Side::new(&said.at, *range, decoder_says(&said.value)));
                let means = format!(
                    "decoders of port {port} must be in order of address (CXL 3.1, 8.2.4.20.12): the later one cannot be put in force"
                );
                linted.find(
                    "C6",
                    Severity::Error,
                    sides,
                    means,
                    "give regions back, the last first, and make them anew in order",
                );
            }
        }
    }
}

/// C7: every window's targets exist, and every host bridge is a target of a window.
fn targets(facts: &Facts, linted: &mut LintReport) {
    const HELPS: &str = "a firmware update that corrects CEDT; without CXL devices nothing is lost";
    for said in &facts.remarks {
        if let Remark::NoTarget(range) = said.value {
            let side = Side::new(&said.at, range, "CXL window with a target that is no host bridge");
            linted.find("C7", Severity::Warn, [side], "the window cannot be used", HELPS);
        }
    }
    let cxl = &facts.cxl;
    if cxl.bridges.is_empty() {
        return;
    }
    let known: BTreeSet<u32> = cxl.bridges.iter().map(|said| said.value.uid).collect();
    for said in &cxl.windows {
        for target in said.value.targets.iter().filter(|target| !known.contains(target)) {
            let says = format!("{}, target {target}", window_says(&said.value));
            let side = Side::new(&said.at, AddrRange::sized(said.value.base, said.value.size).ok(), says);
            linted.find(
                "C7",
                Severity::Warn,
                [side],
                format!("no host bridge has the number {target}: the window cannot be used"),
                HELPS,
            );
        }
    }
    for said in &cxl.bridges {
        if !cxl.windows.is_empty()
            && !cxl.windows.iter().any(|window| window.value.targets.contains(&said.value.uid))
        {
            let range = AddrRange::sized(said.value.base, said.value.length).ok();
            let side = Side::new(&said.at, range, format!("host bridge {}", said.value.uid));
            linted.find(
                "C7",
                Severity::Info,
                [side],
                "no window leads to it: its memory has no addresses",
                HELPS,
            );
        }
    }
}

/// C8: nothing else overlaps a window.
fn others(facts: &Facts, windows: &[(SourceLine, AddrRange)], linted: &mut LintReport) {
    for said in &facts.remarks {
        if let Remark::NoTarget(range) = said.value
            && range.start() == 0
            && facts.cxl.hole.is_none()
        {
            let side = Side::new(&said.at, range, "CXL window at 0");
            linted.find("C8", Severity::Info, [side], "RAM is there on most machines: a window may begin at 0 where CXL shares memory below 4 GiB out", "nothing needs to be done for that");
        }
    }
    for (n, one) in facts.cxl.windows.iter().enumerate() {
        let Ok(range) = AddrRange::sized(one.value.base, one.value.size) else { continue };
        for other in &facts.cxl.windows[n + 1..] {
            let Ok(beyond) = AddrRange::sized(other.value.base, other.value.size) else { continue };
            let Some(common) = range.intersect(beyond) else { continue };
            let severity =
                if one.value.targets == other.value.targets { Severity::Warn } else { Severity::Error };
            let sides = [(one, range), (other, beyond)]
                .map(|(said, range)| Side::new(&said.at, range, window_says(&said.value)));
            let means = format!("{} is in two windows", show(common));
            linted.find("C8", severity, sides, means, "a firmware update that corrects CEDT");
        }
    }
    let Some(map) = map(facts) else { return linted.lacks(&["C8"], "a memory map (e820, EFI)") };
    let special: Vec<AddrRange> = join(
        entries(facts)
            .filter(|(.., entry)| entry.kind == FirmwareMemory::SpecialPurpose)
            .map(|(.., entry)| entry.range)
            .collect(),
    );
    for (at, window) in windows.iter().filter(|(_, window)| window.start() != 0) {
        let used = without(&pmem_import::crossing(&ram(map), &[*window]), &special);
        if let Some(first) = used.first() {
            let sides = [
                Side::new(at, *window, "CXL window"),
                Side::new(&map.at, *first, format!("{}: usable, {}", map.kind.name(), size(bytes(&used)))),
            ];
            let means = "RAM that is not soft-reserved is in a CXL window: whose it is, is in doubt";
            linted.find(
                "C8",
                Severity::Warn,
                sides,
                means,
                "firmware that marks CXL memory as special purpose, or as it is",
            );
        }
    }
}

/// C9: soft-reserved memory in a window is covered by regions.
fn filled(facts: &Facts, windows: &[(SourceLine, AddrRange)], linted: &mut LintReport) {
    let mut soft: Vec<(SourceLine, AddrRange)> = Vec::new();
    for (at, _, entry) in entries(facts).filter(|(.., entry)| entry.kind == FirmwareMemory::SpecialPurpose) {
        soft.push((at, entry.range));
    }
    let mut regions: Vec<AddrRange> = facts.cxl.regions.iter().map(|said| said.value.range).collect();
    for listing in &facts.memory {
        for line in &listing.lines {
            if line.name.eq_ignore_ascii_case("soft reserved")
                && !soft.iter().any(|(_, had)| *had == line.range)
            {
                soft.push((listing.place(line), line.range));
            }
            if line.name.starts_with("region") {
                regions.push(line.range);
            }
        }
    }
    let committed: Vec<AddrRange> = decoders(facts).map(|(_, range)| range).collect();
    let knows = !regions.is_empty() || !committed.is_empty();
    let has = join(regions.into_iter().chain(committed).collect());
    for (at, range) in soft {
        if !windows.iter().any(|(_, window)| window.overlaps(range)) {
            continue;
        }
        if !knows {
            linted.lacks(&["C9"], "regions or decoders of CXL");
            return;
        }
        let left = without(&[range], &has);
        if left.is_empty() || covers(&has, range) {
            continue;
        }
        let listed: Vec<String> = left.iter().map(|range| show(*range)).collect();
        let side = Side::new(&at, range, "soft-reserved");
        let rest = left
            .iter()
            .map(|range| Side::new(&at, *range, format!("{} that no region has", size(bytes(&[*range])))));
        let means = format!(
            "{} belongs to no region: Linux then gives all of the soft-reserved range to dax, and drops the regions",
            listed.join(", ")
        );
        linted.find(
            "C9",
            Severity::Warn,
            [side].into_iter().chain(rest),
            means,
            "a soft-reserved range for each region, or decoders for all of it",
        );
    }
}
