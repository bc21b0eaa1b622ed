//! Counting references, and removing a region at zero.

use super::Plan;
use crate::error::Error;
use crate::id::RegionId;

impl Plan<'_> {
    /// Adds a reference to a region (`pmem_incref`).
    ///
    /// # Errors
    /// [`Error::NoRegion`]; [`Error::Condemned`] if the count is already zero; [`Error::TooManyRefs`].
    pub fn incref(&mut self, region: RegionId) -> Result<(), Error> {
        if self.refs(region)? == 0 {
            return Err(Error::Condemned(region));
        }
        self.count_up(region)
    }

    /// Gives up a reference (`pmem_decref`, `pmem_unmap`). The last one removes the region. An alias then also gives
    /// up its reference on its target.
    ///
    /// # Errors
    /// [`Error::NoRegion`]; [`Error::Condemned`] if the count is already zero; [`Error::NotHeld`] if aliases hold all
    /// references.
    pub fn decref(&mut self, region: RegionId) -> Result<(), Error> {
        self.check_held(region)?;
        self.drop_ref(region)
    }

    /// Gives up the last reference but keeps the region, because a driver does not let go of it.
    pub(crate) fn condemn(&mut self, region: RegionId) -> Result<(), Error> {
        self.check_held(region)?;
        self.set_count(region, 0);
        Ok(())
    }

    /// Removes a condemned region.
    pub(crate) fn reclaim(&mut self, region: RegionId) -> Result<(), Error> {
        self.remove(region)
    }

    fn check_held(&self, region: RegionId) -> Result<(), Error> {
        let refs = self.refs(region)?;
        if refs == 0 {
            return Err(Error::Condemned(region));
        }
        if refs as usize <= self.aliases(region).len() {
            return Err(Error::NotHeld { region, refs });
        }
        Ok(())
    }

    fn drop_ref(&mut self, region: RegionId) -> Result<(), Error> {
        match self.refs(region)?.saturating_sub(1) {
            0 => self.remove(region),
            left => {
                self.set_count(region, left);
                Ok(())
            }
        }
    }

    fn remove(&mut self, region: RegionId) -> Result<(), Error> {
        let old = self.take_out(region)?;
        let Some(alias) = old.record.alias() else { return Ok(()) };
        self.shrink(alias.leg())?;
        self.drop_ref(alias.target)
    }
}
