//! NUMA nodes: SRAT, SLIT and HMAT against each other and against the memory map (rules N1 to N13).

use super::finding::{LintReport, Severity, Side};
use super::ranges::{MIB, bytes, join, map, place, ram, show, size, without};
use pmem_core::AddrRange;
use pmem_import::acpi::{Affinity, InitiatorKind, Locality, Quantity, Slit};
use pmem_import::{Facts, Remark, SourceLine, Sourced};
use std::collections::BTreeSet;

pub(super) fn lint(facts: &Facts, linted: &mut LintReport) {
    covered(facts, linted);
    overlaps(facts, linted);
    empty(facts, linted);
    windows(facts, linted);
    distances(facts, linted);
    speeds(facts, linted);
    idle(facts, linted);
}

/// Enabled memory entries of SRAT, with the ranges they describe.
fn memory(facts: &Facts) -> impl Iterator<Item = (&Sourced<Affinity>, AddrRange)> {
    let used = facts.tables.memory.iter().filter(|said| said.value.enabled);
    used.filter_map(|said| Some((said, AddrRange::sized(said.value.base, said.value.length).ok()?)))
}

fn named(said: &Affinity) -> String {
    format!("SRAT: domain {}", said.domain)
}

/// N1: RAM that no SRAT entry covers.
fn covered(facts: &Facts, linted: &mut LintReport) {
    const MEANS: &str =
        "Linux on x86 discards the whole table and assumes a single node; other systems may crash";
    const HELPS: &str =
        "firmware that lists all of its RAM (an update); until then numa=off says the same without a guess";
    let mut told = false;
    for said in &facts.remarks {
        match said.value {
            Remark::Covered { covered, ram } if ram > covered => {
                let sides =
                    memory(facts).map(|(entry, range)| Side::new(&entry.at, range, named(&entry.value)));
                let lost = Side::new(
                    &said.at,
                    None,
                    format!(
                        "{ram} MiB of RAM, of which {covered} MiB are in nodes: {} MiB are in none",
                        ram - covered
                    ),
                );
                linted.find("N1", Severity::Error, sides.chain([lost]), MEANS, HELPS);
                told = true;
            }
            Remark::NoNode(range) => {
                let says = format!(
                    "{} of RAM is in no entry of SRAT (node 64 is the kernel's word for none)",
                    size(bytes(&[range]))
                );
                linted.find("N1", Severity::Error, [Side::new(&said.at, range, says)], MEANS, HELPS);
                told = true;
            }
            _ => {}
        }
    }
    if facts.tables.memory.is_empty() || !facts.tables.extents.is_empty() {
        if !told {
            linted.lacks(&["N1"], "SRAT");
        }
        return;
    }
    let Some(map) = map(facts) else {
        if !told {
            linted.lacks(&["N1"], "a memory map (e820, EFI)");
        }
        return;
    };
    let windows =
        facts.cxl.windows.iter().filter_map(|said| AddrRange::sized(said.value.base, said.value.size).ok());
    let in_nodes = join(memory(facts).map(|(_, range)| range).chain(windows).collect());
    let low = AddrRange::new(0, MIB).map(|low| vec![low]).unwrap_or_default();
    let lost = without(&without(&ram(map), &low), &in_nodes);
    if bytes(&lost) < MIB || told {
        return;
    }
    let sides: Vec<Side> = lost
        .iter()
        .map(|range| {
            let entry =
                map.entries.iter().find(|entry| entry.kind.is_usable() && entry.range.overlaps(*range));
            let at = entry.map_or_else(|| map.at.clone(), |entry| place(map, entry));
            Side::new(
                &at,
                *range,
                format!("{}: usable, {}, in no entry of SRAT", map.kind.name(), size(bytes(&[*range]))),
            )
        })
        .chain(memory(facts).map(|(entry, range)| Side::new(&entry.at, range, named(&entry.value))))
        .collect();
    linted.find("N1", Severity::Error, sides, MEANS, HELPS);
}

