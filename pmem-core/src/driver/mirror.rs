//! A driver for hardware that holds values by key: memory slots, page tables, windows, registers.

use super::change::Change;
use super::contract::{Concern, Driver, Fault, Mismatch, Step, Veto};
use crate::model::State;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use pmem_space::AddrRange;

/// Hardware that holds values, each under a key, as a state demands. [`Mirror`] turns it into a driver; see there for
/// an example.
pub trait Hardware: Send {
    /// What a value is held under: a slot, an index, a page. Keys are set in ascending order and cleared in
    /// descending order.
    type Key: Ord + Clone + Send;
    /// What is held under a key.
    type Value: PartialEq + Clone + Send;

    /// Returns the driver's name, as errors and lists print it.
    fn name(&self) -> &str;

    /// Returns everything the hardware must hold in `state`.
    ///
    /// # Errors
    /// [`Veto`] if the hardware cannot hold that. It refuses the change that leads to the state.
    fn wanted(&self, state: &State) -> Result<BTreeMap<Self::Key, Self::Value>, Veto>;

    /// Sets the value under a key, or clears it if `value` is `None`. On failure the key must hold the old value, or
    /// [`Self::get`] must tell what it holds.
    ///
    /// # Errors
    /// [`Fault`] if the hardware fails to do so.
    fn set(&mut self, key: &Self::Key, value: Option<&Self::Value>) -> Result<(), Fault>;

    /// Reads back the value under a key; `None` if the key is clear.
    ///
    /// # Errors
    /// [`Fault`] if the hardware cannot tell.
    fn get(&mut self, key: &Self::Key) -> Result<Option<Self::Value>, Fault>;

    /// Returns the keys whose value changes, each with its new value, or `None` if it is cleared. The default calls
    /// [`Self::wanted`] and compares everything; override it for hardware that holds much, and compute the keys from
    /// the change's edits or deltas.
    ///
    /// # Errors
    /// [`Veto`] refuses the change.
    #[expect(clippy::type_complexity, reason = "keys and values are the hardware's own")]
    fn changed(
        &self,
        change: &Change<'_>,
        held: &BTreeMap<Self::Key, Self::Value>,
    ) -> Result<Vec<(Self::Key, Option<Self::Value>)>, Veto> {
        let wanted = self.wanted(change.after())?;
        let gone = held.keys().filter(|key| !wanted.contains_key(key)).map(|key| (key.clone(), None));
        let come = wanted.iter().filter(|(key, value)| held.get(key) != Some(value));
        Ok(gone.chain(come.map(|(key, value)| (key.clone(), Some(value.clone())))).collect())
    }

    /// Whether a value may be overwritten with another directly. By default it may not: the old value is cleared
    /// first, with everything else that goes away.
    fn replaces(&self, _key: &Self::Key, _old: &Self::Value, _new: &Self::Value) -> bool {
        false
    }

    /// Returns the addresses that a key is about, for error messages; `None` by default.
    fn range(&self, _key: &Self::Key) -> Option<AddrRange> {
        None
    }
}

/// The part of a change that concerns one key.
struct Task<K, V> {
    key: K,
    old: Option<V>,
    new: Option<V>,
    /// Whether the old value is cleared before the new one is set.
    clears: bool,
}

/// A driver that keeps [`Hardware`] in step with the model. It clears in withdraw what goes away, sets in install
/// what is new, and reverts either value by value. A resync, or the registration, writes only what the hardware does
/// not already hold.
///
/// # Examples
/// A hypervisor's memory slots, by guest address:
/// ```
/// use pmem_core::{
///     AddrRange, ArenaId, ArenaType, Attrs, Fault, Hardware, Manager, Mirror, Request, Scope, State,
///     Subscription, Veto,
/// };
/// use std::collections::BTreeMap;
///
/// struct Slots { guest: ArenaId, slots: BTreeMap<u64, u64> }
///
/// impl Hardware for Slots {
///     type Key = u64;
///     type Value = u64;
///     fn name(&self) -> &str { "memory slots" }
///     fn wanted(&self, state: &State) -> Result<BTreeMap<u64, u64>, Veto> {
///         let guest = state.arena(self.guest).ok_or(Veto::new("the guest is gone"))?;
///         Ok(guest.regions().map(|(range, _)| (range.start(), range.len())).collect())
///     }
///     fn set(&mut self, key: &u64, value: Option<&u64>) -> Result<(), Fault> {
///         match value {
///             Some(len) => drop(self.slots.insert(*key, *len)),
///             None => drop(self.slots.remove(key)),
///         }
///         Ok(())
///     }
///     fn get(&mut self, key: &u64) -> Result<Option<u64>, Fault> { Ok(self.slots.get(key).copied()) }
/// }
///
/// let mut pmem = Manager::new();
/// let guest = pmem.create_arena("guest memory", ArenaType::RAM)?;
/// pmem.prime(guest, AddrRange::new(0, 0x1000_0000)?, Attrs::ram())?;
/// let hardware = Slots { guest, slots: BTreeMap::new() };
/// let driver = pmem.register(Box::new(Mirror::new(hardware)), Subscription::new([Scope::Arena(guest)]))?;
///
/// let region = pmem.alloc(guest, &Request::new(0x2000))?;
/// pmem.relocate(region, 0x8000)?;
/// let mirror = pmem.driver::<Mirror<Slots>>(driver).ok_or("no such driver")?;
/// assert_eq!(mirror.hardware().slots, BTreeMap::from([(0x8000, 0x2000)]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mirror<H: Hardware> {
    hardware: H,
    held: BTreeMap<H::Key, H::Value>,
    /// The keys of the change under way, in ascending order.
    tasks: Vec<Task<H::Key, H::Value>>,
}

