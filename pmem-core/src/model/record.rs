//! What is known of a region.

use crate::id::{ArenaId, LinkId, Owner, RegionId, Way};
use pmem_space::{AddrRange, Attrs};

/// Whether a region may be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Pin {
    /// It may be moved, resized and parked.
    #[default]
    Movable,
    /// It stays where it is, and so does whatever it is an alias of.
    Pinned,
}

/// Whether a region is space of its own or stands for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A region of its own.
    Own,
    /// Stands for a region of another arena.
    Alias(Alias),
}

/// One window of one direction of an interconnect: what an address lies behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId {
    /// The interconnect.
    pub link: LinkId,
    /// The direction out of the arena.
    pub way: Way,
    /// Which of the mapping's windows; 0 for mappings that are none.
    pub piece: u32,
}

/// What an alias stands for, and by which way it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alias {
    /// The region in the arena at the far end of the interconnect; may itself be an alias.
    pub target: RegionId,
    /// The interconnect crossed.
    pub link: LinkId,
    /// In which direction.
    pub way: Way,
    /// Which of the mapping's windows; 0 for mappings that are none.
    pub piece: u32,
    /// Where the target starts in the far arena. For a table, what its entry holds.
    pub to: u64,
}

impl Alias {
    /// The window, or whole mapping, that it goes through.
    pub const fn leg(&self) -> WindowId {
        WindowId { link: self.link, way: self.way, piece: self.piece }
    }
}

/// A region as it stands in its arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegionRecord {
    /// Its name.
    pub id: RegionId,
    /// Its attributes. Of an alias only `prot` counts, which narrows its target's.
    pub attrs: Attrs,
    /// Whose it is.
    pub owner: Owner,
    /// Whether it stands for another region.
    pub role: Role,
    /// Whether it may be moved.
    pub pin: Pin,
    /// Of an alias: the power of two of which its address stays a multiple, as the request asked that led to it. 0 for any address.
    pub align: u8,
}

impl RegionRecord {
    /// Whether it has an owner.
    pub(crate) fn is_somebodys(&self) -> bool {
        self.owner != Owner::default()
    }

    /// What it stands for, if it is an alias.
    pub const fn alias(&self) -> Option<Alias> {
        match self.role {
            Role::Own => None,
            Role::Alias(alias) => Some(alias),
        }
    }
}

/// Where a region is, or how large it is while it is nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// At these addresses.
    At(AddrRange),
    /// Parked: owner, attributes and this size in bytes are kept, no address is claimed.
    Parked(u64),
}

impl Location {
    /// The addresses, if it has any.
    pub const fn range(self) -> Option<AddrRange> {
        match self {
            Self::At(range) => Some(range),
            Self::Parked(_) => None,
        }
    }

    /// The size in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub const fn len(self) -> u64 {
        match self {
            Self::At(range) => range.len(),
            Self::Parked(len) => len,
        }
    }
}

/// A region and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// Its arena.
    pub arena: ArenaId,
    /// Its addresses there.
    pub seat: Location,
    /// What it is.
    pub record: RegionRecord,
}
