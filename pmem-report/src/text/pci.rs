//! Reports about PCI bus space as text.

use super::style::{Styles, plain, read, styled, table, warnings};
use crate::pci::{
    KernelOutcome, Linux, Obstacle, Part, PciDoctor, PciHierarchy, PciLint, PciPrediction, PciReplay,
    Placement, PlacementPlan, Planned, Range,
};
use crate::units::range;
use crate::units::size;
use std::io::{self, Write};

/// Writes where something is placed and what changes, or why it does not fit.
///
/// # Errors
/// Returns the errors of `out`.
pub fn pci_plan(report: &PlacementPlan, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", styled(styles.heading, &heading(report)))?;
    if !report.placements.is_empty() {
        let mut rows = table(&["function", "BAR", "at"], &[]);
        for placement in &report.placements {
            let Placement { bar, start, end, .. } = placement;
            rows.add_row([&placement.named(), bar, &range(start.0, end.0)]);
        }
        writeln!(out, "\n{}", plain(&rows))?;
    }
    if !report.windows.is_empty() {
        let mut rows = table(&["bridge", "window", "now", "then"], &[]);
        for window in &report.windows {
            rows.add_row([
                window.bridge.as_str(),
                window.kind.as_str(),
                &show(&window.kind, &window.old),
                &show(&window.kind, &window.new),
            ]);
        }
        writeln!(out, "{}", plain(&rows))?;
    }
    let changed: Vec<_> = report.headroom.iter().filter(|room| room.before != room.after).collect();
    if !changed.is_empty() {
        let mut rows = table(&["port without a card", "room now", "then"], &[1, 2]);
        for room in changed {
            rows.add_row([&room.port, &room.before_words, &room.after_words]);
        }
        writeln!(out, "{}", plain(&rows))?;
    }
    for part in &report.demoted {
        writeln!(out, "{} BAR {} goes into the non-prefetchable window", part.function, part.bar)?;
    }
    for part in &report.left_out {
        writeln!(out, "{} BAR {} gets no address; the function works without it", part.function, part.bar)?;
    }
    report.why.iter().try_for_each(|why| reason(why, styles, out))?;
    if !report.writes.is_empty() {
        writeln!(out, "{}", styled(styles.heading, "Writes to configuration space, in this order"))?;
        for write in &report.writes {
            let digits = 2 + 2 * usize::from(write.width);
            let value = u32::from_str_radix(write.value.trim_start_matches("0x"), 16).unwrap_or(0);
            writeln!(out, "  {} {:>4} {:#0digits$x}", write.function, write.offset, value)?;
        }
    }
    let assumed = if report.verdict == "not-proven" { "Not known" } else { "Assumed" };
    report.assumed.iter().try_for_each(|text| writeln!(out, "{assumed}: {text}"))?;
    if report.cost.is_some() && !report.least {
        writeln!(out, "A plan that stops less may exist: the search ended early.")?;
    }
    report.suggestions.iter().try_for_each(|text| writeln!(out, "{text}"))?;
    if let Some(linux) = &report.linux {
        says(linux, styles, out)?;
    }
    warnings(&report.warnings, styles, out)?;
    read(&report.read, styles, out)
}

/// Writes what is wrong with a hierarchy.
///
/// # Errors
/// Returns the errors of `out`.
pub fn pci_lint(report: &PciLint, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let heading = match report.wrong.len() {
        0 => "Nothing is wrong.".to_owned(),
        1 => "One thing is wrong.".to_owned(),
        n => format!("{n} things are wrong."),
    };
    writeln!(out, "{}", styled(styles.heading, &heading))?;
    report.wrong.iter().try_for_each(|wrong| writeln!(out, "  {}", wrong.says))?;
    warnings(&report.warnings, styles, out)?;
    read(&report.read, styles, out)
}

