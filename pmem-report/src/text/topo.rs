//! The machine at a glance as text.

use super::style::{Styles, compact, lines, read, styled, table, warnings};
use crate::topo::{
    AddressSpace, ArenaSummary, BusSummary, CxlMemoryPart, CxlShare, FunctionSummary, NodeSummary, Topo,
};
use crate::units::{Extent, bandwidth, size};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

/// How much detail is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// What fits on a screen: similar nodes are folded, and unimportant functions are only counted.
    Screen,
    /// Also BARs.
    Bars,
    /// Everything.
    All,
}

/// The most nodes whose distances are printed as a table.
const WIDEST: usize = 16;
/// The most ranges that are printed in one cell.
const RANGES: usize = 3;

/// Writes a machine.
///
/// # Errors
/// Returns the errors of `out`.
pub fn topo(report: &Topo, detail: Detail, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    if !report.nodes.is_empty() {
        writeln!(out, "{}", styled(styles.heading, "NUMA nodes"))?;
        write!(out, "{}", lines(&nodes(report, detail)))?;
        write!(out, "{}", distances(report, detail))?;
    }
    let heading = if report.is_net { "Nodes" } else { "Arenas" };
    arenas(report, heading, detail, styles, out)?;
    if !report.cxl.is_empty() {
        writeln!(out, "{}", styled(styles.heading, "CXL"))?;
        let rows: Vec<Vec<String>> = report.cxl.iter().map(share).collect();
        write!(out, "{}", lines(&compact(&["what", "at", "size", "interleave", "to"], &[2], &rows)))?;
    }
    if !report.cxl_memory.is_empty() {
        writeln!(
            out,
            "{}",
            styled(styles.heading, "CXL devices' own memory, speeds from the device's port on")
        )?;
        let rows: Vec<Vec<String>> = report.cxl_memory.iter().map(part).collect();
        let header = ["device", "device addresses", "size", "kind", "read", "latency"];
        write!(out, "{}", lines(&compact(&header, &[2], &rows)))?;
    }
    if !report.address_spaces.is_empty() {
        writeln!(out, "{}", styled(styles.heading, "Address spaces"))?;
        let rows: Vec<Vec<String>> =
            report.address_spaces.iter().map(|space| space_row(space, detail)).collect();
        write!(out, "{}", lines(&compact(&["seen from", "address spaces", "what"], &[], &rows)))?;
    }
    if !report.buses.is_empty() {
        writeln!(out, "{}", styled(styles.heading, "PCI"))?;
        let tree = Tree::new(report);
        let mut text = String::new();
        for bus in report.buses.iter().filter(|bus| bus.above.is_none()) {
            tree.bus(bus, 1, detail, &mut text);
        }
        write!(out, "{text}")?;
    }
    warnings(&report.sources.warnings, styles, out)?;
    read(&report.sources.read, styles, out)
}

fn share(found: &CxlShare) -> Vec<String> {
    let ways = match (found.ways, found.granularity) {
        (Some(1), _) => String::new(),
        (Some(ways), Some(bytes)) => format!("{ways} ways of {}", size(bytes.into())),
        _ => "not known".to_owned(),
    };
    let what = found.region.clone().unwrap_or_else(|| "window".to_owned());
    vec![what, found.range.to_string(), size(found.range.len()), ways, found.targets.join(", ")]
}

fn part(found: &CxlMemoryPart) -> Vec<String> {
    vec![
        found.device.clone(),
        found.range.to_string(),
        size(found.range.len()),
        if found.persistent { "persistent" } else { "volatile" }.to_owned(),
        found.speed.read_bandwidth_mib_s.map_or(String::new(), bandwidth),
        found.speed.read_latency_ns.map_or(String::new(), |ns| format!("{ns} ns")),
    ]
}

fn space_row(space: &AddressSpace, detail: Detail) -> Vec<String> {
    // Many devices often share one name. Count them instead of repeating it.
    let mut names: Vec<(&str, usize)> = Vec::new();
    for name in &space.names {
        match names.iter_mut().find(|(known, _)| known == name) {
            Some((_, times)) => *times += 1,
            None => names.push((name, 1)),
        }
    }
    let most = if detail == Detail::All { usize::MAX } else { WIDEST };
    let more = names.len().saturating_sub(most);
    let mut words: Vec<String> = names
        .iter()
        .take(most)
        .map(|(name, times)| if *times > 1 { format!("{name} × {times}") } else { (*name).to_owned() })
        .collect();
    if more > 0 {
        words.push(format!("{more} more (--all)"));
    }
    let what = match (&space.through, space.is_empty) {
        (Some(through), _) => format!("through {through}, whose tables are not shown"),
        (None, true) => "nothing: bus mastering is off".to_owned(),
        (None, false) => String::new(),
    };
    let (arena, _) = space.arena.split_once(" (").unwrap_or((&space.arena, ""));
    vec![arena.to_owned(), words.join(", "), what]
}

