//! Which registers are the present ones, and what else is known of memory types.

use super::memory::{firmware_map, flatten, last_complete};
use crate::facts::{Complaint, Entry, Facts, Finding, RegisterTable, SourceLine, Sourced, TableKind};
use pmem_core::FirmwareMemory;
use pmem_mtrr::regs::MAX_VARIABLE;
use pmem_mtrr::{
    Amd, Block, Cap, DefType, Fixed, MemType, PatType, Register, Setting, Span, Syscfg, Variable, Width,
};

/// The default type, and how it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// A source says it.
    Said(MemType),
    /// Registers that would be of no use with another prove it.
    Inferred(MemType),
    /// No source says it, and nothing proves it.
    Unknown,
}

impl Default {
    /// The type, where it is known.
    pub const fn kind(self) -> Option<MemType> {
        match self {
            Self::Said(kind) | Self::Inferred(kind) => Some(kind),
            Self::Unknown => None,
        }
    }
}

/// What is known of memory types: what no source says is not there.
#[derive(Clone, Debug)]
pub struct MtrrFacts {
    /// How wide physical addresses are, where a source says.
    pub width: Option<Width>,
    /// No source says the width, but the list is of a time when it was what registers show.
    pub width_of_its_time: bool,
    /// How many variable registers there are.
    pub count: Option<u8>,
    /// The default type.
    pub default: Default,
    /// The default type's whole register.
    pub def: Option<DefType>,
    /// Whether MTRRs are on.
    pub enabled: Option<bool>,
    /// Whether the fixed ranges count.
    pub fixed_enabled: Option<bool>,
    /// The fixed ranges.
    pub fixed: Fixed,
    /// Which of the 88 fixed ranges are known.
    pub fixed_known: u128,
    /// Variable registers by number, with where they are said; those that are not in use are left out.
    pub variable: Vec<(usize, Entry, SourceLine)>,
    /// Whether a table of registers was found, be it empty.
    pub programmed: bool,
    /// Where AMD's rule makes the default write back up to.
    pub tom2: Option<u64>,
    /// No source says so, but an AMD processor's firmware sets it like this.
    pub tom2_likely: bool,
    /// Where memory ends.
    pub top: Option<u64>,
    /// The memory map, in order of address, disjoint.
    pub memory: Vec<(Span, FirmwareMemory)>,
    /// What the memory map is called.
    pub memory_source: Option<String>,
    /// Where a bus may place devices.
    pub windows: Vec<Span>,
    /// Types that somebody wants, or that firmware says it wanted.
    pub wanted: Vec<(Span, MemType)>,
    /// What kernels complain of.
    pub complaints: Vec<Sourced<Complaint>>,
    /// The page attribute table.
    pub pat: Option<[Option<PatType>; 8]>,
    /// Whole settings of all processors, where they could be read: the first one's first.
    pub cpus: Vec<Setting>,
    /// Which of several tables was taken, and the like.
    pub notes: Vec<String>,
    /// What is wrong with the sources.
    pub findings: Vec<Finding>,
}

