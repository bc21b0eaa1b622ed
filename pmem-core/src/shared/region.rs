//! A handle to a region, which counts as a reference.

use super::inner::{Inner, Ties};
use super::sync::atomic::{AtomicBool, Ordering};
use crate::error::Error;
use crate::id::{ArenaId, RegionId};
use crate::manager::{Manager, Released};
use crate::model::{RegionRecord, State};
use core::fmt;
use pmem_space::AddrRange;
use std::sync::Arc;

/// What the clones of one handle share: one reference.
pub(super) struct Counted {
    id: RegionId,
    arena: ArenaId,
    /// The start the region was made with, where it still is unless the state has a move noted; 0 if it was made
    /// parked.
    made_at: u64,
    made_parked: bool,
    /// Whether the reference has already been given up.
    spent: AtomicBool,
    ties: Arc<Ties>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.spent.load(Ordering::Acquire) {
            return;
        }
        self.ties.queue.push(self.id);
        // While unwinding, only queue: settling would run drivers and observers.
        if !std::thread::panicking()
            && let Some(home) = self.ties.home.upgrade()
        {
            home.settle();
        }
    }
}

/// What a new handle needs to know about its region.
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

/// A handle to a region of a [`Pmem`](super::Pmem): a reference. A clone shares the reference. When the last clone is
/// dropped the reference is given up: at once if the writer is free, otherwise as soon as the change under way
/// is done.
///
/// # Examples
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Pmem, Request};
///
/// let pmem = Pmem::new();
/// let ram = pmem.write(|manager| {
///     let ram = manager.create_arena("RAM", ArenaType::RAM)?;
///     manager.prime(ram, AddrRange::new(0, 0x10_0000)?, Attrs::ram())?;
///     Ok(ram)
/// })?;
/// let region = pmem.alloc(ram, &Request::new(0x1000))?;
/// pmem.write(|manager| manager.relocate(region.id(), 0x8000))?;
/// let range = region.at(&pmem.load()).map(|(range, _)| range);
/// assert_eq!(range, Some(AddrRange::sized(0x8000, 0x1000)?), "the handle follows the region");
/// drop(region);
/// assert_eq!(pmem.load().arena(ram).map(|arena| arena.regions().count()), Some(0));
/// # Ok::<(), pmem_core::Error>(())
/// ```
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

    /// Returns the region's id.
    #[must_use]
    pub fn id(&self) -> RegionId {
        self.0.id
    }

    /// Returns the region's arena.
    #[must_use]
    pub fn arena(&self) -> ArenaId {
        self.0.arena
    }

    /// Returns the start that the region was made with; `None` if it was made parked. For its place in a snapshot use
    /// [`Self::at`].
    #[must_use]
    pub fn made_at(&self) -> Option<u64> {
        (!self.0.made_parked).then_some(self.0.made_at)
    }

    /// Returns the region's addresses and record in a snapshot; `None` if the region is parked there or does not
    /// exist there.
    #[must_use]
    pub fn at(&self, state: &State) -> Option<(AddrRange, RegionRecord)> {
        let start = state.moved(self.0.id).map_or(self.made_at(), |moved| moved.start)?;
        state.arena(self.0.arena)?.region_at(start).filter(|(_, record)| record.id == self.0.id)
    }

    /// Gives the reference up now, and tells what became of the region. While clones of the handle exist it only
    /// drops this one.
    ///
    /// # Errors
    /// [`Error::InCallback`] inside a driver's callback; the last clone's reference is then given up right
    /// after the change under way.
    /// [`Error::Spent`] if a transaction has released the reference.
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
