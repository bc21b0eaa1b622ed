//! The walker: changes tables, and keeps the tables that it was in last.

use super::entry::{Access, Entry, Leaf, PAGE_SHIFT, shift_of};
use super::error::TableError;
use super::format::Format;
use super::memory::Memory;
use alloc::vec::Vec;

/// What hardware must be told to forget, before what was taken out is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Invalidate {
    /// The first address.
    pub first: u64,
    /// The last: large pages that were split are among them whole.
    pub last: u64,
    /// Tables were taken out or exchanged, so that what is kept of tables goes as well as what is kept of pages.
    pub tables: bool,
}

impl Invalidate {
    fn add(&mut self, at: u64, shift: u32) {
        let first = at >> shift << shift;
        self.first = self.first.min(first);
        self.last = self.last.max(first | mask(shift));
    }
}

/// What is mapped, as a table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapped {
    /// The first address.
    pub first: u64,
    /// Where it leads; what may be done is what all entries on the way permit.
    pub leaf: Leaf,
}

/// Levels, and one that is none.
const LEVELS: usize = 7;
/// No table is kept of a level.
const NONE: u64 = u64::MAX;

/// A tree of translation tables.
#[derive(Debug)]
pub struct Table<F, M> {
    format: F,
    memory: M,
    root: u64,
    /// Tables on the way to `at`, by level.
    path: [u64; LEVELS],
    at: u64,
    /// Tables that were taken out, which hardware may still read.
    stale: Vec<u64>,
}

/// Why a change was not counted to its end.
enum Stop {
    Error(TableError),
    /// A pointer skips levels that are needed.
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

/// The bits below a power of two.
const fn mask(shift: u32) -> u64 {
    if shift >= 64 { u64::MAX } else { (1 << shift) - 1 }
}

/// An entry's part of a span: from, and to.
fn part(level: u8, at: u64, last: u64) -> u64 {
    last.min(at | mask(shift_of(level)))
}

/// Whether a part is all that an entry has.
fn is_whole(level: u8, at: u64, to: u64) -> bool {
    to - at == mask(shift_of(level))
}

impl<F: Format, M: Memory> Table<F, M> {
    /// An empty one.
    ///
    /// # Errors
    /// [`TableError::Short`].
    pub fn new(format: F, mut memory: M) -> Result<Self, TableError> {
        let pages = (format.entries(format.levels()) / 512).max(1);
        let short =
            |left| super::memory::Short { wanted: usize::try_from(pages).unwrap_or(usize::MAX), left };
        memory.set_aside(usize::try_from(pages).unwrap_or(usize::MAX)).map_err(TableError::Short)?;
        let root = memory.take_first(pages).ok_or_else(|| TableError::Short(short(0)))?;
        Ok(Self::adopt(format, memory, root))
    }

