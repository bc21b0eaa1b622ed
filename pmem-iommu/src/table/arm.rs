//! Armv8's stage 2 with pages of 4 KiB (Arm ARM, DDI 0487, D8.3 "Translation table descriptor formats"), which SMMUs walk.

use super::entry::{Access, Entry, Leaf, shift_of};
use super::format::{Format, frame_mask};

const VALID: u64 = 1;
/// A table, or a page of the lowest level; else a block.
const TABLE: u64 = 1 << 1;
/// Normal memory, written back, whatever stage 1 says.
const WRITE_BACK: u64 = 0xf << 2;
const READ: u64 = 1 << 6;
const WRITE: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const NEVER_EXECUTED: u64 = 1 << 54;
/// Tables that may lie side by side as the first, as a power of two (D8.2.1, "concatenated").
const CONCATENATED: u32 = 4;

/// Tables for addresses of so many bits, 25 to 48. What Arm calls level 3 is level 1 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArmStage2 {
    width: u32,
    levels: u8,
    output_width: u32,
    exchanges: bool,
}

impl ArmStage2 {
    /// For addresses of `width` bits, with the output's. `exchanges` says whether blocks may be exchanged for tables that say the same while
    /// they are used (`SMMU_IDR3.BBML` is not 0). `None` of widths that there are no tables for.
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
        // Without the access flag the first access faults, and no one here hears of it.
        if access.is_none() || entry & ACCESSED == 0 {
            return Entry::Absent;
        }
        Entry::Leaf(Leaf { target, shift, access })
    }
}
