//! A simulated unit behind a port, with devices in front of it.

use super::super::port::{Port, Width};
use super::chip::{Chip, Pages};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use pmem_core::Fault;
use pmem_iommu::RequesterId;
use pmem_iommu::table::{Short, TableMemory};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tries an access, given the requester, the address and whether it is a write. Returns where it goes.
pub type Try<'t> = &'t mut dyn FnMut(RequesterId, u64, bool) -> Option<u64>;
type Watch = Box<dyn FnMut(Try<'_>) + Send>;

struct Inner<C> {
    chip: C,
    pages: Pages,
    free: Vec<u64>,
    watch: Option<Watch>,
    /// The number of register writes before one fails.
    fails_after: Option<usize>,
    writes: usize,
    entries: usize,
}

impl<C: Chip> Inner<C> {
    /// Lets devices try their accesses, as they may between any two writes.
    fn look(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            let Self { chip, pages, .. } = self;
            watch(&mut |id, at, write| chip.access(pages, id, at, write));
            self.watch = Some(watch);
        }
    }
}

/// A simulated unit. Clones refer to the same unit.
#[derive(Debug)]
pub struct Fake<C>(FakeMemory<C>);

impl<C> Clone for Fake<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The memory that holds a simulated unit's tables.
pub struct FakeMemory<C>(Arc<Mutex<Inner<C>>>);

impl<C> Clone for FakeMemory<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> core::fmt::Debug for FakeMemory<C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FakeMemory").finish_non_exhaustive()
    }
}

impl<C> FakeMemory<C> {
    fn lock(&self) -> MutexGuard<'_, Inner<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Chip> Fake<C> {
    /// Creates a unit with `pages` pages for tables.
    pub fn new(chip: C, pages: usize) -> Self {
        let free: Vec<u64> = (0..pages as u64).rev().map(|page| 0x4000_0000 + page * 4096).collect();
        let words = Pages(free.iter().map(|page| (*page, [0; 512])).collect());
        let inner = Inner { chip, pages: words, free, watch: None, fails_after: None, writes: 0, entries: 0 };
        Self(FakeMemory(Arc::new(Mutex::new(inner))))
    }

    /// Simulates a device's access. Returns where it goes; `None` if it is refused.
    #[must_use]
    pub fn access(&self, id: RequesterId, at: u64, write: bool) -> Option<u64> {
        let mut inner = self.0.lock();
        let Inner { chip, pages, .. } = &mut *inner;
        chip.access(pages, id, at, write)
    }

    /// Calls `watch` after every write to a register or a word of memory.
    pub fn watch(&self, watch: impl FnMut(Try<'_>) + Send + 'static) {
        self.0.lock().watch = Some(Box::new(watch));
    }

    /// Stops the calls that [`Self::watch`] set up.
    pub fn unwatch(&self) {
        self.0.lock().watch = None;
    }

    /// Makes one register write fail, after `writes` more that succeed. `None` cancels it.
    pub fn fail_after(&self, writes: Option<usize>) {
        let mut inner = self.0.lock();
        (inner.writes, inner.fails_after) = (0, writes);
    }

    /// Makes the unit ignore commands and invalidations, or carry them out again. Device accesses are not affected.
    pub fn stall(&self, stalls: bool) {
        self.0.lock().chip.stall(stalls);
    }

    /// Cycles the unit's power.
    pub fn reset(&self) {
        self.0.lock().chip.reset();
    }

    /// Returns the number of free pages.
    #[must_use]
    pub fn free_pages(&self) -> usize {
        self.0.lock().free.len()
    }

    /// Returns how many words of memory and how many registers were written since the last call.
    #[must_use]
    pub fn written(&self) -> (usize, usize) {
        let mut inner = self.0.lock();
        (core::mem::take(&mut inner.entries), core::mem::take(&mut inner.writes))
    }

    /// Writes a word of memory, unknown to the driver.
    pub fn meddle(&self, at: u64, value: u64) {
        self.0.lock().pages.set_word(at, value);
    }
}

impl<C: Chip> TableMemory for FakeMemory<C> {
    fn read(&self, table: u64, index: u64) -> Option<u64> {
        let at = table.checked_add(index.checked_mul(8)?)?;
        let inner = self.lock();
        inner.pages.0.get(&(at & !0xfff))?.get((at & 0xfff) as usize / 8).copied()
    }

    fn write(&mut self, table: u64, index: u64, entry: u64) {
        let mut inner = self.lock();
        inner.entries += 1;
        inner.pages.set_word(table + 8 * index, entry);
        inner.look();
    }

    fn set_aside(&mut self, tables: usize) -> Result<(), Short> {
        let left = self.lock().free.len();
        if tables <= left { Ok(()) } else { Err(Short { wanted: tables, left }) }
    }

    fn take(&mut self) -> Option<u64> {
        self.take_first(1)
    }

    fn take_first(&mut self, pages: u64) -> Option<u64> {
        let mut inner = self.lock();
        let is_free = |inner: &Inner<C>, at: u64| inner.free.contains(&at);
        let first = inner.free.iter().rev().copied().find(|first| {
            first % (pages * 4096) == 0
                && (pages == 1 || (0..pages).all(|n| is_free(&inner, first + n * 4096)))
        })?;
        inner.free.retain(|page| !(first..first + pages * 4096).contains(page));
        for page in 0..pages {
            if let Some(words) = inner.pages.0.get_mut(&(first + page * 4096)) {
                *words = [0; 512];
            }
        }
        Some(first)
    }

    fn give(&mut self, table: u64) {
        let mut inner = self.lock();
        debug_assert!(!inner.free.contains(&table), "a page is given back twice");
        inner.free.push(table);
        // Poison the page: a unit that still reads it translates to a wrong address.
        if let Some(words) = inner.pages.0.get_mut(&table) {
            *words = [0x0006_6600_0000_0003; 512];
        }
        inner.look();
    }
}

impl<C: Chip> Port for Fake<C> {
    type Memory = FakeMemory<C>;

    fn memory(&self) -> &FakeMemory<C> {
        &self.0
    }

    fn memory_mut(&mut self) -> &mut FakeMemory<C> {
        &mut self.0
    }

    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Fault> {
        Ok(self.0.lock().chip.read(offset, width))
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Fault> {
        let mut inner = self.0.lock();
        let count = inner.writes;
        inner.writes += 1;
        if inner.fails_after == Some(count) {
            return Err(Fault::new("the write failed"));
        }
        let Inner { chip, pages, .. } = &mut *inner;
        chip.write(pages, offset, width, value);
        inner.look();
        Ok(())
    }

    fn wait(&mut self, looks: u32) -> bool {
        looks < 100
    }
}
