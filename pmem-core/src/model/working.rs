//! The state and the ids while a change is being planned: where edits take effect.

use super::arena::Memory;
use super::edit::Edit;
use super::ids::Ids;
use super::record::{Location, Placement};
use super::state::State;
use super::table::Home;
use crate::id::RegionId;

/// The state and the ids while a change is being planned, and memory for it.
pub(crate) struct Working<'m> {
    pub(crate) state: &'m mut State,
    pub(crate) ids: &'m mut Ids,
    pub(crate) memory: &'m mut Memory,
}

impl Working<'_> {
    pub(crate) fn apply(&mut self, edit: &Edit) {
        match edit {
            Edit::Arena { arena, new, .. } => self.state.set_arena(*arena, new.clone()),
            Edit::Link { link, new, .. } => self.state.set_link(*link, new.clone()),
            Edit::Span { arena, range, new, .. } => self.state.set_span(*arena, *range, *new),
            Edit::Window { link, way, piece, old, new } => {
                self.state.set_window(*link, *way, *piece, *old, *new);
            }
            Edit::Region { region, new, .. } => {
                let old = self.lift(*region);
                if let Some(new) = new {
                    self.place(new);
                }
                self.moved(*region, old, *new);
            }
            // The state computes effective attributes on demand; there is nothing to store.
            Edit::Effective { .. } => {}
            Edit::Name { region, new, .. } => self.state.set_region_name(*region, new.clone()),
            Edit::Count { region, new, .. } => self.ids.regions.set_count(*region, *new),
        }
    }

    /// Records that a region moved, for handles that look for it where it was made.
    #[cfg(feature = "std")]
    fn moved(&mut self, region: RegionId, old: Option<Placement>, new: Option<Placement>) {
        if let (Some(old), Some(new)) = (old, new) {
            self.state.note_move(region, old.seat, new.seat);
        }
    }

    /// Does nothing: without `std` there are no shared handles.
    #[cfg(not(feature = "std"))]
    const fn moved(&mut self, _: RegionId, _: Option<Placement>, _: Option<Placement>) {}

    /// Frees the id of whatever an edit of a finished change removes.
    #[inline]
    pub(crate) fn retire(&mut self, finished: &Edit) {
        match finished {
            Edit::Region { new: Some(_), .. } => {}
            Edit::Region { region, .. } => {
                self.state.forget(*region);
                self.ids.retire(finished);
            }
            _ => self.ids.retire(finished),
        }
    }

    /// Takes a region out of its arena, and returns where it was. Its id and count remain. `None` if it is in no
    /// arena.
    pub(crate) fn lift(&mut self, region: RegionId) -> Option<Placement> {
        let home = self.ids.regions.get(region)?.home;
        let old = self.state.lift(region, home, self.memory)?;
        self.ids.regions.set_home(region, Home::Nowhere);
        self.ids.forget(&old.record);
        Some(old)
    }

    /// Puts a region that is in no arena in its place.
    pub(crate) fn place(&mut self, new: &Placement) {
        self.state.place(new, self.memory);
        let region = new.record.id;
        self.ids.note(&new.record);
        let home = match new.seat {
            Location::At(range) => Home::At(new.arena, range.start()),
            Location::Parked(_) => Home::Parked(new.arena),
        };
        self.ids.regions.set_home(region, home);
    }
}
