//! The registers of one processor, and the writes that lead from one setting to another.

use crate::block::Span;
use crate::kind::MemType;
use crate::regs::{
    self, Cap, DefType, Fixed, MAX_VARIABLE, Register, Registers, Syscfg, Variable, Width, phys_base,
    phys_mask,
};

/// AMD's registers that accompany the MTRRs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amd {
    /// `SYSCFG`, which says whether `top_mem2` affects memory types.
    pub syscfg: Syscfg,
    /// `TOP_MEM`: where memory below 4 GiB ends, in bytes, exclusive.
    pub top_mem: u64,
    /// `TOP_MEM2`: where memory above 4 GiB ends, in bytes, exclusive.
    pub top_mem2: u64,
}

/// The MTRRs of one processor, and the registers that accompany them.
///
/// # Examples
/// A machine with 2 GiB: one write-back register over an uncacheable default:
///
/// ```
/// use pmem_mtrr::{Block, Cap, DefType, Effective, MemType, Register, Setting, Variable, Width};
///
/// let width = Width::DEFAULT;
/// let mut setting = Setting::new(width, Cap::new(8, true, true));
/// setting.def = DefType::new(MemType::Uc, false, true);
/// let block = Block::new(0, 31).ok_or("not a block")?;
/// setting.variable_mut()[0] = Variable::new(Register { block, kind: MemType::Wb }, width);
///
/// assert_eq!(setting.at(0x4000_0000), Effective::Type(MemType::Wb));
/// assert_eq!(setting.at(0xfee0_0000), Effective::Type(MemType::Uc));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The width of physical addresses.
    pub width: Width,
    /// Which MTRRs the processor has.
    pub cap: Cap,
    /// The default type, and the switches of all MTRRs and of the fixed ranges.
    pub def: DefType,
    /// The types of the fixed ranges.
    pub fixed: Fixed,
    variable: [Variable; MAX_VARIABLE],
    /// AMD's registers; `None` on other processors.
    pub amd: Option<Amd>,
    /// The SMRR, which sets the system management range; `None` if there is none or it cannot be read.
    pub smrr: Option<Variable>,
}

/// A write to one register.
///
/// # Examples
/// Turning a register off takes three writes: all MTRRs off, the mask without its valid bit, all MTRRs on again:
///
/// ```
/// use pmem_mtrr::{Cap, DefType, MemType, Setting, Variable, Width};
///
/// let mut live = Setting::new(Width::DEFAULT, Cap::new(8, true, true));
/// live.def = DefType::new(MemType::Wb, false, true);
/// live.variable_mut()[1] = Variable { base: 0xe000_0000, mask: 0xf_e000_0800 };
/// let mut wanted = live;
/// wanted.variable_mut()[1].mask = 0xf_e000_0000;
///
/// let writes: Vec<_> = live.writes(&wanted).map(|write| (write.msr, write.value)).collect();
/// assert_eq!(writes, [(0x2ff, 0x6), (0x203, 0xf_e000_0000), (0x2ff, 0x806)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// The register's number.
    pub msr: u32,
    /// The value to write.
    pub value: u64,
}

impl Setting {
    /// Creates a setting with all registers off: all memory is uncacheable.
    #[must_use]
    pub const fn new(width: Width, cap: Cap) -> Self {
        Self {
            width,
            cap,
            def: DefType(0),
            fixed: Fixed([0; 11]),
            variable: [Variable::OFF; MAX_VARIABLE],
            amd: None,
            smrr: None,
        }
    }

    /// Returns this setting with other fixed ranges.
    #[must_use]
    pub const fn with_fixed(self, fixed: Fixed) -> Self {
        Self { fixed, ..self }
    }

    /// Returns the variable registers that the processor has, in use or not.
    #[must_use]
    pub fn variable(&self) -> &[Variable] {
        self.variable.get(..self.cap.variable()).unwrap_or(&[])
    }

    /// Returns the variable registers that the processor has, for changes.
    pub fn variable_mut(&mut self) -> &mut [Variable] {
        self.variable.get_mut(..self.cap.variable()).unwrap_or(&mut [])
    }

