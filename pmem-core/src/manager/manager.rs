//! The manager: it plans, asks the drivers, and commits. Exclusive, deterministic, and without locks of its own.

use super::journal::{Committed, Journal};
#[cfg(doc)]
use crate::driver::Driver;
use crate::driver::Registry;
use crate::error::Error;
use crate::id::{DriverId, RegionId};
use crate::model::{Broken, Edit, Ids, Memory, State, Working};
use crate::plan::Plan;
use crate::protocol::Outcome;
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// A committed change for the shared handle's observers, and the state it led to.
pub(crate) struct Noted {
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "only shared managers tell"))]
    pub(crate) change: Committed,
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "only shared managers tell"))]
    pub(crate) state: Option<State>,
}

/// The changes committed since they were last taken.
pub(super) struct Outbox {
    pub(super) changes: Vec<Noted>,
    with_states: bool,
}

/// A manager of physical address space, for use from one thread. It works without `std`.
///
/// Every verb is one change, all or nothing: the manager plans it, asks every concerned [`Driver`], has the hardware
/// programmed, and only then commits. [`Self::transaction`] makes one change of several verbs. Besides the errors
/// listed with it, a verb returns [`Error::Refused`] or [`Error::Failed`] if a driver does not go along.
///
/// # Examples
/// A graphics card asks for a 16 MiB BAR, and the CPU maps it:
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Mapping, Metric, Request, Usage};
///
/// let mut pmem = Manager::new();
/// let cpu = pmem.create_arena("CPU", ArenaType::VIEW)?;
/// let pci = pmem.create_arena("PCI 0000:00", ArenaType::PCI)?;
/// let aperture = AddrRange::new(0xe000_0000, 0xf000_0000)?;
/// pmem.prime(pci, aperture, Attrs::device())?;
/// pmem.connect(cpu, pci, Mapping::window(aperture, 0xe000_0000)?, Metric::new(1))?;
///
/// let bar = pmem.alloc(pci, &Request::new(0x100_0000).align(0x100_0000).usage(Usage::FRAMEBUF))?;
/// let seen = pmem.map(cpu, bar)?;
/// assert_eq!(pmem.range(seen)?.start(), 0xe000_0000);
/// assert_eq!(pmem.refs(bar)?, 2, "one from the allocation, one held by the alias");
/// pmem.unmap(seen)?;
/// pmem.decref(bar)?;
/// assert!(pmem.placement(bar).is_err(), "the last reference is gone");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Manager {
    pub(super) state: State,
    pub(super) ids: Ids,
    pub(super) drivers: Registry,
    journal: Journal,
    /// The changes committed since they were last taken; `None` if they are not recorded.
    pub(super) outbox: Option<Outbox>,
    /// A buffer for the edits of the next plan, reused from one change to the next.
    edits: Vec<Edit>,
    /// Memory for the index changes that those edits make.
    pub(super) memory: Memory,
    /// Regions without references, each with the driver that does not let go of it; `None` if unknown, after loading.
    pub(super) condemned: Vec<(RegionId, Option<DriverId>)>,
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}

impl Manager {
    /// Returns a manager of an empty model.
    #[must_use]
    pub fn new() -> Self {
        Self::with_state(State::default(), Ids::default())
    }

    /// Returns a manager of `state`. Regions of it that have no reference wait for [`Self::reclaim`].
    pub(crate) fn with_state(state: State, ids: Ids) -> Self {
        let condemned = ids.regions.iter().filter(|(_, entry)| entry.count == 0).map(|(id, _)| (id, None));
        Self {
            condemned: condemned.collect(),
            ids,
            drivers: Registry::default(),
            journal: Journal::new(state.sequence),
            outbox: None,
            edits: Vec::new(),
            memory: Memory::default(),
            state,
        }
    }

    /// Returns the current state of the model. Cloning it gives a snapshot.
    pub fn state(&self) -> &State {
        &self.state
    }