impl MtrrFacts {
    /// Settles what the sources say.
    pub(crate) fn settle(facts: &mut Facts) -> Self {
        let mtrr = &facts.mtrr;
        let mut notes = Vec::new();
        let mut findings = cut_masks(&mtrr.tables);
        let tables: Vec<&RegisterTable> = mtrr.tables.iter().filter(|table| table.has_registers()).collect();
        let chosen = choose(&tables, &mut notes, &mut findings);
        let said = |pick: fn(&RegisterTable) -> bool| {
            // What the chosen table does not say, the others may: the surest of them, and of those the last.
            let of_chosen = chosen.filter(|table| pick(table));
            of_chosen.or_else(|| {
                tables
                    .iter()
                    .copied()
                    .filter(|table| pick(table) && table.kind != TableKind::Temporary)
                    .max_by_key(|table| table.kind)
            })
        };
        let count = said(|t| t.count.is_some()).and_then(|t| t.count);
        let listed = tables.iter().filter(|t| t.lists_unused).map(|t| t.listed).max();
        let count = count.or_else(|| u8::try_from(listed?).ok()).filter(|n| usize::from(*n) <= MAX_VARIABLE);
        let mut variable: Vec<(usize, Entry, SourceLine)> = chosen.map_or(Vec::new(), |table| {
            table
                .entries
                .iter()
                .map(|(n, entry, line)| (*n, *entry, SourceLine::line(&table.at.source, *line)))
                .collect()
        });
        variable.sort_by_key(|(n, ..)| *n);
        let below_1m = |(_, entry, _): &(usize, Entry, SourceLine)| matches!(entry, Entry::Register(r) if r.block.span().end <= 1 << 20);
        let no_fixed = mtrr.no_fixed || variable.iter().any(below_1m);
        if no_fixed {
            notes.push("a register lies below 1 MiB: this processor has no fixed ranges (as those of Cyrix and Centaur)".to_owned());
        }
        let fixed = said(|t| t.fixed_known != 0);
        let (memory, memory_source) = memory(facts);
        // What is wrong with these very sources is wrong with the answer.
        let of_these: std::collections::BTreeSet<_> = facts
            .mtrr
            .tables
            .iter()
            .map(|table| &table.at.source)
            .chain(facts.firmware.maps.iter().map(|map| &map.at.source))
            .chain(facts.memory.iter().map(|listing| &listing.source))
            .collect();
        let about = |finding: &&Finding| finding.places.iter().any(|place| of_these.contains(&place.source));
        findings.extend(facts.findings.all.iter().filter(about).cloned());
        let mtrr = &facts.mtrr;
        let width = mtrr.width.as_ref().map(|said| said.value).or(mtrr.mask_width);
        let said_default = said(|t| t.default.is_some()).and_then(|t| t.default);
        let default = said_default.map_or_else(|| infer(&variable, width), Default::Said);
        let (tom2, tom2_likely) = tom2(facts, &variable, &memory, chosen);
        let mtrr = &facts.mtrr;
        let mut wanted: Vec<(Span, MemType)> = chosen.map_or(Vec::new(), |table| table.wanted.clone());
        if wanted.is_empty() {
            wanted = mtrr
                .tables
                .iter()
                .rfind(|table| !table.wanted.is_empty() && table.kind != TableKind::Temporary)
                .map_or(Vec::new(), |t| t.wanted.clone());
        }
        wanted.extend(mtrr.wanted.iter().map(|said| said.value));
        wanted.sort_by_key(|(span, _)| span.start);
        let windows = windows(facts);
        let programmed = chosen.is_some() || !facts.mtrr.cpus.is_empty();
        let mtrr = &facts.mtrr;
        Self {
            width,
            width_of_its_time: chosen.is_some_and(|table| table.is_old),
            count,
            default,
            def: said(|t| t.def.is_some()).and_then(|t| t.def),
            enabled: said(|t| t.enabled.is_some()).and_then(|t| t.enabled),
            fixed_enabled: if no_fixed {
                Some(false)
            } else {
                said(|t| t.fixed_enabled.is_some()).and_then(|t| t.fixed_enabled)
            },
            fixed: fixed.map_or_else(Fixed::default, |table| table.fixed),
            fixed_known: fixed.map_or(0, |table| table.fixed_known),
            variable,
            programmed,
            tom2,
            tom2_likely,
            top: mtrr.top,
            memory,
            memory_source,
            windows,
            wanted,
            complaints: mtrr.complaints.clone(),
            pat: mtrr.pat.as_ref().map(|said| said.value),
            cpus: mtrr.cpus.clone(),
            notes,
            findings,
        }
    }

    /// The setting; what it takes for granted goes to `assumed`. `None` if nothing is said of registers.
    pub fn setting(&self, assumed: &mut Vec<String>) -> Option<Setting> {
        if let Some(first) = self.cpus.first() {
            return Some(*first);
        }
        if !self.programmed {
            return None;
        }
        let width = self.assumed_width(assumed);
        let count = self.assumed_count(assumed);
        let mut setting = Setting::new(width, Cap::new(count, true, true));
        let kind = match self.default {
            Default::Said(kind) => kind,
            Default::Inferred(kind) => {
                assumed.push(format!(
                    "the default type is {kind}: inferred, for UC registers over what nothing caches would else be of no use"
                ));
                kind
            }
            Default::Unknown => {
                assumed.push(
                    "the default type is not known: no source says it, and nothing proves it".to_owned(),
                );
                MemType::Uc
            }
        };
        setting.def = self.def.unwrap_or_else(|| {
            DefType::new(kind, self.fixed_enabled.unwrap_or(true), self.enabled.unwrap_or(true))
        });
        setting.fixed = self.fixed;
        if setting.fixed_counts() && self.fixed_known == 0 {
            assumed.push("below 1 MiB the fixed ranges decide: the source does not say how".to_owned());
            // As on a PC: memory up to the video memory, uncacheable from there.
            (0..16).for_each(|i| setting.fixed.set_byte(i, MemType::Wb.bits()));
        }
        for (n, entry, _) in &self.variable {
            if let Some(slot) = setting.variable_mut().get_mut(*n) {
                *slot = match entry {
                    Entry::Raw(variable) => *variable,
                    Entry::Register(register) | Entry::Cut(register) => Variable::new(*register, width),
                };
            }
        }
        if let Some(tom2) = self.tom2.filter(|_| self.tom2_likely) {
            assumed.push(format!(
                "the processor is AMD's, and its registers cannot be read: below TOM2, likely {tom2:#x}, the default from 4 GiB on is WB"
            ));
        }
        setting.amd = self.tom2.map(|top_mem2| Amd { syscfg: Syscfg(0x60_0000), top_mem: 0, top_mem2 });
        Some(setting)
    }

