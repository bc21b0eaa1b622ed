//! Memory that threads share: readers never wait, processors have caches, waits end, and callbacks cannot deadlock.

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

/// Segments, pages, blocks and callbacks behind one lock, with a map that readers look at without it.
///
/// Lock order: the device lock, then [`OnlineMems`], then the lock on the rest. Callbacks run under all three; a verb of
/// this handle from within one is [`HotplugError::InCallback`], for it would wait for itself.
#[derive(Clone, Debug)]
pub struct SharedUvm(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Mutex<Memory>,
    /// Who has [`Self::memory`] locked, as a hash of the thread's id; 0 is nobody.
    holder: AtomicU64,
    published: ArcSwap<Snapshot>,
    settings: Settings,
    counters: Arc<Counters>,
    /// Serialises what comes and goes (`device_hotplug_lock`).
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

/// How long to wait: as made by default, until there are pages.
#[derive(Clone, Debug, Default)]
pub struct Wait {
    timeout: Option<Duration>,
    cancel: Option<Cancel>,
}

/// Calls waits off, from any thread.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Calls off every wait that looks at this.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How long a wait sleeps before it looks whether it was called off.
const NAP: Duration = Duration::from_millis(5);

impl Wait {
    /// Does not wait.
    pub fn no() -> Self {
        Self { timeout: Some(Duration::ZERO), cancel: None }
    }

    /// At most this long.
    pub fn at_most(timeout: Duration) -> Self {
        Self { timeout: Some(timeout), cancel: None }
    }

    /// Until `cancel` calls it off.
    #[must_use]
    pub fn until(self, cancel: &Cancel) -> Self {
        Self { cancel: Some(cancel.clone()), ..self }
    }
}

/// A number for the running thread that is never 0.
fn this_thread() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    std::thread_local! {
        static NUMBER: u64 = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    }
    NUMBER.with(|number| *number)
}

std::thread_local! {
    /// Which memory the running thread keeps as it is, by address.
    static KEEPS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The lock on what comes and goes, for many readers: each takes one of several locks, a writer takes them all.
#[derive(Debug)]
struct Mems {
    shards: Vec<Shard>,
}

/// A lock in a cache line of its own.
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

/// While it lives, no memory goes offline or comes online (`get_online_mems`); dropping it is `put_online_mems`.
#[derive(Debug)]
pub struct OnlineMems<'s> {
    #[expect(dead_code, reason = "held for its lock")]
    guard: RwLockReadGuard<'s, ()>,
    of: usize,
}

impl Drop for OnlineMems<'_> {
    fn drop(&mut self) {
        // A thread that ends has nothing to say any more.
        let _ = KEEPS.try_with(|kept| kept.borrow_mut().retain(|of| *of != self.of));
    }
}

/// The lock, held; publishes what changed when it is let go of.
struct Locked<'s> {
    inner: &'s Inner,
    memory: MutexGuard<'s, Memory>,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let generation = self.memory.uvm.generation();
        if generation != self.memory.published {
            self.memory.published = generation;
            self.inner.published.store(Arc::new(self.memory.uvm.snapshot()));
        }
        self.inner.holder.store(0, Ordering::Release);
    }
}

impl SharedUvm {
    /// Shares memory, with blocks of so many pages.
    ///
    /// # Errors
    /// [`HotplugError::BlockSize`].
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

    /// Calls `run` with all pages, and nobody else. What brings memory or takes it away is [`UvmError::Kept`] here, for it would
    /// not wait for who keeps memory as it is: it belongs in [`Self::hotplug`]. It is this memory that readers and processors look at:
    /// to put another in its place is to lose it.
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

    /// Brings memory online or takes it away, or registers callbacks, while nobody holds [`OnlineMems`].
    ///
    /// # Errors
    /// [`HotplugError::InCallback`] from within a callback, or while the thread holds [`OnlineMems`].
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

