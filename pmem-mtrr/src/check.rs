//! What is wrong with a setting.

use crate::block::Span;
use crate::difference::Difference;
use crate::effective::Effective;
use crate::kind::{MemType, TypeSet};
use crate::plan::Requirement;
use crate::regs::{self, FIXED_RANGES, Fixed, phys_base, phys_mask};
use crate::setting::Setting;
use core::fmt;

/// What is known of addresses, beside the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Memory.
    Ram(Span),
    /// Device registers, or space in which they may appear.
    Mmio(Span),
}

/// A fault in a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// MTRRs are switched off: all memory is uncacheable.
    Off,
    /// The default type's register holds a number that is no type.
    DefaultType(u8),
    /// The default type's register has reserved bits set.
    DefaultReserved(u64),
    /// Variable register `n` holds a number that is no type.
    Type {
        /// Which register.
        n: usize,
        /// The number.
        kind: u8,
    },
    /// The mask of variable register `n` has holes: it matches several ranges.
    Discontiguous {
        /// Which register.
        n: usize,
        /// The mask register.
        mask: u64,
    },
    /// Variable register `n` has bits set that are reserved or above the address width.
    Reserved {
        /// Which register.
        n: usize,
        /// The bits of the base register.
        base: u64,
        /// The bits of the mask register.
        mask: u64,
    },
    /// The base of variable register `n` is no multiple of its size: the bits below count for nothing.
    Unaligned {
        /// Which register.
        n: usize,
        /// The base.
        base: u64,
    },
    /// A fixed range holds a number that is no type.
    FixedType {
        /// Its addresses.
        span: Span,
        /// The number.
        kind: u8,
    },
    /// Registers overlap, and what that makes is undefined.
    Undefined {
        /// The addresses.
        span: Span,
        /// The types that meet.
        mix: TypeSet,
    },
    /// Memory that no register makes cacheable.
    RamUncached(Span),
    /// Memory of a type that memory is not meant to be: write combining, write through, or write protected.
    RamType {
        /// Its addresses.
        span: Span,
        /// The type.
        kind: MemType,
    },
    /// Devices' addresses that are write back.
    MmioCached(Span),
    /// Another processor's register holds something else.
    Disagree {
        /// The other processor.
        cpu: u32,
        /// The register.
        msr: u32,
        /// What the first one holds.
        first: u64,
        /// What that one holds.
        other: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("MTRRs are switched off (MSR 0x2ff bit 11): all memory is uncacheable"),
            Self::DefaultType(kind) => write!(f, "the default type (MSR 0x2ff) is {kind}, which is none"),
            Self::DefaultReserved(bits) => write!(f, "MSR 0x2ff has reserved bits set: {bits:#x}"),
            Self::Type { n, kind } => {
                write!(f, "register {n} (MSR {:#x}) is of type {kind}, which is none", phys_base(*n))
            }
            Self::Discontiguous { n, mask } => {
                write!(f, "register {n} (MSR {:#x}) has a mask with holes: {mask:#x}", phys_mask(*n))
            }
            Self::Reserved { n, base, mask } => {
                let (msr, bits) = if *base != 0 { (phys_base(*n), base) } else { (phys_mask(*n), mask) };
                write!(
                    f,
                    "register {n} (MSR {msr:#x}) has bits set that are reserved or above the address width: {bits:#x}"
                )
            }
            Self::Unaligned { n, base } => {
                write!(
                    f,
                    "register {n} (MSR {:#x}) has a base that is no multiple of its size: {base:#x}",
                    phys_base(*n)
                )
            }
            Self::FixedType { span, kind } => {
                write!(f, "the fixed range {span} is of type {kind}, which is none")
            }
            Self::Undefined { span, mix } => {
                write!(f, "{span}: registers of {mix} overlap, which is undefined")
            }
            Self::RamUncached(span) => {
                write!(f, "{span}: memory that is not cached, {} KiB", span.len() >> 10)
            }
            Self::RamType { span, kind } => {
                write!(f, "{span}: memory that is {kind}, {} KiB: it is meant to be WB", span.len() >> 10)
            }
            Self::MmioCached(span) => write!(f, "{span}: devices' addresses that are write back"),
            Self::Disagree { cpu, msr, first, other } => {
                write!(f, "CPU {cpu} has {other:#x} in MSR {msr:#x}, the first has {first:#x}")
            }
        }
    }
}

