//! Names of what the manager holds. None is ever reused for something else.

use core::fmt;
use slotmap::{Key, new_key_type};

new_key_type! {
    /// Names an arena.
    pub struct ArenaId;
    /// Names an interconnect.
    pub struct LinkId;
    /// Names a region, or an alias of one; kept when its address changes.
    pub struct RegionId;
    /// Names a registered driver.
    pub struct DriverId;
}

macro_rules! shown_as {
    ($($id:ty => $word:literal),*) => {$(
        impl $id {
            /// The id as a number that [`Self::from_raw`] takes: for interfaces that cannot carry the type.
            pub fn to_raw(self) -> u64 {
                self.data().as_ffi()
            }

            /// The id of which [`Self::to_raw`] gave this number. Any other number names nothing.
            pub fn from_raw(raw: u64) -> Self {
                slotmap::KeyData::from_ffi(raw).into()
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let raw = self.data().as_ffi();
                write!(f, concat!($word, " {}v{}"), raw & 0xffff_ffff, raw >> 32)
            }
        }
    )*};
}
shown_as!(ArenaId => "arena", LinkId => "interconnect", RegionId => "region", DriverId => "driver");

/// Whose a region is: an opaque key that only its giver understands. 0 is nobody in particular.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Owner(pub u64);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "owner {:#x}", self.0)
    }
}

/// One of an interconnect's two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Way {
    /// From the left arena to the right one.
    ToRight,
    /// From the right arena to the left one.
    ToLeft,
}

impl Way {
    /// The other direction.
    #[must_use]
    pub const fn back(self) -> Self {
        match self {
            Self::ToRight => Self::ToLeft,
            Self::ToLeft => Self::ToRight,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToRight => "to the right",
            Self::ToLeft => "to the left",
        })
    }
}
