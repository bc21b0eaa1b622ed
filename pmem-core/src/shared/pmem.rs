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

/// A manager that threads share. One thread writes at a time. Readers never wait, not even while a driver is slow.
///
/// A clone is another handle to the same manager.
///
/// # Examples
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Pmem, Request};
/// use std::thread;
///
/// let pmem = Pmem::new();
/// let ram = pmem.write(|manager| {
///     let ram = manager.create_arena("RAM", ArenaType::RAM)?;
///     manager.prime(ram, AddrRange::new(0, 0x10_0000)?, Attrs::ram())?;
///     Ok(ram)
/// })?;
///
/// let before = pmem.load();
/// let writer = pmem.clone();
/// let region = thread::spawn(move || writer.alloc(ram, &Request::new(0x1000))).join().expect("no panic")?;
/// assert_eq!(region.at(&pmem.load()).map(|(range, _)| range.start()), Some(0));
/// assert!(region.at(&before).is_none(), "an old snapshot does not change");
/// # Ok::<(), pmem_core::Error>(())
/// ```
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
    /// Returns a manager of an empty model.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the last published state. Never waits.
    #[must_use]
    pub fn load(&self) -> Arc<State> {
        self.0.published.load_full()
    }

    /// Returns a reader, for a thread that reads often. It caches the last state it saw.
    #[cfg(not(loom))]
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { cache: arc_swap::Cache::new(Shared(Arc::clone(&self.0))) }
    }

    /// Runs any verbs of the manager, each a change of its own. Readers see their results all at once.
    ///
    /// # Errors
    /// The error of `verbs`; [`Error::InCallback`] inside a driver's callback.
    pub fn write<T>(&self, verbs: impl FnOnce(&mut Manager) -> Result<T, Error>) -> Result<T, Error> {
        self.0.write(verbs)
    }

    /// Makes one change of all the verbs that `verbs` calls. Take the regions it makes from [`Reserved`].
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
            // Committed: only now are the handles that the transaction released really spent.
            released.iter().for_each(Region::spend);
            // A region that the transaction made and let go of again does not exist any more.
            let made: Vec<_> = made.into_iter().filter_map(|id| Found::locate(manager, id).ok()).collect();
            Ok((result, made))
        })?;
        Ok((result, Reserved::new(&self.0, made)))
    }

    /// Computes what `verbs` would change, without changing anything, like [`Manager::plan`].
    ///
    /// # Errors
    /// The error of `verbs`; [`Error::InCallback`] inside a driver's callback.
    pub fn plan<T>(
        &self,
        verbs: impl FnOnce(&mut Plan<'_>) -> Result<T, Error>,
    ) -> Result<(T, Vec<Edit>), Error> {
        self.0.write(|manager| manager.plan(verbs))
    }

    /// Allocates a region that meets the request, like [`Manager::alloc`], and returns a handle to it.
    ///
    /// # Errors
    /// As [`Manager::alloc`]; [`Error::InCallback`] inside a driver's callback.
    pub fn alloc(&self, arena: ArenaId, request: &Request) -> Result<Region, Error> {
        self.make(|manager| manager.alloc(arena, request))
    }

    /// Makes a region visible in `arena`, like [`Manager::map`], and returns a handle to the result.
    ///
    /// # Errors
    /// As [`Manager::map`]; [`Error::InCallback`] inside a driver's callback.
    pub fn map(&self, arena: ArenaId, region: &Region) -> Result<Region, Error> {
        self.make(|manager| manager.map(arena, region.id()))
    }

    /// Sets a region's attributes, like [`Manager::set`].
    ///
    /// # Errors
    /// As [`Manager::set`]; [`Error::InCallback`] inside a driver's callback.
    pub fn set(&self, region: &Region, attrs: Attrs) -> Result<(), Error> {
        self.0.write(|manager| manager.set(region.id(), attrs))
    }

    /// Returns a new handle to an existing region, with a reference of its own.
    ///
    /// # Errors
    /// As [`Manager::incref`]; [`Error::InCallback`] inside a driver's callback.
    pub fn handle(&self, region: RegionId) -> Result<Region, Error> {
        self.make(|manager| manager.incref(region).map(|()| region))
    }

    /// Registers a driver, like [`Manager::register`].
    ///
    /// # Errors
    /// As [`Manager::register`]; [`Error::InCallback`] inside a driver's callback.
    pub fn register(&self, driver: Box<dyn Driver>, subscription: Subscription) -> Result<DriverId, Error> {
        self.0.write(|manager| manager.register(driver, subscription))
    }

    /// Calls `ask` with a driver as its type `D`, to ask it what only it knows; `None` if there is no such driver or
    /// it has another type. Changes wait until `ask` returns.
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

    /// Calls `observer` with every change after the last published one, in order, after the writer's lock is
    /// released. The observer may call any verb. An observer that panics is removed; the others are not affected.
    pub fn observe(&self, observer: impl FnMut(&Event) + Send + 'static) -> ObserverId {
        self.0.events.observe(Box::new(observer), || self.load().sequence())
    }

    /// Removes an observer. An observer may remove itself. The closure is dropped with the next change. Returns
    /// whether the observer was there.
    #[must_use]
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

/// One thread's view of the published state, refreshed when there is a newer one. Made by [`Pmem::reader`].
///
/// # Examples
/// ```
/// use pmem_core::{ArenaType, Pmem};
///
/// let pmem = Pmem::new();
/// let mut reader = pmem.reader();
/// assert_eq!(reader.state().sequence(), 0);
/// pmem.write(|manager| manager.create_arena("RAM", ArenaType::RAM))?;
/// assert_eq!(reader.state().sequence(), 1);
/// # Ok::<(), pmem_core::Error>(())
/// ```
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
    /// Returns the last published state. Never waits; costs one comparison if nothing has changed.
    pub fn state(&mut self) -> &State {
        self.cache.load()
    }
}
