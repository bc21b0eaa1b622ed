//! Memory shared by threads: readers never wait, processors have caches, waits end, and callbacks cannot deadlock.

use crate::cache::PageCache;
use crate::counters::{Counters, Uvmexp};
use crate::error::UvmError;
#[cfg(feature = "model")]
use crate::feed::Access;
use crate::frame::FrameRange;
use crate::hotplug::{Block, Hotplug, HotplugError};
use crate::page::PageInfo;
use crate::request::{PageListRequest, PageRequest};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::uvm::{PageList, ShortageAction, Uvm};
use arc_swap::ArcSwap;
use core::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};
use std::vec::Vec;

/// Segments, pages, blocks and callbacks behind one lock, and a map that readers use without it.
///
/// Locks are taken in this order: the device lock, [`OnlineMems`], the lock on the rest. Callbacks run under all
/// three. A method of this handle that needs a lock fails with [`HotplugError::InCallback`] when called from within a
/// callback, because it would wait for itself.
///
/// # Examples
/// Each thread allocates from its own cache:
///
/// ```
/// use pmem_uvm::{FrameRange, HotplugError, PageRequest, Plug, SharedUvm, Uvm};
///
/// let mut uvm = Uvm::default();
/// uvm.plug(&Plug::new(FrameRange::new(0x1000, 0x1000)?))?;
/// let memory = SharedUvm::new(uvm, 0x200)?;
/// std::thread::scope(|scope| {
///     let work = || -> Result<(), HotplugError> {
///         let mut cpu = memory.processor(0, 64)?;
///         let page = cpu.pagealloc(&PageRequest::new())?;
///         Ok(cpu.pagefree(page)?)
///     };
///     let cpus = [scope.spawn(work), scope.spawn(work)];
///     assert!(cpus.map(|cpu| cpu.join()).iter().all(|done| matches!(done, Ok(Ok(())))));
/// });
/// assert_eq!(memory.uvmexp().free, 0x1000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedUvm(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Mutex<Memory>,
    /// The number of the thread that has [`Self::memory`] locked; 0 if none has.
    holder: AtomicU64,
    published: ArcSwap<Snapshot>,
    settings: Settings,
    counters: Arc<Counters>,
    /// Serialises changes to the memory that is there (`device_hotplug_lock`).
    device: Mutex<()>,
    mems: Mems,
    freed: Condvar,
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Memory {
    uvm: Uvm,
    hotplug: Hotplug,
    /// The generation of the map that readers see.
    published: u64,
}

/// How long to wait for pages. The default waits until there are enough. A request that could not be met even if all
/// its memory were free fails at once.
///
/// # Examples
/// ```
/// use pmem_uvm::{FrameRange, PageListRequest, Plug, SharedUvm, Uvm, UvmError, Wait};
/// use std::time::Duration;
///
/// let mut uvm = Uvm::default();
/// uvm.plug(&Plug::new(FrameRange::new(0x100, 16)?))?;
/// let memory = SharedUvm::new(uvm, 16)?;
/// let all = memory.pglistalloc(&PageListRequest::new(16)?, &Wait::no())?;
///
/// let wait = Wait::at_most(Duration::from_millis(10));
/// let late = memory.pglistalloc(&PageListRequest::new(1)?, &wait);
/// assert_eq!(late, Err(UvmError::TimedOut));
/// memory.with(|uvm| uvm.pglistfree(all))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Wait {
    timeout: Option<Duration>,
    cancel: Option<Cancel>,
}

/// Cancels waits from any thread. Clones cancel the same waits.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Cancels every wait that was given this handle or a clone of it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The longest sleep before a wait checks whether it was cancelled.
const NAP: Duration = Duration::from_millis(5);

impl Wait {
    /// Does not wait: a shortage is reported at once.
    #[must_use]
    pub fn no() -> Self {
        Self { timeout: Some(Duration::ZERO), cancel: None }
    }

    /// Waits for this long at most.
    #[must_use]
    pub fn at_most(timeout: Duration) -> Self {
        Self { timeout: Some(timeout), cancel: None }
    }

    /// Also ends the wait when `cancel` is used.
    #[must_use]
    pub fn until(self, cancel: &Cancel) -> Self {
        Self { cancel: Some(cancel.clone()), ..self }
    }
}

