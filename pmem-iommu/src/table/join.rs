//! Large pages in the place of small ones.

use super::entry::{Entry, Leaf, shift_of};
use super::error::TableError;
use super::format::Format;
use super::invalidate::Invalidate;
use super::memory::TableMemory;
use super::span::{mask, part};
use super::walker::Walker;

impl<F: Format, M: TableMemory> Walker<'_, F, M> {
    /// Puts one large page in the place of a table's small ones, wherever all of a table within a span says what one page would.
    ///
    /// # Errors
    /// [`TableError`], of a span that is none; tables that cannot be read are left alone.
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

    /// The one page that says what all of a table does.
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
                // An entry of a run says where the run begins.
                let own = leaf.target + ((n << shift) & mask(leaf.shift));
                own == first.target + (n << shift) && leaf.access == first.access
            })
        };
        let is_whole = (0..self.table.format.entries(level)).rev().all(says);
        is_whole.then_some(Leaf { target: first.target, shift: shift_of(level + 1), access: first.access })
    }
}
