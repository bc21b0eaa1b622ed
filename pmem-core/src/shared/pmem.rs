//! The handle that threads share.

use super::events::{Event, ObserverId};
use super::inner::Inner;
use super::region::{Found, Region};
#[cfg(not(loom))]
use super::sync::Cell;
use super::transaction::{Reserved, Transaction};
use crate::driver::{Driver, Subscription};
use crate::error::Error;
use crate::id::{ArenaId, DriverId, RegionId};
use crate::manager::Manager;
use crate::model::{Edit, State};
use crate::plan::{Plan, Request};
use alloc::boxed::Box;
use alloc::vec::Vec;
use pmem_space::Attrs;
use std::sync::Arc;

/// A manager that threads share: one writes at a time, readers never wait, not even for a driver that takes its time.
///
/// Cloning gives another handle to the same manager.
#[derive(Clone)]
pub struct Pmem(Arc<Inner>);

impl From<Manager> for Pmem {
    fn from(manager: Manager) -> Self {
        Self(Inner::new(manager))
    }
}

impl Default for Pmem {
    fn default() -> Self {
        Self::from(Manager::new())
    }
}

impl Pmem {
    /// Makes a manager of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state as last published. Never waits.
    pub fn load(&self) -> Arc<State> {
        self.0.published.load_full()
    }

    /// A reader for a thread that reads often: it holds on to the last state it saw.
    #[cfg(not(loom))]
    pub fn reader(&self) -> Reader {
        Reader { cache: arc_swap::Cache::new(Shared(Arc::clone(&self.0))) }
    }

    /// Calls any verbs of the manager, each a change of its own; readers see what came of them all at once.
    ///
    /// # Errors
    /// What `verbs` returns; [`Error::InCallback`] inside a driver's callback.
    pub fn write<T>(&self, verbs: impl FnOnce(&mut Manager) -> Result<T, Error>) -> Result<T, Error> {
        self.0.write(verbs)
    }

    /// Makes one change of many verbs; the regions it makes are taken from [`Reserved`].
    ///
    /// # Errors
    /// As [`Manager::transaction`]; [`Error::InCallback`] inside a driver's callback.
    pub fn transaction<T>(
        &self,
        verbs: impl FnOnce(&mut Transaction<'_, '_>) -> Result<T, Error>,
    ) -> Result<(T, Reserved), Error> {
        let (result, made) = self.0.write(|manager| {
            let (result, made, released) = manager.transaction(|plan| {
                let mut transaction = Transaction::new(plan);
                let result = verbs(&mut transaction)?;
                let (made, released) = transaction.finish();
                Ok((result, made, released))
            })?;
            released.iter().for_each(Region::spend);
            // What the transaction let go of again is not there any more.
            let made: Vec<_> = made.into_iter().filter_map(|id| Found::locate(manager, id).ok()).collect();
            Ok((result, made))
        })?;
        Ok((result, Reserved::new(&self.0, made)))
    }

    /// Works out what `verbs` would change, and changes nothing; as [`Manager::plan`].
    ///
    /// # Errors
    /// What `verbs` returns; [`Error::InCallback`] inside a driver's callback.
    pub fn plan<T>(
        &self,
        verbs: impl FnOnce(&mut Plan<'_>) -> Result<T, Error>,
    ) -> Result<(T, Vec<Edit>), Error> {
        self.0.write(|manager| manager.plan(verbs))
    }

    /// As [`Plan::alloc`].
    ///
    /// # Errors
    /// As [`Plan::alloc`]; [`Error::InCallback`] inside a driver's callback.
    pub fn alloc(&self, arena: ArenaId, request: &Request) -> Result<Region, Error> {
        self.make(|manager| manager.alloc(arena, request))
    }

    /// As [`Plan::map`].
    ///
    /// # Errors
    /// As [`Plan::map`]; [`Error::InCallback`] inside a driver's callback.
    pub fn map(&self, arena: ArenaId, region: &Region) -> Result<Region, Error> {
        self.make(|manager| manager.map(arena, region.id()))
    }

    /// As [`Plan::set`].
    ///
    /// # Errors
    /// As [`Plan::set`]; [`Error::InCallback`] inside a driver's callback.
    pub fn set(&self, region: &Region, attrs: Attrs) -> Result<(), Error> {
        self.0.write(|manager| manager.set(region.id(), attrs))
    }

    /// A handle of its own to a region that is there: counts a reference.
    ///
    /// # Errors
    /// As [`Plan::incref`]; [`Error::InCallback`] inside a driver's callback.
    pub fn handle(&self, region: RegionId) -> Result<Region, Error> {
        self.make(|manager| manager.incref(region).map(|()| region))
    }

    /// As [`Manager::register`].
    ///
    /// # Errors
    /// As [`Manager::register`]; [`Error::InCallback`] inside a driver's callback.
    pub fn register(&self, driver: Box<dyn Driver>, subscription: Subscription) -> Result<DriverId, Error> {
        self.0.write(|manager| manager.register(driver, subscription))
    }

    /// Asks a driver, of a type that is known, what only it knows; `None` if there is none, or it is another. Changes wait meanwhile.
    ///
    /// # Errors
    /// [`Error::InCallback`] inside a driver's callback.
    pub fn with_driver<D: Driver, T>(
        &self,
        driver: DriverId,
        ask: impl FnOnce(&mut D) -> T,
    ) -> Result<Option<T>, Error> {
        self.0.write(|manager| Ok(manager.driver_mut(driver).map(ask)))
    }

    /// Has `observer` called with every change after the one last published, in order, after the writer's lock is
    /// released; it may call any verb. One that panics is not called again; nobody else is the worse for it.
    pub fn observe(&self, observer: impl FnMut(&Event) + Send + 'static) -> ObserverId {
        self.0.events.observe(Box::new(observer), || self.load().sequence())
    }

    /// Tells an observer nothing more; it may do so itself. Says whether it was there. It is dropped with the next change.
    pub fn unobserve(&self, observer: ObserverId) -> bool {
        self.0.events.unobserve(observer)
    }

    fn make(&self, verb: impl FnOnce(&mut Manager) -> Result<RegionId, Error>) -> Result<Region, Error> {
        let found = self.0.write(|manager| {
            let id = verb(manager)?;
            Found::locate(manager, id)
        })?;
        Ok(Region::new(&self.0, found))
    }
}

/// A thread's view of the published state, refreshed when a newer one is there.
#[cfg(not(loom))]
pub struct Reader {
    cache: arc_swap::Cache<Shared, Arc<State>>,
}

#[cfg(not(loom))]
struct Shared(Arc<Inner>);

#[cfg(not(loom))]
impl core::ops::Deref for Shared {
    type Target = Cell<State>;

    fn deref(&self) -> &Cell<State> {
        &self.0.published
    }
}

#[cfg(not(loom))]
impl Reader {
    /// The state as last published. Never waits; costs a comparison when nothing changed.
    pub fn state(&mut self) -> &State {
        self.cache.load()
    }
}
