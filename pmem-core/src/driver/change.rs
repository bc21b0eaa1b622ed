//! A change as a driver sees it.

use super::deltas::Delta;
use crate::model::{Edit, State};
use core::fmt;

/// A change that is about to happen. Read the old values from the edits, the new ones from [`Self::after`].
#[derive(Clone, Copy)]
pub struct Change<'c> {
    pub(crate) sequence: u64,
    pub(crate) edits: &'c [Edit],
    pub(crate) after: &'c State,
    pub(crate) deltas: &'c [Delta],
    /// Whether an edit concerns this driver.
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
    /// Returns the sequence number that the change will have if it is committed.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns every edit of the change, whether or not it concerns this driver: one per subject, in the order in
    /// which the subjects were first touched.
    #[must_use]
    pub const fn edits(&self) -> &'c [Edit] {
        self.edits
    }

    /// Returns the edits within the driver's scopes and of the kinds it is interested in.
    pub fn own_edits(&self) -> impl Iterator<Item = &'c Edit> {
        self.edits.iter().filter(|edit| (self.own)(edit))
    }

    /// Returns the model as it will be after the change.
    #[must_use]
    pub const fn after(&self) -> &'c State {
        self.after
    }

    /// Returns, for a driver registered on a view, the spans of the view that change in a way that matters to its
    /// [`Interest`](crate::Interest), in order of address; for several views, one view after the other. Adjacent spans
    /// that change alike are joined. Empty for other drivers.
    #[must_use]
    pub const fn deltas(&self) -> &'c [Delta] {
        self.deltas
    }
}
