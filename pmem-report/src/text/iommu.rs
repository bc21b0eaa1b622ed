//! IOMMU reports as text.

use super::style::{Styles, styled};
use crate::iommu::{IommuRefused, IommuShow, IommuWhy};
use crate::units::range;
use std::io::{self, Write};

/// The most ranges of a page table that are printed.
const SHOWN: usize = 12;

/// Writes the IOMMUs.
///
/// # Errors
/// Returns the errors of `out`.
pub fn iommu_show(report: &IommuShow, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let heading = match (report.units.len(), report.width) {
        (0, _) => "No unit is known.".to_owned(),
        (n, Some(width)) => format!("{n} unit(s), host addresses of {width} bits"),
        (n, None) => format!("{n} unit(s)"),
    };
    writeln!(out, "{}", styled(styles.heading, &heading))?;
    for unit in &report.units {
        let width = unit.width.map_or(String::new(), |width| format!(", takes {width} bits"));
        let rest = if unit.has_the_rest == Some(true) {
            ", covers everything that no other unit covers"
        } else {
            ""
        };
        writeln!(out, "  registers at {}{width}{rest}", unit.base)?;
        unit.scopes.iter().try_for_each(|scope| writeln!(out, "    {scope}"))?;
    }
    if !report.reserved.is_empty() {
        writeln!(out, "\n{}", styled(styles.heading, "Addresses that no mapping may use"))?;
    }
    for found in &report.reserved {
        let whose =
            if found.devices.is_empty() { String::new() } else { format!(": {}", found.devices.join(", ")) };
        writeln!(out, "  {} {}{whose}", range(found.start.0, found.end.0), found.kind)?;
    }
    if !report.groups.is_empty() {
        writeln!(out, "\n{}", styled(styles.heading, "Groups"))?;
    }
    for group in &report.groups {
        writeln!(out, "  {}: {}", group.number, group.functions.join(" "))?;
    }
    if !(report.special.is_empty() && report.aliases.is_empty()) {
        writeln!(out, "\n{}", styled(styles.heading, "Requester ids that belong to no function"))?;
    }
    report.special.iter().chain(&report.aliases).try_for_each(|says| writeln!(out, "  {says}"))?;
    if !report.tables.is_empty() {
        writeln!(out, "\n{}", styled(styles.heading, "What devices reach by their tables"))?;
    }
    for table in &report.tables {
        writeln!(out, "  {}: {} range(s)", table.device, table.translations.len())?;
        for one in table.translations.iter().take(SHOWN) {
            writeln!(out, "    {} to {}, {}", range(one.start.0, one.end.0), one.to, one.access)?;
        }
        if let Some(more) = table.translations.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            writeln!(out, "    and {more} more (--json has all)")?;
        }
    }
    report.says.iter().try_for_each(|says| writeln!(out, "{}", styled(styles.warning, says)))
}

/// Writes what a text says was refused, and why.
///
/// # Errors
/// Returns the errors of `out`.
pub fn iommu_refused(report: &IommuRefused, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    for refusal in &report.refusals {
        let heading = format!("line {}: {}", refusal.line, refusal.what);
        writeln!(out, "{}", styled(styles.heading, &heading))?;
        refusal.says.iter().try_for_each(|says| writeln!(out, "  {says}"))?;
    }
    if report.refusals.is_empty() {
        writeln!(out, "The texts contain no refusal that pmem knows.")?;
    }
    Ok(())
}

/// Writes whether and why a mapping is refused.
///
/// # Errors
/// Returns the errors of `out`.
pub fn iommu_why(report: &IommuWhy, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let asked = format!("{} to {}", report.device, range(report.start.0, report.end.0));
    let heading = match report.verdict.as_str() {
        "refused" => format!("{asked}: VFIO refuses it (-22)."),
        _ => format!("{asked}: nothing known forbids it."),
    };
    writeln!(out, "{}", styled(styles.heading, &heading))?;
    report.why.iter().try_for_each(|why| writeln!(out, "  {}", styled(styles.warning, why)))?;
    if report.group.len() > 1 {
        writeln!(out, "  its group: {}", report.group.join(" "))?;
    }
    report.says.iter().try_for_each(|says| writeln!(out, "  {says}"))
}