    #[cfg(feature = "serde")]
    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Returns the journal of the last changes.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Takes the changes recorded since the last call, and records those to come; with the state that each leads to,
    /// if `with_states`.
    #[cfg(feature = "std")]
    pub(crate) fn take_outbox(&mut self, with_states: bool) -> Vec<Noted> {
        let new = Outbox { changes: Vec::new(), with_states };
        self.outbox.replace(new).map_or_else(Vec::new, |outbox| outbox.changes)
    }

    /// Sets how many changes the journal keeps, from now on.
    pub fn set_journal_limit(&mut self, limit: usize) {
        self.journal.set_limit(limit);
    }

    /// Makes one change of all the verbs that `verbs` calls.
    ///
    /// # Errors
    /// The error of `verbs`, or [`Error::Refused`] or [`Error::Failed`] by a driver. Nothing is changed then.
    ///
    /// # Examples
    /// A card needs two BARs. It gets both or neither:
    /// ```
    /// use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Request};
    ///
    /// let mut pmem = Manager::new();
    /// let pci = pmem.create_arena("PCI 0000:00", ArenaType::PCI)?;
    /// pmem.prime(pci, AddrRange::new(0xe000_0000, 0xe010_0000)?, Attrs::device())?;
    ///
    /// let mut two = |first, second| {
    ///     pmem.transaction(|plan| {
    ///         let first = plan.alloc(pci, &Request::new(first).align(first))?;
    ///         Ok([first, plan.alloc(pci, &Request::new(second).align(second))?])
    ///     })
    /// };
    /// assert!(two(0x8_0000, 0x10_0000).is_err());
    /// assert!(two(0x8_0000, 0x4_0000).is_ok());
    /// assert_eq!(pmem.regions().count(), 2, "the failed attempt left nothing behind");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transaction<T>(
        &mut self,
        verbs: impl FnOnce(&mut Plan<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.try_transaction(verbs)
    }

