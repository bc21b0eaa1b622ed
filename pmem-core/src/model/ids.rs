//! The ids in use, and what the writer keeps by id; in no snapshot.

use super::edit::Edit;
use super::names::Names;
use super::record::{Placement, Seat};
use super::state::State;
use super::table::{Home, Table};
use crate::id::{ArenaId, LinkId, RegionId};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The ids in use, and what the writer keeps by id; in no snapshot.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Ids {
    pub(crate) arenas: Names<ArenaId>,
    pub(crate) links: Names<LinkId>,
    pub(crate) regions: Table,
    /// By region that has any: its aliases, each of which holds a reference.
    #[cfg_attr(feature = "serde", serde(skip))]
    aliases: BTreeMap<RegionId, Vec<RegionId>>,
}

impl Ids {
    /// The aliases of a region, in the order of their ids.
    pub(crate) fn aliases(&self, region: RegionId) -> &[RegionId] {
        self.aliases.get(&region).map_or(&[], |aliases| aliases)
    }

    /// The references of a region that is somewhere.
    pub(crate) fn count(&self, region: RegionId) -> Option<u32> {
        self.regions.get(region).filter(|entry| entry.home != Home::Nowhere).map(|entry| entry.count)
    }

    /// Where a region is, and what it is.
    pub(crate) fn placement(&self, state: &State, region: RegionId) -> Option<Placement> {
        let (arena, seat, record) = match self.regions.get(region)?.home {
            Home::Nowhere => return None,
            Home::At(arena, start) => {
                let (range, record) = state.arena(arena)?.region_at(start)?;
                (arena, Seat::At(range), record)
            }
            Home::Parked(arena) => {
                let (len, record) = *state.arena(arena)?.parked.get(&region)?;
                (arena, Seat::Parked(len), record)
            }
        };
        (record.id == region).then_some(Placement { arena, seat, record })
    }

    /// Forgets what only the state says; what is left are the ids and their counts.
    #[cfg(feature = "serde")]
    pub(crate) fn forget_places(&mut self) {
        let all: Vec<RegionId> = self.regions.iter().map(|(id, _)| id).collect();
        all.into_iter().for_each(|id| self.regions.set_home(id, Home::Nowhere));
        self.aliases.clear();
    }

    /// Takes down of what a region is an alias, if of any.
    pub(super) fn set_target(&mut self, region: RegionId, old: Option<RegionId>, new: Option<RegionId>) {
        if old == new {
            return;
        }
        if let Some(old) = old
            && let Some(aliases) = self.aliases.get_mut(&old)
        {
            aliases.retain(|alias| *alias != region);
            if aliases.is_empty() {
                self.aliases.remove(&old);
            }
        }
        if let Some(new) = new {
            let aliases = self.aliases.entry(new).or_default();
            aliases.insert(aliases.partition_point(|other| *other < region), region);
        }
    }

    /// Gives up the id of what an edit of a finished change leaves out of existence.
    pub(crate) fn retire(&mut self, finished: &Edit) {
        match finished {
            Edit::Arena { arena, new: None, .. } => self.arenas.remove(*arena),
            Edit::Link { link, new: None, .. } => self.links.remove(*link),
            Edit::Region { region, new: None, .. }
                if self.regions.get(*region).is_some_and(|entry| entry.home == Home::Nowhere) =>
            {
                self.regions.remove(*region);
            }
            _ => {}
        }
    }
}
