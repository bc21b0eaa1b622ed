//! Runs a change through the drivers: prepare, withdraw, install. A fault rolls the steps back in exact reverse
//! order.

use crate::driver::{Change, Concern, Driver, Fault, Mismatch, Phase, Registry, Step, Update, Veto};
use crate::error::Error;
use crate::id::DriverId;
use crate::model::{Edit, State};
use alloc::string::String;
use alloc::vec::Vec;

/// The drivers that took part in a change that succeeded.
pub(crate) struct Outcome {
    /// The drivers in the order in which they prepared.
    pub(crate) concerned: Vec<DriverId>,
}

/// One driver's part in a change under way.
struct Part {
    id: DriverId,
    /// The steps begun, in order.
    begun: Vec<Step>,
}

impl Registry {
    /// Returns the degraded drivers that these edits concern. They must resync before the change.
    pub(crate) fn degraded_for(&self, edits: &[Edit], after: &State) -> Vec<DriverId> {
        if !self.drivers.values().any(|r| r.degraded) {
            return Vec::new();
        }
        let deltas = self.deltas(&self.updates(edits, after));
        let concerned = |id: &&DriverId| {
            let r = &self.drivers[**id];
            r.degraded
                && (!r.deltas(&deltas).is_empty()
                    || edits.iter().any(|e| r.subscription().is_concerned(e, after)))
        };
        self.order().iter().filter(concerned).copied().collect()
    }

    /// Has a driver reprogram its hardware from `state`. The driver is degraded afterwards if that fails, and only
    /// then.
    pub(crate) fn resync(&mut self, id: DriverId, state: &State) -> Result<(), Error> {
        let Some(registered) = self.drivers.get_mut(id) else { return Err(Error::NoDriver(id)) };
        let result = guarded_fault(|| registered.driver.resync(state));
        registered.degraded = result.is_err();
        result.map_err(|fault| Error::Failed {
            driver: id,
            name: String::from(registered.driver.name()),
            phase: Phase::Resync,
            fault,
            degraded: Vec::from([id]),
        })
    }

    /// Runs a change through every driver it concerns.
    ///
    /// # Errors
    /// [`Error::Refused`] after every driver that had prepared has aborted; [`Error::Failed`] after every step begun
    /// has been reverted.
    pub(crate) fn carry(&mut self, sequence: u64, edits: &[Edit], after: &State) -> Result<Outcome, Error> {
        let updates = self.updates(edits, after);
        let mut parts = self.prepare(sequence, edits, after, &updates)?;
        let count = parts.len();
        // Withdraw runs backward and install forward: what prepares first, a bridge say, closes last and opens first.
        let backward = (0..count).rev().map(|i| (i, Step::Withdraw));
        let forward = (0..count).map(|i| (i, Step::Install));
        let mut steps: Vec<(usize, Step)> = Vec::with_capacity(2 * count);
        steps.extend(backward.chain(forward));
        for (done, (i, step)) in steps.iter().enumerate() {
            // Recorded before the call: a step that faults half-way must be reverted too.
            parts[*i].begun.push(*step);
            if let Err(fault) = self.step(parts[*i].id, *step) {
                return Err(self.unwind(&parts, &steps[..=done], *i, *step, fault));
            }
        }
        // Past the last install nothing can fail: the views advance, and drivers may free what they kept for a
        // rollback.
        self.set_views(updates, after);
        for part in &parts {
            let registered = &mut self.drivers[part.id];
            let driver = &mut registered.driver;
            let told = guarded_fault(|| {
                driver.published();
                Ok(())
            });
            registered.degraded |= told.is_err();
        }
        Ok(Outcome { concerned: parts.into_iter().map(|part| part.id).collect() })
    }

