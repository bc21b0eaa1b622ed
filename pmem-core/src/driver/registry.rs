//! The registered drivers, and which changes concern them.

use super::contract::Driver;
use super::deltas::Delta;
use super::flat::{Flat, Update};
use crate::id::{ArenaId, DriverId, LinkId};
use crate::model::{Edit, Placement, State};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bitflags::bitflags;
use pmem_space::{Attrs, Props, Prot, Usage};
use slotmap::SlotMap;

/// The part of the model in which changes concern a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// The whole model.
    Everything,
    /// One arena: its space, its regions, and the interconnects that join it.
    Arena(ArenaId),
    /// One interconnect: its windows, and the aliases that go through it.
    Link(LinkId),
    /// What one arena sees: effective attributes and places, reported as [`Delta`]s.
    View(ArenaId),
}

bitflags! {
    /// Kinds of edit.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Kinds: u8 {
        /// Regions and aliases are created, removed, moved, parked or resized.
        const REGIONS = 0x01;
        /// The attributes, owners or pins of regions change, or the effective attributes of aliases.
        const ATTRS = 0x02;
        /// Space is primed, unprimed, sealed, unsealed, retired or lent.
        const SPANS = 0x04;
        /// Floating windows change.
        const WINDOWS = 0x08;
        /// Arenas and interconnects are created, removed or altered.
        const TOPOLOGY = 0x10;
        /// Reference counts change.
        const COUNTS = 0x20;
        /// Regions are renamed.
        const NAMES = 0x40;
    }
}

/// The changes that a driver is interested in, within its scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The kinds of edit. Deltas of a view have no kind; only the fields below filter them.
    pub kinds: Kinds,
    /// The usage bits whose changes matter.
    pub usage: Usage,
    /// The protection bits whose changes matter.
    pub prot: Prot,
    /// The property bits whose changes matter.
    pub props: Props,
    /// Whether it matters, for a view, where addresses lead.
    pub places: bool,
}

impl Default for Interest {
    /// Returns an interest in everything except reference counts and names.
    fn default() -> Self {
        Self {
            kinds: Kinds::all().difference(Kinds::COUNTS).difference(Kinds::NAMES),
            usage: Usage::all(),
            prot: Prot::all(),
            props: Props::all(),
            places: true,
        }
    }
}

/// How a driver is registered: its scopes, its interest and its priority.
///
/// # Examples
/// An MTRR driver cares only about the caching of what the CPU sees, and must be asked before any other driver:
/// ```
/// use pmem_core::test_util::Quiet;
/// use pmem_core::{ArenaType, Interest, Manager, Props, Prot, Scope, Subscription, Usage};
///
/// let mut pmem = Manager::new();
/// let cpu = pmem.create_arena("CPU", ArenaType::VIEW)?;
/// let caching = Interest {
///     usage: Usage::empty(),
///     prot: Prot::empty(),
///     props: Props::CACHING,
///     places: false,
///     ..Interest::default()
/// };
/// let subscription = Subscription::new([Scope::View(cpu)]).interest(caching).priority(10);
/// pmem.register(Box::new(Quiet::new("IOMMU")), Subscription::new([Scope::Everything]))?;
/// pmem.register(Box::new(Quiet::new("MTRRs")), subscription)?;
/// let names: Vec<&str> = pmem.drivers().map(|(_, name, _)| name).collect();
/// assert_eq!(names, ["MTRRs", "IOMMU"]);
/// # Ok::<(), pmem_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    scopes: Vec<Scope>,
    interest: Interest,
    priority: i32,
}

impl Subscription {
    /// Returns a subscription to every change in any of these scopes, with the default interest and priority 0.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self { scopes: scopes.into_iter().collect(), interest: Interest::default(), priority: 0 }
    }

    /// Restricts the subscription to these kinds of edit and these attributes.
    #[must_use]
    pub fn interest(self, interest: Interest) -> Self {
        Self { interest, ..self }
    }

    /// Sets the priority. Drivers of higher priority prepare first; equal ones in the order of their registration.
    #[must_use]
    pub fn priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }
}

