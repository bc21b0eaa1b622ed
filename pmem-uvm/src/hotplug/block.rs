//! Blocks of memory.

use crate::segment::Zone;
use core::fmt;

/// How a block is.
///
/// `Offline` → `Online` → `GoingOffline` → `Offline`, or back to `Online` if that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockState {
    /// Its pages are there and not in use.
    Offline,
    /// Its pages are in use.
    Online(Zone),
    /// They are being moved away.
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

/// A block of memory, the unit that comes and goes (`/sys/devices/system/memory/memoryN`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its node.
    pub node: u32,
    /// How it is.
    pub state: BlockState,
}
