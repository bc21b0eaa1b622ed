//! The tables of x86-64 processors (Intel SDM 3A, 4.5; AMD APM 2, 5.3), which VT-d's first stage and AMD's guest tables have as well.

use super::entry::{Access, Entry, Leaf, shift_of};
use super::format::{Format, frame_mask};

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;

/// Tables of 4 or 5 levels, of which the lower half of the addresses is used: the upper is that of addresses that are extended by their sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct X86 {
    levels: u8,
    output_width: u32,
    gigabytes: bool,
}

impl X86 {
    /// Of 4 or 5 levels, with the width of physical addresses, and whether pages of 1 GiB are to be had; `None` of other levels.
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

    /// What is present can be read.
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
        // Of a large page bit 12 is PAT's.
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
