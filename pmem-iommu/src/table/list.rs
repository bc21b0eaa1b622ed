//! Reading tables: lookups and listings.

use super::entry::{Access, Entry, Leaf, shift_of};
use super::error::TableError;
use super::format::Format;
use super::memory::TableMemory;
use super::span::{mask, part, reaches};
use super::tree::PageTable;
use alloc::vec::Vec;

/// A mapping found in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapped {
    /// The first input address of the page.
    pub first: u64,
    /// Where the page leads. Its access is what all entries along the walk permit together.
    pub leaf: Leaf,
}

impl<F: Format> PageTable<F> {
    /// Translates an address. Returns `None` if nothing is mapped there.
    #[must_use]
    pub fn lookup<M: TableMemory>(&self, memory: &M, at: u64) -> Option<Mapped> {
        if at & !mask(self.format.width()) != 0 {
            return None;
        }
        let (mut level, mut table, mut access) = (self.format.levels(), self.root, Access::BOTH);
        loop {
            let entry = memory.read(table, self.index(level, at))?;
            match self.format.decode(level, entry) {
                Entry::Absent | Entry::Malformed => return None,
                Entry::Leaf(leaf) => {
                    let leaf = Leaf { access: leaf.access.and(access), ..leaf };
                    return Some(Mapped { first: at & !mask(leaf.shift), leaf });
                }
                // A pointer that skips levels only covers addresses whose skipped bits are 0.
                Entry::Table { at: child, level: below, access: also } => {
                    if !reaches(level, below, at) {
                        return None;
                    }
                    (level, table, access) = (below, child, access.and(also));
                }
            }
        }
    }

    /// Calls `say` for each mapping in the span from `first` to `last`, both inclusive, in ascending order. Pages
    /// that begin before the span or end after it are reported whole.
    ///
    /// # Errors
    /// Returns [`TableError::Malformed`] or [`TableError::Unreadable`] at the first entry or table that cannot be
    /// read.
    pub fn each<M: TableMemory>(
        &self,
        memory: &M,
        first: u64,
        last: u64,
        say: &mut dyn FnMut(Mapped),
    ) -> Result<(), TableError> {
        let last = last.min(mask(self.format.width()));
        if first > last {
            return Ok(());
        }
        self.each_in(memory, self.format.levels(), self.root, first, last, Access::BOTH, say)
    }

    /// Collects all tables below a table, children before their parents.
    pub(super) fn tables_in<M: TableMemory>(&self, memory: &M, level: u8, table: u64, tables: &mut Vec<u64>) {
        if level == 1 {
            return;
        }
        for index in 0..self.format.entries(level) {
            let entry = memory.read(table, index).map(|entry| self.format.decode(level, entry));
            if let Some(Entry::Table { at: child, level: below, .. }) = entry {
                self.tables_in(memory, below, child, tables);
                tables.push(child);
            }
        }
    }

    pub(super) fn index(&self, level: u8, at: u64) -> u64 {
        at >> shift_of(level) & (self.format.entries(level) - 1)
    }

    /// Reads and decodes the entry of a table that translates `at`, with its index.
    #[inline]
    pub(super) fn entry<M: TableMemory>(
        &self,
        memory: &M,
        level: u8,
        table: u64,
        at: u64,
    ) -> Result<(u64, Entry), TableError> {
        let index = self.index(level, at);
        let entry = memory.read(table, index).ok_or(TableError::Unreadable { table })?;
        match self.format.decode(level, entry) {
            Entry::Malformed => Err(TableError::Malformed { table, index, entry }),
            decoded => Ok((index, decoded)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a table, a span, and who is told")]
    fn each_in<M: TableMemory>(
        &self,
        memory: &M,
        level: u8,
        table: u64,
        first: u64,
        last: u64,
        access: Access,
        say: &mut dyn FnMut(Mapped),
    ) -> Result<(), TableError> {
        let mut at = first;
        loop {
            let mut to = part(level, at, last);
            match self.entry(memory, level, table, at)?.1 {
                Entry::Table { at: child, level: below, access: also } => {
                    // A pointer that skips levels covers only the start of its entry's range.
                    let begin = at & !mask(shift_of(level));
                    let end = to.min(begin | mask(shift_of(below + 1)));
                    if at <= end {
                        self.each_in(memory, below, child, at, end, access.and(also), say)?;
                    }
                }
                Entry::Leaf(leaf) => {
                    let begin = at & !mask(leaf.shift);
                    say(Mapped { first: begin, leaf: Leaf { access: leaf.access.and(access), ..leaf } });
                    to = begin | mask(leaf.shift);
                }
                Entry::Absent | Entry::Malformed => {}
            }
            if to >= last {
                return Ok(());
            }
            at = to + 1;
        }
    }
}
