//! The port to configuration space.

use alloc::vec::Vec;
use pmem_core::Fault;
use pmem_pci::Address;

/// Reads and writes configuration space.
///
/// `width` is 1, 2 or 4 bytes, and `offset` a multiple of it. A function that does not respond reads as all ones.
pub trait Port: Send {
    /// Reads a register.
    ///
    /// # Errors
    /// Returns a [`Fault`] if configuration space cannot be accessed. A function that does not respond is no error.
    fn read(&mut self, function: Address, offset: u16, width: u8) -> Result<u32, Fault>;

    /// Writes a register.
    ///
    /// # Errors
    /// Returns a [`Fault`] if configuration space cannot be accessed. A function that ignores the write is no
    /// error.
    fn write(&mut self, function: Address, offset: u16, width: u8, value: u32) -> Result<(), Fault>;
}

/// A write to configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// The function written to.
    pub function: Address,
    /// The offset of the register in bytes.
    pub offset: u16,
    /// The width of the write in bytes: 1, 2 or 4.
    pub width: u8,
    /// The value written.
    pub value: u32,
}

/// A port for dry runs. It writes nothing, but records each write and answers reads as if the writes had been made.
///
/// # Examples
///
/// ```
/// use pmem_drivers::pci::{FakeFunction, FakeSpace, Port, Recording};
/// use pmem_pci::Address;
///
/// let nic = Address { segment: 0, bus: 0x3b, device: 0, function: 0 };
/// let hardware = FakeSpace::default();
/// hardware.plug(nic, FakeFunction::new(&[0x86, 0x80]).writable(0x10, 4, !0xfff));
/// let mut port = Recording::new(hardware.clone());
/// port.write(nic, 0x10, 4, 0xe000_0000).map_err(|fault| fault.reason)?;
/// assert_eq!(port.read(nic, 0x10, 4).map_err(|fault| fault.reason)?, 0xe000_0000);
/// assert_eq!((port.written().len(), hardware.holds(nic, 0x10, 4)), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recording<P> {
    port: P,
    written: Vec<Written>,
}

impl<P: Port> Recording<P> {
    /// Wraps a port that is only read.
    pub const fn new(port: P) -> Self {
        Self { port, written: Vec::new() }
    }

    /// Returns the recorded writes, in order.
    pub fn written(&self) -> &[Written] {
        &self.written
    }
}

impl<P: Port> Port for Recording<P> {
    fn read(&mut self, function: Address, offset: u16, width: u8) -> Result<u32, Fault> {
        let mut value = self.port.read(function, offset, width)?;
        for one in self.written.iter().filter(|one| one.function == function) {
            // Merge the writes byte by byte: a register may be read with another width than it was written.
            for byte in 0..one.width {
                let at = one.offset + u16::from(byte);
                if let Some(shift) = at.checked_sub(offset).filter(|shift| *shift < u16::from(width)) {
                    let byte = one.value >> (8 * byte) & 0xff;
                    value = value & !(0xff << (8 * shift)) | byte << (8 * shift);
                }
            }
        }
        Ok(value)
    }

    fn write(&mut self, function: Address, offset: u16, width: u8, value: u32) -> Result<(), Fault> {
        self.written.push(Written { function, offset, width, value });
        Ok(())
    }
}
