//! One writer, and what it publishes.

use super::events::{Event, Events};
use super::queue::DropQueue;
use super::sync::atomic::{AtomicUsize, Ordering};
use super::sync::{Cell, Mutex, lock, thread_tag, try_lock};
use crate::error::Error;
use crate::manager::Manager;
use crate::model::State;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Weak};
use std::thread;

/// What leads from handles to their manager. Holds no manager: a driver may keep regions without a cycle.
pub(super) struct Ties {
    pub(super) queue: DropQueue,
    pub(super) home: Weak<Inner>,
}

/// What the handles of one manager share.
pub(super) struct Inner {
    writer: Mutex<Manager>,
    /// Whose thread holds the writer's lock; 0 is nobody's.
    writing: AtomicUsize,
    pub(super) published: Cell<State>,
    ties: Arc<Ties>,
    pub(super) events: Events,
}

/// Clears the mark of who writes, also when something panics.
struct Writing<'i>(&'i Inner);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.writing.store(0, Ordering::Release);
    }
}

impl Inner {
    pub(super) fn new(mut manager: Manager) -> Arc<Self> {
        manager.take_outbox(false);
        Arc::new_cyclic(|home| Self {
            published: Cell::from_pointee(manager.state().clone()),
            writer: Mutex::new(manager),
            writing: AtomicUsize::new(0),
            ties: Arc::new(Ties { queue: DropQueue::default(), home: Weak::clone(home) }),
            events: Events::default(),
        })
    }

    pub(super) fn ties(&self) -> &Arc<Ties> {
        &self.ties
    }

    /// Changes the model: waits for its turn, publishes what came of it, and tells observers.
    pub(super) fn write<T>(&self, verb: impl FnOnce(&mut Manager) -> Result<T, Error>) -> Result<T, Error> {
        if self.writing.load(Ordering::Acquire) == thread_tag() {
            return Err(Error::InCallback);
        }
        let result = {
            let mut manager = lock(&self.writer);
            self.under_lock(&mut manager, verb)
        };
        // What was changed before a panic is told before the panic goes on.
        self.settle();
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn under_lock<T>(
        &self,
        manager: &mut Manager,
        verb: impl FnOnce(&mut Manager) -> T,
    ) -> thread::Result<T> {
        self.writing.store(thread_tag(), Ordering::Release);
        let writing = Writing(self);
        let before = manager.state().sequence();
        // Nothing is left in it from before.
        manager.take_outbox(self.events.has_observers());
        self.drain(manager);
        // Changes that were made before a panic are made: readers are to see them.
        let result = catch_unwind(AssertUnwindSafe(|| verb(manager)));
        self.drain(manager);
        if manager.state().sequence() != before {
            self.published.store(Arc::new(manager.state().clone()));
            manager.take_outbox(false).into_iter().for_each(|noted| self.events.push(Event::of(noted)));
        }
        drop(writing);
        result
    }

    /// Gives up the references whose handles were dropped. What a driver keeps stays condemned, which is no failure
    /// of whoever drains.
    fn drain(&self, manager: &mut Manager) {
        for region in self.ties.queue.take() {
            let _ = manager.decref(region);
        }
    }

    /// Delivers events and drains the queue until there is nothing left, or somebody else is at it.
    pub(super) fn settle(&self) {
        if self.writing.load(Ordering::Acquire) == thread_tag() {
            return;
        }
        self.events.deliver();
        while !self.ties.queue.is_empty() {
            // Whoever holds the lock looks at the queue again after letting go of it.
            let Some(mut manager) = try_lock(&self.writer) else { return };
            // That cannot panic.
            let _ = self.under_lock(&mut manager, |_| ());
            drop(manager);
            self.events.deliver();
        }
    }
}
