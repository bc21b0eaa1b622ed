//! Synchronisation: the standard library's, or loom's when loom checks a model.

#[cfg(not(loom))]
pub(super) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(loom)]
pub(super) use loom::sync::{Mutex, MutexGuard, atomic};

use std::sync::PoisonError;

/// Locks a mutex, poisoned or not: what the locks here guard stays consistent across a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks a mutex if no other thread holds it.
pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

/// Returns a number, never 0, that is unique to this thread while it lives.
#[cfg(not(loom))]
pub(super) fn thread_tag() -> usize {
    // The address of a thread-local is such a number, and cheap to get.
    std::thread_local!(static TAG: u8 = const { 0 });
    TAG.with(|tag| core::ptr::from_ref(tag).addr())
}

/// Returns a number, never 0, that is unique to this thread while it lives.
#[cfg(loom)]
pub(super) fn thread_tag() -> usize {
    loom::thread_local!(static TAG: std::boxed::Box<u8> = std::boxed::Box::new(0));
    TAG.with(|tag| core::ptr::from_ref(&**tag).addr())
}

/// The cell through which a state is published.
#[cfg(not(loom))]
pub(super) type Cell<T> = arc_swap::ArcSwap<T>;

/// A model of that cell for loom: a load returns what was stored last.
#[cfg(loom)]
pub(super) struct Cell<T>(loom::sync::RwLock<std::sync::Arc<T>>);

#[cfg(loom)]
impl<T> Cell<T> {
    pub(super) fn from_pointee(value: T) -> Self {
        Self(loom::sync::RwLock::new(std::sync::Arc::new(value)))
    }

    pub(super) fn load_full(&self) -> std::sync::Arc<T> {
        std::sync::Arc::clone(&self.0.read().expect("no panic under it"))
    }

    pub(super) fn store(&self, value: std::sync::Arc<T>) {
        *self.0.write().expect("no panic under it") = value;
    }
}
