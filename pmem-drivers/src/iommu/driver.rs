//! The driver for IOMMUs.

use super::binding::Layout;
use super::domains::Domains;
use super::port::Port;
use super::refuse::refused;
use super::task::{Stage, Task, tasks};
use super::unit::{DomainKind, Unit};
use super::wanted::{self, Place};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use pmem_core::{
    AddrRange, Change, Concern, Driver, Edit, Fault, LinkId, Mismatch, RegionId, State, Step, Veto,
};
use pmem_iommu::RequesterId;
use pmem_iommu::table::{Format, Mapped, Short, TableError, TableMemory};

/// Programs a unit's tables to follow a model: see the [module](super).
///
/// Register it for everything, or for the arenas and interconnects of its domains and the arenas of its devices. It
/// does not take over a unit that somebody else uses.
///
/// When a change is published, the hardware no longer has what the change removes, including cached translations.
/// The driver sets memory for tables aside before it writes anything, and frees tables once the unit has
/// invalidated them.
///
/// # Examples
///
/// A NIC reaches only the buffer that is mapped for it. The unit here is simulated (feature `fake`):
///
/// ```
/// # use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Mapping, Metric, Request, Scope, Subscription};
/// # use pmem_iommu::RequesterId;
/// use pmem_drivers::iommu::{Binding, FakeVtd, Iommu, Limits, Peers, Vtd, VtdChip};
/// use pmem_drivers::iommu::{add_device, add_domain, join};
///
/// # let mut pmem = Manager::new();
/// # let system = pmem.create_arena("system", ArenaType::BUS)?;
/// # let ram = pmem.create_arena("ram", ArenaType::RAM)?;
/// # let all = AddrRange::new(0, 1 << 30)?;
/// # pmem.prime(ram, all, Attrs::ram())?;
/// # pmem.connect(system, ram, Mapping::window(all, 0)?, Metric::new(1))?;
/// // `pmem` has a system bus with 1 GiB of RAM.
/// let nic = RequesterId::new(0x3b, 0, 0);
/// let mut binding = Binding::default();
/// let domain = pmem.transaction(|plan| {
///     let limits = Limits::x86(39);
///     let domain = add_domain(plan, &mut binding, system, "network", &limits, Peers::Refused)?;
///     let device = add_device(plan, &mut binding, "nic", [nic])?;
///     join(plan, device, domain)?;
///     Ok(domain)
/// })?;
/// let unit = FakeVtd::new(VtdChip::new(3, false, true), 64);
/// let vtd = Vtd::new(unit.clone()).map_err(|fault| fault.reason)?;
/// pmem.register(Box::new(Iommu::new(vtd, binding)), Subscription::new([Scope::Everything]))?;
///
/// let buffer = pmem.alloc(ram, &Request::new(0x4000).align(0x1000))?;
/// let mapping = pmem.map(domain.arena, buffer)?;
/// let (seen, at) = (pmem.range(mapping)?.start(), pmem.range(buffer)?.start());
/// assert_eq!(unit.access(nic, seen + 0x10, true), Some(at + 0x10));
/// assert_eq!(unit.access(nic, seen + 0x4000, true), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Iommu<U: Unit, L> {
    unit: U,
    layout: L,
    domains: Domains<U::Format>,
    /// The requesters that are not refused.
    places: BTreeMap<RequesterId, Place>,
    staged: Staged,
}

/// A requester in a change.
#[derive(Clone, Copy, Debug)]
struct Move {
    id: RequesterId,
    old: Option<Place>,
    new: Option<Place>,
}

impl Move {
    fn at(&self, stage: Stage) -> Option<Place> {
        match stage {
            Stage::Old => self.old,
            Stage::New => self.new,
            Stage::Between => self.old.filter(|old| Some(*old) == self.new),
        }
    }
}

/// A change that is planned.
#[derive(Debug, Default)]
struct Staged {
    tasks: Vec<Task>,
    moves: Vec<Move>,
    /// Domains that the change adds. They have tables as soon as it is prepared.
    come: Vec<LinkId>,
    /// Domains that the change removes.
    gone: Vec<LinkId>,
    /// Whether a revert failed, so that the unit may still use what the change added.
    is_astray: bool,
}

