//! Physical segments: plugged page frames that are consecutive and alike.

use crate::frame::FrameRange;
use crate::page::Pages;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use pmem_space::Attrs;
use slotmap::{Key, KeyData, new_key_type};

new_key_type! {
    /// The id of a segment. The id of a segment that is gone is detected as stale.
    pub struct SegmentId;
}

impl SegmentId {
    /// Returns the id as a number, for hosts that keep numbers. It is never 0.
    #[must_use]
    pub fn to_raw(self) -> u64 {
        self.data().as_ffi()
    }

    /// Makes an id from a number that [`Self::to_raw`] returned.
    #[must_use]
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
    /// The segment's id.
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// The page frames of the segment.
    pub fn range(&self) -> FrameRange {
        self.range
    }

    /// The page frames that were available when the segment was plugged; `None` if there were none.
    pub fn avail(&self) -> Option<FrameRange> {
        self.avail
    }

    /// The free list. Slower memory is on a higher list.
    pub fn free_list(&self) -> u8 {
        self.free_list
    }

    /// The NUMA node.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// The attributes of the memory.
    pub fn attrs(&self) -> Attrs {
        self.attrs
    }

    /// The host's hint where to start a search, in pages from the segment's start.
    pub fn start_hint(&self) -> u32 {
        self.start_hint.load(Ordering::Relaxed)
    }

    /// Sets [`Self::start_hint`].
    pub fn set_start_hint(&self, hint: u32) {
        self.start_hint.store(hint, Ordering::Relaxed);
    }

    /// A word that the host keeps with the segment (`pmap_physseg`). The manager does not interpret it, but only
    /// segments with equal words merge.
    pub fn host(&self) -> u64 {
        self.host.load(Ordering::Relaxed)
    }

    /// Sets [`Self::host`].
    pub fn set_host(&self, word: u64) {
        self.host.store(word, Ordering::Relaxed);
    }

    /// Whether two segments may merge: they differ in nothing but their page frames and the hint.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.free_list, self.node, self.attrs, self.host())
            == (other.free_list, other.node, other.attrs, other.host())
    }

    /// Returns a copy over other page frames. The free list, node, attributes and the host's word stay; the available
    /// part and the hint are cut to the new range.
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

/// An entry in the map of page frames: the pages of one plug and the segment they belong to now.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) pages: Pages,
    /// The page frame of the first page in `pages`.
    pub(crate) first: u64,
    pub(crate) segment: Arc<Segment>,
    /// The bucket that keeps the free ones among these pages.
    pub(crate) bucket: u32,
}

impl Held {
    /// Whether an entry next to this one could be joined with it.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.first, self.bucket) == (other.first, other.bucket)
            && self.pages.is(&other.pages)
            && Arc::ptr_eq(&self.segment, &other.segment)
    }
}

/// The purpose of memory: which pages may be in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Zone {
    /// Any page.
    #[default]
    Normal,
    /// Only pages that have an owner, who can be told when they move, so that the memory can go offline again. The
    /// host must see to it that such a page keeps its owner and is not wired for good.
    /// [`capture`](crate::Uvm::capture) takes the page frames it is given from either zone.
    Movable,
}

/// Whether pages are usable as soon as they are plugged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrival {
    /// The pages are free at once.
    #[default]
    Online,
    /// The pages stay offline until [`online`](crate::Uvm::online).
    Offline,
}

/// Page frames to plug, and their properties.
///
/// # Examples
/// A DIMM on node 1 whose first 16 MiB hold the kernel's image:
///
/// ```
/// use pmem_uvm::{FrameRange, PageState, Plug, Uvm};
///
/// let mut uvm = Uvm::default();
/// let dimm = FrameRange::new(0x10_0000, 0x1_0000)?;
/// let avail = FrameRange::new(0x10_1000, 0xf000)?;
/// let id = uvm.plug(&Plug::new(dimm).avail(Some(avail)).node(1).free_list(1))?;
///
/// let segment = uvm.segment(id)?;
/// assert_eq!((segment.range(), segment.node()), (dimm, 1));
/// assert_eq!(uvm.page(0x10_0000).map(|page| page.state()), Some(PageState::Reserved));
/// assert_eq!(uvm.free_on(1, 1), 0xf000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// Plugs all of `range` as a segment of its own: available, online, plain RAM, on free list 0 of node 0.
    #[must_use]
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

    /// Makes only these page frames available and reserves the others; `None` reserves them all.
    #[must_use]
    pub fn avail(self, avail: Option<FrameRange>) -> Self {
        Self { avail, ..self }
    }

    /// Sets the free list. Give slower memory a higher list: lists are searched from 0 up.
    #[must_use]
    pub fn free_list(self, free_list: u8) -> Self {
        Self { free_list, ..self }
    }

    /// Sets the NUMA node.
    #[must_use]
    pub fn node(self, node: u32) -> Self {
        Self { node, ..self }
    }

    /// Sets the attributes of the memory.
    #[must_use]
    pub fn attrs(self, attrs: Attrs) -> Self {
        Self { attrs, ..self }
    }

    /// Leaves the pages offline until [`online`](crate::Uvm::online).
    #[must_use]
    pub fn offline(self) -> Self {
        Self { arrival: Arrival::Offline, ..self }
    }

    /// Merges the segment with neighbours that are like it.
    #[must_use]
    pub fn merging(self) -> Self {
        Self { merges: true, ..self }
    }

    /// Declares the pages filled with zeroes.
    #[must_use]
    pub fn zeroed(self) -> Self {
        Self { zeroed: true, ..self }
    }
}
