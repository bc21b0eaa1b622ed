//! Effective attributes by address, before and after a change.

use super::deltas::{Delta, Effective};
use alloc::vec::Vec;
use pmem_space::AddrRange;
use rangemap::RangeInclusiveMap;

/// Effective attributes by address.
pub(super) type Spans = RangeInclusiveMap<u64, Effective>;

/// Returns where `new` differs from `old`, in order of address.
pub(super) fn differences(old: &Spans, new: &Spans) -> Vec<Delta> {
    let mut cuts: Vec<u64> = Vec::new();
    for (range, _) in old.iter().chain(new.iter()) {
        cuts.push(*range.start());
        cuts.extend(range.end().checked_add(1));
    }
    cuts.sort_unstable();
    cuts.dedup();
    let mut out: Vec<Delta> = Vec::new();
    // Between two neighbouring cuts both maps are uniform, so it is enough to compare them at the cut.
    for (i, start) in cuts.iter().enumerate() {
        let last = cuts.get(i + 1).map_or(u64::MAX, |next| next - 1);
        let (was, is) = (old.get(start).copied(), new.get(start).copied());
        if let Ok(range) = AddrRange::inclusive(*start, last)
            && was != is
        {
            out.push(Delta { range, old: was, new: is });
        }
    }
    out
}

/// Joins adjacent deltas that change alike.
pub(super) fn joined(deltas: Vec<Delta>) -> Vec<Delta> {
    let mut out: Vec<Delta> = Vec::new();
    for delta in deltas {
        match out.last_mut() {
            Some(last)
                if last.range.end() == Some(delta.range.start())
                    && (last.old, last.new) == (delta.old, delta.new) =>
            {
                last.range = last.range.hull(delta.range);
            }
            _ => out.push(delta),
        }
    }
    out
}