impl Staged {
    /// Empties it, but keeps its memory.
    fn clear(&mut self) {
        self.tasks.clear();
        self.moves.clear();
        self.come.clear();
        self.gone.clear();
        self.is_astray = false;
    }
}

impl<U: Unit, L: Layout> Iommu<U, L> {
    /// Creates a driver for a unit. The unit is started when you register the driver.
    pub fn new(unit: U, layout: L) -> Self {
        let (domains, places) = (Domains::default(), BTreeMap::new());
        Self { unit, layout, domains, places, staged: Staged::default() }
    }

    /// Returns the unit.
    pub const fn unit(&self) -> &U {
        &self.unit
    }

    /// Returns the unit for writing, for example to read its events.
    pub const fn unit_mut(&mut self) -> &mut U {
        &mut self.unit
    }

    /// Stops the unit of a driver that was deregistered, and returns it.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the unit does not stop.
    pub fn stop(mut self) -> Result<U, Fault> {
        self.unit.stop()?;
        for domain in self.domains.ids().collect::<Vec<_>>() {
            self.domains.close(self.unit.port_mut().memory_mut(), domain);
        }
        Ok(self.unit)
    }

    /// Returns the number of a domain; `None` if it is not this unit's.
    pub fn number(&self, domain: LinkId) -> Option<u16> {
        self.domains.get(domain).map(|held| held.number)
    }

    /// Calls `say` for each mapping of a domain's table in a range, in ascending order.
    ///
    /// # Errors
    /// Returns a [`TableError`] if an entry is invalid, or a table cannot be read.
    pub fn mapped(
        &self,
        domain: LinkId,
        range: AddrRange,
        say: &mut dyn FnMut(Mapped),
    ) -> Result<(), TableError> {
        let Some(held) = self.domains.get(domain) else { return Ok(()) };
        held.table.each(self.unit.port().memory(), range.start(), range.last(), say)
    }

    /// Stages the domains that come and go, and the requesters that move. New domains get a table at once.
    fn topology(&mut self, state: &State) -> Result<(), Veto> {
        let (width, passes) = (self.unit.width(), self.unit.passes());
        let (wanted, places) = self.layout.binding(|binding| {
            Ok::<_, Veto>((wanted::domains(state, binding, width)?, wanted::places(state, binding, passes)?))
        })?;
        self.staged.gone = self.domains.ids().filter(|domain| !wanted.contains_key(domain)).collect();
        for (domain, page) in wanted {
            match self.domains.get(domain) {
                Some(held) if held.page != page => {
                    return Err(Veto::new("a domain's page size cannot change").needs(page, held.page));
                }
                Some(_) => {}
                None => {
                    self.domains.open(&mut self.unit, domain, page)?;
                    self.staged.come.push(domain);
                }
            }
        }
        let ids: BTreeSet<RequesterId> = self.places.keys().chain(places.keys()).copied().collect();
        let one = |id| Move { id, old: self.places.get(&id).copied(), new: places.get(&id).copied() };
        self.staged.moves = ids.into_iter().map(one).filter(|one| one.old != one.new).collect();
        Ok(())
    }

    /// Stages the tasks of a change.
    fn tasks(&mut self, change: &Change<'_>) -> Result<(), Veto> {
        let state = change.after();
        let mut moved: BTreeSet<RegionId> = BTreeSet::new();
        let edits = || change.own_edits();
        if edits().any(|edit| matches!(edit, Edit::Effective { .. })) {
            moved.extend(edits().filter_map(|edit| match edit {
                Edit::Region { region, .. } => Some(*region),
                _ => None,
            }));
        }
        for edit in edits() {
            let (old, new) = match edit {
                Edit::Region { old, new, .. } => (old.as_ref(), new.as_ref()),
                // A region that moves too is handled by its own edit, which knows where it was.
                Edit::Effective { placement, .. } if !moved.contains(&placement.record.id) => {
                    (Some(placement), Some(placement))
                }
                _ => continue,
            };
            let memory = self.unit.port().memory();
            let old = old.and_then(|placement| self.domains.had(memory, placement));
            let new = match new {
                Some(placement) => self.layout.binding(|binding| wanted::span(state, binding, placement))?,
                None => None,
            };
            let staged = &mut self.staged.tasks;
            match (old, new) {
                (Some((domain, old)), Some((same, new))) if domain == same => {
                    staged.extend(tasks(domain, Some(old), Some(new)));
                }
                (old, new) => {
                    staged.extend(old.into_iter().flat_map(|(domain, old)| tasks(domain, Some(old), None)));
                    staged.extend(new.into_iter().flat_map(|(domain, new)| tasks(domain, None, Some(new))));
                }
            }
        }
        Ok(())
    }