impl Setting {
    /// Tells `found` each fault that can be seen in the registers and from what is `known` of addresses.
    pub fn check(&self, known: impl Iterator<Item = Known> + Clone, mut found: impl FnMut(Finding)) {
        if !self.def.enabled() {
            found(Finding::Off);
        }
        if self.def.kind().is_none() {
            found(Finding::DefaultType((self.def.0 & 0xff) as u8));
        }
        if self.def.reserved() != 0 {
            found(Finding::DefaultReserved(self.def.reserved()));
        }
        for (n, variable) in self.variable().iter().enumerate().filter(|(_, v)| v.valid()) {
            if variable.kind().is_none() {
                found(Finding::Type { n, kind: variable.raw_kind() });
            }
            let (base, mask) = variable.reserved(self.width);
            if (base, mask) != (0, 0) {
                found(Finding::Reserved { n, base, mask });
            }
            if variable.is_discontiguous(self.width) {
                found(Finding::Discontiguous { n, mask: variable.mask });
            } else if variable.base & self.width.mask() & !variable.mask != 0 {
                found(Finding::Unaligned { n, base: variable.base & self.width.mask() });
            }
        }
        if self.fixed_counts() {
            for i in (0..FIXED_RANGES).filter(|i| self.fixed.kind(*i).is_none()) {
                found(Finding::FixedType { span: Fixed::span(i), kind: self.fixed.byte(i) });
            }
        }
        if !self.def.enabled() {
            return;
        }
        for (span, what) in self.map() {
            if let Effective::Undefined(mix) = what {
                found(Finding::Undefined { span, mix });
            }
            for known in known.clone() {
                let (part, fault) = match (known, what) {
                    (Known::Ram(ram), Effective::Type(MemType::Uc)) if !self.is_management(ram.and(span)) => {
                        (ram.and(span), Finding::RamUncached(ram.and(span)))
                    }
                    // Below 1 MiB write protected memory is where firmware's code was copied to.
                    (Known::Ram(ram), Effective::Type(kind))
                        if !matches!(kind, MemType::Uc | MemType::Wb)
                            && (span.start >= 1 << 20 || kind != MemType::Wp) =>
                    {
                        (ram.and(span), Finding::RamType { span: ram.and(span), kind })
                    }
                    (Known::Mmio(mmio), Effective::Type(MemType::Wb)) => {
                        (mmio.and(span), Finding::MmioCached(mmio.and(span)))
                    }
                    _ => continue,
                };
                if !part.is_empty() {
                    found(fault);
                }
            }
        }
    }

    /// Whether the system management range holds all of a span.
    fn is_management(&self, span: Span) -> bool {
        self.management().is_some_and(|range| range.and(span) == span)
    }

    /// Tells `found` each register in which processor `cpu` differs from this one in effect ([`Self::differences`]), and AMD's
    /// registers beside them.
    pub fn compare(&self, other: &Self, cpu: u32, mut found: impl FnMut(Finding)) {
        for Difference { msr, here, there } in self.differences(other) {
            found(Finding::Disagree { cpu, msr, first: here, other: there });
        }
        let (Some(first), Some(other)) = (self.amd, other.amd) else { return };
        for (msr, first, other) in [
            (regs::SYSCFG, first.syscfg.0, other.syscfg.0),
            (regs::TOP_MEM, first.top_mem, other.top_mem),
            (regs::TOP_MEM2, first.top_mem2, other.top_mem2),
        ] {
            if first != other {
                found(Finding::Disagree { cpu, msr, first, other });
            }
        }
    }

