//! Comparing the registers of two processors by their effect.
//!
//! A register that is off may hold anything. When Linux turns a range off, it leaves the base as it was on the
//! processors that are online, but gives a processor that comes online later a base of zero (`generic_set_mtrr`). No
//! address has another type because of that.

use crate::regs::{self, DefType, Variable, phys_base, phys_mask};
use crate::setting::Setting;
use core::fmt;

/// A register through which some address may have different types in two settings.
///
/// # Examples
/// The base of a register that is off makes no difference. A default type does:
///
/// ```
/// use pmem_mtrr::{Cap, DefType, MemType, Setting, Width};
///
/// let mut boot = Setting::new(Width::DEFAULT, Cap::new(8, true, true));
/// boot.def = DefType::new(MemType::Wb, false, true);
/// let mut late = boot;
/// late.variable_mut()[0].base = 0xe000_0000;
/// assert_eq!(boot.difference(&late), None);
/// late.def = DefType::new(MemType::Uc, false, true);
/// assert_eq!(boot.difference(&late).map(|difference| difference.msr), Some(0x2ff));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Difference {
    /// The register's number.
    pub msr: u32,
    /// The value in the first setting, `self`.
    pub here: u64,
    /// The value in the other setting.
    pub there: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MSR {:#x} differs: {:#x} here, {:#x} there", self.msr, self.here, self.there)
    }
}

impl Setting {
    /// Returns the first of [`Self::differences`]; `None` if there is none. The MTRRs then give every address the same
    /// type in both settings.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        self.differences(other).next()
    }

    /// Iterates over the registers by which `self` and `other` differ in effect.
    ///
    /// These bits count, unless they are reserved or above the address width:
    /// * of DEF_TYPE, the switch E; and if E is on in both, the type and, if the processor has fixed ranges, FE;
    /// * the fixed ranges, if E and FE are on in both;
    /// * each variable register, if E is on in both: its mask if V is set in either setting, its base if V is set in
    ///   both.
    ///
    /// MTRRCAP and AMD's TOP_MEM2 do not count: software that makes processors equal does not write them.
    pub fn differences<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = Difference> + 's {
        let on = self.def.enabled() && other.def.enabled();
        let (DefType(here), DefType(there)) = (self.def, other.def);
        // While MTRRs are off, all is uncacheable, whatever the other bits say: only the switch counts.
        let switches = if on { 0x8ff | u64::from(self.cap.fixed()) << 10 } else { 1 << 11 };
        let def = counted(regs::DEF_TYPE, switches, here, there);
        let fixed = regs::FIXED
            .into_iter()
            .zip(self.fixed.0.iter().zip(&other.fixed.0))
            .filter(|_| self.fixed_counts() && other.fixed_counts())
            .filter_map(|(msr, (here, there))| counted(msr, u64::MAX, *here, *there));
        let pairs = self.variable().iter().zip(other.variable()).enumerate();
        let variable = pairs.flat_map(|(n, (here, there))| self.of_pair(n, *here, *there));
        def.into_iter().chain(fixed.chain(variable).filter(move |_| on))
    }

    fn of_pair(&self, n: usize, here: Variable, there: Variable) -> impl Iterator<Item = Difference> {
        let address = self.width.mask();
        // If only one of the two is on, the valid bits in the masks differ already.
        let either = here.valid() || there.valid();
        let both = here.valid() && there.valid();
        let mask = counted(phys_mask(n), address | 1 << 11, here.mask, there.mask);
        let base = counted(phys_base(n), address | 0xff, here.base, there.base);
        mask.filter(|_| either).into_iter().chain(base.filter(|_| both))
    }
}

