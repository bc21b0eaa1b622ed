//! Errors of page and segment operations.

use crate::frame::{FrameRange, FrameRangeError};
use crate::page::PageInfo;
use crate::segment::SegmentId;
use core::fmt;

/// Why a page or segment operation failed. Nothing has changed then, except where the operation says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UvmError {
    /// The numbers do not make a range of page frames.
    Range(FrameRangeError),
    /// A setting is out of bounds, or is not a power of two where it must be one.
    Setting {
        /// The setting: the page size, the number of colours, and so on.
        what: &'static str,
        /// The rejected value.
        value: u64,
    },
    /// The free list does not exist.
    FreeList {
        /// The free list that was asked for.
        asked: u8,
        /// The number of free lists; they are numbered from 0.
        lists: u8,
    },
    /// The available part of a plug is not entirely inside its range.
    Avail {
        /// The page frames to plug.
        range: FrameRange,
        /// The page frames that were to be available.
        avail: FrameRange,
    },
    /// A segment overlaps the page frames to plug.
    Overlap {
        /// The page frames to plug.
        range: FrameRange,
        /// The segment that is in the way.
        segment: SegmentId,
        /// The page frames of that segment.
        at: FrameRange,
    },
    /// Nothing is plugged at these page frames.
    NotPlugged(FrameRange),
    /// The segment does not exist, or no longer does.
    NoSegment(SegmentId),
    /// There is no memory to keep the pages in, the host's array for them is too short, or their addresses end past
    /// 2^64.
    Storage {
        /// The page frames to plug.
        range: FrameRange,
    },
    /// A page is not in the state that the operation needs.
    Page {
        /// The page frame.
        frame: u64,
        /// The page as it was found.
        info: PageInfo,
        /// The state that was expected, as a phrase for messages.
        wanted: &'static str,
    },
    /// The page frames do not all lie in one run of the list.
    NotInList(FrameRange),
    /// A page could not be moved out of the way.
    Unmovable {
        /// The page frame.
        frame: u64,
        /// The page as it was found.
        info: PageInfo,
    },
    /// There are too few free pages, or those that are left are kept back.
    NoPages {
        /// The number of pages asked for.
        asked: u64,
        /// The number of free pages that this kind of request may use. It leaves out movable-only memory if the
        /// request is not for movable pages.
        free: u64,
        /// The number of free pages that are kept back: a page request must leave them free; a list request is refused
        /// once no others are left.
        reserve: u64,
    },
    /// A zeroed page was asked for, but none is known to be zeroed and the [`Host`](crate::Host) does not fill one.
    NotZeroed {
        /// The page frame that would have been handed out.
        frame: u64,
    },
    /// There are enough free pages, but not in runs that meet the request.
    NoFit {
        /// The number of pages asked for.
        asked: u64,
        /// The number of free pages: all that a list may use or, for a claim, those of the last area that was tried.
        free: u64,
        /// The length in pages of the longest run found there. For a list it is the longest that also keeps the
        /// alignment and the boundary.
        longest: u64,
    },
    /// A length or a number of runs is zero, an alignment or a boundary is not a power of two, or the boundary would
    /// split the request into more runs than it allows.
    Constraint {
        /// The constraint: the length, the alignment, the boundary, or the number of runs.
        what: &'static str,
        /// Its value, in pages; a count for the number of runs.
        value: u64,
    },
    /// The window holds no page frame of any segment or, for a claim, of any area.
    Nowhere(FrameRange),
    /// Part of the range belongs to an area that is set aside and lent.
    Lent {
        /// The page frames to take.
        range: FrameRange,
        /// The area that they meet.
        area: FrameRange,
    },
    /// No area that was set aside has exactly this range.
    NoArea(FrameRange),
    /// The wait for pages timed out.
    TimedOut,
    /// The wait for pages was cancelled.
    Cancelled,
    /// The call came from within a callback, or from a thread that keeps memory as it is, and would wait for itself.
    InCallback,
    /// Somebody relies on memory staying plugged and online, so nothing can be plugged, unplugged, onlined or
    /// offlined here.
    Kept,
    /// A wire or loan count would leave its bounds.
    Count {
        /// The page frame.
        frame: u64,
        /// The count: the wire count or the loan count.
        what: &'static str,
    },
}

impl From<FrameRangeError> for UvmError {
    fn from(error: FrameRangeError) -> Self {
        Self::Range(error)
    }
}

impl fmt::Display for UvmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(error) => error.fmt(f),
            Self::Setting { what, value } => write!(f, "unsupported {what}: {value}"),
            Self::FreeList { asked, lists } => {
                write!(f, "free list {asked} does not exist: there are {lists} lists, numbered from 0")
            }
            Self::Avail { range, avail } => {
                write!(
                    f,
                    "the available page frames {avail} are not all inside the plugged page frames {range}"
                )
            }
            Self::Overlap { range, segment, at } => {
                write!(f, "page frames {range} overlap {segment} at {at}")
            }
            Self::NotPlugged(range) => write!(f, "no memory is plugged at page frames {range}"),
            Self::NotInList(range) => write!(f, "page frames {range} do not lie in one run of the list"),
            Self::NoSegment(segment) => write!(f, "{segment} does not exist any more"),
            Self::Storage { range } => write!(f, "no memory for the pages of {range}"),
            Self::Page { frame, info, wanted } => {
                write!(f, "page {frame:#x} is {}{}, but must be {wanted}", info.state, Counts(info))
            }
            Self::Unmovable { frame, info } => {
                write!(f, "page {frame:#x} cannot be moved: it is {}{}", info.state, Counts(info))
            }
            Self::NoPages { asked, free, reserve } => {
                write!(f, "not enough free pages: {asked} requested, {free} free, {reserve} reserved")
            }
            Self::NotZeroed { frame } => {
                write!(f, "no zeroed page is free, and the host does not zero page {frame:#x}")
            }
            Self::NoFit { asked, free, longest } => {
                write!(
                    f,
                    "no fit for {asked} pages: {free} are free, but the longest suitable run has {longest}"
                )
            }
            Self::Constraint { what, value } => write!(f, "unsupported {what}: {value:#x}"),
            Self::Nowhere(range) => write!(f, "no memory in page frames {range}"),
            Self::Lent { range, area } => {
                write!(f, "page frames {range} overlap the lent area {area}: take the area back first")
            }
            Self::NoArea(range) => write!(f, "{range} is not an area that was set aside"),
            Self::TimedOut => f.write_str("timed out waiting for pages"),
            Self::Cancelled => f.write_str("cancelled while waiting for pages"),
            Self::InCallback => {
                f.write_str("not allowed in a callback, nor while this thread holds the online-memory lock")
            }
            Self::Kept => f.write_str(
                "memory cannot be plugged, unplugged, onlined or offlined here: use the hot-plug interface",
            ),
            Self::Count { frame, what } => write!(f, "page {frame:#x}: the {what} would leave its bounds"),
        }
    }
}

impl core::error::Error for UvmError {}

/// The parts of a page's state that keep it from being freed or moved, as text.
struct Counts<'i>(&'i PageInfo);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.listed {
            f.write_str(", in a list")?;
        }
        if self.0.wired > 0 {
            write!(f, " (wired {})", self.0.wired)?;
        }
        if self.0.loans > 0 {
            write!(f, " (lent {})", self.0.loans)?;
        }
        Ok(())
    }
}
