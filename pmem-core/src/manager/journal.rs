//! The last changes.

use crate::model::Edit;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// How many changes the journal keeps unless told otherwise.
const JOURNAL: usize = 64;

/// A change that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number, from 1; consecutive.
    pub sequence: u64,
    /// What changed: one edit per subject.
    pub edits: Vec<Edit>,
}

/// The last changes, oldest first; bounded.
#[derive(Clone, Debug)]
pub struct Journal {
    kept: VecDeque<Committed>,
    limit: usize,
    /// The number of the last change, kept or not.
    newest: u64,
}

impl Journal {
    /// The changes that are kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Committed> {
        self.kept.iter()
    }

    /// The changes after number `sequence`, oldest first; `None` if some of them are kept no more.
    pub fn since(&self, sequence: u64) -> Option<impl Iterator<Item = &Committed>> {
        let oldest = self.kept.front().map_or(u64::MAX, |c| c.sequence);
        let complete = sequence >= self.newest || oldest <= sequence.saturating_add(1);
        complete.then(|| self.kept.iter().filter(move |c| c.sequence > sequence))
    }

    /// Makes one in which nothing is kept, of a state that so many changes have made.
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

    /// Takes a change down, and gives back what it keeps no more.
    pub(super) fn push(&mut self, committed: Committed) -> Option<Committed> {
        self.newest = committed.sequence;
        self.kept.push_back(committed);
        if self.kept.len() > self.limit { self.kept.pop_front() } else { None }
    }
}
