//! How long to wait after a failure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::outcome::{Failure, Outcome};
use crate::queue::Next;

/// Delays that double from `first` up to `max`.
///
/// Each is shortened by up to a quarter, so that keys which failed together are not tried together.
/// The part is a hash of key and attempt: chance for the purpose, and the same on every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the first failure.
    pub first: Duration,
    /// The longest delay.
    pub max: Duration,
}

impl Backoff {
    /// The delay after the `attempt`th failure in a row, counted from 1.
    pub fn delay(&self, key: &impl Hash, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.max);
        let mut hasher = DefaultHasher::new();
        (key, attempt).hash(&mut hasher);
        let thousandths = u32::try_from(hasher.finish() % 250).unwrap_or(0);
        full.saturating_sub(full / 1000 * thousandths)
    }
}

/// What follows from the end of a reconcile: the rules of retrying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    pub(crate) backoff: Backoff,
    /// From this failure on a key is stalled.
    pub(crate) max_attempts: u32,
    /// How often a stalled key is looked at.
    pub(crate) resync: Duration,
}

/// Conflicts end quickly: the next read of the cache has the newer object.
const CONFLICT: Backoff = Backoff { first: Duration::from_millis(20), max: Duration::from_secs(2) };

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            backoff: Backoff { first: Duration::from_millis(100), max: Duration::from_mins(1) },
            max_attempts: 12,
            resync: Duration::from_mins(10),
        }
    }
}

impl RetryPolicy {
    /// Decides on the `attempt`th try of a key, which was to be done `again` so often in a row.
    pub(crate) fn next(&self, key: &impl Hash, attempt: u32, again: u32, result: &Result<Outcome, Failure>) -> Next {
        let backoff = self.backoff.delay(key, attempt);
        let stalled = Next::Stalled { wait: backoff, resync: self.resync };
        let again = again.saturating_add(1);
        match result {
            Ok(Outcome::Done) => Next::Done,
            Ok(Outcome::After(wait)) => Next::After(*wait),
            Err(Failure::Conflict(_)) => Next::Again(CONFLICT.delay(key, again)),
            Err(Failure::Unavailable(_)) => Next::Again(self.backoff.delay(key, again)),
            Err(Failure::RetryAfter(wait, _)) => Next::Again((*wait).min(self.resync)),
            Err(Failure::Terminal(_)) => stalled,
            Err(Failure::Retry(_)) if attempt >= self.max_attempts => stalled,
            Err(Failure::Retry(_)) => Next::Retry(backoff),
        }
    }
}

#[cfg(test)]
mod tests;