/// Returns a number that identifies the running thread. It is never 0.
fn this_thread() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    std::thread_local! {
        static NUMBER: u64 = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    }
    NUMBER.with(|number| *number)
}

std::thread_local! {
    /// The memories that the running thread keeps as they are, by address.
    static KEEPS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A read-mostly lock on the memory that is there. A reader takes one of several locks, a writer takes them all.
#[derive(Debug)]
struct Mems {
    shards: Vec<Shard>,
}

/// A lock in a cache line of its own, so that readers on different processors do not contend.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(RwLock<()>);

impl Mems {
    fn new() -> Self {
        let shards = thread::available_parallelism().map_or(4, |n| n.get()).clamp(1, 64);
        Self { shards: (0..shards).map(|_| Shard::default()).collect() }
    }

    fn read(&self) -> RwLockReadGuard<'_, ()> {
        let shard = &self.shards[this_thread() as usize % self.shards.len()];
        shard.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> Vec<RwLockWriteGuard<'_, ()>> {
        self.shards.iter().map(|shard| shard.0.write().unwrap_or_else(PoisonError::into_inner)).collect()
    }
}

/// A guard: while it lives, no memory is plugged, unplugged, onlined or offlined (`get_online_mems`). Dropping it is
/// `put_online_mems`.
#[derive(Debug)]
pub struct OnlineMems<'s> {
    #[expect(dead_code, reason = "held for its lock")]
    guard: RwLockReadGuard<'s, ()>,
    of: usize,
}

impl Drop for OnlineMems<'_> {
    fn drop(&mut self) {
        // In a thread that is ending, the record may be gone already.
        let _ = KEEPS.try_with(|kept| kept.borrow_mut().retain(|of| *of != self.of));
    }
}

/// The lock while it is held. Dropping it publishes the map if that has changed.
struct Locked<'s> {
    inner: &'s Inner,
    memory: MutexGuard<'s, Memory>,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let generation = self.memory.uvm.generation();
        // Publish while the lock is still held, so that maps appear in the order in which they were made.
        if generation != self.memory.published {
            self.memory.published = generation;
            self.inner.published.store(Arc::new(self.memory.uvm.snapshot()));
        }
        self.inner.holder.store(0, Ordering::Release);
    }
}

impl SharedUvm {
    /// Shares memory. `block` is the size of a hot-plug block in pages.
    ///
    /// # Errors
    /// [`HotplugError::BlockSize`] as in [`Hotplug::new`].
    pub fn new(uvm: Uvm, block: u64) -> Result<Self, HotplugError> {
        let hotplug = Hotplug::new(block, &uvm)?;
        Ok(Self(Arc::new(Inner {
            settings: uvm.settings(),
            published: ArcSwap::from_pointee(uvm.snapshot()),
            counters: uvm.counters().clone(),
            memory: Mutex::new(Memory { published: uvm.generation(), uvm, hotplug }),
            holder: AtomicU64::new(0),
            device: Mutex::new(()),
            mems: Mems::new(),
            freed: Condvar::new(),
            waiting: AtomicUsize::new(0),
        })))
    }

    /// Calls `run` with exclusive access to all pages. Plugging, unplugging, onlining and offlining fail with
    /// [`UvmError::Kept`] here, because this method does not wait for [`OnlineMems`]; use [`Self::hotplug`] for them.
    /// Do not replace the [`Uvm`] by another: readers and processors would go on using this one.
    ///
    /// # Errors
    /// [`HotplugError::InCallback`] from within a callback.
    pub fn with<T>(&self, run: impl FnOnce(&mut Uvm) -> T) -> Result<T, HotplugError> {
        let mut locked = self.lock()?;
        locked.memory.uvm.keep(true);
        let result = run(&mut locked.memory.uvm);
        drop(locked);
        self.wake();
        Ok(result)
    }

    /// Calls `run` with exclusive access while nobody holds [`OnlineMems`]. Use this to bring memory online, take it
    /// away, or register callbacks.
    ///
    /// # Errors
    /// [`HotplugError::InCallback`] from within a callback, or if this thread holds [`OnlineMems`].
    pub fn hotplug<T>(&self, run: impl FnOnce(&mut Uvm, &mut Hotplug) -> T) -> Result<T, HotplugError> {
        if self.is_here() {
            return Err(HotplugError::InCallback);
        }
        let device = self.0.device.lock().unwrap_or_else(PoisonError::into_inner);
        let mems = self.0.mems.write();
        let mut locked = self.lock()?;
        let memory = &mut *locked.memory;
        memory.uvm.keep(false);
        let result = run(&mut memory.uvm, &mut memory.hotplug);
        drop(locked);
        drop(mems);
        drop(device);
        self.wake();
        Ok(result)
    }

