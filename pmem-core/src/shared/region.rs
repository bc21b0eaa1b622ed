//! A region that counts its handles.

use super::inner::{Inner, Ties};
use super::sync::atomic::{AtomicBool, Ordering};
use crate::error::Error;
use crate::id::{ArenaId, RegionId};
use crate::manager::{Manager, Released};
use crate::model::{RegionRecord, State};
use core::fmt;
use pmem_space::AddrRange;
use std::sync::Arc;

/// What the handles of one reference share.
pub(super) struct Counted {
    id: RegionId,
    arena: ArenaId,
    /// Where it was made, and is wherever no move is noted; 0 if it was made parked.
    made_at: u64,
    made_parked: bool,
    /// Its reference has been given up already.
    spent: AtomicBool,
    ties: Arc<Ties>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.spent.load(Ordering::Acquire) {
            return;
        }
        self.ties.queue.push(self.id);
        if !std::thread::panicking()
            && let Some(home) = self.ties.home.upgrade()
        {
            home.settle();
        }
    }
}

/// What a new handle is told of its region.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) id: RegionId,
    pub(super) arena: ArenaId,
    pub(super) made_at: Option<u64>,
}

impl Found {
    pub(super) fn locate(manager: &Manager, id: RegionId) -> Result<Self, Error> {
        let placement = manager.placement(id)?;
        let start = placement.seat.range().map(AddrRange::start);
        let made_at = manager.state().moved(id).map_or(start, |moved| moved.made_at);
        Ok(Self { id, arena: placement.arena, made_at })
    }
}

/// A reference to a region of a [`Pmem`](super::Pmem). Cloning makes another handle; when the last one is dropped, the
/// reference is given up: at once if the writer is free, else with the next change.
#[derive(Clone)]
pub struct Region(Arc<Counted>);

impl Region {
    pub(super) fn new(home: &Arc<Inner>, found: Found) -> Self {
        let Found { id, arena, made_at } = found;
        Self(Arc::new(Counted {
            id,
            arena,
            made_at: made_at.unwrap_or_default(),
            made_parked: made_at.is_none(),
            spent: AtomicBool::new(false),
            ties: Arc::clone(home.ties()),
        }))
    }

    /// Its name.
    pub fn id(&self) -> RegionId {
        self.0.id
    }

    /// Its arena.
    pub fn arena(&self) -> ArenaId {
        self.0.arena
    }

    /// Where it started when it was made; `None` if it was made parked. Where it is in a snapshot [`Self::at`] says.
    pub fn made_at(&self) -> Option<u64> {
        (!self.0.made_parked).then_some(self.0.made_at)
    }

    /// Where it is in a snapshot, and what it is; `None` if the snapshot does not have it, or has it parked.
    pub fn at(&self, state: &State) -> Option<(AddrRange, RegionRecord)> {
        let start = state.moved(self.0.id).map_or(self.made_at(), |moved| moved.start)?;
        state.arena(self.0.arena)?.region_at(start).filter(|(_, record)| record.id == self.0.id)
    }

    /// Gives the reference up now, rather than when the last handle happens to be dropped.
    ///
    /// # Errors
    /// [`Error::InCallback`] inside a driver's callback: the reference is then given up with the next change;
    /// [`Error::Spent`] if a transaction has released it.
    pub fn release(self) -> Result<Released, Error> {
        let Some(home) = self.0.ties.home.upgrade() else { return Ok(Released::Gone) };
        let id = self.0.id;
        if self.is_spent() {
            return Err(Error::Spent(id));
        }
        match Arc::into_inner(self.0) {
            None => home.write(|manager| manager.refs(id).map(|refs| Released::Held { refs })),
            Some(cell) => {
                let result = home.write(|manager| manager.decref(id));
                if result.is_ok() {
                    cell.spent.store(true, Ordering::Release);
                }
                result
            }
        }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.spent.load(Ordering::Acquire)
    }

    pub(super) fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn spend(&self) {
        self.0.spent.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({})", self.0.id)
    }
}
