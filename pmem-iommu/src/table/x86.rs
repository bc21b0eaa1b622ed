//! The page tables of x86-64 processors (Intel SDM 3A, 4.5; AMD APM 2, 5.3), which VT-d's first stage and AMD's
//! guest tables use too.

use super::entry::{Access, Entry, Leaf, shift_of};
use super::format::{Format, frame_mask};

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;

/// The page tables of x86-64: 4 or 5 levels. Only the lower half of the address space is used, since addresses in
/// the upper half are sign-extended.
///
/// # Examples
///
/// Every present page can be read, so write-only mappings are refused:
///
/// ```
/// use core::sync::atomic::AtomicU64;
/// use pmem_iommu::table::{Access, PageTable, Pool, TableError, X86};
///
/// let words: Vec<AtomicU64> = (0..8 * 512).map(|_| AtomicU64::new(0)).collect();
/// let mut pool = Pool::new(words, 0x10_0000);
/// let mut table = PageTable::new(X86::new(4, 46, true).ok_or("no such format")?, &mut pool)?;
/// let refused = table.on(&mut pool).map(0x1000, 0x1fff, 0x8000_0000, Access::WRITE);
/// assert_eq!(refused, Err(TableError::Access));
/// table.on(&mut pool).map(0x1000, 0x1fff, 0x8000_0000, Access::BOTH)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct X86 {
    levels: u8,
    output_width: u32,
    gigabytes: bool,
}

impl X86 {
    /// Creates the format with 4 or 5 levels, physical addresses of `output_width` bits (at most 52), and 1 GiB
    /// pages if `gigabytes`. Returns `None` if a value is out of range.
    #[must_use]
    pub const fn new(levels: u8, output_width: u32, gigabytes: bool) -> Option<Self> {
        if levels < 4 || levels > 5 || output_width > 52 {
            return None;
        }
        Some(Self { levels, output_width, gigabytes })
    }
}

impl Format for X86 {
    fn width(&self) -> u32 {
        shift_of(self.levels) + 8
    }

    fn levels(&self) -> u8 {
        self.levels
    }

    fn output_width(&self) -> u32 {
        self.output_width
    }

    #[inline]
    fn has_leaves(&self, level: u8) -> bool {
        level < 3 || level == 3 && self.gigabytes
    }

    /// A present page can always be read.
    fn permits(&self, access: Access) -> bool {
        access.read
    }

    #[inline]
    fn leaf(&self, level: u8, leaf: Leaf) -> u64 {
        let write = if leaf.access.write { WRITE | DIRTY } else { 0 };
        leaf.target | PRESENT | USER | ACCESSED | write | if level > 1 { LARGE } else { 0 }
    }

    #[inline]
    fn pointer(&self, _: u8, table: u64) -> u64 {
        table | PRESENT | WRITE | USER | ACCESSED
    }

    #[inline]
    fn decode(&self, level: u8, entry: u64) -> Entry {
        if entry & PRESENT == 0 {
            return Entry::Absent;
        }
        let access = Access { read: true, write: entry & WRITE != 0 };
        // In a large page, bit 12 belongs to the PAT index.
        let is_table = level > 1 && entry & LARGE == 0;
        let target = entry & frame_mask(52) & if is_table || level == 1 { u64::MAX } else { !(1 << 12) };
        if target & !frame_mask(self.output_width) != 0 {
            return Entry::Malformed;
        }
        if is_table {
            return Entry::Table { at: target, level: level - 1, access };
        }
        let shift = shift_of(level);
        if !self.has_leaves(level) || target & ((1 << shift) - 1) != 0 {
            return Entry::Malformed;
        }
        Entry::Leaf(Leaf { target, shift, access })
    }
}
