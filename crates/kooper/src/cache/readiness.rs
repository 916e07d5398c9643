//! Whether a cache has been filled, for those who don't care of what.

use std::sync::Mutex;

use tokio::sync::watch;

use crate::sync::lock;

/// The part of a cache that controllers wait for before they begin.
#[derive(Debug)]
pub(crate) struct Readiness {
    kind: String,
    ready: watch::Sender<bool>,
    last_error: Mutex<Option<String>>,
}

impl Readiness {
    pub(crate) fn new(kind: String) -> Self {
        Self { kind, ready: watch::Sender::new(false), last_error: Mutex::new(None) }
    }

    pub(crate) fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    pub(crate) fn set_error(&self, error: String) {
        *lock(&self.last_error) = Some(error);
    }

    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    pub(crate) async fn ready(&self) {
        let mut receiver = self.ready.subscribe();
        if receiver.wait_for(|ready| *ready).await.is_err() {
            unreachable!("the sender is ours, and borrowed here");
        }
    }

    /// Why it is not ready, as far as known.
    pub(crate) fn describe(&self) -> String {
        let error = lock(&self.last_error);
        let reason = error.as_deref().unwrap_or("no answer yet");
        format!("the cache of `{}`: {reason}", self.kind)
    }
}
