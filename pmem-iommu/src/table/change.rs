//! Removing mappings, and changing what they permit.

use super::entry::{Access, Entry, Leaf, PAGE_SHIFT, shift_of};
use super::error::TableError;
use super::format::Format;
use super::invalidate::Invalidate;
use super::memory::TableMemory;
use super::span::{is_whole, mask, part, reaches};
use super::walker::Walker;

impl<F: Format, M: TableMemory> Walker<'_, F, M> {
    /// Removes the mappings from `first` to `last`, both inclusive. Every page in the span must be mapped. A table
    /// whose whole range lies in the span is unlinked with its mappings. Other tables stay for later mappings, even
    /// if they end up empty; [`Self::prune`] removes those.
    ///
    /// # Errors
    /// Returns a [`TableError`] if a page in the span is not mapped, if the span cuts a large page that cannot be split in
    /// use, if a table cannot be read, or if memory for tables is short. Nothing is changed then.
    pub fn unmap(&mut self, first: u64, last: u64) -> Result<Invalidate, TableError> {
        self.change(first, last, None)
    }

    /// Changes what the mappings from `first` to `last`, both inclusive, permit. Every page in the span must be
    /// mapped.
    ///
    /// # Errors
    /// Returns a [`TableError`] if the format cannot encode `access`, if a page in the span is not mapped, if the
    /// span cuts a large page that cannot be split in use, if a table cannot be read, or if memory for tables is short. Nothing is changed then.
    pub fn protect(&mut self, first: u64, last: u64, access: Access) -> Result<Invalidate, TableError> {
        if !self.table.format.permits(access) {
            return Err(TableError::Access);
        }
        self.change(first, last, Some(access))
    }

    /// Counts the tables that [`Self::unmap`] or [`Self::protect`] would allocate to split large pages. Every page
    /// in the span must be mapped.
    ///
    /// # Errors
    /// The errors of [`Self::unmap`], except a lack of memory.
    pub fn tables_to_change(&self, first: u64, last: u64) -> Result<usize, TableError> {
        self.is_span(first, last)?;
        let (level, table) = self.enter(first, last);
        self.count_split(level, table, first, last)
    }

    // Count first, allocate next, write last: an error can only occur before the first write.
    fn change(&mut self, first: u64, last: u64, access: Option<Access>) -> Result<Invalidate, TableError> {
        self.is_span(first, last)?;
        let (level, table) = self.enter(first, last);
        let tables = self.count_split(level, table, first, last)?;
        self.memory.set_aside(tables).map_err(TableError::Short)?;
        let mut touched = Invalidate { first, last, tables: false };
        self.change_in(level, table, first, last, access, &mut touched);
        Ok(touched)
    }

    /// Counts the tables that a change of the span needs, and checks that every page in it is mapped.
    fn count_split(&self, level: u8, table: u64, first: u64, last: u64) -> Result<usize, TableError> {
        if level == 1 && !self.has_runs(table, first, last) {
            return self.check_pages(table, first, last);
        }
        let (mut tables, mut at) = (0usize, first);
        loop {
            let to = part(level, at, last);
            match self.entry(level, table, at)?.1 {
                Entry::Table { at: child, level: below, .. } if reaches(level, below, at) => {
                    if !reaches(level, below, to) {
                        return Err(TableError::Absent { at: (at | mask(shift_of(below + 1))) + 1 });
                    }
                    tables = tables.saturating_add(self.count_split(below, child, at, to)?);
                }
                Entry::Leaf(leaf) => {
                    // The page may begin before the span or end after it. Then only a part of it changes.
                    let begin = at & !mask(leaf.shift);
                    let end = begin | mask(leaf.shift);
                    let is_part = at != begin || end > last;
                    if is_part && !self.table.format.exchanges() {
                        return Err(TableError::Whole { at: begin, shift: leaf.shift });
                    }
                    tables = tables.saturating_add(splits(level, at, to));
                }
                _ => return Err(TableError::Absent { at }),
            }
            if to == last {
                return Ok(tables);
            }
            at = to + 1;
        }
    }

    /// Returns whether entries of a level 1 table in the span belong to a leaf that spans several entries.
    fn has_runs(&self, table: u64, first: u64, last: u64) -> bool {
        self.table.format.run_bits() != 0
            && (self.index(1, first)..=self.index(1, last)).any(
                |index| matches!(self.had(1, table, index), Entry::Leaf(leaf) if leaf.shift > PAGE_SHIFT),
            )
    }

    /// Checks that each page of a span in a level 1 table is mapped. The result is always 0 tables, since single
    /// pages are never split.
    fn check_pages(&self, table: u64, first: u64, last: u64) -> Result<usize, TableError> {
        let from = self.index(1, first);
        for index in from..=self.index(1, last) {
            let entry = self.memory.read(table, index).ok_or(TableError::Unreadable { table })?;
            match self.table.format.decode(1, entry) {
                Entry::Leaf(_) => {}
                Entry::Malformed => return Err(TableError::Malformed { table, index, entry }),
                _ => return Err(TableError::Absent { at: first + ((index - from) << PAGE_SHIFT) }),
            }
        }
        Ok(0)
    }

    /// Writes the new access, or 0 if there is none, to the entries of a span in a level 1 table.
    fn change_pages(&mut self, table: u64, first: u64, last: u64, access: Option<Access>) {
        for index in self.index(1, first)..=self.index(1, last) {
            let entry = access.map_or(0, |access| match self.had(1, table, index) {
                Entry::Leaf(leaf) => self.table.format.leaf(1, Leaf { access, ..leaf }),
                _ => 0,
            });
            self.memory.write(table, index, entry);
        }
    }

    /// Writes the new access, or 0 if there is none, to all entries of a span that [`Self::count_split`] has
    /// checked.
    fn change_in(
        &mut self,
        level: u8,
        table: u64,
        first: u64,
        last: u64,
        access: Option<Access>,
        touched: &mut Invalidate,
    ) {
        self.keep(level, table, first);
        if level == 1 && !self.has_runs(table, first, last) {
            return self.change_pages(table, first, last, access);
        }
        let mut at = first;
        loop {
            let mut to = part(level, at, last);
            let index = self.index(level, at);
            match self.had(level, table, index) {
                Entry::Leaf(leaf)
                    if leaf.shift > shift_of(level)
                        && (at & !mask(leaf.shift) < at || at | mask(leaf.shift) > last) =>
                {
                    // Rewrite the run as single entries with the same translation. After that they can differ, so
                    // try again.
                    self.unrun(level, table, at & !mask(leaf.shift), leaf);
                    touched.add(at, leaf.shift);
                    continue;
                }
                Entry::Leaf(leaf) if is_whole(level, at, to) => {
                    let entry =
                        access.map_or(0, |access| self.table.format.leaf(level, Leaf { access, ..leaf }));
                    // A leaf that spans several entries repeats the same value in each.
                    (0..1 << (leaf.shift - shift_of(level)))
                        .for_each(|n| self.memory.write(table, index + n, entry));
                    to = at | mask(leaf.shift);
                }
                Entry::Leaf(leaf) => {
                    // The child table gets the page's translation and then the change, all before it is linked. A
                    // unit that walks now sees either the old page or the finished table.
                    let Some(child) = self.memory.take() else { return };
                    self.fill(level - 1, child, leaf);
                    self.change_in(level - 1, child, at, to, access, touched);
                    let pointer = self.table.format.pointer(level, child);
                    self.memory.write(table, index, pointer);
                    touched.add(at, leaf.shift);
                    touched.tables = true;
                }
                Entry::Table { at: child, level: below, .. } => {
                    // The child table covers nothing beyond the span: unlink it instead of clearing its entries.
                    if access.is_none() && to - at == mask(shift_of(below + 1)) {
                        self.memory.write(table, index, 0);
                        self.discard(below, child);
                        touched.tables = true;
                    } else {
                        self.change_in(below, child, at, to, access, touched);
                    }
                    self.keep(level, table, at);
                }
                Entry::Absent | Entry::Malformed => {}
            }
            if to >= last {
                return;
            }
            at = to + 1;
        }
    }

    /// Rewrites a leaf that spans several entries as entries of their own. The translation stays the same.
    fn unrun(&mut self, level: u8, table: u64, begin: u64, leaf: Leaf) {
        let (shift, index) = (shift_of(level), self.index(level, begin));
        for n in 0..1 << (leaf.shift - shift) {
            let own = Leaf { target: leaf.target + (n << shift), shift, access: leaf.access };
            let entry = self.table.format.leaf(level, own);
            self.memory.write(table, index + n, entry);
        }
    }

    /// Fills a table with the translation of one leaf of the level above.
    fn fill(&mut self, level: u8, table: u64, leaf: Leaf) {
        let shift = shift_of(level);
        for n in 0..self.table.format.entries(level) {
            let own = Leaf { target: leaf.target + (n << shift), shift, access: leaf.access };
            let entry = self.table.format.leaf(level, own);
            self.memory.write(table, n, entry);
        }
    }
}

/// Counts the tables that replace a page of `level` of which only `at` to `to` changes.
fn splits(level: u8, at: u64, to: u64) -> usize {
    if is_whole(level, at, to) {
        return 0;
    }
    // Only the first and the last child of the span can be cut; those between change as a whole.
    let (end, begin) = (part(level - 1, at, to), to & !mask(shift_of(level - 1)));
    let below = if end == to {
        splits(level - 1, at, to)
    } else {
        splits(level - 1, at, end) + splits(level - 1, begin, to)
    };
    1 + below
}