    /// Like [`Self::transaction`], for closures with an error type of their own.
    ///
    /// # Errors
    /// The error of `verbs`, or [`Error::Refused`] or [`Error::Failed`] by a driver. Nothing is changed then.
    pub fn try_transaction<T, E: From<Error>>(
        &mut self,
        verbs: impl FnOnce(&mut Plan<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let memory = core::mem::take(&mut self.edits);
        let mut plan = Plan::new(&mut self.state, &mut self.ids, &mut self.memory, memory);
        let result = verbs(&mut plan);
        let mut raw = plan.into_edits();
        let result = result.and_then(|result| Ok((result, self.finish(&mut raw)?)));
        if result.is_err() {
            self.undo(&raw);
        }
        raw.clear();
        self.edits = raw;
        let (result, concerned) = result?;
        self.retry_condemned(&concerned);
        Ok(result)
    }

    /// Computes what `verbs` would change, without changing anything. Ids of what the plan creates are invalid
    /// afterwards.
    ///
    /// # Errors
    /// The error of `verbs`.
    pub fn plan<T>(
        &mut self,
        verbs: impl FnOnce(&mut Plan<'_>) -> Result<T, Error>,
    ) -> Result<(T, Vec<Edit>), Error> {
        let mut plan = Plan::new(&mut self.state, &mut self.ids, &mut self.memory, Vec::new());
        let result = verbs(&mut plan);
        let raw = plan.into_edits();
        self.undo(&raw);
        Ok((result?, Edit::net(&raw).into_owned()))
    }

    /// Computes what `verbs` would change and asks every concerned driver whether it would refuse, without changing
    /// anything. A degraded driver does not resync first.
    ///
    /// # Errors
    /// The error of `verbs`, or [`Error::Refused`].
    pub fn rehearse<T>(&mut self, verbs: impl FnOnce(&mut Plan<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut plan = Plan::new(&mut self.state, &mut self.ids, &mut self.memory, Vec::new());
        let result = verbs(&mut plan);
        let raw = plan.into_edits();
        let sequence = self.state.sequence.saturating_add(1);
        let net = Edit::net(&raw);
        let result = result.and_then(|result| {
            if !net.is_empty() {
                self.drivers.rehearse(sequence, &net, &self.state)?;
            }
            Ok(result)
        });
        self.undo(&raw);
        result
    }

    /// Runs a plan through the drivers and commits it. Returns the drivers that took part. `raw` keeps only its
    /// capacity.
    pub(super) fn finish(&mut self, raw: &mut Vec<Edit>) -> Result<Vec<DriverId>, Error> {
        let joined = match Edit::net(raw) {
            Cow::Borrowed(_) => None,
            Cow::Owned(joined) => Some(joined),
        };
        let net = joined.as_deref().unwrap_or(raw);
        // Allocate what the commit takes before any driver begins: once hardware has changed, nothing may fail.
        let copy = self.outbox.as_mut().map(|outbox| {
            outbox.changes.reserve(1);
            net.to_vec()
        });
        let concerned = if net.is_empty() { Vec::new() } else { self.carry(raw, net)?.concerned };
        self.commit(raw, joined, copy);
        Ok(concerned)
    }

    fn carry(&mut self, raw: &[Edit], net: &[Edit]) -> Result<Outcome, Error> {
        debug_assert_eq!(self.state.check(), Ok(()), "a plan broke the model: {net:#?}");
        if self.drivers.is_empty() {
            return Ok(Outcome { concerned: Vec::new() });
        }
        let degraded = self.drivers.degraded_for(net, &self.state);
        if !degraded.is_empty() {
            // Degraded drivers resync to the old state, before they are asked about the new one.
            self.undo_keeping_ids(raw);
            let resynced = degraded.into_iter().try_for_each(|id| self.drivers.resync(id, &self.state));
            self.redo(raw);
            resynced?;
        }
        self.drivers.carry(self.state.sequence.saturating_add(1), net, &self.state)
    }

    /// Commits a plan that was carried out. `joined` are its net edits if they differ from `raw`; `copy` is for the
    /// outbox.
    pub(super) fn commit(&mut self, raw: &mut Vec<Edit>, joined: Option<Vec<Edit>>, copy: Option<Vec<Edit>>) {
        let mut working = Working { state: &mut self.state, ids: &mut self.ids, memory: &mut self.memory };
        raw.iter().for_each(|edit| working.retire(edit));
        let edits = joined.unwrap_or_else(|| core::mem::take(raw));
        if edits.is_empty() {
            return;
        }
        // Saturates, because a state that was tampered with could have been loaded with the highest number.
        self.state.sequence = self.state.sequence.saturating_add(1);
        let sequence = self.state.sequence;
        if let (Some(outbox), Some(edits)) = (&mut self.outbox, copy) {
            let state = outbox.with_states.then(|| self.state.clone());
            outbox.changes.push(Noted { change: Committed { sequence, edits }, state });
        }
        if let Some(dropped) = self.journal.push(Committed { sequence, edits }) {
            *raw = dropped.edits;
        }
    }

    /// Undoes a plan, and frees the ids it created.
    pub(super) fn undo(&mut self, raw: &[Edit]) {
        let mut working = Working { state: &mut self.state, ids: &mut self.ids, memory: &mut self.memory };
        raw.iter().rev().for_each(|edit| working.apply(&edit.inverse()));
        raw.iter().rev().for_each(|edit| working.retire(&edit.inverse()));
    }

    fn undo_keeping_ids(&mut self, raw: &[Edit]) {
        let mut working = Working { state: &mut self.state, ids: &mut self.ids, memory: &mut self.memory };
        raw.iter().rev().for_each(|edit| working.apply(&edit.inverse()));
    }

    fn redo(&mut self, raw: &[Edit]) {
        let mut working = Working { state: &mut self.state, ids: &mut self.ids, memory: &mut self.memory };
        raw.iter().for_each(|edit| working.apply(edit));
    }

    /// Checks every invariant. Takes time proportional to the model's size.
    ///
    /// # Errors
    /// [`Broken`] names the first invariant that does not hold.
    pub fn check(&self) -> Result<(), Broken> {
        self.state.check()?;
        self.state.check_ids(&self.ids)
    }
}
