//! Creating, renaming and removing arenas.

use super::Plan;
use crate::error::{Error, Holder};
use crate::id::ArenaId;
use crate::model::{ArenaInfo, Edit};
use alloc::string::String;
use pmem_space::{AddrRange, ArenaType};

impl Plan<'_> {
    /// Creates an arena in which nothing is primed. Names need not be unique.
    ///
    /// # Errors
    /// Never fails today.
    pub fn create_arena(&mut self, name: impl Into<String>, kind: ArenaType) -> Result<ArenaId, Error> {
        let arena = self.working.ids.arenas.insert();
        self.push(Edit::Arena { arena, old: None, new: Some(ArenaInfo { name: name.into(), kind }) });
        Ok(arena)
    }

    /// Renames an arena.
    ///
    /// # Errors
    /// [`Error::NoArena`].
    pub fn name_arena(&mut self, arena: ArenaId, name: impl Into<String>) -> Result<(), Error> {
        let old = self.state().info(arena).cloned().ok_or(Error::NoArena(arena))?;
        let new = ArenaInfo { name: name.into(), ..old.clone() };
        self.push(Edit::Arena { arena, old: Some(old), new: Some(new) });
        Ok(())
    }

    /// Removes an arena that holds no region and that no interconnect joins. Its primed space goes with it.
    ///
    /// # Errors
    /// [`Error::NoArena`]; [`Error::ArenaBusy`] names the region or interconnect that still uses it.
    pub fn remove_arena(&mut self, arena: ArenaId) -> Result<(), Error> {
        let here = self.arena(arena)?;
        let region = here.regions().next().map(|(range, record)| Holder::Region(record.id, range));
        let parked = || here.parked().next().map(|(_, record)| Holder::Parked(record.id));
        let joined = || self.state().links().find(|(_, l)| l.left == arena || l.right == arena);
        let by =
            region.or_else(parked).or_else(|| joined().map(|(link, _)| Holder::Link(link, AddrRange::ALL)));
        if let Some(by) = by {
            return Err(Error::ArenaBusy { arena, by });
        }
        self.set_spans(arena, AddrRange::ALL, |_| None)?;
        let old = self.state().info(arena).cloned();
        self.push(Edit::Arena { arena, old, new: None });
        Ok(())
    }
}
