//! Questions about regions by id.

use super::manager::Manager;
use crate::error::Error;
use crate::id::{ArenaId, Owner, RegionId};
use crate::model::{Home, Placement};
#[cfg(doc)]
use crate::plan::Plan;
use pmem_space::{AddrRange, Attrs};

/// Questions about regions by id.
impl Manager {
    /// Returns a region's effective attributes (`pmem_get`). For an alias these are its target's, with the protection
    /// narrowed by the alias and by the interconnects on the path.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn attrs(&self, region: RegionId) -> Result<Attrs, Error> {
        Ok(self.state.effective(&self.placement(region)?.record))
    }

    /// Returns where a region is, and its record.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn placement(&self, region: RegionId) -> Result<Placement, Error> {
        self.ids.placement(&self.state, region).ok_or(Error::NoRegion(region))
    }

    /// Returns the addresses of a region in its own arena.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsParked`].
    pub fn range(&self, region: RegionId) -> Result<AddrRange, Error> {
        self.placement(region)?.seat.range().ok_or(Error::IsParked(region))
    }

    /// The former name of [`Self::range`].
    ///
    /// # Errors
    /// Those of [`Self::range`].
    #[deprecated(note = "`range`")]
    pub fn range_of(&self, region: RegionId) -> Result<AddrRange, Error> {
        self.range(region)
    }

    /// Returns the arena of a region and its start there. Faster than [`Self::range`]: it does not search the arena.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsParked`].
    pub fn start(&self, region: RegionId) -> Result<(ArenaId, u64), Error> {
        match self.ids.regions.get(region).map(|entry| entry.home) {
            Some(Home::At(arena, start)) => Ok((arena, start)),
            Some(Home::Parked(_)) => Err(Error::IsParked(region)),
            Some(Home::Nowhere) | None => Err(Error::NoRegion(region)),
        }
    }

    /// The former name of [`Self::start`].
    ///
    /// # Errors
    /// Those of [`Self::start`].
    #[deprecated(note = "`start`")]
    pub fn start_of(&self, region: RegionId) -> Result<(ArenaId, u64), Error> {
        self.start(region)
    }

    /// Returns the number of references a region has, those of its aliases included.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn refs(&self, region: RegionId) -> Result<u32, Error> {
        self.ids.count(region).ok_or(Error::NoRegion(region))
    }

    /// Returns the aliases of a region, ordered by id.
    pub fn aliases(&self, region: RegionId) -> &[RegionId] {
        self.ids.aliases(region)
    }

    /// Returns the regions and aliases of an owner, ordered by id. For owner 0, no particular owner, it examines
    /// every region.
    pub fn by_owner(&self, owner: Owner) -> impl Iterator<Item = RegionId> + '_ {
        let nobodys = move |(_, placement): &(RegionId, Placement)| placement.record.owner == owner;
        let nobody = (owner == Owner::default()).then(|| self.regions().filter(nobodys).map(|(id, _)| id));
        nobody.into_iter().flatten().chain(self.ids.owned_by(&self.state, owner))
    }

    /// Returns all regions and aliases, oldest id first.
    pub fn regions(&self) -> impl Iterator<Item = (RegionId, Placement)> + '_ {
        self.ids.regions.iter().filter_map(|(id, _)| Some((id, self.ids.placement(&self.state, id)?)))
    }
}
