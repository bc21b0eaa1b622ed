//! Why something was not done.

use crate::frame::{FrameRange, FrameRangeError};
use crate::page::PageInfo;
use crate::segment::SegmentId;
use core::fmt;

/// Why something was not done; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UvmError {
    /// No range of page frames.
    Range(FrameRangeError),
    /// The size of a page, or the number of colours, is no power of two, or out of bounds.
    Setting {
        /// What was to be set.
        what: &'static str,
        /// To what.
        value: u64,
    },
    /// There is no such free list.
    FreeList {
        /// Which was asked for.
        asked: u8,
        /// How many there are.
        lists: u8,
    },
    /// What is to be available is not part of what is plugged.
    Avail {
        /// What is plugged.
        range: FrameRange,
        /// What was to be available.
        avail: FrameRange,
    },
    /// Something is plugged there.
    Overlap {
        /// What was to be plugged.
        range: FrameRange,
        /// What is there.
        segment: SegmentId,
        /// Where.
        at: FrameRange,
    },
    /// Nothing is plugged there.
    NotPlugged(FrameRange),
    /// No such segment, or no longer.
    NoSegment(SegmentId),
    /// The memory for its pages is too small, or there is none.
    Storage {
        /// For what.
        range: FrameRange,
    },
    /// A page is not as it would have to be.
    Page {
        /// Which.
        frame: u64,
        /// How it is.
        info: PageInfo,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// Page frames are not part of one run of a list.
    NotInList(FrameRange),
    /// A page could not be moved out of the way.
    Unmovable {
        /// Which.
        frame: u64,
        /// How it is.
        info: PageInfo,
    },
    /// There are too few free pages, or those that are left are reserved.
    NoPages {
        /// How many were asked for.
        asked: u64,
        /// How many are free.
        free: u64,
        /// How many have to be left.
        reserve: u64,
    },
    /// No free page is known to be filled with zeroes, and nobody fills one.
    NotZeroed {
        /// The page that would have been handed out.
        frame: u64,
    },
    /// There are enough free pages, but none as asked for.
    NoFit {
        /// How many were asked for.
        asked: u64,
        /// How many are free at all.
        free: u64,
        /// The longest run that was found where they may be, and that keeps alignment and boundary.
        longest: u64,
    },
    /// Alignment or boundary is no power of two, or no run of this length keeps the boundary.
    Constraint {
        /// Which.
        what: &'static str,
        /// Its value, in pages.
        value: u64,
    },
    /// No page frame of any segment is where pages may be.
    Nowhere(FrameRange),
    /// Part of it is set aside, and lent until it is claimed.
    Lent {
        /// What was to be taken.
        range: FrameRange,
        /// What is set aside.
        area: FrameRange,
    },
    /// It is not set aside.
    NoArea(FrameRange),
    /// The wait for pages took too long.
    TimedOut,
    /// The wait for pages was called off.
    Cancelled,
    /// Not from within a callback.
    InCallback,
    /// Memory comes and goes only where nobody keeps it as it is.
    Kept,
    /// A count of a page would leave its bounds.
    Count {
        /// Which page.
        frame: u64,
        /// Which count.
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
            Self::Setting { what, value } => write!(f, "{what} cannot be {value}"),
            Self::FreeList { asked, lists } => write!(f, "no free list {asked}: there are {lists}"),
            Self::Avail { range, avail } => write!(f, "available {avail} is not part of {range}"),
            Self::Overlap { range, segment, at } => write!(f, "{range} meets {segment} at {at}"),
            Self::NotPlugged(range) => write!(f, "nothing is plugged at {range}"),
            Self::NotInList(range) => write!(f, "{range} is not in one run of the list"),
            Self::NoSegment(segment) => write!(f, "no {segment}"),
            Self::Storage { range } => write!(f, "no memory for the pages of {range}"),
            Self::Page { frame, info, wanted } => {
                write!(f, "page {frame:#x} is {}{}, not {wanted}", info.state, Counts(info))
            }
            Self::Unmovable { frame, info } => {
                write!(f, "page {frame:#x} cannot be moved: it is {}{}", info.state, Counts(info))
            }
            Self::NoPages { asked, free, reserve } => {
                write!(f, "{asked} pages asked for, {free} free, {reserve} to be kept back")
            }
            Self::NotZeroed { frame } => write!(f, "nobody fills page {frame:#x} with zeroes"),
            Self::NoFit { asked, free, longest } => {
                write!(f, "no fit for {asked} pages: {free} free, {longest} in the longest run that would do")
            }
            Self::Constraint { what, value } => write!(f, "{what} cannot be {value:#x} pages"),
            Self::Nowhere(range) => write!(f, "no segment in {range}"),
            Self::Lent { range, area } => write!(f, "{range} meets {area}, which is set aside and lent"),
            Self::NoArea(range) => write!(f, "{range} is not set aside"),
            Self::TimedOut => f.write_str("timed out waiting for pages"),
            Self::Cancelled => f.write_str("called off while waiting for pages"),
            Self::InCallback => {
                f.write_str("not from within a callback, nor while this thread keeps memory as it is")
            }
            Self::Kept => f.write_str("memory comes and goes only where nobody keeps it as it is"),
            Self::Count { frame, what } => write!(f, "page {frame:#x}: {what} out of bounds"),
        }
    }
}

impl core::error::Error for UvmError {}

/// What keeps a page.
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
