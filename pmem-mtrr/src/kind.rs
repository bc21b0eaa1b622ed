//! Memory types, sets of them, and how overlapping registers and the PAT combine them.

use core::fmt;

/// A memory type of an MTRR (Intel SDM vol. 3A, section 13.11, table 13-8).
///
/// # Examples
/// Where two registers overlap, uncacheable wins; write-combining over write-back is undefined:
///
/// ```
/// use pmem_mtrr::MemType;
///
/// assert_eq!(MemType::Uc.over(MemType::Wb), Some(MemType::Uc));
/// assert_eq!(MemType::Wt.over(MemType::Wb), Some(MemType::Wt));
/// assert_eq!(MemType::Wc.over(MemType::Wb), None);
/// assert_eq!(MemType::from_name("write-combining"), Some(MemType::Wc));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MemType {
    /// Uncacheable (UC).
    Uc = 0,
    /// Write-combining (WC).
    Wc = 1,
    /// Write-through (WT).
    Wt = 4,
    /// Write-protected (WP).
    Wp = 5,
    /// Write-back (WB).
    Wb = 6,
}

impl MemType {
    /// All five types, in the order of their encodings.
    pub const ALL: [Self; 5] = [Self::Uc, Self::Wc, Self::Wt, Self::Wp, Self::Wb];

    /// Decodes the type in a register; `None` for 2, 3, 7 and above, which a processor refuses.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Uc),
            1 => Some(Self::Wc),
            4 => Some(Self::Wt),
            5 => Some(Self::Wp),
            6 => Some(Self::Wb),
            _ => None,
        }
    }

    /// Returns the type's encoding in a register.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Returns the type's place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Uc => 0,
            Self::Wc => 1,
            Self::Wt => 2,
            Self::Wp => 3,
            Self::Wb => 4,
        }
    }

    /// Returns the name: two capital letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uc => "UC",
            Self::Wc => "WC",
            Self::Wt => "WT",
            Self::Wp => "WP",
            Self::Wb => "WB",
        }
    }

    /// Parses the two letters, or the words of `/proc/mtrr` and the kernel's log, in either case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let long = match kind {
                Self::Uc => "uncachable",
                Self::Wc => "write-combining",
                Self::Wt => "write-through",
                Self::Wp => "write-protect",
                Self::Wb => "write-back",
            };
            name.eq_ignore_ascii_case(kind.name()) || name.eq_ignore_ascii_case(long)
        })
    }

    /// Returns the type of an address that registers of both types match; `None` where that is undefined (Intel SDM
    /// vol. 3A, section 13.11.4.1).
    #[must_use]
    pub const fn over(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Uc, _) | (_, Self::Uc) => Some(Self::Uc),
            (Self::Wt, Self::Wb) | (Self::Wb, Self::Wt) => Some(Self::Wt),
            _ if self as u8 == other as u8 => Some(self),
            _ => None,
        }
    }
}

impl fmt::Display for MemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A set of memory types, such as those that a range may have.
///
/// # Examples
/// A framebuffer may be write-combining or uncacheable:
///
/// ```
/// use pmem_mtrr::{MemType, TypeSet};
///
/// let framebuffer = TypeSet::of(&[MemType::Uc, MemType::Wc]);
/// assert!(framebuffer.has(MemType::Wc) && !framebuffer.has(MemType::Wb));
/// assert_eq!(framebuffer.to_string(), "UC|WC");
/// assert!(framebuffer.and(TypeSet::only(MemType::Wb)).is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct TypeSet(u8);

impl TypeSet {
    /// The empty set.
    pub const EMPTY: Self = Self(0);
    /// All five types: for a range whose type does not matter.
    pub const ANY: Self = Self(0x1f);

    /// Returns the set of one type.
    #[must_use]
    pub const fn only(kind: MemType) -> Self {
        Self(1 << kind.index())
    }

    /// Returns the set of the types in `kinds`.
    #[must_use]
    pub const fn of(kinds: &[MemType]) -> Self {
        let (mut set, mut rest) = (0, kinds);
        while let [first, others @ ..] = rest {
            set |= 1 << first.index();
            rest = others;
        }
        Self(set)
    }

    /// Returns whether the set holds a type.
    #[must_use]
    pub const fn has(self, kind: MemType) -> bool {
        self.0 & (1 << kind.index()) != 0
    }

    /// Returns the types that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the types that are in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether the set holds no type.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the set as bits: bit `i` for the type at place `i` of [`MemType::ALL`].
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns the set of the types in `bits`; bits from 5 up are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ANY.0)
    }

    /// Iterates over the types in the set, in the order of their encodings.
    pub fn iter(self) -> impl Iterator<Item = MemType> {
        MemType::ALL.into_iter().filter(move |kind| self.has(*kind))
    }
}

impl From<MemType> for TypeSet {
    fn from(kind: MemType) -> Self {
        Self::only(kind)
    }
}

