//! What the sources say about memory types, and what has to be assumed.

use super::MtrrError;
use crate::sources::Warning;
use pmem_import::{Complaint, DefaultType, Entry, MtrrFacts};
use pmem_mtrr::{Cap, DefType, Finding, Known, MemType, PatType, Setting, Span, Width};

/// Values that override the sources; `None` keeps what the sources say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides {
    /// The width of physical addresses in bits.
    pub bits: Option<u8>,
    /// The number of variable registers.
    pub registers: Option<u8>,
    /// The present default type.
    pub default: Option<MemType>,
    /// AMD's TOP_MEM2: the exclusive end of memory above 4 GiB that is write-back by default.
    pub tom2: Option<u64>,
}

/// What is known about a machine's memory types.
pub struct MtrrState {
    /// What the sources say.
    pub facts: MtrrFacts,
    /// What is programmed. If no source says, a processor with all variable registers off.
    pub setting: Setting,
    /// Whether a source says what is programmed.
    pub programmed: bool,
    /// Whether the address width is known. Otherwise the width in `setting` is a lower bound.
    pub width_known: bool,
    /// Assumptions that were made, in words.
    pub assumed: Vec<String>,
    /// What is odd about the sources.
    pub warnings: Vec<Warning>,
}

impl MtrrState {
    /// Combines what the sources say with the overrides.
    ///
    /// # Errors
    /// Returns [`MtrrError::Other`] if the sources say nothing about MTRRs or memory, if a register has a number that
    /// the processor does not have, or if a register lies beyond the address width.
    pub fn new(mut facts: MtrrFacts, overrides: Overrides) -> Result<Self, MtrrError> {
        if let Some(bits) = overrides.bits {
            facts.width = Width::new(bits);
        }
        if let Some(kind) = overrides.default {
            facts.default = DefaultType::Said(kind);
            facts.def = facts.def.map(|def| DefType(def.0 & !0xff | u64::from(kind.bits())));
        }
        if let Some(tom2) = overrides.tom2 {
            (facts.tom2, facts.tom2_likely) = (Some(tom2), false);
        }
        facts.count = overrides.registers.or(facts.count);
        if !facts.programmed && facts.memory.is_empty() && facts.wanted.is_empty() {
            return Err(MtrrError::Other("no line is about MTRRs or a memory map".to_owned()));
        }
        let width_known = facts.width.is_some() || !facts.cpus.is_empty();
        let mut assumed = Vec::new();
        let mut found = facts.setting(&mut assumed);
        // Registers that were read also tell their number and width. The overrides win over that.
        if let (Some(setting), Some(width)) = (&mut found, overrides.bits.and_then(Width::new)) {
            setting.width = width;
        }
        if let (Some(setting), Some(count)) = (&mut found, overrides.registers) {
            setting.cap.0 = setting.cap.0 & !0xff | u64::from(count);
        }
        let programmed = found.is_some();
        let setting = found.unwrap_or_else(|| {
            let width = facts.assumed_width(&mut assumed);
            let mut setting = Setting::new(width, Cap::new(facts.assumed_count(&mut assumed), true, true));
            assumed.push("nothing is programmed yet, and below 1 MiB the fixed ranges decide".to_owned());
            setting.def = DefType::new(MemType::Uc, true, false);
            setting
        });
        let mut given = Self { setting, programmed, width_known, assumed, warnings: Vec::new(), facts };
        given.check_registers()?;
        given.check_map();
        given.warnings.extend(given.facts.findings.iter().map(Warning::from));
        given.assumed.extend(given.facts.notes.iter().cloned());
        Ok(given)
    }

    fn check_registers(&self) -> Result<(), MtrrError> {
        let (end, bits) = (self.setting.width.end(), self.setting.width.bits());
        let count = self.setting.variable().len();
        for (n, entry, place) in &self.facts.variable {
            if *n >= count {
                let text = format!("{place}: register {n} is in use, but there are only {count} registers");
                return Err(MtrrError::Other(text));
            }
            let block = match entry {
                Entry::Register(register) | Entry::Cut(register) => register.block,
                Entry::Raw(_) => continue,
            };
            if block.span().end > end {
                let text =
                    format!("{place}: register {n}, {block}, is beyond physical addresses of {bits} bits");
                return Err(MtrrError::Other(text));
            }
        }
        Ok(())
    }

    /// Drops the part of the memory map beyond the address width, with a warning.
    fn check_map(&mut self) {
        let (end, bits) = (self.setting.width.end(), self.setting.width.bits());
        let source = self.facts.memory_source.clone().unwrap_or_default();
        if let Some((span, _)) = self.facts.memory.iter().find(|(span, _)| span.end > end) {
            let text = format!("{span} is beyond physical addresses of {bits} bits: that part is left out");
            self.warnings.push(Warning { places: vec![source], text });
        }
        self.facts.memory.retain(|(span, _)| span.start < end);
        self.facts.memory.iter_mut().for_each(|(span, _)| span.end = span.end.min(end));
    }

