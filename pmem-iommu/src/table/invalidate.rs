//! What is to be forgotten.

use super::span::mask;

/// What hardware must be told to forget, before what was taken out is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Invalidate {
    /// The first address.
    pub first: u64,
    /// The last: large pages that were split are among them whole.
    pub last: u64,
    /// Tables were taken out or exchanged, so that what is kept of tables goes as well as what is kept of pages.
    pub tables: bool,
}

impl Invalidate {
    pub(super) fn add(&mut self, at: u64, shift: u32) {
        let first = at >> shift << shift;
        self.first = self.first.min(first);
        self.last = self.last.max(first | mask(shift));
    }
}
