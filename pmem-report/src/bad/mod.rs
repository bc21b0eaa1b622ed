//! Bad memory: which pages are bad, what they have in common, settings that keep them out of use, and checks of
//! settings that are already there.

mod given;
mod pages;

pub use given::BadRamSetting;
use pages::{Pages, amount};
use pmem_import::bad::{BadMemoryLine, BadRecord, bad_memory};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The bad pages in a text, and what helps against them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BadRam {
    /// The addresses of the bad pages' first bytes, in order. At most 4096 are listed.
    pub pages: Vec<String>,
    /// The number of bad pages.
    pub count: u64,
    /// The memory modules that the text names, with the number of lines that name each.
    pub modules: Vec<Module>,
    /// What the errors have in common, and what the text leaves open.
    pub says: Vec<String>,
    /// Settings that keep the pages out of use; null if no bad pages are known.
    pub settings: Option<Settings>,
    /// Settings found in the text, checked against these pages.
    pub given: Vec<BadRamSetting>,
}

/// A memory module (DIMM).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Module {
    /// The module's name, as the source gives it.
    pub name: String,
    /// The number of lines that name it.
    pub lines: usize,
}

/// Settings that keep the bad pages out of use. They cover at most 256 pages or runs of pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Settings {
    /// `memmap=` as it must arrive on Linux's command line.
    pub memmap: String,
    /// `memmap=` as it is written inside double quotes in /etc/default/grub, where the shell and GRUB strip
    /// backslashes.
    pub memmap_in_double_quotes: String,
    /// `memmap=` as it is written inside single quotes in /etc/default/grub, and in grub.cfg.
    pub memmap_in_single_quotes: String,
    /// GRUB's `GRUB_BADRAM`: pairs of a 64-bit address and mask.
    pub grub_badram: String,
    /// A single address and mask that cover all bad pages; null if it would cover more than 2^18 pages, or if the bad
    /// pages are a single aligned block, whose pair `grub_badram` already has.
    pub pattern: Option<Pattern>,
    /// Commands for Windows, to be run in this order.
    pub windows: Vec<String>,
}

/// A single address and mask that cover all bad pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pattern {
    /// The address and the mask, separated by a comma.
    pub badram: String,
    /// The number of pages that the pattern covers, good ones included.
    pub pages: u64,
}

/// The most pages that a report lists.
const MOST: u64 = 4096;
/// The most pages or runs that settings are written for: a kernel command line has limited length.
const MOST_SET: usize = 256;
/// The most pages that a single pattern may cover. Beyond that it loses too much memory to be of use.
const MOST_PATTERN: u64 = 1 << 18;

impl BadRam {
    /// Finds the bad pages in a text, with the settings that keep them out of use and the checks of settings already
    /// there.
    ///
    /// # Examples
    ///
    /// A corrected error that EDAC reported:
    ///
    /// ```
    /// use pmem_report::bad::BadRam;
    ///
    /// let log = b"EDAC MC0: 1 CE memory read error on DIMM_A1 (channel:0 slot:0 page:0x12345 offset:0x680)\n";
    /// let report = BadRam::of(log);
    /// assert_eq!(report.pages, ["0x12345000"]);
    /// assert_eq!(report.modules[0].name, "DIMM_A1");
    /// assert!(report.settings.is_some_and(|settings| settings.memmap == "memmap=4K$0x12345000"));
    /// ```
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let records = bad_memory(text);
        let mut pages = Pages::default();
        for bad in &records {
            match &bad.what {
                BadRecord::Error(error) if !error.is_pattern => pages.add(error.address, error.address),
                BadRecord::Range(first, last) => pages.add(*first, *last),
                _ => {}
            }
        }
        let mut says = Vec::new();
        patterns(&records, &mut pages, &mut says);
        let modules = modules(&records);
        says.extend(together(&records, &modules, &pages));
        let given = given::all(&records, &pages);
        let settings = (!pages.is_empty()).then(|| settings(&pages));
        let listed = pages.iter().take(MOST as usize).map(|page| format!("{:#x}", page << 12)).collect();
        Self { pages: listed, count: pages.count(), modules, says, settings, given }
    }
}

/// Handles patterns that testers worked out. A pattern that names a page without a single error is distrusted.
fn patterns(records: &[BadMemoryLine], pages: &mut Pages, says: &mut Vec<String>) {
    let none = pages.is_empty();
    for bad in records {
        let BadRecord::Error(error) = &bad.what else { continue };
        if !error.is_pattern || pages.contains(error.address >> 12) {
            continue;
        }
        if none {
            pages.add(error.address, error.address);
        } else {
            says.push(format!(
                "the pattern in line {} names page {:#x}, which no single error does: versions of memtest86+ before 7.00 lost digits there; it is not taken",
                bad.line,
                error.address & !0xfff
            ));
        }
    }
}

