//! The port to the registers.

use pmem_core::Fault;
use pmem_mtrr::Setting;

/// The reason of a fault when the registers no longer hold what a change started from. Nothing was written, so you
/// can plan the change again.
pub const CHANGED: &str = "registers have changed meanwhile";

/// Access to the MTRRs of all processors at once.
pub trait Port: Send {
    /// Copies the boot processor's registers to `into`. All processors should hold these. Does not allocate.
    ///
    /// # Errors
    /// Returns a fault if the registers cannot be read, or if another processor differs in effect
    /// ([`Setting::difference`]) and [`Self::program`] would not fix that.
    fn read(&mut self, into: &mut Setting) -> Result<(), Fault>;

    /// Programs all processors to `to` together, whatever the other processors hold, and reads the registers back.
    /// Does not allocate.
    ///
    /// # Errors
    /// Returns a fault with the reason [`CHANGED`] if the boot processor no longer holds `from` in effect; nothing is
    /// written then. Returns another fault if a processor does not accept a value; the port then restores `from` on all
    /// processors as far as it can.
    fn program(&mut self, from: &Setting, to: &Setting) -> Result<(), Fault>;
}
