//! A change as a driver sees it.

use super::deltas::Delta;
use crate::model::{Edit, State};
use core::fmt;

/// What is about to change: what was is read from the edits, what will be from `after`.
#[derive(Clone, Copy)]
pub struct Change<'c> {
    pub(crate) sequence: u64,
    pub(crate) edits: &'c [Edit],
    pub(crate) after: &'c State,
    pub(crate) deltas: &'c [Delta],
    /// Which edits concern the driver.
    pub(crate) own: &'c dyn Fn(&Edit) -> bool,
}

impl fmt::Debug for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, edits, deltas, .. } = self;
        f.debug_struct("Change")
            .field("sequence", sequence)
            .field("edits", edits)
            .field("deltas", deltas)
            .finish_non_exhaustive()
    }
}

impl<'c> Change<'c> {
    /// The number that the change will have.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What changes, everybody's: one edit per subject, in the order in which subjects were first touched.
    pub const fn edits(&self) -> &'c [Edit] {
        self.edits
    }

    /// Those of the edits that are in the driver's scope and of the kinds that it cares for.
    pub fn own_edits(&self) -> impl Iterator<Item = &'c Edit> {
        self.edits.iter().filter(|edit| (self.own)(edit))
    }

    /// The model as it will be.
    pub const fn after(&self) -> &'c State {
        self.after
    }

    /// For a driver registered on a view: the spans of it whose effective attributes or places change, in order of address,
    /// neighbours that change alike joined.
    pub const fn deltas(&self) -> &'c [Delta] {
        self.deltas
    }
}
