//! What tables say.

use super::entry::{Access, Entry, Leaf, shift_of};
use super::error::TableError;
use super::format::Format;
use super::memory::TableMemory;
use super::span::{mask, part, reaches};
use super::tree::PageTable;
use alloc::vec::Vec;

/// What is mapped, as a table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapped {
    /// The first address.
    pub first: u64,
    /// Where it leads; what may be done is what all entries on the way permit.
    pub leaf: Leaf,
}

impl<F: Format> PageTable<F> {
    /// What an address leads to; `None` if nothing is mapped there.
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
                Entry::Table { at: child, level: below, access: also } => {
                    if !reaches(level, below, at) {
                        return None;
                    }
                    (level, table, access) = (below, child, access.and(also));
                }
            }
        }
    }

    /// Says of a span what is mapped there, in order.
    ///
    /// # Errors
    /// What is no entry, or no table that can be read.
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

    /// All tables below one.
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

    /// An entry and its place.
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
