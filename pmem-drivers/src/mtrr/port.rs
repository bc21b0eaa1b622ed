//! The door to the registers.

use pmem_core::Fault;
use pmem_mtrr::Setting;

/// Why a change is not made from what is not there any more: nothing was written, and it can be planned again.
pub const CHANGED: &str = "registers have changed meanwhile";

/// All processors' MTRRs at once.
pub trait Port: Send {
    /// Puts what the boot processor holds into a setting, which is what all are to have. Takes no memory.
    ///
    /// # Errors
    /// A fault if they cannot be read; if others differ in effect ([`Setting::difference`]), and [`Self::program`] would not mend it.
    fn read(&mut self, into: &mut Setting) -> Result<(), Fault>;

    /// Brings all processors to `to` together, whatever the others hold, and reads it back. Takes no memory.
    ///
    /// # Errors
    /// [`CHANGED`] if the boot processor does not hold `from` any more, in effect, and nothing is written; or if one does not take a
    /// value, and all hold `from` again as far as they can be made to.
    fn program(&mut self, from: &Setting, to: &Setting) -> Result<(), Fault>;
}