    /// Keeps memory as it is: nothing is plugged, unplugged, onlined or offlined while the guard lives
    /// (`get_online_mems`). Many threads can do this cheaply at once.
    ///
    /// # Errors
    /// [`HotplugError::InCallback`] from within a callback, or if this thread keeps memory as it is already.
    pub fn online_mems(&self) -> Result<OnlineMems<'_>, HotplugError> {
        if self.is_here() {
            return Err(HotplugError::InCallback);
        }
        let held = OnlineMems { guard: self.0.mems.read(), of: self.address() };
        KEEPS.with_borrow_mut(|kept| kept.push(held.of));
        Ok(held)
    }

    /// Returns what is plugged now, for readers. It stays valid for as long as you keep it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.0.published.load())
    }

    /// Reads the counters, without a lock.
    #[must_use]
    pub fn uvmexp(&self) -> Uvmexp {
        self.0.counters.read(&self.0.settings)
    }

    /// Hands out a list of pages and waits for them if necessary: see [`Uvm::pglistalloc_waiting`].
    ///
    /// # Errors
    /// As [`Uvm::pglistalloc_waiting`]. `wait` decides whether a shortage ends as [`UvmError::TimedOut`], as
    /// [`UvmError::Cancelled`], or, without any waiting, as the shortage itself. [`UvmError::InCallback`] from within
    /// a callback.
    pub fn pglistalloc(&self, request: &PageListRequest, wait: &Wait) -> Result<PageList, UvmError> {
        // If the deadline is beyond what the clock can represent, there is none.
        let deadline = wait.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let attempt = |uvm: &mut Uvm| {
                let outcome = uvm.attempt_list(request);
                let there = if outcome.is_err() { uvm.could_be_had(request) } else { 0 };
                (outcome, there)
            };
            let (outcome, there) = self.with(attempt).map_err(|_| UvmError::InCallback)?;
            let why = match outcome {
                Err(short @ (UvmError::NoPages { .. } | UvmError::NoFit { .. }))
                    if request.count <= there =>
                {
                    match self.nap(wait, deadline) {
                        ShortageAction::Retry => continue,
                        ShortageAction::GiveUp => short,
                        ShortageAction::TimedOut => UvmError::TimedOut,
                        ShortageAction::Cancelled => UvmError::Cancelled,
                    }
                }
                Err(why) => why,
                done => return done,
            };
            let _ = self.with(Uvm::note_failed);
            return Err(why);
        }
    }

    /// Sleeps until pages are freed, for a short while at most.
    fn nap(&self, wait: &Wait, deadline: Option<Instant>) -> ShortageAction {
        if wait.timeout == Some(Duration::ZERO) {
            return ShortageAction::GiveUp;
        }
        if wait.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
            return ShortageAction::Cancelled;
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return ShortageAction::TimedOut;
        }
        // Announce the wait before taking the lock: whoever frees pages from here on sees it and wakes us.
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        let memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let nap = left.map_or(NAP, |left| left.min(NAP));
        drop(self.0.freed.wait_timeout(memory, nap).unwrap_or_else(PoisonError::into_inner));
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        ShortageAction::Retry
    }

    /// Makes a handle for one processor, with a cache of at most `pages` pages of a node.
    ///
    /// # Errors
    /// [`HotplugError::InCallback`] from within a callback.
    pub fn processor(&self, node: u32, pages: usize) -> Result<Processor, HotplugError> {
        let cache = self.with(|uvm| uvm.add_cache(node, pages))?;
        Ok(Processor { shared: self.clone(), cache, map: arc_swap::Cache::new(Published(self.0.clone())) })
    }

    /// Whether the running thread works on this memory or keeps it as it is. Such a thread must not wait for anybody
    /// who might want the memory.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.is_mine() || self.is_kept()
    }

    /// Returns the block of a page frame and its state; `None` if there is none.
    ///
    /// # Errors
    /// [`HotplugError::InCallback`] from within a callback.
    pub fn block(&self, frame: u64) -> Result<Option<(FrameRange, Block)>, HotplugError> {
        let locked = self.lock()?;
        Ok(locked.memory.hotplug.block(frame))
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Whether the running thread keeps this memory as it is.
    fn is_kept(&self) -> bool {
        KEEPS.with_borrow(|kept| kept.contains(&self.address()))
    }

    fn is_mine(&self) -> bool {
        self.0.holder.load(Ordering::Acquire) == this_thread()
    }

    fn lock(&self) -> Result<Locked<'_>, HotplugError> {
        if self.is_mine() {
            return Err(HotplugError::InCallback);
        }
        // A callback that panicked interrupted memory between two steps, each of which is complete, so the lock can
        // be taken over.
        let memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.holder.store(this_thread(), Ordering::Release);
        let mut locked = Locked { inner: &self.0, memory };
        locked.memory.uvm.end_move();
        Ok(locked)
    }

    /// Wakes the threads that wait for pages.
    fn wake(&self) {
        if self.0.waiting.load(Ordering::Acquire) > 0 {
            self.0.freed.notify_all();
        }
    }
}

