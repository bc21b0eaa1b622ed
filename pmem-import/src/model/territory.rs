//! Tracks which arena owns each CPU address while the model is built.

use pmem_core::{AddrRange, ArenaId};
use rangemap::RangeInclusiveMap;

/// By CPU address: the arena that owns it, and the offset to the arena's own address.
#[derive(Clone, Debug, Default)]
pub(super) struct Territory(RangeInclusiveMap<u64, (ArenaId, u64)>);

/// A part of a range, and its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its CPU addresses.
    pub(super) seen: AddrRange,
    /// The owning arena, and the addresses there; `None` if nothing owns it.
    pub(super) owner: Option<(ArenaId, AddrRange)>,
}

impl Territory {
    /// Gives addresses to an arena, taking them from their previous owner. `local` is the arena's own
    /// address of the first one.
    pub(super) fn give(&mut self, range: AddrRange, arena: ArenaId, local: u64) {
        self.0.insert(range.start()..=range.last(), (arena, local.wrapping_sub(range.start())));
    }

    /// Splits a range by owner, in order of address; parts without an owner are included.
    pub(super) fn parts(&self, range: AddrRange) -> Vec<Part> {
        let whole = range.start()..=range.last();
        let mut out: Vec<Part> = Vec::new();
        let mut push = |start: u64, last: u64, owner: Option<(ArenaId, u64)>| {
            let Ok(seen) = AddrRange::inclusive(start, last) else { return };
            let owner = owner.and_then(|(arena, offset)| Some((arena, seen.shifted(offset)?)));
            out.push(Part { seen, owner });
        };
        let mut at = Some(range.start());
        for (part, owner) in self.0.overlapping(&whole) {
            let (start, last) = (*part.start().max(whole.start()), *part.end().min(whole.end()));
            if let Some(begin) = at.filter(|begin| *begin < start) {
                push(begin, start - 1, None);
            }
            push(start, last, Some(*owner));
            at = last.checked_add(1);
        }
        if let Some(begin) = at.filter(|begin| *begin <= range.last()) {
            push(begin, range.last(), None);
        }
        out
    }
}
