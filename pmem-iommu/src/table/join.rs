//! Replacing small pages with large ones.

use super::entry::{Entry, Leaf, shift_of};
use super::error::TableError;
use super::format::Format;
use super::invalidate::Invalidate;
use super::memory::TableMemory;
use super::span::{mask, part};
use super::walker::Walker;

impl<F: Format, M: TableMemory> Walker<'_, F, M> {
    /// Replaces a table with one large page wherever the table overlaps the span and all of its entries translate like
    /// that page. Does nothing if the format cannot exchange pages in use (see [`Format::exchanges`]).
    ///
    /// # Errors
    /// Returns a [`TableError`] if the span is invalid. Tables that cannot be read are left alone.
    pub fn join(&mut self, first: u64, last: u64) -> Result<Invalidate, TableError> {
        self.is_span(first, last)?;
        let mut touched = Invalidate { first, last, tables: false };
        if self.table.format.exchanges() {
            self.join_in(self.table.format.levels(), self.table.root, first, last, &mut touched);
            self.forget_path();
        }
        Ok(touched)
    }

    fn join_in(&mut self, level: u8, table: u64, first: u64, last: u64, touched: &mut Invalidate) {
        if level == 1 {
            return;
        }
        let mut at = first;
        loop {
            let to = part(level, at, last);
            let index = self.index(level, at);
            if let Entry::Table { at: child, level: below, .. } = self.had(level, table, index) {
                // Lower levels first: 512 pages joined there can make this table joinable in turn.
                self.join_in(below, child, at, to, touched);
                if below + 1 == level
                    && self.table.format.has_leaves(level)
                    && let Some(leaf) = self.whole(below, child)
                {
                    let entry = self.table.format.leaf(level, leaf);
                    self.memory.write(table, index, entry);
                    self.discard(below, child);
                    touched.add(at, leaf.shift);
                    touched.tables = true;
                }
            }
            if to >= last {
                return;
            }
            at = to + 1;
        }
    }

    /// Returns the one page that translates like all entries of a table together; `None` if there is no such page.
    fn whole(&self, level: u8, table: u64) -> Option<Leaf> {
        let shift = shift_of(level);
        let leaf_at = |n| match self.had(level, table, n) {
            Entry::Leaf(leaf) => Some(leaf),
            _ => None,
        };
        let first = leaf_at(0)?;
        if first.target & mask(shift_of(level + 1)) != 0 {
            return None;
        }
        let says = |n: u64| {
            leaf_at(n).is_some_and(|leaf| {
                // Every entry of a run holds the target of the run's start.
                let own = leaf.target + ((n << shift) & mask(leaf.shift));
                own == first.target + (n << shift) && leaf.access == first.access
            })
        };
        // Backwards, because the last entry differs most often in tables that are only partly filled.
        let is_whole = (0..self.table.format.entries(level)).rev().all(says);
        is_whole.then_some(Leaf { target: first.target, shift: shift_of(level + 1), access: first.access })
    }
}