/// Writes the doctor's report.
///
/// # Errors
/// Returns the errors of `out`.
pub fn pci_doctor(report: &PciDoctor, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let heading = match report.verdict.as_str() {
        "nothing-wrong" => "Nothing is wrong: everything that needs an address has one.",
        "can-be-fixed" => "It can be fixed.",
        "no" => "Something has no address, and nothing helps on this machine as it is.",
        _ if report.ailments.iter().all(|ailment| ailment.kind == "unsaid") => {
            "The sources do not show whether everything has an address."
        }
        _ => "Something has no address; whether anything helps is not proven.",
    };
    writeln!(out, "{}", styled(styles.heading, heading))?;
    for ailment in &report.ailments {
        let style = if matches!(ailment.kind.as_str(), "optional" | "small" | "firmware") {
            styles.free
        } else {
            styles.warning
        };
        writeln!(out, "\n{}", styled(style, &ailment.says))?;
        let Some(remedy) = &ailment.remedy else {
            ailment.plan.iter().flat_map(|plan| &plan.why).try_for_each(|why| reason(why, styles, out))?;
            continue;
        };
        remedy.says.iter().try_for_each(|text| writeln!(out, "  {text}"))?;
        if !remedy.interrupts.is_empty() {
            writeln!(out, "  interrupted meanwhile: {}", remedy.interrupts.join(", "))?;
        }
        remedy.steps.iter().try_for_each(|step| writeln!(out, "    {step}"))?;
        for placement in &remedy.placements {
            writeln!(out, "  then {}", placement.shown())?;
        }
    }
    warnings(&report.warnings, styles, out)?;
    read(&report.read, styles, out)
}

/// Writes what Linux will do.
///
/// # Errors
/// Returns the errors of `out`.
pub fn pci_predict(report: &PciPrediction, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    for event in &report.events {
        let heading = format!("Linux {} on {}", report.kernel, event.does);
        writeln!(out, "{}", styled(styles.heading, &heading))?;
        if event.is_nothing() {
            writeln!(out, "  nothing changes")?;
        }
        for placement in &event.placements {
            let moved = event.hurts.iter().any(|part| part.is_placed_by(placement));
            let text = format!("{}{}", placement.shown(), if moved { " (moved)" } else { "" });
            writeln!(out, "  {}", if moved { styled(styles.warning, &text) } else { text })?;
        }
        for window in &event.windows {
            let text = format!(
                "{} {} window: {} -> {}",
                window.bridge,
                window.kind,
                show(&window.kind, &window.old),
                show(&window.kind, &window.new)
            );
            let is_hurt = event.hurts.iter().any(|part| part.is_changed_by(window));
            writeln!(out, "  {}", if is_hurt { styled(styles.warning, &text) } else { text })?;
        }
        for part in &event.fails {
            let lost = if event.hurts.contains(part) { ", and it is lost" } else { "" };
            writeln!(out, "  {} {}: no space{lost}", part.function, named(&part.bar))?;
        }
        // Whatever is in the lines above is not repeated.
        let is_lost = |part: &&Part| {
            !event.placements.iter().any(|placement| part.is_placed_by(placement))
                && !event.windows.iter().any(|window| part.is_changed_by(window))
                && !event.fails.contains(part)
        };
        for part in event.hurts.iter().filter(is_lost) {
            let text = format!("{} {} is lost", part.function, named(&part.bar));
            writeln!(out, "  {}", styled(styles.warning, &text))?;
        }
        for window in &event.differs {
            let text = format!(
                "{} {} window: the registers hold {}, the kernel believes {}",
                window.bridge,
                window.kind,
                show(&window.kind, &window.old),
                show(&window.kind, &window.new)
            );
            writeln!(out, "  {}", styled(styles.warning, &text))?;
        }
    }
    warnings(&report.warnings, styles, out)?;
    read(&report.read, styles, out)
}

/// Writes the outcome of a replay.
///
/// # Errors
/// Returns the errors of `out`.
pub fn pci_replay(report: &PciReplay, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let kernels: Vec<String> = report.rounds.first().map_or(Vec::new(), |round| {
        round.linux.iter().map(|played| format!("Linux {}", played.kernel)).collect()
    });
    let mut heads = vec!["event", "planned"];
    heads.extend(kernels.iter().map(String::as_str));
    let mut rows = table(&heads, &[]);
    for round in &report.rounds {
        let Planned { verdict, quiesced, windows, .. } = &round.planned;
        let ours = match (verdict.as_str(), quiesced.as_slice()) {
            ("nothing-to-do", _) => String::new(),
            ("fits" | "fits-with-quiesce", []) => format!("fits, windows: {windows}"),
            ("fits-with-quiesce", all) => format!("fits, windows: {windows}, stops {}", all.join(", ")),
            (other, _) => other.to_owned(),
        };
        let mut row = vec![round.does.clone(), ours];
        row.extend(round.linux.iter().map(|KernelOutcome { lacking, hurt, .. }| {
            let count = |n: usize, what: &str| (n > 0).then(|| format!("{n} {what}"));
            let parts = [count(*lacking, "without a place"), count(*hurt, "of others lost")];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            if parts.is_empty() { "succeeds".to_owned() } else { parts.join(", ") }
        }));
        rows.add_row(row);
    }
    writeln!(out, "{}", plain(&rows))?;
    warnings(&report.warnings, styles, out)?;
    read(&report.read, styles, out)
}