    /// Reads every register through `read`, which returns `None` for a register that does not exist. `amd` says whether
    /// to read AMD's registers too.
    ///
    /// # Errors
    /// The number of a register that must exist but does not.
    pub fn read(width: Width, amd: bool, mut read: impl FnMut(u32) -> Option<u64>) -> Result<Self, u32> {
        let mut must = |msr| read(msr).ok_or(msr);
        let mut setting = Self::new(width, Cap(must(regs::MTRRCAP)?));
        setting.def = DefType(must(regs::DEF_TYPE)?);
        for n in 0..setting.cap.variable() {
            let pair = Variable { base: must(phys_base(n))?, mask: must(phys_mask(n))? };
            if let Some(variable) = setting.variable.get_mut(n) {
                *variable = pair;
            }
        }
        if setting.cap.fixed() {
            for (msr, value) in regs::FIXED.into_iter().zip(&mut setting.fixed.0) {
                *value = must(msr)?;
            }
        }
        if amd && let Some(syscfg) = read(regs::SYSCFG) {
            let top_mem = read(regs::TOP_MEM).unwrap_or(0);
            let top_mem2 = read(regs::TOP_MEM2).unwrap_or(0);
            setting.amd = Some(Amd { syscfg: Syscfg(syscfg), top_mem, top_mem2 });
        }
        if setting.cap.smrr()
            && let (Some(base), Some(mask)) = (read(regs::SMRR_BASE), read(regs::SMRR_MASK))
        {
            setting.smrr = Some(Variable { base, mask });
        }
        Ok(setting)
    }

    /// Returns the value of a register; `None` if this setting does not hold a register of that number.
    #[must_use]
    pub fn get(&self, msr: u32) -> Option<u64> {
        let amd = |read: fn(&Amd) -> u64| self.amd.as_ref().map(read);
        match msr {
            regs::MTRRCAP => Some(self.cap.0),
            regs::DEF_TYPE => Some(self.def.0),
            regs::SYSCFG => amd(|amd| amd.syscfg.0),
            regs::TOP_MEM => amd(|amd| amd.top_mem),
            regs::TOP_MEM2 => amd(|amd| amd.top_mem2),
            0x200..0x250 => {
                let pair = self.variable().get((msr as usize - 0x200) / 2)?;
                Some(if msr.is_multiple_of(2) { pair.base } else { pair.mask })
            }
            _ => {
                let at = regs::FIXED.iter().position(|fixed| *fixed == msr)?;
                self.fixed.0.get(at).copied()
            }
        }
    }

    /// Sets the value of an MTRR; returns `false` if the processor has no MTRR of that number.
    pub fn set(&mut self, msr: u32, value: u64) -> bool {
        let slot = match msr {
            regs::DEF_TYPE => Some(&mut self.def.0),
            0x200..0x250 => self
                .variable_mut()
                .get_mut((msr as usize - 0x200) / 2)
                .map(|pair| if msr.is_multiple_of(2) { &mut pair.base } else { &mut pair.mask }),
            _ => match regs::FIXED.iter().position(|fixed| *fixed == msr) {
                Some(at) if self.cap.fixed() => self.fixed.0.get_mut(at),
                _ => None,
            },
        };
        slot.map(|slot| *slot = value).is_some()
    }

    /// Returns the end, exclusive, of the range from 4 GiB up in which AMD's rule makes the default type write-back.
    /// `None` if the rule is not in effect.
    #[must_use]
    pub fn tom2(&self) -> Option<u64> {
        let amd = self.amd?;
        let on = amd.syscfg.tom2() && amd.syscfg.tom2_write_back();
        let end = (amd.top_mem2 & TOP_MEM_BITS).min(self.width.end());
        (on && end > FOUR_GIB).then_some(end)
    }

    /// Returns the system management range, if there is one. To all code but its own it is uncacheable whatever the
    /// MTRRs say, so their types do not matter there.
    #[must_use]
    pub fn management(&self) -> Option<Span> {
        let block = self.smrr.filter(|smrr| smrr.valid())?.block(self.width)?;
        Some(block.span())
    }

    /// Returns whether the fixed ranges decide the types below 1 MiB.
    #[must_use]
    pub const fn fixed_counts(&self) -> bool {
        self.cap.fixed() && self.def.fixed()
    }

