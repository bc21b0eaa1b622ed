//! The effective memory type of each address.

use crate::block::Span;
use crate::kind::{MemType, TypeSet};
use crate::regs::{Fixed, Variable, Width};
use crate::setting::{FOUR_GIB, ONE_MIB, Setting};

/// The effective memory type of an address.
///
/// # Examples
/// Write-combining over write-back is undefined; one more register, uncacheable, decides:
///
/// ```
/// use pmem_mtrr::{Cap, DefType, Effective, MemType, Setting, TypeSet, Variable, Width};
///
/// let mut setting = Setting::new(Width::DEFAULT, Cap::new(8, true, true));
/// setting.def = DefType::new(MemType::Uc, false, true);
/// let mask = 0xf_f000_0800;
/// setting.variable_mut()[0] = Variable { base: 0xd000_0006, mask };
/// setting.variable_mut()[1] = Variable { base: 0xd000_0001, mask };
/// let both = TypeSet::of(&[MemType::Wc, MemType::Wb]);
/// assert_eq!(setting.at(0xd000_0000), Effective::Undefined(both));
/// setting.variable_mut()[2] = Variable { base: 0xd000_0000, mask };
/// assert_eq!(setting.at(0xd000_0000).kind(), Some(MemType::Uc));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effective {
    /// A defined type.
    Type(MemType),
    /// Registers of these types match the address, and their combination is undefined.
    Undefined(TypeSet),
    /// A register that applies here holds this number, which is not a type.
    Invalid(u8),
    /// Not computed: masks with holes cut the space into too many pieces.
    Unknown,
}

impl Effective {
    /// Returns the type, if it is defined and known.
    #[must_use]
    pub const fn kind(self) -> Option<MemType> {
        match self {
            Self::Type(kind) => Some(kind),
            _ => None,
        }
    }
}

/// The most pieces that a map is computed for; the rest is [`Effective::Unknown`].
const PIECES: u32 = 1 << 16;

impl Setting {
    /// Returns the type of an address (Intel SDM vol. 3A, section 13.11.4.1; AMD APM vol. 2, section 7.7.3). Ignores
    /// the system management range, which is uncacheable to all code but its own.
    pub fn at(&self, addr: u64) -> Effective {
        if !self.def.enabled() {
            return Effective::Type(MemType::Uc);
        }
        if addr < ONE_MIB && self.fixed_counts() {
            let i = Fixed::range_of(addr);
            return self.fixed.kind(i).map_or(Effective::Invalid(self.fixed.raw_kind(i)), Effective::Type);
        }
        // `all` is `None` while no register matches, and `Some(None)` once the mix is undefined.
        let (mut mix, mut all) = (TypeSet::EMPTY, None);
        for variable in self.variable().iter().filter(|v| v.valid() && v.matches(addr, self.width)) {
            let Some(kind) = variable.kind() else { return Effective::Invalid(variable.raw_kind()) };
            mix = mix.or(TypeSet::only(kind));
            all = Some(all.map_or(Some(kind), |all: Option<MemType>| all.and_then(|all| all.over(kind))));
        }
        match all {
            // Any UC makes the address UC, whatever else matches and in whatever order.
            Some(_) if mix.has(MemType::Uc) => Effective::Type(MemType::Uc),
            Some(Some(kind)) => Effective::Type(kind),
            Some(None) => Effective::Undefined(mix),
            None if self.tom2().is_some_and(|end| FOUR_GIB <= addr && addr < end) => {
                Effective::Type(MemType::Wb)
            }
            None => self.def.kind().map_or(Effective::Invalid((self.def.0 & 0xff) as u8), Effective::Type),
        }
    }

    /// Iterates over the whole address space in order of address; neighbours of one type are joined. If masks with
    /// holes cut it into more than 2^16 pieces, the rest is [`Effective::Unknown`].
    ///
    /// # Examples
    /// A write-back default, and an uncacheable hole below 4 GiB:
    ///
    /// ```
    /// use pmem_mtrr::{Cap, DefType, Effective, MemType, Setting, Span, Variable, Width};
    ///
    /// let mut setting = Setting::new(Width::DEFAULT, Cap::new(8, true, true));
    /// setting.def = DefType::new(MemType::Wb, false, true);
    /// setting.variable_mut()[0] = Variable { base: 0xe000_0000, mask: 0xf_e000_0800 };
    /// let map: Vec<_> = setting.map().collect();
    /// assert_eq!(map[1], (Span { start: 0xe000_0000, end: 1 << 32 }, Effective::Type(MemType::Uc)));
    /// assert_eq!(map.len(), 3);
    /// ```
    pub fn map(&self) -> impl Iterator<Item = (Span, Effective)> + '_ {
        let (mut at, mut left) = (0, PIECES);
        core::iter::from_fn(move || {
            let start = at;
            if start >= self.width.end() {
                return None;
            }
            let what = self.at(start);
            // Borders are where the type may change, so look past those where it does not.
            loop {
                if left == 0 {
                    at = self.width.end();
                    return Some((Span { start, end: at }, Effective::Unknown));
                }
                left -= 1;
                at = self.next_border(at);
                if at >= self.width.end() || self.at(at) != what {
                    return Some((Span { start, end: at }, what));
                }
            }
        })
    }

    /// Returns the next address after `addr` at which the type may change.
    fn next_border(&self, addr: u64) -> u64 {
        let mut next = self.width.end();
        if !self.def.enabled() {
            return next;
        }
        if addr < ONE_MIB && self.fixed_counts() {
            return Fixed::span(Fixed::range_of(addr)).end;
        }
        let mut take = |border: u64| {
            if border > addr && border < next {
                next = border;
            }
        };
        if let Some(end) = self.tom2() {
            take(FOUR_GIB);
            take(end);
        }
        for variable in self.variable().iter().filter(|v| v.valid()) {
            if let Some(border) = next_flip(*variable, addr, self.width) {
                take(border);
            }
        }
        next
    }
}

