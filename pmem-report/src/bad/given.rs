//! Checks the bad-memory settings found in a text: what they do, which bad pages they miss, and what is wrong with
//! them.

use super::pages::{Pages, amount, show};
use crate::units;
use crate::units::size;
use pmem_import::bad::{BadMemoryLine, BadRecord, MemMapPart, Quoting, Setting};
use serde::Serialize;
use std::collections::BTreeSet;

/// A bad-memory setting found in the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BadRamSetting {
    /// The line in the text, counted from 1.
    pub line: u32,
    /// What the setting does, which bad pages it misses, and what is wrong with it.
    pub says: Vec<String>,
}

/// The most pieces of memory, as a power of two, that GRUB can reasonably be asked to cut out.
const MOST_PIECES: u32 = 16;
/// The low address bits that GRUB ignores in a mask: it works in pieces of 1 KiB.
const BELOW: u64 = 0x3ff;

/// Checks each setting in a text against the bad pages.
pub(super) fn all(records: &[BadMemoryLine], pages: &Pages) -> Vec<BadRamSetting> {
    let kernel: Vec<(u64, u64)> = records
        .iter()
        .filter_map(
            |bad| if let BadRecord::Kernel(first, last) = bad.what { Some((first, last)) } else { None },
        )
        .collect();
    let settings = records.iter().filter_map(|bad| match &bad.what {
        BadRecord::Setting(setting) => Some((bad.line, setting)),
        _ => None,
    });
    settings
        .map(|(line, setting)| {
            let says = match setting {
                Setting::BadRam { pairs, left } => badram(pairs, *left, pages),
                Setting::MemMap { parts, quoting } => memmap(parts, *quoting, pages, &kernel),
                Setting::BadMemoryList { frames, named } => list(frames, *named, pages),
            };
            BadRamSetting { line, says }
        })
        .collect()
}

/// Tells which bad pages a setting does not cover; `None` if no bad pages are known.
fn missed(pages: &Pages, takes: impl Fn(u64) -> bool) -> Option<String> {
    let missed: BTreeSet<u64> = pages.iter().take(1 << 20).filter(|page| !takes(*page)).collect();
    if pages.is_empty() {
        return None;
    }
    Some(match missed.len() {
        0 => "it takes all of the bad pages".to_owned(),
        n => format!("it misses {n} of the {} bad pages: {}", pages.count(), show(&missed)),
    })
}

/// Checks pairs of address and mask as GRUB interprets them.
fn badram(pairs: &[(u64, u64)], left: Option<u64>, pages: &Pages) -> Vec<String> {
    let mut out = Vec::new();
    for (address, mask) in pairs {
        // Each free bit above a fixed one doubles the number of pieces. Free bits at the bottom only make a piece
        // larger.
        let free = !mask | BELOW;
        let tail = (!free).trailing_zeros();
        let scattered = if tail >= 64 { 0 } else { (free >> tail).count_ones() };
        let piece = size(1u64.checked_shl(tail).unwrap_or(u64::MAX));
        // Free bits within the low 32: how many pieces GRUB would cut out of every 4 GiB.
        let between = if tail >= 32 { 0 } else { ((free & 0xffff_ffff) >> tail).count_ones() };
        let is_short = mask >> 32 == 0 && scattered >= 32;
        if is_short && between == 0 {
            out.push(format!(
                "{address:#x},{mask:#x}: the mask has 32 bits, and GRUB takes 64: it takes {piece} of every 4 GiB; {:#018x} is the mask that is meant",
                mask | 0xffff_ffff_0000_0000
            ));
        } else if scattered > MOST_PIECES {
            let every = if is_short { format!(", 2^{between} in every 4 GiB") } else { String::new() };
            out.push(format!(
                "{address:#x},{mask:#x}: {} bits do not count (each that is 0 in the mask, and the last ten), so that GRUB would make 2^{scattered} pieces of {piece}{every}, and hangs: a second address is no mask, and the example in GRUB's own comment is none to be used",
                free.count_ones()
            ));
        } else {
            let bytes = 1u64.checked_shl(tail + scattered).unwrap_or(u64::MAX);
            out.push(format!(
                "{:#x},{mask:#x} takes {} in {} piece(s)",
                address & mask,
                size(bytes),
                1u64 << scattered
            ));
        }
    }
    if let Some(left) = left {
        out.push(format!("{left:#x}, the last, has no mask: GRUB drops it"));
    }
    let takes = |page: u64| {
        let at = page << 12;
        pairs.iter().any(|(address, mask)| {
            // One bad piece is enough to lose a page, because the kernel gives up whole pages.
            let mask = mask & !0xfff;
            at & mask == address & mask
        })
    };
    out.extend(missed(pages, takes));
    out
}

