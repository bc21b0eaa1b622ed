//! A view of the plugged memory at one moment, for readers.

use crate::frame::FrameRange;
use crate::map::FrameMap;
use crate::page::{Page, PageInfo};
use crate::segment::{Held, Segment};

/// The segments that were plugged at one moment. The map does not change any more; the state of each page is read
/// live.
///
/// Taking a snapshot copies nothing. It shares its memory with the [`Uvm`](crate::Uvm) and keeps it alive.
///
/// # Examples
/// ```
/// use pmem_uvm::{FrameRange, Plug, Uvm};
///
/// let mut uvm = Uvm::default();
/// let dimm = FrameRange::new(0x1000, 0x100)?;
/// uvm.plug(&Plug::new(dimm))?;
/// let before = uvm.snapshot();
/// uvm.unplug(dimm)?;
///
/// assert!(uvm.find(0x1080).is_none());
/// let (segment, index) = before.find(0x1080).ok_or("not plugged")?;
/// assert_eq!((segment.range(), index), (dimm, 0x80));
/// assert_ne!(before.generation(), uvm.generation());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    map: FrameMap<Held>,
    generation: u64,
}

impl Snapshot {
    pub(crate) fn new(map: &FrameMap<Held>, generation: u64) -> Self {
        Self { map: map.clone(), generation }
    }

    /// The [`Uvm::generation`](crate::Uvm::generation) at which the snapshot was taken.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the segment of a page frame and the page frame's index in it; `None` if it was not plugged.
    #[inline]
    #[must_use]
    pub fn find(&self, frame: u64) -> Option<(&Segment, u64)> {
        let (_, held) = self.map.get(frame)?;
        Some((&held.segment, frame - held.segment.range().start()))
    }

    /// Returns a page as it is now; `None` if it was not plugged.
    #[inline]
    #[must_use]
    pub fn page(&self, frame: u64) -> Option<PageInfo> {
        self.held(frame).map(|(_, page)| page.info())
    }

    /// The plugged ranges, in ascending order. One segment may consist of several.
    pub fn ranges(&self) -> impl Iterator<Item = FrameRange> + '_ {
        self.map.iter().map(|(range, _)| range)
    }

    /// Returns a page and the map entry it belongs to.
    #[inline]
    pub(crate) fn held(&self, frame: u64) -> Option<(&Held, Page<'_>)> {
        let (_, held) = self.map.get(frame)?;
        held.pages.get(frame - held.first).map(|page| (held, page))
    }
}