/// Whether two nodes are similar enough to share a row.
fn alike(a: &NodeSummary, b: &NodeSummary) -> bool {
    let speeds = |node: &NodeSummary| node.access.iter().map(|access| access.speed).collect::<Vec<_>>();
    let many = |node: &NodeSummary| node.cpus.as_ref().map(Vec::len);
    // Compare the sizes as printed: firmware or the kernel keeps slightly different amounts on each node.
    let words = |node: &NodeSummary| node.bytes.map(size);
    (a.kind.as_ref(), words(a), a.tier, &a.memory_side_caches)
        == (b.kind.as_ref(), words(b), b.tier, &b.memory_side_caches)
        && many(a) == many(b)
        && speeds(a) == speeds(b)
        && a.at.is_empty() == b.at.is_empty()
}

fn nodes(report: &Topo, detail: Detail) -> comfy_table::Table {
    let mut groups: Vec<Vec<&NodeSummary>> = Vec::new();
    let fold = detail < Detail::All && report.nodes.len() > WIDEST;
    for node in &report.nodes {
        match groups.last_mut().filter(|group| fold && alike(group[0], node)) {
            Some(group) => group.push(node),
            None => groups.push(vec![node]),
        }
    }
    let rows: Vec<Vec<String>> = groups.iter().map(|group| node_row(group)).collect();
    let header = ["node", "kind", "CPUs", "memory", "read", "latency", "cache", "tier", "at"];
    compact(&header, &[0, 3], &rows)
}

fn node_row(group: &[&NodeSummary]) -> Vec<String> {
    let node = group[0];
    let ids: Vec<u32> = group.iter().map(|node| node.id).collect();
    let cpus = match node.cpus.as_deref() {
        None => "unknown".to_owned(),
        Some([]) => "none".to_owned(),
        Some(_) => {
            let mut all: Vec<u32> =
                group.iter().flat_map(|node| node.cpus.iter().flatten().copied()).collect();
            all.sort_unstable();
            all.dedup();
            pmem_import::show_list(&all)
        }
    };
    let kind = node.kind.as_ref().map_or(String::new(), |kind| {
        format!("{kind}{}", if node.kind_inferred { " (by speed)" } else { "" })
    });
    let best = node.access.iter().find(|access| access.speed.read_bandwidth_mib_s.is_some());
    let speed = best.map(|access| access.speed).unwrap_or_default();
    let each = if group.len() > 1 { " each" } else { "" };
    let at = match (node.bytes, node.at.is_empty()) {
        (Some(0) | None, true) => String::new(),
        (Some(_), true) => "unknown addresses".to_owned(),
        _ if group.len() > 1 => "see --all".to_owned(),
        _ => brief(&node.at),
    };
    let caches: Vec<String> = node.memory_side_caches.iter().map(|bytes| size(*bytes)).collect();
    vec![
        pmem_import::show_list(&ids),
        kind,
        cpus,
        format!("{}{each}", node.bytes.map_or("unknown".to_owned(), size)),
        speed.read_bandwidth_mib_s.map_or(String::new(), bandwidth),
        speed.read_latency_ns.map_or(String::new(), |ns| format!("{ns} ns")),
        caches.join(" + "),
        node.tier.map_or(String::new(), |tier| {
            format!("{tier}{}", if node.tier_inferred { " (by speed)" } else { "" })
        }),
        at,
    ]
}

