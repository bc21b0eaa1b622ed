//! The door to configuration space.

use alloc::vec::Vec;
use pmem_core::Fault;
use pmem_pci::Address;

/// Reads and writes configuration space.
///
/// `width` is 1, 2 or 4 bytes, and `offset` a multiple of it. What nobody answers reads as all ones.
pub trait Port: Send {
    /// Reads a register.
    ///
    /// # Errors
    /// [`Fault`] if there is no way to it; not if nobody answers.
    fn read(&mut self, function: Address, offset: u16, width: u8) -> Result<u32, Fault>;

    /// Writes a register.
    ///
    /// # Errors
    /// [`Fault`] if there is no way to it; not if the function does not take it.
    fn write(&mut self, function: Address, offset: u16, width: u8, value: u32) -> Result<(), Fault>;
}

/// A write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// Whose register.
    pub function: Address,
    /// Where.
    pub offset: u16,
    /// How many bytes.
    pub width: u8,
    /// What.
    pub value: u32,
}

/// A port that writes nothing: it says what would be written, and answers as if it had been. For trying a change without making it.
#[derive(Clone, Debug)]
pub struct Recording<P> {
    port: P,
    written: Vec<Written>,
}

impl<P: Port> Recording<P> {
    /// Over a port that is only read from.
    pub const fn new(port: P) -> Self {
        Self { port, written: Vec::new() }
    }

    /// What would have been written, in order.
    pub fn written(&self) -> &[Written] {
        &self.written
    }
}

impl<P: Port> Port for Recording<P> {
    fn read(&mut self, function: Address, offset: u16, width: u8) -> Result<u32, Fault> {
        let mut value = self.port.read(function, offset, width)?;
        for one in self.written.iter().filter(|one| one.function == function) {
            // Byte by byte: a register is not always read as it was written.
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
