//! Notifying observers, in order, after the writer's lock is released.

use super::sync::{Mutex, lock};
use crate::manager::{Committed, Noted};
use crate::model::{Edit, State};
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A published change, as an observer receives it.
///
/// # Examples
/// ```
/// use pmem_core::{AddrRange, ArenaType, Attrs, Edit, Event, Pmem};
/// use std::sync::mpsc;
///
/// let pmem = Pmem::new();
/// let (tx, rx) = mpsc::channel();
/// let observer = pmem.observe(move |event: &Event| {
///     let primed = event.edits.iter().filter(|edit| matches!(edit, Edit::Span { new: Some(_), .. })).count();
///     let _ = tx.send((event.sequence, primed));
/// });
/// let ram = pmem.write(|manager| manager.create_arena("RAM", ArenaType::RAM))?;
/// let range = AddrRange::new(0, 0x1000)?;
/// pmem.write(|manager| manager.prime(ram, range, Attrs::ram()))?;
/// assert_eq!(rx.try_iter().collect::<Vec<_>>(), [(1, 0), (2, 1)]);
/// assert!(pmem.unobserve(observer));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    /// The change's sequence number. Numbers are consecutive; the first change of an empty model is 1.
    pub sequence: u64,
    /// What changed, as one edit per subject.
    pub edits: Vec<Edit>,
    state: Option<State>,
}

impl Event {
    pub(super) fn of(noted: Noted) -> Self {
        let Noted { change: Committed { sequence, edits }, state } = noted;
        Self { sequence, edits, state }
    }

    /// Returns the model as this change left it, whatever has changed since; `None` if there was no observer when the
    /// change began.
    #[must_use]
    pub const fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }
}

type Observer = Box<dyn FnMut(&Event) + Send>;

/// Identifies an observer of a [`Pmem`](super::Pmem), to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObserverId(u64);

/// An observer and its id.
struct Known {
    id: ObserverId,
    observer: Observer,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// New observers, each with the number of the last change published before it joined.
    joining: Vec<(u64, Known)>,
    /// The number of observers that have ever joined.
    came: u64,
    /// The observers that have not been removed.
    here: BTreeSet<ObserverId>,
    delivering: bool,
}

/// The events that wait for delivery, and the observers that wait for events.
///
/// One thread at a time delivers. A thread that commits meanwhile leaves its events to that thread; so does an
/// observer that changes the model.
#[derive(Default)]
pub(super) struct Events {
    waiting: Mutex<Waiting>,
    observers: Mutex<Vec<Known>>,
}

/// Marks a delivery in progress. Dropping it lets others deliver, even after a panic.
struct Delivering<'e>(&'e Events);

impl Drop for Delivering<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).delivering = false;
    }
}

impl Events {
    /// Adds an observer of the changes after the one that `published` returns.
    pub(super) fn observe(&self, observer: Observer, published: impl FnOnce() -> u64) -> ObserverId {
        let mut waiting = lock(&self.waiting);
        let id = ObserverId(waiting.came);
        waiting.came += 1;
        waiting.here.insert(id);
        // Read under the lock, so that a change published after this is also pushed after it.
        waiting.joining.push((published(), Known { id, observer }));
        id
    }

    /// Removes an observer. Returns whether it was there.
    pub(super) fn unobserve(&self, id: ObserverId) -> bool {
        lock(&self.waiting).here.remove(&id)
    }

    /// Whether there is any observer.
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
            // Observers run without the `waiting` lock, so they may change the model or remove themselves.
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
            // A thread that commits after `next` found nothing, but before this, leaves its event: loop once more.
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
