//! The behaviour of a simulated unit of either kind.

use super::super::port::Width;
use alloc::collections::BTreeMap;
use pmem_iommu::RequesterId;

/// The memory that a simulated unit sees: pages of 512 words, by address.
#[derive(Debug, Default)]
pub struct Pages(pub(super) BTreeMap<u64, [u64; 512]>);

impl Pages {
    /// Returns a word. Outside all pages it reads as all ones, as on a bus.
    pub(super) fn word(&self, at: u64) -> u64 {
        let page = self.0.get(&(at & !0xfff));
        page.and_then(|page| page.get((at & 0xfff) as usize / 8)).copied().unwrap_or(u64::MAX)
    }

    pub(super) fn set_word(&mut self, at: u64, value: u64) {
        let page = self.0.get_mut(&(at & !0xfff));
        if let Some(word) = page.and_then(|page| page.get_mut((at & 0xfff) as usize / 8)) {
            *word = value;
        }
    }
}

/// A unit's registers and behaviour.
pub trait Chip: Send + 'static {
    /// Reads a register.
    fn read(&mut self, offset: u64, width: Width) -> u64;

    /// Writes a register, with all the effects of that.
    fn write(&mut self, memory: &mut Pages, offset: u64, width: Width, value: u64);

    /// Simulates a device's access. Returns where it goes; `None` if it is refused.
    fn access(&mut self, memory: &mut Pages, id: RequesterId, at: u64, write: bool) -> Option<u64>;

    /// Makes the unit ignore commands and invalidations, or carry them out again. Device accesses are not affected.
    fn stall(&mut self, stalls: bool);

    /// Cycles the unit's power: registers and caches are lost.
    fn reset(&mut self);
}
