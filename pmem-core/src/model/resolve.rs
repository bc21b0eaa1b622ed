//! What an address means: which place accepts it, or why none does.

use super::place::{DeadEnd, Hop, Place};
use super::record::WindowId;
use super::state::State;
use super::walk::{Answer, Walk};
use crate::id::ArenaId;
use crate::mapping::Mapping;
use alloc::vec::Vec;

/// What an address resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution<'w> {
    /// Exactly one place accepts it.
    Accept {
        /// The place.
        place: Place,
        /// The way there.
        hops: &'w [Hop],
    },
    /// Nothing accepts it.
    Fault {
        /// The arena where it got stuck: the one farthest along.
        arena: ArenaId,
        /// The address there.
        addr: u64,
        /// Why.
        why: DeadEnd,
        /// The way there.
        hops: &'w [Hop],
    },
    /// More than one place accepts it.
    Ambiguous(&'w [Place]),
    /// It is passed round in a circle, or on for ever.
    Loop(&'w [Hop]),
}

impl Resolution<'_> {
    /// The one place that accepts it.
    pub fn accepted(&self) -> Option<Place> {
        match self {
            Self::Accept { place, .. } => Some(*place),
            _ => None,
        }
    }
}

impl State {
    /// Resolves an address as seen from `arena`, into a copy that owns what it says.
    ///
    /// Every way is followed, each address of each arena once, cheapest first: what is accepted is accepted at its least cost. Of
    /// several mappings that yield, an address takes every one; it is accepted if one place in all accepts it. A circle of mappings
    /// that claim is a loop. One with a mapping that yields is none: it only says that whoever takes the address has been asked.
    pub fn resolve(&self, arena: ArenaId, addr: u64) -> OwnedResolution {
        let mut walk = Walk::empty();
        match self.walk(&mut walk, arena, addr) {
            Answer::Accept(place) => OwnedResolution::Accept { place, hops: walk.into_path() },
            Answer::Fault(arena, addr, why) => {
                OwnedResolution::Fault { arena, addr, why, hops: walk.into_path() }
            }
            Answer::Ambiguous => OwnedResolution::Ambiguous(walk.into_accepted()),
            Answer::Loop => OwnedResolution::Loop(walk.into_path()),
        }
    }

    /// Resolves an address as seen from `arena`, in memory that was set aside.
    pub fn resolve_in<'w>(&self, walk: &'w mut Walk, arena: ArenaId, addr: u64) -> Resolution<'w> {
        match self.walk(walk, arena, addr) {
            Answer::Accept(place) => Resolution::Accept { place, hops: walk.path() },
            Answer::Fault(arena, addr, why) => Resolution::Fault { arena, addr, why, hops: walk.path() },
            Answer::Ambiguous => Resolution::Ambiguous(walk.accepted()),
            Answer::Loop => Resolution::Loop(walk.path()),
        }
    }

    /// Where an address goes by one leg; `None` if the leg does not take it.
    pub(crate) fn translate(&self, arena: ArenaId, addr: u64, leg: WindowId) -> Option<u64> {
        match &self.link(leg.link)?.direction(leg.way).mapping {
            Mapping::Closed => None,
            Mapping::Identity => Some(addr),
            Mapping::Windows(w) if w.yields() => Some(addr.wrapping_add(w.piece_at(addr)?.1.offset_of())),
            Mapping::Windows(w) => Some(addr.wrapping_add(w.pieces().get(leg.piece as usize)?.offset_of())),
            Mapping::Interleave(share) => share.translate(addr),
            Mapping::Table(_) => {
                let (range, record) = self.arena(arena)?.region_at(addr)?;
                let alias = record.alias().filter(|a| (a.link, a.way) == (leg.link, leg.way))?;
                Some(alias.to + (addr - range.start()))
            }
        }
    }
}

/// [`Resolution`], owning what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedResolution {
    /// Exactly one place accepts it.
    Accept {
        /// The place.
        place: Place,
        /// The way there.
        hops: Vec<Hop>,
    },
    /// Nothing accepts it.
    Fault {
        /// The arena where it got stuck.
        arena: ArenaId,
        /// The address there.
        addr: u64,
        /// Why.
        why: DeadEnd,
        /// The way there.
        hops: Vec<Hop>,
    },
    /// More than one place accepts it.
    Ambiguous(Vec<Place>),
    /// It is passed round in a circle, or on for ever.
    Loop(Vec<Hop>),
}

impl OwnedResolution {
    /// The one place that accepts it.
    pub fn accepted(&self) -> Option<Place> {
        match self {
            Self::Accept { place, .. } => Some(*place),
            _ => None,
        }
    }
}
