//! Giving up references. That cannot fail: a region that a driver does not let go of is condemned, and retried later.

use super::manager::Manager;
use crate::error::Error;
use crate::id::{DriverId, RegionId};
use crate::plan::Plan;
use alloc::vec::Vec;

/// What became of a region when a reference to it was given up.
///
/// # Examples
/// A driver still has DMA in flight, and refuses to let go of a buffer:
/// ```
/// use pmem_core::test_util::{Call, Faults, Faulty, Quiet};
/// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Released, Request, Scope, Subscription};
///
/// let (mut pmem, faults) = (Manager::new(), Faults::default());
/// let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
/// pmem.prime(ram, AddrRange::new(0, 0x10_0000)?, Attrs::ram())?;
/// let buffer = pmem.alloc(ram, &Request::new(0x1000))?;
/// let iommu = Faulty::around(Quiet::new("IOMMU"), &faults);
/// let by = pmem.register(Box::new(iommu), Subscription::new([Scope::Arena(ram)]))?;
///
/// faults.arm(Call::Prepare, 1);
/// assert_eq!(pmem.decref(buffer)?, Released::Condemned { by });
/// assert_eq!(pmem.condemned(), [(buffer, Some(by))]);
/// // The DMA is done: try again.
/// assert!(pmem.reclaim().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// The region still has references.
    Held {
        /// The number of references left, those of aliases included.
        refs: u32,
    },
    /// The region is gone.
    Gone,
    /// The last reference is gone, but a driver does not let go of the region. It stays, condemned, until a retry
    /// succeeds: after a change that involves the driver, or by [`Manager::reclaim`].
    Condemned {
        /// The driver that does not let go.
        by: DriverId,
    },
}

impl Manager {
    /// Gives up a reference to a region (`pmem_decref`). The last one removes the region. An alias then also gives up
    /// its reference on its target.
    ///
    /// A release cannot fail because of a driver. If a driver does not let go, the reference is given up anyway,
    /// without asking the drivers again. If it was the last one, the region is condemned.
    ///
    /// # Errors
    /// [`Error::NoRegion`]; [`Error::NotHeld`] if aliases hold all references; [`Error::Condemned`] if the count is
    /// already zero.
    pub fn decref(&mut self, region: RegionId) -> Result<Released, Error> {
        match self.transaction(|plan| plan.decref(region)) {
            Ok(()) => Ok(self.refs(region).map_or(Released::Gone, |refs| Released::Held { refs })),
            Err(Error::Refused { driver: by, .. } | Error::Failed { driver: by, .. }) => {
                let last = self.refs(region)? == 1;
                let mut plan = Plan::new(&mut self.state, &mut self.ids, &mut self.memory, Vec::new());
                if last {
                    plan.condemn(region)?;
                } else {
                    plan.decref(region)?;
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

    /// Undoes a mapping of a region (`pmem_unmap`). The same as [`Self::decref`].
    ///
    /// # Errors
    /// As [`Self::decref`].
    pub fn unmap(&mut self, region: RegionId) -> Result<Released, Error> {
        self.decref(region)
    }

    /// Tries again to release condemned regions. Returns those that remain, each with the driver that keeps it;
    /// `None` if unknown.
    pub fn reclaim(&mut self) -> Vec<(RegionId, Option<DriverId>)> {
        let all = core::mem::take(&mut self.condemned);
        all.into_iter().for_each(|(region, by)| self.retry(region, by));
        self.condemned.clone()
    }

    /// Returns the condemned regions, each with the driver that keeps it; `None` for regions that were loaded.
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

    /// Tries once to release a condemned region. It triggers no further retries, so each region is tried once per
    /// change.
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
