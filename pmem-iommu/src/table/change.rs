//! Taking out, and permitting something else of, what is mapped.

use super::entry::{Access, Entry, Leaf, PAGE_SHIFT, shift_of};
use super::error::TableError;
use super::format::Format;
use super::invalidate::Invalidate;
use super::memory::TableMemory;
use super::span::{is_whole, mask, part, reaches};
use super::walker::Walker;

impl<F: Format, M: TableMemory> Walker<'_, F, M> {
    /// Takes out what is mapped. All of it must be. Tables all of whose addresses go are taken out with them; others stay, for what comes next,
    /// though they may say nothing: see [`Self::prune`].
    ///
    /// # Errors
    /// [`TableError`]; nothing is changed then.
    pub fn unmap(&mut self, first: u64, last: u64) -> Result<Invalidate, TableError> {
        self.change(first, last, None)
    }

    /// Permits something else of what is mapped. All of it must be.
    ///
    /// # Errors
    /// [`TableError`]; nothing is changed then.
    pub fn protect(&mut self, first: u64, last: u64, access: Access) -> Result<Invalidate, TableError> {
        if !self.table.format.permits(access) {
            return Err(TableError::Access);
        }
        self.change(first, last, Some(access))
    }

    /// How many tables [`Self::unmap`] and [`Self::protect`] would take, of a span all of which is mapped: those that split large pages.
    ///
    /// # Errors
    /// Those of [`Self::unmap`], but for memory.
    pub fn tables_to_change(&self, first: u64, last: u64) -> Result<usize, TableError> {
        self.is_span(first, last)?;
        let (level, table) = self.enter(first, last);
        self.count_split(level, table, first, last)
    }

    fn change(&mut self, first: u64, last: u64, access: Option<Access>) -> Result<Invalidate, TableError> {
        self.is_span(first, last)?;
        let (level, table) = self.enter(first, last);
        let tables = self.count_split(level, table, first, last)?;
        self.memory.set_aside(tables).map_err(TableError::Short)?;
        let mut touched = Invalidate { first, last, tables: false };
        self.change_in(level, table, first, last, access, &mut touched);
        Ok(touched)
    }

    /// How many tables a change of a span needs, all of which is mapped.
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

    /// Whether entries of a lowest table say together that they are one page.
    fn has_runs(&self, table: u64, first: u64, last: u64) -> bool {
        self.table.format.run_bits() != 0
            && (self.index(1, first)..=self.index(1, last)).any(
                |index| matches!(self.had(1, table, index), Entry::Leaf(leaf) if leaf.shift > PAGE_SHIFT),
            )
    }

    /// Whether all of a span of a lowest table is mapped, page by page: that takes no tables.
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

    /// Writes what is to be permitted, or nothing, over a span of a lowest table.
    fn change_pages(&mut self, table: u64, first: u64, last: u64, access: Option<Access>) {
        for index in self.index(1, first)..=self.index(1, last) {
            let entry = access.map_or(0, |access| match self.had(1, table, index) {
                Entry::Leaf(leaf) => self.table.format.leaf(1, Leaf { access, ..leaf }),
                _ => 0,
            });
            self.memory.write(table, index, entry);
        }
    }

    /// Writes what is to be permitted, or nothing, over all of a span.
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
                    // Each entry of the run says its own part, and then they can differ.
                    self.unrun(level, table, at & !mask(leaf.shift), leaf);
                    touched.add(at, leaf.shift);
                    continue;
                }
                Entry::Leaf(leaf) if is_whole(level, at, to) => {
                    let entry =
                        access.map_or(0, |access| self.table.format.leaf(level, Leaf { access, ..leaf }));
                    (0..1 << (leaf.shift - shift_of(level)))
                        .for_each(|n| self.memory.write(table, index + n, entry));
                    to = at | mask(leaf.shift);
                }
                Entry::Leaf(leaf) => {
                    // The table says the same but for the part that changes, before it takes the page's place.
                    let Some(child) = self.memory.take() else { return };
                    self.fill(level - 1, child, leaf);
                    self.change_in(level - 1, child, at, to, access, touched);
                    let pointer = self.table.format.pointer(level, child);
                    self.memory.write(table, index, pointer);
                    touched.add(at, leaf.shift);
                    touched.tables = true;
                }
                Entry::Table { at: child, level: below, .. } => {
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

    /// Has each entry of a run say its own part.
    fn unrun(&mut self, level: u8, table: u64, begin: u64, leaf: Leaf) {
        let (shift, index) = (shift_of(level), self.index(level, begin));
        for n in 0..1 << (leaf.shift - shift) {
            let own = Leaf { target: leaf.target + (n << shift), shift, access: leaf.access };
            let entry = self.table.format.leaf(level, own);
            self.memory.write(table, index + n, entry);
        }
    }

    /// Has a table say what a page of the level above does.
    fn fill(&mut self, level: u8, table: u64, leaf: Leaf) {
        let shift = shift_of(level);
        for n in 0..self.table.format.entries(level) {
            let own = Leaf { target: leaf.target + (n << shift), shift, access: leaf.access };
            let entry = self.table.format.leaf(level, own);
            self.memory.write(table, n, entry);
        }
    }
}

/// How many tables take the place of a page of a level, of which a part changes.
fn splits(level: u8, at: u64, to: u64) -> usize {
    if is_whole(level, at, to) {
        return 0;
    }
    let (end, begin) = (part(level - 1, at, to), to & !mask(shift_of(level - 1)));
    let below = if end == to {
        splits(level - 1, at, to)
    } else {
        splits(level - 1, at, end) + splits(level - 1, begin, to)
    };
    1 + below
}