    /// The fixed ranges below 1 MiB that no source says, where some are said.
    pub fn fixed_unknown(&self) -> Vec<Span> {
        if self.fixed_known == 0 {
            return Vec::new();
        }
        let mut out: Vec<Span> = Vec::new();
        for i in (0..88).filter(|i| self.fixed_known & 1 << i == 0) {
            let span = Fixed::span(i);
            match out.last_mut() {
                Some(last) if last.end == span.start => last.end = span.end,
                _ => out.push(span),
            }
        }
        out
    }

    /// How wide addresses are, or must at least be.
    pub fn assumed_width(&self, assumed: &mut Vec<String>) -> Width {
        if let Some(width) = self.width {
            return width;
        }
        let width = least_width(
            &self.variable,
            self.memory.iter().map(|(span, _)| span.end - 1).chain(self.top).max(),
        );
        assumed.push(format!(
            "physical addresses have {} bits: the source does not say, and they may be wider (--bits)",
            width.bits()
        ));
        width
    }

    /// How many variable registers there are, or must at least be.
    pub fn assumed_count(&self, assumed: &mut Vec<String>) -> u8 {
        self.count.unwrap_or_else(|| {
            let seen = self.variable.iter().map(|(n, ..)| n + 1).max().unwrap_or(0);
            let count = seen.clamp(8, MAX_VARIABLE) as u8;
            assumed
                .push(format!("there are {count} variable registers: the source does not say (--registers)"));
            count
        })
    }
}

/// The least width that holds all registers, and the rest.
fn least_width(variable: &[(usize, Entry, SourceLine)], rest: Option<u64>) -> Width {
    let entries = variable.iter().map(|(_, entry, _)| match entry {
        Entry::Raw(variable) => variable.mask | variable.base,
        Entry::Register(register) | Entry::Cut(register) => register.block.span().end - 1,
    });
    let top = entries.chain(rest).max().unwrap_or(0);
    let bits = u64::BITS - top.leading_zeros();
    Width::new(bits.clamp(36, 52) as u8).unwrap_or(Width::DEFAULT)
}

/// The table that is in force now: of the surest kind the last; tables never merge by their numbers.
fn choose<'t>(
    tables: &[&'t RegisterTable],
    notes: &mut Vec<String>,
    findings: &mut Vec<Finding>,
) -> Option<&'t RegisterTable> {
    let surest = tables.iter().map(|table| table.kind).max()?;
    let of_kind: Vec<&RegisterTable> = tables.iter().copied().filter(|table| table.kind == surest).collect();
    let chosen = *of_kind.last()?;
    if tables.len() > 1 {
        let others: Vec<String> = tables
            .iter()
            .filter(|table| !std::ptr::eq(**table, chosen))
            .map(|table| format!("{} ({})", table.kind.name(), table.at))
            .collect();
        notes.push(format!(
            "{} tables of registers: {} ({}) are taken, not {}",
            tables.len(),
            chosen.kind.name(),
            chosen.at,
            others.join(", ")
        ));
    }
    if let [.., before, last] = &of_kind[..] {
        let same = |a: &RegisterTable, b: &RegisterTable| {
            a.entries.iter().map(|(n, e, _)| (n, e)).eq(b.entries.iter().map(|(n, e, _)| (n, e)))
        };
        if !same(before, last) && before.at.source != last.at.source {
            let text = format!("{} differ: those of {} are taken", surest.name(), last.at);
            findings.push(Finding::between(&last.at, &before.at, text));
        }
    }
    Some(chosen)
}

fn cut_masks(tables: &[RegisterTable]) -> Vec<Finding> {
    let all = tables.iter().flat_map(|table| table.entries.iter().map(move |entry| (table, entry)));
    let cut = all.filter_map(|(table, (n, entry, line))| match entry {
        Entry::Cut(register) => {
            let place = SourceLine::line(&table.at.source, *line);
            let text = format!(
                "register {n}: its mask was cut to 32 bits when it was printed: the real size is {} MiB",
                register.block.size() >> 20
            );
            Some(Finding::at(&place, text))
        }
        _ => None,
    });
    cut.collect()
}

