//! Counting references, and reclaiming at zero.

use super::Plan;
use crate::error::Error;
use crate::id::RegionId;

impl Plan<'_> {
    /// Counts another reference to a region (`pmem_incref`).
    ///
    /// # Errors
    /// [`Error::NoRegion`]; [`Error::Condemned`] when its count is zero already; [`Error::TooManyRefs`].
    pub fn incref(&mut self, region: RegionId) -> Result<(), Error> {
        if self.refs(region)? == 0 {
            return Err(Error::Condemned(region));
        }
        self.count_up(region)
    }

    /// Gives up a reference (`pmem_decref`, `pmem_unmap`). With the last one the region goes, an alias together with
    /// the reference it has on its target.
    ///
    /// # Errors
    /// [`Error::NoRegion`]; [`Error::Condemned`]; [`Error::NotHeld`] when all references are its aliases'.
    pub fn decref(&mut self, region: RegionId) -> Result<(), Error> {
        self.check_held(region)?;
        self.drop_ref(region)
    }

    /// Gives up the last reference but keeps the region, for a driver that will not let go of it.
    pub(crate) fn condemn(&mut self, region: RegionId) -> Result<(), Error> {
        self.check_held(region)?;
        self.set_count(region, 0);
        Ok(())
    }

    /// Takes a condemned region out.
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
