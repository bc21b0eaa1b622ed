//! VT-d's second-stage tables (Intel VT-d Architecture 4.1, 9.8 "Second-Stage Paging Entries").

use super::entry::{Access, Entry, Leaf, shift_of};
use super::format::{Format, frame_mask};

const READ: u64 = 1;
const WRITE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;

/// The page tables that VT-d walks for requests without PASID: 3, 4 or 5 levels for addresses of 39, 48 or 57 bits.
///
/// # Examples
///
/// Choose the format from a unit's capability register:
///
/// ```
/// use pmem_iommu::table::{Format, VtdSecondStage};
/// use pmem_iommu::vtd::Capability;
///
/// let cap = Capability(0x00d2_008c_4066_0462);
/// let levels = (3..=5).find(|levels| cap.walks(*levels)).ok_or("no page tables")?;
/// // The DMAR table gives the host address width, 39 bits here.
/// let format = VtdSecondStage::new(levels, 39, cap.large_pages()).ok_or("no such format")?;
/// assert_eq!((format.levels(), format.width()), (4, 48));
/// assert!(format.has_leaves(3)); // pages of 1 GiB
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VtdSecondStage {
    levels: u8,
    output_width: u32,
    large: u8,
}

impl VtdSecondStage {
    /// Creates the format with `levels` levels, 3 to 5. `output_width` is the host address width of the DMAR table
    /// in bits, at most 52. `large` is CAP's "second-stage large page support": bit 0 for 2 MiB pages, bit 1 for 1
    /// GiB pages. Returns `None` if a value is out of range.
    #[must_use]
    pub const fn new(levels: u8, output_width: u32, large: u8) -> Option<Self> {
        if levels < 3 || levels > 5 || output_width > 52 {
            None
        } else {
            Some(Self { levels, output_width, large })
        }
    }
}

impl Format for VtdSecondStage {
    fn width(&self) -> u32 {
        shift_of(self.levels) + 9
    }

    fn levels(&self) -> u8 {
        self.levels
    }

    fn output_width(&self) -> u32 {
        self.output_width
    }

    #[inline]
    fn has_leaves(&self, level: u8) -> bool {
        match level {
            1 => true,
            2 => self.large & 1 != 0,
            3 => self.large & 2 != 0,
            _ => false,
        }
    }

    #[inline]
    fn leaf(&self, level: u8, leaf: Leaf) -> u64 {
        let access = (u64::from(leaf.access.read) * READ) | (u64::from(leaf.access.write) * WRITE);
        leaf.target | access | if level > 1 { LARGE } else { 0 }
    }

    #[inline]
    fn pointer(&self, _: u8, table: u64) -> u64 {
        table | READ | WRITE
    }

    #[inline]
    fn decode(&self, level: u8, entry: u64) -> Entry {
        let access = Access { read: entry & READ != 0, write: entry & WRITE != 0 };
        if access.is_none() {
            return Entry::Absent;
        }
        let target = entry & frame_mask(52);
        if target & !frame_mask(self.output_width) != 0 {
            return Entry::Malformed;
        }
        // In the lowest level the unit ignores bit 7.
        if level > 1 && entry & LARGE == 0 {
            return Entry::Table { at: target, level: level - 1, access };
        }
        let shift = shift_of(level);
        if !self.has_leaves(level) || target & ((1 << shift) - 1) != 0 {
            return Entry::Malformed;
        }
        Entry::Leaf(Leaf { target, shift, access })
    }
}
