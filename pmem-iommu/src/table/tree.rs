//! A tree of translation tables.

use super::error::TableError;
use super::format::Format;
use super::memory::{Short, TableMemory};
use alloc::vec::Vec;

/// Levels, and one that is none.
pub(super) const LEVELS: usize = 7;
/// No table is kept of a level.
pub(super) const NONE: u64 = u64::MAX;

/// A tree of translation tables, and which of them were walked last. The memory that they are in, which several can share, is given
/// with each question.
#[derive(Debug)]
pub struct PageTable<F> {
    pub(super) format: F,
    pub(super) root: u64,
    /// Tables on the way to `at`, by level.
    pub(super) path: [u64; LEVELS],
    pub(super) at: u64,
    /// Tables that were taken out, which hardware may still read.
    pub(super) stale: Vec<u64>,
}

impl<F: Format> PageTable<F> {
    /// An empty one.
    ///
    /// # Errors
    /// [`TableError::Short`].
    pub fn new<M: TableMemory>(format: F, memory: &mut M) -> Result<Self, TableError> {
        let pages = (format.entries(format.levels()) / 512).max(1);
        let wanted = usize::try_from(pages).unwrap_or(usize::MAX);
        memory.set_aside(wanted).map_err(TableError::Short)?;
        let root = memory.take_first(pages).ok_or(TableError::Short(Short { wanted, left: 0 }))?;
        Ok(Self::adopt(format, root))
    }

    /// One that is there.
    #[must_use]
    pub const fn adopt(format: F, root: u64) -> Self {
        Self { format, root, path: [NONE; LEVELS], at: 0, stale: Vec::new() }
    }

    /// Where the first table is.
    #[must_use]
    pub const fn root(&self) -> u64 {
        self.root
    }

    /// The format.
    #[must_use]
    pub const fn format(&self) -> &F {
        &self.format
    }

    /// Tables that wait to be given back.
    #[must_use]
    pub fn stale(&self) -> usize {
        self.stale.len()
    }

    /// Makes room to note that so many more tables were taken out, so that taking them out asks for no memory.
    pub fn make_room(&mut self, tables: usize) {
        self.stale.reserve(tables);
    }

    /// Gives back the tables that were taken out. The hardware must have been told, and have said that it has done so.
    pub fn release<M: TableMemory>(&mut self, memory: &mut M) {
        self.stale.drain(..).for_each(|table| memory.give(table));
    }

    /// Gives all of it back, the first table as well, when no hardware reads it any more.
    pub fn dissolve<M: TableMemory>(mut self, memory: &mut M) {
        self.release(memory);
        let mut tables = Vec::new();
        self.tables_in(memory, self.format.levels(), self.root, &mut tables);
        let pages = (self.format.entries(self.format.levels()) / 512).max(1);
        tables.extend((0..pages).map(|page| self.root + page * 4096));
        tables.into_iter().for_each(|table| memory.give(table));
    }
}
