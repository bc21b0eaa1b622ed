//! The names that a script gives to things.

use pmem_core::{ArenaId, DriverId, LinkId, Placement, RegionId, RegionRecord, Role, State};
use std::collections::BTreeMap;

/// The ids behind the names, by kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) arenas: BTreeMap<String, ArenaId>,
    pub(super) links: BTreeMap<String, LinkId>,
    pub(super) regions: BTreeMap<String, RegionId>,
    pub(super) drivers: BTreeMap<String, DriverId>,
}

impl Names {
    pub(super) fn arena(&self, name: &str) -> Result<ArenaId, String> {
        self.arenas.get(name).copied().ok_or_else(|| format!("no arena {name:?}"))
    }

    pub(super) fn link(&self, name: &str) -> Result<LinkId, String> {
        self.links.get(name).copied().ok_or_else(|| format!("no interconnect {name:?}"))
    }

    pub(super) fn region(&self, name: &str) -> Result<RegionId, String> {
        self.regions.get(name).copied().ok_or_else(|| format!("no region {name:?}"))
    }

    pub(super) fn of_arena(&self, id: ArenaId) -> String {
        name_of(&self.arenas, id).unwrap_or_else(|| id.to_string())
    }

    pub(super) fn of_link(&self, id: LinkId) -> String {
        name_of(&self.links, id).unwrap_or_else(|| id.to_string())
    }

    /// Returns a region's name. An alias that the script never named goes by the region it stands for.
    pub(super) fn of_region(&self, state: &State, placement: &Placement) -> String {
        self.of_record(state, placement.arena, &placement.record)
    }

    fn of_record(&self, state: &State, arena: ArenaId, record: &RegionRecord) -> String {
        name_of(&self.regions, record.id).unwrap_or_else(|| match self.own(state, record) {
            Some(own) => format!("({own} in {})", self.of_arena(arena)),
            None => record.id.to_string(),
        })
    }

    /// Returns the name of the region at the end of a chain of aliases.
    fn own(&self, state: &State, record: &RegionRecord) -> Option<String> {
        let alias = record.alias()?;
        let (_, target) = state.arena(state.link(alias.link)?.far(alias.way))?.region_at(alias.to)?;
        match target.role {
            Role::Own => name_of(&self.regions, target.id),
            Role::Alias(_) => self.own(state, &target),
        }
    }

    /// Replaces the ids in a message of the model by the script's names.
    pub(super) fn translate(&self, text: &str, more: Vec<(String, String)>) -> String {
        let mut pairs = more;
        pairs.extend(self.arenas.iter().map(|(name, id)| (id.to_string(), name.clone())));
        pairs.extend(self.links.iter().map(|(name, id)| (id.to_string(), name.clone())));
        pairs.extend(self.regions.iter().map(|(name, id)| (id.to_string(), name.clone())));
        pairs.extend(self.drivers.iter().map(|(name, id)| (id.to_string(), name.clone())));
        // Longest first, because one id may be the beginning of another.
        pairs.sort_by_key(|(id, _)| std::cmp::Reverse(id.len()));
        pairs.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name))
    }
}

/// Returns the name of an id.
pub(super) fn name_of<T: Copy + PartialEq>(names: &BTreeMap<String, T>, id: T) -> Option<String> {
    names.iter().find(|(_, known)| **known == id).map(|(name, _)| name.clone())
}
