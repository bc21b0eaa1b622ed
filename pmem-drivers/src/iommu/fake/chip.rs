//! What a fake unit does, of either kind.

use super::super::port::Width;
use alloc::collections::BTreeMap;
use pmem_iommu::RequesterId;

/// The memory that a fake unit sees: pages of 512 words, by where they are.
#[derive(Debug, Default)]
pub struct Pages(pub(super) BTreeMap<u64, [u64; 512]>);

impl Pages {
    /// A word; one where no page is reads as all ones, as a bus does.
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

/// A unit's registers and what it does.
pub trait Chip: Send + 'static {
    /// Reads a register.
    fn read(&mut self, offset: u64, width: Width) -> u64;

    /// Writes one, with all that follows.
    fn write(&mut self, memory: &mut Pages, offset: u64, width: Width, value: u64);

    /// A device's access: where it goes, or nothing if it is refused.
    fn access(&mut self, memory: &mut Pages, id: RequesterId, at: u64, write: bool) -> Option<u64>;

    /// Has it do nothing any more that it is asked to.
    fn stall(&mut self, stalls: bool);

    /// Takes its power and gives it back: registers and what it remembers are gone.
    fn reset(&mut self);
}