#[cfg(feature = "model")]
impl Access for SharedUvm {
    fn access(&self, run: &mut dyn FnMut(&mut Uvm, &mut Hotplug)) {
        // There is no access from within a callback. The caller notices that because `run` is not called.
        let _ = self.hotplug(run);
    }
}

/// Leads a processor's handle to the published map.
#[derive(Clone, Debug)]
struct Published(Arc<Inner>);

impl std::ops::Deref for Published {
    type Target = ArcSwap<Snapshot>;

    fn deref(&self) -> &Self::Target {
        &self.0.published
    }
}

/// One processor's handle. It allocates and frees pages of its own cache without a lock, and looks pages up without
/// waiting.
#[derive(Debug)]
pub struct Processor {
    shared: SharedUvm,
    cache: Arc<PageCache>,
    map: arc_swap::Cache<Published, Arc<Snapshot>>,
}

impl Processor {
    /// Returns a page as it is now; `None` if it is not plugged.
    #[inline]
    pub fn page(&mut self, frame: u64) -> Option<PageInfo> {
        self.map.load().page(frame)
    }

    /// Hands out a page, preferably of the processor's node, which replaces the request's own. The page comes from the
    /// cache if any page of free list 0, or of the node, will do, otherwise as by [`Uvm::pagealloc`].
    ///
    /// # Errors
    /// As [`Uvm::pagealloc`]; [`UvmError::InCallback`] from within a callback.
    pub fn pagealloc(&mut self, request: &PageRequest) -> Result<u64, UvmError> {
        let request = request.node(self.cache.node());
        if let Some(frame) = self.cache.pagealloc(self.map.load(), &request) {
            return Ok(frame);
        }
        if self.cache.may_serve(&request) {
            self.shared.with(|uvm| uvm.fill_cache(&self.cache)).map_err(|_| UvmError::InCallback)?;
            if let Some(frame) = self.cache.pagealloc(self.map.load(), &request) {
                return Ok(frame);
            }
        }
        self.shared.with(|uvm| uvm.pagealloc(&request)).map_err(|_| UvmError::InCallback)?
    }

    /// Frees a page: into the cache if it belongs there and there is room, otherwise as [`Uvm::pagefree`] does.
    ///
    /// # Errors
    /// As [`Uvm::pagefree`]; [`UvmError::InCallback`] from within a callback. A page that is being moved right now is
    /// [`PageState::Isolated`](crate::PageState::Isolated) and is refused. Whoever moves pages knows whether it has
    /// moved or should be freed again.
    pub fn pagefree(&mut self, frame: u64) -> Result<(), UvmError> {
        // Only pages freed under the lock wake the threads that wait.
        let quiet = self.shared.0.waiting.load(Ordering::Acquire) == 0;
        if quiet && self.cache.pagefree(self.map.load(), frame)? {
            return Ok(());
        }
        self.shared.with(|uvm| uvm.pagefree(frame)).map_err(|_| UvmError::InCallback)?
    }
}

impl Drop for Processor {
    /// Gives the cache's pages back.
    fn drop(&mut self) {
        let _ = self.shared.with(|uvm| uvm.remove_cache(&self.cache));
    }
}
