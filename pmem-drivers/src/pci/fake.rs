//! Simulated configuration space.

use super::port::{Port, Written};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use pmem_core::Fault;
use pmem_pci::Address;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The first 256 bytes of a function, and which of their bits can be written.
#[derive(Clone, Debug)]
pub struct FakeFunction {
    bytes: [u8; 256],
    writable: [u8; 256],
}

impl FakeFunction {
    /// Creates a function with these register contents, in which nothing is writable.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut own = [0; 256];
        own.iter_mut().zip(bytes).for_each(|(own, byte)| *own = *byte);
        Self { bytes: own, writable: [0; 256] }
    }

    /// Makes the given bits of a register writable.
    #[must_use]
    pub fn writable(mut self, offset: u16, width: u8, bits: u32) -> Self {
        let bytes = self.writable.iter_mut().skip(offset.into()).take(width.into());
        bytes.zip(bits.to_le_bytes()).for_each(|(byte, bits)| *byte |= bits);
        self
    }

    fn read(&self, offset: u16, width: u8) -> u32 {
        let bytes = self.bytes.iter().skip(offset.into()).take(width.into());
        bytes.enumerate().fold(0, |value, (i, byte)| value | u32::from(*byte) << (8 * i))
    }

    fn write(&mut self, offset: u16, width: u8, value: u32) {
        let at = usize::from(offset)..usize::from(offset) + usize::from(width);
        for (i, byte) in at.zip(value.to_le_bytes()) {
            if let (Some(own), Some(mask)) = (self.bytes.get_mut(i), self.writable.get(i)) {
                *own = *own & !mask | byte & mask;
            }
        }
    }
}

/// Simulated functions that trace every write, and fail or disappear on demand. Clones refer to the same functions.
#[derive(Clone, Debug, Default)]
pub struct FakeSpace(Arc<Mutex<Space>>);

#[derive(Debug, Default)]
struct Space {
    functions: BTreeMap<Address, FakeFunction>,
    trace: Vec<Written>,
    /// The number of writes before one is ignored.
    sticks_after: Option<usize>,
    /// The number of writes before one fails.
    fails_after: Option<usize>,
    /// The number of writes before a function disappears.
    gone_after: Option<(usize, Address)>,
    writes: usize,
}

impl FakeSpace {
    fn lock(&self) -> MutexGuard<'_, Space> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a function, or replaces it.
    pub fn plug(&self, address: Address, function: FakeFunction) {
        self.lock().functions.insert(address, function);
    }

    /// Removes a function. It reads as all ones from then on.
    pub fn pull(&self, address: Address) {
        self.lock().functions.remove(&address);
    }

    /// Returns the writes since the last call, in order.
    #[must_use]
    pub fn trace(&self) -> Vec<Written> {
        core::mem::take(&mut self.lock().trace)
    }

    /// Changes a register, unknown to the driver. Only writable bits change.
    pub fn meddle(&self, address: Address, offset: u16, width: u8, value: u32) {
        if let Some(function) = self.lock().functions.get_mut(&address) {
            function.write(offset, width, value);
        }
    }

    /// Returns what a register holds.
    #[must_use]
    pub fn holds(&self, address: Address, offset: u16, width: u8) -> u32 {
        self.lock().functions.get(&address).map_or(u32::MAX, |function| function.read(offset, width))
    }

    /// Makes one write fail, after `writes` more that succeed. `None` cancels it.
    pub fn fail_after(&self, writes: Option<usize>) {
        let mut space = self.lock();
        (space.writes, space.fails_after) = (0, writes);
    }

    /// Makes one write be ignored, after `writes` more that are not. `None` cancels it.
    pub fn stick_after(&self, writes: Option<usize>) {
        let mut space = self.lock();
        (space.writes, space.sticks_after) = (0, writes);
    }

    /// Removes a function, after `writes` more writes.
    pub fn pull_after(&self, writes: usize, address: Address) {
        let mut space = self.lock();
        (space.writes, space.gone_after) = (0, Some((writes, address)));
    }
}

impl Port for FakeSpace {
    fn read(&mut self, function: Address, offset: u16, width: u8) -> Result<u32, Fault> {
        let ones = u32::MAX >> (32 - 8 * u32::from(width.clamp(1, 4)));
        Ok(self.lock().functions.get(&function).map_or(ones, |function| function.read(offset, width)))
    }

    fn write(&mut self, function: Address, offset: u16, width: u8, value: u32) -> Result<(), Fault> {
        let mut space = self.lock();
        let count = space.writes;
        space.writes += 1;
        if let Some((_, address)) = space.gone_after.filter(|(after, _)| *after == count) {
            space.functions.remove(&address);
        }
        if space.fails_after == Some(count) {
            return Err(Fault::new("the write failed"));
        }
        space.trace.push(Written { function, offset, width, value });
        let sticks = space.sticks_after == Some(count);
        if let Some(own) = space.functions.get_mut(&function).filter(|_| !sticks) {
            own.write(offset, width, value);
        }
        Ok(())
    }
}