/// Returns the next address after `addr` at which a register may begin or cease to match; `None` if it never does.
fn next_flip(variable: Variable, addr: u64, width: Width) -> Option<u64> {
    let compared = variable.compared(width);
    if compared == 0 {
        return None;
    }
    let differ = (addr ^ variable.base) & compared;
    if differ == 0 {
        // It matches, up to where the bits below the lowest compared bit carry into that bit.
        return (addr | ((compared & compared.wrapping_neg()) - 1)).checked_add(1);
    }
    // It does not match: find the lowest address above that does. `top` is the highest bit that differs. If the base
    // has a 1 there, set the bit. If it has a 0 there, only a carry past it helps: set the lowest bit above that is 0
    // and not compared. Below the bit that was set, copy the base, with 0 where nothing is compared: no less matches.
    let top = 1u64 << (63 - differ.leading_zeros());
    let (raised, below) = if variable.base & top != 0 {
        (addr & !(top | (top - 1)), top | (top - 1))
    } else {
        let free = !compared & !addr & (width.end() - 1) & !(top | (top - 1));
        let up = free & free.wrapping_neg();
        if up == 0 {
            return None;
        }
        (addr & !(up | (up - 1)) | up, up - 1)
    };
    Some(raised | variable.base & compared & below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regs::{Cap, DefType};
    use proptest::prelude::*;

    fn setting(def: MemType, vars: &[(u64, u64)]) -> Setting {
        let mut setting = Setting::new(Width::new(32).unwrap(), Cap::new(8, true, true));
        setting.def = DefType::new(def, false, true);
        for (to, (base, mask)) in setting.variable_mut().iter_mut().zip(vars) {
            *to = Variable { base: *base, mask: *mask | 0x800 };
        }
        setting
    }

    #[test]
    fn precedence_is_the_manuals() {
        let all = 0x8000_0000;
        assert_eq!(setting(MemType::Uc, &[(6, all), (4, all)]).at(0x1000), Effective::Type(MemType::Wt));
        assert_eq!(setting(MemType::Wb, &[(6, all), (0, all)]).at(0x1000), Effective::Type(MemType::Uc));
        let undefined = setting(MemType::Wb, &[(6, all), (1, all)]).at(0x1000);
        assert_eq!(undefined, Effective::Undefined(TypeSet::of(&[MemType::Wc, MemType::Wb])));
        assert_eq!(setting(MemType::Wb, &[(6, all), (1, all), (0, all)]).at(0), Effective::Type(MemType::Uc));
        assert_eq!(setting(MemType::Wb, &[(3, all)]).at(0), Effective::Invalid(3));
        assert_eq!(setting(MemType::Wb, &[(0, all)]).at(0x8000_0000), Effective::Type(MemType::Wb));
        let mut off = setting(MemType::Wb, &[]);
        off.def = DefType::new(MemType::Wb, false, false);
        assert_eq!(off.at(0), Effective::Type(MemType::Uc));
    }

    #[test]
    fn a_map_that_changes_without_end_is_given_up() {
        let mut every_other = setting(MemType::Wb, &[(0, 0x1000)]);
        every_other.width = Width::new(52).unwrap();
        let (pieces, last) =
            every_other.map().fold((0, None), |(pieces, _), piece| (pieces + 1, Some(piece)));
        let known = u64::from(PIECES) << 12;
        assert_eq!(last, Some((Span { start: known, end: 1 << 52 }, Effective::Unknown)));
        assert_eq!(pieces, PIECES + 1);
    }

    #[test]
    fn the_fixed_ranges_win_below_one_mebibyte() {
        let mut s = setting(MemType::Uc, &[(6, 0)]);
        s.def = DefType::new(MemType::Uc, true, true);
        s.fixed.set_byte(8, 0x18 | 5);
        assert_eq!(s.at(0x8_0000), Effective::Type(MemType::Wp));
        assert_eq!(s.at(0x8_4000), Effective::Type(MemType::Uc));
        assert_eq!(s.at(0x10_0000), Effective::Type(MemType::Wb));
        s.fixed.set_byte(8, 2);
        assert_eq!(s.at(0x8_0000), Effective::Invalid(2));
    }

    proptest! {
        /// Against asking at every page, masks with holes and all.
        #[test]
        fn the_map_is_what_each_address_says(
            vars in prop::collection::vec((0u64..1 << 10, 0u64..1 << 10, 0usize..5), 0..5), def in 0usize..5,
        ) {
            // Ten pages' bits from 4 MiB pages on; the bits above and below are compared, or not, alike.
            let vars: std::vec::Vec<_> = vars.iter()
                .map(|(base, mask, kind)| (base << 22 | u64::from(MemType::ALL[*kind].bits()), mask << 22))
                .collect();
            let s = setting(MemType::ALL[def], &vars);
            let mut next = 0;
            let mut before = None;
            for (span, what) in s.map() {
                prop_assert_eq!(span.start, next);
                prop_assert_ne!(Some(what), before);
                for page in (span.start..span.end).step_by(1 << 22) {
                    prop_assert_eq!(s.at(page), what);
                }
                (next, before) = (span.end, Some(what));
            }
            prop_assert_eq!(next, 1 << 32);
        }
    }
}
