//! The door to the registers.

use pmem_core::Fault;
use pmem_mtrr::Setting;

/// All processors' MTRRs at once.
pub trait Port: Send {
    /// Puts what all processors hold into a setting. Takes no memory.
    ///
    /// # Errors
    /// A fault if they cannot be read, or differ.
    fn read(&mut self, into: &mut Setting) -> Result<(), Fault>;

    /// Writes what differs between two settings on all processors together, and reads it back. Takes no memory.
    ///
    /// # Errors
    /// A fault if they do not hold `from` any more, and nothing is written; or if one does not take a value, and all hold
    /// `from` again as far as they can be made to.
    fn program(&mut self, from: &Setting, to: &Setting) -> Result<(), Fault>;
}
