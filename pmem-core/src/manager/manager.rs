//! The manager: plans, asks the drivers, commits. Exclusive, deterministic, without locks of its own.

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

/// A change that somebody is to be told of, and what came of it.
pub(crate) struct Noted {
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "only shared managers tell"))]
    pub(crate) change: Committed,
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "only shared managers tell"))]
    pub(crate) state: Option<State>,
}

/// Changes since they were last asked for.
pub(super) struct Outbox {
    pub(super) changes: Vec<Noted>,
    with_states: bool,
}

/// A manager of physical address space.
///
/// Every verb is one change, all or nothing: it is planned, every concerned [`Driver`] is asked, hardware is
/// programmed, and only then is it committed. [`Self::transaction`] makes one change of many verbs.
pub struct Manager {
    pub(super) state: State,
    pub(super) ids: Ids,
    pub(super) drivers: Registry,
    journal: Journal,
    /// Changes since they were last asked for, where somebody asks.
    pub(super) outbox: Option<Outbox>,
    /// Memory for the edits of the next plan.
    edits: Vec<Edit>,
    /// Memory for what they change.
    pub(super) memory: Memory,
    /// Regions without references, and who will not let go of them; nobody known, after loading.
    pub(super) condemned: Vec<(RegionId, Option<DriverId>)>,
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}

impl Manager {
    /// Makes a manager of nothing.
    pub fn new() -> Self {
        Self::with_state(State::default(), Ids::default())
    }

    /// Makes a manager of a state; regions of it that nobody holds wait for [`Self::reclaim`].
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

    /// The model as it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    #[cfg(feature = "serde")]
    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The last changes.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Takes the changes that were kept since the last call, and keeps those to come: with what came of each, if somebody asks for that.
    #[cfg(feature = "std")]
    pub(crate) fn take_outbox(&mut self, with_states: bool) -> Vec<Noted> {
        let new = Outbox { changes: Vec::new(), with_states };
        self.outbox.replace(new).map_or_else(Vec::new, |outbox| outbox.changes)
    }

    /// Keeps the last `limit` changes from now on.
    pub fn set_journal_limit(&mut self, limit: usize) {
        self.journal.set_limit(limit);
    }

    /// Makes one change of all verbs that `verbs` calls.
    ///
    /// # Errors
    /// What `verbs` returns, or why a driver would not: nothing is changed then.
    pub fn transaction<T>(
        &mut self,
        verbs: impl FnOnce(&mut Plan<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.try_transaction(verbs)
    }

    /// As [`Self::transaction`], with an error of the caller's own.
    ///
    /// # Errors
    /// What `verbs` returns, or why a driver would not: nothing is changed then.
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

    /// Works out what `verbs` would change, and changes nothing. Ids of what would be new mean nothing afterwards.
    ///
    /// # Errors
    /// What `verbs` returns.
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

    /// Works out what `verbs` would change, asks every driver that it concerns whether it would refuse, and changes nothing. A driver
    /// that is degraded is asked as it is.
    ///
    /// # Errors
    /// What `verbs` returns, or [`Error::Refused`].
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

    /// Has a plan carried out and commits it; who took part. Of the edits, memory is left.
    pub(super) fn finish(&mut self, raw: &mut Vec<Edit>) -> Result<Vec<DriverId>, Error> {
        let joined = match Edit::net(raw) {
            Cow::Borrowed(_) => None,
            Cow::Owned(joined) => Some(joined),
        };
        let net = joined.as_deref().unwrap_or(raw);
        // What the commit takes of memory is there before drivers begin.
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
            // They resync to what is, before they are asked about what comes.
            self.undo_keeping_ids(raw);
            let resynced = degraded.into_iter().try_for_each(|id| self.drivers.resync(id, &self.state));
            self.redo(raw);
            resynced?;
        }
        self.drivers.carry(self.state.sequence.saturating_add(1), net, &self.state)
    }

    /// Takes down a plan that was carried out: its edits, joined where they had to be, and a copy of them for who asked.
    pub(super) fn commit(&mut self, raw: &mut Vec<Edit>, joined: Option<Vec<Edit>>, copy: Option<Vec<Edit>>) {
        let mut working = Working { state: &mut self.state, ids: &mut self.ids, memory: &mut self.memory };
        raw.iter().for_each(|edit| working.retire(edit));
        let edits = joined.unwrap_or_else(|| core::mem::take(raw));
        if edits.is_empty() {
            return;
        }
        // Beyond 2^64 changes only a state that was tampered with gets.
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

    /// Takes a plan back, ids and all.
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

    /// Checks every invariant. Costs as much as reading all of the model.
    ///
    /// # Errors
    /// [`Broken`] names the first that does not hold.
    pub fn check(&self) -> Result<(), Broken> {
        self.state.check()?;
        self.state.check_ids(&self.ids)
    }
}
