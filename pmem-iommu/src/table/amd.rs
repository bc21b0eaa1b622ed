//! AMD-Vi's own tables, version 1 (AMD I/O Virtualization Technology Specification 48882, 2.2.3 "I/O Page Tables for Host Translations").

use super::entry::{Access, Entry, Leaf, shift_of};
use super::format::{Format, frame_mask};

const PRESENT: u64 = 1;
const NEXT_LEVEL: u32 = 9;
/// The next level of a leaf whose size its address says.
const SIZED: u64 = 7;
/// Accesses are coherent whatever the device says.
const COHERENT: u64 = 1 << 60;
const READ: u64 = 1 << 61;
const WRITE: u64 = 1 << 62;
/// Set in an entry, they are an error (52 to 58).
const RESERVED: u64 = 0x7f << 52;

/// Tables of 1 to 6 levels, as the device table's entry says (its "mode"), with leaves of every power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AmdV1 {
    levels: u8,
}

impl AmdV1 {
    /// Of so many levels, 1 to 6; `None` of others.
    #[must_use]
    pub const fn new(levels: u8) -> Option<Self> {
        if levels < 1 || levels > 6 { None } else { Some(Self { levels }) }
    }
}

impl Format for AmdV1 {
    fn width(&self) -> u32 {
        (shift_of(self.levels) + 9).min(64)
    }

    fn levels(&self) -> u8 {
        self.levels
    }

    fn output_width(&self) -> u32 {
        52
    }

    #[inline]
    fn has_leaves(&self, level: u8) -> bool {
        // A leaf of level 6 would be of 2^57 addresses, which none that comes out has bits for.
        level < 6
    }

    /// Seven bits tell the sizes between those of two levels.
    fn run_bits(&self) -> u32 {
        8
    }

    #[inline]
    fn leaf(&self, level: u8, leaf: Leaf) -> u64 {
        let access = (u64::from(leaf.access.read) * READ) | (u64::from(leaf.access.write) * WRITE);
        let common = PRESENT | COHERENT | access;
        if leaf.shift == shift_of(level) {
            return leaf.target | common;
        }
        // All bits below the size's highest are set, and that one is not.
        let size = ((1u64 << (leaf.shift - 1)) - 1) & !0xfff;
        leaf.target | size | common | SIZED << NEXT_LEVEL
    }

    #[inline]
    fn pointer(&self, level: u8, table: u64) -> u64 {
        table | PRESENT | READ | WRITE | u64::from(level.saturating_sub(1)) << NEXT_LEVEL
    }

    #[inline]
    fn decode(&self, level: u8, entry: u64) -> Entry {
        if entry & PRESENT == 0 {
            return Entry::Absent;
        }
        if entry & RESERVED != 0 {
            return Entry::Malformed;
        }
        let access = Access { read: entry & READ != 0, write: entry & WRITE != 0 };
        let address = entry & frame_mask(52);
        match entry >> NEXT_LEVEL & 7 {
            0 => {
                let shift = shift_of(level);
                let is_aligned = shift < 52 && address & ((1 << shift) - 1) == 0;
                if !is_aligned {
                    Entry::Malformed
                } else {
                    Entry::Leaf(Leaf { target: address, shift, access })
                }
            }
            SIZED => {
                // The lowest bit that is not set, from 12 up.
                let shift = (!address >> 12).trailing_zeros() + 13;
                let fits = shift > shift_of(level) && shift < shift_of(level) + 9 && shift <= 52;
                let target = address & !((1u64 << shift.min(63)) - 1);
                if fits { Entry::Leaf(Leaf { target, shift, access }) } else { Entry::Malformed }
            }
            next if next < u64::from(level) => Entry::Table { at: address, level: next as u8, access },
            _ => Entry::Malformed,
        }
    }
}
