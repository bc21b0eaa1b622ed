//! Lint findings as text.

use super::style::{Styles, styled, warnings};
use crate::lint::{LintReport, RULES, Severity, Side};
use crate::units::range;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Writes the findings of one of several machines, under its name.
///
/// # Errors
/// Returns the errors of `out`.
pub fn lint_of_several(report: &LintReport, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", styled(styles.heading, &report.machine))?;
    lint(report, styles, out)
}

/// Writes the findings of a machine.
///
/// # Errors
/// Returns the errors of `out`.
pub fn lint(report: &LintReport, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    for found in &report.findings {
        let style = if found.severity == Severity::Info { styles.heading } else { styles.warning };
        let head = format!("{} {}: {}", found.severity.name(), found.rule, found.means);
        writeln!(out, "{}", styled(style, &head))?;
        found.sides.iter().try_for_each(|said| writeln!(out, "  {}", side(said)))?;
        writeln!(out, "  What helps: {}", found.helps)?;
    }
    let count = |severity| report.count(severity);
    let many = |count: usize, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    writeln!(
        out,
        "{}, {}, {}",
        many(count(Severity::Error), "error"),
        many(count(Severity::Warn), "warning"),
        many(count(Severity::Info), "note")
    )?;
    let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for missing in &report.unchecked {
        wanted.entry(missing.wants).or_default().push(missing.rule);
    }
    if !wanted.is_empty() {
        writeln!(out, "{}", styled(styles.heading, "Not checked"))?;
        for (wants, rules) in wanted {
            writeln!(out, "  {}: needs {wants}", rules.join(", "))?;
        }
    }
    warnings(&report.warnings, styles, out)?;
    if !report.read.is_empty() {
        writeln!(out, "{}", styled(styles.heading, "Read"))?;
        report.read.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    }
    Ok(())
}

fn side(side: &Side) -> String {
    let place = match side.line {
        Some(line) => format!("{}:{line}", side.source),
        None => side.source.clone(),
    };
    match (&side.start, &side.end) {
        (Some(start), Some(end)) => format!("{}  {} ({place})", range(start.0, end.0), side.says),
        _ => format!("{} ({place})", side.says),
    }
}

/// Writes the explanation of one rule, or of all if `only` is `None`.
///
/// # Errors
/// Returns the errors of `out`.
pub fn lint_rules(only: Option<&str>, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    for rule in RULES.iter().filter(|rule| only.is_none_or(|id| id.eq_ignore_ascii_case(rule.id))) {
        writeln!(out, "{}", styled(styles.heading, &format!("{} ({})", rule.id, rule.severity)))?;
        writeln!(out, "  Finds: {}", rule.finds)?;
        writeln!(out, "  Because: {}", rule.because)?;
    }
    Ok(())
}
