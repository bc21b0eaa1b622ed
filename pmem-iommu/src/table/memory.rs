//! The memory that holds tables.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// An allocation failed: there is too little memory for the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Short {
    /// The number of tables requested.
    pub wanted: usize,
    /// The number of tables that could still be allocated.
    pub left: usize,
}

/// The memory that holds tables. Hardware may read it at any time, so implementations read and write each entry
/// atomically.
pub trait TableMemory {
    /// Reads entry `index` of the table at `table`. Returns `None` if that memory does not exist.
    fn read(&self, table: u64, index: u64) -> Option<u64>;

    /// Writes an entry, ordered after all earlier writes. Callers only write to tables that they have taken, or
    /// could read.
    fn write(&mut self, table: u64, index: u64, entry: u64);

    /// Makes sure that the next `tables` calls of [`Self::take`] succeed.
    ///
    /// # Errors
    /// Returns [`Short`] if there is not enough memory.
    fn set_aside(&mut self, tables: usize) -> Result<(), Short>;

    /// Takes a page with all entries 0. Returns `None` if nothing is left of what was set aside.
    fn take(&mut self) -> Option<u64>;

    /// Takes `pages` contiguous pages for a root table, aligned to their total size, with all entries 0. Returns
    /// `None` if there is no room.
    fn take_first(&mut self, pages: u64) -> Option<u64>;

    /// Returns a page that no hardware reads any more. It can be taken again at once.
    fn give(&mut self, table: u64);
}

/// Entries in a page.
const ENTRIES: usize = 512;
const PAGE: u64 = 4096;

/// A [`TableMemory`] over a slice of words that something else reads too: a simulated unit in your program, or a
/// real one.
///
/// # Examples
///
/// ```
/// use core::sync::atomic::AtomicU64;
/// use pmem_iommu::table::{Pool, Short, TableMemory};
///
/// // Two pages, which the unit sees at 0x100000.
/// let words: Vec<AtomicU64> = (0..2 * 512).map(|_| AtomicU64::new(0)).collect();
/// let mut pool = Pool::new(words, 0x10_0000);
/// assert_eq!(pool.set_aside(3), Err(Short { wanted: 3, left: 2 }));
/// assert_eq!(pool.take(), Some(0x10_0000));
/// assert_eq!(pool.left(), 1);
/// ```
#[derive(Debug)]
pub struct Pool<W> {
    words: W,
    base: u64,
    /// The index of the first page that was never taken.
    fresh: usize,
    free: Vec<u64>,
}

impl<W: AsRef<[AtomicU64]>> Pool<W> {
    /// Creates a pool of `words` that hardware sees at address `base`, a multiple of 4096. Words beyond the last
    /// whole page are not used.
    #[must_use]
    pub const fn new(words: W, base: u64) -> Self {
        Self { words, base, fresh: 0, free: Vec::new() }
    }

    /// Returns how many pages can still be taken.
    #[must_use]
    pub fn left(&self) -> usize {
        self.free.len() + (self.words.as_ref().len() / ENTRIES).saturating_sub(self.fresh)
    }

    #[inline]
    fn word(&self, table: u64, index: u64) -> Option<&AtomicU64> {
        let at = (table.wrapping_sub(self.base) / 8).wrapping_add(index);
        self.words.as_ref().get(usize::try_from(at).ok()?)
    }

    fn clear(&self, table: u64) {
        (0..ENTRIES as u64)
            .filter_map(|index| self.word(table, index))
            .for_each(|word| word.store(0, Ordering::Relaxed));
    }
}

impl<W: AsRef<[AtomicU64]>> TableMemory for Pool<W> {
    #[inline]
    fn read(&self, table: u64, index: u64) -> Option<u64> {
        Some(self.word(table, index)?.load(Ordering::Relaxed))
    }

    #[inline]
    fn write(&mut self, table: u64, index: u64, entry: u64) {
        if let Some(word) = self.word(table, index) {
            word.store(entry, Ordering::Release);
        }
    }

    fn set_aside(&mut self, tables: usize) -> Result<(), Short> {
        let left = self.left();
        if tables <= left { Ok(()) } else { Err(Short { wanted: tables, left }) }
    }

    fn take(&mut self) -> Option<u64> {
        if let Some(table) = self.free.pop() {
            self.clear(table);
            return Some(table);
        }
        self.take_first(1)
    }

    fn take_first(&mut self, pages: u64) -> Option<u64> {
        let first = self.base.checked_add(self.fresh as u64 * PAGE)?;
        let table = first.checked_next_multiple_of(pages.max(1) * PAGE)?;
        let skipped = usize::try_from((table - first) / PAGE).ok()?;
        let end = self.fresh.checked_add(skipped)?.checked_add(usize::try_from(pages).ok()?)?;
        if end > self.words.as_ref().len() / ENTRIES {
            return None;
        }
        // Pages skipped for alignment can still serve as single tables.
        self.free.extend((0..skipped as u64).map(|page| first + page * PAGE));
        self.fresh = end;
        (0..pages).for_each(|page| self.clear(table + page * PAGE));
        Some(table)
    }

    fn give(&mut self, table: u64) {
        self.free.push(table);
    }
}
