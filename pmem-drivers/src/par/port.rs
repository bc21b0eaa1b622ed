//! The door to the registers.

use pmem_core::Fault;

/// Reads and writes the memory-mapped configuration region (MMCR), where a PAR is 4 bytes.
pub trait Port: Send {
    /// Reads a register, by its number.
    ///
    /// # Errors
    /// [`Fault`] if there is no way to it.
    fn read(&mut self, number: usize) -> Result<u32, Fault>;

    /// Writes one.
    ///
    /// # Errors
    /// [`Fault`] if there is no way to it.
    fn write(&mut self, number: usize, bits: u32) -> Result<(), Fault>;
}
