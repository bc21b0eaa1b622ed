//! Errors of memory hot-plug.

use super::block::BlockState;
use super::event::{Event, NotifierKey};
use crate::error::UvmError;
use crate::frame::FrameRange;
use core::fmt;

/// Why memory hot-plug failed. Nothing has changed then, except that pages may have been moved. The variants name the
/// Linux error number they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HotplugError {
    /// The block size is not a power of two, or is more than 2^40 pages (EINVAL).
    BlockSize(u64),
    /// The start or the length is not a multiple of the block size (EINVAL).
    Unaligned {
        /// The range that was asked for.
        range: FrameRange,
        /// The block size in pages.
        block: u64,
    },
    /// There is no block at this range (EINVAL).
    NoBlock(FrameRange),
    /// There is a block at this range already (EEXIST).
    BlockExists(FrameRange),
    /// A block is not in the state that the operation needs (EINVAL; EBUSY for removal).
    State {
        /// The block.
        block: FrameRange,
        /// The state it is in.
        state: BlockState,
        /// The state that was expected, as a phrase for messages.
        wanted: &'static str,
    },
    /// The blocks belong to more than one node or zone (EINVAL).
    Mixed(FrameRange),
    /// A callback refused (its error number; EPERM for [`Answer::Bad`](super::Answer::Bad)).
    Refused {
        /// The callback.
        by: NotifierKey,
        /// The event that it was asked about.
        event: Event,
        /// The error number that it returned.
        errno: u16,
    },
    /// Moving pages was interrupted (EINTR).
    Interrupted,
    /// The pages or segments do not allow it (see [`HotplugError::errno`] for the number).
    Uvm(UvmError),
    /// The callback is registered already (EEXIST).
    Exists(NotifierKey),
    /// No such callback is registered (ENOENT).
    NoNotifier(NotifierKey),
    /// A callback, or a thread that keeps memory as it is, tried to do this (EDEADLK).
    InCallback,
}

impl From<UvmError> for HotplugError {
    fn from(error: UvmError) -> Self {
        Self::Uvm(error)
    }
}

impl HotplugError {
    /// Returns the error number that Linux would return, as a positive number.
    #[must_use]
    pub fn errno(&self) -> u16 {
        match self {
            Self::State { wanted: REMOVABLE, .. } => EBUSY,
            Self::BlockSize(_)
            | Self::Unaligned { .. }
            | Self::NoBlock(_)
            | Self::State { .. }
            | Self::Mixed(_) => EINVAL,
            Self::BlockExists(_) | Self::Exists(_) => EEXIST,
            Self::Refused { errno, .. } => *errno,
            Self::Interrupted => EINTR,
            Self::NoNotifier(_) => ENOENT,
            Self::InCallback => EDEADLK,
            Self::Uvm(UvmError::Overlap { .. }) => EEXIST,
            Self::Uvm(
                UvmError::Page { .. } | UvmError::Unmovable { .. } | UvmError::Kept | UvmError::Lent { .. },
            ) => EBUSY,
            Self::Uvm(UvmError::Storage { .. } | UvmError::NoPages { .. } | UvmError::NoFit { .. }) => ENOMEM,
            Self::Uvm(UvmError::InCallback) => EDEADLK,
            Self::Uvm(_) => EINVAL,
        }
    }
}

const ENOENT: u16 = 2;
const EINTR: u16 = 4;
const ENOMEM: u16 = 12;
const EBUSY: u16 = 16;
const EEXIST: u16 = 17;
const EINVAL: u16 = 22;
const EDEADLK: u16 = 35;
/// The state a block must be in to be removed, as a phrase for messages.
pub(super) const REMOVABLE: &str = "offline to be removed";

impl fmt::Display for HotplugError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockSize(pages) => {
                write!(f, "a block cannot have {pages} pages: use a power of two up to 2^40")
            }
            Self::Unaligned { range, block } => {
                write!(f, "{range} is not aligned to blocks of {block:#x} pages")
            }
            Self::NoBlock(range) => write!(f, "no block at {range}"),
            Self::BlockExists(range) => write!(f, "there is a block at {range}"),
            Self::State { block, state, wanted } => {
                write!(f, "block {block} is {state}, but must be {wanted}")
            }
            Self::Mixed(range) => write!(f, "blocks of more than one node or zone in {range}"),
            Self::Refused { by, event, errno } => write!(f, "{by} refused {event}: error {errno}"),
            Self::Interrupted => f.write_str("interrupted while moving pages"),
            Self::Uvm(error) => error.fmt(f),
            Self::Exists(key) => write!(f, "{key} is registered already"),
            Self::NoNotifier(key) => write!(f, "{key} is not registered"),
            Self::InCallback => {
                f.write_str("not allowed in a callback, nor while this thread holds the online-memory lock")
            }
        }
    }
}

impl core::error::Error for HotplugError {}
