//! The model and the ids while a change is worked out: where edits are carried out.

use super::arena::Memory;
use super::edit::Edit;
use super::ids::Ids;
use super::record::{Placement, Seat};
use super::state::State;
use super::table::Home;
use crate::id::RegionId;

/// The model and the ids while a change is worked out, and memory for it.
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
                self.lift(*region);
                if let Some(new) = new {
                    self.place(new);
                }
            }
            // The model has it already: it follows from what it has.
            Edit::Effective { .. } => {}
            Edit::Count { region, new, .. } => self.ids.regions.set_count(*region, *new),
        }
    }

    /// Takes a region from where it is, if it is anywhere, and tells what it was there. Its id and count stay.
    pub(crate) fn lift(&mut self, region: RegionId) -> Option<Placement> {
        let home = self.ids.regions.get(region)?.home;
        let old = self.state.lift(region, home, self.memory)?;
        self.ids.regions.set_home(region, Home::Nowhere);
        let target = old.record.alias().map(|alias| alias.target);
        self.ids.set_target(region, target, None);
        Some(old)
    }

    /// Puts a region that is nowhere to its place.
    pub(crate) fn place(&mut self, new: &Placement) {
        self.state.place(new, self.memory);
        let region = new.record.id;
        let target = new.record.alias().map(|alias| alias.target);
        self.ids.set_target(region, None, target);
        let home = match new.seat {
            Seat::At(range) => Home::At(new.arena, range.start()),
            Seat::Parked(_) => Home::Parked(new.arena),
        };
        self.ids.regions.set_home(region, home);
    }
}
