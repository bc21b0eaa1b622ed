//! The door to a unit.

use pmem_core::Fault;
use pmem_iommu::table::TableMemory;

/// How wide a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 4 bytes.
    Four,
    /// 8 bytes.
    Eight,
}

/// Reads and writes a unit's registers, and the memory that its tables and queues are in.
pub trait Port: Send {
    /// The memory of tables and queues.
    type Memory: TableMemory;

    /// The memory.
    fn memory(&self) -> &Self::Memory;

    /// The same, to be changed.
    fn memory_mut(&mut self) -> &mut Self::Memory;

    /// Reads a register, at a multiple of its width.
    ///
    /// # Errors
    /// [`Fault`] if there is no way to it.
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Fault>;

    /// Writes a register, after all that was written to memory.
    ///
    /// # Errors
    /// [`Fault`] if there is no way to it.
    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Fault>;

    /// Called between two looks at what the unit is to change, with how many there were: whether to look again.
    fn wait(&mut self, looks: u32) -> bool {
        core::hint::spin_loop();
        looks < 10_000_000
    }

    /// Whether what is written to the memory is written past processors' caches, for units that do not look into them.
    fn writes_through(&self) -> bool {
        false
    }
}