fn modules(records: &[BadMemoryLine]) -> Vec<Module> {
    let mut by: BTreeMap<&str, usize> = BTreeMap::new();
    for bad in records {
        let name = match &bad.what {
            BadRecord::Error(error) => error.module.as_deref(),
            BadRecord::Module(name) => Some(name.as_str()),
            _ => None,
        };
        if let Some(name) = name {
            *by.entry(name).or_default() += 1;
        }
    }
    by.into_iter().map(|(name, lines)| Module { name: name.to_owned(), lines }).collect()
}

/// Draws conclusions from all records together.
fn together(records: &[BadMemoryLine], modules: &[Module], pages: &Pages) -> Vec<String> {
    let mut out = Vec::new();
    if let [only] = modules {
        out.push(format!(
            "all lines that name a module name {}: replace it; keeping pages from being used is no cure",
            only.name
        ));
    }
    let of_errors = records.iter().filter_map(|bad| match &bad.what {
        BadRecord::Error(error) => error.bits,
        BadRecord::Bits(bits) => Some(*bits),
        _ => None,
    });
    let bits: BTreeSet<u64> = of_errors.filter(|bits| *bits != 0).collect();
    if let [bits] = *bits.iter().copied().collect::<Vec<u64>>().as_slice()
        && bits.is_power_of_two()
    {
        let bit = bits.trailing_zeros();
        out.push(format!(
            "bit {bit} of the word (byte {}) each time: one data line, or one chip of one module: replace that; keeping pages from being used is a guess",
            bit / 8
        ));
    }
    let bounds: Vec<u64> = records
        .iter()
        .filter_map(|bad| if let BadRecord::Bound(bound) = bad.what { Some(bound) } else { None })
        .collect();
    if let (Some(low), Some(high)) = (bounds.iter().min(), bounds.iter().max()) {
        let unlisted: BTreeSet<u64> =
            bounds.iter().map(|bound| bound >> 12).filter(|page| !pages.contains(*page)).collect();
        let which: Vec<String> = unlisted.iter().map(|page| format!("{:#x}", page << 12)).collect();
        let listed = if which.is_empty() {
            String::new()
        } else {
            format!("; of these pages no single error is listed: {}", which.join(", "))
        };
        out.push(format!(
            "the lowest and highest errors are {low:#x} and {high:#x}, and not all between is bad{listed}"
        ));
    }
    let corrupted = records
        .iter()
        .find_map(|bad| if let BadRecord::Corrupted(bytes) = bad.what { Some(bytes) } else { None });
    if let Some(bytes) = corrupted {
        let n = bytes >> 12;
        let plural = if n == 1 { "page" } else { "pages" };
        out.push(format!(
            "the kernel has given up {} ({n} {plural}): a size, and no number of errors",
            crate::size(bytes)
        ));
    }
    let asides: BTreeMap<&str, Vec<String>> = records.iter().fold(BTreeMap::new(), |mut by, bad| {
        if let BadRecord::Aside(why) = &bad.what {
            by.entry(why.as_str()).or_default().push(bad.line.to_string());
        }
        by
    });
    out.extend(asides.into_iter().map(|(why, lines)| format!("line {}: {why}", lines.join(", "))));
    if pages.is_empty() {
        out.push("no address of a bad page is said".to_owned());
    }
    out
}

/// Writes the settings that keep the pages out of use.
fn settings(pages: &Pages) -> Settings {
    let runs = pages.runs();
    let parts = |dollar: &str| {
        let parts: Vec<String> = runs
            .iter()
            .take(MOST_SET)
            .map(|(first, last)| format!("{}{dollar}{:#x}", amount((last - first + 1) << 12), first << 12))
            .collect();
        format!("memmap={}", parts.join(","))
    };
    let pairs: Vec<String> = pages
        .blocks()
        .take(MOST_SET)
        .map(|(page, order)| format!("{:#x},{:#018x}", page << 12, u64::MAX << (12 + order)))
        .collect();
    // With a single block, the pattern is that block's pair.
    let pattern = pages.pattern().filter(|(_, _, count)| pairs.len() > 1 && *count <= MOST_PATTERN);
    let frames: Vec<String> = pages.iter().take(MOST_SET).map(|page| format!("{page:#x}")).collect();
    Settings {
        memmap: parts("$"),
        memmap_in_double_quotes: parts(r"\\\$"),
        memmap_in_single_quotes: parts(r"\$"),
        grub_badram: format!("GRUB_BADRAM=\"{}\"", pairs.join(",")),
        pattern: pattern
            .map(|(address, mask, pages)| Pattern { badram: format!("{address:#x},{mask:#018x}"), pages }),
        windows: vec![
            format!("bcdedit /set {{badmemory}} badmemorylist {}", frames.join(" ")),
            "bcdedit /set badmemoryaccess no".to_owned(),
        ],
    }
}
