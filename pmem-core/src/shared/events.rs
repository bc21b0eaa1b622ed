//! Telling observers, in order, after the writer's lock is released.

use super::sync::{Mutex, lock};
use crate::manager::Committed;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A change that was published; the same as in the journal.
pub type Event = Committed;

type Observer = Box<dyn FnMut(&Event) + Send>;

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// Observers that have come, and the last change that was published before they did.
    joining: Vec<(u64, Observer)>,
    delivering: bool,
}

/// Events that wait, and who waits for them.
///
/// One thread at a time delivers. Another that commits meanwhile leaves its events to it; so does an observer that
/// changes the model.
#[derive(Default)]
pub(super) struct Events {
    waiting: Mutex<Waiting>,
    observers: Mutex<Vec<Observer>>,
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
    pub(super) fn observe(&self, observer: Observer, published: impl FnOnce() -> u64) {
        let mut waiting = lock(&self.waiting);
        // Read under the lock: whatever is published later is also pushed later.
        waiting.joining.push((published(), observer));
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
                observers.retain_mut(|observer| catch_unwind(AssertUnwindSafe(|| observer(&event))).is_ok());
            }
            // Whoever commits between the last look and this leaves its event to the next round.
            drop(delivering);
        }
    }

    fn next(&self) -> Option<(Event, Vec<Observer>)> {
        let mut waiting = lock(&self.waiting);
        let event = waiting.events.pop_front()?;
        let known = |(after, _): &(u64, Observer)| *after >= event.sequence;
        let (later, now) = core::mem::take(&mut waiting.joining).into_iter().partition(known);
        waiting.joining = later;
        Some((event, now.into_iter().map(|(_, observer)| observer).collect()))
    }
}
