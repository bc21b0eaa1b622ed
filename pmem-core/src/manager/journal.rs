//! The journal of the last changes.

use crate::model::Edit;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The number of changes that the journal keeps by default.
const JOURNAL: usize = 64;

/// A committed change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The change's sequence number. Numbers are consecutive; the first change of an empty model is 1.
    pub sequence: u64,
    /// What changed, as one edit per subject.
    pub edits: Vec<Edit>,
}

/// The last changes, oldest first. Keeps 64 by default;
/// [`Manager::set_journal_limit`](crate::Manager::set_journal_limit) changes that.
///
/// # Examples
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Manager};
///
/// let mut pmem = Manager::new();
/// let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
/// let seen = pmem.state().sequence();
/// pmem.prime(ram, AddrRange::new(0, 0x1000)?, Attrs::ram())?;
/// pmem.prime(ram, AddrRange::new(0x1000, 0x2000)?, Attrs::ram())?;
///
/// // Catch up from the last change you have seen; rebuild from the state if the journal no longer goes back that far.
/// let missed = pmem.journal().since(seen).ok_or("too far behind")?;
/// assert_eq!(missed.map(|change| change.sequence).collect::<Vec<_>>(), [2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Journal {
    kept: VecDeque<Committed>,
    limit: usize,
    /// The number of the last change, whether or not it is kept.
    newest: u64,
}

impl Journal {
    /// Returns the changes that are kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Committed> {
        self.kept.iter()
    }

    /// Returns the changes after number `sequence`, oldest first; `None` if some of them are no longer kept.
    #[must_use]
    pub fn since(&self, sequence: u64) -> Option<impl Iterator<Item = &Committed>> {
        let oldest = self.kept.front().map_or(u64::MAX, |c| c.sequence);
        let complete = sequence >= self.newest || oldest <= sequence.saturating_add(1);
        complete.then(|| self.kept.iter().filter(move |c| c.sequence > sequence))
    }

    /// Returns an empty journal for a state whose last change has number `newest`.
    pub(super) fn new(newest: u64) -> Self {
        Self { kept: VecDeque::with_capacity(JOURNAL + 1), limit: JOURNAL, newest }
    }

    /// Keeps the last `limit` changes from now on.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        while self.kept.len() > limit {
            self.kept.pop_front();
        }
    }

    /// Records a change. Returns the oldest one if it is no longer kept.
    pub(super) fn push(&mut self, committed: Committed) -> Option<Committed> {
        self.newest = committed.sequence;
        self.kept.push_back(committed);
        if self.kept.len() > self.limit { self.kept.pop_front() } else { None }
    }
}
