//! The walker, which changes tables and remembers those that it visited last.

use super::entry::{Entry, PAGE_SHIFT, shift_of};
use super::error::TableError;
use super::format::Format;
use super::memory::TableMemory;
use super::span::mask;
use super::tree::{LEVELS, NONE, PageTable};

/// A handle that changes a [`PageTable`] in its memory. Created by [`PageTable::on`].
#[derive(Debug)]
pub struct Walker<'t, F, M> {
    pub(super) table: &'t mut PageTable<F>,
    pub(super) memory: &'t mut M,
}

impl<F: Format> PageTable<F> {
    /// Returns a walker that changes the tables in `memory`, where they are.
    pub const fn on<'t, M: TableMemory>(&'t mut self, memory: &'t mut M) -> Walker<'t, F, M> {
        Walker { table: self, memory }
    }
}

impl<F: Format, M: TableMemory> Walker<'_, F, M> {
    pub(super) fn is_span(&self, first: u64, last: u64) -> Result<(), TableError> {
        if last < first {
            return Err(TableError::Reversed { first, last });
        }
        if first & mask(PAGE_SHIFT) != 0 {
            return Err(TableError::Unaligned { at: first });
        }
        if last & mask(PAGE_SHIFT) != mask(PAGE_SHIFT) {
            return Err(TableError::Unaligned { at: last.wrapping_add(1) });
        }
        let width = self.table.format.width();
        if last & !mask(width) != 0 {
            return Err(TableError::TooWide { at: last, width });
        }
        Ok(())
    }

    #[inline]
    pub(super) fn index(&self, level: u8, at: u64) -> u64 {
        self.table.index(level, at)
    }

    #[inline]
    pub(super) fn entry(&self, level: u8, table: u64, at: u64) -> Result<(u64, Entry), TableError> {
        self.table.entry(self.memory, level, table, at)
    }

    /// Returns the lowest remembered table that covers the whole span, with its level.
    // Remembered tables lie on the walk to `self.table.at`. One of them covers the span if both its ends differ
    // from that address only in bits below the table's range.
    #[inline]
    pub(super) fn enter(&self, first: u64, last: u64) -> (u8, u64) {
        let apart = (first ^ self.table.at) | (last ^ self.table.at);
        for level in 1..self.table.format.levels() {
            let kept = self.table.path.get(usize::from(level)).copied().unwrap_or(NONE);
            if kept != NONE && apart >> shift_of(level + 1) == 0 {
                return (level, kept);
            }
        }
        (self.table.format.levels(), self.table.root)
    }

    /// Remembers a table on the walk to `at`, and forgets those below it.
    #[inline]
    pub(super) fn keep(&mut self, level: u8, table: u64, at: u64) {
        let below = usize::from(level);
        self.table.path.iter_mut().take(below).for_each(|kept| *kept = NONE);
        if let Some(kept) = self.table.path.get_mut(below) {
            *kept = table;
        }
        self.table.at = at;
    }

    /// Decodes an entry that an earlier pass has checked. An unreadable entry counts as malformed.
    pub(super) fn had(&self, level: u8, table: u64, index: u64) -> Entry {
        self.memory
            .read(table, index)
            .map_or(Entry::Malformed, |entry| self.table.format.decode(level, entry))
    }

    /// Records a table and all tables below it as unlinked, to be freed by [`PageTable::release`].
    pub(super) fn discard(&mut self, level: u8, table: u64) {
        if level > 1 {
            for index in 0..self.table.format.entries(level) {
                if let Entry::Table { at: child, level: below, .. } = self.had(level, table, index) {
                    self.discard(below, child);
                }
            }
        }
        self.table.stale.push(table);
    }

    /// Forgets the remembered tables.
    pub(super) fn forget_path(&mut self) {
        self.table.path = [NONE; LEVELS];
    }
}
