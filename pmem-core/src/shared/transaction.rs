//! Several verbs as one change, with handles for the regions it makes.

use super::inner::Inner;
use super::region::{Found, Region};
use crate::error::Error;
use crate::id::{ArenaId, RegionId};
use crate::plan::{Plan, Request};
use alloc::vec::Vec;
use pmem_space::Attrs;
use std::sync::Arc;

/// A token for a region that a transaction makes. Exchange it for the region once the transaction is committed:
/// [`Reserved::take`].
#[derive(Debug, PartialEq, Eq)]
pub struct Pending(RegionId);

/// A change being planned through a [`Pmem`](super::Pmem). For verbs that make no region use [`Self::plan`].
///
/// # Examples
/// Replace a buffer by a larger one in a single change:
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Pmem, Request};
///
/// let pmem = Pmem::new();
/// let ram = pmem.write(|manager| {
///     let ram = manager.create_arena("RAM", ArenaType::RAM)?;
///     manager.prime(ram, AddrRange::new(0, 0x4000)?, Attrs::ram())?;
///     Ok(ram)
/// })?;
/// let small = pmem.alloc(ram, &Request::new(0x2000))?;
/// let (token, mut reserved) = pmem.transaction(|transaction| {
///     transaction.release(&small)?;
///     transaction.alloc(ram, &Request::new(0x4000))
/// })?;
/// let large = reserved.take(token).expect("made by this transaction");
/// assert_eq!(large.made_at(), Some(0));
/// # Ok::<(), pmem_core::Error>(())
/// ```
pub struct Transaction<'t, 'm> {
    plan: &'t mut Plan<'m>,
    /// The regions made, each with the number of references that only handles held before.
    made: Vec<(RegionId, usize)>,
    released: Vec<Region>,
}

impl<'t, 'm> Transaction<'t, 'm> {
    pub(super) fn new(plan: &'t mut Plan<'m>) -> Self {
        Self { plan, made: Vec::new(), released: Vec::new() }
    }

    /// Returns the plan, for every verb that makes no region.
    pub fn plan(&mut self) -> &mut Plan<'m> {
        self.plan
    }

    /// Allocates a region, like [`Plan::alloc`]. Returns a token for it.
    ///
    /// # Errors
    /// As [`Plan::alloc`].
    pub fn alloc(&mut self, arena: ArenaId, request: &Request) -> Result<Pending, Error> {
        let id = self.plan.alloc(arena, request)?;
        Ok(self.pending(id))
    }

    /// Makes a region visible in `arena`, like [`Plan::map`]. Returns a token for the result.
    ///
    /// # Errors
    /// As [`Plan::map`].
    pub fn map(&mut self, arena: ArenaId, region: RegionId) -> Result<Pending, Error> {
        let id = self.plan.map(arena, region)?;
        Ok(self.pending(id))
    }

    /// Sets a region's attributes, like [`Plan::set`].
    ///
    /// # Errors
    /// As [`Plan::set`].
    pub fn set(&mut self, region: &Region, attrs: Attrs) -> Result<(), Error> {
        self.plan.set(region.id(), attrs)
    }

    /// Gives up a handle's reference as part of the change. Once the change is committed, the handle and its clones
    /// are spent.
    ///
    /// # Errors
    /// As [`Plan::decref`]; [`Error::Spent`] if the handle or a clone of it has already been released.
    pub fn release(&mut self, region: &Region) -> Result<(), Error> {
        if region.is_spent() || self.released.iter().any(|other| other.is_clone_of(region)) {
            return Err(Error::Spent(region.id()));
        }
        self.plan.decref(region.id())?;
        self.released.push(region.clone());
        Ok(())
    }

    /// Returns the id of the region behind a token, for use in further verbs.
    #[must_use]
    pub fn id(&self, pending: &Pending) -> RegionId {
        pending.0
    }

    pub(super) fn finish(self) -> (Vec<RegionId>, Vec<Region>) {
        let mut made: Vec<RegionId> = Vec::with_capacity(self.made.len());
        for (id, _) in &self.made {
            let count = |all: &[RegionId]| all.iter().filter(|other| *other == id).count();
            let before = self.made.iter().find(|(other, _)| other == id).map_or(0, |(_, before)| *before);
            let released = self.released.iter().filter(|region| region.id() == *id).count();
            // Only references that are still there get a handle: the transaction may have given some up by id.
            if count(&made) + before < self.direct(*id) + released {
                made.push(*id);
            }
        }
        (made, self.released)
    }

    /// Returns the number of references that no alias holds.
    fn direct(&self, id: RegionId) -> usize {
        self.plan.refs(id).map_or(0, |refs| refs as usize).saturating_sub(self.plan.aliases(id).len())
    }

    fn pending(&mut self, id: RegionId) -> Pending {
        self.made.push((id, self.direct(id).saturating_sub(1)));
        Pending(id)
    }
}

/// The regions that a committed transaction made. Dropping this releases those that were not taken.
#[derive(Debug)]
pub struct Reserved(Vec<Region>);

impl Reserved {
    pub(super) fn new(home: &Arc<Inner>, made: Vec<Found>) -> Self {
        Self(made.into_iter().map(|found| Region::new(home, found)).collect())
    }

    /// Exchanges a token of this transaction for its region; `None` for a token of another transaction, or of a
    /// region that the transaction itself released.
    pub fn take(&mut self, pending: Pending) -> Option<Region> {
        let place = self.0.iter().position(|region| region.id() == pending.0)?;
        Some(self.0.swap_remove(place))
    }
}
