//! What becomes of blocks as they are added.

use super::HotplugError;
use crate::segment::Zone;

/// Whether blocks come online as they are added, and for what (Linux's `auto_online_blocks`, `online_policy` and `auto_movable_ratio`;
/// Documentation/admin-guide/mm/memory-hotplug.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoOnline {
    /// They wait for [`Hotplug::online`](super::Hotplug::online).
    #[default]
    Never,
    /// They come online.
    As(Zone),
    /// They come online, only for movable pages as long as the memory that is so, these blocks included, is at most this many percent of what is for
    /// anything: on their node, and on all together. Linux's default is 301.
    Ratio(u32),
}

/// What came of blocks that were added, and are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// How many of them are online.
    pub online: u64,
    /// Why the first of the others is not; nothing if none was to be.
    pub refused: Option<HotplugError>,
}