    /// Stages everything that a state requires, for a unit with empty tables and all requesters refused.
    fn stage_all(&mut self, state: &State) -> Result<(), Veto> {
        self.places.clear();
        self.topology(state)?;
        let domains: Vec<LinkId> = self.domains.ids().collect();
        for domain in domains {
            let spans = self.layout.binding(|binding| wanted::spans(state, binding, domain))?;
            self.staged.tasks.extend(spans.into_iter().flat_map(|span| tasks(domain, None, Some(span))));
        }
        self.set_aside()
    }

    /// Sets aside memory for what is staged. If there is too little, it first frees tables that are empty but were
    /// kept for later.
    fn set_aside(&mut self) -> Result<(), Veto> {
        if self.count_aside()?.is_ok() {
            return Ok(());
        }
        self.domains.prune(&mut self.unit).map_err(refused)?;
        let Err(Short { wanted, left }) = self.count_aside()? else { return Ok(()) };
        let range = self.staged.tasks.first().map(|task| task.range);
        let veto = Veto::new("there is no memory for tables").needs(wanted as u64, left as u64);
        Err(Veto { range, ..veto })
    }

    fn count_aside(&mut self) -> Result<Result<(), Short>, Veto> {
        let come = self.staged.moves.iter().filter(|one| one.new.is_some());
        let ids: Vec<RequesterId> = come.map(|one| one.id).collect();
        let mut tables = self.unit.tables_to_seat(&ids);
        let memory = self.unit.port_mut().memory_mut();
        // In ascending order, tables that neighbouring spans share are counted once.
        self.staged.tasks.sort_unstable_by_key(|task| (task.domain, task.range.start()));
        let mut before = None;
        for task in &self.staged.tasks {
            tables += self.domains.prepare(memory, task, before)?;
            before = Some(task).filter(|task| task.new.is_some()).or(before);
        }
        for tasks in self.staged.tasks.chunk_by(|one, next| one.domain == next.domain) {
            tasks.iter().take(1).for_each(|task| self.domains.make_room(task.domain, tasks.len()));
        }
        Ok(memory.set_aside(tables))
    }

    /// Brings the unit to a stage, by a step or by undoing one.
    fn bring(&mut self, step: Step, stage: Stage) -> Result<(), Fault> {
        // No requester may use a table that is only half done. So detach requesters before writing tables, and
        // attach them after.
        if stage == Stage::Between {
            self.seat(stage)?;
        }
        for task in self.staged.tasks.iter().filter(|task| task.is_of(step)) {
            self.domains.write(&mut self.unit, task, stage)?;
        }
        self.domains.forget(&mut self.unit)?;
        if stage == Stage::Between { Ok(()) } else { self.seat(stage) }
    }

    fn seat(&mut self, stage: Stage) -> Result<(), Fault> {
        for one in &self.staged.moves {
            let (has, wanted) = (self.unit.seated(one.id), seat_of(&self.domains, one.at(stage)));
            if has != wanted {
                self.unit.seat(one.id, wanted)?;
            }
        }
        Ok(())
    }

    /// Closes domains and frees their tables.
    fn close(&mut self, domains: Vec<LinkId>) {
        let memory = self.unit.port_mut().memory_mut();
        domains.into_iter().for_each(|domain| self.domains.close(memory, domain));
    }

    /// Drops what is staged. Domains that it added are closed, unless the unit may still use them; a resync then
    /// deals with them.
    fn drop_staged(&mut self) {
        let staged = core::mem::take(&mut self.staged);
        if !staged.is_astray {
            self.close(staged.come);
        }
    }

    fn finish(&mut self) {
        let gone = core::mem::take(&mut self.staged.gone);
        self.close(gone);
        for one in self.staged.moves.drain(..) {
            match one.new {
                Some(place) => drop(self.places.insert(one.id, place)),
                None => drop(self.places.remove(&one.id)),
            }
        }
        self.staged.tasks.clear();
        self.staged.come.clear();
    }
}

