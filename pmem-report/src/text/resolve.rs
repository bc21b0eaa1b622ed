//! Answers to `resolve` as text.

use super::style::{Styles, section};
use crate::evidence::{Evidence, Stance, Sureness};
use crate::outcome::Outcome;
use crate::resolve::{CxlAnswer, Resolve, Resolved, Space};
use std::io::{self, Write};

/// Writes the answers, one after another.
///
/// # Errors
/// Returns the errors of `out`.
pub fn resolve(report: &Resolve, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    report.results.iter().try_for_each(|answer| write!(out, "{}", text(answer)))?;
    // Only what could not be seen bears on an answer. `topo` prints the rest.
    section("Not seen", report.sources.unseen.iter().cloned(), styles, out)?;
    let odd =
        report.sources.read.iter().filter(|read| !read.not_understood.is_empty() || !read.notes.is_empty());
    section("Read", odd.map(|read| read.summary.clone()), styles, out)
}

fn text(answer: &Resolved) -> String {
    let port = if answer.space == Space::Io { "I/O port " } else { "" };
    let asked = match answer.result {
        Outcome::Unplaced => String::new(),
        _ => format!("{port}{} from {}: ", answer.asked, answer.from),
    };
    let place = match (answer.result, &answer.addr, &answer.arena) {
        (Outcome::Accept, Some(addr), Some(arena)) => format!(", at {addr} of {arena}, {}", cost(answer)),
        _ => String::new(),
    };
    let mut text = format!("{asked}{}{place}\n", answer.what);
    let hops = if answer.result == Outcome::Loop {
        &answer.hops[..answer.hops.len().min(8)]
    } else {
        &answer.hops[..]
    };
    for hop in hops {
        let cost = match (hop.cost, hop.measured) {
            (Some(cost), true) => format!("distance {cost}"),
            (Some(cost), false) => format!("cost {cost}"),
            (None, _) => "unreachable".to_owned(),
        };
        text.push_str(&format!("    {} {}, over {}, {cost}\n", hop.from, hop.addr, hop.interconnect));
    }
    text.push_str(&judged(answer));
    if let Some(cxl) = &answer.cxl {
        text.push_str(&format!("  CXL: {}\n", shared(cxl)));
    }
    if let Some(reason) = answer.reason.as_ref().filter(|_| answer.result != Outcome::Architecture) {
        text.push_str(&format!("  why: {reason}\n"));
    }
    text
}

/// Sums up in one line: node, kind of memory and device, how sure that is, and which sources say so.
fn judged(answer: &Resolved) -> String {
    let mut is = Vec::new();
    is.extend(answer.numa_node.map(|node| format!("node {node}")));
    is.extend(answer.memory.clone());
    is.extend(answer.function.clone());
    is.extend(answer.cxl.as_ref().and_then(|cxl| cxl.device.clone()));
    let sure = match answer.sure {
        Sureness::Agreed => "several sources agree",
        Sureness::Said => "said",
        Sureness::Inferred => "inferred",
        Sureness::Architecture => "by architecture",
        Sureness::Conditional => "if the IOMMU passes it through untranslated",
        Sureness::Doubtful => "in doubt",
        Sureness::Unknown => "not known",
    };
    // If all sources are files of one capture, print their names inside it: `proc/iomem` instead of `x.tar:proc/iomem`.
    let sources = || answer.evidence.iter().filter_map(|said| said.source.as_deref());
    let inside = |source: &str| {
        source.find(":proc/").or_else(|| source.find(":sys/")).map(|at| source[..=at].to_owned())
    };
    let capture = sources().next().and_then(inside);
    let capture =
        capture.filter(|capture| sources().all(|source| source.starts_with(capture))).unwrap_or_default();
    let one = |said: &Evidence| {
        let but = if said.stance == Stance::Agrees { "" } else { "but " };
        let source = said.source.as_deref().and_then(|source| source.strip_prefix(&capture));
        let at = match (source, said.line) {
            (Some(source), Some(line)) => format!(" ({source}:{line})"),
            (Some(source), None) => format!(" ({source})"),
            (None, _) => String::new(),
        };
        format!("{but}{}{at}", said.says)
    };
    let mut by: Vec<String> = answer.evidence.iter().map(one).collect();
    // A line that names a device tells both what is there and which device it is. Print it once.
    by.dedup();
    if is.is_empty() && by.is_empty() {
        return String::new();
    }
    is.push(sure.to_owned());
    let by = if by.is_empty() { String::new() } else { format!(": {}", by.join("; ")) };
    format!("  {}{by}\n", is.join(", "))
}

/// Describes which CXL device decodes an address.
fn shared(cxl: &CxlAnswer) -> String {
    let mut words =
        vec![cxl.region.clone().unwrap_or_else(|| "a window of which no region is known".to_owned())];
    match (cxl.ways, cxl.granularity) {
        (Some(1), _) => {}
        (Some(ways), Some(granularity)) => words.push(format!("{ways} ways of {granularity} bytes")),
        _ => words.push("interleaved, but no source says how".to_owned()),
    }
    match (&cxl.device, &cxl.function, cxl.position) {
        (Some(device), Some(function), _) => words.push(format!("{device} ({function})")),
        (Some(device), None, _) => words.push(device.clone()),
        (None, _, Some(position)) => words.push(format!("device {position}, whose name no source says")),
        (None, _, None) if cxl.region.is_some() => words.push("which device is not known".to_owned()),
        _ => {}
    }
    match &cxl.own {
        Some(own) => words.push(format!("at its own {own}")),
        None if cxl.device.is_some() => words.push("device address not known".to_owned()),
        None => {}
    }
    words.extend(cxl.bridge.map(|bridge| format!("below host bridge {bridge}")));
    words.join(", ")
}

/// Shows firmware's distance and the unmeasured hops separately: their sum would mean nothing.
fn cost(answer: &Resolved) -> String {
    let total = answer.cost.map_or("unreachable".to_owned(), |cost| format!("cost {cost}"));
    match (answer.distance, answer.unmeasured) {
        (Some(distance), 0) => format!("{total} (distance {distance})"),
        (Some(distance), 1) => format!("{total} (distance {distance} and a hop not measured)"),
        (Some(distance), hops) => format!("{total} (distance {distance} and {hops} hops not measured)"),
        (None, _) => total,
    }
}
