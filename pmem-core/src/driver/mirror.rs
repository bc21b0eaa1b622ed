//! A driver for hardware that holds values by key: memory slots, page tables, windows, registers.

use super::change::Change;
use super::contract::{Concern, Driver, Fault, Mismatch, Step, Veto};
use crate::model::State;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use pmem_space::AddrRange;

/// Hardware that is to hold what a state says: values, each under a key. [`Mirror`] makes a driver of it.
pub trait Hardware: Send {
    /// What a value is held under: a slot, an index, a page. Keys are set in their order, and cleared in the opposite one.
    type Key: Ord + Clone + Send;
    /// What is held.
    type Value: PartialEq + Clone + Send;

    /// What people call it.
    fn name(&self) -> &str;

    /// All that it is to hold in a state.
    ///
    /// # Errors
    /// [`Veto`] if it cannot hold that: it refuses the change that leads to the state.
    fn wanted(&self, state: &State) -> Result<BTreeMap<Self::Key, Self::Value>, Veto>;

    /// Sets a value, or clears it. If that fails, the value is what it was, or is told by [`Self::get`].
    ///
    /// # Errors
    /// [`Fault`] if the hardware does not do so.
    fn set(&mut self, key: &Self::Key, value: Option<&Self::Value>) -> Result<(), Fault>;

    /// Reads a value back.
    ///
    /// # Errors
    /// [`Fault`] if the hardware does not say.
    fn get(&mut self, key: &Self::Key) -> Result<Option<Self::Value>, Fault>;

    /// What changes in what it is to hold: each key with its new value, or none. By default everything is worked out anew and
    /// compared; hardware that holds much says it from the change's edits or deltas.
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

    /// Whether a value may be set over another, with nothing in between. By default it is cleared first, with all that goes away.
    fn replaces(&self, _key: &Self::Key, _old: &Self::Value, _new: &Self::Value) -> bool {
        false
    }

    /// The addresses that a key is about, for errors.
    fn range(&self, _key: &Self::Key) -> Option<AddrRange> {
        None
    }
}

/// One key's part in a change under way.
struct Task<K, V> {
    key: K,
    old: Option<V>,
    new: Option<V>,
    /// Whether the old value is cleared before the new one comes.
    clears: bool,
}

/// Keeps hardware as the model is: clears in withdraw what goes away, sets in install what comes, and takes either back value by
/// value. A resync, and the registration, write only what the hardware does not hold already.
pub struct Mirror<H: Hardware> {
    hardware: H,
    held: BTreeMap<H::Key, H::Value>,
    /// In order of their keys.
    tasks: Vec<Task<H::Key, H::Value>>,
}

impl<H: Hardware> Mirror<H> {
    /// A driver for this hardware; it takes over when it is registered.
    pub const fn new(hardware: H) -> Self {
        Self { hardware, held: BTreeMap::new(), tasks: Vec::new() }
    }

    /// What the hardware holds, as far as is known.
    pub const fn held(&self) -> &BTreeMap<H::Key, H::Value> {
        &self.held
    }

    /// The hardware.
    pub const fn hardware(&self) -> &H {
        &self.hardware
    }

    /// Has the hardware hold a value that it may hold already.
    fn ensure(&mut self, key: &H::Key, value: Option<&H::Value>) -> Result<(), Fault> {
        if self.hardware.get(key)?.as_ref() == value { Ok(()) } else { self.hardware.set(key, value) }
    }

    /// Has the hardware hold exactly what is wanted, of what is held and wanted.
    fn align(&mut self, wanted: BTreeMap<H::Key, H::Value>) -> Result<(), Fault> {
        self.tasks.clear();
        let gone: Vec<H::Key> = self.held.keys().filter(|key| !wanted.contains_key(key)).cloned().collect();
        // Until all of it is done, what it may hold is both.
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
            // What was cleared first is clear again until the withdrawal is taken back too.
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
                return Err(differs("a value is not what is wanted", self.hardware.range(&key)));
            }
        }
        Ok(())
    }
}