fn seat_of<F: Format + Clone + Send>(domains: &Domains<F>, place: Option<Place>) -> DomainKind {
    match place {
        None => DomainKind::Refused,
        Some(Place::Passed) => DomainKind::Passed,
        Some(Place::In(domain)) => domains.get(domain).map_or(DomainKind::Refused, |held| {
            DomainKind::Domain { number: held.number, root: held.table.root() }
        }),
    }
}

impl<U: Unit + 'static, L: Layout + 'static> Driver for Iommu<U, L> {
    fn name(&self) -> &str {
        self.unit.name()
    }

    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        self.unit.start().map_err(refused)?;
        let done =
            self.stage_all(state).and_then(|()| self.bring(Step::Install, Stage::New).map_err(refused));
        if done.is_err() {
            // Whatever the reason, the driver is not registered, so it must free what it has taken.
            let stopped = self.unit.stop();
            self.staged.is_astray = stopped.is_err();
            self.drop_staged();
            stopped.map_err(refused)?;
        }
        done?;
        self.finish();
        Ok(())
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        self.staged.clear();
        let is_topology = |edit: &Edit| matches!(edit, Edit::Link { .. });
        let topology =
            if change.edits().iter().any(is_topology) { self.topology(change.after()) } else { Ok(()) };
        let done = topology.and_then(|()| self.tasks(change)).and_then(|()| self.set_aside());
        if done.is_err() {
            self.drop_staged();
        }
        done?;
        let Staged { tasks, moves, come, gone, .. } = &self.staged;
        let is_nothing = tasks.is_empty() && moves.is_empty() && come.is_empty() && gone.is_empty();
        Ok(if is_nothing { Concern::Indifferent } else { Concern::Concerned })
    }

    fn withdraw(&mut self) -> Result<(), Fault> {
        self.bring(Step::Withdraw, Stage::Between)
    }

    fn install(&mut self) -> Result<(), Fault> {
        self.bring(Step::Install, Stage::New)
    }

    fn published(&mut self) {
        self.finish();
    }

    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        let done = match step {
            Step::Install => self.bring(step, Stage::Between),
            Step::Withdraw => self.bring(step, Stage::Old),
        };
        self.staged.is_astray |= done.is_err();
        if step == Step::Withdraw {
            self.drop_staged();
        }
        done
    }

    fn abort(&mut self) {
        self.drop_staged();
    }

    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        self.drop_staged();
        self.unit.restart()?;
        let memory = self.unit.port_mut().memory_mut();
        for domain in self.domains.ids().collect::<Vec<_>>() {
            let done = self.domains.empty(memory, domain);
            done.map_err(|error| super::refuse::fault(&error, AddrRange::ALL))?;
        }
        self.domains.forget(&mut self.unit)?;
        let staged = self.stage_all(state);
        staged.map_err(|veto| Fault { range: veto.range, ..Fault::new(veto.reason) })?;
        self.bring(Step::Install, Stage::New)?;
        self.finish();
        Ok(())
    }

    fn verify(&mut self, state: &State) -> Result<(), Mismatch> {
        let wrong = |reason, range| Mismatch { reason, range, wanted_found: None };
        if !self.unit.is_running().map_err(|fault| wrong(fault.reason, fault.range))? {
            return Err(wrong("the unit does not translate by its tables", None));
        }
        let refused = |veto: Veto| wrong(veto.reason, veto.range);
        for domain in self.domains.ids() {
            let spans =
                self.layout.binding(|binding| wanted::spans(state, binding, domain)).map_err(refused)?;
            self.domains.verify(self.unit.port().memory(), domain, &spans)?;
        }
        let passes = self.unit.passes();
        let places =
            self.layout.binding(|binding| wanted::places(state, binding, passes)).map_err(refused)?;
        let ids: BTreeSet<RequesterId> = self.places.keys().chain(places.keys()).copied().collect();
        for id in ids {
            if self.unit.seated(id) != seat_of(&self.domains, places.get(&id).copied()) {
                let at = AddrRange::sized(u64::from(id.0), 1).ok();
                return Err(wrong("a requester's entry differs from the model", at));
            }
        }
        Ok(())
    }
}