/// N2 and N3: SRAT entries that overlap.
fn overlaps(facts: &Facts, linted: &mut LintReport) {
    let mut all: Vec<(&Sourced<Affinity>, AddrRange)> = memory(facts).collect();
    all.sort_by_key(|(_, range)| (range.start(), range.last()));
    for (n, (one, range)) in all.iter().enumerate() {
        for (other, beyond) in all[n + 1..].iter().take_while(|(_, beyond)| beyond.start() <= range.last()) {
            let Some(common) = range.intersect(*beyond) else { continue };
            let sides = [(one, range), (other, beyond)]
                .map(|(said, range)| Side::new(&said.at, *range, named(&said.value)));
            if one.value.domain == other.value.domain {
                let means = format!(
                    "{} is said twice of one domain: Linux joins both, others count it twice",
                    show(common)
                );
                linted.find(
                    "N3",
                    Severity::Warn,
                    sides,
                    means,
                    "harmless on Linux; a firmware update that corrects the table",
                );
            } else {
                let means = format!("{} is in two domains: Linux refuses the table", show(common));
                linted.find("N2", Severity::Error, sides, means, "a firmware update that corrects the table");
            }
        }
    }
}

/// N5: hot-pluggable entries without RAM.
fn empty(facts: &Facts, linted: &mut LintReport) {
    let Some(map) = map(facts) else { return linted.lacks(&["N5"], "a memory map (e820, EFI)") };
    let ram = ram(map);
    let is_empty = |range: &AddrRange| !ram.iter().any(|ram| ram.overlaps(*range));
    let sides: Vec<Side> = memory(facts)
        .filter(|(said, range)| said.value.hot_plug && is_empty(range))
        .map(|(said, range)| {
            Side::new(&said.at, range, format!("{}, hot-pluggable, no RAM yet", named(&said.value)))
        })
        .collect();
    if !sides.is_empty() {
        linted.find(
            "N5",
            Severity::Info,
            sides,
            "room for memory that may be plugged in",
            "nothing needs to be done",
        );
    }
}

/// N6: CXL windows that SRAT covers only in part, or not at all.
fn windows(facts: &Facts, linted: &mut LintReport) {
    if facts.tables.memory.is_empty() {
        return;
    }
    let entries = join(memory(facts).map(|(_, range)| range).collect());
    for said in &facts.cxl.windows {
        let Ok(range) = AddrRange::sized(said.value.base, said.value.size) else { continue };
        let left = without(&[range], &entries);
        if left.is_empty() {
            continue;
        }
        let means = if left == [range] {
            "Linux makes a node of its own for the window"
        } else {
            "Linux stretches the domain over the whole window"
        };
        let says = format!("CXL window, of which {} is in no entry of SRAT", size(bytes(&left)));
        linted.find(
            "N6",
            Severity::Info,
            [Side::new(&said.at, range, says)],
            means,
            "nothing needs to be done",
        );
    }
}

/// N7, N8 and N9: distances (SLIT).
fn distances(facts: &Facts, linted: &mut LintReport) {
    const MEANS: &str = "the table is not used: 10 within a node and 20 between nodes instead";
    for said in facts.remarks.iter().filter(|said| said.value == Remark::DistancesRefused) {
        let side = Side::new(&said.at, None, "SLIT is refused: its bytes are not in the sources");
        linted.find("N7", Severity::Warn, [side], MEANS, "a firmware update that corrects the table");
    }
    for said in &facts.tables.distances {
        slit(facts, said, linted);
    }
    if facts.tables.distances.is_empty() && !facts.numa.distances.rows.is_empty() {
        let all = &facts.numa.distances;
        let uneven = all.rows.keys().enumerate().find_map(|(n, from)| {
            let both = |to: &u32| all.get(*from, *to).zip(all.get(*to, *from));
            let to =
                all.rows.keys().skip(n + 1).find(|to| both(to).is_some_and(|(out, back)| out != back))?;
            both(to).map(|(out, back)| (*from, *to, out, back))
        });
        if let Some((from, to, out, back)) = uneven {
            let at = all.at.clone().unwrap_or_else(|| SourceLine::whole("distances"));
            uneven_pair(linted, &at, (from, to, out, back));
        }
    }
    if facts.tables.distances.is_empty() {
        linted.lacks(&["N9"], "SLIT");
    }
}

fn uneven_pair(linted: &mut LintReport, at: &SourceLine, (from, to, out, back): (u32, u32, u32, u32)) {
    let says = format!("from {from} to {to} it is {out}, back {back}");
    let means = "distances need not be the same both ways: sub-NUMA clustering does it";
    linted.find("N8", Severity::Info, [Side::new(at, None, says)], means, "nothing needs to be done");
}

