//! The fixed ranges below 1 MiB.

use super::Requirement;
use crate::block::Span;
use crate::kind::{MemType, TypeSet};
use crate::regs::{FIXED_RANGES, Fixed};
use crate::setting::ONE_MIB;
use core::fmt;

/// A fixed range that cannot be all that it is wanted to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LowRefusal {
    /// The range.
    pub span: Span,
    /// The want within it that leaves no type.
    pub want: Span,
}

impl fmt::Display for LowRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the fixed range {} is one register's, and {} wants another type than what is beside it",
            self.span, self.want
        )
    }
}

impl core::error::Error for LowRefusal {}

impl Fixed {
    /// The fixed ranges that satisfy `wants`, with as few changes as can be: a range that nothing is wanted of, or that is what
    /// is wanted, stays; AMD's two bits always do.
    ///
    /// # Errors
    /// [`LowRefusal`] names a range that different types are wanted in.
    pub fn satisfying(&self, wants: &[Requirement], available: TypeSet) -> Result<Self, LowRefusal> {
        let mut out = *self;
        for i in 0..FIXED_RANGES {
            let span = Self::span(i);
            let mut set = available;
            for want in wants.iter().filter(|want| want.span.start < ONE_MIB) {
                if !want.span.and(span).is_empty() {
                    set = set.and(want.allowed);
                    if set.is_empty() {
                        return Err(LowRefusal { span, want: want.span });
                    }
                }
            }
            let wanted = set != available;
            let holds = self.kind(i).is_some_and(|kind| set.has(kind));
            if wanted && !holds {
                // Of several, the one that is safest to have.
                let kind = set.iter().next().unwrap_or(MemType::Uc);
                out.set_byte(i, self.byte(i) & Self::MEM | kind.bits());
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    const VGA: Span = Span { start: 0xa_0000, end: 0xc_0000 };

    #[test]
    fn only_what_is_wanted_changes() {
        let mut fixed = Fixed([0x1e1e_1e1e_1e1e_1e1e; 11]);
        fixed.set_byte(24, 5);
        let wants = [Requirement { span: VGA, allowed: TypeSet::only(MemType::Wc) }];
        let got = fixed.satisfying(&wants, TypeSet::ANY).unwrap();
        for i in 0..FIXED_RANGES {
            let inside = !Fixed::span(i).and(VGA).is_empty();
            assert_eq!(got.byte(i), if inside { 0x19 } else { fixed.byte(i) }, "{}", Fixed::span(i));
        }
    }

    #[test]
    fn what_is_already_one_of_those_wanted_stays() {
        let fixed = Fixed([0x0606_0606_0606_0606; 11]);
        let wants = [Requirement { span: VGA, allowed: TypeSet::of(&[MemType::Uc, MemType::Wb]) }];
        assert_eq!(fixed.satisfying(&wants, TypeSet::ANY), Ok(fixed));
    }

    #[test]
    fn one_range_is_not_two_types() {
        let half = |start| Span { start, end: start + 0x8000 };
        let wants = [
            Requirement { span: half(0), allowed: TypeSet::only(MemType::Wb) },
            Requirement { span: half(0x8000), allowed: TypeSet::only(MemType::Uc) },
        ];
        let refused = Fixed::default().satisfying(&wants, TypeSet::ANY);
        assert_eq!(refused, Err(LowRefusal { span: Fixed::span(0), want: half(0x8000) }));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the fixed range 0x0..0x10000 is one register's, and 0x8000..0x10000 wants another type than what is beside it"
        );
    }
}
