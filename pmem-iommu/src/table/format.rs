//! What a format of translation tables is: how entries are written, and read.

use super::entry::{Access, Entry, INDEX_BITS, Leaf, shift_of};

/// A format of tables of 64-bit entries, 512 to a page of 4 KiB. An entry that is 0 maps nothing.
pub trait Format {
    /// Bits of the addresses that are translated. What lies above is refused by the hardware.
    fn width(&self) -> u32;

    /// The level of the first table; 1 is the lowest.
    fn levels(&self) -> u8;

    /// Bits of the addresses that come out.
    fn output_width(&self) -> u32;

    /// Whether an entry of a level may map addresses by itself; one of level 1 always does.
    fn has_leaves(&self, level: u8) -> bool;

    /// Whether this can be permitted, and nothing else.
    fn permits(&self, access: Access) -> bool {
        !access.is_none()
    }

    /// Whether as many entries as this power of two, side by side, may all say that they are one leaf of that size.
    fn run_bits(&self) -> u32 {
        0
    }

    /// Whether a large page may be exchanged for small ones that say the same, or back, while devices use it.
    fn exchanges(&self) -> bool {
        true
    }

    /// The entry, of a level, that maps addresses.
    fn leaf(&self, level: u8, leaf: Leaf) -> u64;

    /// The entry, of a level, that leads to a table of the level below.
    fn pointer(&self, level: u8, table: u64) -> u64;

    /// Reads an entry of a level.
    fn decode(&self, level: u8, entry: u64) -> Entry;

    /// How many entries a table of a level has: the first may have fewer than 512, or more, where tables lie side by side.
    fn entries(&self, level: u8) -> u64 {
        if level < self.levels() {
            return 1 << INDEX_BITS;
        }
        1 << self.width().saturating_sub(shift_of(level)).min(63)
    }
}

/// The bits of an address from 12 up to, and without, this one.
pub(super) const fn frame_mask(width: u32) -> u64 {
    let all = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
    all & !0xfff
}