pub(crate) struct Registered {
    pub(crate) driver: Box<dyn Driver>,
    subscription: Subscription,
    pub(crate) degraded: bool,
}

/// The flattened views that drivers are registered on.
type Views = Vec<(ArenaId, Flat)>;

/// All registered drivers.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) drivers: SlotMap<DriverId, Registered>,
    /// The ids in the order in which the drivers prepare.
    order: Vec<DriverId>,
    views: Views,
}

impl Registry {
    pub(crate) fn add(
        &mut self,
        driver: Box<dyn Driver>,
        subscription: Subscription,
        state: &State,
    ) -> DriverId {
        // Drivers on the same view share its flattened form.
        for scope in &subscription.scopes {
            if let Scope::View(arena) = scope
                && !self.views.iter().any(|(viewed, _)| viewed == arena)
            {
                self.views.push((*arena, Flat::of(state, *arena)));
            }
        }
        let priority = subscription.priority;
        let id = self.drivers.insert(Registered { driver, subscription, degraded: false });
        let after = |other: &DriverId| self.drivers[*other].subscription.priority >= priority;
        let place = self.order.partition_point(after);
        self.order.insert(place, id);
        id
    }

    pub(crate) fn remove(&mut self, id: DriverId) -> Option<Box<dyn Driver>> {
        let gone = self.drivers.remove(id)?;
        self.order.retain(|other| *other != id);
        let drivers = &self.drivers;
        let viewed =
            |arena: ArenaId| drivers.values().any(|r| r.subscription.scopes.contains(&Scope::View(arena)));
        self.views.retain(|(arena, _)| viewed(*arena));
        Some(gone.driver)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn order(&self) -> &[DriverId] {
        &self.order
    }

    pub(crate) fn get(&self, id: DriverId) -> Option<&Registered> {
        self.drivers.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: DriverId) -> Option<&mut Registered> {
        self.drivers.get_mut(id)
    }

    /// Computes how `edits`, which lead to `after`, update each observed view.
    pub(crate) fn updates(&self, edits: &[Edit], after: &State) -> Vec<Update> {
        self.views.iter().map(|(arena, flat)| flat.update(*arena, edits, after)).collect()
    }

    /// Returns how each observed view changes.
    pub(crate) fn deltas(&self, updates: &[Update]) -> Vec<(ArenaId, Vec<Delta>)> {
        self.views
            .iter()
            .zip(updates)
            .map(|((arena, _), update)| (*arena, update.deltas().to_vec()))
            .collect()
    }

    /// Advances the observed views to the state `after`.
    pub(crate) fn set_views(&mut self, updates: Vec<Update>, after: &State) {
        for ((arena, flat), update) in self.views.iter_mut().zip(updates) {
            flat.apply(update);
            debug_assert!(flat.sees_as(&Flat::of(after, *arena)), "{arena}: the patch is wrong");
        }
    }
}

impl Registered {
    pub(crate) fn is_degraded(&self) -> bool {
        self.degraded
    }

    pub(crate) fn driver(&self) -> &dyn Driver {
        &*self.driver
    }

    pub(crate) fn driver_mut(&mut self) -> &mut dyn Driver {
        &mut *self.driver
    }

    pub(crate) fn set_degraded(&mut self, degraded: bool) {
        self.degraded = degraded;
    }

    /// Returns the deltas of the views this driver is registered on, as far as they match its interest.
    pub(crate) fn deltas(&self, all: &[(ArenaId, Vec<Delta>)]) -> Vec<Delta> {
        let Interest { usage, prot, props, places, .. } = self.subscription.interest;
        all.iter()
            .filter(|(arena, _)| self.subscription.scopes.contains(&Scope::View(*arena)))
            .flat_map(|(_, deltas)| deltas.iter().filter(|delta| delta.matters(usage, prot, props, places)))
            .copied()
            .collect()
    }

