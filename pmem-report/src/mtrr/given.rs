//! What the sources say of memory types, and what has to be assumed.

use super::MtrrError;
use crate::sources::Warning;
use pmem_import::{Complaint, DefaultType, Entry, MtrrFacts};
use pmem_mtrr::{Cap, DefType, Finding, Known, MemType, PatType, Setting, Span, Width};

/// What counts whatever the sources say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides {
    /// How many bits physical addresses have.
    pub bits: Option<u8>,
    /// How many variable registers there are.
    pub registers: Option<u8>,
    /// The present default type.
    pub default: Option<MemType>,
    /// Where AMD's rule makes the default write back up to.
    pub tom2: Option<u64>,
}

/// What is known of memory types.
pub struct MtrrState {
    /// What the sources say.
    pub facts: MtrrFacts,
    /// What is programmed; without it, what a processor has whose registers are all off.
    pub setting: Setting,
    /// Whether anything is said of what is programmed.
    pub programmed: bool,
    /// Whether the width of addresses is known, or only that it is at least so much.
    pub width_known: bool,
    /// What was taken for granted.
    pub assumed: Vec<String>,
    /// What is odd about the sources.
    pub warnings: Vec<Warning>,
}

impl MtrrState {
    /// Puts together what the sources say.
    ///
    /// # Errors
    /// Sources that say nothing of it, or a register that cannot be.
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
        // Registers that were read say how many there are and how wide; what is asked for counts more.
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

    /// What of the memory map no address reaches is left out, and said.
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

    /// What is known of addresses, to check a setting by.
    pub fn known(&self) -> Vec<Known> {
        let memory = self.facts.memory.iter().filter_map(|(span, kind)| match kind {
            kind if kind.is_memory() => Some(Known::Ram(*span)),
            pmem_core::FirmwareMemory::Mmio => Some(Known::Mmio(*span)),
            _ => None,
        });
        let windows = self.facts.windows.iter();
        // A list of resources may put memory into a window.
        let free_of_ram = windows
            .filter(|w| !self.facts.memory.iter().any(|(s, k)| k.is_memory() && !s.and(**w).is_empty()));
        memory.chain(free_of_ram.map(|span| Known::Mmio(*span))).collect()
    }

    /// What is wrong with the registers. What a likely TOM2 makes cacheable is not.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut unknown = self.facts.fixed_unknown();
        if self.facts.fixed_known == 0 && self.setting.fixed_counts() && self.facts.cpus.is_empty() {
            // What was assumed of the fixed ranges accuses nobody.
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

    /// Whether an address has the default type, and no register's.
    pub fn is_default(&self, addr: u64) -> bool {
        let width = self.setting.width;
        let fixed = addr < 1 << 20 && self.setting.fixed_counts();
        let matched = self.setting.variable().iter().any(|v| v.valid() && v.matches(addr, width));
        let tom2 = self.setting.tom2().is_some_and(|end| (1 << 32..end).contains(&addr));
        !(fixed || matched || tom2)
    }

    /// Whether nothing is known of what an address is: a default that no source says, a fixed range that is cut off, a mask with holes.
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

    /// What kernels complain of, in sentences, and the wishes in it.
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

    /// Whether the kernel can map memory as write combining without a register.
    pub fn pat_has_wc(&self) -> bool {
        self.facts.pat.is_some_and(|pat| pat.contains(&Some(PatType::Wc)))
    }
}
