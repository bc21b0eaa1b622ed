//! A static tree of the same keys in Eytzinger order: the lower bound for a look-up. It cannot change.

use super::{Hit, Tag};
use pmem_space::AddrRange;

pub struct Eytzinger {
    /// Indexed from 1; the children of `k` are `2k` and `2k + 1`.
    keys: Vec<u64>,
    what: Vec<(u64, Tag)>,
}

impl Eytzinger {
    /// Builds the tree of ranges, which are in order of address.
    pub fn of(ranges: &[AddrRange]) -> Self {
        let mut tree =
            Self { keys: vec![0; ranges.len() + 1], what: vec![(0, Tag::default()); ranges.len() + 1] };
        tree.place(&mut ranges.iter(), 1);
        tree
    }

    fn place(&mut self, rest: &mut std::slice::Iter<'_, AddrRange>, k: usize) {
        if k < self.keys.len() {
            self.place(rest, 2 * k);
            if let Some(range) = rest.next() {
                self.keys[k] = range.start();
                self.what[k] = (range.last(), Tag::of(range.start()));
            }
            self.place(rest, 2 * k + 1);
        }
    }

    pub fn find(&self, addr: u64) -> Option<Hit> {
        let mut k = 1;
        while k < self.keys.len() {
            k = 2 * k + usize::from(self.keys[k] <= addr);
        }
        // The last turn to the right was at the greatest key that is not above the address.
        k >>= k.trailing_zeros() + 1;
        let (start, (last, tag)) = (*self.keys.get(k)?, *self.what.get(k)?);
        (k > 0 && addr <= last).then_some(Hit { start, last, attrs: tag.attrs, id: tag.id })
    }
}
