//! A tree of translation tables.

use super::error::TableError;
use super::format::Format;
use super::memory::{Short, TableMemory};
use alloc::vec::Vec;

/// The size of an array indexed by level, 1 to 6; index 0 is unused.
pub(super) const LEVELS: usize = 7;
/// Marks a level for which no table is remembered.
pub(super) const NONE: u64 = u64::MAX;

/// The page tables of a domain. It also remembers which tables the last change walked, so that neighbouring changes
/// start there. The memory that holds the tables is passed to each call, so several trees can share one.
///
/// # Examples
///
/// Map a DMA buffer, unmap it, and free the tables once the unit has confirmed the invalidation:
///
/// ```
/// use core::sync::atomic::AtomicU64;
/// use pmem_iommu::table::{Access, PageTable, Pool, VtdSecondStage};
///
/// let words: Vec<AtomicU64> = (0..16 * 512).map(|_| AtomicU64::new(0)).collect();
/// let mut pool = Pool::new(words, 0x10_0000);
/// let format = VtdSecondStage::new(3, 39, 1).ok_or("no such format")?;
/// let mut table = PageTable::new(format, &mut pool)?;
///
/// table.on(&mut pool).map(0x1_0000, 0x1_3fff, 0x8765_4000, Access::READ)?;
/// assert_eq!(table.lookup(&pool, 0x1_2000).map(|found| found.leaf.target), Some(0x8765_6000));
///
/// let forget = table.on(&mut pool).unmap(0x1_0000, 0x1_3fff)?;
/// // Send `forget` to the unit, wait until it is done, and then:
/// assert_eq!((forget.first, forget.last), (0x1_0000, 0x1_3fff));
/// table.release(&mut pool);
/// assert!(table.lookup(&pool, 0x1_2000).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PageTable<F> {
    pub(super) format: F,
    pub(super) root: u64,
    /// The tables on the walk to `at`, indexed by level.
    pub(super) path: [u64; LEVELS],
    pub(super) at: u64,
    /// Unlinked tables that hardware may still read.
    pub(super) stale: Vec<u64>,
}

impl<F: Format> PageTable<F> {
    /// Creates an empty tree, with a root table from `memory`.
    ///
    /// # Errors
    /// Returns [`TableError::Short`] if there is no memory for the root table.
    pub fn new<M: TableMemory>(format: F, memory: &mut M) -> Result<Self, TableError> {
        let pages = (format.entries(format.levels()) / 512).max(1);
        let wanted = usize::try_from(pages).unwrap_or(usize::MAX);
        memory.set_aside(wanted).map_err(TableError::Short)?;
        let root = memory.take_first(pages).ok_or(TableError::Short(Short { wanted, left: 0 }))?;
        Ok(Self::adopt(format, root))
    }

    /// Adopts a tree that already exists, with its root table at `root`.
    #[must_use]
    pub const fn adopt(format: F, root: u64) -> Self {
        Self { format, root, path: [NONE; LEVELS], at: 0, stale: Vec::new() }
    }

    /// Returns the address of the root table.
    #[must_use]
    pub const fn root(&self) -> u64 {
        self.root
    }

    /// Returns the format.
    #[must_use]
    pub const fn format(&self) -> &F {
        &self.format
    }

    /// Returns how many unlinked tables wait for [`Self::release`].
    #[must_use]
    pub fn stale(&self) -> usize {
        self.stale.len()
    }

    /// Reserves room to record `tables` more unlinked tables, so that unlinking them does not allocate.
    pub fn make_room(&mut self, tables: usize) {
        self.stale.reserve(tables);
    }

    /// Frees the unlinked tables. Call this only after the hardware has confirmed the
    /// [`Invalidate`](super::Invalidate) of each change.
    pub fn release<M: TableMemory>(&mut self, memory: &mut M) {
        self.stale.drain(..).for_each(|table| memory.give(table));
    }

    /// Frees all tables, including the root. No hardware may read them any more.
    pub fn dissolve<M: TableMemory>(mut self, memory: &mut M) {
        self.release(memory);
        let mut tables = Vec::new();
        self.tables_in(memory, self.format.levels(), self.root, &mut tables);
        let pages = (self.format.entries(self.format.levels()) / 512).max(1);
        tables.extend((0..pages).map(|page| self.root + page * 4096));
        tables.into_iter().for_each(|table| memory.give(table));
    }
}
