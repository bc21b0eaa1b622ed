//! Why memory did not come or go.

use super::block::BlockState;
use super::event::{Event, NotifierKey};
use crate::error::UvmError;
use crate::frame::FrameRange;
use core::fmt;

/// Why memory did not come or go; nothing has changed then, but for pages that were moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HotplugError {
    /// The size of a block is no power of two.
    BlockSize(u64),
    /// Start or length is no multiple of the size of a block (EINVAL).
    Unaligned {
        /// What was asked for.
        range: FrameRange,
        /// The size of a block in pages.
        block: u64,
    },
    /// No block is there (EINVAL).
    NoBlock(FrameRange),
    /// A block is there (EEXIST).
    BlockExists(FrameRange),
    /// A block is not as it would have to be (EINVAL; EBUSY for removal).
    State {
        /// Which.
        block: FrameRange,
        /// How it is.
        state: BlockState,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// Blocks of more than one node, or zone (EINVAL).
    Mixed(FrameRange),
    /// A callback refused (its error number; EPERM for BAD).
    Refused {
        /// Who.
        by: NotifierKey,
        /// What it was asked.
        event: Event,
        /// With which error number.
        errno: u16,
    },
    /// Moving pages was called off (EINTR).
    Interrupted,
    /// The pages are not as they would have to be (EBUSY, EINVAL).
    Uvm(UvmError),
    /// The callback is registered already (EEXIST).
    Exists(NotifierKey),
    /// No such callback (ENOENT).
    NoNotifier(NotifierKey),
    /// Neither a callback may do this, nor who keeps memory as it is (EDEADLK).
    InCallback,
}

impl From<UvmError> for HotplugError {
    fn from(error: UvmError) -> Self {
        Self::Uvm(error)
    }
}

impl HotplugError {
    /// The number that Linux would return.
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
/// What a block has to be to be removed.
pub(super) const REMOVABLE: &str = "offline, to be removed";

impl fmt::Display for HotplugError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockSize(pages) => write!(f, "blocks cannot have {pages} pages"),
            Self::Unaligned { range, block } => {
                write!(f, "{range} is not made of blocks of {block:#x} pages")
            }
            Self::NoBlock(range) => write!(f, "no block at {range}"),
            Self::BlockExists(range) => write!(f, "there is a block at {range}"),
            Self::State { block, state, wanted } => write!(f, "block {block} is {state}, not {wanted}"),
            Self::Mixed(range) => write!(f, "blocks of more than one node or zone in {range}"),
            Self::Refused { by, event, errno } => write!(f, "{by} refused {event}: error {errno}"),
            Self::Interrupted => f.write_str("called off while pages were moved"),
            Self::Uvm(error) => error.fmt(f),
            Self::Exists(key) => write!(f, "{key} is registered already"),
            Self::NoNotifier(key) => write!(f, "{key} is not registered"),
            Self::InCallback => {
                f.write_str("not from within a callback, nor while this thread keeps memory as it is")
            }
        }
    }
}

impl core::error::Error for HotplugError {}