impl<H: Hardware> Mirror<H> {
    /// Returns a driver for this hardware. It takes over when it is registered.
    pub const fn new(hardware: H) -> Self {
        Self { hardware, held: BTreeMap::new(), tasks: Vec::new() }
    }

    /// Returns what the hardware holds, as far as the driver knows.
    pub const fn held(&self) -> &BTreeMap<H::Key, H::Value> {
        &self.held
    }

    /// Returns the hardware.
    pub const fn hardware(&self) -> &H {
        &self.hardware
    }

    /// Makes the hardware hold a value, and writes only if it does not already.
    fn ensure(&mut self, key: &H::Key, value: Option<&H::Value>) -> Result<(), Fault> {
        if self.hardware.get(key)?.as_ref() == value { Ok(()) } else { self.hardware.set(key, value) }
    }

    /// Makes the hardware hold exactly `wanted`. Touches only keys that are wanted or known to be held.
    fn align(&mut self, wanted: BTreeMap<H::Key, H::Value>) -> Result<(), Fault> {
        self.tasks.clear();
        let gone: Vec<H::Key> = self.held.keys().filter(|key| !wanted.contains_key(key)).cloned().collect();
        // If this fails half-way, a key may hold its old or its new value: remember both until it is done.
        self.held.extend(wanted.iter().map(|(key, value)| (key.clone(), value.clone())));
        for key in gone.iter().rev() {
            self.ensure(key, None)?;
        }
        for (key, value) in &wanted {
            let found = self.hardware.get(key)?;
            if found
                .as_ref()
                .is_some_and(|found| found != value && !self.hardware.replaces(key, found, value))
            {
                self.hardware.set(key, None)?;
            }
        }
        for (key, value) in &wanted {
            self.ensure(key, Some(value))?;
        }
        self.held = wanted;
        Ok(())
    }
}

impl<H: Hardware + 'static> Driver for Mirror<H> {
    fn name(&self) -> &str {
        self.hardware.name()
    }

    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        let wanted = self.hardware.wanted(state)?;
        self.align(wanted).map_err(|fault| Veto { range: fault.range, ..Veto::new(fault.reason) })
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        self.tasks.clear();
        let mut changed = self.hardware.changed(change, &self.held)?;
        changed.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (key, new) in changed {
            let old = self.held.get(&key).cloned();
            if old != new {
                let clears = match (&old, &new) {
                    (Some(old), Some(new)) => !self.hardware.replaces(&key, old, new),
                    (old, _) => old.is_some(),
                };
                self.tasks.push(Task { key, old, new, clears });
            }
        }
        Ok(if self.tasks.is_empty() { Concern::Indifferent } else { Concern::Concerned })
    }

    fn withdraw(&mut self) -> Result<(), Fault> {
        let Self { hardware, tasks, .. } = self;
        tasks.iter().rev().filter(|task| task.clears).try_for_each(|task| hardware.set(&task.key, None))
    }

    fn install(&mut self) -> Result<(), Fault> {
        let Self { hardware, tasks, .. } = self;
        let come = tasks.iter().filter(|task| task.new.is_some());
        come.into_iter().try_for_each(|task| hardware.set(&task.key, task.new.as_ref()))
    }

    fn published(&mut self) {
        for Task { key, new, .. } in core::mem::take(&mut self.tasks) {
            match new {
                Some(value) => drop(self.held.insert(key, value)),
                None => drop(self.held.remove(&key)),
            }
        }
    }

    fn revert(&mut self, step: Step) -> Result<(), Fault> {
        let tasks = core::mem::take(&mut self.tasks);
        let done = match step {
            // What withdraw cleared stays clear here: the revert of the withdraw restores it, after all new values
            // are gone.
            Step::Install => tasks.iter().rev().filter(|task| task.new.is_some()).try_for_each(|task| {
                let before = task.old.as_ref().filter(|_| !task.clears);
                self.ensure(&task.key, before)
            }),
            Step::Withdraw => {
                let cleared = tasks.iter().filter(|task| task.clears);
                cleared.into_iter().try_for_each(|task| self.ensure(&task.key, task.old.as_ref()))
            }
        };
        if step == Step::Install {
            self.tasks = tasks;
        }
        done
    }

    fn abort(&mut self) {
        self.tasks.clear();
    }

    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        let wanted = self.hardware.wanted(state);
        let wanted = wanted.map_err(|veto| Fault { range: veto.range, ..Fault::new(veto.reason) })?;
        self.align(wanted)
    }

    fn verify(&mut self, state: &State) -> Result<(), Mismatch> {
        let differs = |reason, range| Mismatch { reason, range, wanted_found: None };
        let wanted = self.hardware.wanted(state).map_err(|veto| differs(veto.reason, veto.range))?;
        let keys: Vec<H::Key> = wanted.keys().chain(self.held.keys()).cloned().collect();
        for key in keys {
            let found = self.hardware.get(&key).map_err(|fault| differs(fault.reason, fault.range))?;
            if found.as_ref() != wanted.get(&key) {
                return Err(differs(
                    "the hardware holds a different value than the model asks for",
                    self.hardware.range(&key),
                ));
            }
        }
        Ok(())
    }
}
