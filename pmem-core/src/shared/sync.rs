//! What synchronises: the standard library's, or loom's when a model is checked.

#[cfg(not(loom))]
pub(super) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(loom)]
pub(super) use loom::sync::{Mutex, MutexGuard, atomic};

use std::sync::PoisonError;

/// Locks, whether or not a panic happened under the lock: what it guards undoes itself.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks if nobody else has.
pub(super) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

/// A number that is this thread's while it lives, and never 0.
#[cfg(not(loom))]
pub(super) fn thread_tag() -> usize {
    std::thread_local!(static TAG: u8 = const { 0 });
    TAG.with(|tag| core::ptr::from_ref(tag).addr())
}

/// A number that is this thread's while it lives, and never 0.
#[cfg(loom)]
pub(super) fn thread_tag() -> usize {
    loom::thread_local!(static TAG: std::boxed::Box<u8> = std::boxed::Box::new(0));
    TAG.with(|tag| core::ptr::from_ref(&**tag).addr())
}

/// The cell through which a state is published.
#[cfg(not(loom))]
pub(super) type Cell<T> = arc_swap::ArcSwap<T>;

/// A model of the published cell: what is stored last is what is loaded.
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
