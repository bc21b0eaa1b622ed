//! Removing empty tables.

use super::entry::Entry;
use super::error::TableError;
use super::format::Format;
use super::invalidate::Invalidate;
use super::memory::TableMemory;
use super::span::part;
use super::walker::Walker;

impl<F: Format, M: TableMemory> Walker<'_, F, M> {
    /// Unlinks the tables that overlap the span and map nothing at all.
    ///
    /// # Errors
    /// Returns a [`TableError`] if the span is invalid. Tables that cannot be read are left alone.
    pub fn prune(&mut self, first: u64, last: u64) -> Result<Invalidate, TableError> {
        self.is_span(first, last)?;
        let mut touched = Invalidate { first, last, tables: false };
        self.prune_in(self.table.format.levels(), self.table.root, first, last, &mut touched);
        self.forget_path();
        Ok(touched)
    }

    fn prune_in(&mut self, level: u8, table: u64, first: u64, last: u64, touched: &mut Invalidate) {
        if level == 1 {
            return;
        }
        let mut at = first;
        loop {
            let to = part(level, at, last);
            let index = self.index(level, at);
            if let Entry::Table { at: child, level: below, .. } = self.had(level, table, index) {
                self.prune_in(below, child, at, to, touched);
                // The lower levels were pruned just now, so a table with only empty children is empty too.
                if self.says_nothing(below, child) {
                    self.memory.write(table, index, 0);
                    self.discard(below, child);
                    touched.tables = true;
                }
            }
            if to >= last {
                return;
            }
            at = to + 1;
        }
    }

    fn says_nothing(&self, level: u8, table: u64) -> bool {
        (0..self.table.format.entries(level)).all(|index| self.had(level, table, index) == Entry::Absent)
    }
}