fn distances(report: &Topo, detail: Detail) -> String {
    let distances = &report.distances;
    if distances.nodes.len() < 2 {
        return String::new();
    }
    if distances.columns.len() > WIDEST && detail < Detail::All {
        let mut all: Vec<u32> = distances.matrix.iter().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        let all: Vec<String> = all.iter().map(u32::to_string).collect();
        return format!("  distances: {} (the matrix: --all, --json)\n", all.join(", "));
    }
    let mut header = vec!["distance".to_owned()];
    header.extend(distances.columns.iter().map(u32::to_string));
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let right: Vec<usize> = (0..header.len()).collect();
    let mut rows = table(&header, &right);
    for (id, row) in distances.nodes.iter().zip(&distances.matrix) {
        rows.add_row(std::iter::once(id).chain(row).map(u32::to_string));
    }
    lines(&rows)
}

/// Writes all arenas except those of PCI buses, which have a tree of their own. Arenas without addresses are left out
/// unless everything is asked for.
fn arenas(
    report: &Topo,
    heading: &str,
    detail: Detail,
    styles: &Styles,
    out: &mut dyn Write,
) -> io::Result<()> {
    let nothing = |arena: &ArenaSummary| arena.own == 0 && arena.regions.is_empty();
    let many = report.arenas.iter().filter(|arena| !arena.is_bus).count();
    let shown: Vec<&ArenaSummary> = report
        .arenas
        .iter()
        .filter(|arena| !arena.is_bus && (detail == Detail::All || report.is_net || !nothing(arena)))
        .collect();
    writeln!(out, "{}", styled(styles.heading, heading))?;
    let most = if detail == Detail::All { usize::MAX } else { 2 * WIDEST };
    let rows: Vec<Vec<String>> = shown.iter().take(most).map(|arena| arena_row(arena)).collect();
    if !rows.is_empty() {
        let header = ["arena", "type", "own", "unclaimed", "regions", "at"];
        write!(out, "{}", lines(&compact(&header, &[2, 3, 4], &rows)))?;
    }
    let left = many - rows.len();
    if left > 0 {
        let what = if left == 1 { "arena" } else { "arenas" };
        let which = if shown.len() > rows.len() { "more" } else { "without addresses of their own" };
        writeln!(out, "  {left} {what} {which}: --all")?;
    }
    Ok(())
}

fn arena_row(arena: &ArenaSummary) -> Vec<String> {
    let bytes = |n: u64| if n == 0 { "-".to_owned() } else { size(n) };
    let name = arena.node.map_or_else(|| arena.name.clone(), |node| format!("{node}: {}", arena.name));
    let mut ranges: Vec<Extent> = Vec::new();
    for span in arena.spans.iter().filter(|span| span.state != "lent") {
        match ranges.last_mut().filter(|last| last.end.0 == u128::from(span.range.start.0)) {
            Some(last) => last.end = span.range.end,
            None => ranges.push(span.range),
        }
    }
    let regions = if arena.regions.is_empty() { String::new() } else { arena.regions.len().to_string() };
    vec![name, arena.kind.clone(), bytes(arena.own), bytes(arena.free), regions, brief(&ranges)]
}

/// Formats the first few ranges.
fn brief(ranges: &[Extent]) -> String {
    let mut text: Vec<String> = ranges.iter().take(RANGES).map(Extent::to_string).collect();
    if ranges.len() > RANGES {
        text.push(format!("and {} more", ranges.len() - RANGES));
    }
    text.join(", ")
}

/// Buses and functions by what is above them.
struct Tree<'r> {
    buses: BTreeMap<&'r str, &'r BusSummary>,
    /// The functions on each bus, by the name of the bus's arena.
    functions: BTreeMap<&'r str, Vec<&'r FunctionSummary>>,
    /// The buses below each bus whose bridges are not known.
    loose: BTreeMap<&'r str, Vec<&'r BusSummary>>,
}

impl<'r> Tree<'r> {
    fn new(report: &'r Topo) -> Self {
        let mut tree = Self { buses: BTreeMap::new(), functions: BTreeMap::new(), loose: BTreeMap::new() };
        for bus in &report.buses {
            tree.buses.insert(&bus.bus, bus);
            if let (None, Some(above)) = (&bus.bridge, &bus.above) {
                tree.loose.entry(above).or_default().push(bus);
            }
        }
        for function in &report.functions {
            tree.functions.entry(&function.bus).or_default().push(function);
        }
        tree
    }

