//! Formats of translation tables: how entries are written and read.

use super::entry::{Access, Entry, INDEX_BITS, Leaf, shift_of};

/// A format of translation tables with 64-bit entries, 512 to a page of 4 KiB. An entry of 0 maps nothing.
pub trait Format {
    /// Returns the width of input addresses in bits. Hardware refuses addresses beyond it.
    fn width(&self) -> u32;

    /// Returns the level of the root table. Level 1 is the lowest.
    fn levels(&self) -> u8;

    /// Returns the width of output addresses in bits.
    fn output_width(&self) -> u32;

    /// Returns whether an entry of `level` can map addresses itself. Level 1 always can.
    fn has_leaves(&self, level: u8) -> bool;

    /// Returns whether entries can encode exactly this access. The default accepts everything except no access.
    fn permits(&self, access: Access) -> bool {
        !access.is_none()
    }

    /// Returns the largest run of adjacent entries that can form one leaf together, as a power of two. 0 means that
    /// every leaf is one entry.
    fn run_bits(&self) -> u32 {
        0
    }

    /// Returns whether a large page can be replaced by equivalent small ones, or the reverse, while devices use it.
    fn exchanges(&self) -> bool {
        true
    }

    /// Encodes an entry of `level` that maps addresses.
    fn leaf(&self, level: u8, leaf: Leaf) -> u64;

    /// Encodes an entry of `level` that points to a table of the next lower level.
    fn pointer(&self, level: u8, table: u64) -> u64;

    /// Decodes an entry of `level`.
    fn decode(&self, level: u8, entry: u64) -> Entry;

    /// Returns how many entries a table of `level` has: 512, except for the root. That has fewer if the width does
    /// not fill it, and more if several root tables are concatenated.
    fn entries(&self, level: u8) -> u64 {
        if level < self.levels() {
            return 1 << INDEX_BITS;
        }
        1 << self.width().saturating_sub(shift_of(level)).min(63)
    }
}

/// Returns a mask of the address bits from 12 to `width`, exclusive.
pub(super) const fn frame_mask(width: u32) -> u64 {
    let all = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
    all & !0xfff
}
