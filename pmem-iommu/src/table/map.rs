//! Adding mappings.

use super::entry::{Access, Entry, Leaf, PAGE_SHIFT, shift_of};
use super::error::TableError;
use super::format::Format;
use super::invalidate::Invalidate;
use super::memory::TableMemory;
use super::span::{is_whole, mask, part, reaches};
use super::walker::Walker;

/// Why counting the tables of a change stopped early.
enum Stop {
    Error(TableError),
    /// A pointer skips levels in which the change needs entries.
    Skips {
        level: u8,
        table: u64,
        index: u64,
        child: u64,
        below: u8,
    },
}

impl From<TableError> for Stop {
    fn from(error: TableError) -> Self {
        Self::Error(error)
    }
}

impl<F: Format, M: TableMemory> Walker<'_, F, M> {
    /// Maps the input addresses from `first` to `last`, both inclusive, to output addresses from `target` on, with
    /// the largest pages that the alignment allows. Nothing may be mapped in the span yet.
    ///
    /// # Errors
    /// Returns a [`TableError`] if an address is not page-aligned or too wide, if the format cannot encode `access`, if
    /// something is mapped in the span, or if memory for tables is short. No translation has changed then.
    pub fn map(
        &mut self,
        first: u64,
        last: u64,
        target: u64,
        access: Access,
    ) -> Result<Invalidate, TableError> {
        self.check_map(first, last, target, access)?;
        // Counting also checks. If a skipping pointer is in the way, fill in the skipped levels and count again;
        // each round removes one such pointer, so this ends.
        let (level, table, tables) = loop {
            let (level, table) = self.enter(first, last);
            match self.count_new(level, table, first, last, target, true) {
                Ok(tables) => break (level, table, tables),
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Skips { level, table, index, child, below }) => {
                    self.unskip(level, table, index, child, below)?;
                }
            }
        };
        self.memory.set_aside(tables).map_err(TableError::Short)?;
        let mut touched = Invalidate { first, last, tables: false };
        self.map_in(level, table, first, last, target, access, &mut touched);
        Ok(touched)
    }

    /// Counts the tables that [`Self::map`] would allocate. The count is exact if nothing is mapped in the span,
    /// and an upper bound if something there will be unmapped first. To map several spans in ascending order, pass
    /// the last address of the previous span as `after`, so that tables shared by both are counted once.
    ///
    /// # Errors
    /// The errors of [`Self::map`], except mappings in the way and a lack of memory.
    pub fn tables_to_map(
        &self,
        first: u64,
        last: u64,
        target: u64,
        access: Access,
        after: Option<u64>,
    ) -> Result<usize, TableError> {
        self.check_map(first, last, target, access)?;
        let (level, table) = self.enter(first, last);
        let (tables, lowest) = match self.count_new(level, table, first, last, target, false) {
            Ok(tables) => (tables, self.lowest(first)),
            Err(Stop::Error(error @ (TableError::Malformed { .. } | TableError::Unreadable { .. }))) => {
                return Err(error);
            }
            Err(_) => (self.most_tables(first, last, target), self.table.format.levels()),
        };
        // The span before already needs the tables, below the lowest existing one, whose range it shares with this
        // span.
        let has = |level: &u8| after.is_some_and(|after| (after ^ first) >> shift_of(level + 1) == 0);
        Ok(tables.saturating_sub((1..lowest).filter(has).count()))
    }

    /// Returns the level of the lowest existing table on the walk to an address.
    fn lowest(&self, at: u64) -> u8 {
        let (mut level, mut table) = (self.table.format.levels(), self.table.root);
        while let Entry::Table { at: child, level: below, .. } = self.had(level, table, self.index(level, at))
        {
            (level, table) = (below, child);
        }
        level
    }

    /// Counts the tables that a span needs below an empty root.
    fn most_tables(&self, first: u64, last: u64, target: u64) -> usize {
        let level = self.table.format.levels();
        let (mut tables, mut at) = (0usize, first);
        loop {
            let to = part(level, at, last);
            tables = tables.saturating_add(self.below(level, at, to, target + (at - first)));
            if to == last {
                return tables;
            }
            at = to + 1;
        }
    }

    fn check_map(&self, first: u64, last: u64, target: u64, access: Access) -> Result<(), TableError> {
        self.is_span(first, last)?;
        if !self.table.format.permits(access) {
            return Err(TableError::Access);
        }
        let end = target.checked_add(last - first).ok_or(TableError::TooWide { at: target, width: 64 })?;
        let width = self.table.format.output_width();
        if target & mask(PAGE_SHIFT) != 0 {
            return Err(TableError::Unaligned { at: target });
        }
        if end & !mask(width) != 0 {
            return Err(TableError::TooWide { at: end, width });
        }
        Ok(())
    }

    fn can_be_leaf(&self, level: u8, at: u64, to: u64, target: u64) -> bool {
        is_whole(level, at, to) && self.table.format.has_leaves(level) && target & mask(shift_of(level)) == 0
    }

    /// Counts the tables that mapping a span needs and checks that nothing is mapped there. With `checks` false,
    /// level 1 tables are not checked.
    fn count_new(
        &self,
        level: u8,
        table: u64,
        first: u64,
        last: u64,
        target: u64,
        checks: bool,
    ) -> Result<usize, Stop> {
        if level == 1 {
            let free = if checks { self.check_free(table, first, last) } else { Ok(()) };
            return free.map(|()| 0).map_err(Stop::Error);
        }
        let (mut tables, mut at) = (0usize, first);
        loop {
            let to = part(level, at, last);
            let (index, entry) = self.entry(level, table, at)?;
            match entry {
                Entry::Absent => {
                    tables = tables.saturating_add(self.below(level, at, to, target + (at - first)));
                }
                Entry::Table { at: child, level: below, .. } => {
                    if !(reaches(level, below, at) && reaches(level, below, to)) {
                        return Err(Stop::Skips { level, table, index, child, below });
                    }
                    let more = self.count_new(below, child, at, to, target + (at - first), checks)?;
                    tables = tables.saturating_add(more);
                }
                Entry::Leaf(_) | Entry::Malformed => return Err(TableError::Taken { at }.into()),
            }
            if to == last {
                return Ok(tables);
            }
            at = to + 1;
        }
    }

    /// Checks that nothing is mapped in a span of a level 1 table.
    fn check_free(&self, table: u64, first: u64, last: u64) -> Result<(), TableError> {
        let from = self.index(1, first);
        for index in from..=self.index(1, last) {
            let entry = self.memory.read(table, index).ok_or(TableError::Unreadable { table })?;
            if entry == 0 {
                continue;
            }
            match self.table.format.decode(1, entry) {
                Entry::Absent => {}
                Entry::Malformed => return Err(TableError::Malformed { table, index, entry }),
                _ => return Err(TableError::Taken { at: first + ((index - from) << PAGE_SHIFT) }),
            }
        }
        Ok(())
    }

    /// Writes pages to the entries of a span in a level 1 table.
    fn map_pages(&mut self, table: u64, first: u64, last: u64, target: u64, access: Access) {
        let from = self.index(1, first);
        for index in from..=self.index(1, last) {
            let target = target + ((index - from) << PAGE_SHIFT);
            let entry = self.table.format.leaf(1, Leaf { target, shift: PAGE_SHIFT, access });
            self.memory.write(table, index, entry);
        }
    }

    /// Counts the tables needed below an absent entry of `level` to map `at` to `to`.
    fn below(&self, level: u8, at: u64, to: u64, target: u64) -> usize {
        if level == 1 || self.can_be_leaf(level, at, to, target) {
            return 0;
        }
        let (mut tables, mut from) = (1usize, at);
        loop {
            let end = part(level - 1, from, to);
            tables = tables.saturating_add(self.below(level - 1, from, end, target + (from - at)));
            if end == to {
                return tables;
            }
            from = end + 1;
        }
    }

    /// Inserts the tables that a pointer skips. All translations stay the same.
    fn unskip(&mut self, level: u8, table: u64, index: u64, child: u64, below: u8) -> Result<(), TableError> {
        let between = level.saturating_sub(below + 1);
        self.memory.set_aside(usize::from(between)).map_err(TableError::Short)?;
        let mut next = child;
        // A skipping pointer requires the skipped address bits to be 0, so each inserted table links the next at
        // index 0.
        for between in below + 1..level {
            let Some(new) = self.memory.take() else { return Ok(()) };
            let pointer = self.table.format.pointer(between, next);
            self.memory.write(new, 0, pointer);
            next = new;
        }
        let pointer = self.table.format.pointer(level, next);
        self.memory.write(table, index, pointer);
        self.forget_path();
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "a table, a span, and what it is to say")]
    fn map_in(
        &mut self,
        level: u8,
        table: u64,
        first: u64,
        last: u64,
        target: u64,
        access: Access,
        touched: &mut Invalidate,
    ) {
        self.keep(level, table, first);
        // Two entries can only form a run if both addresses have the same parity of pages; otherwise write single
        // pages, which is faster.
        if level == 1 && (self.table.format.run_bits() == 0 || (first ^ target) >> PAGE_SHIFT & 1 == 1) {
            return self.map_pages(table, first, last, target, access);
        }
        let mut at = first;
        loop {
            let mut to = part(level, at, last);
            let to_target = target + (at - first);
            let index = self.index(level, at);
            // The counting pass has checked that level 1 entries are free.
            let had = if level == 1 { Entry::Absent } else { self.had(level, table, index) };
            match had {
                Entry::Table { at: child, level: below, .. }
                    if !self.can_be_leaf(level, at, to, to_target) =>
                {
                    self.map_in(below, child, at, to, to_target, access, touched);
                }
                _ if level == 1 || self.can_be_leaf(level, at, to, to_target) => {
                    if let Entry::Table { at: child, level: below, .. } = had {
                        // The counting pass has shown that the table maps nothing, so a large page can replace it.
                        touched.tables = true;
                        self.discard(below, child);
                    }
                    let bits = self.run(level, table, at, last, to_target);
                    let shift = shift_of(level) + bits;
                    let entry = self.table.format.leaf(level, Leaf { target: to_target, shift, access });
                    if bits == 0 {
                        self.memory.write(table, index, entry);
                    } else {
                        (0..1 << bits).for_each(|n| self.memory.write(table, index + n, entry));
                        to = at | mask(shift);
                    }
                }
                _ => {
                    // Fill the new table before linking it, so that a unit never walks a half-written one.
                    let Some(child) = self.memory.take() else { return };
                    self.map_in(level - 1, child, at, to, to_target, access, touched);
                    let pointer = self.table.format.pointer(level, child);
                    self.memory.write(table, index, pointer);
                }
            }
            if to >= last {
                return;
            }
            at = to + 1;
        }
    }

    /// Returns how many entries, as a power of two, can form one leaf from `at` on.
    #[inline]
    fn run(&self, level: u8, table: u64, at: u64, last: u64, target: u64) -> u32 {
        let most = self.table.format.run_bits();
        if most == 0 {
            return 0;
        }
        let shift = shift_of(level);
        let aligned = (at | target).trailing_zeros().saturating_sub(shift);
        let left = (last - at).checked_add(1).map_or(63, u64::ilog2).saturating_sub(shift);
        let room = self.table.format.output_width().saturating_sub(shift);
        let bits = most.min(aligned).min(left).min(room);
        let index = self.index(level, at);
        // A run must not overwrite pointers. Tables in between are empty, but stay.
        (0..=bits)
            .rev()
            .find(|bits| {
                level == 1 || (1..1 << bits).all(|n| self.had(level, table, index + n) == Entry::Absent)
            })
            .unwrap_or(0)
    }
}
