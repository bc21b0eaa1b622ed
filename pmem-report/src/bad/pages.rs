//! A set of page frames.

use std::collections::BTreeSet;

/// A set of page frames, kept as runs (first, last; both inclusive) in order. Runs never overlap or touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    runs: Vec<(u64, u64)>,
}

impl Pages {
    /// Adds the pages that contain a range of byte addresses, both ends inclusive.
    pub(super) fn add(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first >> 12, last >> 12);
        // Absorb every run that the new one overlaps or touches, so that runs stay separate.
        self.runs.retain(|(low, high)| {
            let apart = *high + 1 < first || last + 1 < *low;
            if !apart {
                first = first.min(*low);
                last = last.max(*high);
            }
            apart
        });
        let at = self.runs.partition_point(|(low, _)| *low < first);
        self.runs.insert(at, (first, last));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn runs(&self) -> &[(u64, u64)] {
        &self.runs
    }

    pub(super) fn count(&self) -> u64 {
        self.runs.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub(super) fn contains(&self, page: u64) -> bool {
        self.runs.iter().any(|(first, last)| (*first..=*last).contains(&page))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Splits the pages into naturally aligned blocks of 2^order pages, given as (first page, order).
    pub(super) fn blocks(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.runs.iter().flat_map(|(first, last)| {
            let mut next = *first;
            std::iter::from_fn(move || {
                let left = (last + 1).checked_sub(next).filter(|left| *left > 0)?;
                // A block is limited by the alignment of its start and by the number of pages left.
                let order = next.trailing_zeros().min(left.ilog2());
                let block = (next, order);
                next += 1 << order;
                Some(block)
            })
        })
    }

    /// Returns the narrowest address and mask that cover all pages, and the number of pages covered.
    pub(super) fn pattern(&self) -> Option<(u64, u64, u64)> {
        let first = self.runs.first()?.0;
        // Collect the address bits that are not the same everywhere. Within a run, every bit below the highest
        // differing one takes both values.
        let differ = self.runs.iter().fold(0u64, |differ, (low, high)| {
            let within = low ^ high;
            let below = if within == 0 { 0 } else { u64::MAX >> within.leading_zeros() };
            differ | below | (first ^ low)
        });
        let mask = !(differ << 12) & !0xfff;
        let count = 1u64.checked_shl(differ.count_ones())?;
        Some(((first << 12) & mask, mask, count))
    }
}

/// Formats a size as the kernel's command line takes it.
pub(super) fn amount(bytes: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let fits = units.into_iter().find(|(shift, _)| bytes.trailing_zeros() >= *shift);
    fits.map_or(bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// Lists the first pages of a set by address.
pub(super) fn show(pages: &BTreeSet<u64>) -> String {
    let some: Vec<String> = pages.iter().take(8).map(|page| format!("{:#x}", page << 12)).collect();
    let more = if pages.len() > 8 { format!(" and {} more", pages.len() - 8) } else { String::new() };
    format!("{}{more}", some.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_blocks_and_pattern_are_the_pages(list in prop::collection::vec((0u64..200, 0u64..9), 1..12)) {
            let mut pages = Pages::default();
            let mut model = BTreeSet::new();
            for (first, more) in list {
                pages.add(first << 12, ((first + more) << 12) | 0x123);
                model.extend(first..=first + more);
            }
            prop_assert_eq!(pages.iter().collect::<BTreeSet<u64>>(), model.clone());
            prop_assert!(pages.runs().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            let blocks: Vec<u64> = pages.blocks().flat_map(|(page, order)| page..page + (1 << order)).collect();
            prop_assert_eq!(blocks, model.iter().copied().collect::<Vec<_>>());
            let (address, mask, count) = pages.pattern().unwrap();
            let taken: BTreeSet<u64> = (0..1024).filter(|page| (page << 12) & mask == address & mask).collect();
            prop_assert!(model.is_subset(&taken));
            prop_assert_eq!(taken.len() as u64, count);
        }
    }
}
