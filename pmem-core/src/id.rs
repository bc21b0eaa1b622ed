//! Ids of arenas, interconnects, regions and drivers. An id is never reused, so stale ids are detected.

use core::fmt;
use slotmap::{Key, new_key_type};

new_key_type! {
    /// Identifies an arena.
    pub struct ArenaId;
    /// Identifies an interconnect.
    pub struct LinkId;
    /// Identifies a region, or an alias of one. A region keeps its id when it moves.
    pub struct RegionId;
    /// Identifies a registered driver.
    pub struct DriverId;
}

macro_rules! shown_as {
    ($($id:ty => $word:literal),*) => {$(
        impl $id {
            /// Returns the id as a number for [`Self::from_raw`], for interfaces that cannot carry the type.
            pub fn to_raw(self) -> u64 {
                self.data().as_ffi()
            }

            /// Returns the id that [`Self::to_raw`] turned into `raw`. Any other number gives an id that names
            /// nothing.
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

/// The owner of a region: an opaque key that only the caller who set it interprets. 0 means no particular owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Owner(pub u64);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "owner {:#x}", self.0)
    }
}

/// One of the two directions of an interconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Way {
    /// From the left arena to the right.
    ToRight,
    /// From the right arena to the left.
    ToLeft,
}

impl Way {
    /// Returns the opposite direction.
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
