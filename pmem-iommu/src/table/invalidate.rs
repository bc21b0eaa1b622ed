//! The invalidation that a change of tables requires.

use super::span::mask;

/// What the hardware must invalidate after a change, before the removed pages and tables are used for anything
/// else.
///
/// # Examples
///
/// If you unmap 4 KiB of a 2 MiB page, the page is split. All of its 2 MiB must be invalidated, and cached tables too:
///
/// ```
/// use core::sync::atomic::AtomicU64;
/// use pmem_iommu::table::{Access, Invalidate, PageTable, Pool, X86};
///
/// let words: Vec<AtomicU64> = (0..8 * 512).map(|_| AtomicU64::new(0)).collect();
/// let mut pool = Pool::new(words, 0x10_0000);
/// let mut table = PageTable::new(X86::new(4, 46, false).ok_or("no such format")?, &mut pool)?;
/// table.on(&mut pool).map(0x20_0000, 0x3f_ffff, 0x8000_0000, Access::BOTH)?;
/// let forget = table.on(&mut pool).unmap(0x20_3000, 0x20_3fff)?;
/// assert_eq!(forget, Invalidate { first: 0x20_0000, last: 0x3f_ffff, tables: true });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Invalidate {
    /// The first address to invalidate.
    pub first: u64,
    /// The last address to invalidate, inclusive. The span includes all of every large page that was split.
    pub last: u64,
    /// Whether tables were removed or replaced. The unit must then drop cached tables as well as cached pages.
    pub tables: bool,
}

impl Invalidate {
    pub(super) fn add(&mut self, at: u64, shift: u32) {
        let first = at >> shift << shift;
        self.first = self.first.min(first);
        self.last = self.last.max(first | mask(shift));
    }
}
