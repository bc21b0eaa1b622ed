//! Physical segments: what was plugged, in one piece and alike.

use crate::frame::FrameRange;
use crate::page::Pages;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use pmem_space::Attrs;
use slotmap::{Key, KeyData, new_key_type};

new_key_type! {
    /// Names a segment. One that is gone is never mistaken for another.
    pub struct SegmentId;
}

impl SegmentId {
    /// The id as a number, for hosts that keep numbers; 0 is no id's.
    pub fn to_raw(self) -> u64 {
        self.data().as_ffi()
    }

    /// Back from [`Self::to_raw`].
    pub fn from_raw(bits: u64) -> Self {
        KeyData::from_ffi(bits).into()
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.to_raw();
        write!(f, "segment {}v{}", bits as u32, bits >> 32)
    }
}

/// A physical segment: consecutive page frames of one node, on one free list, with the same attributes.
#[derive(Debug)]
pub struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) range: FrameRange,
    pub(crate) avail: Option<FrameRange>,
    pub(crate) free_list: u8,
    pub(crate) node: u32,
    pub(crate) attrs: Attrs,
    pub(crate) start_hint: AtomicU32,
    pub(crate) host: AtomicU64,
}

impl Segment {
    /// Its name.
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// The page frames that are there.
    pub fn range(&self) -> FrameRange {
        self.range
    }

    /// Those of them that were available when it was plugged.
    pub fn avail(&self) -> Option<FrameRange> {
        self.avail
    }

    /// Its free list: the slower the memory, the higher.
    pub fn free_list(&self) -> u8 {
        self.free_list
    }

    /// Its NUMA node.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// Its attributes.
    pub fn attrs(&self) -> Attrs {
        self.attrs
    }

    /// Where the host thinks a search should start, in pages from the segment's start.
    pub fn start_hint(&self) -> u32 {
        self.start_hint.load(Ordering::Relaxed)
    }

    /// Sets [`Self::start_hint`].
    pub fn set_start_hint(&self, hint: u32) {
        self.start_hint.store(hint, Ordering::Relaxed);
    }

    /// What the host keeps of it (`pmap_physseg`): a word that nothing here reads.
    pub fn host(&self) -> u64 {
        self.host.load(Ordering::Relaxed)
    }

    /// Sets [`Self::host`].
    pub fn set_host(&self, word: u64) {
        self.host.store(word, Ordering::Relaxed);
    }

    /// Whether two segments may become one.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.free_list, self.node, self.attrs, self.host())
            == (other.free_list, other.node, other.attrs, other.host())
    }

    /// The same over other page frames: list, node, attributes and the host's word go on, the available part and the hint
    /// are cut.
    pub(crate) fn over(&self, id: SegmentId, range: FrameRange) -> Self {
        let avail = self.avail.and_then(|avail| avail.intersect(range));
        let moved = range.start().saturating_sub(self.range.start());
        let hint = u64::from(self.start_hint()).saturating_sub(moved).min(range.count() - 1);
        Self {
            id,
            range,
            avail,
            free_list: self.free_list,
            node: self.node,
            attrs: self.attrs,
            start_hint: AtomicU32::new(u32::try_from(hint).unwrap_or(0)),
            host: AtomicU64::new(self.host()),
        }
    }
}

/// What the map of page frames says: the pages of one plug, and the segment that they are part of now.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) pages: Pages,
    /// The page frame of the first page.
    pub(crate) first: u64,
    pub(crate) segment: Arc<Segment>,
    /// Where those of its pages are that are free.
    pub(crate) bucket: u32,
}

impl Held {
    /// Whether pages beside these are part of the same.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.first, self.bucket) == (other.first, other.bucket)
            && self.pages.is(&other.pages)
            && Arc::ptr_eq(&self.segment, &other.segment)
    }
}

/// What memory is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Zone {
    /// Anything.
    #[default]
    Normal,
    /// Only pages that have an owner, who can be told when they move: so that it can go offline again. That a page keeps its owner, and
    /// is not wired for good, is the host's to see to; [`capture`](crate::Uvm::capture) takes given page frames whatever they are for.
    Movable,
}

/// Whether pages come into use at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrival {
    /// They are free.
    #[default]
    Online,
    /// They wait for [`online`](crate::Uvm::online).
    Offline,
}

/// What is plugged.
#[derive(Clone, Copy, Debug)]
pub struct Plug {
    pub(crate) range: FrameRange,
    pub(crate) avail: Option<FrameRange>,
    pub(crate) free_list: u8,
    pub(crate) node: u32,
    pub(crate) attrs: Attrs,
    pub(crate) arrival: Arrival,
    pub(crate) merges: bool,
    pub(crate) zeroed: bool,
}

impl Plug {
    /// All of `range`, available and online, on free list 0 of node 0, as a segment of its own.
    pub fn new(range: FrameRange) -> Self {
        Self {
            range,
            avail: Some(range),
            free_list: 0,
            node: 0,
            attrs: Attrs::ram(),
            arrival: Arrival::Online,
            merges: false,
            zeroed: false,
        }
    }

    /// Only these pages are available; the others are reserved.
    #[must_use]
    pub fn avail(self, avail: Option<FrameRange>) -> Self {
        Self { avail, ..self }
    }

    /// On this free list: the slower the memory, the higher.
    #[must_use]
    pub fn free_list(self, free_list: u8) -> Self {
        Self { free_list, ..self }
    }

    /// On this NUMA node.
    #[must_use]
    pub fn node(self, node: u32) -> Self {
        Self { node, ..self }
    }

    /// With these attributes.
    #[must_use]
    pub fn attrs(self, attrs: Attrs) -> Self {
        Self { attrs, ..self }
    }

    /// The pages wait for [`online`](crate::Uvm::online).
    #[must_use]
    pub fn offline(self) -> Self {
        Self { arrival: Arrival::Offline, ..self }
    }

    /// Becomes one segment with neighbours that are alike.
    #[must_use]
    pub fn merging(self) -> Self {
        Self { merges: true, ..self }
    }

    /// The pages are known to be filled with zeroes.
    #[must_use]
    pub fn zeroed(self) -> Self {
        Self { zeroed: true, ..self }
    }
}
