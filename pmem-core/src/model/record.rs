//! What the model keeps about a region.

use crate::id::{ArenaId, LinkId, Owner, RegionId, Way};
use pmem_space::{AddrRange, Attrs};

/// Whether a region may be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Pin {
    /// The region may be moved, resized and parked.
    #[default]
    Movable,
    /// The region stays where it is. Pinning an alias pins its target, too.
    Pinned,
}

/// Whether a region has space of its own or is an alias of another region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A region with space of its own.
    Own,
    /// An alias of a region in another arena.
    Alias(Alias),
}

/// One window of one direction of an interconnect, or the whole direction if its mapping is not made of windows.
/// Called a *leg* of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId {
    /// The interconnect.
    pub link: LinkId,
    /// The direction that leads out of the arena.
    pub way: Way,
    /// The index of the mapping's window, from 0; 0 for a mapping that is not made of windows.
    pub piece: u32,
}

/// What an alias refers to, and the interconnect it goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alias {
    /// The region or alias at the far end of the interconnect.
    pub target: RegionId,
    /// The interconnect crossed.
    pub link: LinkId,
    /// The direction of the crossing.
    pub way: Way,
    /// The index of the mapping's window, from 0; 0 for a mapping that is not made of windows.
    pub piece: u32,
    /// The start of the target in the far arena. For a translation table this is what the entry holds.
    pub to: u64,
}

impl Alias {
    /// Returns the window, or the whole mapping, that the alias goes through.
    #[must_use]
    pub const fn leg(&self) -> WindowId {
        WindowId { link: self.link, way: self.way, piece: self.piece }
    }
}

/// What the model keeps about a region, apart from where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegionRecord {
    /// The region's id.
    pub id: RegionId,
    /// The region's attributes. For an alias only `prot` has an effect: it further restricts the target's.
    pub attrs: Attrs,
    /// The owner; 0 for no particular owner.
    pub owner: Owner,
    /// Whether this is an alias, and of what.
    pub role: Role,
    /// Whether the region may be moved.
    pub pin: Pin,
    /// For an alias: the base-2 logarithm of the alignment that its address must keep, from the request that created
    /// it. 0 allows any address.
    pub align: u8,
}

impl RegionRecord {
    /// Whether the region has an owner.
    pub(crate) fn is_somebodys(&self) -> bool {
        self.owner != Owner::default()
    }

    /// Returns what the region refers to if it is an alias; `None` otherwise.
    #[must_use]
    pub const fn alias(&self) -> Option<Alias> {
        match self.role {
            Role::Own => None,
            Role::Alias(alias) => Some(alias),
        }
    }
}

/// The addresses of a region, or its size while it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// The region occupies these addresses.
    At(AddrRange),
    /// The region is parked. It keeps its owner, its attributes and this size in bytes, but claims no address.
    Parked(u64),
}

impl Location {
    /// Returns the addresses; `None` while parked.
    #[must_use]
    pub const fn range(self) -> Option<AddrRange> {
        match self {
            Self::At(range) => Some(range),
            Self::Parked(_) => None,
        }
    }

    /// Returns the size, in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    #[must_use]
    pub const fn len(self) -> u64 {
        match self {
            Self::At(range) => range.len(),
            Self::Parked(len) => len,
        }
    }
}

/// A region together with where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// The region's arena.
    pub arena: ArenaId,
    /// The region's addresses in that arena, or its size while parked.
    pub seat: Location,
    /// The region's id, owner, attributes and role.
    pub record: RegionRecord,
}