/// Returns the name of a BAR or window.
fn named(bar: &str) -> String {
    if bar.ends_with("window") { bar.to_owned() } else { format!("BAR {bar}") }
}

/// Writes a hierarchy.
///
/// # Errors
/// Returns the errors of `out`.
pub fn pci_tree(report: &PciHierarchy, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let bytes = |text: &str| size(u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0));
    for node in &report.nodes {
        let indent = "  ".repeat(node.depth);
        let buses =
            node.buses.map_or(String::new(), |[first, last]| format!(", buses {first:02x}-{last:02x}"));
        let hot_plug = if node.hot_plug { ", hot-plug" } else { "" };
        let name = format!("{}{buses}{hot_plug}", node.name);
        writeln!(out, "{indent}{}", styled(styles.heading, &name))?;
        for window in node.windows.iter().filter(|window| window.range.is_some()) {
            let largest = window.largest.as_ref().map_or(String::new(), |block| {
                let len = block.end.0.saturating_sub(block.start.0).saturating_add(1);
                format!(", the largest block {} at {}", size(len), block.start)
            });
            let free = bytes(&window.free);
            writeln!(
                out,
                "{indent}  {} window {}, free {free}{largest}",
                window.kind,
                show(&window.kind, &window.range)
            )?;
        }
        for bar in &node.bars {
            let at = bar.range.as_ref().map_or("no place".to_owned(), Range::shown);
            let sizes: Vec<String> = bar.sizes.iter().map(|text| bytes(text)).collect();
            let sizes =
                if sizes.is_empty() { String::new() } else { format!(", can be {}", sizes.join(", ")) };
            let at = match (&bar.size, &bar.range) {
                (None, Some(range)) => format!("from {} on", range.start),
                _ => at,
            };
            let size = bar.size.as_deref().map_or("of unknown size".to_owned(), bytes);
            writeln!(out, "{indent}  BAR {} {} {size}: {at}{sizes}", bar.bar, bar.kind)?;
        }
    }
    warnings(&report.warnings, styles, out)?;
    read(&report.read, styles, out)
}

/// Writes what the kernel will do by itself.
fn says(linux: &Linux, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let Linux { kernel, event, .. } = linux;
    let done = if event == "plug" { "a plug, or a rescan of the empty bus," } else { "a resize" };
    let ends = if linux.succeeds { "succeeds" } else { "fails" };
    writeln!(out, "{}", styled(styles.heading, &format!("Linux {kernel} by itself: {done} {ends}")))?;
    for placement in &linux.placements {
        writeln!(out, "  {}", placement.shown())?;
    }
    for part in &linux.fails {
        writeln!(out, "  {} BAR {}: no space", part.function, part.bar)?;
    }
    for hurt in &linux.hurts {
        writeln!(
            out,
            "  {}",
            styled(
                styles.warning,
                &format!("{hurt} is lost, and with it everything behind it: do not try this")
            )
        )?;
    }
    Ok(())
}

fn heading(report: &PlacementPlan) -> String {
    match report.verdict.as_str() {
        "fits" if report.quiesced.is_empty() => "It fits without stopping anything.".to_owned(),
        "fits" => {
            format!("It fits. Only the function in question is stopped: {}.", report.quiesced.join(", "))
        }
        "fits-with-quiesce" => format!("It fits once these are stopped: {}.", report.quiesced.join(", ")),
        "nothing-wrong" => "Nothing is wrong: everything that needs an address has one.".to_owned(),
        "no" => "It does not fit, whatever is moved.".to_owned(),
        _ => "Whether it fits is not proven.".to_owned(),
    }
}

/// Formats a window's range; for the kind `bus`, a range of bus numbers.
fn show(kind: &str, range: &Option<Range>) -> String {
    let shown = if kind == "bus" { Range::buses } else { Range::shown };
    range.as_ref().map_or("closed".to_owned(), shown)
}

/// Writes why something does not fit.
fn reason(why: &Obstacle, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{}", styled(styles.warning, &format!("{}, {}: {}", why.at, why.kind, why.says)))?;
    for need in &why.needs {
        writeln!(out, "  needs a place: {} BAR {}, {}", need.function, need.bar, need.size)?;
    }
    for slot in &why.slots {
        let holds = if slot.blockers.is_empty() { "free".to_owned() } else { slot.blockers.join(", ") };
        writeln!(out, "  {}: {holds}", range(slot.start.0, slot.end.0))?;
    }
    Ok(())
}
