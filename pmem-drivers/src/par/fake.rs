//! Simulated registers.

use super::REGISTERS;
use super::port::Port;
use alloc::boxed::Box;
use alloc::sync::Arc;
use pmem_core::Fault;
use std::sync::{Mutex, MutexGuard, PoisonError};

type Watch = Box<dyn FnMut(&[u32; REGISTERS]) + Send>;

/// Sixteen simulated registers, with an optional callback after each write. Clones refer to the same registers.
#[derive(Clone, Default)]
pub struct FakeMmcr(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    bits: [u32; REGISTERS],
    watch: Option<Watch>,
    fails_after: Option<usize>,
    writes: usize,
}

impl FakeMmcr {
    /// Creates registers with these contents.
    #[must_use]
    pub fn new(bits: [u32; REGISTERS]) -> Self {
        Self(Arc::new(Mutex::new(Inner { bits, ..Inner::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the contents of the registers.
    #[must_use]
    pub fn bits(&self) -> [u32; REGISTERS] {
        self.lock().bits
    }

    /// Calls `watch` after each write, with the contents of all registers.
    pub fn watch(&self, watch: impl FnMut(&[u32; REGISTERS]) + Send + 'static) {
        self.lock().watch = Some(Box::new(watch));
    }

    /// Makes one write fail, after `writes` more that succeed. `None` cancels it.
    pub fn fail_after(&self, writes: Option<usize>) {
        let mut inner = self.lock();
        (inner.writes, inner.fails_after) = (0, writes);
    }

    /// Returns the number of writes since the last call of [`Self::fail_after`], or since creation.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.lock().writes
    }
}

impl Port for FakeMmcr {
    fn read(&mut self, number: usize) -> Result<u32, Fault> {
        self.lock().bits.get(number).copied().ok_or(Fault::new("there is no such register"))
    }

    fn write(&mut self, number: usize, bits: u32) -> Result<(), Fault> {
        let mut inner = self.lock();
        let count = inner.writes;
        inner.writes += 1;
        if inner.fails_after == Some(count) {
            return Err(Fault::new("the write failed"));
        }
        let Inner { bits: all, watch, .. } = &mut *inner;
        *all.get_mut(number).ok_or(Fault::new("there is no such register"))? = bits;
        if let Some(watch) = watch {
            watch(all);
        }
        Ok(())
    }
}