    /// Returns the default type; `None` if the register holds a number that is not a type.
    #[must_use]
    pub const fn default_kind(&self) -> Option<MemType> {
        self.def.kind()
    }

    /// Returns this setting with a plan's default type and registers, and MTRRs on. `None` if the plan takes more
    /// registers than the processor has. Registers that are already as planned stay where they are.
    #[must_use]
    pub fn programmed(&self, default: MemType, registers: &Registers) -> Option<Self> {
        let mut out = *self;
        out.program(default, registers).then_some(out)
    }

    /// Programs a plan in place, like [`Self::programmed`]. Returns `false`, and changes nothing, if there are too many
    /// registers.
    pub fn program(&mut self, default: MemType, registers: &Registers) -> bool {
        let width = self.width;
        let mut stays = [false; MAX_VARIABLE];
        // Each register stays for one entry of the plan only, so that a plan with two equal entries gets two registers.
        let mut at = |wanted: Register| {
            let same = |(n, v): &(usize, &Variable)| {
                v.register(width) == Some(wanted) && !stays.get(*n).is_some_and(|s| *s)
            };
            let found = self.variable().iter().enumerate().find(same).map(|(n, _)| n);
            if let Some(stay) = found.and_then(|n| stays.get_mut(n)) {
                *stay = true;
            }
            found.is_none()
        };
        let mut missing = Registers::new();
        for register in registers.iter().filter(|r| at(*r)) {
            missing.push(register);
        }
        let free = stays.iter().take(self.cap.variable()).filter(|stays| !**stays).count();
        if missing.len() > free {
            return false;
        }
        // Nothing can fail from here on. What stays keeps its place; the other places take what is missing, or go off.
        self.def = DefType::new(default, self.def.fixed(), true);
        let mut missing = missing.iter();
        for (variable, _) in self.variable_mut().iter_mut().zip(stays).filter(|(_, stays)| !stays) {
            match missing.next() {
                Some(register) => *variable = Variable::new(register, width),
                None if variable.valid() => *variable = Variable::OFF,
                None => {}
            }
        }
        true
    }

    /// Lists the writes that lead from `self` to `wanted`, in the order of the manuals: MTRRs off, fixed ranges,
    /// variable registers, and last the default type with the switches. Nothing if the two are equal.
    ///
    /// A register that goes or changes is turned off before its base changes; registers that stay are not touched. What
    /// is written between the first and the last write takes effect with the last.
    pub fn writes<'s>(&'s self, wanted: &'s Self) -> impl Iterator<Item = Write> + 's {
        let fixed = regs::FIXED
            .into_iter()
            .zip(self.fixed.0.iter().zip(&wanted.fixed.0))
            .filter(|(_, (old, new))| old != new)
            .map(|(msr, (_, new))| Write { msr, value: *new });
        let variable =
            self.variable().iter().zip(wanted.variable()).enumerate().flat_map(|(n, (old, new))| {
                // Base and mask are two writes. The valid bit is off in between, so half a range never takes effect.
                let off = (old.valid() && old != new)
                    .then_some(Write { msr: phys_mask(n), value: old.mask & !(1 << 11) });
                let base = (old.base != new.base).then_some(Write { msr: phys_base(n), value: new.base });
                // If only the valid bit had to go, `off` was the last write.
                let on = (old != new && new.mask != old.mask & !(1 << 11))
                    .then_some(Write { msr: phys_mask(n), value: new.mask });
                off.into_iter().chain(base).chain(on)
            });
        let last = Write { msr: regs::DEF_TYPE, value: wanted.def.0 };
        let first = Write { msr: regs::DEF_TYPE, value: self.def.0 & !(1 << 11) };
        let differ = self.def != wanted.def
            || (self.cap.fixed() && self.fixed != wanted.fixed)
            || self.variable() != wanted.variable();
        let around = differ.then_some((first, last));
        around
            .map(|(first, _)| first)
            .into_iter()
            .chain(fixed)
            .chain(variable)
            .chain(around.map(|(_, last)| last))
    }
}

