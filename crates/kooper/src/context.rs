//! What a reconcile is given besides its key.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::Span;

use crate::clock::Clock;
use crate::recorder::Recorder;

/// The surroundings of one reconcile. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Which try this is: 1, and one more for each failure since the last success.
    pub attempt: u32,
    /// When the `attempt` reaches this and fails again, the key is stalled: from then on it is looked
    /// at only now and then.
    pub max_attempts: u32,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Tells users about it, by Kubernetes events.
    pub recorder: Recorder,
    /// The span of this reconcile: controller, key and attempt. Everything logged inside is in it
    /// already; it is here for what must be linked to it from elsewhere.
    pub span: Span,
}

impl Context {
    /// The time now, by the [`clock`](Self::clock).
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("attempt", &self.attempt)
            .field("max_attempts", &self.max_attempts)
            .finish_non_exhaustive()
    }
}
