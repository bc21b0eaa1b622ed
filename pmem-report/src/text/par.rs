//! The address regions of AMD's Élan SC520 as text.

use super::style::{Styles, styled};
use crate::par::{ParPart, ParPlan, ParRegister};
use crate::units::range;
use std::io::{self, Write};

fn line(part: &ParPart) -> String {
    let space = if part.attributes.is_empty() { "" } else { " " };
    format!("{} {}{space}{}", range(part.first.0, part.last.0), part.target, part.attributes)
}

fn table(registers: &[ParRegister], out: &mut dyn Write) -> io::Result<()> {
    registers
        .iter()
        .try_for_each(|one| writeln!(out, "  PAR{:<2} {}  {}", one.number, one.bits, line(&one.part)))
}

/// Writes the registers that a map needs.
///
/// # Errors
/// Returns the errors of `out`.
pub fn par_plan(report: &ParPlan, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let ParPlan { needed, available, is_least, .. } = report;
    let proof =
        if *is_least { "fewer are not enough" } else { "fewer may suffice: the search was not exhaustive" };
    let heading = match report.verdict.as_str() {
        "fits" => format!("{needed} of {available} registers; {proof}"),
        _ if *is_least => format!("It takes {needed} registers, and there are {available}; {proof}"),
        _ => format!("Nothing was found with {available} registers; the best result takes {needed}; {proof}"),
    };
    writeln!(out, "{}", styled(styles.heading, &heading))?;
    table(&report.registers, out)?;
    if !report.held.is_empty() {
        writeln!(out, "{}", styled(styles.heading, "What registers hold"))?;
        table(&report.held, out)?;
    }
    match &report.writes {
        Some(writes) if writes.is_empty() => writeln!(out, "Nothing needs to be written."),
        Some(writes) => {
            writeln!(out, "{}", styled(styles.heading, "Writes, in this order"))?;
            writes.iter().try_for_each(|write| {
                writeln!(
                    out,
                    "  PAR{:<2} at {}: {} -> {}",
                    write.number, write.offset, write.before, write.bits
                )
            })
        }
        None if report.verdict == "fits" => {
            let why = "There is no order of writes in which what does not change stays as it is: write them while nothing runs from, \
                       or uses, what changes.";
            writeln!(out, "{}", styled(styles.warning, why))
        }
        None => Ok(()),
    }
}
