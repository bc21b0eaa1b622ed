//! What an address means: which arena accepts it, or why none does.

use super::place::{DeadEnd, Hop, Place};
use super::record::WindowId;
use super::state::State;
use super::walk::{Answer, Walk};
use crate::id::ArenaId;
use crate::mapping::Mapping;
use alloc::vec::Vec;

/// What an address resolves to. Borrows its paths from the [`Walk`] that [`State::resolve_in`] was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution<'w> {
    /// Exactly one place accepts the address.
    Accept {
        /// Where it is accepted.
        place: Place,
        /// The path there, in order.
        hops: &'w [Hop],
    },
    /// No arena accepts the address.
    Fault {
        /// The arena in which it got stuck; if several, the one most hops away, then the one with the lowest id.
        arena: ArenaId,
        /// The address in that arena.
        addr: u64,
        /// Why it is stuck there.
        why: DeadEnd,
        /// The path there, in order.
        hops: &'w [Hop],
    },
    /// More than one place accepts the address, perhaps in one arena. Lists the places, cheapest first.
    Ambiguous(&'w [Place]),
    /// A routing loop: no arena ever accepts the address.
    Loop(&'w [Hop]),
}

impl Resolution<'_> {
    /// Returns the one place that accepts the address; `None` if there is none, or more than one.
    #[must_use]
    pub fn accepted(&self) -> Option<Place> {
        match self {
            Self::Accept { place, .. } => Some(*place),
            _ => None,
        }
    }
}

impl State {
    /// Resolves an address as `arena` sees it. The result owns its paths.
    ///
    /// The search follows every path and expands each address of each arena once, cheapest first, so an address is
    /// accepted at its least cost. An address that several yielding mappings take follows each of them; it is
    /// accepted if exactly one place in all accepts it. A cycle of claiming mappings is a loop. A cycle with a
    /// yielding mapping in it is not: an address that comes back to where it was has merely been offered to every
    /// mapping on the way.
    ///
    /// # Examples
    /// ```
    /// use pmem_core::{AddrRange, ArenaType, Attrs, DeadEnd, Manager, Mapping, Metric, OwnedResolution};
    ///
    /// let mut pmem = Manager::new();
    /// let cpu = pmem.create_arena("CPU", ArenaType::VIEW)?;
    /// let ram = pmem.create_arena("DIMM", ArenaType::RAM)?;
    /// pmem.prime(ram, AddrRange::new(0, 0x4000_0000)?, Attrs::ram())?;
    /// // The memory controller shows 2 GiB of addresses, but only 1 GiB is populated.
    /// let decoder = Mapping::window(AddrRange::new(0, 0x8000_0000)?, 0)?;
    /// pmem.connect(cpu, ram, decoder, Metric::new(10))?;
    ///
    /// let place = pmem.state().resolve(cpu, 0x1000).accepted().ok_or("nothing decodes it")?;
    /// assert_eq!((place.arena, place.addr, place.cost), (ram, 0x1000, Metric::new(10)));
    ///
    /// let empty = pmem.state().resolve(cpu, 0x5000_0000);
    /// let expected = (ram, DeadEnd::Undecoded);
    /// assert!(matches!(empty, OwnedResolution::Fault { arena, why, .. } if (arena, why) == expected));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
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

    /// Resolves an address as `arena` sees it, in memory set aside in `walk`, so that it usually allocates nothing.
    pub fn resolve_in<'w>(&self, walk: &'w mut Walk, arena: ArenaId, addr: u64) -> Resolution<'w> {
        match self.walk(walk, arena, addr) {
            Answer::Accept(place) => Resolution::Accept { place, hops: walk.path() },
            Answer::Fault(arena, addr, why) => Resolution::Fault { arena, addr, why, hops: walk.path() },
            Answer::Ambiguous => Resolution::Ambiguous(walk.accepted()),
            Answer::Loop => Resolution::Loop(walk.path()),
        }
    }

    /// Translates an address by one leg; `None` if the leg does not take it.
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

/// What an address resolves to. The owned form of [`Resolution`], from [`State::resolve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedResolution {
    /// Exactly one place accepts the address.
    Accept {
        /// Where it is accepted.
        place: Place,
        /// The path there, in order.
        hops: Vec<Hop>,
    },
    /// No arena accepts the address.
    Fault {
        /// The arena in which it got stuck; if several, the one most hops away, then the one with the lowest id.
        arena: ArenaId,
        /// The address in that arena.
        addr: u64,
        /// Why it is stuck there.
        why: DeadEnd,
        /// The path there, in order.
        hops: Vec<Hop>,
    },
    /// More than one place accepts the address, perhaps in one arena. Lists the places, cheapest first.
    Ambiguous(Vec<Place>),
    /// A routing loop: no arena ever accepts the address.
    Loop(Vec<Hop>),
}

impl OwnedResolution {
    /// Returns the one place that accepts the address; `None` if there is none, or more than one.
    #[must_use]
    pub fn accepted(&self) -> Option<Place> {
        match self {
            Self::Accept { place, .. } => Some(*place),
            _ => None,
        }
    }
}
