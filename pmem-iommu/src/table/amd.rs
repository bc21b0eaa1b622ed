//! AMD-Vi's host page tables, version 1 (AMD I/O Virtualization Technology Specification 48882, 2.2.3 "I/O Page
//! Tables for Host Translations").

use super::entry::{Access, Entry, Leaf, shift_of};
use super::format::{Format, frame_mask};

const PRESENT: u64 = 1;
const NEXT_LEVEL: u32 = 9;
/// The next-level value of a leaf whose address bits encode its size.
const SIZED: u64 = 7;
/// Makes accesses coherent, whatever the device requests.
const COHERENT: u64 = 1 << 60;
const READ: u64 = 1 << 61;
const WRITE: u64 = 1 << 62;
/// Reserved bits 52 to 58: the unit reports an error if one is set.
const RESERVED: u64 = 0x7f << 52;

/// The page tables of AMD-Vi: 1 to 6 levels (the "mode" of a device table entry), with leaves of every power of
/// two.
///
/// # Examples
///
/// A buffer of 64 KiB needs one leaf, because its entries repeat the same address and size:
///
/// ```
/// use core::sync::atomic::AtomicU64;
/// use pmem_iommu::table::{Access, AmdV1, PageTable, Pool};
///
/// let words: Vec<AtomicU64> = (0..8 * 512).map(|_| AtomicU64::new(0)).collect();
/// let mut pool = Pool::new(words, 0x10_0000);
/// let mut table = PageTable::new(AmdV1::new(4).ok_or("no such mode")?, &mut pool)?;
/// table.on(&mut pool).map(0x2_0000, 0x2_ffff, 0x8000_0000, Access::BOTH)?;
/// assert_eq!(table.lookup(&pool, 0x2_3000).map(|found| found.leaf.shift), Some(16));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AmdV1 {
    levels: u8,
}

impl AmdV1 {
    /// Creates the format with `levels` levels, 1 to 6. Returns `None` for any other number.
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
        // A leaf of level 6 would cover 2^57 bytes, more than an output address has bits for.
        level < 6
    }

    /// One leaf can span up to 2^8 entries: it covers the sizes between two levels.
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
        // The size is encoded in the address: all bits below its highest bit are set, and that bit is clear.
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
                // The lowest clear bit from bit 12 up marks the size.
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
