//! The manager: plans, asks the drivers, commits. Exclusive, deterministic, without locks of its own.

use crate::attrs::{ArenaType, Attrs};
use crate::driver::{Driver, Mismatch, Registry, Subscription};
use crate::error::Error;
use crate::id::{ArenaId, DriverId, LinkId, Owner, RegionId};
use crate::mapping::Mapping;
use crate::metric::Metric;
use crate::model::{Broken, Direction, Edit, Home, Ids, Memory, Pin, Placement, State, Working};
use crate::plan::{Plan, Request, Spot};
use crate::protocol::{Outcome, attach, verify};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use pmem_space::AddrRange;

/// How many changes the journal keeps unless told otherwise.
const JOURNAL: usize = 64;

/// A change that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number, from 1; consecutive.
    pub sequence: u64,
    /// What changed: one edit per subject.
    pub edits: Vec<Edit>,
}

/// The last changes, oldest first; bounded.
#[derive(Clone, Debug)]
pub struct Journal {
    kept: VecDeque<Committed>,
    limit: usize,
    /// The number of the last change, kept or not.
    newest: u64,
}

impl Journal {
    /// The changes that are kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Committed> {
        self.kept.iter()
    }

    /// The changes after number `sequence`, oldest first; `None` if some of them are kept no more.
    pub fn since(&self, sequence: u64) -> Option<impl Iterator<Item = &Committed>> {
        let oldest = self.kept.front().map_or(u64::MAX, |c| c.sequence);
        let complete = sequence >= self.newest || oldest <= sequence.saturating_add(1);
        complete.then(|| self.kept.iter().filter(move |c| c.sequence > sequence))
    }

    /// Takes a change down, and gives back what it keeps no more.
    fn push(&mut self, committed: Committed) -> Option<Committed> {
        self.newest = committed.sequence;
        self.kept.push_back(committed);
        if self.kept.len() > self.limit { self.kept.pop_front() } else { None }
    }
}

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

/// A manager of physical address space.
///
/// Every verb is one change, all or nothing: it is planned, every concerned [`Driver`] is asked, hardware is
/// programmed, and only then is it committed. [`Self::transaction`] makes one change of many verbs.
pub struct Manager {
    state: State,
    ids: Ids,
    drivers: Registry,
    journal: Journal,
    /// Changes since they were last asked for, where somebody asks.
    outbox: Option<Vec<Committed>>,
    /// Memory for the edits of the next plan.
    edits: Vec<Edit>,
    /// Memory for what they change.
    memory: Memory,
    /// Regions without references, and who will not let go of them; nobody known, after loading.
    condemned: Vec<(RegionId, Option<DriverId>)>,
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
            journal: Journal {
                kept: VecDeque::with_capacity(JOURNAL + 1),
                limit: JOURNAL,
                newest: state.sequence,
            },
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

    /// Takes the changes that were kept since the last call, and keeps those to come, or not.
    #[cfg(feature = "std")]
    pub(crate) fn take_outbox(&mut self, keep: bool) -> Vec<Committed> {
        core::mem::replace(&mut self.outbox, keep.then(Vec::new)).unwrap_or_default()
    }

    /// Keeps the last `limit` changes from now on.
    pub fn set_journal_limit(&mut self, limit: usize) {
        self.journal.limit = limit;
        while self.journal.kept.len() > limit {
            self.journal.kept.pop_front();
        }
    }

