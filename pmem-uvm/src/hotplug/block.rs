//! Memory blocks.

use crate::segment::Zone;
use core::fmt;

/// The state of a block.
///
/// `Offline` → `Online` → `GoingOffline` → `Offline`, or back to `Online` if going offline fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockState {
    /// The block's pages are there but not in use.
    Offline,
    /// The block's pages are in use, in this zone.
    Online(Zone),
    /// The block's pages are being moved away.
    GoingOffline(Zone),
}

impl fmt::Display for BlockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offline => "offline",
            Self::Online(Zone::Normal) => "online",
            Self::Online(Zone::Movable) => "online movable",
            Self::GoingOffline(_) => "going-offline",
        })
    }
}

/// A memory block: the unit in which memory is added, onlined, offlined and removed
/// (`/sys/devices/system/memory/memoryN`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The NUMA node.
    pub node: u32,
    /// The state.
    pub state: BlockState,
}
