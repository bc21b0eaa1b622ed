//! Memory types, sets of them, and what overlapping registers and the PAT make of them.

use core::fmt;

/// A memory type as an MTRR gives it (Intel SDM vol. 3A, section 13.11, table 13-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MemType {
    /// Uncacheable.
    Uc = 0,
    /// Write combining.
    Wc = 1,
    /// Write through.
    Wt = 4,
    /// Write protected.
    Wp = 5,
    /// Write back.
    Wb = 6,
}

impl MemType {
    /// All five, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Uc, Self::Wc, Self::Wt, Self::Wp, Self::Wb];

    /// The type of a register's number; `None` for 2, 3, 7 and above, which a processor refuses.
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

    /// The number in a register.
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Uc => 0,
            Self::Wc => 1,
            Self::Wt => 2,
            Self::Wp => 3,
            Self::Wb => 4,
        }
    }

    /// Two capital letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uc => "UC",
            Self::Wc => "WC",
            Self::Wt => "WT",
            Self::Wp => "WP",
            Self::Wb => "WB",
        }
    }

    /// Reads two letters, or the words of `/proc/mtrr` and of the kernel's log.
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

    /// What two registers of these types make of an address that both match; `None` where that is undefined
    /// (Intel SDM vol. 3A, section 13.11.4.1).
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

/// A set of memory types: what a range may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct TypeSet(u8);

impl TypeSet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All five: a range that nobody cares for.
    pub const ANY: Self = Self(0x1f);

    /// One type.
    pub const fn only(kind: MemType) -> Self {
        Self(1 << kind.index())
    }

    /// The set of these.
    pub const fn of(kinds: &[MemType]) -> Self {
        let (mut set, mut rest) = (0, kinds);
        while let [first, others @ ..] = rest {
            set |= 1 << first.index();
            rest = others;
        }
        Self(set)
    }

    /// Whether it holds a type.
    pub const fn has(self, kind: MemType) -> bool {
        self.0 & (1 << kind.index()) != 0
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Bit `i` for the type at place `i` of [`MemType::ALL`].
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of these bits; others are dropped.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ANY.0)
    }

    /// Its types, in the order of their numbers.
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

/// A memory type as a page table gives it through the PAT (Intel SDM vol. 3A, table 13-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PatType {
    /// Uncacheable.
    Uc = 0,
    /// Write combining.
    Wc = 1,
    /// Write through.
    Wt = 4,
    /// Write protected.
    Wp = 5,
    /// Write back.
    Wb = 6,
    /// Uncacheable, unless an MTRR says write combining.
    UcMinus = 7,
}

impl PatType {
    /// All six, in the order of the manual's table.
    pub const ALL: [Self; 6] = [Self::Uc, Self::UcMinus, Self::Wc, Self::Wt, Self::Wb, Self::Wp];

    /// The type of a PAT entry's number.
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

/// What an access is in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Combined {
    /// The type, as newer manuals and processors of Intel have it.
    pub kind: MemType,
    /// Whether the manual leaves the pair undefined, or once did, and AMD differs: nothing to rely on.
    pub doubtful: bool,
}

/// What a page's PAT type and its MTRR type make together (Intel SDM vol. 3A, table 13-7).
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
