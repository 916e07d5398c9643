//! Locking without poison.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic in another holder: nothing in this crate leaves what it guards
/// half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
