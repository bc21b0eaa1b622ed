//! Memory by pages as tables.

use super::style::{Styles, compact, lines, read, section, styled};
use crate::memory::{FrameRun, MemoryNode, MemoryReport, Taken};
use crate::sources::Warning;
use crate::units::{Extent, size};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Writes memory by pages.
///
/// # Errors
/// Returns the errors of `out`.
pub fn memory(report: &MemoryReport, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let blocks = match report.block_size {
        Some(bytes) => format!("blocks of {}", size(bytes)),
        None => "block size unknown".to_owned(),
    };
    let heading = format!("counted in pages of {}, {blocks}", size(report.page_size));
    writeln!(out, "{}", styled(styles.heading, &heading))?;
    match &report.nothing {
        Some(why) => writeln!(out, "{why}")?,
        None => segments(report, out)?,
    }
    for list in &report.free_lists {
        let kind = if report.free_lists.iter().any(|l| l.kind != "DRAM") {
            format!(" ({})", list.kind)
        } else {
            String::new()
        };
        writeln!(out, "free list {}{kind}: {} free", list.list, size(list.free_pages * report.page_size))?;
    }
    if !report.free_lists.is_empty() {
        writeln!(
            out,
            "free: not occupied according to any source; a page allocator that starts now would get it"
        )?;
    }
    section("Not free", report.taken.iter().map(by), styles, out)?;
    for node in &report.nodes {
        let name = node.node.map_or("of unknown node".to_owned(), |id| format!("node {id}"));
        let kind = node
            .kind
            .as_ref()
            .filter(|kind| *kind != "DRAM")
            .map_or(String::new(), |kind| format!(" ({kind})"));
        writeln!(out, "{}", styled(styles.heading, &format!("{name}{kind}")))?;
        self::node(node, report, styles, out)?;
    }
    for apart in &report.apart {
        let ranges: Vec<String> = apart.ranges.iter().map(Extent::to_string).collect();
        let heading = format!("{}: not available to the page allocator", apart.arena);
        writeln!(out, "{}", styled(styles.heading, &heading))?;
        writeln!(out, "  {} at {}", size(apart.bytes), ranges.join(", "))?;
        apart.in_use.iter().try_for_each(|taken| writeln!(out, "  in use: {}", by(taken)))?;
    }
    let of_memory = |warning: &&Warning| {
        let about = ["memory", "RAM", "node", "resource", "e820"];
        warning.places.iter().any(|place| place.contains("iomem") || place.contains("devices/system"))
            || about.iter().any(|word| warning.text.contains(word)) && !warning.text.starts_with("bridge")
    };
    section(
        "Warnings",
        report.sources.warnings.iter().filter(of_memory).map(ToString::to_string),
        styles,
        out,
    )?;
    read(&report.sources.read, styles, out)
}

fn by(taken: &Taken) -> String {
    format!("{} {}", taken.by, size(taken.bytes))
}

fn segments(report: &MemoryReport, out: &mut dyn Write) -> io::Result<()> {
    let only_dram = report.segments.iter().all(|segment| segment.kind == "DRAM");
    let rows: Vec<Vec<String>> = report
        .segments
        .iter()
        .map(|segment| {
            vec![
                addresses(&segment.range),
                size(segment.range.pages * report.page_size),
                if only_dram { String::new() } else { segment.kind.clone() },
                segment.node.map_or("unknown".to_owned(), |node| node.to_string()),
                segment.free_list.to_string(),
                segment.arena.clone(),
                pages(&segment.by_state, report),
            ]
        })
        .collect();
    let table = compact(&["segment", "size", "kind", "node", "list", "arena", "pages"], &[1, 3, 4], &rows);
    write!(out, "{}", lines(&table))
}

fn addresses(run: &FrameRun) -> String {
    run.bytes.map_or_else(|| format!("page frame {}", run.first_frame), |bytes| bytes.to_string())
}

/// Puts the page counts of each state into words.
fn pages(by_state: &BTreeMap<String, u64>, report: &MemoryReport) -> String {
    let all: Vec<String> =
        by_state.iter().map(|(word, pages)| format!("{} {word}", size(*pages * report.page_size))).collect();
    all.join(", ")
}

fn node(node: &MemoryNode, report: &MemoryReport, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    if let Some(said) = node.bytes_said {
        writeln!(out, "  the kernel says {}", size(said))?;
    }
    if !node.by_state.is_empty() {
        writeln!(out, "  plugged: {}", pages(&node.by_state, report))?;
    }
    match &node.largest_free_run {
        Some(run) => {
            let text =
                format!("largest free run {} at {}", size(run.pages * report.page_size), addresses(run));
            writeln!(out, "  {}", styled(styles.free, &text))?;
        }
        None if node.by_state.is_empty() => writeln!(out, "  largest free run unknown")?,
        None => writeln!(out, "  nothing is free")?,
    }
    for (blocks, state) in [(&node.online_blocks, "online"), (&node.offline_blocks, "offline")] {
        for range in blocks {
            let many = report.block_size.map_or(String::new(), |size| format!("{} ", range.len() / size));
            writeln!(out, "  blocks {range} ({many}{state})")?;
        }
    }
    Ok(())
}