/// Whether a UC register covers what no other register makes cacheable: with an uncacheable default it would do nothing.
fn infer(variable: &[(usize, Entry, SourceLine)], width: Option<Width>) -> Default {
    let width = width.unwrap_or_else(|| least_width(variable, None));
    let registers: Vec<Register> = variable
        .iter()
        .filter_map(|(_, entry, _)| match entry {
            Entry::Raw(raw) => raw.register(width),
            Entry::Register(register) | Entry::Cut(register) => Some(*register),
        })
        .collect();
    let covered = |block: Block| {
        // Blocks nest or are apart: it is covered by one that holds it, or by as many as fill it.
        let span = block.span();
        let cached = registers.iter().filter(|r| r.kind != MemType::Uc).map(|r| r.block.span());
        let mut inside: Vec<Span> = cached.filter(|other| !other.and(span).is_empty()).collect();
        inside.sort_by_key(|other| other.start);
        let end = inside
            .iter()
            .fold(span.start, |at, other| if other.start <= at { at.max(other.end) } else { at });
        end >= span.end
    };
    let alone = registers.iter().any(|r| r.kind == MemType::Uc && !covered(r.block));
    if alone { Default::Inferred(MemType::Wb) } else { Default::Unknown }
}

/// TOM2, or where it likely is: an AMD processor whose registers nobody could read, with memory above 4 GiB that no register caches.
fn tom2(
    facts: &Facts,
    variable: &[(usize, Entry, SourceLine)],
    memory: &[(Span, FirmwareMemory)],
    chosen: Option<&RegisterTable>,
) -> (Option<u64>, bool) {
    if let Some(said) = &facts.mtrr.tom2 {
        return (Some(said.value), false);
    }
    // A kernel's own list would say it.
    let silent = chosen.is_some_and(|table| table.kind == TableKind::System) && facts.mtrr.cpus.is_empty();
    if !facts.mtrr.is_amd
        || !silent
        || facts.mtrr.tables.iter().any(|table| table.kind == TableKind::KernelLog)
    {
        return (None, false);
    }
    let top = memory
        .iter()
        .filter(|(span, kind)| kind.is_memory() && span.end > 1 << 32)
        .map(|(span, _)| span.end)
        .max();
    let cached = variable.iter().any(|(_, entry, _)| {
        matches!(entry, Entry::Register(r) if r.kind == MemType::Wb && r.block.span().end > 1 << 32)
    });
    match top.filter(|_| !cached) {
        Some(top) => (Some(top), true),
        None => (None, false),
    }
}

/// The memory map: the firmware's own, else the kernel's list; its name.
fn memory(facts: &Facts) -> (Vec<(Span, FirmwareMemory)>, Option<String>) {
    if let Some(map) = firmware_map(facts) {
        let span = |range: &std::ops::RangeInclusive<u64>| Span {
            start: *range.start(),
            end: range.end().saturating_add(1),
        };
        let all = flatten(&map).iter().map(|(range, kind)| (span(range), *kind)).collect();
        return (all, Some(format!("{} ({})", map.kind.name(), map.at)));
    }
    let Some(listing) = last_complete(&facts.memory) else { return (Vec::new(), None) };
    let outermost = listing.lines.iter().filter(|line| line.depth == 0);
    let all = outermost.map(|line| {
        let kind = match line.name.as_str() {
            name if name.starts_with("System RAM") => FirmwareMemory::Usable,
            "ACPI Tables" => FirmwareMemory::AcpiTables,
            "ACPI Non-volatile Storage" => FirmwareMemory::AcpiNvs,
            name if name.starts_with("Persistent Memory") => FirmwareMemory::Persistent,
            "Soft Reserved" => FirmwareMemory::SpecialPurpose,
            name if name.starts_with("PCI Bus") => FirmwareMemory::Mmio,
            name if name.eq_ignore_ascii_case("reserved")
                || name == "RAM buffer"
                || name.ends_with("ROM") =>
            {
                FirmwareMemory::Reserved
            }
            name if name.starts_with("Unknown") || name.starts_with("Unusable") => FirmwareMemory::Reserved,
            _ => FirmwareMemory::Mmio,
        };
        (Span { start: line.range.start(), end: line.range.last().saturating_add(1) }, kind)
    });
    (all.collect(), Some(listing.source.to_string()))
}

/// Where buses may place devices.
fn windows(facts: &Facts) -> Vec<Span> {
    let span =
        |range: pmem_core::AddrRange| Span { start: range.start(), end: range.last().saturating_add(1) };
    if let Some(listing) = last_complete(&facts.memory) {
        let of_bus = listing.lines.iter().filter(|line| line.name.starts_with("PCI Bus"));
        return of_bus.map(|line| span(line.range)).collect();
    }
    let apertures = facts.pci.roots.values().flatten().filter(|said| !said.value.io);
    apertures.map(|said| span(said.value.range)).collect()
}