    /// One that is there.
    #[must_use]
    pub const fn adopt(format: F, memory: M, root: u64) -> Self {
        Self { format, memory, root, path: [NONE; LEVELS], at: 0, stale: Vec::new() }
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

    /// The memory that the tables are in.
    #[must_use]
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// The same, to be changed where no table is.
    pub const fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// The memory, tables and all.
    #[must_use]
    pub fn into_memory(self) -> M {
        self.memory
    }

    /// Gives back the tables that were taken out. The hardware must have been told, and have said that it has done so.
    pub fn release(&mut self) {
        for table in self.stale.drain(..) {
            self.memory.give(table);
        }
    }

    /// Tables that wait to be given back.
    #[must_use]
    pub fn stale(&self) -> usize {
        self.stale.len()
    }

    /// Maps addresses from `first` to `last` to as many from `target` on, by pages as large as the alignment allows. Nothing may be mapped there.
    ///
    /// # Errors
    /// [`TableError`]; nothing is changed then.
    pub fn map(
        &mut self,
        first: u64,
        last: u64,
        target: u64,
        access: Access,
    ) -> Result<Invalidate, TableError> {
        self.is_span(first, last)?;
        if !self.format.permits(access) {
            return Err(TableError::Access);
        }
        let end = target.checked_add(last - first).ok_or(TableError::TooWide { at: target, width: 64 })?;
        let width = self.format.output_width();
        if target & mask(PAGE_SHIFT) != 0 {
            return Err(TableError::Unaligned { at: target });
        }
        if end & !mask(width) != 0 {
            return Err(TableError::TooWide { at: end, width });
        }
        let (level, table, tables) = loop {
            let (level, table) = self.enter(first, last);
            match self.count_new(level, table, first, last, target) {
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

    /// Takes out what is mapped. All of it must be.
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
        if !self.format.permits(access) {
            return Err(TableError::Access);
        }
        self.change(first, last, Some(access))
    }

    /// Puts one large page in the place of a table's small ones, wherever all of a table within a span says what one page would.
    ///
    /// # Errors
    /// [`TableError`], of a span that is none; tables that cannot be read are left alone.
    pub fn join(&mut self, first: u64, last: u64) -> Result<Invalidate, TableError> {
        self.is_span(first, last)?;
        let mut touched = Invalidate { first, last, tables: false };
        if self.format.exchanges() {
            self.join_in(self.format.levels(), self.root, first, last, &mut touched);
            self.path = [NONE; LEVELS];
        }
        Ok(touched)
    }

    /// What an address leads to; `None` if nothing is mapped there.
    #[must_use]
    pub fn lookup(&self, at: u64) -> Option<Mapped> {
        if at & !mask(self.format.width()) != 0 {
            return None;
        }
        let (mut level, mut table, mut access) = (self.format.levels(), self.root, Access::BOTH);
        loop {
            let entry = self.memory.read(table, self.index(level, at))?;
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
    pub fn each(&self, first: u64, last: u64, say: &mut dyn FnMut(Mapped)) -> Result<(), TableError> {
        let last = last.min(mask(self.format.width()));
        if first > last {
            return Ok(());
        }
        self.each_in(self.format.levels(), self.root, first, last, Access::BOTH, say)
    }
}

/// Whether an address is below a pointer that may skip levels: the bits between are 0.
fn reaches(level: u8, below: u8, at: u64) -> bool {
    at & mask(shift_of(level)) & !mask(shift_of(below + 1)) == 0
}

impl<F: Format, M: Memory> Table<F, M> {
    fn is_span(&self, first: u64, last: u64) -> Result<(), TableError> {
        if first & mask(PAGE_SHIFT) != 0 {
            return Err(TableError::Unaligned { at: first });
        }
        if last & mask(PAGE_SHIFT) != mask(PAGE_SHIFT) || last < first {
            return Err(TableError::Unaligned { at: last.wrapping_add(1) });
        }
        let width = self.format.width();
        if last & !mask(width) != 0 {
            return Err(TableError::TooWide { at: last, width });
        }
        Ok(())
    }

    #[inline]
    fn index(&self, level: u8, at: u64) -> u64 {
        at >> shift_of(level) & (self.format.entries(level) - 1)
    }

    #[inline]
    fn read(&self, table: u64, index: u64) -> Result<u64, TableError> {
        self.memory.read(table, index).ok_or(TableError::Unreadable { table })
    }

    /// An entry and its place.
    #[inline]
    fn entry(&self, level: u8, table: u64, at: u64) -> Result<(u64, Entry), TableError> {
        let index = self.index(level, at);
        let entry = self.read(table, index)?;
        match self.format.decode(level, entry) {
            Entry::Malformed => Err(TableError::Malformed { table, index, entry }),
            decoded => Ok((index, decoded)),
        }
    }

    /// The lowest table that is kept and has all of a span.
    #[inline]
    fn enter(&self, first: u64, last: u64) -> (u8, u64) {
        let apart = (first ^ self.at) | (last ^ self.at);
        for level in 1..self.format.levels() {
            let kept = self.path.get(usize::from(level)).copied().unwrap_or(NONE);
            if kept != NONE && apart >> shift_of(level + 1) == 0 {
                return (level, kept);
            }
        }
        (self.format.levels(), self.root)
    }

    #[inline]
    fn keep(&mut self, level: u8, table: u64, at: u64) {
        let below = usize::from(level);
        self.path.iter_mut().take(below).for_each(|kept| *kept = NONE);
        if let Some(kept) = self.path.get_mut(below) {
            *kept = table;
        }
        self.at = at;
    }

    fn can_be_leaf(&self, level: u8, at: u64, to: u64, target: u64) -> bool {
        is_whole(level, at, to) && self.format.has_leaves(level) && target & mask(shift_of(level)) == 0
    }

    /// How many tables mapping a span needs, where nothing is mapped.
    fn count_new(&self, level: u8, table: u64, first: u64, last: u64, target: u64) -> Result<usize, Stop> {
        let (mut tables, mut at) = (0usize, first);
        loop {
            let to = part(level, at, last);
            let (index, entry) = self.entry(level, table, at)?;
            match entry {
                Entry::Absent => {
                    tables = tables.saturating_add(self.below(level, at, to, target + (at - first)))
                }
                Entry::Table { at: child, level: below, .. } => {
                    if !(reaches(level, below, at) && reaches(level, below, to)) {
                        return Err(Stop::Skips { level, table, index, child, below });
                    }
                    let more = self.count_new(below, child, at, to, target + (at - first))?;
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

    /// How many tables part of an entry needs that holds nothing.
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

    /// Puts the tables in that a pointer skips; nothing is mapped otherwise by it.
    fn unskip(&mut self, level: u8, table: u64, index: u64, child: u64, below: u8) -> Result<(), TableError> {
        let between = level.saturating_sub(below + 1);
        self.memory.set_aside(usize::from(between)).map_err(TableError::Short)?;
        let mut next = child;
        for between in below + 1..level {
            let Some(new) = self.memory.take() else { return Ok(()) };
            let pointer = self.format.pointer(between, next);
            self.memory.write(new, 0, pointer);
            next = new;
        }
        let pointer = self.format.pointer(level, next);
        self.memory.write(table, index, pointer);
        self.path = [NONE; LEVELS];
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
        let mut at = first;
        loop {
            let mut to = part(level, at, last);
            let to_target = target + (at - first);
            let index = self.index(level, at);
            // What is there was looked at before.
            let had = if level == 1 { Entry::Absent } else { self.had(level, table, index) };
            match had {
                Entry::Table { at: child, level: below, .. }
                    if !self.can_be_leaf(level, at, to, to_target) =>
                {
                    self.map_in(below, child, at, to, to_target, access, touched);
                }
                _ if level == 1 || self.can_be_leaf(level, at, to, to_target) => {
                    if let Entry::Table { at: child, level: below, .. } = had {
                        // It holds nothing.
                        touched.tables = true;
                        self.discard(below, child);
                    }
                    let bits = self.run(level, table, at, last, to_target);
                    let shift = shift_of(level) + bits;
                    let entry = self.format.leaf(level, Leaf { target: to_target, shift, access });
                    if bits == 0 {
                        self.memory.write(table, index, entry);
                    } else {
                        (0..1 << bits).for_each(|n| self.memory.write(table, index + n, entry));
                        to = at | mask(shift);
                    }
                }
                _ => {
                    // All that the new table says it says before it can be reached.
                    let Some(child) = self.memory.take() else { return };
                    self.map_in(level - 1, child, at, to, to_target, access, touched);
                    let pointer = self.format.pointer(level, child);
                    self.memory.write(table, index, pointer);
                }
            }
            if to >= last {
                return;
            }
            at = to + 1;
        }
    }

    fn had(&self, level: u8, table: u64, index: u64) -> Entry {
        self.memory.read(table, index).map_or(Entry::Malformed, |entry| self.format.decode(level, entry))
    }

    /// How many entries from here on can say that they are one leaf, as a power of two.
    #[inline]
    fn run(&self, level: u8, table: u64, at: u64, last: u64, target: u64) -> u32 {
        let most = self.format.run_bits();
        if most == 0 {
            return 0;
        }
        let shift = shift_of(level);
        let aligned = (at | target).trailing_zeros().saturating_sub(shift);
        let left = (last - at).checked_add(1).map_or(63, u64::ilog2).saturating_sub(shift);
        let room = self.format.output_width().saturating_sub(shift);
        let bits = most.min(aligned).min(left).min(room);
        let index = self.index(level, at);
        // A table in between leads to nothing, and is left alone.
        (0..=bits)
            .rev()
            .find(|bits| {
                level == 1 || (1..1 << bits).all(|n| self.had(level, table, index + n) == Entry::Absent)
            })
            .unwrap_or(0)
    }

    fn change(&mut self, first: u64, last: u64, access: Option<Access>) -> Result<Invalidate, TableError> {
        self.is_span(first, last)?;
        let (level, table) = self.enter(first, last);
        let tables = self.count_split(level, table, first, last)?;
        self.memory.set_aside(tables).map_err(TableError::Short)?;
        let mut touched = Invalidate { first, last, tables: false };
        self.change_in(level, table, first, last, access, &mut touched);
        if access.is_none() && level < self.format.levels() && self.is_empty(level, table, first, last) {
            self.prune(first);
            touched.tables = true;
        }
        Ok(touched)
    }

    /// How many tables a change of a span needs, all of which is mapped.
    fn count_split(&self, level: u8, table: u64, first: u64, last: u64) -> Result<usize, TableError> {
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
                    if is_part && !self.format.exchanges() {
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
                    let entry = access.map_or(0, |access| self.format.leaf(level, Leaf { access, ..leaf }));
                    (0..1 << (leaf.shift - shift_of(level)))
                        .for_each(|n| self.memory.write(table, index + n, entry));
                    to = at | mask(leaf.shift);
                }
                Entry::Leaf(leaf) => {
                    // The table says the same but for the part that changes, before it takes the page's place.
                    let Some(child) = self.memory.take() else { return };
                    self.fill(level - 1, child, leaf);
                    self.change_in(level - 1, child, at, to, access, touched);
                    let pointer = self.format.pointer(level, child);
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
                        if access.is_none() && self.is_empty(below, child, at, to) {
                            self.memory.write(table, index, 0);
                            self.discard(below, child);
                            touched.tables = true;
                        }
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
            let entry = self.format.leaf(level, own);
            self.memory.write(table, index + n, entry);
        }
    }

    /// Has a table say what a page of the level above does.
    fn fill(&mut self, level: u8, table: u64, leaf: Leaf) {
        let shift = shift_of(level);
        for n in 0..self.format.entries(level) {
            let own = Leaf { target: leaf.target + (n << shift), shift, access: leaf.access };
            let entry = self.format.leaf(level, own);
            self.memory.write(table, n, entry);
        }
    }

    /// Whether a table holds nothing; a span of it, which was looked at last, does not.
    fn is_empty(&self, level: u8, table: u64, first: u64, last: u64) -> bool {
        let (from, to) = (self.index(level, first), self.index(level, last));
        let absent = |index: u64| {
            self.memory
                .read(table, index)
                .is_some_and(|entry| entry == 0 || self.format.decode(level, entry) == Entry::Absent)
        };
        // What is beside it is the likeliest to be there.
        (0..=from).rev().all(absent) && (to..self.format.entries(level)).all(absent)
    }

    /// Takes the tables out on the way to an address that hold nothing.
    fn prune(&mut self, at: u64) {
        let (mut level, mut table) = (self.format.levels(), self.root);
        // The lowest table that is to stay, and its entry.
        let mut last = None;
        while let Entry::Table { at: child, level: below, .. } = self.had(level, table, self.index(level, at))
        {
            let index = self.index(level, at);
            if last.is_none() || !self.is_alone(level, table, index) {
                last = Some((table, index, below, child));
            }
            (level, table) = (below, child);
        }
        if let Some((table, index, below, child)) = last {
            self.memory.write(table, index, 0);
            self.discard(below, child);
        }
        self.path = [NONE; LEVELS];
    }

    /// Whether an entry is the only one of its table.
    fn is_alone(&self, level: u8, table: u64, index: u64) -> bool {
        (0..self.format.entries(level))
            .filter(|n| *n != index)
            .all(|n| self.had(level, table, n) == Entry::Absent)
    }

    /// Notes that a table is not reached any more, nor what is below it.
    fn discard(&mut self, level: u8, table: u64) {
        if level > 1 {
            for index in 0..self.format.entries(level) {
                if let Entry::Table { at: child, level: below, .. } = self.had(level, table, index) {
                    self.discard(below, child);
                }
            }
        }
        self.stale.push(table);
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
                    && self.format.has_leaves(level)
                    && let Some(leaf) = self.whole(below, child)
                {
                    let entry = self.format.leaf(level, leaf);
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
        let is_whole = (0..self.format.entries(level)).rev().all(says);
        is_whole.then_some(Leaf { target: first.target, shift: shift_of(level + 1), access: first.access })
    }

    fn each_in(
        &self,
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
            match self.entry(level, table, at)?.1 {
                Entry::Table { at: child, level: below, access: also } => {
                    let begin = at & !mask(shift_of(level));
                    let end = to.min(begin | mask(shift_of(below + 1)));
                    if at <= end {
                        self.each_in(below, child, at, end, access.and(also), say)?;
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
