//! Telling observers, in order, after the writer's lock is released.

use super::sync::{Mutex, lock};
use crate::manager::{Committed, Noted};
use crate::model::{Edit, State};
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A change that was published.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number, from 1; consecutive.
    pub sequence: u64,
    /// What changed: one edit per subject.
    pub edits: Vec<Edit>,
    state: Option<State>,
}

impl Event {
    pub(super) fn of(noted: Noted) -> Self {
        let Noted { change: Committed { sequence, edits }, state } = noted;
        Self { sequence, edits, state }
    }

    /// The model as this change left it, whatever has changed since; `None` if nobody observed yet when the change began.
    pub const fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }
}

type Observer = Box<dyn FnMut(&Event) + Send>;

/// Names an observer of a [`Pmem`](super::Pmem), to take it out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObserverId(u64);

/// Somebody who is told.
struct Known {
    id: ObserverId,
    observer: Observer,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// Observers that have come, and the last change that was published before they did.
    joining: Vec<(u64, Known)>,
    /// How many observers have come so far.
    came: u64,
    /// Those that are to be told.
    here: BTreeSet<ObserverId>,
    delivering: bool,
}

/// Events that wait, and who waits for them.
///
/// One thread at a time delivers. Another that commits meanwhile leaves its events to it; so does an observer that
/// changes the model.
#[derive(Default)]
pub(super) struct Events {
    waiting: Mutex<Waiting>,
    observers: Mutex<Vec<Known>>,
}

/// Lets others deliver, also when an observer has panicked.
struct Delivering<'e>(&'e Events);

impl Drop for Delivering<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).delivering = false;
    }
}

impl Events {
    /// Adds an observer of what comes after the change that `published` names.
    pub(super) fn observe(&self, observer: Observer, published: impl FnOnce() -> u64) -> ObserverId {
        let mut waiting = lock(&self.waiting);
        let id = ObserverId(waiting.came);
        waiting.came += 1;
        waiting.here.insert(id);
        // Read under the lock: whatever is published later is also pushed later.
        waiting.joining.push((published(), Known { id, observer }));
        id
    }

    /// Takes an observer out; says whether it was there.
    pub(super) fn unobserve(&self, id: ObserverId) -> bool {
        lock(&self.waiting).here.remove(&id)
    }

    /// Whether anybody is told of changes.
    pub(super) fn has_observers(&self) -> bool {
        !lock(&self.waiting).here.is_empty()
    }

    pub(super) fn push(&self, event: Event) {
        lock(&self.waiting).events.push_back(event);
    }

    pub(super) fn deliver(&self) {
        loop {
            let delivering = {
                let mut waiting = lock(&self.waiting);
                if waiting.delivering || waiting.events.is_empty() {
                    return;
                }
                waiting.delivering = true;
                Delivering(self)
            };
            while let Some((event, mut joining)) = self.next() {
                let mut observers = lock(&self.observers);
                observers.append(&mut joining);
                observers.retain_mut(|Known { id, observer }| {
                    if !lock(&self.waiting).here.contains(id) {
                        return false;
                    }
                    let told = catch_unwind(AssertUnwindSafe(|| observer(&event))).is_ok();
                    told || {
                        self.unobserve(*id);
                        false
                    }
                });
            }
            // Whoever commits between the last look and this leaves its event to the next round.
            drop(delivering);
        }
    }

    fn next(&self) -> Option<(Event, Vec<Known>)> {
        let mut waiting = lock(&self.waiting);
        let event = waiting.events.pop_front()?;
        let known = |(after, _): &(u64, Known)| *after >= event.sequence;
        let (later, now) = core::mem::take(&mut waiting.joining).into_iter().partition(known);
        waiting.joining = later;
        Some((event, now.into_iter().map(|(_, observer)| observer).collect()))
    }
}
