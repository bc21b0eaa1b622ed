//! The ids in use, and what the writer keeps by id. Snapshots do not contain any of this.

use super::edit::Edit;
use super::names::Names;
use super::record::{Location, Placement, RegionRecord};
use super::state::State;
use super::table::{Home, Table};
use crate::id::{ArenaId, LinkId, Owner, RegionId};
use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
#[cfg(not(feature = "std"))]
use core::cell::OnceCell as Once;
#[cfg(feature = "std")]
use std::sync::OnceLock as Once;

/// The ids in use, and what the writer keeps by id. Snapshots do not contain any of this.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Ids {
    pub(crate) arenas: Names<ArenaId>,
    pub(crate) links: Names<LinkId>,
    pub(crate) regions: Table,
    /// The aliases of each region that has any. Each alias holds a reference on its target.
    #[cfg_attr(feature = "serde", serde(skip))]
    aliases: BTreeMap<RegionId, Vec<RegionId>>,
    /// The number of aliases that go through each interconnect that has any.
    #[cfg_attr(feature = "serde", serde(skip))]
    through: BTreeMap<LinkId, usize>,
    /// The regions that have an owner, by owner. Built at the first question, then kept up to date.
    #[cfg_attr(feature = "serde", serde(skip))]
    owned: Once<BTreeSet<(Owner, RegionId)>>,
}

impl Ids {
    /// Returns the aliases of a region, ordered by id.
    pub(crate) fn aliases(&self, region: RegionId) -> &[RegionId] {
        self.aliases.get(&region).map_or(&[], |aliases| aliases)
    }

    /// Returns the number of aliases that go through an interconnect, parked ones included.
    pub(crate) fn through(&self, link: LinkId) -> usize {
        self.through.get(&link).copied().unwrap_or_default()
    }

    /// Whether a region is listed under its owner; true if the list was never built.
    pub(crate) fn is_owned_by(&self, owner: Owner, region: RegionId) -> bool {
        self.owned.get().is_none_or(|owned| owned.contains(&(owner, region)))
    }

    /// Returns the regions of an owner other than 0, ordered by id. The first call lists all regions, and takes time
    /// proportional to their number.
    pub(crate) fn owned_by(&self, state: &State, owner: Owner) -> impl Iterator<Item = RegionId> + '_ {
        let owned = self.owned.get_or_init(|| {
            let arenas = state.arenas().map(|(_, _, arena)| arena);
            let records = arenas.flat_map(|arena| {
                arena.regions().map(|(_, record)| record).chain(arena.parked().map(|(_, record)| record))
            });
            records.filter(RegionRecord::is_somebodys).map(|record| (record.owner, record.id)).collect()
        });
        let all = (owner, RegionId::from_raw(0))..=(owner, RegionId::from_raw(u64::MAX));
        owned.range(all).map(|(_, region)| *region)
    }

    /// Returns the reference count of a region that exists; `None` otherwise.
    pub(crate) fn count(&self, region: RegionId) -> Option<u32> {
        self.regions.get(region).filter(|entry| entry.home != Home::Nowhere).map(|entry| entry.count)
    }

    /// Returns where a region is, and its record.
    pub(crate) fn placement(&self, state: &State, region: RegionId) -> Option<Placement> {
        let (arena, seat, record) = match self.regions.get(region)?.home {
            Home::Nowhere => return None,
            Home::At(arena, start) => {
                let (range, record) = state.arena(arena)?.region_at(start)?;
                (arena, Location::At(range), record)
            }
            Home::Parked(arena) => {
                let (len, record) = *state.arena(arena)?.parked.get(&region)?;
                (arena, Location::Parked(len), record)
            }
        };
        (record.id == region).then_some(Placement { arena, seat, record })
    }

    /// Forgets everything that the state also says. The ids and their counts are left.
    #[cfg(feature = "serde")]
    pub(crate) fn forget_places(&mut self) {
        let all: Vec<RegionId> = self.regions.iter().map(|(id, _)| id).collect();
        all.into_iter().for_each(|id| self.regions.set_home(id, Home::Nowhere));
        self.aliases.clear();
        self.through.clear();
        self.owned = Once::new();
    }

    /// Records the target and the owner of a region that was placed in the state.
    pub(super) fn note(&mut self, record: &RegionRecord) {
        if let Some(alias) = record.alias() {
            let aliases = self.aliases.entry(alias.target).or_default();
            aliases.insert(aliases.partition_point(|other| *other < record.id), record.id);
            *self.through.entry(alias.link).or_default() += 1;
        }
        if let Some(owned) = self.owned.get_mut().filter(|_| record.is_somebodys()) {
            owned.insert((record.owner, record.id));
        }
    }

    /// Forgets what [`Self::note`] recorded about a region that is taken out.
    pub(super) fn forget(&mut self, record: &RegionRecord) {
        if let Some(alias) = record.alias() {
            if let Entry::Occupied(mut aliases) = self.aliases.entry(alias.target) {
                aliases.get_mut().retain(|other| *other != record.id);
                if aliases.get().is_empty() {
                    aliases.remove();
                }
            }
            if let Entry::Occupied(mut through) = self.through.entry(alias.link) {
                *through.get_mut() -= 1;
                if *through.get() == 0 {
                    through.remove();
                }
            }
        }
        if let Some(owned) = self.owned.get_mut().filter(|_| record.is_somebodys()) {
            owned.remove(&(record.owner, record.id));
        }
    }

    /// Frees the id of whatever an edit of a finished change removes.
    pub(super) fn retire(&mut self, finished: &Edit) {
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