/// Checks `memmap=` settings, including their quoting.
fn memmap(parts: &[MemMapPart], quoting: Quoting, pages: &Pages, kernel: &[(u64, u64)]) -> Vec<String> {
    let mut out = Vec::new();
    for part in parts {
        let last = part.start.saturating_add(part.size.saturating_sub(1));
        let range = units::range(part.start, last);
        match part.kind {
            None => {
                out.push(format!("without $ and a place it means mem={}: all memory above that is lost", size(part.size)));
                continue;
            }
            Some('!') => out.push(format!(
                "! is no $: {range} becomes a device of persistent memory, which may be formatted and used; {}${:#x} keeps it from being used",
                amount(part.size),
                part.start
            )),
            Some('@') => out.push(format!("@ is no $: {range} is said to be memory that may be used")),
            Some('#') => out.push(format!("# is no $: {range} is said to be ACPI's")),
            Some(_) => out.push(format!("{range} is kept from being used: {}", size(part.size))),
        }
        if part.start & 0xfff != 0 || part.size & 0xfff != 0 {
            out.push(format!("{range} is not of whole pages: what is left of memory is rounded inward, and the pages at its ends go whole"));
        }
        let inside: Vec<&(u64, u64)> =
            kernel.iter().filter(|(first, end)| *first <= last && part.start <= *end).collect();
        if let (Some(first), Some(end)) = (inside.iter().map(|k| k.0).min(), inside.iter().map(|k| k.1).max())
        {
            out.push(format!(
                "the kernel itself lies in it ({}), wherever it was told to be (KASLR): that memory is used; nokaslr keeps it out",
                units::range(first, end)
            ));
        }
    }
    if let Quoting::Shell { backslashes, double } = quoting {
        let wanted = if double { 3 } else { 1 };
        let marks = if double { "double quotes" } else { "single quotes" };
        if parts.iter().any(|part| part.kind == Some('$')) {
            out.push(match backslashes {
                n if n == wanted => format!("in {marks}, {n} backslash(es) before $ are right for /etc/default/grub"),
                n => format!(
                    "in {marks}, {n} backslash(es) before $ are wrong for /etc/default/grub, {wanted} are right: GRUB takes what follows for a variable, and memmap= is left with a size alone, which means mem="
                ),
            });
        }
    }
    let takes = |page: u64| {
        parts.iter().any(|part| {
            let last = part.start.saturating_add(part.size.saturating_sub(1));
            part.kind == Some('$') && (part.start >> 12..=last >> 12).contains(&page)
        })
    };
    out.extend(missed(pages, takes));
    out
}

/// Checks Windows' list of bad page frames.
fn list(frames: &[u64], named: bool, pages: &Pages) -> Vec<String> {
    let mut out =
        vec![format!("{} page(s), from {:#x}", frames.len(), frames.first().map_or(0, |frame| frame << 12))];
    if !named {
        out.push("without {badmemory} the command succeeds and sets nothing that is looked at".to_owned());
    }
    out.extend(missed(pages, |page| frames.contains(&page)));
    out
}
