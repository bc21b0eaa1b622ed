//! What addresses mean, one after another.

use super::style::{Styles, section};
use crate::evidence::{Evidence, Stance, Sureness};
use crate::outcome::Outcome;
use crate::resolve::{CxlAnswer, Resolve, Resolved, Space};
use std::io::{self, Write};

/// Writes answers.
///
/// # Errors
/// What the output says.
pub fn resolve(report: &Resolve, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    report.results.iter().try_for_each(|answer| write!(out, "{}", text(answer)))?;
    // What concerns an answer is what could not be seen; the rest is said by `topo`.
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

/// Which node, kind of memory and device, how sure that is, and who says so: in a line.
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
        Sureness::Conditional => "if the IOMMU lets it through as it is",
        Sureness::Doubtful => "in doubt",
        Sureness::Unknown => "not known",
    };
    // Of one capture, the files in it are enough: `x.tar:proc/iomem`.
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
    // A line that names a device says what is there, and whose it is.
    by.dedup();
    if is.is_empty() && by.is_empty() {
        return String::new();
    }
    is.push(sure.to_owned());
    let by = if by.is_empty() { String::new() } else { format!(": {}", by.join("; ")) };
    format!("  {}{by}\n", is.join(", "))
}

/// Which device has an address of CXL's.
fn shared(cxl: &CxlAnswer) -> String {
    let mut words =
        vec![cxl.region.clone().unwrap_or_else(|| "a window of which no region is known".to_owned())];
    match (cxl.ways, cxl.granularity) {
        (Some(1), _) => {}
        (Some(ways), Some(granularity)) => words.push(format!("{ways} ways of {granularity} bytes")),
        _ => words.push("shared out by rules that no source says".to_owned()),
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
        None if cxl.device.is_some() => words.push("at an address of its own that no source says".to_owned()),
        None => {}
    }
    words.extend(cxl.bridge.map(|bridge| format!("below host bridge {bridge}")));
    words.join(", ")
}

/// A distance that firmware gives and hops that nobody has measured are no sum: both are said.
fn cost(answer: &Resolved) -> String {
    let total = answer.cost.map_or("unreachable".to_owned(), |cost| format!("cost {cost}"));
    match (answer.distance, answer.unmeasured) {
        (Some(distance), 0) => format!("{total} (distance {distance})"),
        (Some(distance), 1) => format!("{total} (distance {distance} and a hop not measured)"),
        (Some(distance), hops) => format!("{total} (distance {distance} and {hops} hops not measured)"),
        (None, _) => total,
    }
}
