//! What a source says of memory types.

use pmem_mtrr::regs::MAX_VARIABLE;
use pmem_mtrr::{Amd, Block, Cap, DefType, Fixed, MemType, Register, Setting, Span, Syscfg, Variable, Width};

/// What a range of a memory map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Memory {
    /// Memory that programs use, or that firmware's tables are in: it is to be cached.
    Ram,
    /// Reserved, or of a type that nobody knows: it may be memory or not.
    Reserved,
    /// Devices' registers.
    Mmio,
}

/// A variable register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// As its two registers hold it.
    Raw(Variable),
    /// As a block of a type, where the width of addresses is not needed to say so.
    Register(Register),
}

/// What a source says: what it does not, is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MtrrFacts {
    /// How wide physical addresses are.
    pub width: Option<Width>,
    /// How many variable registers there are.
    pub count: Option<u8>,
    /// The default type.
    pub default: Option<MemType>,
    /// The default type's whole register.
    pub def: Option<DefType>,
    /// Whether the fixed ranges count.
    pub fixed_enabled: Option<bool>,
    /// The fixed registers.
    pub fixed: Option<Fixed>,
    /// Variable registers by number; those that are not in use are left out.
    pub variable: Vec<(usize, Entry)>,
    /// Where AMD's rule makes the default write back up to.
    pub tom2: Option<u64>,
    /// Where memory ends.
    pub top: Option<u64>,
    /// The memory map, in order of address.
    pub memory: Vec<(Span, Memory)>,
    /// Where a bus may place devices.
    pub windows: Vec<Span>,
    /// Types that somebody wants, or that firmware says it wanted.
    pub wanted: Vec<(Span, MemType)>,
    /// Whole settings of all processors, where they could be read: the first one's first.
    pub cpus: Vec<Setting>,
}

impl MtrrFacts {
    /// Whether it says anything of registers.
    pub fn has_registers(&self) -> bool {
        !self.variable.is_empty() || self.def.is_some() || self.default.is_some() || !self.cpus.is_empty()
    }

    /// The setting; what it takes for granted goes to `assumed`. `None` if nothing is said of registers.
    pub fn setting(&self, assumed: &mut Vec<String>) -> Option<Setting> {
        if let Some(first) = self.cpus.first() {
            return Some(*first);
        }
        if !self.has_registers() {
            return None;
        }
        let width = self.assumed_width(assumed);
        let count = self.assumed_count(assumed);
        let mut setting = Setting::new(width, Cap::new(count, true, true));
        setting.def = self.def.unwrap_or_else(|| {
            let kind = self.default.unwrap_or_else(|| {
                assumed.push("the default type is UC: the source does not say".to_owned());
                MemType::Uc
            });
            DefType::new(kind, self.fixed_enabled.unwrap_or(true), true)
        });
        match self.fixed {
            Some(fixed) => setting.fixed = fixed,
            None if setting.fixed_counts() => {
                assumed.push("below 1 MiB the fixed ranges decide: the source does not say how".to_owned());
                // As on a PC: memory up to the video memory, uncacheable from there.
                (0..16).for_each(|i| setting.fixed.set_byte(i, MemType::Wb.bits()));
            }
            None => {}
        }
        for (n, entry) in &self.variable {
            if let Some(slot) = setting.variable_mut().get_mut(*n) {
                *slot = match entry {
                    Entry::Raw(variable) => *variable,
                    Entry::Register(register) => Variable::new(*register, width),
                };
            }
        }
        setting.amd = self.tom2.map(|top_mem2| Amd { syscfg: Syscfg(0x60_0000), top_mem: 0, top_mem2 });
        Some(setting)
    }

    /// How wide addresses are, or must at least be.
    pub fn assumed_width(&self, assumed: &mut Vec<String>) -> Width {
        if let Some(width) = self.width {
            return width;
        }
        let entries = self.variable.iter().map(|(_, entry)| match entry {
            Entry::Raw(variable) => variable.mask | variable.base,
            Entry::Register(register) => register.block.span().end - 1,
        });
        let spans = self.memory.iter().map(|(span, _)| span.end - 1);
        let top = entries.chain(spans).chain(self.top).max().unwrap_or(0);
        let bits = u64::BITS - top.leading_zeros();
        let width = Width::new(bits.clamp(36, 52) as u8).unwrap_or(Width::DEFAULT);
        assumed.push(format!("physical addresses have {} bits: the source does not say", width.bits()));
        width
    }

    /// How many variable registers there are, or must at least be.
    pub fn assumed_count(&self, assumed: &mut Vec<String>) -> u8 {
        self.count.unwrap_or_else(|| {
            let seen = self.variable.iter().map(|(n, _)| n + 1).max().unwrap_or(0);
            let count = seen.clamp(8, MAX_VARIABLE) as u8;
            assumed.push(format!("there are {count} variable registers: the source does not say"));
            count
        })
    }

    /// Puts in a block of a type; what is wrong with it if it is none.
    pub(super) fn add_block(&mut self, n: usize, start: u64, size: u64, kind: MemType) -> Result<(), String> {
        if n >= MAX_VARIABLE {
            return Err(format!("there is no variable register {n}"));
        }
        let block = size.is_power_of_two().then(|| Block::new(start, size.trailing_zeros() as u8)).flatten();
        let block = block.ok_or_else(|| {
            format!("base {start:#x} and size {size:#x} are no block: a power of two of at least 4 KiB, at a multiple of it")
        })?;
        self.variable.retain(|(had, _)| *had != n);
        self.variable.push((n, Entry::Register(Register { block, kind })));
        Ok(())
    }

    pub(super) fn add_raw(&mut self, n: usize, variable: Variable) -> Result<(), String> {
        if n >= MAX_VARIABLE {
            return Err(format!("there is no variable register {n}"));
        }
        self.variable.retain(|(had, _)| *had != n);
        if variable.valid() {
            self.variable.push((n, Entry::Raw(variable)));
        }
        Ok(())
    }

    /// Puts the memory map in order; where ranges overlap, the one that is surer to be memory wins.
    pub(super) fn settle(&mut self) {
        self.memory.sort_by_key(|(span, kind)| (span.start, *kind));
        self.variable.sort_by_key(|(n, _)| *n);
        self.wanted.sort_by_key(|(span, _)| span.start);
    }
}
