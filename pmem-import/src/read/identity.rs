//! Which machine it is: hardware and kernel.

use super::reader::{LineReader, Verdict};
use crate::capture::Tree;
use crate::facts::{Facts, Heard, Place, Said};
use crate::text::Line;

/// The files. Serial numbers are in others.
pub(super) const FILES: &[&str] = &[
    "proc/version",
    "sys/class/dmi/id/sys_vendor",
    "sys/class/dmi/id/product_name",
    "sys/kernel/security/lockdown",
];

pub(super) fn read(tree: &Tree, facts: &mut Facts, _: &mut Heard) {
    let mut text = |path: &str| {
        let text = tree.text(path, &mut facts.findings)?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let (kernel, vendor, product) = (text(FILES[0]), text(FILES[1]), text(FILES[2]));
    // The level that holds is in brackets: `none [integrity] confidentiality`.
    let level = text(FILES[3]).filter(|text| !text.contains("[none]"));
    facts.identity.locked_down |= level.is_some();
    let place = |path: &str| Place::whole(tree.place(path));
    facts.identity.kernel = kernel.map(|kernel| Said::new(kernel, place(FILES[0])));
    facts.identity.hardware = product.map(|product| {
        Said::new(format!("{} {product}", vendor.unwrap_or_default()).trim().to_owned(), place(FILES[2]))
    });
}

/// Reads what a log says of them.
#[derive(Default)]
pub(super) struct Reader;

impl LineReader for Reader {
    fn take(&mut self, line: &Line<'_>, facts: &mut Facts, _: &mut Heard) -> Verdict {
        let words = line.words();
        if words.starts_with("Linux version ") {
            facts.identity.kernel = Some(Said::new(words.to_owned(), line.place()));
            return Verdict::Took;
        }
        if words.starts_with("Kernel is locked down from ") {
            facts.identity.locked_down = true;
            return Verdict::Took;
        }
        let hardware = words.strip_prefix("DMI: ").or_else(|| words.strip_prefix("Hardware name: "));
        if let Some(hardware) = hardware.filter(|text| !text.starts_with("Memory slots")) {
            facts.identity.hardware = Some(Said::new(hardware.to_owned(), line.place()));
            return Verdict::Took;
        }
        Verdict::Pass
    }
}
