//! The walker: changes tables, and keeps the tables that it was in last.

use super::entry::{Entry, PAGE_SHIFT, shift_of};
use super::error::TableError;
use super::format::Format;
use super::memory::TableMemory;
use super::span::mask;
use super::tree::{LEVELS, NONE, PageTable};

/// What changes tables: see [`PageTable::on`].
#[derive(Debug)]
pub struct Walker<'t, F, M> {
    pub(super) table: &'t mut PageTable<F>,
    pub(super) memory: &'t mut M,
}

impl<F: Format> PageTable<F> {
    /// What changes it, in the memory that it is in.
    pub const fn on<'t, M: TableMemory>(&'t mut self, memory: &'t mut M) -> Walker<'t, F, M> {
        Walker { table: self, memory }
    }
}

impl<F: Format, M: TableMemory> Walker<'_, F, M> {
    pub(super) fn is_span(&self, first: u64, last: u64) -> Result<(), TableError> {
        if first & mask(PAGE_SHIFT) != 0 {
            return Err(TableError::Unaligned { at: first });
        }
        if last & mask(PAGE_SHIFT) != mask(PAGE_SHIFT) || last < first {
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

    /// The lowest table that is kept and has all of a span.
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

    #[inline]
    pub(super) fn keep(&mut self, level: u8, table: u64, at: u64) {
        let below = usize::from(level);
        self.table.path.iter_mut().take(below).for_each(|kept| *kept = NONE);
        if let Some(kept) = self.table.path.get_mut(below) {
            *kept = table;
        }
        self.table.at = at;
    }

    /// What an entry says, which was looked at before.
    pub(super) fn had(&self, level: u8, table: u64, index: u64) -> Entry {
        self.memory
            .read(table, index)
            .map_or(Entry::Malformed, |entry| self.table.format.decode(level, entry))
    }

    /// Notes that a table is not reached any more, nor what is below it.
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

    /// No table is kept.
    pub(super) fn forget_path(&mut self) {
        self.table.path = [NONE; LEVELS];
    }
}
