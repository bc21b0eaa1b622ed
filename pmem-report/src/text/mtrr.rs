//! Memory types as tables.

use super::style::{Styles, plain, read, section, styled, table, warnings};
use crate::mtrr::{Plan, Show, Strip};
use crate::units::size;
use comfy_table::Table;
use std::io::{self, Write};

/// Writes what is programmed.
///
/// # Errors
/// Returns the errors of `out`.
pub fn show(report: &Show, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let on = |switch: bool| if switch { "on" } else { "off" };
    let default = match (report.default.as_deref(), report.default_known.as_str()) {
        (Some(kind), "inferred") => format!("{kind} (inferred)"),
        (Some(kind), _) => kind.to_owned(),
        (None, "unknown") => "unknown".to_owned(),
        (None, _) => "invalid".to_owned(),
    };
    let heading = format!(
        "{} variable registers, {} in use, {} address bits, default {default}, MTRRs {}, fixed ranges {}",
        report.available,
        report.used,
        report.bits,
        on(report.enabled),
        on(report.fixed),
    );
    writeln!(out, "{}", styled(styles.heading, &heading))?;
    let mut rows = table(&["", "base", "mask", "range", "size", "type"], &[4]);
    for register in &report.registers {
        rows.add_row([
            format!("r{}", register.register),
            register.base.to_string(),
            register.mask.to_string(),
            register.range.map_or("several".to_owned(), |range| range.to_string()),
            register.range.map_or(String::new(), |range| size(range.len())),
            register.kind.clone().unwrap_or_else(|| "invalid".to_owned()),
        ]);
    }
    writeln!(out, "{}", plain(&rows))?;
    write!(out, "{}", plain(&strips(&report.strips, false)))?;
    if let Some(end) = report.tom2 {
        let likely = if report.tom2_likely { "likely " } else { "" };
        writeln!(out, "\nBelow TOM2, {likely}{end}, the default from 4 GiB on is WB.")?;
    }
    if let Some(range) = report.management {
        writeln!(out, "\nThe system management range is {range}: uncacheable to all but its own code.")?;
    }
    let wrong = report.findings.iter().map(|finding| finding.text.clone());
    let complaints = report.complaints.iter().map(ToString::to_string);
    let all: Vec<String> = wrong.chain(complaints).collect();
    if !all.is_empty() {
        writeln!(out)?;
        section("What is wrong", all, styles, out)?;
    }
    wishes(&report.wishes, out)?;
    notes(&report.assumed, styles, out)?;
    warnings(&report.warnings, styles, out)?;
    read(&report.read, styles, out)
}

/// Writes a plan.
///
/// # Errors
/// Returns the errors of `out`.
pub fn plan(report: &Plan, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let now = report.used_now.map_or(String::new(), |used| format!(" ({used} now)"));
    let heading =
        format!("{} of {} registers{now}, default {}", report.registers, report.available, report.default);
    writeln!(out, "{}", styled(styles.heading, &heading))?;
    writeln!(out, "{}", plain(&strips(&report.strips, true)))?;
    let each: Vec<String> = ["UC", "WC", "WT", "WP", "WB"]
        .iter()
        .filter_map(|kind| {
            let count = report.optimum.get(*kind)?;
            Some(format!("default {kind} {}", count.map_or("not possible".to_owned(), |n| n.to_string())))
        })
        .collect();
    writeln!(out, "Fewest registers possible: {}", each.join(", "))?;
    if !report.models.is_empty() {
        writeln!(
            out,
            "What other strategies need (they ignore pinned registers, and addresses about which nothing is known):"
        )?;
    }
    for (name, count) in &report.models {
        let count = count.map_or("finds none".to_owned(), |count| count.to_string());
        writeln!(out, "  our model of {name}: {count}")?;
    }
    if report.left > 0 {
        let registers = if report.left == 1 { "register stays" } else { "registers stay" };
        writeln!(out, "{} {registers} unused", report.left)?;
    }
    if let Some(needed) = report.needed.filter(|_| !report.demoted.is_empty()) {
        let lost = report.demoted.iter().map(|demoted| demoted.range.len()).sum();
        let text = format!(
            "It does not fit: it needs {needed} registers of {}, with {} kept free. The least possible loss is {}:",
            report.available,
            report.keep_free,
            size(lost)
        );
        writeln!(out, "\n{}", styled(styles.warning, &text))?;
        for demoted in &report.demoted {
            writeln!(out, "  {}: {} becomes {}", demoted.range, demoted.wanted, demoted.effective)?;
        }
    }
    writeln!(out, "\n{}", styled(styles.heading, "Write these registers on every CPU, in this order"))?;
    for write in &report.msrs {
        writeln!(out, "  wrmsr {} {}", write.msr, write.value)?;
    }
    if report.msrs.is_empty() {
        writeln!(out, "  nothing")?;
    } else {
        writeln!(
            out,
            "  before that, on all CPUs at once: disable interrupts and caches (CR0.CD), WBINVD, flush the TLB; afterwards restore all\n  \
             (Intel SDM volume 3A, 13.11.8); `pmem mtrr apply` does all of this"
        )?;
    }
    for caution in &report.cautions {
        writeln!(out, "  {}", styled(styles.warning, caution))?;
    }
    let complaints: Vec<String> = report.complaints.iter().map(ToString::to_string).collect();
    if !complaints.is_empty() || !report.advice.is_empty() {
        writeln!(out)?;
    }
    section("The kernel complains", complaints, styles, out)?;
    section("Advice", report.advice.iter().cloned(), styles, out)?;
    wishes(&report.wishes, out)?;
    notes(&report.assumed, styles, out)?;
    warnings(&report.warnings, styles, out)?;
    read(&report.read, styles, out)
}

fn wishes(wishes: &[String], out: &mut dyn Write) -> io::Result<()> {
    wishes.iter().try_for_each(|wish| writeln!(out, "  the log asks for: --want {wish}"))
}

/// Writes the assumptions that were made.
fn notes(assumed: &[String], styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    if !assumed.is_empty() {
        writeln!(out)?;
    }
    section("Assumed", assumed.iter().cloned(), styles, out)
}

fn strips(strips: &[Strip], wanted: bool) -> Table {
    let mut header = vec!["range", "size", "wanted", "programmed", "effective"];
    if !wanted {
        header.remove(2);
    }
    let mut rows = table(&header, &[1]);
    for Strip { range, wanted: want, programmed, effective } in strips {
        let mut cells = vec![range.to_string(), size(range.len())];
        if wanted {
            cells.push(want.clone().unwrap_or_else(|| "-".to_owned()));
        }
        cells.extend([programmed.clone(), effective.clone()]);
        rows.add_row(cells);
    }
    rows
}