/// N7, N8 and N9 for one SLIT.
fn slit(facts: &Facts, said: &Sourced<Slit>, linted: &mut LintReport) {
    let rows = &said.value.rows;
    if (rows.len() as u64) < said.value.count {
        let says = format!("SLIT has {} localities, and distances of {}", said.value.count, rows.len());
        let means = "the table is cut: it is not used";
        linted.find(
            "N9",
            Severity::Error,
            [Side::new(&said.at, None, says)],
            means,
            "a firmware update that corrects the table",
        );
        return;
    }
    if said.value.extra > 0 {
        let says = format!(
            "SLIT has {} localities, and {} bytes behind their distances",
            said.value.count, said.value.extra
        );
        let means = "the table is longer than what it says: the rest means nothing";
        linted.find(
            "N9",
            Severity::Info,
            [Side::new(&said.at, None, says)],
            means,
            "nothing needs to be done",
        );
    }
    let cell = |from: usize, to: usize| u32::from(rows[from][to]);
    let n = rows.len();
    let pairs = || (0..n).flat_map(move |from| (0..n).map(move |to| (from, to)));
    let is_wrong =
        |(from, to): &(usize, usize)| (*from == *to) != (cell(*from, *to) == 10) || cell(*from, *to) < 10;
    if let Some((from, to)) = pairs().find(is_wrong) {
        let says = format!("SLIT: from {from} to {to} it is {}", cell(from, to));
        let means = "a node is 10 from itself, and farther from others: the table is not used, and it is 10 and 20 instead";
        linted.find(
            "N7",
            Severity::Warn,
            [Side::new(&said.at, None, says)],
            means,
            "a firmware update that corrects the table",
        );
    }
    if let Some((from, to)) = pairs().find(|(from, to)| from < to && cell(*from, *to) != cell(*to, *from)) {
        uneven_pair(linted, &said.at, (from as u32, to as u32, cell(from, to), cell(to, from)));
    }
    let domains: BTreeSet<u32> = memory(facts).map(|(said, _)| said.value.domain).collect();
    if let Some(beyond) = domains.iter().find(|domain| **domain as usize >= n) {
        let says = format!("SLIT has {n} localities");
        let other = memory(facts).find(|(said, _)| said.value.domain == *beyond);
        let other = other.map(|(said, range)| Side::new(&said.at, range, named(&said.value)));
        let means = format!("domain {beyond} has no distance");
        linted.find(
            "N9",
            Severity::Warn,
            [Side::new(&said.at, None, says)].into_iter().chain(other),
            means,
            "a firmware update that corrects the table",
        );
    }
}

/// N10, N11 and N12: latency and bandwidth (HMAT).
fn speeds(facts: &Facts, linted: &mut LintReport) {
    let domains: BTreeSet<u32> = memory(facts).map(|(said, _)| said.value.domain).collect();
    if facts.tables.access.is_empty() {
        return linted.lacks(&["N10", "N11", "N12"], "HMAT");
    }
    for said in &facts.tables.access {
        let own: Vec<&Locality> =
            said.value.localities.iter().filter(|locality| locality.level == 0).collect();
        if own.is_empty() {
            continue;
        }
        for domain in &domains {
            let values = |locality: &Locality| {
                locality.initiators.iter().filter_map(|from| locality.get(*from, *domain)).count()
            };
            if own.iter().all(|locality| values(locality) == 0) {
                let sides = memory(facts)
                    .filter(|(entry, _)| entry.value.domain == *domain)
                    .map(|(entry, range)| Side::new(&entry.at, range, named(&entry.value)));
                let says =
                    format!("HMAT: no initiator has a value for domain {domain} (0 and 0xffff are none)");
                let means = "Linux knows neither how fast that memory is nor from where it is best reached";
                linted.find(
                    "N10",
                    Severity::Warn,
                    [Side::new(&said.at, None, says)].into_iter().chain(sides),
                    means,
                    "values in HMAT, from firmware or the monitor's options",
                );
            }
        }
        for locality in &own {
            odd_value(said, locality, linted);
        }
        disorder(facts, &own, &said.at, linted);
    }
}

