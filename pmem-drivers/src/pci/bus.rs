//! A PCI bus in a model.

use pmem_core::ArenaId;
use pmem_pci::tree::Space;

/// The two arenas of one bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bus {
    /// The arena of memory addresses.
    pub memory: ArenaId,
    /// The arena of I/O ports.
    pub io: ArenaId,
}

impl Bus {
    /// Returns the arena of a space.
    #[must_use]
    pub fn of(self, space: Space) -> ArenaId {
        if space == Space::Io { self.io } else { self.memory }
    }
}
