//! Decides which MTRRs are in force, and what else is known about memory types.

use super::memory::{firmware_map, flatten, last_complete};
use crate::facts::{Complaint, Entry, Facts, Finding, RegisterTable, SourceLine, Sourced, TableKind};
use pmem_core::FirmwareMemory;
use pmem_mtrr::regs::MAX_VARIABLE;
use pmem_mtrr::{
    Amd, Block, Cap, DefType, Fixed, MemType, PatType, Register, Setting, Span, Syscfg, Variable, Width,
};

/// The default memory type, and how it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// A source gives it.
    Said(MemType),
    /// It is proven: some registers would have no effect with any other default.
    Inferred(MemType),
    /// No source gives it, and nothing proves it.
    Unknown,
}

impl Default {
    /// Returns the type, if it is known.
    #[must_use]
    pub const fn kind(self) -> Option<MemType> {
        match self {
            Self::Said(kind) | Self::Inferred(kind) => Some(kind),
            Self::Unknown => None,
        }
    }
}

/// What is known about memory types. What no source says is absent, not assumed.
#[derive(Clone, Debug)]
pub struct MtrrFacts {
    /// Width of physical addresses; `None` if no source gives it or implies it.
    pub width: Option<Width>,
    /// The registers were printed by a Linux before 2.6.28 (2008), so the least width that holds them is taken to be
    /// the processor's. Only meaningful if `width` is `None`.
    pub width_of_its_time: bool,
    /// Number of variable registers; `None` if no source says.
    pub count: Option<u8>,
    /// The default type.
    pub default: Default,
    /// The whole default type register (`IA32_MTRR_DEF_TYPE`), if a source shows it.
    pub def: Option<DefType>,
    /// Whether MTRRs are enabled; `None` if no source says.
    pub enabled: Option<bool>,
    /// Whether the fixed-range registers are enabled; `None` if no source says.
    pub fixed_enabled: Option<bool>,
    /// The types of the fixed ranges.
    pub fixed: Fixed,
    /// Bit n is set if the type of fixed range n, of 88, is known.
    pub fixed_known: u128,
    /// Variable registers in use: number, contents, and where the source lists them.
    pub variable: Vec<(usize, Entry, SourceLine)>,
    /// Whether a table of registers was found, even an empty one.
    pub programmed: bool,
    /// AMD's top of memory above 4 GiB (TOM2): from 4 GiB up to there the default type is write-back.
    pub tom2: Option<u64>,
    /// `tom2` is inferred: no source gives it, but firmware of AMD processors sets it like this.
    pub tom2_likely: bool,
    /// Where memory ends.
    pub top: Option<u64>,
    /// The memory map, sorted and disjoint.
    pub memory: Vec<(Span, FirmwareMemory)>,
    /// The memory map's name and source.
    pub memory_source: Option<String>,
    /// Where buses may place devices.
    pub windows: Vec<Span>,
    /// Memory types that were requested, or that firmware wanted, for ranges of addresses.
    pub wanted: Vec<(Span, MemType)>,
    /// Kernels' complaints.
    pub complaints: Vec<Sourced<Complaint>>,
    /// The page attribute table (PAT).
    pub pat: Option<[Option<PatType>; 8]>,
    /// The complete MTRR settings of all processors, the first processor's first. Empty unless MSRs could be read.
    pub cpus: Vec<Setting>,
    /// Choices that were made: which of several tables was used, and the like.
    pub notes: Vec<String>,
    /// Problems in the sources.
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
            // The chosen table comes first. Other tables fill in what it does not say: the most trusted of them,
            // and of these the last.
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
        // Problems in the sources of the answer are problems of the answer.
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

    /// Builds the complete MTRR setting. Each assumption that this needs is added to `assumed`, as a sentence.
    /// `None` if no source says anything about registers.
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
                    "the default type is taken to be {kind}: with UC, the UC registers over otherwise uncached memory would have no effect"
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
            assumed.push("no source gives the fixed ranges below 1 MiB: a PC's are assumed (WB up to 0xa0000, UC above)".to_owned());
            // As on a PC: memory up to the VGA frame buffer, uncacheable from there.
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
                "the registers of this AMD processor were not read: memory from 4 GiB to TOM2, likely {tom2:#x}, is taken to be WB"
            ));
        }
        setting.amd = self.tom2.map(|top_mem2| Amd { syscfg: Syscfg(0x60_0000), top_mem: 0, top_mem2 });
        Some(setting)
    }

    /// Returns the ranges below 1 MiB whose types are unknown, if others are known. Empty if all are
    /// known or none is.
    #[must_use]
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

    /// Returns the address width: known, or the least that holds everything known. The latter is added
    /// to `assumed`.
    pub fn assumed_width(&self, assumed: &mut Vec<String>) -> Width {
        if let Some(width) = self.width {
            return width;
        }
        let width = least_width(
            &self.variable,
            self.memory.iter().map(|(span, _)| span.end - 1).chain(self.top).max(),
        );
        assumed.push(format!(
            "physical addresses are assumed to have {} bits: no source gives the width; use --bits if they are wider",
            width.bits()
        ));
        width
    }

    /// Returns the number of variable registers: known, or the least that holds those listed, but at least 8. The
    /// latter is added to `assumed`.
    pub fn assumed_count(&self, assumed: &mut Vec<String>) -> u8 {
        self.count.unwrap_or_else(|| {
            let seen = self.variable.iter().map(|(n, ..)| n + 1).max().unwrap_or(0);
            let count = seen.clamp(8, MAX_VARIABLE) as u8;
            assumed
                .push(format!("{count} variable registers are assumed: no source gives the number; use --registers if it differs"));
            count
        })
    }
}

/// The smallest width that holds all registers and `rest`.
fn least_width(variable: &[(usize, Entry, SourceLine)], rest: Option<u64>) -> Width {
    let entries = variable.iter().map(|(_, entry, _)| match entry {
        Entry::Raw(variable) => variable.mask | variable.base,
        Entry::Register(register) | Entry::Cut(register) => register.block.span().end - 1,
    });
    let top = entries.chain(rest).max().unwrap_or(0);
    let bits = u64::BITS - top.leading_zeros();
    Width::new(bits.clamp(36, 52) as u8).unwrap_or(Width::DEFAULT)
}

/// Chooses the table that is in force: the last one of the most trusted kind. Tables are never merged
/// register by register.
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
            "{} MTRR tables: {} ({}) are used, not {}",
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

/// Infers the default type: a UC register over something that no other register makes cacheable has no effect if
/// the default is uncacheable too, so the default must be write-back.
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
        // Blocks nest or are disjoint: a block is covered by one that contains it, or by smaller ones that fill it.
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

/// Returns TOM2, and whether it is inferred. It is inferred for an AMD processor whose registers nobody could read,
/// if memory above 4 GiB would otherwise not be cached.
fn tom2(
    facts: &Facts,
    variable: &[(usize, Entry, SourceLine)],
    memory: &[(Span, FirmwareMemory)],
    chosen: Option<&RegisterTable>,
) -> (Option<u64>, bool) {
    if let Some(said) = &facts.mtrr.tom2 {
        return (Some(said.value), false);
    }
    // A kernel's log would list TOM2.
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

/// Returns the memory map, firmware's or else the kernel's listing, and its name.
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

/// Returns where buses may place devices.
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