/// N11: implausible latency or bandwidth of a domain's own memory.
fn odd_value(said: &Sourced<pmem_import::acpi::Hmat>, locality: &Locality, linted: &mut LintReport) {
    // Only an initiator's access to its own memory has a plausible range that is the same everywhere.
    let odd = |value: u64| {
        if locality.quantity.is_latency() { !(10_000..=10_000_000).contains(&value) } else { value < 1000 }
    };
    let own = locality.initiators.iter().filter(|domain| locality.targets.contains(domain));
    let found = own
        .filter_map(|domain| Some((*domain, locality.get(*domain, *domain)?)))
        .find(|(_, value)| odd(*value));
    let Some((domain, value)) = found else { return };
    let shown = if !locality.quantity.is_latency() {
        format!("{value} MB/s")
    } else if value < 1000 {
        format!("{value} ps")
    } else {
        format!("{} ns", value / 1000)
    };
    let what = match locality.quantity {
        Quantity::AccessLatency | Quantity::ReadLatency | Quantity::WriteLatency => "latency",
        _ => "bandwidth",
    };
    let says = format!("HMAT: {what} from domain {domain} to its own memory is {shown}");
    let means = "no memory is like that: a unit or a value is wrong, or it is a test bed's";
    linted.find(
        "N11",
        Severity::Warn,
        [Side::new(&said.at, None, says)],
        means,
        "latencies in picoseconds (revision 2), bandwidths in MB/s",
    );
}

/// Finds two targets that HMAT and SLIT rank in opposite order.
fn disorder(facts: &Facts, all: &[&Locality], at: &SourceLine, linted: &mut LintReport) {
    let Some(slit) = facts.tables.distances.last() else { return };
    let latency = all.iter().find(|locality| locality.quantity.is_latency());
    let Some(latency) = latency else { return };
    let far =
        |from: u32, to: u32| slit.value.rows.get(from as usize).and_then(|row| row.get(to as usize)).copied();
    for from in &latency.initiators {
        for (n, one) in latency.targets.iter().enumerate() {
            for other in &latency.targets[n + 1..] {
                let slow = latency.get(*from, *one).zip(latency.get(*from, *other));
                let far = far(*from, *one).zip(far(*from, *other));
                let Some(((a, b), (c, d))) = slow.zip(far) else { continue };
                if (a < b && c > d) || (a > b && c < d) {
                    let says = format!("HMAT: from {from}, {one} takes {a} ps and {other} {b} ps");
                    let sides =
                        [Side::new(at, None, says), Side::new(&slit.at, None, format!("SLIT: {c} and {d}"))];
                    let means = "SLIT and HMAT order memory otherwise: memory of high bandwidth may be put far on purpose";
                    linted.find("N12", Severity::Info, sides, means, "HMAT is the surer of the two");
                    return;
                }
            }
        }
    }
}

/// N13: domains with processors but no memory.
fn idle(facts: &Facts, linted: &mut LintReport) {
    let with: BTreeSet<u32> = memory(facts).map(|(said, _)| said.value.domain).collect();
    let mut sides: Vec<Side> = Vec::new();
    if with.is_empty() {
        let lacking =
            facts.numa.all.iter().filter(|node| {
                node.bytes == Some(0) && node.cpus.as_ref().is_some_and(|cpus| !cpus.is_empty())
            });
        sides.extend(lacking.map(|node| {
            let at = node.at.clone().unwrap_or_else(|| SourceLine::whole(format!("node {}", node.id)));
            Side::new(
                &at,
                None,
                format!("node {} has {} CPUs and no memory", node.id, node.cpus.as_ref().map_or(0, Vec::len)),
            )
        }));
    } else {
        let processors = facts
            .tables
            .initiators
            .iter()
            .filter(|said| said.value.enabled && matches!(said.value.what, InitiatorKind::Processor(_)));
        let mut told = BTreeSet::new();
        for said in processors {
            if !with.contains(&said.value.domain) && told.insert(said.value.domain) {
                sides.push(Side::new(
                    &said.at,
                    None,
                    format!("domain {} has CPUs and no memory", said.value.domain),
                ));
            }
        }
    }
    if sides.is_empty() {
        return;
    }
    // If the memory modules are spread over several packages but all memory is in one node, SRAT is wrong.
    let owners = facts.numa.all.iter().filter(|node| node.bytes.is_some_and(|bytes| bytes > 0)).count();
    let packages = facts.tables.packages.as_ref().filter(|said| said.value > 1 && owners == 1);
    if let Some(said) = packages {
        sides.push(Side::new(&said.at, None, format!("memory modules are on {} packages", said.value)));
        let means =
            "all memory is said to be one node's: SRAT puts it there, and programs are placed wrongly";
        linted.find("N13", Severity::Warn, sides, means, "firmware whose SRAT shares memory out");
    } else {
        let means = "sockets or dies without modules: their programs go to others' memory";
        linted.find(
            "N13",
            Severity::Info,
            sides,
            means,
            "nothing needs to be done, unless modules are there",
        );
    }
}
