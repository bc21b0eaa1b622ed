//! The memory that tables are in.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// There is no memory for so many tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Short {
    /// Tables that were wanted.
    pub wanted: usize,
    /// Tables that there is memory for.
    pub left: usize,
}

/// Where tables are, which hardware reads at any time: an entry is read and written as a whole.
pub trait TableMemory {
    /// The entry of a table; `None` where there is no such memory.
    fn read(&self, table: u64, index: u64) -> Option<u64>;

    /// Writes an entry, after everything that was written before. Only tables are written that were taken, or that could be read.
    fn write(&mut self, table: u64, index: u64, entry: u64);

    /// Sees to it that so many tables can be taken.
    ///
    /// # Errors
    /// [`Short`].
    fn set_aside(&mut self, tables: usize) -> Result<(), Short>;

    /// A page whose entries are all 0; `None` if none is left of what was set aside.
    fn take(&mut self) -> Option<u64>;

    /// So many pages side by side, aligned to their size: a first table.
    fn take_first(&mut self, pages: u64) -> Option<u64>;

    /// Gives a page back, which no hardware reads any more. Until more is set aside it can be taken again.
    fn give(&mut self, table: u64);
}

/// Entries of a page.
const ENTRIES: usize = 512;
const PAGE: u64 = 4096;

/// Tables in words that are somewhere else as well: on the heap of a program that plays hardware, or in memory that a unit reads.
#[derive(Debug)]
pub struct Pool<W> {
    words: W,
    base: u64,
    /// Pages from here on were never taken.
    fresh: usize,
    free: Vec<u64>,
}

impl<W: AsRef<[AtomicU64]>> Pool<W> {
    /// Of words that hardware sees at `base`, a multiple of 4096.
    #[must_use]
    pub const fn new(words: W, base: u64) -> Self {
        Self { words, base, fresh: 0, free: Vec::new() }
    }

    /// Pages that can be taken.
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
        self.free.extend((0..skipped as u64).map(|page| first + page * PAGE));
        self.fresh = end;
        (0..pages).for_each(|page| self.clear(table + page * PAGE));
        Some(table)
    }

    fn give(&mut self, table: u64) {
        self.free.push(table);
    }
}