    /// Makes one change of all verbs that `verbs` calls.
    ///
    /// # Errors
    /// What `verbs` returns, or why a driver would not: nothing is changed then.
    pub fn transaction<T>(
        &mut self,
        verbs: impl FnOnce(&mut Plan<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.change(verbs).map(|(result, _)| result)
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

    fn change<T>(
        &mut self,
        verbs: impl FnOnce(&mut Plan<'_>) -> Result<T, Error>,
    ) -> Result<(T, Vec<DriverId>), Error> {
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
        if let Ok((_, concerned)) = &result {
            self.retry_condemned(concerned);
        }
        result
    }

    /// Has a plan carried out and commits it; who took part. Of the edits, memory is left.
    fn finish(&mut self, raw: &mut Vec<Edit>) -> Result<Vec<DriverId>, Error> {
        let joined = match Edit::net(raw) {
            Cow::Borrowed(_) => None,
            Cow::Owned(joined) => Some(joined),
        };
        let net = joined.as_deref().unwrap_or(raw);
        // What the commit takes of memory is there before drivers begin.
        let copy = self.outbox.as_mut().map(|outbox| {
            outbox.reserve(1);
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
    fn commit(&mut self, raw: &mut Vec<Edit>, joined: Option<Vec<Edit>>, copy: Option<Vec<Edit>>) {
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
            outbox.push(Committed { sequence, edits });
        }
        if let Some(dropped) = self.journal.push(Committed { sequence, edits }) {
            *raw = dropped.edits;
        }
    }

    /// Takes a plan back, ids and all.
    fn undo(&mut self, raw: &[Edit]) {
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

/// Verbs: each is a change of its own. [`Plan`] says what they do and their errors; to those come
/// [`Error::Refused`] and [`Error::Failed`] of the drivers.
impl Manager {
    /// [`Plan::create_arena`].
    pub fn create_arena(&mut self, name: impl Into<String>, kind: ArenaType) -> Result<ArenaId, Error> {
        self.transaction(|plan| plan.create_arena(name, kind))
    }

    /// [`Plan::name_arena`].
    pub fn name_arena(&mut self, arena: ArenaId, name: impl Into<String>) -> Result<(), Error> {
        self.transaction(|plan| plan.name_arena(arena, name))
    }

    /// [`Plan::remove_arena`].
    pub fn remove_arena(&mut self, arena: ArenaId) -> Result<(), Error> {
        self.transaction(|plan| plan.remove_arena(arena))
    }

    /// [`Plan::connect`].
    pub fn connect(
        &mut self,
        left: ArenaId,
        right: ArenaId,
        mapping: Mapping,
        metric: Metric,
    ) -> Result<LinkId, Error> {
        self.transaction(|plan| plan.connect(left, right, mapping, metric))
    }

    /// [`Plan::connect_asymmetric`].
    pub fn connect_asymmetric(
        &mut self,
        left: ArenaId,
        right: ArenaId,
        to_right: Direction,
        to_left: Direction,
    ) -> Result<LinkId, Error> {
        self.transaction(|plan| plan.connect_asymmetric(left, right, to_right, to_left))
    }

    /// [`Plan::disconnect`].
    pub fn disconnect(&mut self, link: LinkId) -> Result<(), Error> {
        self.transaction(|plan| plan.disconnect(link))
    }

    /// [`Plan::prime`].
    pub fn prime(&mut self, arena: ArenaId, range: AddrRange, attrs: Attrs) -> Result<(), Error> {
        self.transaction(|plan| plan.prime(arena, range, attrs))
    }

    /// [`Plan::seal`].
    pub fn seal(&mut self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        self.transaction(|plan| plan.seal(arena, range))
    }

    /// [`Plan::unseal`].
    pub fn unseal(&mut self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        self.transaction(|plan| plan.unseal(arena, range))
    }

    /// [`Plan::unprime`].
    pub fn unprime(&mut self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        self.transaction(|plan| plan.unprime(arena, range))
    }

    /// [`Plan::alloc`].
    pub fn alloc(&mut self, arena: ArenaId, request: &Request) -> Result<RegionId, Error> {
        self.transaction(|plan| plan.alloc(arena, request))
    }

    /// Reserves a region that has no address yet: [`Plan::alloc_parked`].
    pub fn alloc_parked(&mut self, arena: ArenaId, request: &Request) -> Result<RegionId, Error> {
        self.transaction(|plan| plan.alloc_parked(arena, request))
    }

    /// [`Plan::set`].
    pub fn set(&mut self, region: RegionId, attrs: Attrs) -> Result<(), Error> {
        self.transaction(|plan| plan.set(region, attrs))
    }

    /// [`Plan::set_pin`].
    pub fn set_pin(&mut self, region: RegionId, pin: Pin) -> Result<(), Error> {
        self.transaction(|plan| plan.set_pin(region, pin))
    }

    /// [`Plan::set_owner`].
    pub fn set_owner(&mut self, region: RegionId, owner: Owner) -> Result<(), Error> {
        self.transaction(|plan| plan.set_owner(region, owner))
    }

    /// [`Plan::incref`].
    pub fn incref(&mut self, region: RegionId) -> Result<(), Error> {
        self.transaction(|plan| plan.incref(region))
    }

    /// [`Plan::map`].
    pub fn map(&mut self, arena: ArenaId, region: RegionId) -> Result<RegionId, Error> {
        self.transaction(|plan| plan.map(arena, region))
    }

    /// [`Plan::map_at`].
    pub fn map_at(
        &mut self,
        arena: ArenaId,
        region: RegionId,
        spot: impl Into<Spot>,
    ) -> Result<RegionId, Error> {
        self.transaction(|plan| plan.map_at(arena, region, spot))
    }

    /// [`Plan::relocate`].
    pub fn relocate(&mut self, region: RegionId, start: u64) -> Result<(), Error> {
        self.transaction(|plan| plan.relocate(region, start))
    }

    /// [`Plan::relocate_all`].
    pub fn relocate_all(&mut self, moves: &[(RegionId, u64)]) -> Result<(), Error> {
        self.transaction(|plan| plan.relocate_all(moves))
    }

    /// [`Plan::resize`].
    pub fn resize(&mut self, region: RegionId, len: u64) -> Result<(), Error> {
        self.transaction(|plan| plan.resize(region, len))
    }

    /// [`Plan::park`].
    pub fn park(&mut self, region: RegionId) -> Result<(), Error> {
        self.transaction(|plan| plan.park(region))
    }

    /// [`Plan::unpark`].
    pub fn unpark(&mut self, region: RegionId, spot: impl Into<Spot>) -> Result<(), Error> {
        self.transaction(|plan| plan.unpark(region, spot))
    }

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

    fn retry_condemned(&mut self, involved: &[DriverId]) {
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
    pub fn range_of(&self, region: RegionId) -> Result<AddrRange, Error> {
        self.placement(region)?.seat.range().ok_or(Error::IsParked(region))
    }

    /// In which arena a region is, and where it starts; known without a look into the arena.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::IsParked`].
    pub fn start_of(&self, region: RegionId) -> Result<(ArenaId, u64), Error> {
        match self.ids.regions.get(region).map(|entry| entry.home) {
            Some(Home::At(arena, start)) => Ok((arena, start)),
            Some(Home::Parked(_)) => Err(Error::IsParked(region)),
            Some(Home::Nowhere) | None => Err(Error::NoRegion(region)),
        }
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
        nobody.into_iter().flatten().chain(self.ids.owned_by(owner))
    }

    /// All regions and aliases, oldest id first.
    pub fn regions(&self) -> impl Iterator<Item = (RegionId, Placement)> + '_ {
        self.ids.regions.iter().filter_map(|(id, _)| Some((id, self.ids.placement(&self.state, id)?)))
    }
}

/// Drivers.
impl Manager {
    /// Registers a driver: it takes over or programs the present state, and is asked and told of changes from now on.
    ///
    /// # Errors
    /// [`Error::Refused`] with the driver's veto: it is then not registered.
    pub fn register(
        &mut self,
        mut driver: Box<dyn Driver>,
        subscription: Subscription,
    ) -> Result<DriverId, Error> {
        if let Err(veto) = attach(&mut *driver, &self.state) {
            return Err(Error::Refused {
                driver: DriverId::default(),
                name: String::from(driver.name()),
                veto,
            });
        }
        Ok(self.drivers.add(driver, subscription, &self.state))
    }

    /// Takes a driver out, and gives it back; hardware stays as it is. Regions that only it kept are let go.
    ///
    /// # Errors
    /// [`Error::NoDriver`].
    pub fn deregister(&mut self, driver: DriverId) -> Result<Box<dyn Driver>, Error> {
        let gone = self.drivers.remove(driver).ok_or(Error::NoDriver(driver))?;
        self.retry_condemned(&[driver]);
        Ok(gone)
    }

    /// The registered drivers, in the order in which they prepare, each with its name and whether it is degraded.
    pub fn drivers(&self) -> impl Iterator<Item = (DriverId, &str, bool)> {
        self.drivers.order().iter().filter_map(|id| {
            let registered = self.drivers.get(*id)?;
            Some((*id, registered.driver().name(), registered.is_degraded()))
        })
    }

    /// Has a driver program everything again.
    ///
    /// # Errors
    /// [`Error::NoDriver`]; [`Error::Failed`] if it cannot: it is degraded then.
    pub fn resync(&mut self, driver: DriverId) -> Result<(), Error> {
        self.drivers.resync(driver, &self.state)
    }

    /// Has a driver read its hardware back and compare.
    ///
    /// # Errors
    /// [`Error::NoDriver`]. The inner error is what differs.
    pub fn verify(&mut self, driver: DriverId) -> Result<Result<(), Mismatch>, Error> {
        let registered = self.drivers.get_mut(driver).ok_or(Error::NoDriver(driver))?;
        Ok(verify(registered.driver_mut(), &self.state))
    }

    /// Declares a driver's hardware not to be what the model says: the next change that concerns it begins with a resync.
    ///
    /// # Errors
    /// [`Error::NoDriver`].
    pub fn degrade(&mut self, driver: DriverId) -> Result<(), Error> {
        self.drivers.get_mut(driver).ok_or(Error::NoDriver(driver))?.set_degraded(true);
        Ok(())
    }
}