    /// Tells `found` what is not as wanted: addresses, what they may be, and what they are. The independent check of a plan: it
    /// looks at registers alone, and knows nothing of how they were found.
    pub fn unmet(&self, wants: &[Requirement], mut found: impl FnMut(Span, TypeSet, Effective)) {
        for (span, what) in self.map() {
            for want in wants {
                let part = want.span.and(span);
                if !part.is_empty() && !what.kind().is_some_and(|kind| want.allowed.has(kind)) {
                    found(part, want.allowed, what);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regs::{Cap, DefType, Variable, Width};
    use std::string::ToString;
    use std::vec::Vec;

    fn findings(setting: &Setting, known: &[Known]) -> Vec<Finding> {
        let mut all = Vec::new();
        setting.check(known.iter().copied(), |finding| all.push(finding));
        all
    }

    fn with(vars: &[(u64, u64)]) -> Setting {
        let mut s = Setting::new(Width::DEFAULT, Cap::new(8, true, true));
        s.def = DefType::new(MemType::Uc, true, true);
        for (to, (base, mask)) in s.variable_mut().iter_mut().zip(vars) {
            *to = Variable { base: *base, mask: *mask };
        }
        s
    }

    #[test]
    fn reserved_bits_are_said_of_the_register_that_has_them() {
        let said = |base, mask| Finding::Reserved { n: 2, base, mask }.to_string();
        assert!(said(0x100, 0).starts_with("register 2 (MSR 0x204) has bits set"), "{}", said(0x100, 0));
        assert!(said(0x100, 0).ends_with("0x100"));
        assert!(said(0, 0x200).starts_with("register 2 (MSR 0x205) has bits set"), "{}", said(0, 0x200));
        assert!(said(0, 0x200).ends_with("0x200"));
    }

    #[test]
    fn each_fault_is_named() {
        let half = 0xf_8000_0800;
        assert_eq!(findings(&with(&[(6, half)]), &[]), []);
        assert_eq!(findings(&with(&[(3, half)]), &[]), [Finding::Type { n: 0, kind: 3 }]);
        assert_eq!(
            findings(&with(&[(6, 0xf_7000_0800)]), &[]),
            [Finding::Discontiguous { n: 0, mask: 0xf_7000_0800 }]
        );
        assert_eq!(
            findings(&with(&[(6, 0x3f_8000_0800)]), &[]),
            [Finding::Reserved { n: 0, base: 0, mask: 0x30_0000_0000 }]
        );
        assert_eq!(
            findings(&with(&[(0x10_0006, half)]), &[]),
            [Finding::Unaligned { n: 0, base: 0x10_0000 }]
        );
        let low = Span { start: 0x10_0000, end: 0x8000_0000 };
        assert_eq!(
            findings(&with(&[(6, half), (5, half)]), &[]),
            [Finding::Undefined { span: low, mix: TypeSet::of(&[MemType::Wp, MemType::Wb]) }]
        );
        let beyond = Span { start: 0x8000_0000, end: 0x9000_0000 };
        assert_eq!(findings(&with(&[(6, half)]), &[Known::Ram(beyond)]), [Finding::RamUncached(beyond)]);
        assert_eq!(findings(&with(&[(6, half)]), &[Known::Mmio(low)]), [Finding::MmioCached(low)]);
        let mut managed = with(&[(6, half)]);
        managed.smrr = Some(Variable { base: 0x8000_0006, mask: 0xf_f000_0800 });
        assert_eq!(findings(&managed, &[Known::Ram(beyond)]), [], "nobody but SMM sees that memory");
        let mut off = with(&[]);
        off.def = DefType(0x1_0002);
        off.fixed.set_byte(2, 7);
        assert_eq!(
            findings(&off, &[]),
            [Finding::Off, Finding::DefaultType(2), Finding::DefaultReserved(0x1_0000)]
        );
        let mut odd = with(&[]);
        odd.fixed.set_byte(2, 7);
        assert_eq!(findings(&odd, &[]), [Finding::FixedType { span: Fixed::span(2), kind: 7 }]);
    }

    #[test]
    fn a_processor_that_differs_is_named() {
        let first = with(&[(6, 0xf_8000_0800)]);
        let mut other = first;
        other.variable_mut()[0].mask = 0;
        let mut all = Vec::new();
        first.compare(&other, 3, |finding| all.push(finding));
        let differ = Finding::Disagree { cpu: 3, msr: 0x201, first: 0xf_8000_0800, other: 0 };
        assert_eq!(all, [differ]);
    }
}
