//! Giving references up. That cannot fail: what a driver will not let go of is condemned, and tried again.

use super::manager::Manager;
use crate::error::Error;
use crate::id::{DriverId, RegionId};
use crate::plan::Plan;
use alloc::vec::Vec;

/// What became of a region whose reference was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Others still hold it.
    Held {
        /// The references left, those of aliases included.
        refs: u32,
    },
    /// It is gone.
    Gone,
    /// It was the last reference, but this driver does not let go of the region: it stays, condemned, and is tried
    /// again when a change involves the driver, or by [`Manager::reclaim`].
    Condemned {
        /// Which.
        by: DriverId,
    },
}

impl Manager {
    /// Gives up a reference to a region (`pmem_decref`), as [`Plan::decref`]; a driver that will not let go of it does
    /// not keep the reference alive, but the region, condemned. Of that no driver is asked: a release cannot fail.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::NotHeld`]; [`Error::Condemned`] when its count is zero already.
    pub fn decref(&mut self, region: RegionId) -> Result<Released, Error> {
        match self.transaction(|plan| plan.decref(region)) {
            Ok(()) => Ok(self.refs(region).map_or(Released::Gone, |refs| Released::Held { refs })),
            Err(Error::Refused { driver: by, .. } | Error::Failed { driver: by, .. }) => {
                let last = self.refs(region)? == 1;
                let mut plan = Plan::new(&mut self.state, &mut self.ids, &mut self.memory, Vec::new());
                if last {
                    plan.condemn(region)?
                } else {
                    plan.decref(region)?
                }
                let mut raw = plan.into_edits();
                let copy = self.outbox.is_some().then(|| raw.clone());
                self.commit(&mut raw, None, copy);
                if !last {
                    return Ok(Released::Held { refs: self.refs(region)? });
                }
                self.condemned.push((region, Some(by)));
                Ok(Released::Condemned { by })
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a mapping of a region back (`pmem_unmap`): the same as [`Self::decref`].
    ///
    /// # Errors
    /// As [`Self::decref`].
    pub fn unmap(&mut self, region: RegionId) -> Result<Released, Error> {
        self.decref(region)
    }

    /// Tries again to let go of condemned regions; returns those that stay, and who keeps them.
    pub fn reclaim(&mut self) -> Vec<(RegionId, Option<DriverId>)> {
        let all = core::mem::take(&mut self.condemned);
        all.into_iter().for_each(|(region, by)| self.retry(region, by));
        self.condemned.clone()
    }

    /// Condemned regions, and who keeps them; of those that were loaded that is not known.
    pub fn condemned(&self) -> &[(RegionId, Option<DriverId>)] {
        &self.condemned
    }

    pub(super) fn retry_condemned(&mut self, involved: &[DriverId]) {
        if self.condemned.is_empty() {
            return;
        }
        let involved = |(_, by): &(RegionId, Option<DriverId>)| by.is_some_and(|by| involved.contains(&by));
        let (now, later) = core::mem::take(&mut self.condemned).into_iter().partition::<Vec<_>, _>(involved);
        self.condemned = later;
        now.into_iter().for_each(|(region, by)| self.retry(region, by));
    }

    /// Tries once to reclaim a condemned region. Does not set off further retries: each is tried once per change.
    fn retry(&mut self, region: RegionId, by: Option<DriverId>) {
        let mut plan = Plan::new(&mut self.state, &mut self.ids, &mut self.memory, Vec::new());
        let planned = plan.reclaim(region);
        let mut raw = plan.into_edits();
        match planned.and_then(|()| self.finish(&mut raw)) {
            Ok(_) => {}
            Err(error) => {
                self.undo(&raw);
                let by = match error {
                    Error::Refused { driver, .. } | Error::Failed { driver, .. } => Some(driver),
                    _ => by,
                };
                self.condemned.push((region, by));
            }
        }
    }
}