    fn bus(&self, bus: &BusSummary, depth: usize, detail: Detail, out: &mut String) {
        // The depth is bounded by the number of buses, but indenting further helps nobody.
        let indent = "  ".repeat(depth.min(40));
        let node = bus.node.map_or(String::new(), |node| format!(", node {node}"));
        let mut has = Vec::new();
        if !bus.memory.is_empty() {
            has.push(format!("memory {}", brief(&bus.memory)));
        }
        if !bus.io.is_empty() {
            has.push(format!("I/O {}", brief(&bus.io)));
        }
        let has = if has.is_empty() { String::new() } else { format!(": {}", has.join("; ")) };
        let _ = writeln!(out, "{indent}bus {}{node}{has}", bus.bus);
        let arena = format!("pci {}", bus.bus);
        let functions = self.functions.get(arena.as_str()).map_or(&[][..], |all| &all[..]);
        let mut folded: BTreeMap<&str, usize> = BTreeMap::new();
        for function in functions {
            if detail < Detail::All && !self.is_of_interest(function) {
                *folded.entry(function.kind.as_str()).or_default() += 1;
                continue;
            }
            self.function(function, depth + 1, detail, out);
        }
        for below in self.loose.get(bus.bus.as_str()).into_iter().flatten() {
            self.bus(below, depth + 1, detail, out);
        }
        if !folded.is_empty() {
            let all: Vec<String> = folded.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
            let more = if functions.len() == folded.values().sum::<usize>() { "" } else { "and " };
            let _ = writeln!(out, "{indent}  {more}{}", all.join(", "));
        }
    }

    /// Whether a person would look for this function: it has a driver or a name, leads to other functions, belongs to a
    /// useful class, or has a BAR without an address.
    fn is_of_interest(&self, function: &FunctionSummary) -> bool {
        const CLASSES: [&str; 10] = [
            "SATA",
            "NVMe",
            "storage",
            "network",
            "display",
            "audio",
            "accelerator",
            "CXL memory",
            "USB",
            "multimedia",
        ];
        let leads_on = function.below.as_deref().is_some_and(|below| {
            let arena = format!("pci {below}");
            self.functions.get(arena.as_str()).is_some_and(|all| !all.is_empty())
                || self.loose.contains_key(below)
        });
        let quiet = ["pcieport", "lpc_ich", "i801_smbus"];
        let driven = function
            .driver
            .as_deref()
            .is_some_and(|driver| !quiet.contains(&driver) && !driver.contains("uncore"));
        let useful = CLASSES.contains(&function.kind.as_str());
        // If a function is known only from a resource list, its name is all there is, so print it.
        let bare = function.class.is_none();
        bare || leads_on
            || useful
            || driven && function.kind != "PCI bridge"
            || !function.names.is_empty()
            || function.bars.iter().any(|bar| bar.unplaced.is_some())
    }

    fn function(&self, function: &FunctionSummary, depth: usize, detail: Detail, out: &mut String) {
        let indent = "  ".repeat(depth.min(40));
        let id = function.vendor.as_ref().zip(function.device.as_ref());
        let id = id.map(|(vendor, device)| {
            format!("{}:{}", vendor.trim_start_matches("0x"), device.trim_start_matches("0x"))
        });
        let title = match (&function.title, id) {
            (Some(title), _) => format!(" {title}"),
            (None, Some(id)) => format!(" {id}"),
            (None, None) => String::new(),
        };
        let mut by: Vec<&str> = function.names.iter().map(String::as_str).collect();
        by.extend(function.driver.as_deref());
        let by = if by.is_empty() { String::new() } else { format!(" ({})", by.join(", ")) };
        let physical = function
            .physical_function
            .as_ref()
            .map_or(String::new(), |of| format!(", virtual function of {of}"));
        let _ = writeln!(out, "{indent}{} {}{title}{by}{physical}", function.address, function.kind);
        for bar in &function.bars {
            let io = if bar.io { "I/O " } else { "" };
            if let Some(why) = &bar.unplaced {
                let _ =
                    writeln!(out, "{indent}  {} has no address: {io}{}, {why}", bar.name, size(bar.bytes));
            } else if detail > Detail::Screen
                && let Some(range) = bar.range
            {
                let place = match bar.size_is_said {
                    true => format!("{range} {}", size(bar.bytes)),
                    false => format!("at {}, size unknown", range.start),
                };
                let _ = writeln!(out, "{indent}  {} {io}{place} {}", bar.name, bar.attrs);
            }
        }
        if let Some(below) = function.below.as_deref().and_then(|below| self.buses.get(below)) {
            self.bus(below, depth + 1, detail, out);
        }
    }
}
