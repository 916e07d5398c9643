//! Whether a cache has been filled, for those who don't care of what.

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::sync::lock;

/// The part of a cache that controllers wait for before they begin.
#[derive(Debug)]
pub(crate) struct Readiness {
    kind: String,
    ready: AtomicBool,
    /// Wakes those that wait in the order in which they came. (A `tokio::sync::watch` wakes them in a random one, so that
    /// controllers would begin in another order each time, and no run of a simulation be like the other.)
    waiting: Notify,
    last_error: Mutex<Option<String>>,
}

impl Readiness {
    pub(crate) fn new(kind: String) -> Self {
        Self { kind, ready: AtomicBool::new(false), waiting: Notify::new(), last_error: Mutex::new(None) }
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
        self.waiting.notify_waiters();
    }

    pub(crate) fn set_error(&self, error: String) {
        *lock(&self.last_error) = Some(error);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) async fn ready(&self) {
        // In line from now on: what comes between the look and the wait is not missed.
        let mut told = pin!(self.waiting.notified());
        told.as_mut().enable();
        if !self.is_ready() {
            told.await;
        }
    }

    /// Why it is not ready, as far as known.
    pub(crate) fn describe(&self) -> String {
        let error = lock(&self.last_error);
        let reason = error.as_deref().unwrap_or("no answer yet");
        format!("the cache of `{}`: {reason}", self.kind)
    }
}
