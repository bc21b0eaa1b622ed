//! Armv8's stage 2 tables with 4 KiB pages (Arm ARM, DDI 0487, D8.3 "Translation table descriptor formats"), which
//! SMMUs walk.

use super::entry::{Access, Entry, Leaf, shift_of};
use super::format::{Format, frame_mask};

const VALID: u64 = 1;
/// Set in a pointer to a table and in a page of the lowest level; clear in a block.
const TABLE: u64 = 1 << 1;
/// Normal write-back memory, whatever stage 1 says.
const WRITE_BACK: u64 = 0xf << 2;
const READ: u64 = 1 << 6;
const WRITE: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const NEVER_EXECUTED: u64 = 1 << 54;
/// How many root tables can be concatenated, as a power of two (D8.2.1).
const CONCATENATED: u32 = 4;

/// The stage 2 tables of Armv8, for input addresses of 25 to 48 bits. Levels count from the bottom: Arm's level 3
/// is level 1 here.
///
/// # Examples
///
/// Without `SMMU_IDR3.BBML` a large page cannot be split while devices use it, so you must unmap all of it:
///
/// ```
/// use core::sync::atomic::AtomicU64;
/// use pmem_iommu::table::{Access, ArmStage2, PageTable, Pool, TableError};
///
/// let words: Vec<AtomicU64> = (0..8 * 512).map(|_| AtomicU64::new(0)).collect();
/// let mut pool = Pool::new(words, 0x10_0000);
/// let format = ArmStage2::new(39, 40, false).ok_or("no such width")?;
/// let mut table = PageTable::new(format, &mut pool)?;
/// table.on(&mut pool).map(0x4000_0000, 0x401f_ffff, 0x8000_0000, Access::BOTH)?;
/// let part = table.on(&mut pool).unmap(0x4000_0000, 0x4000_0fff);
/// assert_eq!(part, Err(TableError::Whole { at: 0x4000_0000, shift: 21 }));
/// table.on(&mut pool).unmap(0x4000_0000, 0x401f_ffff)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArmStage2 {
    width: u32,
    levels: u8,
    output_width: u32,
    exchanges: bool,
}

impl ArmStage2 {
    /// Creates the format for input addresses of `width` bits and output addresses of `output_width` bits.
    /// `exchanges` tells whether the SMMU lets you replace a block with an equivalent table, or back, while devices
    /// use it (`SMMU_IDR3.BBML` is not 0). Returns `None` if `width` is outside 25 to 48 or `output_width` exceeds
    /// 48.
    #[must_use]
    pub const fn new(width: u32, output_width: u32, exchanges: bool) -> Option<Self> {
        if width < 25 || width > 48 || output_width > 48 {
            return None;
        }
        let mut levels = 2;
        while shift_of(levels) + 9 + CONCATENATED < width {
            levels += 1;
        }
        Some(Self { width, levels, output_width, exchanges })
    }
}

impl Format for ArmStage2 {
    fn width(&self) -> u32 {
        self.width
    }

    fn levels(&self) -> u8 {
        self.levels
    }

    fn output_width(&self) -> u32 {
        self.output_width
    }

    #[inline]
    fn has_leaves(&self, level: u8) -> bool {
        level <= 3
    }

    fn exchanges(&self) -> bool {
        self.exchanges
    }

    #[inline]
    fn leaf(&self, level: u8, leaf: Leaf) -> u64 {
        let access = (u64::from(leaf.access.read) * READ) | (u64::from(leaf.access.write) * WRITE);
        let page = if level == 1 { TABLE } else { 0 };
        leaf.target | VALID | page | WRITE_BACK | access | INNER_SHAREABLE | ACCESSED | NEVER_EXECUTED
    }

    #[inline]
    fn pointer(&self, _: u8, table: u64) -> u64 {
        table | VALID | TABLE
    }

    #[inline]
    fn decode(&self, level: u8, entry: u64) -> Entry {
        if entry & VALID == 0 {
            return Entry::Absent;
        }
        let target = entry & frame_mask(48);
        if target & !frame_mask(self.output_width) != 0 {
            return Entry::Malformed;
        }
        let shift = shift_of(level);
        if level > 1 && entry & TABLE != 0 {
            return Entry::Table { at: target, level: level - 1, access: Access::BOTH };
        }
        let is_block = level > 1;
        if is_block == (entry & TABLE != 0) || !self.has_leaves(level) || target & ((1 << shift) - 1) != 0 {
            return Entry::Malformed;
        }
        let access = Access { read: entry & READ != 0, write: entry & WRITE != 0 };
        // With the access flag clear, the first access faults, and nothing here handles that fault.
        if access.is_none() || entry & ACCESSED == 0 {
            return Entry::Absent;
        }
        Entry::Leaf(Leaf { target, shift, access })
    }
}