/// Returns a register of two processors if they differ in bits that count.
fn counted(msr: u32, bits: u64, here: u64, there: u64) -> Option<Difference> {
    ((here ^ there) & bits != 0).then_some(Difference { msr, here, there })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Block;
    use crate::kind::MemType;
    use crate::regs::{Cap, Fixed, Register, Width};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn setting() -> Setting {
        let mut setting = Setting::new(Width::DEFAULT, Cap::new(4, true, true));
        setting.def = DefType::new(MemType::Uc, true, true);
        let block = Block::new(0x8000_0000, 31).unwrap();
        setting.variable_mut()[1] = Variable::new(Register { block, kind: MemType::Wb }, Width::DEFAULT);
        setting.fixed = Fixed([0x0606_0606_0606_0606; 11]);
        setting
    }

    /// What each change is found to be.
    fn after(change: impl Fn(&mut Setting)) -> Option<u32> {
        let old = setting();
        let mut new = old;
        change(&mut new);
        let found = old.difference(&new);
        let back = new.difference(&old);
        assert_eq!(found.map(|f| (f.msr, f.here, f.there)), back.map(|b| (b.msr, b.there, b.here)));
        found.map(|found| found.msr)
    }

    #[test]
    fn what_is_off_does_not_count() {
        assert_eq!(after(|_| ()), None);
        assert_eq!(
            after(|s| s.variable_mut()[0] = Variable { base: 0x4000_0006, mask: 0xf_0000_0000 }),
            None
        );
        assert_eq!(after(|s| s.variable_mut()[1].mask |= 1 << 40 | 0x7ff), None, "reserved");
        assert_eq!(after(|s| s.variable_mut()[1].base |= 1 << 40 | 0xf00), None, "reserved");
        assert_eq!(after(|s| s.def.0 |= 1 << 12), None, "reserved");
        assert_eq!(after(|s| s.cap.0 ^= 1 << 11), None, "the SMRR is not about types of memory here");
    }

    #[test]
    fn what_counts_is_named() {
        assert_eq!(after(|s| s.variable_mut()[0].mask = 0xf_0000_0800), Some(0x201));
        assert_eq!(after(|s| s.variable_mut()[1].mask = 0), Some(0x203));
        assert_eq!(after(|s| s.variable_mut()[1].mask ^= 1 << 12), Some(0x203));
        assert_eq!(after(|s| s.variable_mut()[1].base ^= 1 << 35), Some(0x202));
        assert_eq!(after(|s| s.variable_mut()[1].base ^= 1), Some(0x202));
        assert_eq!(after(|s| s.fixed.0[10] ^= 1 << 63), Some(0x26f));
        assert_eq!(after(|s| s.def.0 ^= 1), Some(0x2ff));
        assert_eq!(after(|s| s.def.0 ^= 1 << 10), Some(0x2ff));
        assert_eq!(after(|s| s.def.0 ^= 1 << 11), Some(0x2ff));
    }

    #[test]
    fn fixed_ranges_and_registers_count_where_they_are_switched_on() {
        let mut old = setting();
        let mut new = old;
        new.fixed.0[0] = 0;
        (old.def, new.def) = (DefType::new(MemType::Uc, false, true), DefType::new(MemType::Uc, false, true));
        assert_eq!(old.difference(&new), None);
        new.variable_mut()[1].mask = 0;
        assert_eq!(old.difference(&new).map(|found| found.msr), Some(0x203));
        (old.def, new.def) = (DefType(6), DefType(0));
        assert_eq!(old.difference(&new), None, "all is uncacheable");
    }

    proptest! {
        /// Settings without a difference make each address of one type; those that differ only in what is off have none.
        #[test]
        fn no_difference_is_no_other_type(
            pairs in prop::collection::vec((0u64..8, 0u64..8, any::<bool>()), 4), flip in 0usize..16, bit in 0u32..48,
            def in prop::sample::select(std::vec![0xc06u64, 0x806, 0x800, 0xc00, 0x406, 0]),
        ) {
            let mut old = setting();
            old.def = DefType(def);
            for (slot, (base, mask, on)) in old.variable_mut().iter_mut().zip(pairs) {
                *slot = Variable { base: (base << 29) | (base % 2 * 6), mask: (mask << 29 | 0xf_0000_0000) | u64::from(on) << 11 };
            }
            let mut new = old;
            match flip {
                0..4 => new.variable_mut()[flip].base ^= 1 << bit,
                4..8 => new.variable_mut()[flip - 4].mask ^= 1 << bit,
                8 => new.def.0 ^= 1 << bit,
                _ => new.fixed.0[flip - 8] ^= 2 << (bit / 8 * 8),
            }
            let same = |a: &Setting, b: &Setting| a.map().collect::<Vec<_>>() == b.map().collect::<Vec<_>>();
            if old.difference(&new).is_none() {
                prop_assert!(same(&old, &new));
            }
            let mut off = old;
            let counts = old.def.enabled();
            for slot in off.variable_mut() {
                if !counts || !slot.valid() {
                    slot.base ^= 0x1_2345_6000;
                }
            }
            prop_assert_eq!(old.difference(&off), None);
        }
    }
}