/// The address bits that AMD's TOP_MEM2 holds: it is a multiple of 8 MiB.
const TOP_MEM_BITS: u64 = 0x000f_ffff_ff80_0000;
/// Where AMD's TOP_MEM2 rule begins.
pub(crate) const FOUR_GIB: u64 = 1 << 32;
/// Where the fixed ranges end.
pub(crate) const ONE_MIB: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Block;
    use crate::regs::Register;
    use std::vec::Vec;

    fn sample() -> Setting {
        let mut setting = Setting::new(Width::DEFAULT, Cap::new(8, true, true));
        setting.def = DefType::new(MemType::Uc, true, true);
        let block = Block::new(0, 31).unwrap();
        setting.variable_mut()[0] = Variable::new(Register { block, kind: MemType::Wb }, Width::DEFAULT);
        setting
    }

    #[test]
    fn writes_lead_from_one_setting_to_the_other() {
        let old = sample();
        let mut new = old;
        new.variable_mut()[0].base = 0x8000_0006;
        new.variable_mut()[3] = old.variable()[0];
        new.fixed.set_byte(9, 6);
        let mut held = old;
        let mut seen = 0;
        for Write { msr, value } in old.writes(&new) {
            seen += 1;
            assert!(msr == regs::DEF_TYPE || !held.def.enabled(), "{msr:#x} is written while MTRRs are on");
            if (0x200..0x250).contains(&msr) && msr % 2 == 0 {
                let pair = held.variable()[(msr as usize - 0x200) / 2];
                assert!(!pair.valid(), "the base of a register that counts is written");
            }
            assert!(held.set(msr, value));
            assert_eq!(held.get(msr), Some(value));
        }
        assert_eq!(held, new);
        assert_eq!(seen, 8);
        assert_eq!(old.writes(&old).count(), 0);
    }

    #[test]
    fn a_register_that_goes_is_written_once() {
        let old = sample();
        let mut new = old;
        new.variable_mut()[0].mask &= !(1 << 11);
        let writes: Vec<Write> = old.writes(&new).collect();
        let mask = Write { msr: phys_mask(0), value: new.variable()[0].mask };
        let def = |value| Write { msr: regs::DEF_TYPE, value };
        assert_eq!(writes, [def(old.def.0 & !(1 << 11)), mask, def(old.def.0)]);
    }

    #[test]
    fn every_register_is_read() {
        let setting = Setting::read(Width::DEFAULT, true, |msr| {
            Some(match msr {
                regs::MTRRCAP => 0xd08,
                regs::DEF_TYPE => 0xc06,
                regs::SYSCFG => 0x60_0000,
                regs::TOP_MEM2 => 0x2_4000_0000,
                other => u64::from(other),
            })
        })
        .unwrap();
        assert_eq!(setting.variable().len(), 8);
        assert_eq!(setting.variable()[7], Variable { base: 0x20e, mask: 0x20f });
        assert_eq!(setting.fixed.0[10], 0x26f);
        assert_eq!(setting.tom2(), Some(0x2_4000_0000));
        let amd = [
            (regs::SYSCFG, 0x60_0000),
            (regs::TOP_MEM, u64::from(regs::TOP_MEM)),
            (regs::TOP_MEM2, 0x2_4000_0000),
        ];
        for (msr, value) in [(regs::MTRRCAP, 0xd08), (regs::DEF_TYPE, 0xc06), (0x20f, 0x20f), (0x26f, 0x26f)]
            .into_iter()
            .chain(amd)
        {
            assert_eq!(setting.get(msr), Some(value), "{msr:#x}");
        }
        assert_eq!(
            (setting.get(0x210), setting.get(0x1b)),
            (None, None),
            "there are eight registers, and nothing else"
        );
        assert_eq!(sample().get(regs::SYSCFG), None, "no AMD");
        for (syscfg, end) in
            [(0x60_0000, Some(0x2_4000_0000)), (0x20_0000, None), (0x40_0000, None), (0, None)]
        {
            let mut half = setting;
            half.amd = half.amd.map(|amd| Amd { syscfg: Syscfg(syscfg), ..amd });
            assert_eq!(half.tom2(), end, "{syscfg:#x}");
        }
        assert!(setting.smrr.is_some());
        let missing = Setting::read(Width::DEFAULT, false, |msr| (msr != 0x203).then_some(8));
        assert_eq!(missing, Err(0x203));
    }
}
