//! The fixed ranges below 1 MiB.

use super::Requirement;
use crate::block::Span;
use crate::kind::{MemType, TypeSet};
use crate::regs::{FIXED_RANGES, Fixed};
use crate::setting::ONE_MIB;
use core::fmt;

/// The error for a fixed range in which different types are required: it can have just one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LowRefusal {
    /// The addresses of the fixed range.
    pub span: Span,
    /// The addresses of the first requirement that leaves no type to satisfy all of those in the range.
    pub want: Span,
}

impl fmt::Display for LowRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the fixed range {} can have only one type, but {} allows none that the processor and its other requirements leave",
            self.span, self.want
        )
    }
}

impl core::error::Error for LowRefusal {}

impl Fixed {
    /// Returns fixed ranges that satisfy `wants`, with the fewest changes. A range stays as it is if nothing is
    /// required of it, or if it has one of the types required; AMD's two bits always stay.
    ///
    /// # Errors
    /// [`LowRefusal`] if no type in `available` meets every requirement that touches a range.
    ///
    /// # Examples
    /// The VGA window becomes write-combining; the memory below it stays write-back:
    ///
    /// ```
    /// use pmem_mtrr::{Fixed, MemType, Requirement, Span, TypeSet};
    ///
    /// let vga = Requirement { span: Span { start: 0xa_0000, end: 0xc_0000 }, allowed: TypeSet::only(MemType::Wc) };
    /// let fixed = Fixed([0x0606_0606_0606_0606; 11]).satisfying(&[vga], TypeSet::ANY)?;
    /// assert_eq!(fixed.kind(Fixed::range_of(0xb_8000)), Some(MemType::Wc));
    /// assert_eq!(fixed.kind(Fixed::range_of(0x9_0000)), Some(MemType::Wb));
    /// # Ok::<(), pmem_mtrr::LowRefusal>(())
    /// ```
    pub fn satisfying(&self, wants: &[Requirement], available: TypeSet) -> Result<Self, LowRefusal> {
        let mut out = *self;
        for i in 0..FIXED_RANGES {
            let span = Self::span(i);
            let mut set = available;
            // A requirement counts if it touches the range at all, because the range has one type throughout.
            for want in wants.iter().filter(|want| want.span.start < ONE_MIB) {
                if !want.span.and(span).is_empty() {
                    set = set.and(want.allowed);
                    if set.is_empty() {
                        return Err(LowRefusal { span, want: want.span });
                    }
                }
            }
            // If every type is allowed, nothing is required: the range stays.
            let wanted = set != available;
            let holds = self.kind(i).is_some_and(|kind| set.has(kind));
            if wanted && !holds {
                // Of several types take the safest: the first, which is UC if that is allowed.
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
            "the fixed range 0x0..0x10000 can have only one type, but 0x8000..0x10000 allows none that the processor and its other requirements leave"
        );
    }
}
