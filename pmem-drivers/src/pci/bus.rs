//! A bus in a model.

use pmem_core::ArenaId;
use pmem_pci::tree::Space;

/// The arenas of one bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bus {
    /// Its memory addresses.
    pub memory: ArenaId,
    /// Its I/O ports.
    pub io: ArenaId,
}

impl Bus {
    /// That of a space.
    #[must_use]
    pub fn of(self, space: Space) -> ArenaId {
        if space == Space::Io { self.io } else { self.memory }
    }
}