    /// Returns what is known about addresses, so that a setting can be checked against it.
    #[must_use]
    pub fn known(&self) -> Vec<Known> {
        let memory = self.facts.memory.iter().filter_map(|(span, kind)| match kind {
            kind if kind.is_memory() => Some(Known::Ram(*span)),
            pmem_core::FirmwareMemory::Mmio => Some(Known::Mmio(*span)),
            _ => None,
        });
        let windows = self.facts.windows.iter();
        // A resource list may place memory inside a window. Such a window is not all device space.
        let free_of_ram = windows
            .filter(|w| !self.facts.memory.iter().any(|(s, k)| k.is_memory() && !s.and(**w).is_empty()));
        memory.chain(free_of_ram.map(|span| Known::Mmio(*span))).collect()
    }

    /// Lists what is wrong with the registers. Memory that is cacheable only thanks to a likely TOP_MEM2 is not
    /// reported.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut unknown = self.facts.fixed_unknown();
        if self.facts.fixed_known == 0 && self.setting.fixed_counts() && self.facts.cpus.is_empty() {
            // If the fixed ranges were only assumed, they prove nothing.
            unknown.push(Span { start: 0, end: 1 << 20 });
        }
        let default_unknown =
            self.programmed && self.facts.default == DefaultType::Unknown && self.facts.cpus.is_empty();
        self.setting.check(self.known().into_iter(), |finding| {
            let doubtful = match finding {
                Finding::FixedType { span, .. } => unknown.iter().any(|u| !u.and(span).is_empty()),
                Finding::RamUncached(span) => {
                    unknown.iter().any(|u| !u.and(span).is_empty())
                        || default_unknown && self.is_default(span.start)
                }
                _ => false,
            };
            if !doubtful {
                findings.push(finding);
            }
        });
        for (cpu, other) in (0..).zip(&self.facts.cpus).skip(1) {
            self.setting.compare(other, cpu, |finding| findings.push(finding));
        }
        findings
    }

    /// Whether an address gets the default type: no fixed or variable register and no TOP_MEM2 rule applies.
    #[must_use]
    pub fn is_default(&self, addr: u64) -> bool {
        let width = self.setting.width;
        let fixed = addr < 1 << 20 && self.setting.fixed_counts();
        let matched = self.setting.variable().iter().any(|v| v.valid() && v.matches(addr, width));
        let tom2 = self.setting.tom2().is_some_and(|end| (1 << 32..end).contains(&addr));
        !(fixed || matched || tom2)
    }

    /// Whether an address's type is unknown: it depends on a default that no source states, or on fixed ranges missing
    /// from the source.
    #[must_use]
    pub fn is_unknown(&self, addr: u64) -> bool {
        if !self.programmed || !self.facts.cpus.is_empty() {
            return false;
        }
        let default =
            self.facts.default == DefaultType::Unknown && self.setting.def.enabled() && self.is_default(addr);
        default
            || addr < 1 << 20
                && self.setting.fixed_counts()
                && self.facts.fixed_unknown().iter().any(|span| span.contains(addr))
    }

    /// Returns the kernel's complaints as sentences, and the type changes that they ask for.
    #[must_use]
    pub fn complaints(&self) -> (Vec<Warning>, Vec<(Span, MemType)>) {
        let mut wishes = Vec::new();
        let mut all = Vec::new();
        for said in &self.facts.complaints {
            let text = match &said.value {
                Complaint::Mismatch { span, old, new } => {
                    wishes.extend(new.map(|kind| (*span, kind)));
                    let wish = new.map_or("another type".to_owned(), |kind| kind.to_string());
                    format!("the kernel was asked for {wish} at {span}, where registers say {old}")
                }
                Complaint::NoneLeft => "the kernel was asked for a type, and had no register left".to_owned(),
                Complaint::Inconsistent => {
                    "CPUs had different registers: firmware did not set all of them up, and the kernel did"
                        .to_owned()
                }
                Complaint::Other(text) => text.clone(),
            };
            all.push(Warning { places: vec![said.at.to_string()], text });
        }
        (all, wishes)
    }

    /// Whether the kernel's PAT has a write-combining entry, so that it can map memory as WC without using an MTRR.
    #[must_use]
    pub fn pat_has_wc(&self) -> bool {
        self.facts.pat.is_some_and(|pat| pat.contains(&Some(PatType::Wc)))
    }
}