    /// Keeps memory as it is: none goes offline while what is returned lives (`get_online_mems`). Cheap for many readers.
    ///
    /// # Errors
    /// [`HotplugError::InCallback`] from within a callback, or while the thread keeps memory as it is already.
    pub fn online_mems(&self) -> Result<OnlineMems<'_>, HotplugError> {
        if self.is_here() {
            return Err(HotplugError::InCallback);
        }
        let held = OnlineMems { guard: self.0.mems.read(), of: self.address() };
        KEEPS.with_borrow_mut(|kept| kept.push(held.of));
        Ok(held)
    }

    /// What readers look at: what is plugged now, for as long as it is kept.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.0.published.load())
    }

    /// The counters.
    pub fn uvmexp(&self) -> Uvmexp {
        self.0.counters.read(&self.0.settings)
    }

    /// Hands out a list of pages, waiting if need be: [`Uvm::pglistalloc_waiting`].
    ///
    /// # Errors
    /// As there; [`UvmError::TimedOut`] and [`UvmError::Cancelled`] as `wait` says, and what is short if it does not wait at all.
    pub fn pglistalloc(&self, request: &PageListRequest, wait: &Wait) -> Result<PageList, UvmError> {
        // A time that cannot be told is never.
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

    /// Sleeps until pages were freed, or for a short while.
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
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        let memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let nap = left.map_or(NAP, |left| left.min(NAP));
        drop(self.0.freed.wait_timeout(memory, nap).unwrap_or_else(PoisonError::into_inner));
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        ShortageAction::Retry
    }

    /// Makes a processor's own handle, with a cache of at most `pages` pages of a node.
    ///
    /// # Errors
    /// [`HotplugError::InCallback`].
    pub fn processor(&self, node: u32, pages: usize) -> Result<Processor, HotplugError> {
        let cache = self.with(|uvm| uvm.add_cache(node, pages))?;
        Ok(Processor { shared: self.clone(), cache, map: arc_swap::Cache::new(Published(self.0.clone())) })
    }

    /// Whether the running thread is at work on this memory, or keeps it as it is: who is should not wait for anybody else
    /// who may want it.
    pub fn is_here(&self) -> bool {
        self.is_mine() || self.is_kept()
    }

    /// The block that a page frame is in, and how it is.
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
        // A panic of a callback leaves memory as it was between two of its steps, each of which is whole.
        let memory = self.0.memory.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.holder.store(this_thread(), Ordering::Release);
        let mut locked = Locked { inner: &self.0, memory };
        locked.memory.uvm.end_move();
        Ok(locked)
    }

    /// Wakes whoever waits for pages.
    fn wake(&self) {
        if self.0.waiting.load(Ordering::Acquire) > 0 {
            self.0.freed.notify_all();
        }
    }
}

#[cfg(feature = "model")]
impl Access for SharedUvm {
    fn access(&self, run: &mut dyn FnMut(&mut Uvm, &mut Hotplug)) {
        // From a callback there is no access, and who asks is told so by not being called.
        let _ = self.hotplug(run);
    }
}

/// Where a processor's handle finds the map.
#[derive(Clone, Debug)]
struct Published(Arc<Inner>);

impl std::ops::Deref for Published {
    type Target = ArcSwap<Snapshot>;

    fn deref(&self) -> &Self::Target {
        &self.0.published
    }
}

/// One processor's handle: it hands out and frees pages of its own cache without a lock, and finds pages without
/// waiting.
#[derive(Debug)]
pub struct Processor {
    shared: SharedUvm,
    cache: Arc<PageCache>,
    map: arc_swap::Cache<Published, Arc<Snapshot>>,
}

impl Processor {
    /// A page as it is now.
    #[inline]
    pub fn page(&mut self, frame: u64) -> Option<PageInfo> {
        self.map.load().page(frame)
    }

    /// Hands out a page: from the cache if it can be any page of free list 0, or of the node, else as [`Uvm::pagealloc`].
    ///
    /// # Errors
    /// As there.
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

    /// Gives a page back: to the cache if there is room and it is of its node, else as [`Uvm::pagefree`].
    ///
    /// # Errors
    /// As there. One that is just being moved is [`PageState::Isolated`](crate::PageState::Isolated), and refused: whether it has moved,
    /// or is to be freed again, whoever moves pages says.
    pub fn pagefree(&mut self, frame: u64) -> Result<(), UvmError> {
        // Who waits is to hear of it.
        let quiet = self.shared.0.waiting.load(Ordering::Acquire) == 0;
        if quiet && self.cache.pagefree(self.map.load(), frame)? {
            return Ok(());
        }
        self.shared.with(|uvm| uvm.pagefree(frame)).map_err(|_| UvmError::InCallback)?
    }
}

impl Drop for Processor {
    /// The cache's pages go back.
    fn drop(&mut self) {
        let _ = self.shared.with(|uvm| uvm.remove_cache(&self.cache));
    }
}
