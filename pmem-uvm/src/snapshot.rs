//! What is plugged at one moment, for readers.

use crate::frame::FrameRange;
use crate::map::FrameMap;
use crate::page::{Page, PageInfo};
use crate::segment::{Held, Segment};

/// What was plugged at one moment; pages are as they are when asked. It shares all with what it was taken of, and keeps it
/// for as long as it lives.
#[derive(Clone, Debug)]
pub struct Snapshot {
    map: FrameMap<Held>,
    generation: u64,
}

impl Snapshot {
    pub(crate) fn new(map: &FrameMap<Held>, generation: u64) -> Self {
        Self { map: map.clone(), generation }
    }

    /// Which of what [`Uvm::generation`](crate::Uvm::generation) counts it was taken at.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The segment that a page frame is in, and its place in it.
    #[inline]
    pub fn find(&self, frame: u64) -> Option<(&Segment, u64)> {
        let (_, held) = self.map.get(frame)?;
        Some((&held.segment, frame - held.segment.range().start()))
    }

    /// A page as it is now.
    #[inline]
    pub fn page(&self, frame: u64) -> Option<PageInfo> {
        self.held(frame).map(|(_, page)| page.info())
    }

    /// What is plugged, in order.
    pub fn ranges(&self) -> impl Iterator<Item = FrameRange> + '_ {
        self.map.iter().map(|(range, _)| range)
    }

    /// A page, and what it is part of.
    #[inline]
    pub(crate) fn held(&self, frame: u64) -> Option<(&Held, Page<'_>)> {
        let (_, held) = self.map.get(frame)?;
        held.pages.get(frame - held.first).map(|page| (held, page))
    }
}
