//! The one writer, and the state it publishes.

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

/// What a region handle needs to reach its manager. Holds it weakly, so that a driver may keep regions without a
/// cycle.
pub(super) struct Ties {
    pub(super) queue: DropQueue,
    pub(super) home: Weak<Inner>,
}

/// What the handles of one manager share.
pub(super) struct Inner {
    writer: Mutex<Manager>,
    /// The tag of the thread that holds the writer's lock; 0 if none does.
    writing: AtomicUsize,
    pub(super) published: Cell<State>,
    ties: Arc<Ties>,
    pub(super) events: Events,
}

/// Clears the writer's tag when it is dropped, even after a panic.
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

    /// Changes the model: waits for the writer's lock, publishes the result, and notifies observers.
    pub(super) fn write<T>(&self, verb: impl FnOnce(&mut Manager) -> Result<T, Error>) -> Result<T, Error> {
        if self.writing.load(Ordering::Acquire) == thread_tag() {
            return Err(Error::InCallback);
        }
        let result = {
            let mut manager = lock(&self.writer);
            self.under_lock(&mut manager, verb)
        };
        // Changes made before a panic are committed: notify observers of them before the panic continues.
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
        // Starts a fresh outbox; the last call emptied the old one.
        manager.take_outbox(self.events.has_observers());
        self.drain(manager);
        // Changes made before a panic are committed: readers must see them.
        let result = catch_unwind(AssertUnwindSafe(|| verb(manager)));
        self.drain(manager);
        if manager.state().sequence() != before {
            self.published.store(Arc::new(manager.state().clone()));
            manager.take_outbox(false).into_iter().for_each(|noted| self.events.push(Event::of(noted)));
        }
        drop(writing);
        result
    }

    /// Gives up the references of handles that were dropped. If a driver keeps a region it stays condemned; that is
    /// no error of the caller.
    fn drain(&self, manager: &mut Manager) {
        for region in self.ties.queue.take() {
            let _ = manager.decref(region);
        }
    }

    /// Delivers events and drains the queue until nothing is left, or another thread is doing so.
    pub(super) fn settle(&self) {
        if self.writing.load(Ordering::Acquire) == thread_tag() {
            return;
        }
        self.events.deliver();
        while !self.ties.queue.is_empty() {
            // The thread that holds the lock settles the queue after releasing it.
            let Some(mut manager) = try_lock(&self.writer) else { return };
            // The verb does nothing, so it cannot panic.
            let _ = self.under_lock(&mut manager, |_| ());
            drop(manager);
            self.events.deliver();
        }
    }
}