impl fmt::Display for TypeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            return f.pad("any");
        }
        for (i, kind) in self.iter().enumerate() {
            if i > 0 {
                f.write_str("|")?;
            }
            f.write_str(kind.name())?;
        }
        Ok(())
    }
}

/// A memory type of a page table entry, by way of the PAT (Intel SDM vol. 3A, table 13-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PatType {
    /// Uncacheable (UC).
    Uc = 0,
    /// Write-combining (WC).
    Wc = 1,
    /// Write-through (WT).
    Wt = 4,
    /// Write-protected (WP).
    Wp = 5,
    /// Write-back (WB).
    Wb = 6,
    /// Uncacheable, unless an MTRR makes it write-combining (UC-).
    UcMinus = 7,
}

impl PatType {
    /// All six types, in the order of the manual's table.
    pub const ALL: [Self; 6] = [Self::Uc, Self::UcMinus, Self::Wc, Self::Wt, Self::Wb, Self::Wp];

    /// Decodes the type in a PAT entry; `None` for 2, 3, 8 and above.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Uc),
            1 => Some(Self::Wc),
            4 => Some(Self::Wt),
            5 => Some(Self::Wp),
            6 => Some(Self::Wb),
            7 => Some(Self::UcMinus),
            _ => None,
        }
    }
}

/// The type of an access, from its MTRR type and its PAT type together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Combined {
    /// The type, according to newer Intel manuals and processors.
    pub kind: MemType,
    /// Whether not to rely on `kind`: the manual leaves the pair undefined, or once did, and AMD differs.
    pub doubtful: bool,
}

/// Returns the type that a page's PAT type and its MTRR type make together (Intel SDM vol. 3A, table 13-7).
///
/// # Examples
/// A driver maps a framebuffer write-combining through the PAT, whatever its MTRR type is:
///
/// ```
/// use pmem_mtrr::{MemType, PatType, with_pat};
///
/// assert_eq!(with_pat(MemType::Uc, PatType::Wc).kind, MemType::Wc);
/// assert_eq!(with_pat(MemType::Uc, PatType::Wb).kind, MemType::Uc);
/// assert!(with_pat(MemType::Wp, PatType::UcMinus).doubtful);
/// ```
#[must_use]
pub const fn with_pat(mtrr: MemType, pat: PatType) -> Combined {
    use MemType::{Uc, Wb, Wc, Wp, Wt};
    let (kind, doubtful) = match (mtrr, pat) {
        (_, PatType::Wc) => (Wc, false),
        (_, PatType::Uc) | (Uc, _) | (Wt | Wb, PatType::UcMinus) => (Uc, false),
        (Wc, PatType::UcMinus | PatType::Wb) => (Wc, false),
        (Wc, PatType::Wt | PatType::Wp) => (Uc, true),
        (Wt, PatType::Wt | PatType::Wb) | (Wb, PatType::Wt) => (Wt, false),
        (Wt, PatType::Wp) => (Wp, true),
        (Wb, PatType::Wb) => (Wb, false),
        (Wb | Wp, PatType::Wp) | (Wp, PatType::Wb) => (Wp, false),
        (Wp, PatType::UcMinus) => (Wc, true),
        (Wp, PatType::Wt) => (Wt, true),
    };
    Combined { kind, doubtful }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pat_types_have_the_numbers_of_the_manual() {
        use PatType::{Uc, UcMinus, Wb, Wc, Wp, Wt};
        let some = [Some(Uc), Some(Wc), None, None, Some(Wt), Some(Wp), Some(Wb), Some(UcMinus), None];
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7, 8].map(PatType::from_bits), some);
    }

    #[test]
    fn overlaps_are_as_the_manual_says() {
        for a in MemType::ALL {
            for b in MemType::ALL {
                assert_eq!(a.over(b), b.over(a));
            }
            assert_eq!(a.over(a), Some(a));
            assert_eq!(a.over(MemType::Uc), Some(MemType::Uc));
        }
        assert_eq!(MemType::Wt.over(MemType::Wb), Some(MemType::Wt));
        assert_eq!(MemType::Wc.over(MemType::Wb), None);
        assert_eq!(MemType::Wp.over(MemType::Wb), None);
    }

    #[test]
    fn the_pat_table_is_the_manuals() {
        let rows = [
            "UC UC WC UC UC UC",
            "UC WC WC UC* WC UC*",
            "UC UC WC WT WT WP*",
            "UC WC* WC WT* WP WP",
            "UC UC WC WT WB WP",
        ];
        for (mtrr, row) in MemType::ALL.into_iter().zip(rows) {
            for (pat, cell) in PatType::ALL.into_iter().zip(row.split(' ')) {
                let got = with_pat(mtrr, pat);
                assert_eq!(got.kind.name(), cell.trim_end_matches('*'), "{mtrr} {pat:?}");
                assert_eq!(got.doubtful, cell.ends_with('*'), "{mtrr} {pat:?}");
            }
        }
    }
}
