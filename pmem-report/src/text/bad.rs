//! Bad memory as text.

use super::style::{Styles, styled};
use crate::bad::BadRam;
use crate::units::size;
use std::io::{self, Write};

/// The number of pages printed on a line.
const ACROSS: usize = 8;

/// Writes the bad pages, and what helps.
///
/// # Errors
/// Returns the errors of `out`.
pub fn bad_ram(report: &BadRam, styles: &Styles, out: &mut dyn Write) -> io::Result<()> {
    let heading = match report.count {
        0 => "No bad page is known.".to_owned(),
        1 => "1 bad page (4 KiB)".to_owned(),
        n => format!("{n} bad pages ({})", size(n << 12)),
    };
    writeln!(out, "{}", styled(styles.heading, &heading))?;
    for line in report.pages.chunks(ACROSS) {
        writeln!(out, "  {}", line.join(" "))?;
    }
    for module in &report.modules {
        writeln!(out, "  {}: {} line(s)", module.name, module.lines)?;
    }
    for says in &report.says {
        writeln!(out, "  {}", styled(styles.warning, says))?;
    }
    if let Some(settings) = &report.settings {
        writeln!(out, "\n{}", styled(styles.heading, "To keep them from being used"))?;
        writeln!(out, "  kernel's command line:                {}", settings.memmap)?;
        writeln!(out, "  /etc/default/grub, in double quotes:  {}", settings.memmap_in_double_quotes)?;
        writeln!(out, "  in single quotes, and in grub.cfg:    {}", settings.memmap_in_single_quotes)?;
        writeln!(out, "  GRUB, not on some EFI machines, nor under Secure Boot: {}", settings.grub_badram)?;
        if let Some(pattern) = &settings.pattern {
            writeln!(out, "  one pattern, of {} pages:             {}", pattern.pages, pattern.badram)?;
        }
        settings
            .windows
            .iter()
            .try_for_each(|line| writeln!(out, "  Windows:                              {line}"))?;
    }
    for given in &report.given {
        writeln!(out, "\n{}", styled(styles.heading, &format!("The setting in line {}", given.line)))?;
        given.says.iter().try_for_each(|says| writeln!(out, "  {says}"))?;
    }
    Ok(())
}