    pub(crate) fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// Returns the driver and its subscription.
    pub(crate) fn parts(&mut self) -> (&mut dyn Driver, &Subscription) {
        (&mut *self.driver, &self.subscription)
    }
}

impl Subscription {
    /// Whether an edit is in one of the scopes and matches the interest.
    pub(crate) fn is_concerned(&self, edit: &Edit, after: &State) -> bool {
        self.interested(edit) && self.scopes.iter().any(|scope| touches(edit, *scope, after))
    }

    fn interested(&self, edit: &Edit) -> bool {
        let Interest { kinds, usage, prot, props, .. } = self.interest;
        let differ = |was: Attrs, is: Attrs| {
            (was.usage() ^ is.usage()).intersects(usage)
                || (was.prot() ^ is.prot()).intersects(prot)
                || (was.props() ^ is.props()).intersects(props)
        };
        match edit {
            Edit::Arena { .. } | Edit::Link { .. } => kinds.contains(Kinds::TOPOLOGY),
            Edit::Span { .. } => kinds.contains(Kinds::SPANS),
            Edit::Window { .. } => kinds.contains(Kinds::WINDOWS),
            Edit::Name { .. } => kinds.contains(Kinds::NAMES),
            Edit::Count { .. } => kinds.contains(Kinds::COUNTS),
            Edit::Effective { old, new, .. } => kinds.contains(Kinds::ATTRS) && differ(*old, *new),
            Edit::Region { old: Some(old), new: Some(new), .. } => {
                let attrs = differ(old.record.attrs, new.record.attrs)
                    || (old.record.owner, old.record.pin) != (new.record.owner, new.record.pin);
                let moved = old.seat != new.seat || old.record.role != new.record.role;
                (attrs && kinds.contains(Kinds::ATTRS)) || (moved && kinds.contains(Kinds::REGIONS))
            }
            Edit::Region { .. } => kinds.contains(Kinds::REGIONS),
        }
    }
}

fn touches(edit: &Edit, scope: Scope, after: &State) -> bool {
    let placements = |old: &Option<Placement>, new: &Option<Placement>| {
        [*old, *new].into_iter().flatten().collect::<Vec<_>>()
    };
    match (scope, edit) {
        (Scope::Everything, _) => true,
        (Scope::View(_), _) => false,
        (Scope::Arena(arena), Edit::Arena { arena: a, .. } | Edit::Span { arena: a, .. }) => *a == arena,
        (Scope::Arena(arena), Edit::Link { old, new, .. }) => {
            [old, new].into_iter().flatten().any(|link| link.left == arena || link.right == arena)
        }
        (Scope::Arena(arena), Edit::Window { link, .. }) => {
            after.link(*link).is_some_and(|link| link.left == arena || link.right == arena)
        }
        (Scope::Arena(arena), Edit::Region { old, new, .. }) => {
            placements(old, new).iter().any(|p| p.arena == arena)
        }
        (Scope::Arena(arena), Edit::Effective { placement, .. }) => placement.arena == arena,
        (Scope::Link(link), Edit::Effective { placement, .. }) => {
            placement.record.alias().is_some_and(|alias| alias.link == link)
        }
        (Scope::Link(link), Edit::Link { link: l, .. } | Edit::Window { link: l, .. }) => *l == link,
        (Scope::Link(link), Edit::Region { old, new, .. }) => {
            placements(old, new).iter().any(|p| p.record.alias().is_some_and(|alias| alias.link == link))
        }
        (Scope::Link(_), Edit::Arena { .. } | Edit::Span { .. }) => false,
        // Counts and names belong to no arena and no interconnect.
        (Scope::Arena(_) | Scope::Link(_), Edit::Count { .. } | Edit::Name { .. }) => false,
    }
}
