//! What addresses mean, one after another.

use super::style::{Styles, section};
use crate::resolve::{Answer, CxlAnswer, Outcome, Resolve, Space};
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

fn text(answer: &Answer) -> String {
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
    if let Some(cxl) = &answer.cxl {
        text.push_str(&format!("  CXL: {}\n", shared(cxl)));
    }
    if let Some(reason) = answer.reason.as_ref().filter(|_| answer.result != Outcome::Architecture) {
        text.push_str(&format!("  why: {reason}\n"));
    }
    text
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
fn cost(answer: &Answer) -> String {
    let total = answer.cost.map_or("unreachable".to_owned(), |cost| format!("cost {cost}"));
    match (answer.distance, answer.unmeasured) {
        (Some(distance), 0) => format!("{total} (distance {distance})"),
        (Some(distance), 1) => format!("{total} (distance {distance} and a hop not measured)"),
        (Some(distance), hops) => format!("{total} (distance {distance} and {hops} hops not measured)"),
        (None, _) => total,
    }
}
