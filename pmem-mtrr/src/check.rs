//! Checks of a setting for faults.

use crate::block::Span;
use crate::difference::Difference;
use crate::effective::Effective;
use crate::kind::{MemType, TypeSet};
use crate::plan::Requirement;
use crate::regs::{self, FIXED_RANGES, Fixed, phys_base, phys_mask};
use crate::setting::Setting;
use core::fmt;

/// What you know about addresses besides the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// These addresses are memory.
    Ram(Span),
    /// These addresses are device registers, or space in which device registers may appear.
    Mmio(Span),
}

/// A fault in a setting.
///
/// # Examples
/// A BAR lies in addresses that firmware made write-back:
///
/// ```
/// use pmem_mtrr::{Cap, DefType, Finding, Known, MemType, Setting, Span, Width};
///
/// let mut setting = Setting::new(Width::DEFAULT, Cap::new(8, true, true));
/// setting.def = DefType::new(MemType::Wb, false, true);
/// let bar = Span { start: 0xfe00_0000, end: 0xfe10_0000 };
/// let mut findings = Vec::new();
/// setting.check([Known::Mmio(bar)].into_iter(), |finding| findings.push(finding));
/// assert_eq!(findings, [Finding::MmioCached(bar)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// MTRRs are off: all memory is uncacheable.
    Off,
    /// The default type register holds this number, which is not a type.
    DefaultType(u8),
    /// The default type register has these reserved bits set.
    DefaultReserved(u64),
    /// Variable register `n` holds a number that is not a type.
    Type {
        /// The register's index, from 0.
        n: usize,
        /// The number that it holds as its type.
        kind: u8,
    },
    /// The mask of variable register `n` has holes, so the register matches several ranges.
    Discontiguous {
        /// The register's index, from 0.
        n: usize,
        /// The value of the mask register.
        mask: u64,
    },
    /// Variable register `n` has bits set that are reserved or above the address width.
    Reserved {
        /// The register's index, from 0.
        n: usize,
        /// The offending bits of the base register.
        base: u64,
        /// The offending bits of the mask register.
        mask: u64,
    },
    /// The base of variable register `n` is not a multiple of its size. The processor ignores the bits below.
    Unaligned {
        /// The register's index, from 0.
        n: usize,
        /// The base address.
        base: u64,
    },
    /// A fixed range holds a number that is not a type.
    FixedType {
        /// The addresses of the range.
        span: Span,
        /// The number that the range holds as its type, without AMD's two bits.
        kind: u8,
    },
    /// Registers overlap, and the combination of their types is undefined.
    Undefined {
        /// The addresses that they share.
        span: Span,
        /// The types that overlap.
        mix: TypeSet,
    },
    /// Memory that is uncacheable.
    RamUncached(Span),
    /// Memory of an unusual type: write-combining, write-through or write-protected.
    RamType {
        /// The addresses.
        span: Span,
        /// Their type.
        kind: MemType,
    },
    /// Device addresses that are write-back.
    MmioCached(Span),
    /// Another processor's register differs.
    Disagree {
        /// The number of the other processor.
        cpu: u32,
        /// The register's number.
        msr: u32,
        /// The value on the first processor.
        first: u64,
        /// The value on the other processor.
        other: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => {
                f.write_str("MTRRs are disabled (MSR 0x2ff bit 11 is clear): all memory is uncacheable")
            }
            Self::DefaultType(kind) => {
                write!(f, "the default type (MSR 0x2ff) is {kind}, which is not a memory type")
            }
            Self::DefaultReserved(bits) => write!(f, "MSR 0x2ff has reserved bits set: {bits:#x}"),
            Self::Type { n, kind } => {
                write!(
                    f,
                    "variable MTRR {n} (MSR {:#x}) has type {kind}, which is not a memory type",
                    phys_base(*n)
                )
            }
            Self::Discontiguous { n, mask } => {
                write!(
                    f,
                    "variable MTRR {n} (MSR {:#x}) has a discontiguous mask and matches several ranges: {mask:#x}",
                    phys_mask(*n)
                )
            }
            Self::Reserved { n, base, mask } => {
                let (msr, bits) = if *base != 0 { (phys_base(*n), base) } else { (phys_mask(*n), mask) };
                write!(
                    f,
                    "variable MTRR {n} (MSR {msr:#x}) has bits set that are reserved or above the physical address width: {bits:#x}"
                )
            }
            Self::Unaligned { n, base } => {
                write!(
                    f,
                    "variable MTRR {n} (MSR {:#x}) has a base that is not a multiple of its size: {base:#x}",
                    phys_base(*n)
                )
            }
            Self::FixedType { span, kind } => {
                write!(f, "the fixed range {span} has type {kind}, which is not a memory type")
            }
            Self::Undefined { span, mix } => {
                write!(f, "{span}: overlapping registers of types {mix}: the effective type is undefined")
            }
            Self::RamUncached(span) => {
                write!(f, "{span}: uncached memory, {} KiB", span.len() >> 10)
            }
            Self::RamType { span, kind } => {
                write!(f, "{span}: memory of type {kind}, {} KiB: it should be WB", span.len() >> 10)
            }
            Self::MmioCached(span) => {
                write!(f, "{span}: device addresses cached as write-back: they should be UC")
            }
            Self::Disagree { cpu, msr, first, other } => {
                write!(f, "CPU {cpu} has {other:#x} in MSR {msr:#x}, but the first CPU has {first:#x}")
            }
        }
    }
}

impl Setting {
    /// Calls `found` for each fault in the registers alone, and for each type that is wrong given what is `known`.
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
                found(Finding::FixedType { span: Fixed::span(i), kind: self.fixed.raw_kind(i) });
            }
        }
        // While MTRRs are off, all memory is uncacheable: that is one fault, reported above, not one for each range.
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
                    // Below 1 MiB, write-protected memory is normal: firmware's code was copied there.
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

    /// Returns whether the system management range holds all of a span.
    fn is_management(&self, span: Span) -> bool {
        self.management().is_some_and(|range| range.and(span) == span)
    }

    /// Calls `found` for each register by which processor `cpu`, with setting `other`, differs from this one in effect
    /// ([`Self::differences`]), and for each of AMD's registers that differs.
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

    /// Calls `found` for addresses whose type is not one of those required, with the addresses, the types allowed, and
    /// the type they have. Checks a plan independently: it looks at registers alone, not at how they were found.
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
        assert!(said(0x100, 0).starts_with("variable MTRR 2 (MSR 0x204) has bits set"), "{}", said(0x100, 0));
        assert!(said(0x100, 0).ends_with("0x100"));
        assert!(said(0, 0x200).starts_with("variable MTRR 2 (MSR 0x205) has bits set"), "{}", said(0, 0x200));
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
        odd.fixed.set_byte(2, Fixed::MEM | 7);
        assert_eq!(odd.at(0x2_0000), Effective::Invalid(7), "AMD's two bits are not part of the type");
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
