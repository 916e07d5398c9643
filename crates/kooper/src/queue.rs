//! The work queue: which key is reconciled when.
//!
//! Pure: it neither waits nor reads a clock. What it guarantees:
//! - a key is in it once, however many events it gets, so its size is bounded by the number of keys;
//! - a key is never given out twice at a time; events that come meanwhile run it once more;
//! - keys are given out in the order in which they became due, those due at the same time in the
//!   order in which they were added;
//! - after a failure a key waits, and no event shortens that wait;
//! - no key is dropped because it failed too often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// An ordered queue of keys with a gate for retries.
#[derive(Debug)]
pub struct Queue<K> {
    /// Keys are shared: there may be many that wait for long.
    entries: BTreeMap<Arc<K>, Entry>,
    schedule: BTreeMap<Slot, Arc<K>>,
    sequence: u64,
}

/// A place in line: when it is due, then the order of arrival.
type Slot = (Instant, u64);

#[derive(Debug)]
struct Entry {
    /// Failures since the last success.
    attempts: u32,
    /// Runs in a row that were to be done again.
    again: u32,
    /// Counts the events of this key.
    generation: u64,
    /// No event makes it due before.
    not_before: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Waiting(Slot),
    /// Given out when the entry had this generation.
    Running(u64),
}

/// A key to be reconciled now. It must come back through [`Queue::finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job<K> {
    /// The key.
    pub key: K,
    /// Which try this is: 1, and one more for each failure since the last success.
    pub attempt: u32,
    /// How many runs in a row before it ended in [`Next::Again`].
    pub again: u32,
}

/// What is to happen with a key that was reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Forget it until the next event.
    Done,
    /// It succeeded: run it again after this time, or at the next event.
    After(Duration),
    /// It could not be done, through no fault of its own: run it again after this time, not earlier. Not a failure.
    Again(Duration),
    /// It failed: run it again after this time, not earlier.
    Retry(Duration),
    /// It failed for good, as far as we can tell: run it again after `resync`; an event may bring
    /// that forward, but not before `wait`.
    Stalled {
        /// The time that no event shortens.
        wait: Duration,
        /// The time after which it is tried without an event.
        resync: Duration,
    },
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), schedule: BTreeMap::new(), sequence: 0 }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something happened to `key`: it becomes due now, or when its wait is over.
    pub fn add(&mut self, key: K, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else {
            let key = Arc::new(key);
            let slot = self.enter(Arc::clone(&key), now);
            let entry = Entry { attempts: 0, again: 0, generation: 1, not_before: now, state: State::Waiting(slot) };
            self.entries.insert(key, entry);
            return;
        };
        entry.generation += 1;
        let due = entry.not_before.max(now);
        match entry.state {
            State::Waiting(slot) if slot.0 > due => {
                if let Some(key) = self.schedule.remove(&slot) {
                    let state = State::Waiting(self.enter(Arc::clone(&key), due));
                    self.set_state(&key, state);
                }
            }
            State::Waiting(_) | State::Running(_) => {}
        }
    }

    /// The next key that is due, if any.
    pub fn take(&mut self, now: Instant) -> Option<Job<K>> {
        let first = self.schedule.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let key = first.remove();
        let entry = self.entries.get_mut(&key)?;
        entry.state = State::Running(entry.generation);
        Some(Job { attempt: entry.attempts.saturating_add(1), again: entry.again, key: key.as_ref().clone() })
    }

    /// When the next key is due, if any waits.
    pub fn next_due(&self) -> Option<Instant> {
        self.schedule.first_key_value().map(|(slot, _)| slot.0)
    }

    /// Takes back a key that [`take`](Self::take) gave out. Any other key is ignored.
    pub fn finish(&mut self, key: &K, next: Next, now: Instant) {
        let Some((shared, _)) = self.entries.get_key_value(key) else { return };
        let shared = Arc::clone(shared);
        let Some(entry) = self.entries.get_mut(key) else { return };
        let State::Running(taken) = entry.state else {
            return;
        };
        let changed = entry.generation != taken;
        (entry.attempts, entry.again) = match next {
            Next::Done | Next::After(_) => (0, 0),
            Next::Again(_) => (entry.attempts, entry.again.saturating_add(1)),
            Next::Retry(_) | Next::Stalled { .. } => (entry.attempts.saturating_add(1), 0),
        };
        let (wait, due) = match next {
            Next::Done if !changed => {
                self.entries.remove(key);
                return;
            }
            Next::Done => (Duration::ZERO, Duration::ZERO),
            Next::After(due) => (Duration::ZERO, due),
            Next::Again(wait) | Next::Retry(wait) => (wait, wait),
            Next::Stalled { wait, resync } => (wait, resync.max(wait)),
        };
        entry.not_before = later(now, wait);
        let due = if changed { entry.not_before } else { later(now, due) };
        let state = State::Waiting(self.enter(shared, due));
        self.set_state(key, state);
    }

    /// How many keys it knows: waiting and given out.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it knows no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn enter(&mut self, key: Arc<K>, due: Instant) -> Slot {
        self.sequence += 1;
        let slot = (due, self.sequence);
        self.schedule.insert(slot, key);
        slot
    }

    fn set_state(&mut self, key: &K, state: State) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.state = state;
        }
    }
}

/// `now + wait`; a wait beyond what the clock can say is a year, which is as good as never.
fn later(now: Instant, wait: Duration) -> Instant {
    const YEAR: Duration = Duration::from_hours(365 * 24);
    now + wait.min(YEAR)
}

#[cfg(test)]
mod tests;
