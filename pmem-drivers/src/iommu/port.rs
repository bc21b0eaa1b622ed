//! The port to a unit.

use pmem_core::Fault;
use pmem_iommu::table::TableMemory;

/// The width of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 4 bytes.
    Four,
    /// 8 bytes.
    Eight,
}

/// Accesses a unit's registers, and the memory that holds its tables and queues.
pub trait Port: Send {
    /// The type of the memory that holds tables and queues.
    type Memory: TableMemory;

    /// Returns the memory of tables and queues.
    fn memory(&self) -> &Self::Memory;

    /// Returns the memory of tables and queues, for writing.
    fn memory_mut(&mut self) -> &mut Self::Memory;

    /// Reads a register at `offset`, a multiple of its width.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the register cannot be accessed.
    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Fault>;

    /// Writes a register at `offset`, ordered after all earlier writes to memory.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the register cannot be accessed.
    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Fault>;

    /// Waits between two polls. `looks` is the number of earlier waits for the same event, from 0. Returns whether to
    /// poll again.
    fn wait(&mut self, looks: u32) -> bool {
        core::hint::spin_loop();
        looks < 10_000_000
    }

    /// Returns whether writes to the memory bypass processor caches, as units without coherent walks require.
    fn writes_through(&self) -> bool {
        false
    }
}
