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
    /// What a region amounts to (`pmem_get`), as [`Plan::attrs`].
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn attrs(&self, region: RegionId) -> Result<Attrs, Error> {
        Ok(self.state.effective(&self.placement(region)?.record))
    }

    /// Where a region is, and what it is.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn placement(&self, region: RegionId) -> Result<Placement, Error> {
        self.ids.placement(&self.state, region).ok_or(Error::NoRegion(region))
    }

    /// The addresses of a region in its own arena.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsParked`].
    pub fn range(&self, region: RegionId) -> Result<AddrRange, Error> {
        self.placement(region)?.seat.range().ok_or(Error::IsParked(region))
    }

    /// The former name of [`Self::range`].
    #[deprecated(note = "`range`")]
    pub fn range_of(&self, region: RegionId) -> Result<AddrRange, Error> {
        self.range(region)
    }

    /// In which arena a region is, and where it starts; known without a look into the arena.
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
    #[deprecated(note = "`start`")]
    pub fn start_of(&self, region: RegionId) -> Result<(ArenaId, u64), Error> {
        self.start(region)
    }

    /// How many references a region has, those of its aliases included.
    ///
    /// # Errors
    /// [`Error::NoRegion`].
    pub fn refs(&self, region: RegionId) -> Result<u32, Error> {
        self.ids.count(region).ok_or(Error::NoRegion(region))
    }

    /// The aliases of a region.
    pub fn aliases(&self, region: RegionId) -> &[RegionId] {
        self.ids.aliases(region)
    }

    /// The regions and aliases of one owner, in the order of their ids. For nobody in particular, [`Owner`] 0, it looks at every region.
    pub fn by_owner(&self, owner: Owner) -> impl Iterator<Item = RegionId> + '_ {
        let nobodys = move |(_, placement): &(RegionId, Placement)| placement.record.owner == owner;
        let nobody = (owner == Owner::default()).then(|| self.regions().filter(nobodys).map(|(id, _)| id));
        nobody.into_iter().flatten().chain(self.ids.owned_by(&self.state, owner))
    }

    /// All regions and aliases, oldest id first.
    pub fn regions(&self) -> impl Iterator<Item = (RegionId, Placement)> + '_ {
        self.ids.regions.iter().filter_map(|(id, _)| Some((id, self.ids.placement(&self.state, id)?)))
    }
}
