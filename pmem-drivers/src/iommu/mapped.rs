//! A port to a unit whose registers and memory are mapped into this program or kernel.

use super::port::{Port, Width};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use pmem_core::Fault;
use pmem_iommu::table::Pool;

/// A [`Port`] over mapped words: registers as 32-bit words that are mapped uncached, and memory that the unit
/// reads.
///
/// Registers of 8 bytes are accessed as two words, the lower first. That is safe because only the higher word
/// starts an operation, if any does (VT-d 11.4.5, 11.4.8).
pub struct Mapped<R, W> {
    registers: R,
    pool: Pool<W>,
    wait: Box<dyn FnMut(u32) -> bool + Send>,
    is_uncached: bool,
}

impl<R: AsRef<[AtomicU32]> + Send, W: AsRef<[AtomicU64]> + Send> Mapped<R, W> {
    /// Creates the port from registers and memory. It calls `wait` between two polls, as in [`Port::wait`].
    pub fn new(registers: R, pool: Pool<W>, wait: impl FnMut(u32) -> bool + Send + 'static) -> Self {
        Self { registers, pool, wait: Box::new(wait), is_uncached: false }
    }

    /// Declares that the memory is mapped uncached, so that units without coherent walks see what is written there.
    #[must_use]
    pub fn uncached(self) -> Self {
        Self { is_uncached: true, ..self }
    }

    fn word(&self, offset: u64) -> Result<&AtomicU32, Fault> {
        let index = usize::try_from(offset / 4).ok();
        let word = index.and_then(|index| self.registers.as_ref().get(index));
        word.ok_or(Fault::new("the unit has no such register"))
    }
}

impl<R: AsRef<[AtomicU32]> + Send, W: AsRef<[AtomicU64]> + Send> Port for Mapped<R, W> {
    type Memory = Pool<W>;

    fn memory(&self) -> &Self::Memory {
        &self.pool
    }

    fn memory_mut(&mut self) -> &mut Self::Memory {
        &mut self.pool
    }

    fn read(&mut self, offset: u64, width: Width) -> Result<u64, Fault> {
        let low = u64::from(self.word(offset)?.load(Ordering::Acquire));
        Ok(match width {
            Width::Four => low,
            Width::Eight => low | u64::from(self.word(offset + 4)?.load(Ordering::Acquire)) << 32,
        })
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Result<(), Fault> {
        let high = match width {
            Width::Four => None,
            Width::Eight => Some(self.word(offset + 4)?),
        };
        let low = self.word(offset)?;
        // Entries written earlier must be visible before the register changes.
        fence(Ordering::SeqCst);
        low.store(value as u32, Ordering::Release);
        if let Some(high) = high {
            high.store((value >> 32) as u32, Ordering::Release);
        }
        Ok(())
    }

    fn wait(&mut self, looks: u32) -> bool {
        (self.wait)(looks)
    }

    fn writes_through(&self) -> bool {
        self.is_uncached
    }
}
