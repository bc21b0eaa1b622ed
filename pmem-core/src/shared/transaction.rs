//! Many verbs, one change, with handles for what it makes.

use super::inner::Inner;
use super::region::{Found, Region};
use crate::error::Error;
use crate::id::{ArenaId, RegionId};
use crate::plan::{Plan, Request};
use alloc::vec::Vec;
use pmem_space::Attrs;
use std::sync::Arc;

/// Stands for a region that a transaction makes, until it is committed.
#[derive(Debug, PartialEq, Eq)]
pub struct Pending(RegionId);

/// A change in the making. Verbs that make no region are [`Plan`]'s, reached through [`Self::plan`].
pub struct Transaction<'t, 'm> {
    plan: &'t mut Plan<'m>,
    /// What was made, and how many references nobody but handles held before.
    made: Vec<(RegionId, usize)>,
    released: Vec<Region>,
}

impl<'t, 'm> Transaction<'t, 'm> {
    pub(super) fn new(plan: &'t mut Plan<'m>) -> Self {
        Self { plan, made: Vec::new(), released: Vec::new() }
    }

    /// The plan, for every verb that makes no region.
    pub fn plan(&mut self) -> &mut Plan<'m> {
        self.plan
    }

    /// As [`Plan::alloc`].
    ///
    /// # Errors
    /// As [`Plan::alloc`].
    pub fn alloc(&mut self, arena: ArenaId, request: &Request) -> Result<Pending, Error> {
        let id = self.plan.alloc(arena, request)?;
        Ok(self.pending(id))
    }

    /// As [`Plan::map`].
    ///
    /// # Errors
    /// As [`Plan::map`].
    pub fn map(&mut self, arena: ArenaId, region: RegionId) -> Result<Pending, Error> {
        let id = self.plan.map(arena, region)?;
        Ok(self.pending(id))
    }

    /// As [`Plan::set`].
    ///
    /// # Errors
    /// As [`Plan::set`].
    pub fn set(&mut self, region: &Region, attrs: Attrs) -> Result<(), Error> {
        self.plan.set(region.id(), attrs)
    }

    /// Gives up a handle's reference as part of the change: if it is committed, the handle and its clones are spent.
    ///
    /// # Errors
    /// As [`Plan::decref`]; [`Error::Spent`] if the handle, or a clone of it, has been released.
    pub fn release(&mut self, region: &Region) -> Result<(), Error> {
        if region.is_spent() || self.released.iter().any(|other| other.is_clone_of(region)) {
            return Err(Error::Spent(region.id()));
        }
        self.plan.decref(region.id())?;
        self.released.push(region.clone());
        Ok(())
    }

    /// The region that a token stands for, to be named in further verbs.
    pub fn id(&self, pending: &Pending) -> RegionId {
        pending.0
    }

    pub(super) fn finish(self) -> (Vec<RegionId>, Vec<Region>) {
        let mut made: Vec<RegionId> = Vec::with_capacity(self.made.len());
        for (id, _) in &self.made {
            let count = |all: &[RegionId]| all.iter().filter(|other| *other == id).count();
            let before = self.made.iter().find(|(other, _)| other == id).map_or(0, |(_, before)| *before);
            let released = self.released.iter().filter(|region| region.id() == *id).count();
            // References that the transaction gave up by name have no handle any more.
            if count(&made) + before < self.direct(*id) + released {
                made.push(*id);
            }
        }
        (made, self.released)
    }

    /// The references that no alias holds.
    fn direct(&self, id: RegionId) -> usize {
        self.plan.refs(id).map_or(0, |refs| refs as usize).saturating_sub(self.plan.aliases(id).len())
    }

    fn pending(&mut self, id: RegionId) -> Pending {
        self.made.push((id, self.direct(id).saturating_sub(1)));
        Pending(id)
    }
}

/// The regions that a committed transaction made. Those not taken are released when it is dropped.
#[derive(Debug)]
pub struct Reserved(Vec<Region>);

impl Reserved {
    pub(super) fn new(home: &Arc<Inner>, made: Vec<Found>) -> Self {
        Self(made.into_iter().map(|found| Region::new(home, found)).collect())
    }

    /// Exchanges a token of this transaction for its region; another transaction's is good for nothing, and so is that
    /// of a region that the transaction itself let go of.
    pub fn take(&mut self, pending: Pending) -> Option<Region> {
        let place = self.0.iter().position(|region| region.id() == pending.0)?;
        Some(self.0.swap_remove(place))
    }
}
