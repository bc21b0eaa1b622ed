//! The port to the registers.

use pmem_core::Fault;

/// Reads and writes the PARs in the memory-mapped configuration region (MMCR), 4 bytes each.
pub trait Port: Send {
    /// Reads the register with this number.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the register cannot be accessed.
    fn read(&mut self, number: usize) -> Result<u32, Fault>;

    /// Writes the register with this number.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the register cannot be accessed.
    fn write(&mut self, number: usize, bits: u32) -> Result<(), Fault>;
}
