//! Who is told of what.

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

/// Where changes concern a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Anywhere.
    Everything,
    /// In one arena: its space, its regions, the interconnects that join it.
    Arena(ArenaId),
    /// On one interconnect: its windows, and the aliases through it.
    Link(LinkId),
    /// In what one arena sees: effective attributes and places, as [`Delta`]s.
    View(ArenaId),
}

bitflags! {
    /// Kinds of edit.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Kinds: u8 {
        /// Regions and aliases come, go, move, are parked or resized.
        const REGIONS = 0x01;
        /// Regions' attributes, owners or pins change; what aliases of them amount to.
        const ATTRS = 0x02;
        /// Space is primed, unprimed, sealed, unsealed, lent.
        const SPANS = 0x04;
        /// Windows change.
        const WINDOWS = 0x08;
        /// Arenas and interconnects come, go, are renamed.
        const TOPOLOGY = 0x10;
        /// Reference counts change.
        const COUNTS = 0x20;
        /// Regions get other names.
        const NAMES = 0x40;
    }
}

/// What a driver cares for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Kinds of edit. A view's deltas have none: there only the attributes below count.
    pub kinds: Kinds,
    /// Of changes of attributes, the usages that matter.
    pub usage: Usage,
    /// Of changes of attributes, the protections that matter.
    pub prot: Prot,
    /// Of changes of attributes, the properties that matter.
    pub props: Props,
    /// Of a view, whether it matters where an address leads.
    pub places: bool,
}

impl Default for Interest {
    /// Everything but reference counts and names.
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

/// How a driver is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    scopes: Vec<Scope>,
    interest: Interest,
    priority: i32,
}

impl Subscription {
    /// Concerned wherever one of these scopes is touched.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self { scopes: scopes.into_iter().collect(), interest: Interest::default(), priority: 0 }
    }

    /// Concerned only by these kinds and attributes.
    #[must_use]
    pub fn interest(self, interest: Interest) -> Self {
        Self { interest, ..self }
    }

    /// Asked before those of lower priority; equals are asked in the order in which they were registered.
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
    /// In the order in which they prepare.
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

    /// What `edits`, which lead to `after`, make of each observed view.
    pub(crate) fn updates(&self, edits: &[Edit], after: &State) -> Vec<Update> {
        self.views.iter().map(|(arena, flat)| flat.update(*arena, edits, after)).collect()
    }

    /// How each observed view changes.
    pub(crate) fn deltas(&self, updates: &[Update]) -> Vec<(ArenaId, Vec<Delta>)> {
        self.views
            .iter()
            .zip(updates)
            .map(|((arena, _), update)| (*arena, update.deltas().to_vec()))
            .collect()
    }

    /// Takes the observed views on to the state `after`.
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

    /// The deltas of the views it is registered on, as far as they matter to it.
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

    /// The driver, and what it cares for.
    pub(crate) fn parts(&mut self) -> (&mut dyn Driver, &Subscription) {
        (&mut *self.driver, &self.subscription)
    }
}

impl Subscription {
    /// Whether an edit concerns it.
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
        // They have no place of their own.
        (Scope::Arena(_) | Scope::Link(_), Edit::Count { .. } | Edit::Name { .. }) => false,
    }
}