    /// Asks every driver that a change concerns, then has each drop what it prepared.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub(crate) fn rehearse(&mut self, sequence: u64, edits: &[Edit], after: &State) -> Result<(), Error> {
        let updates = self.updates(edits, after);
        let parts = self.prepare(sequence, edits, after, &updates)?;
        self.abort(&parts);
        Ok(())
    }

    /// Asks every driver that a change concerns. If one refuses, the drivers that had already prepared abort.
    fn prepare(
        &mut self,
        sequence: u64,
        edits: &[Edit],
        after: &State,
        updates: &[Update],
    ) -> Result<Vec<Part>, Error> {
        let deltas = self.deltas(updates);
        let mut parts: Vec<Part> = Vec::new();
        for id in self.order().to_vec() {
            let registered = &mut self.drivers[id];
            let deltas = registered.deltas(&deltas);
            let (driver, subscription) = registered.parts();
            let own = |edit: &Edit| subscription.is_concerned(edit, after);
            if deltas.is_empty() && !edits.iter().any(own) {
                continue;
            }
            let change = Change { sequence, edits, after, deltas: &deltas, own: &own };
            match guarded_veto(|| driver.prepare(&change)) {
                Ok(Concern::Concerned) => parts.push(Part { id, begun: Vec::with_capacity(2) }),
                Ok(Concern::Indifferent) => {}
                Err(veto) => {
                    let name = String::from(registered.driver.name());
                    // A veto leaves nothing behind, but a panic may: only then does the refusing driver itself abort.
                    if veto == PANICKED {
                        self.abort_one(id);
                    }
                    self.abort(&parts);
                    return Err(Error::Refused { driver: id, name, veto });
                }
            }
        }
        Ok(parts)
    }

    fn step(&mut self, id: DriverId, step: Step) -> Result<(), Fault> {
        let driver = &mut self.drivers[id].driver;
        match step {
            Step::Withdraw => guarded_fault(|| driver.withdraw()),
            Step::Install => guarded_fault(|| driver.install()),
        }
    }

    /// Reverts every step begun, last first, then aborts the drivers that had only prepared, last first.
    fn unwind(
        &mut self,
        parts: &[Part],
        begun: &[(usize, Step)],
        failed: usize,
        step: Step,
        fault: Fault,
    ) -> Error {
        let mut degraded = Vec::new();
        for (i, step) in begun.iter().rev() {
            let id = parts[*i].id;
            let driver = &mut self.drivers[id].driver;
            if guarded_fault(|| driver.revert(*step)).is_err() && !degraded.contains(&id) {
                degraded.push(id);
            }
        }
        let only_prepared: Vec<&Part> = parts.iter().filter(|part| part.begun.is_empty()).collect();
        only_prepared.iter().rev().for_each(|part| self.abort_one(part.id));
        degraded.iter().for_each(|id| self.drivers[*id].degraded = true);
        let driver = parts[failed].id;
        let phase = match step {
            Step::Withdraw => Phase::Withdraw,
            Step::Install => Phase::Install,
        };
        let name = String::from(self.drivers[driver].driver.name());
        Error::Failed { driver, name, phase, fault, degraded }
    }

    fn abort(&mut self, parts: &[Part]) {
        parts.iter().rev().for_each(|part| self.abort_one(part.id));
    }

    fn abort_one(&mut self, id: DriverId) {
        let registered = &mut self.drivers[id];
        let driver = &mut registered.driver;
        let aborted = guarded_fault(|| {
            driver.abort();
            Ok(())
        });
        registered.degraded |= aborted.is_err();
    }
}

/// Attaches a driver that is not registered yet.
pub(crate) fn attach(driver: &mut dyn Driver, state: &State) -> Result<(), Veto> {
    guarded_veto(|| driver.attach(state))
}

/// Has a driver compare its hardware with `state`.
pub(crate) fn verify(driver: &mut dyn Driver, state: &State) -> Result<(), Mismatch> {
    let panicked = Mismatch { reason: "panicked", range: None, wanted_found: None };
    guarded(|| driver.verify(state)).unwrap_or(Err(panicked))
}

/// The veto that a panic in prepare counts as. The driver then aborts, in case it had prepared something.
const PANICKED: Veto = Veto::new("panicked");

/// Calls a driver, and counts a panic as a fault.
fn guarded_fault(call: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
    guarded(call).unwrap_or(Err(Fault::new("panicked")))
}

fn guarded_veto<T>(call: impl FnOnce() -> Result<T, Veto>) -> Result<T, Veto> {
    guarded(call).unwrap_or(Err(PANICKED))
}

#[cfg(feature = "std")]
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    // Unwind safety: a panic can break only the driver's own state, and the driver is reverted or degraded for it.
    std::panic::catch_unwind(core::panic::AssertUnwindSafe(call)).ok()
}

#[cfg(not(feature = "std"))]
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    Some(call())
}
